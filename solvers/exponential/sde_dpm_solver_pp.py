"""SDE-DPM-Solver++: exponential multistep methods for the reverse SDE that follow the data prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from solvers.exponential.dpm_solver_pp import multistep_weights
from solvers.exponential.form import DATA, Form
from solvers.exponential.remembering import Remembering


@dataclass(frozen=True, slots=True)
class SDEDPMSolverPP(Remembering):
    r"""SDE-DPM-Solver++ of order 1 to 3, multistep, for the reverse SDE with any :math:`w_t \ge 0`.

    With λ = log(α/σ), :math:`h = \lambda_s - \lambda_t`, Θ the clock of the problem's noise over the step and
    :math:`\eta = \Theta/2h`,

    .. math::
       x_s = \frac{\sigma_s}{\sigma_t}e^{-\Theta/2}x_t
             + \alpha_s\int_0^h (1 + \eta)e^{-(1 + \eta)(h - \tau)}P(\tau)\,d\tau + \sigma_s\sqrt{1 - e^{-\Theta}}\,\xi,

    P the polynomial through the data predictions at t and at the starts of the last order − 1 steps. That is exact but
    for P where :math:`w = \eta w^{KL}`; η = 1 is the published sampler, η = 0 is :class:`DPMSolverPP`, and order 1 is
    :class:`ExponentialEulerMaruyama`. As published, order 2 has half of the zeroth moment for the first. For order 3
    the signs and the factor of the second difference are those of P: public variants with a wrong sign, or with half
    of that difference, have orders 1 and 2. The first step is a singlestep one, as in :class:`DPMSolverPP`, without
    noise inside it. A step to σ = 0 returns :math:`\alpha_s\hat x`. Times fall.

    Steps of order 1 are: the first from α = 0, which with Θ = ∞ draws the noise anew; and those in which noise far
    stronger than that of wKL draws much of the state anew (Θ > 1 and η > 2), for differences of predictions are then
    noise that a polynomial would add up.

    The orders, measured on intervals inside (0, 1):

    =======================  =======  =======  =======
    ``order=``               1        2        3
    =======================  =======  =======  =======
    ``deterministic_order``  1        2        3
    ``weak_order``           1        2        2
    ``strong_order``         1        1        1
    =======================  =======  =======  =======

    The deterministic order is that for w = 0, and for any multiple of wKL where x̂ depends on time alone. For another w
    it is 2 at most: η is held over a step. Differences of x̂ see the noise of the path one step late, which costs
    nothing in the variance of order h², so that order 2 is weak order 2; but no more is gained by a third prediction.

    One evaluation per step, at its start, and order − 1 more in all.

    Args:
        order: 1, 2 or 3.

    Raises:
        TypeError, ValueError: another order.

    References: Lu et al. (2022), DPM-Solver++, arXiv 2211.01095, §5 and appendix A; Gonzalez et al. (2023), SEEDS,
    arXiv 2305.14267, for weak and strong orders of exponential methods.
    """

    order: int = 2
    form: ClassVar[Form] = DATA
    stochastic: ClassVar[bool] = True
    reads_clock: ClassVar[bool] = True
    strong_order: ClassVar[float] = 1.0

    @property
    def deterministic_order(self) -> int:
        """The order without noise, or where x̂ depends on time alone."""
        return self.order

    @property
    def weak_order(self) -> int:
        """Order of expectations."""
        return min(self.order, 2)

    def weights(self, ratios: Sequence[float], length: float) -> Sequence[float]:
        """Return the published weights of 2M and the exact ones of the quadratic for 3M."""
        return multistep_weights(self.order, ratios, length)

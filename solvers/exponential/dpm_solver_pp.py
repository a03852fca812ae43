"""DPM-Solver++: exponential methods in the log-SNR that follow the data prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from solvers.exponential.form import DATA, Form
from solvers.exponential.remembering import Remembering, Variant
from solvers.multistep.lagrange import difference_weights


@dataclass(frozen=True, slots=True)
class DPMSolverPP(Remembering):
    r"""DPM-Solver++ of order 1 to 3, multistep (1S, 2M, 3M) or singlestep (2S, 3S).

    With :math:`\lambda = \log(\alpha/\sigma)`, :math:`h = \lambda_s - \lambda_t`, predictions :math:`\hat x_0` now and
    :math:`\hat x_1, \hat x_2` at the starts of the last two steps, and :math:`r_0, r_1` the lengths of these steps
    in units of h,

    .. math::
       x_s &= \frac{\sigma_s}{\sigma_t}x_t + \alpha_s(1 - e^{-h})\hat x_0
              + \alpha_s(1 - e^{-h})\frac{D_{1,0}}{2} \qquad\text{(2M)} \\
       x_s &= \frac{\sigma_s}{\sigma_t}x_t + \alpha_s(1 - e^{-h})\hat x_0
              + \alpha_s h\varphi_2(-h) D_1 + \alpha_s h\varphi_3(-h) D_2 \qquad\text{(3M)} \\
       D_{1,0} &= \frac{\hat x_0 - \hat x_1}{r_0}, \quad D_{1,1} = \frac{\hat x_1 - \hat x_2}{r_1}, \quad
       D_1 = D_{1,0} + \frac{r_0}{r_0 + r_1}(D_{1,0} - D_{1,1}), \quad
       D_2 = \frac{2(D_{1,0} - D_{1,1})}{r_0 + r_1}.

    :math:`D_2` is h² times the second derivative; public implementations of 3M use half of it and have order 2. The
    first step of a multistep solve is a singlestep step of the same order, whose inner predictions are the past of the
    next: order − 1 evaluations more in all. A step from α = 0, where λ = −∞, runs in :math:`\alpha/\sigma`; a step to
    σ = 0, where λ = ∞, is :class:`DDIM`'s and evaluates once. The order is that on an interval inside (0, 1): next to
    α = 0 the steps of a grid uniform in time are long in λ, and from there the order is 2 at most.

    Args:
        order: 1, 2 or 3; 1 is :class:`DDIM`.
        variant: "multistep", one evaluation per step, or "singlestep", ``order`` evaluations.

    Raises:
        TypeError, ValueError: another order or variant.

    References: Lu et al. (2022), DPM-Solver++, arXiv 2211.01095, algorithms 1 and 2 and appendix A.
    """

    order: int = 2
    variant: Variant = "multistep"
    form: ClassVar[Form] = DATA

    def weights(self, ratios: Sequence[float], length: float) -> Sequence[float]:
        """Return the published weights of 2M and the exact ones of the quadratic for 3M."""
        return multistep_weights(self.order, ratios, length)


def multistep_weights(order: int, ratios: Sequence[float], length: float) -> Sequence[float]:
    """Return the weights of the differences to past predictions: half of the zeroth moment for 2M, exact for 3M."""
    if order == 2:
        return [0.5 * DATA.moment(0, length) / ratios[0]]
    return difference_weights(ratios, [DATA.moment(k, length) for k in range(1, order)])

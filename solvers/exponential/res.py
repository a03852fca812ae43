"""The refined exponential solver: weights that meet the stiff order conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from solvers.exponential.form import DATA, Form
from solvers.exponential.remembering import Remembering, Variant
from solvers.multistep.lagrange import difference_weights


@dataclass(frozen=True, slots=True)
class RES(Remembering):
    r"""Refined exponential solver of order 2, singlestep or multistep.

    With :math:`h = \lambda_s - \lambda_t`, :math:`\lambda = \log(\alpha/\sigma)`, and u half-way in λ,

    .. math:: x_s = \frac{\sigma_s}{\sigma_t}x_t
              + \alpha_s h\Bigl[\varphi_1(-h)\hat x_t + \frac{\varphi_2(-h)}{c_2}(\hat x_u - \hat x_t)\Bigr],
              \qquad c_2 = \tfrac12

    where :class:`DPMSolverPP` has φ₁/2 for φ₂: the second condition of order holds for every h, not only as h → 0, and
    a prediction linear in λ is integrated exactly. The multistep variant has the last step's start for u,
    :math:`c_2 = -h_{\mathrm{last}}/h`, and one evaluation per step but for the first, which is a singlestep. A step
    from α = 0 runs in :math:`\alpha/\sigma`, and one to σ = 0 is :class:`DDIM`'s.

    Args:
        order: 2, the only one; third-order :class:`DPMSolverPP` meets the conditions already.
        variant: "singlestep", two evaluations per step, or "multistep", one.

    Raises:
        TypeError, ValueError: another order or variant.

    References: Zhang, Song & Chen (2023), Improved order analysis and design of exponential integrator for diffusion
    models sampling, arXiv 2308.02157, §3; Hochbruck & Ostermann (2005), Explicit exponential Runge–Kutta methods for
    semilinear parabolic problems, SIAM J. Numer. Anal. 43.
    """

    order: int = 2
    variant: Variant = "singlestep"
    form: ClassVar[Form] = DATA
    orders: ClassVar[tuple[int, ...]] = (2,)
    refined: ClassVar[bool] = True

    def weights(self, ratios: Sequence[float], length: float) -> Sequence[float]:
        """Return the weight that integrates a line exactly."""
        return difference_weights(ratios, [self.form.moment(1, length)])

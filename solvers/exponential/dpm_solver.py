"""DPM-Solver: exponential methods in the log-SNR that follow the noise prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from solvers.exponential.form import NOISE, Form
from solvers.exponential.remembering import Remembering, Variant
from solvers.multistep.lagrange import difference_weights


@dataclass(frozen=True, slots=True)
class DPMSolver(Remembering):
    r"""DPM-Solver of order 1 to 3, singlestep as published, or multistep.

    It follows :math:`\hat\varepsilon = (x - \alpha\hat x)/\sigma` where :class:`DPMSolverPP` follows :math:`\hat x`.
    With :math:`\lambda = \log(\alpha/\sigma)`, :math:`h = \lambda_s - \lambda_t` and u half-way in λ, order 2 is

    .. math::
       x_u &= \frac{\alpha_u}{\alpha_t}x_t - \sigma_u(e^{h/2} - 1)\hat\varepsilon(t, x_t), \\
       x_s &= \frac{\alpha_s}{\alpha_t}x_t - \sigma_s(e^h - 1)\hat\varepsilon(u, x_u),

    and order 3 has inner times at ⅓ and ⅔. The multistep variants are those of :class:`DPMSolverPP` in this form, with
    a singlestep step of the same order as their start. A step from α = 0 runs in :math:`\alpha/\sigma`; one to σ = 0 is
    :class:`DDIM`'s and evaluates once; the order is that on an interval inside (0, 1).

    Args:
        order: 1, 2 or 3; 1 is :class:`DDIM`.
        variant: "singlestep", ``order`` evaluations per step, or "multistep", one.

    Raises:
        TypeError, ValueError: another order or variant.

    References: Lu et al. (2022), DPM-Solver, arXiv 2206.00927, eq. 3.7 and algorithms 1 and 2.
    """

    order: int = 2
    variant: Variant = "singlestep"
    form: ClassVar[Form] = NOISE

    def weights(self, ratios: Sequence[float], length: float) -> Sequence[float]:
        """Return the weights of the multistep variants."""
        if self.order == 2:
            return [0.5 * self.form.moment(0, length) / ratios[0]]
        return difference_weights(ratios, [self.form.moment(k, length) for k in range(1, self.order)])

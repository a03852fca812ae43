"""UniPC: a multistep predictor, and a corrector that costs no evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from solvers.errors import expect_order
from solvers.exponential.correcting import Correcting


@dataclass(frozen=True, slots=True)
class UniPC(Correcting):
    r"""UniP-p, and with the corrector UniC-p after it, in the data prediction; ``order`` is the order of the whole.

    With λ = log(α/σ), :math:`h = \lambda_s - \lambda_t`, and P the polynomial in λ through p data predictions, that
    at t and p − 1 before it,

    .. math:: x_s = \frac{\sigma_s}{\sigma_t}x_t + \alpha_s\int_{\lambda_t}^{\lambda_s}
              e^{-(\lambda_s - \lambda)}P(\lambda)\,d\lambda.

    The corrector takes the step again with one point more, :math:`\hat x(s, x_s)` at the predicted state, which the
    next step needs anyway: p becomes p + 1 at no cost. With the corrector p = order − 1, so order 2 corrects DDIM;
    without, p = order. The last state is not corrected, for that would cost an evaluation at the last time.

    The weights solve eq. 7 of the paper exactly, so that its function B(h) drops out. With one difference alone the
    published code takes ½ of :math:`\int e^{-(\lambda_s - \lambda)}d\lambda` for its weight, which is enough for the
    order: ``half=True``.

    One evaluation per step, at its start, but for the first: where p > 1 or α = 0 it is a singlestep
    :class:`DPMSolverPP` step of order min(order, 3), with as many evaluations, and the predictions inside it are the
    past of the next. For order 4, third order there is enough. A step to σ = 0 is :class:`DDIM`'s. The order is that
    on an interval inside (0, 1).

    Args:
        order: 2, 3 or 4 with the corrector, 1, 2 or 3 without.
        corrector: whether states are corrected.
        half: whether a single difference has the weight ½, as in the published code with :math:`B(h) = e^h - 1`.

    Raises:
        TypeError, ValueError: another order.

    References: Zhao, Bai, Rao, Zhou & Lu (2023), UniPC, arXiv 2302.04867, algorithms 1 and 2.
    """

    order: int = 3
    corrector: bool = True
    half: bool = False

    def __post_init__(self) -> None:
        with_or_without = "with" if self.corrector else "without"
        expect_order(self.order, (2, 3, 4) if self.corrector else (1, 2, 3), f"UniPC {with_or_without} the corrector")

    @property
    def predicting(self) -> int:
        """The data predictions that the predictor uses: p."""
        return self.order - 1 if self.corrector else self.order

    @property
    def correcting(self) -> int:
        """Those that the corrector uses beside the new one: the same, or none."""
        return self.predicting if self.corrector else 0

    @property
    def starting(self) -> int:
        """The order of the singlestep step at the start; 3 is enough for 4."""
        return min(self.order, 3)

"""SA-Solver: stochastic Adams methods in the log-SNR, a predictor and a corrector that costs no evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from solvers.errors import expect_order
from solvers.exponential.correcting import Correcting


@dataclass(frozen=True, slots=True)
class SASolver(Correcting):
    r"""SA-Solver: the stochastic Adams predictor of one order and the corrector of another, for any :math:`w_t \ge 0`.

    The paper's :math:`\tau_t` is that of the problem, :math:`w_t = \tau_t^2 w^{KL}_t`: the noise is chosen where the
    problem is built. The predictor of order p is :class:`SDEDPMSolverPP`'s step with the exact weights of the
    polynomial through p data predictions. The corrector of order q takes the step again, with the same noise and the
    polynomial through the prediction at the predicted state and q − 1 before it. That prediction is also the next
    step's, as in :class:`UniPC`, so it costs nothing; the last state is not corrected.

    ``deterministic_order``, without noise or where x̂ depends on time alone and w is a multiple of wKL, is q but at
    most p + 1; without a corrector p. Measured with noise, on intervals inside (0, 1): ``weak_order`` 2, but 1 for
    p = 1 without a corrector; ``strong_order`` 1. The corrector sees the noise of its own step, which makes the
    constant of the weak error several times smaller than the predictor's alone.

    One evaluation per step, at its start, but for the first: that is a singlestep one, of the deterministic order or
    3. Ends as in :class:`SDEDPMSolverPP`. Times fall.

    Args:
        predictor: p, 1 to 3.
        corrector: q, 2 to 4, or 0 for none. The paper counts the predictions without the new one, so its corrector of
            s steps is s + 1 here.

    Raises:
        TypeError, ValueError: another order.

    References: Xue, Yi, Luo, Zhang, Sun, Li & Ma (2023), SA-Solver, arXiv 2309.05019, §4 and algorithm 1.
    """

    predictor: int = 2
    corrector: int = 3
    stochastic: ClassVar[bool] = True
    reads_clock: ClassVar[bool] = True
    strong_order: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        expect_order(self.predictor, (1, 2, 3), "the predictor of SASolver")
        expect_order(self.corrector, (0, 2, 3, 4), "the corrector of SASolver")

    @property
    def deterministic_order(self) -> int:
        """The order without noise, or where x̂ depends on time alone."""
        return min(self.corrector, self.predictor + 1) if self.corrector else self.predictor

    @property
    def order(self) -> int:
        """The deterministic order."""
        return self.deterministic_order

    @property
    def weak_order(self) -> int:
        """The order of expectations."""
        return min(self.order, 2)

    @property
    def predicting(self) -> int:
        """The data predictions that the predictor uses."""
        return self.predictor

    @property
    def correcting(self) -> int:
        """Those that the corrector uses beside the new one."""
        return max(self.corrector - 1, 0)

    @property
    def starting(self) -> int:
        """The order of the singlestep step at the start; 3 is enough for 4."""
        return min(self.order, 3)

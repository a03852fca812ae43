"""Predictor–corrector sampling: Langevin steps at every time that a sampler reaches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from solvers.arrays import Array
from solvers.denoising import Denoising
from solvers.errors import explain
from solvers.exponential.exponential_euler_maruyama import ExponentialEulerMaruyama
from solvers.grid import check_count
from solvers.method import Method, Planned, check_fits, on_grid, visited
from solvers.noise import Increment, normals

_METHOD = ExponentialEulerMaruyama()


@dataclass(frozen=True, slots=True)
class PredictorCorrector(Planned):
    r"""A sampler with steps of Langevin dynamics after each of its own, at the time s that this has reached.

    .. math:: x \leftarrow x + \epsilon\hat s + \sqrt{2\epsilon}\,\xi, \qquad
              \hat s = \frac{\alpha_s\hat x(s, x) - x}{\sigma_s^2}, \qquad \epsilon = 2(\mathrm{snr}\;\sigma_s)^2

    The published :math:`\epsilon = 2\,(\mathrm{snr}\,|\xi|/|\hat s|)^2` has the norms of the whole batch, so that each
    sample depends on all others. Here they are replaced by what they are near in many dimensions,
    :math:`\mathbb E|\xi|^2/\mathbb E|\hat s|^2 \approx \sigma_s^2`, for :math:`-\sigma\hat s = \hat\varepsilon` has
    the size of the noise; a sample does not depend on its batch. For VP the published ε has the factor
    :math:`1 - \beta_i`, α² of one step of the chain, which is 1 for fine grids and 1 here.

    The steps are not exact: Langevin's stationary law has on a Gaussian of variance ρ² the variance
    :math:`\rho^2/(1 - \mathrm{snr}^2\sigma_s^2/\rho^2)`. This excess depends on snr and not on the grid, and is what is
    left on an interval inside (0, 1) as the grid becomes finer, whatever the predictor: the order is 0, unless snr
    becomes smaller as well. ``steps`` evaluations more for each step; in a step to σ = 0 there is no corrector.

    Args:
        predictor: any method for :class:`Denoising` problems; the problem's w is its own.
        steps: Langevin steps after each of its steps, at least 1.
        snr: at least 0, below 1; 0.16 is the paper's.

    Raises:
        TypeError, ValueError: a method for another kind of problem; a number outside its range.

    References: Song, Sohl-Dickstein, Kingma, Kumar, Ermon & Poole (2021), Score-based generative modeling through
    stochastic differential equations, arXiv 2011.13456, algorithms 2 to 5.
    """

    predictor: Method = _METHOD
    steps: int = 1
    snr: float = 0.16
    order: ClassVar[int] = 0
    weak_order: ClassVar[int] = 0
    strong_order: ClassVar[float] = 0.0
    stochastic: ClassVar[bool] = True
    solves: ClassVar[type[Denoising]] = Denoising

    def __post_init__(self) -> None:
        if getattr(self.predictor, "solves", None) is not Denoising:
            remedy = "pass DDIM(), ExponentialEulerMaruyama() or another of their kind"
            received = type(self.predictor).__name__
            raise TypeError(explain("predictor: a method for denoising problems", received, remedy))
        check_count("steps: a number of Langevin steps", self.steps)
        if not isinstance(self.snr, (int, float)) or not 0.0 <= self.snr < 1.0:
            raise ValueError(explain("snr: a number in [0, 1)", repr(self.snr), "the paper has snr=0.16"))

    @property
    def reads_clock(self) -> bool:
        """Whether the predictor does."""
        return bool(getattr(self.predictor, "reads_clock", False))

    @property
    def evaluations(self) -> int:
        """Those of the predictor and one for each Langevin step."""
        return self.predictor.evaluations + self.steps

    @property
    def nodes(self) -> tuple[float, ...]:
        """Those of the predictor, and the end for each Langevin step."""
        return (*self.predictor.nodes, *[1.0] * self.steps)

    def on(self, times: Sequence[float]) -> PredictorCorrector:
        """Return the method with the predictor that takes the steps of a grid."""
        return replace(self, predictor=on_grid(self.predictor, times))

    def fits(self, problem: Denoising, times: list[float]) -> None:
        """Refuse what the predictor refuses."""
        check_fits(self.predictor, problem, times)

    def init(self, problem: Denoising, t0: float, x0: Array) -> Any:
        """Carry what the predictor carries."""
        return self.predictor.init(problem, t0, x0)

    def step(
        self, problem: Denoising, t0: float, t1: float, x: Array, state: Any, noise: Increment
    ) -> tuple[Array, Any]:
        """Go from ``x`` at t0 to t1, and correct there."""
        share = 1.0 / (self.steps + 1)

        def predicting(since: float, until: float) -> Array:
            """Draw from the first part of the step; a path then has other noise for the corrector."""
            return math.sqrt(1.0 / share) * noise(t0 + share * (since - t0), t0 + share * (until - t0))

        x, state = self.predictor.step(problem, t0, t1, x, state, predicting if self.predictor.stochastic else None)
        alpha, sigma = problem.alpha(t1), problem.sigma(t1)
        if sigma == 0.0:
            return x, state
        # ε ŝ and √(2ε), in which σ_s² cancels.
        pull, spread = 2.0 * self.snr**2, 2.0 * self.snr * sigma
        for normal in normals(noise, t0 + share * (t1 - t0), t1, self.steps):
            x = x + pull * (alpha * problem.data(t1, x) - x) + spread * normal
        return x, state

    def visits(self, problem: Denoising, ts: list[float]) -> list[list[float]]:
        """Return the times at which each step evaluates."""
        found = visited(self.predictor, ts, problem)
        return [times + [end] * (self.steps if problem.sigma(end) else 0) for times, end in zip(found, ts[1:])]

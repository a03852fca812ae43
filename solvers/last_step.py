r"""The last step of a stochastic solve, taken by another method.

Noise that is added in the step that reaches the data stays in the samples. What published samplers do instead, with the
name it has here, x₀ being the state at the last time:

==================  =================================  ==========================================
none                the method alone                   the noise of the last step is added
the mean            ``LastStep(method, Mean())``       the method's own step, its noise left out
Tweedie, denoising  ``LastStep(method, Tweedie())``    :math:`x_0 = \hat x(t, x)`
the ODE             ``LastStep(method, Euler())``      a step of the probability flow
==================  =================================  ==========================================

Its length is that of the last interval of the grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from solvers.arrays import Array
from solvers.check import check_start
from solvers.denoising import Denoising
from solvers.errors import explain
from solvers.method import Holding, Method, Planned, check_fits, on_grid, visited
from solvers.noise import Increment
from solvers.problem import SDE

__all__ = ["LastStep", "Mean", "Tweedie"]


@dataclass(frozen=True, slots=True)
class Mean:
    r"""As a last step: the step of the method itself without its noise, such as :math:`x + h f(t_0, x)`.

    Where the drift is affine this is the mean of what the method would return. The variance that is left out is that of
    one step, about :math:`\int w\,dt` over it.
    """


@dataclass(frozen=True, slots=True)
class Tweedie:
    r"""As a last step: the posterior mean :math:`\hat x = \mathbb E[x_{\mathrm{data}}|x_t = x]`, the data itself.

    By Tweedie's formula :math:`\hat x = (x + \sigma_t^2 s)/\alpha_t`. The grid must end where σ = 0. What remains to be
    drawn at t, the posterior covariance :math:`\tfrac{\sigma^2}{\alpha}\nabla\hat x`, is missing from the samples.
    """

    evaluations: ClassVar[int] = 1
    nodes: ClassVar[tuple[float, ...]] = (0.0,)
    stochastic: ClassVar[bool] = False
    solves: ClassVar[type[Denoising]] = Denoising

    def init(self, problem: Denoising, t0: float, x0: Array) -> None:
        """Carry nothing."""

    def step(self, problem: Denoising, t0: float, t1: float, x: Array, state: None, noise: Any) -> tuple[Array, None]:
        """Return the data prediction at t0."""
        return problem.data(t0, x), None


@dataclass(frozen=True, slots=True)
class LastStep(Planned, Holding):
    r"""A stochastic method whose last step is taken by another.

    >>> import numpy as np
    >>> from solvers import SDE, EulerMaruyama, LastStep, Mean, solve, uniform
    >>> sde = SDE(lambda time, x: x, lambda time: 1.0)
    >>> plain, ended = EulerMaruyama(), LastStep(EulerMaruyama(), Mean())
    >>> x, grid = np.ones(3), uniform(4)
    >>> noisy, mean = (solve(sde, x, grid, m, rng=np.random.default_rng(0)).x for m in (plain, ended))
    >>> before = solve(sde, x, grid[:-1], plain, rng=np.random.default_rng(0)).x
    >>> bool(np.allclose(mean, 0.75 * before)), bool(np.allclose(noisy, mean))
    (True, False)

    Orders, evaluations and nodes are those of ``method``. In the weak sense leaving out noise costs
    :math:`\int w\,dt` over the last interval, in variance: :math:`O(h^2)` where w vanishes at the data and
    :math:`O(h)` where it does not.

    Args:
        method: what takes all other steps; a stochastic method.
        last: :class:`Mean`, :class:`Tweedie`, or a deterministic method, which follows the probability flow. One for
            another kind of problem than ``method`` needs an SDE that knows its ``relatives``, as those of
            ``interpolants.reverse_sde`` do.
        stop: the time at which the last step ends; a solve takes the last time of its grid.

    Raises:
        TypeError: ``method`` is not a stochastic method, or is a LastStep; ``last`` is none of these.
    """

    method: Method
    last: Any
    stop: float | None = None

    def __post_init__(self) -> None:
        if not getattr(self.method, "stochastic", False) or isinstance(self.method, type):
            remedy = "pass EulerMaruyama() or another; a deterministic method has no noise to leave out"
            raise TypeError(explain("method: a stochastic one", repr(self.method), remedy))
        if isinstance(self.method, LastStep):
            wanted, received = "method: a stochastic one without a last step of its own", "LastStep"
            raise TypeError(explain(wanted, received, "pass the method inside it: a solve has one last step"))
        parts = ("nodes", "solves", "init", "step")
        known = not isinstance(self.last, type) and all(hasattr(self.last, part) for part in parts)
        if not isinstance(self.last, Mean) and not (known and not self.last.stochastic):
            remedy = "pass Mean(), Tweedie(), Euler(), DDIM() or another deterministic method"
            raise TypeError(explain("last: Mean(), Tweedie() or a deterministic method", repr(self.last), remedy))

    @property
    def weak_order(self) -> int:
        """That of the method."""
        return int(getattr(self.method, "weak_order", self.order))

    @property
    def strong_order(self) -> float:
        """That of the method."""
        return float(getattr(self.method, "strong_order", self.order))

    def on(self, times: Sequence[float]) -> LastStep:
        """Return the method with the last time of the grid."""
        return replace(self, method=on_grid(self.method, times), stop=times[-1])

    def init(self, problem: Any, t0: float, x0: Array) -> Any:
        """Carry what the method carries."""
        return self.method.init(problem, t0, x0)

    def step(self, problem: Any, t0: float, t1: float, x: Array, state: Any, noise: Increment) -> tuple[Array, Any]:
        """Go from ``x`` at t0 to t1."""
        if t1 != self.stop:
            return self.method.step(problem, t0, t1, x, state, noise)
        if isinstance(self.last, Mean):
            return self.method.step(problem, t0, t1, x, state, lambda t0, t1: 0.0 * x)
        own = _posed(problem, self.last)
        return self.last.step(own, t0, t1, x, self.last.init(own, t0, x), None)  # type: ignore[no-any-return]

    def parts(self, problem: Any, times: list[float]) -> list[tuple[Any, list[float], Any]]:
        """Return (problem, times, method) of the steps before the last and of the last."""
        method = on_grid(self.method, times)
        if isinstance(self.last, Mean):
            return [(problem, times, method)]
        before = [(problem, times[:-1], method)] if len(times) > 2 else []
        return [*before, (_posed(problem, self.last), times[-2:], self.last)]

    def fits(self, problem: Any, times: list[float]) -> None:
        """Refuse a last step that the problem or the grid does not allow."""
        for posed, part, method in self.parts(problem, times):
            if isinstance(posed, Denoising):
                check_start(posed, part[0])
            check_fits(method, posed, part)
            if isinstance(method, Tweedie) and posed.sigma(part[-1]) != 0.0:
                received = f"sigma = {float(posed.sigma(part[-1])):.3g} at {part[-1]!r}"
                remedy = "end the grid at t = 0, or take the last step with the ODE: LastStep(method, DDIM())"
                raise ValueError(explain("a grid that ends at the data, sigma = 0, for Tweedie()", received, remedy))

    def visits(self, problem: Any, ts: list[float]) -> list[list[float]]:
        """Return the times at which each step evaluates."""
        return [times for posed, part, method in self.parts(problem, ts) for times in visited(method, part, posed)]


def _posed(problem: Any, last: Any) -> Any:
    """Return the problem of the kind that the last step solves."""
    if isinstance(problem, last.solves):
        return problem
    relatives = getattr(problem, "relatives", None)
    if relatives is None:
        name, kind = type(last).__name__, type(problem).__name__
        wanted = f"a problem that knows its {last.solves.__name__}, for a last step by {name}"
        received, remedy = f"a {kind}", "take the last step with DDIM(), Tweedie() or Mean()"
        if isinstance(problem, SDE):
            received = "an SDE without relatives"
            remedy = "build it with interpolants.reverse_sde and solve it without a plan, or pass Mean()"
        raise TypeError(explain(wanted, received, remedy))
    return relatives(last.solves)

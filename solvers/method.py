"""The contract between a method and the loop.

A method is a frozen dataclass that states its order and where it evaluates, and whose ``step`` is arithmetic: it
changes nothing it was given. The loop in ``solve`` reads the statement, the tests measure it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from solvers.arrays import Array
from solvers.problem import Problem

if TYPE_CHECKING:
    from solvers.plan import Plan


class Method(Protocol):
    """What ``solve`` needs to know of a method.

    The attributes are read-only here so that a method may state them once for its class or, where they depend on an
    argument such as ``order=``, once per instance. A stochastic method states ``weak_order`` and ``strong_order`` (for
    additive noise) as well; its ``order`` is the weak one, but where it states a ``deterministic_order``, that which it
    has without noise: then it is this. ``noise_nodes`` are the fractions of a step at which a method asks for the
    diffusion of an SDE, where they are not its nodes. A method whose steps do not all evaluate at the same
    fractions of their time states ``visits(problem, times)``, the times of evaluation of each step; its
    ``evaluations`` and ``nodes`` are then those of a step that is neither a start nor an end. A method that is made for
    one problem or grid states ``fits(problem, times)``, which raises where they are others. A stochastic method for
    :class:`solvers.Denoising` problems that takes rising times too states ``rising``. One whose steps depend on
    their place in the grid, as a last step of its own does, states ``on(times)``, which returns what takes the steps.
    """

    @property
    def order(self) -> int:
        """Power of the step in the error at a fixed time."""

    @property
    def evaluations(self) -> int:
        """Evaluations of the problem per step."""

    @property
    def nodes(self) -> tuple[float, ...]:
        """Fractions of a step at which the problem is evaluated; 0.0 is exactly its start, 1.0 exactly its end."""

    @property
    def stochastic(self) -> bool:
        """Whether a step draws noise."""

    @property
    def solves(self) -> type[Problem]:
        """The kind of problem that ``step`` understands."""

    def init(self, problem: Any, t0: float, x0: Array) -> Any:
        """Return the state carried from step to step, None where there is none."""

    def step(self, problem: Any, t0: float, t1: float, x: Array, state: Any, noise: Any) -> tuple[Array, Any]:
        """Go from ``x`` at t0 to t1; ``noise(t0, t1)`` is a Wiener increment of variance :math:`|t_1 - t_0|`."""


class Planned:
    """A method whose steps are linear in states, evaluations and noise, so that a solve can be written down ahead."""

    __slots__ = ()

    def plan(self, problem: Any, ts: Any) -> Plan:
        r"""Return this method with all that it computes on the host done for a problem and a grid.

        ``solve(problem, x, ts, method.plan(problem, ts))`` gives, to rounding, what ``method`` gives. Making the plan
        costs about as much as the host's part of a few solves; a solve that follows it only adds arrays. It pays where
        one grid is solved often and a network is small, or where a step costs a quadrature, as with
        :class:`solvers.ExponentialEulerMaruyama`.

        Args:
            problem: a problem of the kind that the method solves; its expensive callable is not called.
            ts: the grid.

        Raises:
            TypeError, ValueError, PoleError: as :func:`solvers.solve` does before its first evaluation.
        """
        from solvers.plan import plan  # which reads what is defined here

        return plan(self, problem, ts)  # type: ignore[arg-type]


class Holding:
    """What holds a ``method`` and has its facts: a plan, a last step, a change of variables."""

    __slots__ = ()
    method: Method

    @property
    def order(self) -> int:
        """That of the method."""
        return self.method.order

    @property
    def evaluations(self) -> int:
        """Those of the method."""
        return self.method.evaluations

    @property
    def nodes(self) -> tuple[float, ...]:
        """Those of the method."""
        return self.method.nodes

    @property
    def stochastic(self) -> bool:
        """Whether a step draws noise."""
        return self.method.stochastic

    @property
    def solves(self) -> type[Problem]:
        """The kind of problem that the method solves."""
        return self.method.solves

    @property
    def reads_clock(self) -> bool:
        """Whether the method looks at the clock of the noise."""
        return bool(getattr(self.method, "reads_clock", False))

    @property
    def rising(self) -> bool:
        """Whether the method takes rising times."""
        return bool(getattr(self.method, "rising", False))


def on_grid(method: Method, times: Sequence[float]) -> Method:
    """Return what takes the steps of a method on a grid: itself, unless its steps depend on their place."""
    on = getattr(method, "on", None)
    found: Method = method if on is None else on(times)
    return found


def check_fits(method: Method, problem: Any, times: Sequence[float]) -> None:
    """Refuse a problem or a grid for which a method is not made."""
    fits = getattr(method, "fits", None)
    if fits is not None:
        fits(problem, list(times))


def visited(method: Method, times: Sequence[float], problem: Any) -> list[list[float]]:
    """Return the times at which each step of a solve evaluates."""
    found: list[list[float]] = [[] for _ in times[1:]]
    for k, time in evaluation_times(method, times, problem):
        found[k].append(time)
    return found


def at_node(node: float, t0: float, t1: float) -> float:
    """Return the time at a fraction of a step: its ends exactly, and between them with the rounding of the methods."""
    return t0 if node == 0.0 else t1 if node == 1.0 else t0 + node * (t1 - t0)


def evaluation_times(method: Method, times: Sequence[float], problem: Any) -> Iterator[tuple[int, float]]:
    """Yield (index of the step, time) for each evaluation of a solve, with the rounding of the methods themselves."""
    visits = getattr(method, "visits", None)
    if visits is not None:
        for k, visited in enumerate(visits(problem, list(times))):
            yield from ((k, time) for time in visited)
        return
    for k in range(len(times) - 1):
        t0, t1 = times[k], times[k + 1]
        for node in method.nodes:
            yield k, at_node(node, t0, t1)

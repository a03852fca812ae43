r"""What is solved: an ODE :math:`\dot x = f(t, x)` or an SDE with additive noise, and where it may be evaluated.

Both directions of time are allowed. Sampling runs from t = 1 (noise) to t = 0 (data), so a step
:math:`h = t_1 - t_0` is negative there, and the noise of a step has variance :math:`|h|`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from solvers.arrays import Array
from solvers.errors import explain

Field: TypeAlias = Callable[[float, Array], Array]


@dataclass(frozen=True)
class Pole:
    r"""A time at which a problem has no finite value.

    Args:
        time: where.
        reason: what diverges there, in words for the person who reads the error.
        remedy: what to choose instead; a solve adds which end of the grid to move.
        integrable: whether what diverges has a finite integral up to the pole. Where it has not, as noise of variance
            :math:`w \sim 1/(1 - t)` at t = 1, no number of steps reaches the pole: a grid may not end there.
    """

    time: float
    reason: str
    remedy: str = ""
    integrable: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.time, (int, float)) or math.isnan(self.time):
            raise TypeError(explain("time of the pole: a number", repr(self.time), "pass a float"))
        for name in ("reason", "remedy"):
            if not isinstance(getattr(self, name), str):
                received = type(getattr(self, name)).__name__
                raise TypeError(explain(f"{name} of the pole: text", received, "describe it in words"))


class Problem:
    """What every problem has: its poles, its domain, and the callable that a solve counts.

    ``evaluated`` names the attribute whose calls are the number of function evaluations: the expensive one.
    """

    evaluated: ClassVar[str]
    poles: tuple[Pole, ...]
    domain: tuple[float, float]


def check_callable(name: str, value: object, signature: str) -> None:
    """Refuse a part of a problem that cannot be called."""
    if not callable(value):
        raise TypeError(explain(f"{name}: a callable {signature}", type(value).__name__, "pass the function itself"))


def check_limits(problem: Problem) -> None:
    """Refuse poles that are not poles and a domain that holds no interval."""
    if not isinstance(problem.poles, tuple) or not all(isinstance(pole, Pole) for pole in problem.poles):
        remedy = "write poles=(Pole(time, reason),), with the comma"
        raise TypeError(explain("poles: a tuple of Pole", repr(problem.poles), remedy))
    domain = problem.domain
    if not isinstance(domain, tuple) or len(domain) != 2:
        raise TypeError(explain("domain: two times (lowest, highest)", repr(domain), "write domain=(0.0, 1.0)"))
    if not domain[0] < domain[1]:
        remedy = "put the lower time first"
        raise ValueError(explain("domain: a lowest time below the highest", repr(domain), remedy))


@dataclass(frozen=True)
class ODE(Problem):
    r"""An ordinary differential equation :math:`\dot x = f(t, x)`.

    Args:
        drift: :math:`f(t, x)`, called with a Python float and an array; returns an array like ``x``.
        poles: times at which ``drift`` is not finite.
        domain: the lowest and highest time at which ``drift`` has a meaning.
    """

    evaluated: ClassVar[str] = "drift"
    drift: Field
    poles: tuple[Pole, ...] = ()
    domain: tuple[float, float] = (-math.inf, math.inf)

    def __post_init__(self) -> None:
        check_callable("drift", self.drift, "(time: float, x) -> array like x")
        check_limits(self)


@dataclass(frozen=True)
class SDE(Problem):
    r"""A stochastic differential equation with additive noise, :math:`dX = f(t, X)\,dt + g(t)\,dW`.

    In an interpolant's reverse SDE :math:`g = \sqrt{w_t}`. Since ``g`` depends on time alone, the Itô and the
    Stratonovich reading agree. With decreasing time ``W`` is the backward Wiener process: its increments are
    independent of the future already visited and have variance :math:`|h|`.

    Args:
        drift: :math:`f(t, x)`, called with a Python float and an array; returns an array like ``x``.
        diffusion: :math:`g(t) \ge 0`, called with and returning a float.
        poles: times at which ``drift`` or ``diffusion`` is not finite.
        domain: the lowest and highest time at which both have a meaning.
        relatives: ``relatives(kind)`` is the problem of another kind that the same model poses, such as the
            :class:`ODE` with the same marginals: what a last step without noise needs. None where there is no model.
    """

    evaluated: ClassVar[str] = "drift"
    drift: Field
    diffusion: Callable[[float], float]
    poles: tuple[Pole, ...] = ()
    domain: tuple[float, float] = (-math.inf, math.inf)
    relatives: Callable[[type[Problem]], Problem] | None = None

    def __post_init__(self) -> None:
        check_callable("drift", self.drift, "(time: float, x) -> array like x")
        check_callable("diffusion", self.diffusion, "(time: float) -> float")
        if self.relatives is not None:
            check_callable("relatives", self.relatives, "(kind: type) -> problem of that kind")
        check_limits(self)

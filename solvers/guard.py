"""The problem as the loop sees it: every evaluation counted, every answer looked at."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from solvers.arrays import Array, describe
from solvers.errors import explain
from solvers.problem import Field, Problem


class Counted:
    """A field that counts its calls and refuses an answer that is not like the state.

    Only the first ``watched`` answers are looked at, those of the first step: a field that broadcasts or promotes does
    so from the start, and a seventh of a microsecond per call is not nothing beside a small state.
    """

    __slots__ = ("count", "dtype", "field", "name", "shape", "watched")

    def __init__(self, field: Field, name: str, x: Array, watched: int) -> None:
        self.field = field
        self.name = name
        self.shape = x.shape
        self.dtype = x.dtype
        self.watched = watched
        self.count = 0

    def __call__(self, time: float, x: Array) -> Array:
        """Evaluate the field."""
        self.count += 1
        value = self.field(time, x)
        if self.count > self.watched or self._alike(value):
            return value
        raise self._refusal(time, value)

    def _alike(self, value: Array) -> bool:
        try:
            return bool(value.shape == self.shape and value.dtype == self.dtype)
        except AttributeError:
            return False

    def _refusal(self, time: float, value: object) -> Exception:
        wanted = f"{self.name}(time, x) like x: dtype {self.dtype} and shape {tuple(self.shape)}"
        received = f"{describe(value)} at time {time!r}"
        if not hasattr(value, "shape") or not hasattr(value, "dtype"):
            return TypeError(explain(wanted, received, "return an array of the library of x"))
        if tuple(value.shape) != tuple(self.shape):
            return ValueError(explain(wanted, received, f"return one value per entry of x from {self.name}"))
        remedy = f"cast inside {self.name}, or give x the dtype in which {self.name} computes"
        return TypeError(explain(wanted, received, remedy))


def checked_scalar(name: str, function: Callable[[float], float], remedy: str) -> Callable[[float], float]:
    """Return the same function of time, with an answer that is a Python float, finite and not negative.

    A numpy float64 would silently promote a float32 state, and a tensor on a device would make the loop wait for it.
    """

    def checked(time: float) -> float:
        value = function(time)
        if type(value) is not float:
            value = _to_float(f"{name}(time)", value, f"at time {time!r}")
        if not 0.0 <= value < math.inf:
            raise ValueError(
                explain(f"{name}(time): a finite number, at least 0, at time {time!r}", repr(value), remedy)
            )
        return value

    return checked


def _to_float(name: str, value: Any, where: str) -> float:
    if isinstance(value, numbers.Real) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return float(value)
    wanted = f"{name}: a float on the host, {where}"
    raise TypeError(explain(wanted, describe(value), "compute it with math or numpy and return a float"))


def checked_clock(clock: Callable[[float, float], float]) -> Callable[[float, float], float]:
    """Return the same function, with an answer that is a Python float, not negative and not NaN."""

    def checked(t: float, s: float) -> float:
        value = _to_float("clock(t, s)", clock(t, s), f"from {t!r} to {s!r}")
        if not value >= 0.0:
            wanted = f"clock({t!r}, {s!r}): a number, at least 0 or infinite"
            raise ValueError(explain(wanted, repr(value), "it is the integral of w/sigma**2 from s to t, and w >= 0"))
        return value

    return checked


class Relative:
    """The field of a problem that the same model poses: its calls are counted with the others."""

    __slots__ = ("counted", "own")

    def __init__(self, field: Field, name: str, x: Array, counted: Counted) -> None:
        self.own = Counted(field, name, x, 1)
        self.counted = counted

    def __call__(self, time: float, x: Array) -> Array:
        """Evaluate the field."""
        self.counted.count += 1
        return self.own(time, x)


def guard(problem: Problem, x: Array, watched: int) -> tuple[Any, Counted]:
    """Return the problem with its callables checked, and the counter of its evaluations.

    Args:
        problem: as the caller made it; it is not changed.
        x: the initial state, which every answer must be like.
        watched: how many answers to compare with ``x``.
    """
    name = problem.evaluated
    counted = Counted(getattr(problem, name), name, x, watched)
    return guarded(problem, counted, x, counted), counted


def guarded(problem: Any, field: Field, x: Array, counted: Counted) -> Any:
    """Return the problem with a field in place of its own, and every other part checked."""
    parts: dict[str, Any] = {**vars(problem), problem.evaluated: field}
    if parts.get("relatives") is not None:
        parts["relatives"] = _relatives(parts["relatives"], x, counted)
    if "diffusion" in parts:
        remedy = "the diffusion is the root of w, which must not be negative; keep the grid away from where it is"
        parts["diffusion"] = checked_scalar("diffusion", parts["diffusion"], remedy)
    if "clock" in parts:
        parts["clock"] = checked_clock(parts["clock"])
        remedy = "keep the grid inside the domain of the schedule"
        parts |= {part: checked_scalar(part, parts[part], remedy) for part in ("alpha", "sigma")}
    return type(problem)(**parts)


def _relatives(
    relatives: Callable[[type[Problem]], Problem], x: Array, counted: Counted
) -> Callable[[type[Problem]], Problem]:
    def found(kind: type[Problem]) -> Problem:
        problem = relatives(kind)
        name = problem.evaluated
        relative: Problem = guarded(problem, Relative(getattr(problem, name), name, x, counted), x, counted)
        return relative

    return found

"""What the meter needs to know of a sampler; an adapter says it for those of another library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from solvers.errors import NonFiniteError, explain
from solvers.order.draws import Draws
from solvers.order.levels import Level
from solvers.order.trials import Model

States: TypeAlias = NDArray[np.floating[Any]]
Run: TypeAlias = Callable[[Model, States, Draws], States]


@dataclass(frozen=True)
class Drive:
    """A sampler made ready for a number of steps.

    Args:
        start: the level at which it starts.
        stop: the level at which its answer is read.
        run: (model, x, draws) → the state at ``stop``, shape and dtype those of x.
        released: the same in the precision of the release, where ``run`` raises that to float64; None where it does
            not.
    """

    start: Level
    stop: Level
    run: Run
    released: Run | None = None

    def answer(self, model: Model, x: States, draws: Draws) -> States:
        """Return what ``run`` returns, NaN where it says that there is no finite answer.

        Raises:
            TypeError: an answer of another shape than x.
        """
        with np.errstate(all="ignore"):
            try:
                found = self.run(model, x, draws)
            except (NonFiniteError, ArithmeticError):
                return np.full_like(x, np.nan)
        if np.shape(found) != x.shape:
            remedy = "return the state at the last time"
            raise TypeError(explain(f"an answer of shape {x.shape}, that of x", f"shape {np.shape(found)}", remedy))
        return found


@runtime_checkable
class Sampler(Protocol):
    """A sampler that can be driven on levels of noise."""

    @property
    def name(self) -> str:
        """What to call it."""

    @property
    def claimed(self) -> float | None:
        """The order its documentation, its name or its argument states; None where none does."""

    @property
    def coarsest(self) -> int:
        """The fewest steps that show its regular behaviour; the meter doubles from there."""

    @property
    def takes_steps(self) -> bool:
        """Whether it takes the steps it is given; otherwise its grid is its own."""

    def interior(self, n: int, *, equal: bool = False) -> Drive:
        """Return n steps between two levels inside.

        They are of unequal length, with ``equal`` of equal length in the variable that the sampler counts; or its own.
        """

    def whole(self, n: int) -> Drive | None:
        """Return n steps of its own schedule, from its first level to its last; None where it has no schedule.

        Raises:
            ValueError: it refuses to go to an end.
        """

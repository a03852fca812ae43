"""Steps that choose their own length: settings, control, dense output, events."""

from solvers.adaptive.run import solve_adaptively
from solvers.adaptive.settings import Adaptive, Event
from solvers.adaptive.solution import AdaptiveSolution, Occurrence

__all__ = ["Adaptive", "AdaptiveSolution", "Event", "Occurrence", "solve_adaptively"]

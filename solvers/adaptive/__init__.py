"""Steps that choose their own length: settings, control, dense output, events."""

from solvers.adaptive.settings import Adaptive, Event
from solvers.adaptive.solution import AdaptiveSolution, Occurrence
from solvers.adaptive.start import solve_adaptively

__all__ = ["Adaptive", "AdaptiveSolution", "Event", "Occurrence", "solve_adaptively"]

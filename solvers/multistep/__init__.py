"""Methods that remember the slopes of earlier steps, one per file."""

from solvers.multistep.adams_bashforth import AdamsBashforth

__all__ = ["AdamsBashforth"]

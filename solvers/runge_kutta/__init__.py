"""Explicit Runge–Kutta methods with a fixed step, one per file."""

from solvers.runge_kutta.euler import Euler
from solvers.runge_kutta.heun import Heun
from solvers.runge_kutta.midpoint import Midpoint
from solvers.runge_kutta.rk4 import RK4

__all__ = ["RK4", "Euler", "Heun", "Midpoint"]

"""Explicit Runge–Kutta methods, one per file: a tableau of exact fractions each, and one step for all."""

from solvers.runge_kutta.bosh3 import Bosh3
from solvers.runge_kutta.dop853 import DOP853
from solvers.runge_kutta.dopri5 import Dopri5
from solvers.runge_kutta.euler import Euler
from solvers.runge_kutta.explicit import RungeKutta
from solvers.runge_kutta.heun import Heun
from solvers.runge_kutta.midpoint import Midpoint
from solvers.runge_kutta.ralston import Ralston
from solvers.runge_kutta.rk4 import RK4
from solvers.runge_kutta.ssprk3 import SSPRK3
from solvers.runge_kutta.tsit5 import Tsit5

__all__ = [
    "DOP853",
    "RK4",
    "SSPRK3",
    "Bosh3",
    "Dopri5",
    "Euler",
    "Heun",
    "Midpoint",
    "Ralston",
    "RungeKutta",
    "Tsit5",
]

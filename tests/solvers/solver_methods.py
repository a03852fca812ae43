"""Every method, so that a law is written once and met by all."""

from solvers import RK4, Euler, EulerMaruyama, Heun, Midpoint, StochasticHeun

DETERMINISTIC = [Euler(), Midpoint(), Heun(), RK4()]
STOCHASTIC = [EulerMaruyama(), StochasticHeun()]
METHODS = [*DETERMINISTIC, *STOCHASTIC]


def name(method: object) -> str:
    return type(method).__name__

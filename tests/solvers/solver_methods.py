"""Every method, so that a law is written once and met by all."""

from solvers import (
    DDIM,
    RK4,
    Ancestral,
    Euler,
    EulerMaruyama,
    ExponentialEulerMaruyama,
    Heun,
    Midpoint,
    StochasticHeun,
)

DETERMINISTIC = [Euler(), Midpoint(), Heun(), RK4()]
STOCHASTIC = [EulerMaruyama(), StochasticHeun()]
METHODS = [*DETERMINISTIC, *STOCHASTIC]
DENOISING = [DDIM(), ExponentialEulerMaruyama(), Ancestral()]


def name(method: object) -> str:
    return type(method).__name__

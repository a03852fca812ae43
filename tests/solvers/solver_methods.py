"""Every method, so that a law is written once and met by all."""

from solvers import (
    DDIM,
    DOP853,
    RK4,
    SSPRK3,
    Ancestral,
    Bosh3,
    Dopri5,
    Euler,
    EulerMaruyama,
    ExponentialEulerMaruyama,
    Heun,
    Midpoint,
    Ralston,
    StochasticHeun,
    Tsit5,
)

ADAPTABLE = [Bosh3(), Dopri5(), Tsit5(), DOP853()]
DETERMINISTIC = [Euler(), Midpoint(), Heun(), Ralston(), RK4(), SSPRK3(), *ADAPTABLE]
STOCHASTIC = [EulerMaruyama(), StochasticHeun()]
METHODS = [*DETERMINISTIC, *STOCHASTIC]
DENOISING = [DDIM(), ExponentialEulerMaruyama(), Ancestral()]


def name(method: object) -> str:
    return type(method).__name__

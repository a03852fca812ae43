"""Methods for SDEs with additive noise, one per file."""

from solvers.stochastic.euler_maruyama import EulerMaruyama
from solvers.stochastic.stochastic_heun import StochasticHeun

__all__ = ["EulerMaruyama", "StochasticHeun"]

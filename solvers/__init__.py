r"""Solvers for the ODEs and SDEs of stochastic interpolants, on numpy, torch and jax arrays.

>>> import numpy as np
>>> from solvers import ODE, Heun, solve, uniform
>>> decay = ODE(lambda time, x: -x)
>>> solution = solve(decay, np.ones(1), uniform(100, start=0.0, stop=1.0), Heun())
>>> bool(abs(solution.x[0] - np.exp(-1.0)) < 1e-5), solution.nfe
(True, 200)

t = 0 is data and t = 1 is noise; ``uniform(n)`` goes from noise to data. Importing this package imports numpy and
nothing heavier.
"""

from solvers.denoising import Denoising
from solvers.errors import NonFiniteError, PoleError
from solvers.exponential import (
    DDIM,
    DEIS,
    RES,
    Ancestral,
    DPMSolver,
    DPMSolverPP,
    EDMHeun,
    ExponentialEulerMaruyama,
    Preconditioned,
    UniPC,
)
from solvers.grid import equidistributed, power, uniform
from solvers.local_error import local_errors
from solvers.multistep import AdamsBashforth
from solvers.problem import ODE, SDE, Pole
from solvers.runge_kutta import RK4, Euler, Heun, Midpoint
from solvers.solve import Solution, solve, steps
from solvers.stochastic import EulerMaruyama, StochasticHeun

__all__ = [
    "DDIM",
    "DEIS",
    "ODE",
    "RES",
    "RK4",
    "SDE",
    "AdamsBashforth",
    "Ancestral",
    "DPMSolver",
    "DPMSolverPP",
    "Denoising",
    "EDMHeun",
    "Euler",
    "EulerMaruyama",
    "ExponentialEulerMaruyama",
    "Heun",
    "Midpoint",
    "NonFiniteError",
    "Pole",
    "PoleError",
    "Preconditioned",
    "Solution",
    "StochasticHeun",
    "UniPC",
    "equidistributed",
    "local_errors",
    "power",
    "solve",
    "steps",
    "uniform",
]

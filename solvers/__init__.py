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

from solvers.adaptive import Adaptive, AdaptiveSolution, Event, Occurrence
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
    EDMStochastic,
    ExponentialEulerMaruyama,
    Preconditioned,
    PredictorCorrector,
    Restart,
    SASolver,
    SDEDPMSolverPP,
    UniPC,
)
from solvers.grid import equidistributed, power, uniform
from solvers.last_step import LastStep, Mean, Tweedie
from solvers.local_error import local_errors
from solvers.multistep import AdamsBashforth
from solvers.problem import ODE, SDE, Pole
from solvers.runge_kutta import DOP853, RK4, SSPRK3, Bosh3, Dopri5, Euler, Heun, Midpoint, Ralston, Tsit5
from solvers.solution import Solution
from solvers.solve import solve, steps
from solvers.stochastic import SRA1, SRA3, EulerMaruyama, LeimkuhlerMatthews, ShARK, SiTHeun, StochasticHeun

__all__ = [
    "DDIM",
    "DEIS",
    "DOP853",
    "ODE",
    "RES",
    "RK4",
    "SDE",
    "SRA1",
    "SRA3",
    "SSPRK3",
    "AdamsBashforth",
    "Adaptive",
    "AdaptiveSolution",
    "Ancestral",
    "Bosh3",
    "DPMSolver",
    "DPMSolverPP",
    "Denoising",
    "Dopri5",
    "EDMHeun",
    "EDMStochastic",
    "Euler",
    "EulerMaruyama",
    "Event",
    "ExponentialEulerMaruyama",
    "Heun",
    "LastStep",
    "LeimkuhlerMatthews",
    "Mean",
    "Midpoint",
    "NonFiniteError",
    "Occurrence",
    "Pole",
    "PoleError",
    "Preconditioned",
    "PredictorCorrector",
    "Ralston",
    "Restart",
    "SASolver",
    "SDEDPMSolverPP",
    "ShARK",
    "SiTHeun",
    "Solution",
    "StochasticHeun",
    "Tsit5",
    "Tweedie",
    "UniPC",
    "equidistributed",
    "local_errors",
    "power",
    "solve",
    "steps",
    "uniform",
]

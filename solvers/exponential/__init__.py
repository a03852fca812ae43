"""Methods that integrate the linear part of a denoising problem exactly, one per file."""

from solvers.exponential.ancestral import Ancestral
from solvers.exponential.ddim import DDIM
from solvers.exponential.deis import DEIS
from solvers.exponential.dpm_solver import DPMSolver
from solvers.exponential.dpm_solver_pp import DPMSolverPP
from solvers.exponential.edm_heun import EDMHeun
from solvers.exponential.edm_stochastic import EDMStochastic
from solvers.exponential.exponential_euler_maruyama import ExponentialEulerMaruyama
from solvers.exponential.preconditioned import Preconditioned
from solvers.exponential.predictor_corrector import PredictorCorrector
from solvers.exponential.res import RES
from solvers.exponential.restart import Restart
from solvers.exponential.sa_solver import SASolver
from solvers.exponential.sde_dpm_solver_pp import SDEDPMSolverPP
from solvers.exponential.unipc import UniPC

__all__ = [
    "DDIM",
    "DEIS",
    "RES",
    "Ancestral",
    "DPMSolver",
    "DPMSolverPP",
    "EDMHeun",
    "EDMStochastic",
    "ExponentialEulerMaruyama",
    "Preconditioned",
    "PredictorCorrector",
    "Restart",
    "SASolver",
    "SDEDPMSolverPP",
    "UniPC",
]

"""Methods for SDEs with additive noise, one per file."""

from solvers.stochastic.euler_maruyama import EulerMaruyama
from solvers.stochastic.leimkuhler_matthews import LeimkuhlerMatthews
from solvers.stochastic.shark import ShARK
from solvers.stochastic.sit_heun import SiTHeun
from solvers.stochastic.sra1 import SRA1
from solvers.stochastic.sra3 import SRA3
from solvers.stochastic.stochastic_heun import StochasticHeun

__all__ = ["SRA1", "SRA3", "EulerMaruyama", "LeimkuhlerMatthews", "ShARK", "SiTHeun", "StochasticHeun"]

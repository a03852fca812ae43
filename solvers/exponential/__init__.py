"""Methods that integrate the linear part of a denoising problem exactly, one per file."""

from solvers.exponential.ancestral import Ancestral
from solvers.exponential.ddim import DDIM
from solvers.exponential.exponential_euler_maruyama import ExponentialEulerMaruyama

__all__ = ["DDIM", "Ancestral", "ExponentialEulerMaruyama"]

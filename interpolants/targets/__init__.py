"""Targets whose marginals, scores and velocities are known exactly under any schedule."""

from interpolants.targets.covariance import LowRank
from interpolants.targets.empirical import Empirical
from interpolants.targets.gaussian import Gaussian
from interpolants.targets.mixture import GaussianMixture
from interpolants.targets.posterior import EmpiricalPosterior, MixturePosterior, Posterior
from interpolants.targets.product import Product
from interpolants.targets.target import Target

__all__ = [
    "Empirical",
    "EmpiricalPosterior",
    "Gaussian",
    "GaussianMixture",
    "LowRank",
    "MixturePosterior",
    "Posterior",
    "Product",
    "Target",
]

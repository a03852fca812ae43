"""Targets whose marginals, scores and velocities are known exactly under any schedule."""

from interpolants.targets.covariance import LowRank
from interpolants.targets.empirical import Empirical
from interpolants.targets.gaussian import Gaussian
from interpolants.targets.mixture import GaussianMixture
from interpolants.targets.posterior import Posterior
from interpolants.targets.product import Product
from interpolants.targets.target import Target

__all__ = ["Empirical", "Gaussian", "GaussianMixture", "LowRank", "Posterior", "Product", "Target"]

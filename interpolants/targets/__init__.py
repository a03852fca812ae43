"""Targets whose marginals, scores and velocities are known exactly under any schedule."""

from interpolants.targets.empirical import Empirical
from interpolants.targets.gaussian import Gaussian
from interpolants.targets.mixture import GaussianMixture
from interpolants.targets.target import Target

__all__ = ["Empirical", "Gaussian", "GaussianMixture", "Target"]

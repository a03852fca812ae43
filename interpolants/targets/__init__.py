"""Targets whose marginals, scores and velocities are known exactly under any schedule."""

from interpolants.targets.gaussian import Gaussian
from interpolants.targets.mixture import GaussianMixture

__all__ = ["Gaussian", "GaussianMixture"]

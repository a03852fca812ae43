r"""From which density the times of training are drawn, and how.

Every choice has a density on the times of a schedule (:meth:`Times.of`), and its draws lie strictly inside its support:
no draw is t = 0 or t = 1, where a weight or a target may be infinite. Ends that are to be left out are arguments, never
a hidden constant.
"""

from interpolants.times.importance import Importance
from interpolants.times.law import Law, Times
from interpolants.times.log_snr import LogNormalSigma, LogSNR
from interpolants.times.plain import CosMap, LogitNormal, Uniform
from interpolants.times.shapes import Box, Cauchy, Laplace, Logistic, Normal, Shape
from interpolants.times.spread import Antithetic, LowDiscrepancy, Stratified

__all__ = [
    "Antithetic",
    "Box",
    "Cauchy",
    "CosMap",
    "Importance",
    "Laplace",
    "Law",
    "LogNormalSigma",
    "LogSNR",
    "Logistic",
    "LogitNormal",
    "LowDiscrepancy",
    "Normal",
    "Shape",
    "Stratified",
    "Times",
    "Uniform",
]

"""The density that a flow gives to its points: exact and estimated divergences, standard errors, bits per dimension."""

from solvers.likelihood.bits import bits_per_dimension, dequantise
from solvers.likelihood.density import log_likelihood, log_likelihood_of_samples
from solvers.likelihood.estimate import LogLikelihood, MeanLogLikelihood
from solvers.likelihood.probes import gaussian_probes, rademacher_probes
from solvers.likelihood.traces import Trace, divergence, hutch_plus_plus, hutchinson

__all__ = [
    "LogLikelihood",
    "MeanLogLikelihood",
    "Trace",
    "bits_per_dimension",
    "dequantise",
    "divergence",
    "gaussian_probes",
    "hutch_plus_plus",
    "hutchinson",
    "log_likelihood",
    "log_likelihood_of_samples",
    "rademacher_probes",
]

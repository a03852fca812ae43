"""What a network knows of the density of its samples: data to noise and back, log-likelihoods, bits per dimension."""

from backbone.likelihood.bits import Bits, Levels, dequantised_bits
from backbone.likelihood.flow import ModelFlow, RoundTrip, log_marginal

__all__ = ["Bits", "Levels", "ModelFlow", "RoundTrip", "dequantised_bits", "log_marginal"]

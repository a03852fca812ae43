r"""What moving the noise to the data costs, how far it goes, how straight and how steep.

With the exact velocity v of a path, or that of a model,

.. math::
   C(v) = \int\mathbb E|v|^2\,dt, \qquad \text{length} = \int\mathbb E|v|\,dt, \qquad
   \text{defect} = C - \mathbb E|X_1 - X_0|^2, \qquad \text{gap} = C - W_2^2, \qquad
   \operatorname{Lip} = \sup\|\nabla v\|.

Exact (1e-9) for Gaussians and on the line; sampled, with a standard error, elsewhere and for models.
"""

from interpolants.transport.clock import BREAKS
from interpolants.transport.distance import wasserstein2
from interpolants.transport.estimate import Estimate
from interpolants.transport.gaussian import expect_gaussian
from interpolants.transport.measures import (
    kinetic_gap,
    lipschitz,
    normalised_path_energy,
    path_length,
    straightness,
    transport_cost,
)
from interpolants.transport.sampled import excess_loss
from interpolants.transport.samples import bures, sample_wasserstein2, sliced_wasserstein2

__all__ = [
    "BREAKS",
    "Estimate",
    "bures",
    "excess_loss",
    "expect_gaussian",
    "kinetic_gap",
    "lipschitz",
    "normalised_path_energy",
    "path_length",
    "sample_wasserstein2",
    "sliced_wasserstein2",
    "straightness",
    "transport_cost",
    "wasserstein2",
]

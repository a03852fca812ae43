r"""Discrete diffusion as its papers define it: T noise rates, a chain of T steps, and its variational bound.

.. math:: q(x_k|x_{k-1}) = N\bigl(\sqrt{1 - \beta_k}\,x_{k-1}, \beta_k I\bigr), \qquad
          p_\theta(x_{k-1}|x_k) = N\bigl(\mu_\theta(x_k), \Sigma_\theta(x_k)\bigr), \qquad k = 1, \dots, T

A network knows k by its index, i = k − 1 = 0 … T − 1. The other half of this library has the same models in continuous
time (:class:`interpolants.schedules.Discrete`, t = k/T); :meth:`DiscreteDiffusion.model_of_time` goes there.
"""

from interpolants.ddpm.bound import VariationalBound, vlb_terms
from interpolants.ddpm.decoder import discretised_log_likelihood
from interpolants.ddpm.diffusion import DiscreteDiffusion
from interpolants.ddpm.respacing import spaced
from interpolants.ddpm.reverse import Predicted, ReverseChain, Reversed
from interpolants.ddpm.training import Losses, training_losses

__all__ = [
    "DiscreteDiffusion",
    "Losses",
    "Predicted",
    "ReverseChain",
    "Reversed",
    "VariationalBound",
    "discretised_log_likelihood",
    "spaced",
    "training_losses",
    "vlb_terms",
]

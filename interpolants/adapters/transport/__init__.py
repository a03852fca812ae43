r"""The interface of the ``transport`` package in SiT's published code. This package needs torch.

``from interpolants.adapters.transport import create_transport, Sampler`` takes the place of ``from transport import
create_transport, Sampler``. Its conventions hold inside it: time :math:`t' = 1 - t` runs from noise (0) to data (1),
the model is ``model(x, t', **kwargs)`` with :math:`t'` of shape (B,), x1 is data and x0 is noise, a velocity is
:math:`dx/dt'`, and "diffusion" is :math:`w/2`. Everything is computed by this library in its own.
"""

from interpolants.adapters.transport.kinds import ModelType, PathType, WeightType
from interpolants.adapters.transport.path_sampler import PathSampler
from interpolants.adapters.transport.sampler import Sampler
from interpolants.adapters.transport.training import Transport, create_transport

__all__ = ["ModelType", "PathSampler", "PathType", "Sampler", "Transport", "WeightType", "create_transport"]

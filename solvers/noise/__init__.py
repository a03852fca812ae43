r"""Where the noise of a step comes from.

An increment over :math:`[t_0, t_1]` is :math:`\Delta W \sim N(0, |t_1 - t_0| I)`, independent from step to step,
with the shape, dtype and device of the state. A generator of the library of the state gives one draw after another;
:class:`PerSample` gives each row a stream of its own, :class:`BrownianPath` a path that can be refined, and
:class:`Antithetic` gives half of the rows the noise of the others with the other sign.
"""

from solvers.noise.antithetic import Antithetic
from solvers.noise.brownian_path import BrownianPath
from solvers.noise.generators import increments
from solvers.noise.per_sample import PerSample
from solvers.noise.source import Increment, Noise, interval_of, normals, with_area

__all__ = [
    "Antithetic",
    "BrownianPath",
    "Increment",
    "Noise",
    "PerSample",
    "increments",
    "interval_of",
    "normals",
    "with_area",
]

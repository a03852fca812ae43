r"""Guidance: a combination of two predictions that is integrated in place of one.

A :class:`Guidance` combines the prediction of the model that is wanted with that of a weaker one, without the condition
or less trained. :func:`guided` makes of it a ``model(time, x)`` for every solver; ``backbone.bind`` does so with one
evaluation of a doubled batch.

Every prediction is affine in every other with the same coefficients, so a mix of velocities with weights that sum to
one is the same mix of scores, of noises and of data: :class:`ClassifierFree`, :class:`Autoguidance` and
:class:`Interval` do not depend on what the models predict. Those that measure lengths do: :class:`CFGZeroStar` acts on
velocities, :class:`APG` and :class:`Rescale` on the prediction of the data, whatever the models predict.
"""

from interpolants.guidance.interval import Interval
from interpolants.guidance.linear import Autoguidance, ClassifierFree
from interpolants.guidance.model import as_guidance, classifier_free, guided
from interpolants.guidance.projected import APG
from interpolants.guidance.rescaled import Rescale
from interpolants.guidance.rule import Guidance
from interpolants.guidance.zero_star import CFGZeroStar

__all__ = [
    "APG",
    "Autoguidance",
    "CFGZeroStar",
    "ClassifierFree",
    "Guidance",
    "Interval",
    "Rescale",
    "as_guidance",
    "classifier_free",
    "guided",
]

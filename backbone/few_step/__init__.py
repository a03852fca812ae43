"""One step and few steps: average velocities, shortcuts and consistency functions on the same backbone.

A loss of this package is passed to :func:`backbone.train` as ``objective=``. What it is made of is a function of any
callable, and an identity on the exact flows of Gaussians.
"""

from backbone.few_step.along import along, average_along
from backbone.few_step.consistency import Consistency, consistency_tangent
from backbone.few_step.improved_meanflow import ImprovedMeanFlow, compound_velocity
from backbone.few_step.intervals import guided_velocity
from backbone.few_step.meanflow import MeanFlow, meanflow_target
from backbone.few_step.network import as_flow_map, average_field
from backbone.few_step.sampling import FlowMap, Jump, consistency_problem, sample_consistency, sample_flow_map
from backbone.few_step.shortcut import Shortcut, two_steps

__all__ = [
    "Consistency",
    "FlowMap",
    "ImprovedMeanFlow",
    "Jump",
    "MeanFlow",
    "Shortcut",
    "along",
    "as_flow_map",
    "average_along",
    "average_field",
    "compound_velocity",
    "consistency_problem",
    "consistency_tangent",
    "guided_velocity",
    "meanflow_target",
    "sample_consistency",
    "sample_flow_map",
    "two_steps",
]

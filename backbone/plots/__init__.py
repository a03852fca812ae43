"""Figures of networks and their training, in the look of :mod:`interpolants.plots`, which saves them."""

from backbone.plots.attention import Reading, attention_page, distance_curves, read_attention
from backbone.plots.runs import Run, read_run, read_runs
from backbone.plots.training import training_curves, training_page

__all__ = [
    "Reading",
    "Run",
    "attention_page",
    "distance_curves",
    "read_attention",
    "read_run",
    "read_runs",
    "training_curves",
    "training_page",
]

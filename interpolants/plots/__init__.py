"""Figures. Each function draws on the Axes it is given and returns them; :func:`style` is the one look they share.

:func:`page` and :func:`save` draw and write the whole figures of ``sit plot``, with their numbers. Colours are those of
Okabe & Ito, told apart with every common form of colour blindness; curves also differ in dash.
"""

from interpolants.plots.curves import (
    diffusion_curves,
    path_length_curves,
    schedule_curves,
    transport_cost_curves,
    transport_cost_table,
)
from interpolants.plots.look import COLOURS, look, numbers, style
from interpolants.plots.pages import FIGURES, page, save
from interpolants.plots.paths import bounds, trajectories

__all__ = [
    "COLOURS",
    "FIGURES",
    "bounds",
    "diffusion_curves",
    "look",
    "numbers",
    "page",
    "path_length_curves",
    "save",
    "schedule_curves",
    "style",
    "trajectories",
    "transport_cost_curves",
    "transport_cost_table",
]

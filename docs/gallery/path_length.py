r"""
Path length
===========

How far points travel on average, :math:`\int_0^1\mathbb E|v|\,dt`. The standard deviations of GVP
and VP move one way only and attain the bound for every s; Linear's first shrinks and then grows again, a detour.
"""

import matplotlib.pyplot as plt

from interpolants import GVP, VP, Linear
from interpolants.plots import path_length_curves, style

with style():
    figure, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    path_length_curves(ax, [Linear(), GVP(), VP()])
    ax.set_title("Path length from N(0, 1) to N(0, s²)")

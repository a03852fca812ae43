r"""
Transport cost
==============

The kinetic energy :math:`\int_0^1\mathbb E|v|^2dt` of moving N(0, 1) to N(0, s²), exact. No schedule comes below
:math:`W_2^2`. GVP reaches the bound only at s = 1, where nothing has to move.
"""

import matplotlib.pyplot as plt

from interpolants import GVP, VP, Linear
from interpolants.plots import style, transport_cost_curves

with style():
    figure, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    transport_cost_curves(ax, [Linear(), GVP(), VP()])
    ax.set_title("Cost of moving N(0, 1) to N(0, s²)")

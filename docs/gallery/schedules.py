r"""
Schedules
=========

:math:`\alpha_t`, :math:`\sigma_t` and the log-SNR of the paper's three schedules. VP keeps a little of the data at
t = 1, where its log-SNR stays finite; near the data its noise grows like :math:`\sqrt t`.
"""

import matplotlib.pyplot as plt

from interpolants import GVP, VP, Linear
from interpolants.plots import schedule_curves, style

with style():
    figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.4), layout="constrained")
    for ax, quantity in zip(axes, ("alpha", "sigma", "log_snr")):
        schedule_curves(ax, [Linear(), GVP(), VP()], quantity)
    axes[0].set_title("Factor of the data")
    axes[1].set_title("Factor of the noise")
    axes[2].set_title("Log-SNR")

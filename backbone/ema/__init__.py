"""Averages of a network's weights: constant decay, power functions, and their reconstruction after training.

References: Karras, Aittala, Lehtinen, Hellsten, Aila & Laine, Analyzing and Improving the Training Dynamics of
Diffusion Models (2024), arXiv:2312.02696, section 3 and appendix C.
"""

from __future__ import annotations

from backbone.ema.averages import Average, Averages
from backbone.ema.constant import EMA
from backbone.ema.fit import Fit, fit
from backbone.ema.power import PowerEMA
from backbone.ema.profile import Profile, gamma_of, inner_products, sigma_rel_of
from backbone.ema.reconstruct import combine, plan_post_hoc, post_hoc
from backbone.ema.snapshots import Snapshot, find_snapshots, save_snapshot

__all__ = [
    "EMA",
    "Average",
    "Averages",
    "Fit",
    "PowerEMA",
    "Profile",
    "Snapshot",
    "combine",
    "find_snapshots",
    "fit",
    "gamma_of",
    "inner_products",
    "plan_post_hoc",
    "post_hoc",
    "save_snapshot",
    "sigma_rel_of",
]

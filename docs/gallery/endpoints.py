r"""
Endpoints
=========

What goes wrong at t = 0 when formulas are evaluated as they are written, in single precision.

Left, a noise model's drift :math:`v - \tfrac12 w^{\mathrm{KL}}s` of the reverse SDE under Linear, with
:math:`s = -\hat\varepsilon/\sigma`: 0 · ∞ = NaN at t = 0. Here it is one expression :math:`A_t x + B_t\hat\varepsilon`
before any number exists. Right, :math:`\sigma_t = \sqrt{1 - e^{-B(t)}}` of VP: the difference loses every digit near
the data; the form that the library derives loses none.
"""

import matplotlib.pyplot as plt
import numpy as np

from interpolants import VP, Linear, Noise, diffusion, reverse_sde
from interpolants.plots import look, style

x, noise = np.float32(0.5), np.float32(1.0)
times = np.linspace(0, 0.8, 81, dtype=np.float32)
with np.errstate(divide="ignore", invalid="ignore"):
    alpha, sigma = 1 - times, times
    velocity, w, score = (noise - x) / alpha, 2 * sigma / alpha, -noise / sigma
    written = velocity - w / 2 * score
sde = reverse_sde(Linear(), lambda time, x: noise, diffusion.KL(), prediction=Noise)
ours = np.array([sde.drift(float(time), x) for time in times])

small = np.geomspace(1e-9, 1, 400, dtype=np.float32)
exponent = 0.1 * small.astype(np.float64) + 9.95 * small.astype(np.float64) ** 2
exact = np.sqrt(-np.expm1(-exponent))
naive = np.sqrt(1 - np.exp(-exponent.astype(np.float32)))

with style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    left.plot(times, ours, label="one expression", **look(0))
    left.plot(times, written, label="as written", **look(1))
    left.plot(0.0, ours[0], "o", color=look(0)["color"], label=f"at t = 0: {ours[0]:g}")
    left.plot(0.0, 0.0, "x", color=look(1)["color"], ms=9, mew=2, label=f"at t = 0: {written[0]}")
    left.set(xlabel="t   (0 data, 1 noise)", ylabel="drift at x = ½", title="Linear: reverse drift of a noise model")
    left.legend()
    for index, (name, values) in enumerate({"the library's form": VP().sigma(small), "as written": naive}.items()):
        right.plot(small, np.maximum(abs(values / exact - 1), 1e-8), label=name, lw=1.0, **look(index))
    right.set(xscale="log", yscale="log", xlabel="t   (0 data, 1 noise)", ylabel="relative error, 32 bits")
    right.set_title(r"VP: $\sigma_t$ near the data")
    right.legend()

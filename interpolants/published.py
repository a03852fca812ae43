r"""Sampler settings that papers report, by name: a method, a grid and a w that go together.

A number such as an FID belongs to a setting. These are written as they were run, with what is biased in them, so that
published samples can be made again; :func:`interpolants.suggest` is for samples of one's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interpolants.diffusion import DiffusionCoefficient, Sigma, expect_diffusion
from solvers import EulerMaruyama, LastStep, Mean, uniform
from solvers.errors import explain
from solvers.grid import check_count

__all__ = ["Setting", "sit_sde"]

_SIGMA = Sigma()


@dataclass(frozen=True)
class Setting:
    """What a paper's samples were made with.

    Attributes:
        method: the method, its last step included.
        ts: times from noise to data.
        w: the diffusion coefficient of the reverse SDE.
    """

    method: LastStep
    ts: NDArray[np.float64]
    w: DiffusionCoefficient


def sit_sde(w: DiffusionCoefficient = _SIGMA, *, steps: int = 250, last: float = 0.04) -> Setting:
    r"""Return the SDE sampler of SiT's published samples: 249 steps from t = 1 to 0.04 and one, of its mean, to t = 0.

    >>> import numpy as np
    >>> from interpolants import Gaussian, Linear, Path, reverse_sde
    >>> from interpolants.published import sit_sde
    >>> from solvers import solve
    >>> path, rng, setting = Path(Linear(), Gaussian([0.5], 0.25)), np.random.default_rng(0), sit_sde()
    >>> sde = reverse_sde(path.schedule, path.velocity, setting.w)
    >>> solve(sde, path.prior(4, rng), setting.ts, setting.method, rng=rng).nfe
    250

    The last step is ten times as long as the others: it is one step of Euler's method for the drift
    :math:`v - \tfrac12 w s`, without the noise :math:`\int_0^{0.04} w\,dt` that belongs to it. What that does to a
    Gaussian is measured in the documentation, beside ``LastStep(EulerMaruyama(), Mean())`` on ``uniform(250)``, which
    costs the same.

    Args:
        w: the diffusion coefficient; σ is the paper's default. The published code, whose noise is √(2·diffusion),
            integrates w = 2σ under that name: pass ``2 * Sigma()`` for its samples.
        steps: evaluations of the model in all, at least 2.
        last: length of the last step, in (0, 1).

    Raises:
        ValueError: fewer than two steps; a last step that is no part of [0, 1].

    References: Ma et al. (2024), SiT, arXiv 2401.08740, §3 and its published code (num_steps 250, last_step "Mean",
    last_step_size 0.04).
    """
    count = check_count("steps: a number of evaluations, at least 2", steps)
    if count < 2:
        raise ValueError(explain("steps: at least 2", repr(steps), "pass steps=250"))
    if not isinstance(last, (int, float)) or not 0.0 < last < 1.0:
        raise ValueError(explain("last: a length in (0, 1)", repr(last), "pass last=0.04"))
    ts = np.append(uniform(count - 1, 1.0, float(last)), 0.0)
    return Setting(LastStep(EulerMaruyama(), Mean()), ts, expect_diffusion(w))

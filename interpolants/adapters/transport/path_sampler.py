r"""The coefficients of a path in SiT's time :math:`t' = 1 - t`: what its code calls a coupling plan."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from interpolants.adapters.transport.kinds import diffusion_coefficient
from interpolants.coefficient import pad
from interpolants.prediction import Noise, Score, Velocity, convert
from interpolants.schedule import Schedule

__all__ = ["PathSampler", "flip", "single"]


def single(dtype: torch.dtype) -> torch.dtype:
    """Return float64 for float64 and float32 for all others: bfloat16 has 128 times in [½, 1)."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def flip(t: Tensor) -> Tensor:
    """Turn times round, :math:`1 - t'`, in single precision or better."""
    return 1.0 - t.to(single(t.dtype))


class PathSampler:
    r"""The path :math:`x_{t'} = \alpha\,x_1 + \sigma\,x_0` from noise :math:`x_0` to data :math:`x_1`.

    Every method takes times :math:`t'` of shape (B,); where x of shape (B, …) is given too, coefficients come back with
    the axes to multiply it. Dots are derivatives in :math:`t'`.

    Args:
        schedule: of this library.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def compute_alpha_t(self, t: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return :math:`\alpha, \dot\alpha`."""
        time = flip(t)
        return self.schedule.alpha(time), -self.schedule.d_alpha(time)

    def compute_sigma_t(self, t: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return :math:`\sigma, \dot\sigma`."""
        time = flip(t)
        return self.schedule.sigma(time), -self.schedule.d_sigma(time)

    def compute_d_alpha_alpha_ratio_t(self, t: Tensor) -> Tensor:
        r"""Return :math:`\dot\alpha/\alpha`."""
        parts = self.schedule.expressions
        ratio: Tensor = self.schedule.coefficient(-parts["d_alpha"] / parts["alpha"])(flip(t))
        return ratio

    def compute_drift(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return :math:`-(\dot\alpha/\alpha)\,x` and κ; the velocity is κ times the score minus the first."""
        ratio = pad(self.compute_d_alpha_alpha_ratio_t(t), x)
        return -ratio * x, pad(self.schedule.quantity("kappa")(flip(t)), x)

    def compute_diffusion(self, x: Tensor, t: Tensor, form: str = "constant", norm: float = 1.0) -> Tensor:
        """Return the "diffusion" of a form: half of w."""
        rate: Tensor = 0.5 * pad(diffusion_coefficient(form, norm).of(self.schedule)(flip(t)), x)
        return rate

    def get_score_from_velocity(self, velocity: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """Turn a velocity into a score."""
        score: Tensor = convert(-velocity, flip(t), x, self.schedule, source=Velocity, to=Score)
        return score

    def get_noise_from_velocity(self, velocity: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """Turn a velocity into a noise prediction."""
        noise: Tensor = convert(-velocity, flip(t), x, self.schedule, source=Velocity, to=Noise)
        return noise

    def get_velocity_from_score(self, score: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """Turn a score into a velocity."""
        velocity: Tensor = -convert(score, flip(t), x, self.schedule, source=Score, to=Velocity)
        return velocity

    def compute_mu_t(self, t: Tensor, x0: Tensor, x1: Tensor) -> Tensor:
        r"""Return :math:`\alpha x_1 + \sigma x_0`."""
        return self._combine(self.compute_alpha_t(t)[0], x1, self.compute_sigma_t(t)[0], x0)

    def compute_xt(self, t: Tensor, x0: Tensor, x1: Tensor) -> Tensor:
        r"""Return :math:`\alpha x_1 + \sigma x_0`, too."""
        return self.compute_mu_t(t, x0, x1)

    def compute_ut(self, t: Tensor, x0: Tensor, x1: Tensor, xt: Tensor | None = None) -> Tensor:
        r"""Return :math:`\dot\alpha x_1 + \dot\sigma x_0`, what a velocity model learns."""
        return self._combine(self.compute_alpha_t(t)[1], x1, self.compute_sigma_t(t)[1], x0)

    def plan(self, t: Tensor, x0: Tensor, x1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r"""Return :math:`t', x_{t'}` and the velocity's target."""
        return t, self.compute_xt(t, x0, x1), self.compute_ut(t, x0, x1)

    @staticmethod
    def _combine(of_data: Tensor, x1: Tensor, of_noise: Tensor, x0: Tensor) -> Tensor:
        total: Any = pad(of_data, x1) * x1 + pad(of_noise, x0) * x0
        return total  # type: ignore[no-any-return]

r"""Schedules with trainable parameters, and what to train them on. This module needs torch.

Every learned schedule is a :class:`torch.nn.Module` and a :class:`Schedule` with α₀ = σ₁ = 1 and α₁ = σ₀ = 0 for all
values of its parameters. Coefficients at tensors of times are differentiable in the parameters.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from interpolants.autodiff import Floats, Torch
from interpolants.callables import CallableSchedule
from interpolants.measured import MeasuredSchedule
from interpolants.schedule import Schedule
from interpolants.schedules.parameters import positive
from interpolants.schedules.sigmoid import Sigmoid
from interpolants.targets import Gaussian
from solvers.errors import explain

__all__ = ["LearnedLogSNR", "LearnedPolar", "LearnedPower", "LearnedSchedule", "LearnedSigmoid"]
__all__ += ["log_snr_rate", "loss_variance", "transport_cost_loss"]

_TORCH = Torch()


class LearnedSchedule(nn.Module, MeasuredSchedule):
    """A schedule with parameters; a subclass gives α and σ by ``_pair`` and calls ``_open`` last."""

    derivatives = "forward-mode autodiff"
    _pair: Callable[[Tensor], tuple[Tensor, Tensor]]
    __call__ = Schedule.__call__

    def freeze(self) -> Schedule:
        """Return the schedule that it is now, without parameters and measured: nothing can train it any more."""
        still = copy.deepcopy(self).requires_grad_(False)
        pair = (lambda time: still._pair(time)[0]), (lambda time: still._pair(time)[1])
        return CallableSchedule(*pair, name=self.name.replace("learned", "frozen"))

    def _state(self) -> tuple[float, ...]:
        return tuple(number for p in self.parameters() for number in p.detach().reshape(-1).tolist())

    def _arrays(self, module: ModuleType, times: Any) -> tuple[Any, ...]:
        if module is not torch:
            remedy = "call it outside of jit and grad, or write the schedule with jax and Schedule.from_callables"
            raise ValueError(explain("times of torch", f"traced times of {module.__name__}", remedy))
        values, slopes = _TORCH.pair(self._pair, times)
        return *values, *slopes

    def _measure(self, times: Floats) -> tuple[Any, ...]:
        device = next(self.parameters()).device
        with torch.no_grad():
            return tuple(part.cpu().numpy() for part in self._arrays(torch, torch.as_tensor(times, device=device)))

    def time_of_log_snr(self, log_snr: Any) -> Any:
        """Return the time at which the log-SNR has a value, differentiable in the value and in the parameters."""
        if not isinstance(log_snr, Tensor):
            return Schedule.time_of_log_snr(self, log_snr)
        times = Schedule.time_of_log_snr(self, log_snr.detach())
        inside = torch.where((times > 0) & (times < 1), times, 0.5)
        step = (log_snr - self.log_snr(inside)) / -log_snr_rate(self, inside).detach()
        return times + torch.where(inside == times, step - step.detach(), 0.0)

    def __getstate__(self) -> dict[str, Any]:
        own = ("expressions", "_made", "_once", "_quantities")  # they point to this very module: a copy opens its own
        return {key: value for key, value in self.__dict__.items() if key not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._open(self.name, self.domain)


class _Rise(nn.Module):
    r"""An increasing Bernstein polynomial τ with τ(0) = 0 and τ(1) = 1; at first τ(t) = t.

    Its coefficients are the partial sums of a softmax; 1 − τ has its own sum, to keep its digits near t = 1.
    """

    def __init__(self, degree: int):
        super().__init__()
        if not isinstance(degree, int) or degree < 1:
            raise ValueError(explain("degree: a whole number >= 1", repr(degree), "8 does for most"))
        self.weights = nn.Parameter(torch.zeros(degree, dtype=torch.float64))

    def forward(self) -> tuple[Tensor, Tensor]:
        """Return the coefficients of τ and of 1 − τ."""
        steps, end = torch.softmax(self.weights, 0), self.weights.new_ones(1)
        rising = torch.cat([0 * end, steps[:-1].cumsum(0), end])
        return rising, torch.cat([end, steps[1:].flip(0).cumsum(0).flip(0), 0 * end])


def _bernstein(time: Tensor, *coefficients: Tensor) -> tuple[Tensor, ...]:
    r"""Return :math:`\sum_k b_k \binom nk t^k (1-t)^{n-k}` for each b; with b >= 0 no digit cancels."""
    degree = len(coefficients[0]) - 1
    powers = torch.arange(degree + 1, device=time.device)
    choices = time.new_tensor([math.comb(degree, k) for k in range(degree + 1)])
    terms = choices * time[..., None] ** powers * (1 - time[..., None]) ** (degree - powers)
    return (terms @ torch.stack(coefficients, 1).to(time)).unbind(-1)


class LearnedLogSNR(LearnedSchedule):
    r"""Variance preserving with a learned monotone log-SNR.

    .. math::
       \alpha = \cos(\tfrac\pi2\tau_t), \quad \sigma = \sin(\tfrac\pi2\tau_t), \quad
       \log\mathrm{SNR} = -2\log\tan(\tfrac\pi2\tau_t)

    with an increasing polynomial τ from 0 to 1: the log-SNR decreases from ∞ to −∞, and
    :math:`\alpha^2 = s(\log\mathrm{SNR})` with s the logistic function. It begins as :class:`~interpolants.GVP`.

    Args:
        degree: the degree of τ, the number of parameters.

    References: Kingma, Salimans, Poole & Ho (2021), arXiv 2107.00630, §4 (there a network between learned ends).
    """

    def __init__(self, degree: int = 8):
        super().__init__()
        self.rise = _Rise(degree)
        self._open("learned-log-snr", (0, 1))

    def _pair(self, time: Tensor) -> tuple[Tensor, Tensor]:
        rising, falling = _bernstein(time, *self.rise())
        return torch.sin(0.5 * math.pi * falling), torch.sin(0.5 * math.pi * rising)


class LearnedPolar(LearnedSchedule):
    r"""Learned length and angle: :math:`\alpha\sqrt c = \rho\cos\theta`, :math:`\sigma = \rho\sin\theta`.

    ρ > 0 goes from √c to 1, ρ² is the variance at t of a target of variance c, and θ increases from 0 to π/2. Of all
    paths of N(0, c) the cheapest has :math:`\rho = (1-t)\sqrt c + t`, which is among these, and is not where it begins.

    Args:
        variance: c > 0.
        degree: the degree of both polynomials.

    References: Shaul et al. (2023), arXiv 2306.06626.
    """

    def __init__(self, variance: float = 0.25, degree: int = 8):
        super().__init__()
        self.root, self.rise = math.sqrt(positive(variance, "variance")), _Rise(degree)
        inner = torch.arange(1, degree, dtype=torch.float64) / degree
        self.log_length = nn.Parameter((1 - inner) * math.log(self.root))
        self._open("learned-polar", (0, 1))

    def _pair(self, time: Tensor) -> tuple[Tensor, Tensor]:
        end = self.log_length.new_ones(1)
        lengths = torch.cat([self.root * end, self.log_length.exp(), end])
        rising, falling, length = _bernstein(time, *self.rise(), lengths)
        alpha = torch.sin(0.5 * math.pi * falling) * (length / self.root)
        return alpha, torch.sin(0.5 * math.pi * rising) * length


class LearnedPower(LearnedSchedule):
    r"""Learned powers: :math:`\alpha_t = (1-t)^p`, :math:`\sigma_t = t^q` with p, q > 0.

    Args:
        p, q: the first exponents, of α and of σ.
    """

    def __init__(self, p: float = 1.0, q: float = 1.0):
        super().__init__()
        self.log_p, self.log_q = _log_parameter(p, "p"), _log_parameter(q, "q")
        self._open("learned-power", (0, 1))

    def _pair(self, time: Tensor) -> tuple[Tensor, Tensor]:
        return (1 - time) ** self.log_p.exp().to(time), time ** self.log_q.exp().to(time)


class LearnedSigmoid(LearnedSchedule):
    r"""The normalised sigmoid with learned steepness k; see ``Sigmoid``.

    .. math:: \alpha_t = \frac{a}{a + b}, \qquad \sigma_t = \frac{b}{a + b}, \qquad
       a = \sinh k(1-t), \quad b = \sinh kt

    both divided by the exponential of the larger argument, so that nothing overflows and both ends are exact.

    Args:
        steepness: the first k > 0.
    """

    def __init__(self, steepness: float = 5.0):
        super().__init__()
        self.log_steepness = _log_parameter(steepness, "steepness")
        self._open("learned-sigmoid", (0, 1))

    def _pair(self, time: Tensor) -> tuple[Tensor, Tensor]:
        k, rest = self.log_steepness.exp().to(time), 1 - time
        less = torch.minimum(time, rest)
        fall = -torch.expm1(-2 * k * rest) * torch.exp(-k * (time - less))
        rise = -torch.expm1(-2 * k * time) * torch.exp(-k * (rest - less))
        return fall / (fall + rise), rise / (fall + rise)

    def freeze(self) -> Schedule:
        """Return a ``Sigmoid``, a schedule of expressions, with the present steepness."""
        return Sigmoid(self.log_steepness.exp().item())


def _log_parameter(value: float, what: str) -> nn.Parameter:
    return nn.Parameter(torch.tensor(math.log(positive(value, what)), dtype=torch.float64))


def transport_cost_loss(schedule: Schedule, target: Gaussian, n: int = 64) -> Tensor:
    r"""Return :math:`|m|^2\int\dot\alpha^2 dt + \sum_c\int\dot\rho^2 dt`, differentiable in the schedule's parameters.

    With :math:`\rho^2 = \alpha^2 c + \sigma^2` per eigenvalue c of the covariance. This is
    :func:`~interpolants.transport_cost` by a rule of n nodes, Gauss–Legendre in u with :math:`t = \sin^2(\pi u/2)`,
    which bears roots of t at the ends.
    """
    if not isinstance(target, Gaussian):
        raise TypeError(explain("a Gaussian target", type(target).__name__, "use Gaussian(mean, cov)"))
    nodes, weights = np.polynomial.legendre.leggauss(n)
    lo, hi = schedule.domain
    weights = (hi - lo) * weights * 0.25 * math.pi * np.sin(0.5 * math.pi * (nodes + 1))
    nodes = lo + (hi - lo) * np.sin(0.25 * math.pi * (nodes + 1)) ** 2
    device = next(schedule.parameters()).device if isinstance(schedule, LearnedSchedule) else None
    arrays = (nodes, weights, target.eigenvalues[0][:, None])
    times, measure, c = (torch.as_tensor(array, device=device) for array in arrays)
    four: tuple[Tensor, ...]  # of a measured schedule in one pass
    four = schedule._arrays(torch, times) if isinstance(schedule, MeasuredSchedule) else schedule(times)
    alpha, sigma, d_alpha, d_sigma = four
    rate = alpha * d_alpha * c + sigma * d_sigma
    cost = float(target.mean @ target.mean) * d_alpha**2 + (rate**2 / (alpha**2 * c + sigma**2)).sum(0)
    return (measure * cost).sum()


def log_snr_rate(schedule: Schedule, time: Any) -> Any:
    r"""Return :math:`-\frac{d}{dt}\log\mathrm{SNR} = 2W/(\alpha\sigma)` at ``time``."""
    alpha, sigma, wronskian = (schedule.expressions[name] for name in ("alpha", "sigma", "wronskian"))
    return schedule.coefficient(2 * wronskian / (alpha * sigma), "the rate of the log-SNR")(time)


def loss_variance(loss: Callable[[Tensor], Tensor], n: int = 64, rng: torch.Generator | None = None) -> Tensor:
    r"""Return the variance of :math:`\ell(t)` over uniform t in [0, 1], to be minimised in a schedule's parameters.

    A loss e(log-SNR) times :func:`log_snr_rate` has a mean that does not depend on the schedule, only this noise does.

    Args:
        loss: ℓ at times of shape (n,) → shape (n,).
        n: the number of times, one in each n-th of [0, 1]: the midpoints, or all shifted together by ``rng``.
        rng: a generator of the shift.

    References: Kingma et al. (2021), arXiv 2107.00630, §5.1 and appendix I.
    """
    shift = 0.5 if rng is None else torch.rand((), generator=rng, device=rng.device, dtype=torch.float64)
    values = loss((torch.arange(n, dtype=torch.float64, device=None if rng is None else rng.device) + shift) / n)
    if values.shape != (n,):
        raise ValueError(explain(f"losses of shape ({n},)", f"shape {tuple(values.shape)}", "one loss per time"))
    return ((values - values.mean()) ** 2).mean()

r"""Zero signal at the last time."""

from __future__ import annotations

from sympy import Expr, Rational, exp, powsimp, sqrt

from interpolants.measure import Exact
from interpolants.reparametrise import branches, joined
from interpolants.schedule import Schedule
from interpolants.schedules.discrete import Discrete
from interpolants.symbols import t
from solvers.errors import explain

__all__ = ["zero_terminal_snr"]


def zero_terminal_snr(schedule: Schedule) -> Schedule:
    r"""Return the schedule with no signal left at the last time, variance preserving:

    .. math:: \alpha'_t = \frac{a\,(\alpha_t - \alpha_1)}{a - \alpha_1}, \qquad \sigma'_t = \sqrt{1 - \alpha_t'^2}

    with a = α₀ = 1. A :class:`~interpolants.schedules.Discrete` schedule keeps its first timestep as the published
    algorithm does, a = α at t = 1/T; up to there it is left as it was, from there on it is rescaled. A schedule that
    ends at α₁ = 0 is returned as it is.

    At the last time the noise prediction carries no information and x̂ cannot be had from it: use the v-prediction or
    the velocity.

    Raises:
        TypeError: not a schedule.
        ValueError: α₀ ≠ 1, or a signal that does not fall, such as that of a variance exploding schedule.

    References: Lin, Liu, Li & Yang (2023), Common Diffusion Noise Schedules and Sample Steps are Flawed,
    arXiv 2305.08891, algorithm 1.
    """
    if not isinstance(schedule, Schedule):
        raise TypeError(explain("a Schedule", type(schedule).__name__, "pass VP() or DDPMLinear()"))
    ends = Exact(schedule.expressions["alpha"], t, schedule.exact_domain).ends
    if ends[1].limit == 0:
        return schedule
    name = f"{schedule.name}, zero terminal SNR"
    if isinstance(schedule, Discrete):
        first = Rational(1, schedule.num_train_timesteps)
        alpha, sigma = _after(schedule, first)
        return Discrete(name, alpha, sigma, schedule.num_train_timesteps)
    if abs(ends[0].limit - 1) > 1e-12 or not ends[1].limit < 1:
        remedy = "rescale it to a variance preserving one first: schedule.rescale(1/sqrt(alpha**2 + sigma**2))"
        received = f"{ends[0].limit:g} and {ends[1].limit:g}"
        raise ValueError(explain("alpha = 1 at the first time and below 1 at the last", received, remedy))
    alpha, sigma = _after(schedule, schedule.exact_domain[0])
    return Schedule(name, alpha, sigma, domain=schedule.exact_domain, check=False)


def _after(schedule: Schedule, first: Expr) -> tuple[Expr, Expr]:
    """Return α' and σ': as before up to the time ``first``, rescaled from there on."""
    lo, hi = schedule.exact_domain
    pieces = {name: branches(schedule.expressions[name]) for name in ("alpha", "sigma")}
    last = pieces["alpha"][-1][0].subs(t, hi)
    start = next(branch for branch, stop in pieces["alpha"] if stop is None or stop >= first).subs(t, first)
    if first == hi:
        raise ValueError(explain("two timesteps or more", "one", "rescale a model with more timesteps"))
    total = schedule.expressions["alpha"] ** 2 + schedule.expressions["sigma"] ** 2 - 1
    preserving = Exact(total, t, schedule.exact_domain).is_zero
    alpha, sigma = [], []
    for (signal, stop), (noise, _) in zip(pieces["alpha"], pieces["sigma"]):
        if stop is None or stop > first:
            # An exponential keeps the digits of 1 − α by itself; a cosine has them in its σ.
            fall = noise**2 / (1 + signal) if preserving and not signal.has(exp) else 1 - signal
            alpha.append((_signal(signal, start, last), stop))
            sigma.append((_noise(signal, fall, start, last), stop))
    if first == lo:
        return joined(alpha), joined(sigma)
    return joined([(pieces["alpha"][0][0], first), *alpha]), joined([(pieces["sigma"][0][0], first), *sigma])


def _signal(alpha: Expr, start: Expr, last: Expr) -> Expr:
    """Return a(α/α₁ − 1)/(a/α₁ − 1): exponentials meet in the quotient, and its distance to 1 is an expm1."""
    return start * last / (start - last) * (powsimp(alpha / last, combine="exp") - 1)


def _noise(alpha: Expr, fall: Expr, start: Expr, last: Expr) -> Expr:
    """Return the square root of (1 − α')(1 + α'), with 1 − α given as ``fall``."""
    below = start * fall - last * (1 - start)
    above = start * (1 + alpha) - last * (1 + start)
    return sqrt(below * above) / (start - last)

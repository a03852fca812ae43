"""Tables of stochastic methods, computed while the documentation is built."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any, ClassVar

import numpy as np
from docutils import nodes
from scipy.integrate import quad
from sphinx.application import Sphinx
from tables import Generated, code, table

from interpolants import (
    GVP,
    VP,
    Gaussian,
    GaussianMixture,
    Linear,
    Path,
    denoising,
    diffusion,
    karras,
    reverse_sde,
    sampler_law,
)
from interpolants.laws import Sampler
from interpolants.published import sit_sde
from solvers import (
    SDE,
    SRA1,
    SRA3,
    Euler,
    EulerMaruyama,
    ExponentialEulerMaruyama,
    LastStep,
    LeimkuhlerMatthews,
    Mean,
    PoleError,
    SASolver,
    SDEDPMSolverPP,
    ShARK,
    SiTHeun,
    StochasticHeun,
    Tweedie,
    power,
    solve,
    uniform,
)
from solvers.noise import BrownianPath

METHODS = (
    EulerMaruyama(),
    SiTHeun(),
    LeimkuhlerMatthews(),
    StochasticHeun(),
    SRA1(),
    ShARK(),
    SRA3(),
    ExponentialEulerMaruyama(),
    SDEDPMSolverPP(2),
    SDEDPMSolverPP(3),
    SASolver(2, 3),
)
SCHEDULES = (Linear(), GVP(), VP())
VARIANCES = np.array([0.05, 0.3, 2.0])
COUNTS = (40, 80, 160, 320, 640)
FINE = (160, 320, 640)
START, STOP = 0.9, 0.2


class WeakOrders(Generated):
    """Method by weak order, measured inside by exact moments, with the errors at 160 evaluations."""

    sources: ClassVar[tuple[str, ...]] = ("interpolants/**/*.py", "solvers/**/*.py", "docs/stochastic_tables.py")

    def build(self) -> list[nodes.Node]:
        kl, rows = diffusion.KL(), []
        for method in METHODS:
            inner = [_orders(method, schedule, kl, STOP, COUNTS) for schedule in SCHEDULES]
            errors = _errors(method, Linear(), kl, STOP, (160 // method.evaluations,))[0]
            cells = [variance for variance, _ in inner] + [inner[0][1]]
            label = (str(method.evaluations), str(method.weak_order))
            rows.append((code(_name(method)), *label, *cells, *(f"{error:.0e}" for error in errors)))
        orders = (*(f"{schedule.name}" for schedule in SCHEDULES), "covariance")
        return [table(("method", "calls", "label", *orders, "error", "of cov."), rows)]


class ToData(Generated):
    """Method by weak order, measured down to t = 0 by exact moments."""

    sources: ClassVar[tuple[str, ...]] = WeakOrders.sources

    def build(self) -> list[nodes.Node]:
        kl, rows = diffusion.KL(), []
        choices = (
            (Linear(), diffusion.Sigma()),
            (Linear(), kl),
            (VP(), diffusion.Sigma()),
            (VP(), kl),
            (Linear(), diffusion.Constant(1)),
        )
        for method in METHODS:
            cells = [
                _orders(method, schedule, w, 0.0, FINE)[0] if _runs(method, schedule, w) else "refused"
                for schedule, w in choices
            ]
            rows.append((code(_name(method)), *cells))
        return [table(("method", *(f"{schedule.name}, {w}" for schedule, w in choices)), rows)]


class StrongOrders(Generated):
    """Method by strong order, measured along one Brownian path, on a mixture."""

    sources: ClassVar[tuple[str, ...]] = WeakOrders.sources

    def build(self) -> list[nodes.Node]:
        kl, schedule, counts = diffusion.KL(), VP(), (32, 64, 128, 256, 512)
        path = Path(schedule, GaussianMixture([0.4, 0.6], [[-1.0], [1.2]], [0.3, 0.5]))
        x, noise = path.sample(START, 200, np.random.default_rng(0)), BrownianPath(3, START, STOP)
        sde, data = reverse_sde(schedule, path.velocity, kl), denoising(schedule, path.velocity, w=kl)
        exact = solve(sde, x, uniform(4096, START, STOP), SRA1(), rng=noise).x
        rows = []
        for method in METHODS:
            problem = sde if method.solves is SDE else data
            ends = [solve(problem, x, uniform(n, START, STOP), method, rng=noise).x for n in counts]
            errors = [float(np.sqrt(np.mean((end - exact) ** 2))) for end in ends]
            slope = -float(np.polyfit(np.log(counts), np.log(errors), 1)[0])
            label = f"{method.strong_order:g}"
            rows.append((code(_name(method)), label, f"{slope:.2f}", *(f"{error:.0e}" for error in errors[::2])))
        return [table(("method", "label", "measured", *(f"error, {n} steps" for n in counts[::2])), rows)]


def _name(method: Any) -> str:
    given = [str(getattr(method, part.name)) for part in fields(method)]
    return f"{type(method).__name__}({', '.join(given)})"


def _runs(method: Any, schedule: Any, w: Any) -> bool:
    try:
        sampler_law(Path(schedule, Gaussian([0.0], 1.0)), method, uniform(2, START, 0.0), w)
    except PoleError:
        return False
    return True


def _orders(method: Any, schedule: Any, w: Any, stop: float, counts: tuple[int, ...]) -> tuple[str, str]:
    """Return the orders of the variance and of the covariance; what is below rounding is exact."""
    found = _errors(method, schedule, w, stop, counts)
    slopes = -np.polyfit(np.log(counts), np.log(found), 1)[0]
    variance, cross = (f"{slope:.2f}" if last > 1e-12 else "exact" for slope, last in zip(slopes, found[-1]))
    return variance, cross


def _errors(method: Any, schedule: Any, w: Any, stop: float, counts: tuple[int, ...]) -> Any:
    """Return the largest relative errors of variance and two-time covariance over three variances, by n."""
    sampler = Sampler(Path(schedule, Gaussian(np.zeros(3), np.diag(VARIANCES))), method, w)
    rho = [np.hypot(float(schedule.alpha(u)) * np.sqrt(VARIANCES), float(schedule.sigma(u))) for u in (START, stop)]
    rate = w.of(schedule)

    def kept(c: float) -> float:
        def integrand(u: float) -> float:
            return float(rate(u)) / (float(schedule.alpha(u)) ** 2 * c + float(schedule.sigma(u)) ** 2)

        return math.exp(-0.5 * float(quad(integrand, max(stop, 1e-12), START, epsrel=1e-11)[0]))

    cross = rho[0] * rho[1] * np.array([kept(c) for c in VARIANCES])
    found = []
    for n in counts:
        law = sampler.law(uniform(n, START, stop))
        off = np.diag(law.cov) / rho[1] ** 2 - 1, np.diag(law.cross) / cross - 1
        found.append([float(np.abs(part).max()) for part in off])
    return np.array(found)


class LastSteps(Generated):
    """Last step by schedule: how much too narrow or too wide samples of a Gaussian are, 250 evaluations, w = σ."""

    sources: ClassVar[tuple[str, ...]] = WeakOrders.sources

    def build(self) -> list[nodes.Node]:
        published, even, em = sit_sde(), uniform(250), EulerMaruyama()
        choices = (
            ("SiT's published setting", published.method, published.ts),
            ("the mean", LastStep(em, Mean()), even),
            ("Tweedie", LastStep(em, Tweedie()), even),
            ("the ODE", LastStep(em, Euler()), even),
            ("none", em, even),
            ("StochasticHeun, the mean", LastStep(StochasticHeun(), Mean()), uniform(125)),
        )
        rows = []
        for name, method, ts in choices:
            shown = []
            for schedule in SCHEDULES:
                for c in (0.01, 1.0):
                    law = sampler_law(Path(schedule, Gaussian([0.0], c)), method, ts, published.w)
                    shown.append(f"{100 * (float(law.spreads[0]) / math.sqrt(c) - 1):+.1f} %")
            rows.append((name, *shown))
        head = ("last step", *(f"{s.name}, {spread}" for s in SCHEDULES for spread in ("std 0.1", "std 1")))
        return [table(head, rows)]


class FromNoise(Generated):
    """Sampler by schedule: how much too narrow or too wide samples of a Gaussian are after 50 evaluations, wKL."""

    sources: ClassVar[tuple[str, ...]] = WeakOrders.sources

    def build(self) -> list[nodes.Node]:
        below = uniform(50, start=0.999)
        choices: tuple[tuple[str, Any, Any], ...] = (
            ("SDEDPMSolverPP(), power(49, 2.0)", SDEDPMSolverPP(), lambda schedule: power(49, 2.0)),
            ("SDEDPMSolverPP(), karras(schedule, 49)", SDEDPMSolverPP(), lambda schedule: karras(schedule, 49)),
            ("SDEDPMSolverPP(), uniform(49)", SDEDPMSolverPP(), lambda schedule: uniform(49)),
            ("ExponentialEulerMaruyama(), uniform(50)", ExponentialEulerMaruyama(), lambda schedule: uniform(50)),
            ("EulerMaruyama(), uniform(50, start=0.999)", EulerMaruyama(), lambda schedule: below),
            ("SRA1(), uniform(25, start=0.999)", SRA1(), lambda schedule: uniform(25, start=0.999)),
            ("SRA1(), uniform(25, start=0.98)", SRA1(), lambda schedule: uniform(25, start=0.98)),
        )
        rows = []
        for name, method, grid in choices:
            shown = []
            for schedule in SCHEDULES:
                for c in (0.01, 1.0):
                    path, w = Path(schedule, Gaussian([0.0], c)), diffusion.KL()
                    law = sampler_law(path, method, grid(schedule), w, from_prior=True)
                    shown.append(f"{100 * (float(law.spreads[0]) / math.sqrt(c) - 1):+.1f} %")
            rows.append((code(name), *shown))
        head = ("sampler", *(f"{s.name}, {spread}" for s in SCHEDULES for spread in ("std 0.1", "std 1")))
        return [table(head, rows)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("weak-orders", WeakOrders)
    app.add_directive("weak-orders-to-data", ToData)
    app.add_directive("strong-orders", StrongOrders)
    app.add_directive("last-steps", LastSteps)
    app.add_directive("from-noise", FromNoise)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Schedules of functions agree with symbolic schedules of the same formulas, with closed forms and with mpmath."""

import math
from itertools import permutations

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import sympy
import torch

from interpolants import GVP, VP, Gaussian, Path, Schedule, certify, convert, probability_flow, reverse_sde, t
from interpolants import diffusion as w
from interpolants.prediction import Score, Velocity, VPrediction, conversion
from interpolants.transport import transport_cost
from solvers import EulerMaruyama, Heun, PoleError, solve, uniform
from tests.support.zoo import PREDICTIONS

EXACT = {"gvp": GVP(), "vp": VP(), "root": Schedule("root", alpha=1 - t, sigma=sympy.sqrt(t))}
KINDS = {
    "numpy": (np, "a complex step"),
    "torch": (torch, "forward-mode autodiff"),
    "jax": (jnp, "forward-mode autodiff"),
    "math": (math, "finite diff"),
}
SLOPES = {"numpy": 1e-12, "torch": 1e-12, "jax": 1e-12, "math": 1e-7}
TIMES = np.array([1e-9, 1e-6, 1e-3, 0.03, 0.2, 0.5, 0.77, 0.999, 1 - 1e-6])
INSIDE = TIMES[2:-1]
EACH = [("gvp", "torch"), ("vp", "numpy"), ("root", "math")]
CASES = [*EACH, ("vp", "jax")]
THREE_PARTS = "expected .*; received .*; remedy: "


def functions(name, m):
    """Return α and σ of a schedule, written with the functions of a module; none of them can be traced."""
    noise = lambda s: s / 10 + 995 * s * s / 100  # noqa: E731
    return {
        "gvp": (lambda s: m.cos(math.pi * s / 2), lambda s: m.sin(math.pi * s / 2)),
        "vp": (lambda s: m.exp(-noise(s) / 2), lambda s: m.sqrt(-m.expm1(-noise(s)))),
        "root": (lambda s: m.sqrt(1 - s) * m.sqrt(1 - s), lambda s: m.sqrt(s)),
    }[name]


def oracle(name, s):
    """Return α, σ, α̇, σ̇ by hand."""
    alpha, sigma = (f(s) for f in functions(name, np))
    if name == "gvp":
        return alpha, sigma, -math.pi / 2 * sigma, math.pi / 2 * alpha
    if name == "vp":
        return alpha, sigma, -(0.1 + 19.9 * s) / 2 * alpha, (0.1 + 19.9 * s) / 2 * alpha**2 / sigma
    return 1 - s, sigma, -np.ones_like(s), 0.5 / sigma


def combination(name, s, prediction, wanted):
    """Return (A, B) of wanted = A·x + B·prediction from numpy's solver of the 2×2 systems."""
    alpha, sigma, d_alpha, d_sigma = oracle(name, s)
    rows = {"Velocity": (d_alpha, d_sigma), "Score": (0 * s, -1 / sigma), "Noise": (0 * s, 1 + 0 * s)}
    rows |= {"Data": (1 + 0 * s, 0 * s), "VPrediction": (-sigma, alpha)}
    (c, d), (a, b) = rows[wanted] if isinstance(wanted, str) else wanted, rows[prediction]
    systems = np.moveaxis(np.asarray([[alpha, a], [sigma, b]]), 2, 0)
    return np.linalg.solve(systems, np.stack([c, d], -1)[..., None])[..., 0].T


@pytest.fixture(scope="module")
def schedules():
    return {(n, k): Schedule.from_callables(*functions(n, KINDS[k][0]), name=n) for n in EXACT for k in KINDS}


@pytest.fixture(params=CASES, ids="-".join)
def case(request, schedules):
    name, kind = request.param
    return schedules[request.param], name, SLOPES[kind]


def close(got, wanted, tolerance):
    return np.allclose(got, wanted, rtol=tolerance, atol=1e-3 * tolerance + 1e-15)


def test_operators_are_traced():
    """Operators and sympy functions give the ordinary schedule of the same expressions, which can be proved."""
    schedule = Schedule.from_callables(lambda s: 1 - s**2, lambda s: s**2, name="quadratic")
    assert type(schedule) is Schedule
    assert certify(schedule)["alpha_0"].status == "proved"
    turned = Schedule.from_callables(lambda s: sympy.cos(sympy.pi * s / 2), lambda s: sympy.sin(sympy.pi * s / 2))
    assert turned == GVP()
    assert Schedule.from_callables(lambda s: 1.0, lambda s: s, domain=(0, 80)).domain == (0.0, 80.0)


def test_a_trace_must_agree_with_numbers():
    """A function that answers a symbol with one formula and numbers with another is measured, by its numbers."""
    schedule = Schedule.from_callables(
        lambda s: 1 - s if isinstance(s, sympy.Basic) else (1 - s) * (1 + s), lambda s: s
    )
    assert abs(schedule.alpha(0.5) - 0.75) < 1e-15
    assert abs(schedule.d_alpha(0.5) + 1) < 1e-13


def test_how_derivatives_are_measured(schedules):
    """Functions of torch are differentiated forward, of numpy by a complex step, of math by differences."""
    for (_, kind), schedule in schedules.items():
        assert schedule.derivatives.startswith(KINDS[kind][1])
    mixed = Schedule.from_callables(lambda s: np.cos(math.pi * s / 2), lambda s: abs(np.sin(math.pi * s / 2)))
    assert mixed.derivatives.startswith("a complex step and finite differences within ")
    assert close(mixed.d_sigma(TIMES), oracle("gvp", TIMES)[3], 1e-7)
    mean = Schedule.from_callables(lambda s: np.mean(np.cos(np.pi * s / 2)), lambda s: np.sin(np.pi * s / 2))
    assert close(mean.alpha(TIMES), oracle("gvp", TIMES)[0], 1e-13), "a function that averages is called time by time"


def test_quantities(case):
    """α, σ, their derivatives, log-SNR, W, λ and κ are those worked out by hand."""
    schedule, name, slopes = case
    alpha, sigma, d_alpha, d_sigma = oracle(name, TIMES)
    w_t = alpha * d_sigma - d_alpha * sigma
    assert close(schedule.alpha(TIMES), alpha, 1e-14)
    assert close(schedule.sigma(TIMES), sigma, 1e-14)
    assert close(schedule.d_alpha(TIMES), d_alpha, slopes)
    assert close(schedule.d_sigma(TIMES)[:-1], d_sigma[:-1], slopes)
    assert close(schedule.log_snr(TIMES), 2 * np.log(alpha / sigma), 1e-13)
    for what, wanted in (("wronskian", w_t), ("lambda", w_t / alpha), ("kappa", w_t * sigma / alpha)):
        assert close(schedule.quantity(what)(TIMES[:-1]), wanted[:-1], slopes), what


@pytest.mark.covering(3)
def test_ends(case):
    """Limits, orders and poles of all quantities at both ends are those that sympy's expressions have at 80 digits."""
    schedule, name, _ = case
    exact = EXACT[name]
    for what in exact.expressions:
        got, wanted = schedule.quantity(what), exact.quantity(what)
        assert got.poles == wanted.poles, what
        for mine, theirs in zip(got.ends, wanted.ends, strict=True):
            assert mine.order == theirs.order, what
            assert mine.limit == theirs.limit or abs(mine.limit - theirs.limit) < 1e-8 * (1 + abs(theirs.limit)), what
            if not mine.is_pole:
                assert got(mine.time) == mine.limit


def test_limits_of_what_cancels(schedules):
    """d(α² + σ²)/dt, zero for VP but for round-off, has no pole, and κ₀ of VP is β_min/2 although σ̇₀ is infinite."""
    for kind in KINDS:
        schedule = schedules["vp", kind]
        assert [conversion(schedule, Velocity, to).poles for to in (VPrediction, Score)] == [(), ()]
        assert abs(schedule.quantity("kappa").ends[0].limit - 0.05) < 1e-10


def test_slopes_against_mpmath(schedules):
    """α̇ and σ̇ of VP are mpmath's derivatives, next to the ends too."""
    with mpmath.workdps(60):
        pair = functions("vp", mpmath)
        wanted = [[float(mpmath.diff(f, mpmath.mpf(s), h=mpmath.mpf(s) / 10**12)) for s in TIMES] for f in pair]
    for kind in KINDS:
        assert close([schedules["vp", kind].d_alpha(TIMES), schedules["vp", kind].d_sigma(TIMES)], wanted, SLOPES[kind])


def test_conversions(case):
    """All twenty conversions are numpy's solutions of the 2×2 systems."""
    schedule, name, slopes = case
    x, prediction = np.random.default_rng(3).normal(size=(2, len(INSIDE), 1))
    for source, to in permutations(PREDICTIONS, 2):
        a, b = combination(name, INSIDE, source.name, to.name)
        got = convert(prediction, INSIDE, x, schedule, source=source, to=to)[:, 0]
        scale = np.abs(a) + np.abs(b)
        assert close(got / scale, (a * x[:, 0] + b * prediction[:, 0]) / scale, max(slopes, 1e-9)), (source, to)


CHOICES = {
    w.KL(): lambda s, sigma, slope: 2 * sigma * slope,
    w.Sigma(): lambda s, sigma, slope: sigma,
    w.Constant(1.0) + 2 * w.SinSquared(): lambda s, sigma, slope: 1 + 2 * np.sin(np.pi * s) ** 2,
}


@pytest.mark.parametrize("choice", CHOICES, ids=repr)
@pytest.mark.parametrize(("name", "kind"), EACH)
def test_reverse_sde(name, kind, choice, schedules):
    """Drift and noise of the reverse SDE are v − ½ws and √w with rows solved by numpy, for every prediction."""
    schedule, slopes = schedules[name, kind], SLOPES[kind]
    alpha, sigma, d_alpha, d_sigma = oracle(name, INSIDE)
    variance = CHOICES[choice](INSIDE, sigma, d_sigma - d_alpha * sigma / alpha)
    x, p = 1.3, -0.4
    for prediction in PREDICTIONS:
        a, b = combination(name, INSIDE, prediction.name, (d_alpha, d_sigma + variance / (2 * sigma)))
        sde = reverse_sde(schedule, lambda time, x: np.full_like(x, p), choice, prediction)
        wanted, scale, where = a * x + b * p, np.abs(a) + np.abs(b), [0, 2, 5]
        got = np.asarray([sde.drift(float(s), np.full(1, x))[0] for s in INSIDE[where]])
        assert close(got / scale[where], (wanted / scale)[where], max(slopes, 1e-9)), prediction
        assert close([sde.diffusion(float(s)) for s in INSIDE[where]], np.sqrt(variance[where]), max(slopes, 1e-9))


def test_poles_and_cost(schedules):
    """GVP: conversions and SDEs have the poles of the symbolic schedule, and C = (π²/8)(m² + (1 − √c)²)."""
    schedule, exact = schedules["gvp", "numpy"], EXACT["gvp"]
    cost = transport_cost(Path(schedule, Gaussian([0.7], 0.3)))
    assert abs(cost - math.pi**2 / 8 * (0.49 + (1 - math.sqrt(0.3)) ** 2)) < 1e-9
    for pair in permutations(PREDICTIONS, 2):
        assert conversion(schedule, *pair).poles == conversion(exact, *pair).poles, pair
    for choice in (w.KL(), w.Constant(1.0)):
        mine, theirs = ([p.time for p in reverse_sde(s, print, choice).poles] for s in (schedule, exact))
        assert mine == theirs


@pytest.mark.parametrize(("name", "kind"), EACH)
def test_solves(name, kind, schedules):
    """Path, ODE and SDE solves follow the exact flow and the symbolic schedule's trajectory of the same noise."""
    schedule, exact = schedules[name, kind], EXACT[name]
    target = Gaussian([0.5, -1.0], [[0.5, 0.2], [0.2, 0.4]])
    mine, theirs = Path(schedule, target), Path(exact, target)
    x = np.random.default_rng(1).normal(size=(16, 2))
    ode = solve(probability_flow(schedule, mine.noise, PREDICTIONS[2]), x, uniform(40, start=0.8, stop=0.3), Heun())
    assert np.abs(ode.x - theirs.flow(0.8, 0.3, x)).max() < 1e-3
    sdes = [reverse_sde(path.schedule, path.velocity, w.Sigma()) for path in (mine, theirs)]
    ends = [solve(sde, x, uniform(20), EulerMaruyama(), rng=np.random.default_rng(2)).x for sde in sdes]
    assert np.abs(ends[0] - ends[1]).max() < 1e-8


def test_a_pole_is_refused(schedules):
    """A KL reverse SDE from t = 1 is refused before its first call; a number at a pole is an error, an array inf."""
    schedule, rng = schedules["gvp", "numpy"], np.random.default_rng(0)
    with pytest.raises(PoleError, match=THREE_PARTS):
        solve(reverse_sde(schedule, lambda time, x: x, w.KL()), np.ones((1, 1)), uniform(4), EulerMaruyama(), rng=rng)
    with pytest.raises(PoleError, match=THREE_PARTS):
        schedule.log_snr(0.0)
    assert np.isposinf(schedule.log_snr(np.zeros(1))).all()


def test_time_of_log_snr(case):
    """The numeric inverse finds the times of log-SNRs worked out by hand."""
    schedule, name, _ = case
    times = np.array([1e-6, 0.01, 0.3, 0.8, 0.99])
    alpha, sigma, *_ = oracle(name, times)
    assert np.abs(schedule.time_of_log_snr(2 * np.log(alpha / sigma)) / times - 1).max() < 1e-12


def test_array_types(case):
    """float32, half, torch, jax and 2-D times come back as their own kind, with the ends in them."""
    schedule, name, _ = case
    times = np.array([[0.0, 0.25], [0.5, 1.0]])
    wanted = oracle(name, np.maximum(times, 1e-40))[1]
    for typed in (times, times.astype(np.float32)):
        for got in (schedule.sigma(typed), schedule.sigma(torch.tensor(typed)).numpy()):
            assert got.dtype == typed.dtype
            assert np.abs(got - wanted).max() < 1e4 * np.finfo(typed.dtype).eps
    assert schedule.sigma(torch.tensor(times, dtype=torch.bfloat16)).dtype == torch.float32
    assert np.allclose(schedule.sigma(jnp.asarray(times, dtype=np.float32)), wanted, atol=1e-6)
    ends = schedule.quantity("kappa")(torch.tensor([0.0, 1.0])).numpy()
    assert np.allclose(ends, {"gvp": [0.0, np.inf], "vp": [0.05, 10.0], "root": [0.5, np.inf]}[name], atol=1e-6)


def test_gradients_in_time(schedules):
    """Functions of torch give gradients in time, of every coefficient; others refuse times that require one."""
    times = torch.tensor([0.2, 0.6], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(schedules["gvp", "torch"].quantity("kappa")(times).sum(), times)
    assert np.abs(slope.numpy() - (math.pi / 2) ** 2 / np.cos(np.pi * np.array([0.2, 0.6]) / 2) ** 2).max() < 1e-12
    with pytest.raises(ValueError, match=THREE_PARTS):
        schedules["gvp", "numpy"].sigma(times)


def test_jax_transformations(schedules):
    """jit and grad go through functions of jax, ends included; through other functions they are refused."""
    schedule, times = schedules["gvp", "jax"], np.array([0.0, 0.25, 0.5, 1.0])
    kappa = jax.jit(lambda s: schedule.quantity("kappa")(s))
    wanted = np.array([0.0, *(math.pi / 2 * np.tan(np.pi * times[1:3] / 2)), np.inf])
    assert np.allclose(kappa(jnp.asarray(times)), wanted, rtol=1e-6, atol=1e-7)
    slope = jax.grad(lambda s: schedule.d_alpha(s))(0.25)
    assert abs(slope + (math.pi / 2) ** 2 * math.cos(math.pi / 8)) < 1e-6
    for kind in ("numpy", "torch"):
        with pytest.raises(ValueError, match=THREE_PARTS):
            jax.jit(schedules["gvp", kind].sigma)(times)


def test_opaque_expressions(schedules):
    """sympy sees functions of t: α̇ is the derivative of α, α can be evaluated, and no text can be made of it."""
    schedule = schedules["gvp", "numpy"]
    assert sympy.diff(schedule.alpha(t) ** 2, t) == 2 * schedule.alpha(t) * schedule.d_alpha(t)
    assert abs(float(schedule.alpha(sympy.Rational(1, 2)).evalf()) - math.sqrt(0.5)) < 1e-15
    for text in (schedule.to_dict, lambda: schedule.source("torch"), lambda: schedule.quantity("alpha").lowered):
        with pytest.raises(TypeError, match=f"gvp, made of functions.*{THREE_PARTS[-9:]}write"):
            text()

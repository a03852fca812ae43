"""Multistep and exponential methods: published weights in 60 digits, exact cases, starts, ends and refusals."""

import math

import mpmath
import numpy as np
import pytest
from mpmath import mpf
from solver_methods import MULTISTEP, SINGLESTEP, name

from interpolants import GVP, VP, Gaussian, Linear, Path, denoising
from solvers import (
    DDIM,
    DEIS,
    ODE,
    RES,
    AdamsBashforth,
    Denoising,
    DPMSolver,
    DPMSolverPP,
    Euler,
    Preconditioned,
    UniPC,
    solve,
    uniform,
)

UNIT = 2.0**-53
TS = [0.8, 0.7, 0.55, 0.35]
"""Four times, three steps of different length: the last has a past of two."""


def problem(data, **parts):
    """Return a problem of the path (1 − t, t)."""
    pieces = {"alpha": lambda t: 1.0 - t, "sigma": lambda t: t, "clock": lambda t, s: 0.0}
    pieces |= {"log_snr": lambda t: 2 * math.log(1 / t - 1), "time_of_log_snr": lambda L: 1 / (1 + math.exp(L / 2))}
    return Denoising(data, **(pieces | parts))


def half_log_snr(time):
    return mpmath.log((1 - mpf(time)) / mpf(time))


def last_step(method, data):
    """Return the state at TS[-1] less the factor of that at TS[-2]: what the last step adds from predictions."""
    xs = solve(problem(data), np.zeros(1), TS, method, save=True).xs[:, 0]
    return xs[-1] - TS[-1] / TS[-2] * xs[-2]


def impulses(method):
    """Return the weights of x̂ at the starts of the last three steps in the last step, for a start that is exact."""
    return [last_step(method, lambda t, x, at=at: np.full_like(x, float(t == at))) for at in TS[2::-1]]


def steps_in_half_log_snr():
    at = [half_log_snr(time) for time in TS]
    h = at[3] - at[2]
    return h, (at[2] - at[1]) / h, (at[1] - at[0]) / h


def test_second_order_multistep_is_as_published():
    """2M: x̂ is (1 + 1/2r₀) x̂₀ − x̂₁/2r₀ over the step (arXiv 2211.01095, algorithm 2)."""
    with mpmath.workdps(60):
        h, r0, _ = steps_in_half_log_snr()
        hold = (1 - mpf(TS[3])) * (1 - mpmath.exp(-h))
        exact = [float(hold * (1 + 1 / (2 * r0))), float(-hold / (2 * r0)), 0.0]
    np.testing.assert_allclose(impulses(DPMSolverPP(2)), exact, rtol=0, atol=8 * UNIT)


def third_order(factor):
    """3M in its published form, with ``factor`` times (D1_0 − D1_1)/(r0 + r1) for D2."""
    with mpmath.workdps(60):
        h, r0, r1 = steps_in_half_log_snr()
        a = 1 - mpf(TS[3])
        b1, b2 = a * ((mpmath.exp(-h) - 1) / h + 1), a * ((mpmath.exp(-h) - 1 + h) / h**2 - mpf(1) / 2)
        weights = []
        for m0, m1, m2 in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
            d10, d11 = (m0 - m1) / r0, (m1 - m2) / r1
            d1, d2 = d10 + r0 / (r0 + r1) * (d10 - d11), factor * (d10 - d11) / (r0 + r1)
            weights.append(float(a * (1 - mpmath.exp(-h)) * m0 + b1 * d1 - b2 * d2))
    return weights


@pytest.mark.parametrize("method", [DPMSolverPP(3), UniPC(3, corrector=False)], ids=name)
def test_third_order_multistep_has_the_whole_second_derivative(method):
    """3M with D2 = 2(D1_0 − D1_1)/(r0 + r1); half of it, as often seen, gives other weights. UniP-3 is the same."""
    np.testing.assert_allclose(impulses(method), third_order(2), rtol=0, atol=16 * UNIT)
    assert np.abs(np.array(impulses(method)) - third_order(1)).max() > 1e-3


def test_half_weights_are_those_of_the_published_code():
    """UniP-2 is 2M, and UniC-1 adds ½(1 − e^{−h}) of the difference that the step has made."""
    published = UniPC(2, corrector=False, half=True)
    np.testing.assert_allclose(impulses(published), impulses(DPMSolverPP(2)), rtol=0, atol=4 * UNIT)
    with mpmath.workdps(60):
        x, at = mpf(0), [half_log_snr(time) for time in TS]
        for k in range(3):
            now, before = mpmath.sin(5 * mpf(TS[k])), mpmath.sin(5 * mpf(TS[k - 1]))
            if k:
                x += (1 - mpf(TS[k])) * (1 - mpmath.exp(at[k - 1] - at[k])) / 2 * (now - before)
            x = mpf(TS[k + 1]) / mpf(TS[k]) * x + (1 - mpf(TS[k + 1])) * (1 - mpmath.exp(at[k] - at[k + 1])) * now
    made = problem(lambda t, x: np.full_like(x, math.sin(5 * t)))
    found = solve(made, np.zeros(1), TS, UniPC(2, half=True)).x[0]
    assert abs(found - float(x)) < 16 * UNIT
    assert abs(solve(made, np.zeros(1), TS, UniPC(2)).x[0] - float(x)) > 1e-4


def test_the_past_of_the_second_step_is_inside_the_first():
    """3M after one singlestep step: a quadratic through the start of the step, ⅔ of the first in λ, and its start."""
    with mpmath.workdps(60):
        at = [half_log_snr(time) for time in TS[:3]]
        nodes = [mpf(0), (at[0] - at[1]) / 3 / (at[2] - at[1]), (at[0] - at[1]) / (at[2] - at[1])]
        h, exact = at[2] - at[1], []
        for k in range(3):
            others = [node for j, node in enumerate(nodes) if j != k]
            basis = lambda u, k=k, others=others: mpmath.fprod((u - o) / (nodes[k] - o) for o in others)  # noqa: E731
            weight = mpmath.quad(lambda u, f=basis: mpmath.exp(-(1 - u) * h) * h * f(u), [0, 1])
            exact.append(float((1 - mpf(TS[2])) * weight))
        middle = at[0] + 2 * (at[1] - at[0]) / 3
        inside = float(1 / (1 + mpmath.exp(middle)))
    for time, weight in zip((TS[1], inside, TS[0]), exact):
        seen = lambda t, x, time=time: np.full_like(x, float(abs(t - time) < 1e-9))  # noqa: E731
        xs = solve(problem(seen), np.zeros(1), TS, DPMSolverPP(3), save=True).xs[:, 0]
        assert abs(xs[2] - TS[2] / TS[1] * xs[1] - weight) < 64 * UNIT


@pytest.mark.parametrize("kind", ["h", "expm1(h)"])
def test_the_corrector_solves_the_equations_of_unipc(kind):
    """UniC-2 for any B(h): R a = φ/B(h), eq. 5 and 7 of arXiv 2302.04867, in 60 digits.

    The last state of a solve is not corrected, so the corrected one is what the next step starts from.
    """
    with mpmath.workdps(60):
        at = [half_log_snr(time) for time in TS]
        h = at[2] - at[1]
        r = [(at[0] - at[1]) / h, mpf(1)]
        b = h if kind == "h" else mpmath.expm1(-h)
        # φ_k of the data form: ∫ e^{−(1−u)h} h u^k du, k! from the expansion, over B(h).
        right = [h * mpmath.quad(lambda u, k=k: mpmath.exp(-(1 - u) * h) * u**k, [0, 1]) / b for k in (1, 2)]
        matrix = mpmath.matrix([[1, 1], [r[0], r[1]]])
        past, newest = mpmath.lu_solve(matrix, mpmath.matrix(right))
        scale = (1 - mpf(TS[2])) * b
        weights = [scale * past / r[0], scale * newest / r[1]]
        hold = (1 - mpf(TS[2])) * (1 - mpmath.exp(-h))
        exact = [float(weights[1]), float(hold - weights[0] - weights[1]), float(weights[0])]
    # With x̂ seen at one time only, the fourth state is the factor times the corrected third plus what x̂ adds.
    found = []
    for seen in TS[2::-1]:
        data = lambda t, x, seen=seen: np.full_like(x, float(t == seen))  # noqa: E731
        xs = solve(problem(data), np.zeros(1), TS, UniPC(3), save=True).xs[:, 0]
        predicted = impulses(UniPC(2, corrector=False))[TS[2::-1].index(seen)]
        found.append((xs[3] - predicted) / (TS[3] / TS[2]) - TS[2] / TS[1] * xs[1])
    np.testing.assert_allclose(found, exact, rtol=0, atol=64 * UNIT)


@pytest.mark.parametrize(
    ("method", "degree"),
    [(RES(), 1), (RES(2, "multistep"), 1), (DPMSolverPP(3), 2), (UniPC(3, corrector=False), 2), (UniPC(4), 2)],
    ids=["RES", "RES-multistep", "3M", "UniP-3", "UniPC-4"],
)
def test_polynomials_in_the_log_snr_are_integrated(method, degree):
    """Where x̂ is a polynomial in λ of this degree and no more, the last step is exact: quadrature in 30 digits."""
    for power in range(degree + 2):
        data = lambda t, x, k=power: np.full_like(x, (math.log(1 - t) - math.log(t)) ** k)  # noqa: E731
        with mpmath.workdps(30):
            ends = [half_log_snr(TS[2]), half_log_snr(TS[3])]
            exact = float(TS[3] * mpmath.quad(lambda u, k=power: mpmath.exp(u) * u**k, ends))
        # UniPC's last step starts from a corrected state: start it where nothing is to be corrected.
        if isinstance(method, UniPC) and method.corrector:
            method = UniPC(method.order - 1, corrector=False)
        gap = abs(last_step(method, data) - exact)
        assert gap < 1e-14 if power <= degree else gap > 1e-5


def ratio(schedule, time):
    return mpf(schedule.sigma(float(time))) / mpf(schedule.alpha(float(time)))


@pytest.mark.parametrize("schedule", [Linear(), GVP(), VP()], ids=["linear", "gvp", "vp"])
@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("ts", [TS, [0.5, 0.3, 0.1, 0.0]], ids=["inside", "to-the-data"])
def test_deis_integrates_polynomials_in_time(schedule, order, ts):
    """Where ε̂ is a polynomial in t of degree order − 1 the last step is exact, to σ = 0 too: quadrature of dr."""
    for power in range(order):
        data = lambda t, x, k=power: (x - schedule.sigma(t) * t**k) / schedule.alpha(t)  # noqa: E731
        made = Denoising(**(vars(denoising(schedule, lambda t, x: x)) | {"data": data}))
        xs = solve(made, np.zeros(1), ts, DEIS(order), save=True).xs[:, 0]
        end, start = (schedule.sigma(time) / schedule.alpha(time) for time in (ts[3], ts[2]))
        with mpmath.workdps(25):
            # By parts; t = v² removes the root of time that VP's r has at the data.
            integrand = lambda v, k=power: 2 * k * v ** (2 * k - 1) * ratio(schedule, v * v) if k else 0  # noqa: E731
            area = mpmath.quad(integrand, [mpmath.sqrt(ts[2]), mpmath.sqrt(ts[3])], maxdegree=4)
            exact = ts[3] ** power * end - ts[2] ** power * start - float(area)
        found = xs[3] / schedule.alpha(ts[3]) - xs[2] / schedule.alpha(ts[2])
        assert abs(found - exact) < 1e-12


@pytest.mark.parametrize(
    "method",
    [DPMSolver(1), DPMSolver(1, "multistep"), DPMSolverPP(1), DEIS(1), UniPC(1, corrector=False)],
    ids=name,
)
def test_first_order_is_ddim(method):
    """All methods of order 1 are DDIM, from α = 0 to σ = 0, to 16u."""
    made = problem(lambda t, x: np.sin(3 * t + x))
    expected = solve(made, np.array([0.4, -2.0]), uniform(7), DDIM()).x
    np.testing.assert_allclose(
        solve(made, np.array([0.4, -2.0]), uniform(7), method).x, expected, rtol=0, atol=16 * UNIT
    )


def test_first_order_adams_bashforth_is_euler():
    """AdamsBashforth(1) is Euler's method to the last bit."""
    flow = ODE(lambda t, x: np.sin(3 * t + x))
    x = np.array([0.4, -2.0])
    np.testing.assert_array_equal(
        solve(flow, x, uniform(7), AdamsBashforth(1)).x, solve(flow, x, uniform(7), Euler()).x
    )


@pytest.mark.parametrize("order", [2, 3, 4])
def test_adams_bashforth_integrates_polynomials(order):
    """Slopes that are polynomials in time of degree order − 1 are integrated exactly on any grid."""
    ts = [0.0, 0.3, 0.4, 0.9, 1.0, 1.5]
    for power in range(order + 1):
        end = solve(
            ODE(lambda t, x, k=power: np.full_like(x, (k + 1) * t**k)), np.zeros(1), ts, AdamsBashforth(order)
        ).x
        gap = abs(end[0] - ts[-1] ** (power + 1))
        assert gap < 1e-14 if power < order else gap > 1e-5


@pytest.mark.parametrize("method", [DDIM(), *SINGLESTEP, *MULTISTEP], ids=name)
def test_a_point_is_reached_by_every_method(method):
    """With x̂ = y everywhere every state is on the flow to y, from any start, grid and direction of time."""
    point, start = np.array([0.7, -1.3]), np.array([2.0, 0.4])
    made = problem(lambda t, x: np.broadcast_to(point, x.shape))
    ts = [1.0, 0.83, 0.6, 0.4, 0.1, 0.0]
    xs = solve(made, start, ts, method, save=True).xs
    exact = np.array([(1 - t) * point + t * start for t in ts])
    np.testing.assert_allclose(xs, exact, rtol=0, atol=64 * UNIT)
    np.testing.assert_allclose(solve(made, xs[3], ts[3::-1], method).x, start, rtol=0, atol=256 * UNIT)
    np.testing.assert_allclose(solve(made, start, [1.0, 0.0], method).x, point, rtol=0, atol=4 * UNIT)


@pytest.mark.parametrize("schedule", [Linear(), GVP(), VP()], ids=["linear", "gvp", "vp"])
@pytest.mark.parametrize("inner", [DDIM(), DPMSolver(3), DPMSolverPP(3), DEIS(2), UniPC(3), RES()], ids=name)
def test_preconditioning_is_exact_on_its_gaussian(schedule, inner):
    """On N(m, cI) every step, also the only one from t = 1 to t = 0, is the Gaussian's flow."""
    path, x = Path(schedule, Gaussian([0.4], 0.6)), np.linspace(-2, 2, 5)[:, None]
    method = Preconditioned(inner, mean=0.4, variance=0.6)
    made = denoising(schedule, path.velocity)
    np.testing.assert_allclose(solve(made, x, [1.0, 0.0], method).x, path.flow(1.0, 0.0, x), rtol=0, atol=3e-13)
    ts = [0.9, 0.5, 0.3, 0.02]
    np.testing.assert_allclose(solve(made, x, ts, method).x, path.flow(0.9, 0.02, x), rtol=0, atol=3e-12)


@pytest.mark.parametrize("inner", [DPMSolverPP(3), DPMSolver(2), UniPC(3)], ids=name)
def test_preconditioning_with_no_variance_is_none(inner):
    """With c = 0 and m = 0 the method is the one inside; with another m it is that in shifted coordinates."""
    made = problem(lambda t, x: np.sin(3 * t + x))
    x = np.array([0.4, -2.0])
    expected = solve(made, x, uniform(7), inner)
    found = solve(made, x, uniform(7), Preconditioned(inner, 0.0, 0.0))
    np.testing.assert_allclose(found.x, expected.x, rtol=0, atol=1e-13)
    assert found.nfe == expected.nfe
    mean = np.array([0.5, 0.25])
    shifted = problem(lambda t, z: np.sin(3 * t + z + (1 - t) * mean) - mean)
    expected = solve(shifted, x, uniform(7), inner).x + mean
    np.testing.assert_allclose(solve(made, x, uniform(7), Preconditioned(inner, mean, 0.0)).x, expected, atol=1e-13)

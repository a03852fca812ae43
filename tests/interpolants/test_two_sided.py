"""Interpolants between two data sets: the transport equations, quadrature, moments and samples."""

import itertools
import math

import mpmath
import numpy as np
import pytest
import sympy
import torch
from mpmath import mpf
from scipy import stats
from scipy.integrate import solve_ivp
from sympy import Function, Piecewise, Symbol, diff

from interpolants import Gaussian, diffusion, t
from interpolants import two_sided as ts
from interpolants.two_sided import TwoSided, TwoSidedPath, bridge, encode_decode, linear_two_sided, mirror
from solvers import RK4, PoleError, StochasticHeun, solve, uniform

ZERO, ONE, cos, sin = (lambda s: mpf(0)), (lambda s: mpf(1)), mpmath.cospi, mpmath.sinpi
# Written out by hand: alpha, beta and their derivatives; gamma and gamma times its derivative.
FAMILIES = {
    linear_two_sided: (lambda s: 1 - s, lambda s: s, lambda s: -mpf(1), ONE),
    ts.trigonometric_two_sided: (
        *(lambda s: cos(s / 2), lambda s: sin(s / 2)),
        *(lambda s: -mpmath.pi / 2 * sin(s / 2), lambda s: mpmath.pi / 2 * cos(s / 2)),
    ),
    encode_decode: (
        *(lambda s: cos(s) ** 2 * (s < 0.5), lambda s: cos(s) ** 2 * (s > 0.5)),
        *(lambda s: -mpmath.pi * sin(2 * s) * (s < 0.5), lambda s: -mpmath.pi * sin(2 * s) * (s > 0.5)),
    ),
    mirror: (ZERO, ONE, ZERO, ZERO),
}
GAMMAS = {
    "bridge": (bridge(2), lambda s: mpmath.sqrt(2 * s * (1 - s)), lambda s: 1 - 2 * s),
    "parabola": (ts.parabola(), lambda s: s * (1 - s), lambda s: s * (1 - s) * (1 - 2 * s)),
    "sine": (ts.sine_squared(), lambda s: sin(s) ** 2, lambda s: mpmath.pi * sin(s) ** 2 * sin(2 * s)),
}
BOTH = list(itertools.product(FAMILIES, GAMMAS))
every_one = pytest.mark.parametrize(("family", "gamma"), BOTH, ids=[f"{f.__name__}-{g}" for f, g in BOTH])
POINTS = np.array([[0.3, -0.8], [1.4, 0.9], [-2.0, 0.1], [0.4, 0.0], [3.0, -2.5]])
G0 = Gaussian([0.7, -0.4], [[0.5, 0.3], [0.3, 0.9]])
G1 = Gaussian([-1.0, 0.5], [[1.2, -0.4], [-0.4, 0.3]])
LINE = Gaussian([0.7], 0.5), Gaussian([-1.0], 1.3)
W = diffusion.Custom((1 + sympy.sin(7 * t)) ** 2 / 3 + t / 5)


def path(family, gamma, first=G0, second=G1):
    interpolant = family(GAMMAS[gamma][0])
    return TwoSidedPath(interpolant, second if interpolant.is_mirror else first, second)


@every_one
def test_quantities(family, gamma):
    """α, β, γ, their derivatives and γγ̇ are the hand-written ones to 1e-15·(1 + condition), both ends included."""
    interpolant, names = family(GAMMAS[gamma][0]), ("alpha", "beta", "d_alpha", "d_beta", "gamma", "gamma_d_gamma")
    times = [0.0, 1e-9, 0.1, 0.3, 0.5, 0.77, 1 - 2.0**-30, 1.0]
    for name, oracle in zip(names, (*FAMILIES[family], *GAMMAS[gamma][1:])):
        with mpmath.workdps(40):
            exact = np.array([float(oracle(mpf(time))) for time in times])
        exact[np.abs(exact) < 1e-30] = 0.0
        found = getattr(interpolant, name)
        np.testing.assert_allclose([found(time) for time in times], exact, rtol=4e-15, atol=1e-30)
        np.testing.assert_allclose(found(np.array(times)), exact, rtol=4e-15, atol=1e-30)
    assert isinstance(interpolant.alpha(t), sympy.Expr)


def test_gamma_d_gamma_at_the_ends():
    """γγ̇ of √(at(1−t)) is a/2 and −a/2 at the ends, where γ̇ itself is refused and the target without z is finite."""
    rooted = linear_two_sided(bridge(3))
    assert [rooted.gamma_d_gamma(0.0), rooted.gamma_d_gamma(1.0)] == [1.5, -1.5]
    for time in (0.0, 1.0):
        with pytest.raises(PoleError, match="d_gamma"):
            rooted.velocity_target(time, POINTS, POINTS, POINTS)
        np.testing.assert_allclose(rooted.velocity_target(time, POINTS, 3 * POINTS), 2 * POINTS, rtol=1e-15)


@every_one
def test_transport_equations(family, gamma):
    """Continuity and both Fokker–Planck residuals of N(m₀, c₀) → N(m₁, c₁) expand to 0 with w undefined."""
    interpolant, x, (m0, m1) = family(GAMMAS[gamma][0]), Symbol("x", real=True), sympy.symbols("m0 m1", real=True)
    c0, c1 = sympy.symbols("c0 c1", positive=True)
    w = Function("w", positive=True)(t)
    names = ("alpha", "beta", "gamma_squared", "d_alpha", "d_beta", "gamma_d_gamma")
    parts = [getattr(interpolant, name).expression for name in names]
    for half in (0, 1) if family is encode_decode else (0,):
        a, b, square, d_a, d_b, rate = (part.replace(Piecewise, lambda *p, half=half: p[half][0]) for part in parts)
        mean, variance = a * m0 + b * m1, a**2 * c0 + b**2 * c1 + square
        log_p = -sympy.log(variance) / 2 - (x - mean) ** 2 / (2 * variance)
        score, velocity = diff(log_p, x), d_a * m0 + d_b * m1
        velocity += (a * d_a * c0 + b * d_b * c1 + rate) / variance * (x - mean)
        for sign in (0, 1, -1):
            drift = velocity + sign * w * score / 2
            diffused = sign * w * (diff(score, x) + score**2) / 2
            residual = diff(log_p, t) + drift * score + diff(drift, x) - diffused
            assert sympy.expand(sympy.numer(sympy.together(residual))) == 0


@every_one
@pytest.mark.parametrize("time", [0.2, 0.7])
def test_conditional_expectations(family, gamma, time):
    """b, E[z|x] and s are posterior means over (x₀, x₁) by the trapezoidal rule, in one dimension, to 1e-10."""
    law, x, one = path(family, gamma, *LINE), 0.45, family is mirror
    alpha, beta, g = (float(f(mpf(time))) for f in (*FAMILIES[family][:2], GAMMAS[gamma][1]))
    nodes = np.linspace(-9.0, 9.0, 401)
    u, v = (part.ravel() for part in np.meshgrid(nodes, [0.0] if one else nodes))
    x_0, x_1 = (end.mean + math.sqrt(end.cov[0, 0]) * w for end, w in ((law.gaussian0, u), (law.gaussian1, v)))
    x_1 = x_0 if one else x_1
    z = (x - alpha * x_0 - beta * x_1) / g
    posterior = np.exp(-(u**2 + v**2 + z**2) / 2)
    posterior /= posterior.sum()
    target = lambda *parts: posterior @ law.interpolant.velocity_target(time, *(p[:, None] for p in parts))[:, 0]  # noqa: E731
    found = [method(time, np.array([[x]])).item() for method in (law.velocity, law.denoiser, law.score)]
    regular = target(x_0, x_1) - law.interpolant.gamma_d_gamma(time) * found[2]
    exact = [target(x_0, x_1, z), posterior @ z, -(posterior @ z) / g]
    np.testing.assert_allclose([*found, regular], [*exact, exact[0]], rtol=1e-10, atol=1e-10)


@every_one
def test_log_density(family, gamma):
    """log p_t is scipy's, of N(αm₀ + βm₁, α²C₀ + β²C₁ + γ²I)."""
    law = path(family, gamma)
    normal = stats.multivariate_normal(*exact_moments(law, 0.3))
    np.testing.assert_allclose(law.log_density(0.3, POINTS), normal.logpdf(POINTS), rtol=1e-12)


def test_values_at_the_ends():
    """At t = 0 and 1 s is −C⁻¹(x − m), and b = m₁ − m₀ + (∓C + γγ̇I)C⁻¹(x − m) is finite, by hand."""
    law = path(linear_two_sided, "bridge")
    for time, gaussian, rate in ((0.0, G0, -G0.cov + np.eye(2)), (1.0, G1, G1.cov - np.eye(2))):
        white = np.linalg.inv(gaussian.cov) @ (POINTS - gaussian.mean).T
        np.testing.assert_allclose(law.score(time, POINTS), -white.T, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(law.velocity(time, POINTS), G1.mean - G0.mean + (rate @ white).T, rtol=1e-12)
        np.testing.assert_array_equal(law.denoiser(time, POINTS), 0 * POINTS)


def moments(problem, sign, start, stop, mean, cov):
    """Return mean and covariance at ``stop`` by scipy; ``sign`` is 0 for a flow, ±1 for the direction of an SDE."""
    d = len(mean)

    def rates(time, y):
        offset, *columns = problem.drift(time, np.vstack([np.zeros((1, d)), np.eye(d)]))
        matrix = np.stack(columns, 1) - offset[:, None]
        spread = matrix @ y[d:].reshape(d, d)
        noise = sign * problem.diffusion(time) ** 2 * np.eye(d) if sign else 0.0
        return np.concatenate([matrix @ y[:d] + offset, (spread + spread.T + noise).ravel()])

    y = solve_ivp(rates, (start, stop), [*mean, *cov.ravel()], method="DOP853", rtol=1e-10, atol=1e-12).y[:, -1]
    return y[:d], y[d:].reshape(d, d)


def exact_moments(law, time):
    """Return αm₀ + βm₁ and α²C₀ + β²C₁ + γ²I of the interpolant's coefficients."""
    a, b, square = (part(time) for part in (law.interpolant.alpha, law.interpolant.beta, law.interpolant.gamma_squared))
    cov = a**2 * law.gaussian0.cov + b**2 * law.gaussian1.cov + square * np.eye(law.gaussian0.dimension)
    return a * law.gaussian0.mean + b * law.gaussian1.mean, cov


def check_marginals(law, problems):
    for problem, sign in problems:
        for start, stop in [(1.0, 0.4), (0.4, 0.0)] if sign < 0 else [(0.0, 0.4), (0.4, 1.0)]:
            found = moments(problem, sign, start, stop, *exact_moments(law, start))
            for value, exact in zip(found, exact_moments(law, stop)):
                np.testing.assert_allclose(value, exact, rtol=1e-7, atol=1e-7)


def problems_of(law, velocity):
    i = law.interpolant
    yield ts.probability_flow_two_sided(i, velocity), 0
    yield ts.forward_sde_two_sided(i, velocity, law.score, W), 1
    yield ts.reverse_sde_two_sided(i, velocity, law.score, W), -1


@every_one
def test_marginals_are_preserved(family, gamma):
    """The moments of the flow and of both SDEs, by scipy's DOP853 with a random w, are those of x_t to 1e-7."""
    law = path(family, gamma, *LINE)
    check_marginals(law, problems_of(law, law.velocity))


def test_marginals_of_covariances_that_do_not_commute():
    """The same in two dimensions, C₀C₁ ≠ C₁C₀; the closed-form flow is refused there with what to do instead."""
    law = path(ts.trigonometric_two_sided, "bridge")
    check_marginals(law, problems_of(law, law.velocity))
    with pytest.raises(ValueError, match=r"covariances that commute.*probability_flow_two_sided"):
        law.flow(0.0, 1.0, POINTS)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_mirror_signs(gamma):
    """A mirror's flow and SDEs from its score alone keep its marginals, β = 1 or not; the other sign does not."""
    square = GAMMAS[gamma][0]
    for interpolant in (mirror(square), TwoSided("swaying", 0, 1 - t * (1 - t), square)):
        law = TwoSidedPath(interpolant, G1, G1)
        velocity = ts.mirror_velocity(interpolant, law.score)
        np.testing.assert_allclose(velocity(0.3, POINTS), law.velocity(0.3, POINTS), rtol=1e-12, atol=1e-13)
        check_marginals(law, problems_of(law, velocity))
    law = TwoSidedPath(mirror(square), G1, G1)
    for problem, sign in problems_of(law, lambda time, x: -law.velocity(time, x)):
        start, stop = (1.0, 0.5) if sign < 0 else (0.0, 0.5)
        found = moments(problem, sign, start, stop, *exact_moments(law, start))[1]
        assert np.abs(found - exact_moments(law, stop)[1]).max() > 0.03
    with pytest.raises(ValueError, match="a mirror"):
        ts.mirror_velocity(linear_two_sided(), law.score)


@every_one
def test_flow(family, gamma):
    """With commuting covariances the closed-form flow is RK4's, from either end."""
    law = path(family, gamma, Gaussian([0.7, -0.4], 0.5 * G1.cov + np.eye(2)), G1)
    ode = ts.probability_flow_two_sided(law.interpolant, law.velocity)
    for start, stop in ((0.0, 0.5), (1.0, 0.5), (0.5, 0.2)):
        found = solve(ode, POINTS, uniform(100, start=start, stop=stop), RK4()).x
        np.testing.assert_allclose(law.flow(start, stop, POINTS), found, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("family", [linear_two_sided, encode_decode])
def test_samples(family):
    """Samples carried by solve() have the mean and covariance of the other end: flow 1e-5, SDEs six standard errors."""
    law, n, rng = path(family, "bridge"), 8000, np.random.default_rng(0)
    white = rng.standard_normal((n, 2))
    white -= white.mean(0)
    white = white @ np.linalg.inv(np.linalg.cholesky(white.T @ white / n)).T
    for problem, sign in problems_of(law, law.velocity):
        (start, g), (stop, target) = ((1.0, G1), (0.0, G0)) if sign < 0 else ((0.0, G0), (1.0, G1))
        x = g.mean + white @ np.linalg.cholesky(g.cov).T
        x = solve(problem, x, uniform(64, start, stop), StochasticHeun() if sign else RK4(), rng=rng).x
        slack = 6 * 2 / math.sqrt(n) if sign else 1e-5
        np.testing.assert_allclose(x.mean(0), target.mean, atol=slack)
        np.testing.assert_allclose(np.cov(x.T, bias=True), target.cov, atol=slack)


@every_one
def test_joint_samples(family, gamma):
    """x_t is αx₀ + βx₁ + γz of what is returned with it, with the law's mean and covariance within z = 6."""
    law, n = path(family, gamma), 40000
    x, x_0, x_1, z = law.sample_joint(0.3, n, np.random.default_rng(3))
    np.testing.assert_array_equal(x, law.interpolant.interpolate(0.3, x_0, x_1, z))
    assert (x_0 is x_1) == (family is mirror)
    mean, cov = exact_moments(law, 0.3)
    bound = 6 * np.sqrt(np.diag(cov) / n)
    np.testing.assert_array_less(np.abs(x.mean(0) - mean), bound)
    np.testing.assert_array_less(np.abs(np.cov(x.T) - cov), np.sqrt(2 * n) * np.outer(bound, bound) / 6)
    assert [part.dtype for part in law.sample_joint(0.3, 4, torch.Generator())] == [torch.float64] * 4


@every_one
def test_numpy_torch_and_times_per_sample(family, gamma):
    """torch is numpy to round-off and float32 to its own; a time per sample is one time each, both ends included."""
    law, times = path(family, gamma), np.array([0.0, 0.3, 0.5, 0.8, 1.0])
    for name in ("velocity", "score", "denoiser", "log_density"):
        method = getattr(law, name)
        exact = np.concatenate([method(time, POINTS[k : k + 1]) for k, time in enumerate(times.tolist())])
        np.testing.assert_allclose(method(times, POINTS), exact, rtol=1e-12, atol=1e-12)
        for dtype, accuracy in ((torch.float64, 1e-12), (torch.float32, 1e-4)):
            found = method(torch.from_numpy(times).to(dtype), torch.from_numpy(POINTS).to(dtype))
            assert found.dtype == dtype
            np.testing.assert_allclose(found.numpy(), exact, rtol=accuracy, atol=accuracy)
        assert method(0.3, torch.from_numpy(POINTS).float()).dtype == torch.float32
    assert path(family, gamma, G1, G1).flow(0.1, 0.9, torch.from_numpy(POINTS).float()).dtype == torch.float32


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((t, 1 - t, bridge()), "expected alpha = 1 at t = 0; received 0; remedy: "),
        ((1 - t / 2, t, bridge()), "expected alpha = 0 at t = 1; received 0.5"),
        ((1 - t, t + (1 - t) / 4, bridge()), "expected beta = 0 at t = 0; received 0.25"),
        ((1 - t, t / 2, bridge()), "expected beta = 1 at t = 1; received 0.5"),
        ((1 - t, t, t), "expected gamma_squared = 0 at t = 1; received 1"),
        ((1 - t, t, -bridge()), r"expected gamma\^2 > 0 .*; received -.* at t = .*; remedy: "),
        ((0, t, bridge()), "expected beta = 1 at t = 0 of a mirror; received 0"),
    ],
)
def test_boundaries(parts, message):
    """Coefficients that miss a boundary value are refused with the value and the time; a mirror has its own rule."""
    with pytest.raises(ValueError, match=message):
        TwoSided("wrong", *parts)


def test_arguments():
    """A w tied to a schedule, Gaussians that do not fit, x of another dimension: expected, received, remedy."""
    law = path(linear_two_sided, "bridge")
    sde = lambda w: ts.forward_sde_two_sided(law.interpolant, law.velocity, law.score, w)  # noqa: E731
    for error, call, message in (
        (ValueError, lambda: sde(diffusion.KL() + diffusion.Sigma()), "w of time alone.*; received KL.*; remedy: pass"),
        (ValueError, lambda: sde(diffusion.Custom(t - 1)), "w = .* >= 0"),
        (TypeError, lambda: sde(0.5), "diffusion coefficient"),
        (TypeError, lambda: TwoSidedPath("linear", G0, G1), "expected a TwoSided"),
        (TypeError, lambda: TwoSidedPath(linear_two_sided(), G0, "normal"), "expected a Gaussian"),
        (ValueError, lambda: TwoSidedPath(linear_two_sided(), G0, Gaussian([0.0], 1.0)), "one dimension"),
        (ValueError, lambda: TwoSidedPath(mirror(), G0, G1), "one Gaussian twice"),
        (ValueError, lambda: law.velocity(0.5, POINTS[:, :1]), r"x of shape \(B, 2\)"),
    ):
        with pytest.raises(error, match=message):
            call()
    assert [pole.time for pole in sde(diffusion.Custom(1 / t)).poles] == [0.0]
    assert repr(linear_two_sided()) == "linear-two-sided: alpha = 1 - t, beta = t, gamma^2 = t*(1 - t)"

"""Orders of the stochastic exponential methods: exact moments, forced problems without noise, refined paths."""

import math

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from solver_methods import ADAMS, name

from interpolants import GVP, Gaussian, GaussianMixture, Linear, Path, denoising, diffusion, sampler_law
from solvers import (
    Denoising,
    DPMSolverPP,
    ExponentialEulerMaruyama,
    SASolver,
    SDEDPMSolverPP,
    UniPC,
    solve,
    uniform,
)
from tests.support.fields import slope

START, STOP = 0.8, 0.2
EEM = ExponentialEulerMaruyama()
VARIANCES = np.array([0.2, 1.0, 3.0])
MIXTURE = GaussianMixture([0.4, 0.6], [[-1.0], [1.2]], [0.6, 0.8])
NOISES = {"half-kl": 0.5 * diffusion.KL(), "kl": diffusion.KL(), "4-sigma": 4.0 * diffusion.Sigma()}


def exact_moments(schedule, w):
    """Return the variances at STOP and the covariances with START: OU in the clock ∫ w/ρ²."""
    spreads = [np.hypot(schedule.alpha(time) * np.sqrt(VARIANCES), schedule.sigma(time)) for time in (START, STOP)]
    rate = w.of(schedule)
    clock = [
        quad(lambda u, c=c: rate(u) / (schedule.alpha(u) ** 2 * c + schedule.sigma(u) ** 2), STOP, START)[0]
        for c in VARIANCES
    ]
    return spreads[1] ** 2, spreads[0] * spreads[1] * np.exp(-0.5 * np.array(clock))


def moment_errors(method, schedule, w, counts):
    """Return the errors of the variances, and of the covariances with the start, over grids."""
    path, exact = Path(schedule, Gaussian([0.7, -0.2, 0.4], VARIANCES)), exact_moments(schedule, w)
    laws = [sampler_law(path, method, uniform(n, START, STOP), w) for n in counts]
    found = [(np.diag(law.cov), np.diag(law.cross)) for law in laws]
    return [[float(np.abs(law[k] - exact[k]).max()) for law in found] for k in (0, 1)]


WEAK = [EEM, *ADAMS, SASolver(1, 0), SASolver(3, 0)]


@pytest.mark.covering(10)
@pytest.mark.parametrize("method", WEAK, ids=name)
def test_weak_order_of_exact_moments(method):
    """Over four halvings the variances, for three variances of the data at once, converge with the weak order.

    The covariances with the start have the deterministic order under a multiple of wKL. Under wKL itself, where the
    data prediction is a martingale, they are exact.
    """
    counts = [80 * 2**k for k in range(5)]
    variance, cross = moment_errors(method, Linear(), NOISES["half-kl"], counts)
    assert abs(slope(counts, variance) - method.weak_order) < 0.1, variance
    assert abs(slope(counts, cross) - getattr(method, "deterministic_order", 1)) < 0.1, cross
    variance, cross = moment_errors(method, GVP(), NOISES["kl"], counts)
    assert abs(slope(counts, variance) - method.weak_order) < 0.1, variance
    assert max(cross) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("method", WEAK, ids=name)
def test_weak_order_with_another_w(method):
    """With w = 4σ variances and covariances converge with the weak order, or from above it."""
    counts = [80 * 2**k for k in range(4)]
    for errors in moment_errors(method, Linear(), NOISES["4-sigma"], counts):
        assert slope(counts, errors) > method.weak_order - 0.15, errors


def forced(schedule, w, prediction):
    """Return a problem whose x̂ depends on time alone, through λ."""
    made = denoising(schedule, lambda time, x: x, w=w)
    data = lambda time, x: np.full_like(x, prediction(0.5 * schedule.log_snr(time)))  # noqa: E731
    return Denoising(**(vars(made) | {"data": data}))


class Silent:
    """Noise that is zero."""

    def increments(self, x):
        return lambda t0, t1: np.zeros_like(x)


def forced_end(schedule, w, prediction, x):
    """Return C x + α∫(1 + η)e^(−…) x̂ by quadrature of the kernel −d/du [e^(−(λ_s − u)) e^(−Θ(u, s)/2)]."""
    rate, first, last = w.of(schedule), *(0.5 * schedule.log_snr(time) for time in (START, STOP))
    share = lambda time: rate(time) / (2.0 * schedule.quantity("kappa")(time))  # noqa: E731
    clock = lambda time: quad(lambda u: rate(u) / schedule.sigma(u) ** 2, STOP, time, epsabs=1e-13)[0]  # noqa: E731

    def kernel(u):
        time = float(schedule.time_of_log_snr(2.0 * u))
        return (1.0 + share(time)) * math.exp(u - last - 0.5 * clock(time)) * prediction(u)

    gathered = quad(kernel, first, last, epsabs=1e-12, epsrel=1e-12, limit=200)[0]
    kept = schedule.sigma(STOP) / schedule.sigma(START) * math.exp(-0.5 * clock(START))
    return kept * x + schedule.alpha(STOP) * gathered


def forced_slope(method, w, coarsest):
    schedule, prediction = Linear(), lambda u: math.sin(1.5 * u + 0.4)
    made, exact = forced(schedule, w, prediction), forced_end(schedule, w, prediction, 0.3)
    counts = [coarsest * 2**k for k in range(5)]
    x = np.array([0.3])
    ends = [solve(made, x, uniform(n, START, STOP), method, rng=Silent()).x[0] for n in counts]
    errors = [abs(end - exact) for end in ends]
    return slope(counts, errors), errors


DETERMINISTIC = [*ADAMS, SASolver(1, 3), SASolver(3, 2)]


@pytest.mark.covering(5)
@pytest.mark.parametrize("method", DETERMINISTIC, ids=name)
def test_deterministic_order_of_a_forced_problem(method):
    """With x̂ a function of time, a multiple of wKL and no noise, the error falls with the deterministic order."""
    found, errors = forced_slope(method, NOISES["half-kl"], 80 if method.deterministic_order == 4 else 320)
    assert abs(found - method.deterministic_order) < 0.1, (found, errors)


@pytest.mark.parametrize("method", [SDEDPMSolverPP(2), SASolver(3, 4)], ids=name)
def test_another_w_leaves_second_order(method):
    """With w = 2 the share w/wKL changes within a step, and the deterministic order is 2."""
    found, errors = forced_slope(method, diffusion.Constant(2.0), 200)
    assert abs(found - 2.0) < 0.1, (found, errors)


@pytest.mark.parametrize("method", [SDEDPMSolverPP(2), SDEDPMSolverPP(3), SASolver(2, 3)], ids=name)
def test_deterministic_order_of_a_bent_problem(method):
    """With x̂ = sin(log-SNR + x) and the noise left out, the drift v − ½ w s alone is solved with the same order."""
    schedule, eta = Linear(), 1.0
    made = denoising(schedule, lambda time, x: x, w=eta * diffusion.KL())
    bent = Denoising(**(vars(made) | {"data": lambda time, x: np.sin(schedule.log_snr(time) + x)}))

    def drift(t, x):
        data = np.sin(2.0 * math.log(1.0 / t - 1.0) + x)
        noise = (x - (1.0 - t) * data) / t
        return noise - data + eta * noise / (1.0 - t)  # wKL = 2t/(1 − t), s = −ε/t

    x = np.linspace(-1.7, 1.9, 9)
    exact = solve_ivp(drift, (START, STOP), x, method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1]
    counts = [160 * 2**k for k in range(5)]
    ends = [solve(bent, x, uniform(n, START, STOP), method, rng=Silent()).x for n in counts]
    errors = [float(np.sqrt(np.mean((end - exact) ** 2))) for end in ends]
    assert abs(slope(counts, errors) - method.deterministic_order) < 0.1, errors


def test_the_first_step_is_the_published_singlestep():
    """Order 2 starts with the midpoint in λ, where the state, too, has lost e^(−Θ/4) but has no noise."""
    made, x = denoising(Linear(), lambda time, x: np.tanh(x), w=diffusion.KL()), np.array([0.3, -1.2])
    t, s = 0.7, 0.5
    u = 1.0 / (1.0 + math.sqrt((1.0 / t - 1.0) * (1.0 / s - 1.0)))  # half-way in log((1 − t)/t)
    h = math.log((1.0 / s - 1.0) / (1.0 / t - 1.0))
    data = made.data(t, x)
    inside = u / t * math.exp(-0.5 * h) * x + (1.0 - u) * (1.0 - math.exp(-h)) * data
    end = s / t * math.exp(-h) * x + (1.0 - s) * (1.0 - math.exp(-2.0 * h)) * made.data(u, inside)
    found = solve(made, x, [t, s], SDEDPMSolverPP(2), rng=Silent()).x
    np.testing.assert_allclose(found, end, rtol=1e-13)


@pytest.mark.parametrize("method", ADAMS, ids=name)
def test_the_first_step_from_no_signal_with_a_finite_clock(method):
    """With w = σ the clock from α = 0 is finite: the step is exponential Euler–Maruyama's and evaluates once."""
    made, x = denoising(Linear(), lambda time, x: np.tanh(x), w=diffusion.Sigma()), np.array([0.3, -1.2])
    found, expected = (solve(made, x, [1.0, 0.7], m, rng=Given([np.ones(2)])) for m in (method, EEM))
    np.testing.assert_allclose(found.x, expected.x, rtol=1e-14)
    assert found.nfe == 1


def test_without_noise_it_is_the_deterministic_method():
    """With w = 0 the states are those of DPMSolverPP and UniPC, from α = 0 to σ = 0, to the last bit."""
    path, x = Path(Linear(), MIXTURE), np.linspace(-2.0, 2.0, 5)[:, None]
    made = denoising(path.schedule, path.velocity)
    for order in (1, 2, 3):
        expected = solve(made, x, uniform(9), DPMSolverPP(order)).x
        found = solve(made, x, uniform(9), SDEDPMSolverPP(order), rng=np.random.default_rng(0)).x
        np.testing.assert_array_equal(found, expected)
    for order in (2, 3, 4):
        expected = solve(made, x, uniform(9), UniPC(order)).x
        found = solve(made, x, uniform(9), SASolver(order - 1, order), rng=np.random.default_rng(0)).x
        np.testing.assert_array_equal(found, expected)


def published(made, ts, x, normals, order, eta, past):
    """Follow the published formulas of the multistep sampler from the second step on, written out by hand."""
    lam = [0.5 * made.log_snr(t) for t in ts]
    for k in range(len(past), len(ts) - 1):
        past = [made.data(ts[k], x), *past]
        h, z = lam[k + 1] - lam[k], (1.0 + eta) * (lam[k + 1] - lam[k])
        decay, alpha = math.exp(-z), made.alpha(ts[k + 1])
        x = made.sigma(ts[k + 1]) / made.sigma(ts[k]) * math.exp(-eta * h) * x + alpha * (1.0 - decay) * past[0]
        r0 = (lam[k] - lam[k - 1]) / h
        d10 = (past[0] - past[1]) / r0
        if order == 2:
            x = x + 0.5 * alpha * (1.0 - decay) * d10
        else:
            r1 = (lam[k - 1] - lam[k - 2]) / h
            d11 = (past[1] - past[2]) / r1
            d1, d2 = d10 + r0 / (r0 + r1) * (d10 - d11), 2.0 * (d10 - d11) / (r0 + r1)
            x = x + alpha * (1.0 - (1.0 - decay) / z) * d1
            x = x + alpha * (0.5 - (1.0 - (1.0 - decay) / z) / z) * d2
        x = x + made.sigma(ts[k + 1]) * math.sqrt(1.0 - math.exp(-2.0 * eta * h)) * normals[k]
    return x


class Given:
    """Increments with given normals."""

    def __init__(self, normals):
        self.normals = normals

    def increments(self, x):
        left = iter(self.normals)
        return lambda t0, t1: next(left) * math.sqrt(abs(t1 - t0))


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_steps_are_the_published_ones(order, eta):
    """After its start the solver follows the formulas of the paper with 2M's half and 3M's whole second difference."""
    path, rng = Path(GVP(), MIXTURE), np.random.default_rng(3)
    made = denoising(path.schedule, path.velocity, w=eta * diffusion.KL())
    ts, normals = uniform(7, 0.9, 0.1).tolist(), rng.standard_normal((7, 4, 1))
    x, count = rng.standard_normal((4, 1)), order - 1
    states = solve(made, x, ts, SDEDPMSolverPP(order), rng=Given(normals), save=True).xs
    # The start is the solver's own: the first order - 1 steps and what they saw at their starts.
    past = [made.data(ts[k], states[k]) for k in reversed(range(count))]
    np.testing.assert_allclose(
        published(made, ts, states[count], normals, order, eta, past), states[-1], rtol=0, atol=1e-13
    )


def test_from_no_signal_to_no_noise():
    """From α = 0, where Θ = ∞, the start is forgotten; to σ = 0 the end is x̂ of the last time, without noise."""
    seen = []

    def data(time, x):
        seen.append(0.3 * x - 0.2)
        return seen[-1]

    made = Denoising(**(vars(denoising(Linear(), lambda time, x: x, w=diffusion.KL())) | {"data": data}))
    for method in ADAMS:
        ends = []
        for start in (1.0, 5.0):
            made_blind = Denoising(
                **(vars(made) | {"data": lambda time, x: data(time, x) if time < 1.0 else np.ones_like(x)})
            )
            noise = np.random.default_rng(0)
            ends.append(solve(made_blind, np.full(2, start), uniform(5), method, rng=noise).x)
            np.testing.assert_allclose(ends[-1], seen[-1], rtol=1e-14)
        np.testing.assert_array_equal(*ends)

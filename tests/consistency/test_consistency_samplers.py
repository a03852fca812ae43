"""Properties 16–19: exact steps, the many names of DDIM, ancestral sampling as an SDE solver, the best grid."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interpolants import (
    GVP,
    VP,
    Empirical,
    Gaussian,
    Linear,
    Path,
    cosine_optimal,
    denoising,
    diffusion,
    optimal_grid,
    sampler_law,
)
from solvers import DDIM, Ancestral, EulerMaruyama, ExponentialEulerMaruyama, solve, uniform
from tests.support.ledger import within
from tests.support.strategies import coordinates, law, mild_variances, shipped
from tests.support.zoo import BUILT_INS

UNIT = 2.0**-53
schedules = st.sampled_from([case.schedule for case in BUILT_INS])
steps = st.tuples(st.floats(0.02, 0.98), st.floats(0.05, 0.95)).map(lambda pair: (pair[0], pair[0] * pair[1]))


@given(schedule=schedules, time=st.floats(0.01, 1.0), point=st.tuples(coordinates, coordinates), x=coordinates)
@law(15)
def test_one_step_to_a_point(schedule, time, point, x):
    """Property 16: on a point mass DDIM goes from any time and place to the data in one step, and lands on the flow."""
    path = Path(schedule, Empirical([point]))
    problem, start = denoising(schedule, path.velocity), np.array([[x, -x]])
    end = solve(problem, start, [time, 0.0], DDIM()).x
    size = 1 + abs(x) + max(map(abs, point))
    # From a velocity x̂ = (σ̇x − σv)/W: next to α = 0 under VP that cancels, by 1/α₁ = 150 at the most.
    within(np.abs(end - [point]), 3e3 * UNIT * size)
    middle = 0.4 * time
    alpha, sigma = schedule.alpha(middle), schedule.sigma(middle)
    noise = (start - schedule.alpha(time) * np.array([point])) / schedule.sigma(time)
    flow = alpha * np.array([point]) + sigma * noise
    found = solve(problem, start, [time, middle], DDIM()).x
    within(np.abs(found - flow), 3e3 * UNIT * size)


@given(schedule=schedules, c=mild_variances, m=coordinates, x=coordinates, step=steps)
@law(15)
def test_gaussian_preconditioning(schedule, c, m, x, step):
    """Property 16: DDIM in the coordinates of N(m, cI), where its data is a point, is that Gaussian's flow in one step.

    There (x − αm)/ρ is noise alone: a point mass at 0 under (α, ρ), so x̂ = 0 and the step is a factor ρ_s/ρ_t.
    """
    t, s = step
    spread = {time: math.hypot(schedule.alpha(time) * math.sqrt(c), schedule.sigma(time)) for time in (t, s)}
    plain = denoising(schedule, lambda time, z: np.zeros_like(z))
    whitened = type(plain)(**(vars(plain) | {"data": lambda time, z: np.zeros_like(z), "sigma": spread.__getitem__}))
    start = np.array([[x]])
    z = solve(whitened, start - schedule.alpha(t) * m, [t, s], DDIM()).x
    exact = Path(schedule, Gaussian([m], c)).flow(t, s, start)
    within(np.abs(schedule.alpha(s) * m + z - exact), 32 * UNIT * (1 + abs(x) + abs(m)))


@shipped
@given(step=steps, x=coordinates, data=coordinates)
@law(3)
def test_the_names_of_ddim(case, step, x, data):
    """Property 17: DDIM = exponential Euler in ε = DPM-Solver-1 = DPM-Solver++-1 = Euler in (x/α, σ/α), 16u a step."""
    schedule, (t, s) = case.schedule, (case.span * step[0], case.span * step[1])
    (alpha_t, sigma_t), (alpha_s, sigma_s) = ((schedule.alpha(time), schedule.sigma(time)) for time in (t, s))
    noise = (x - alpha_t * data) / sigma_t
    h = math.log(alpha_s / sigma_s) - math.log(alpha_t / sigma_t)
    forms = {
        "DDIM, eq. 12 with σ = 0": alpha_s * (x - sigma_t * noise) / alpha_t + sigma_s * noise,
        "DPM-Solver-1": alpha_s / alpha_t * x - sigma_s * math.expm1(h) * noise,
        "DPM-Solver++-1": sigma_s / sigma_t * x - alpha_s * math.expm1(-h) * data,
        "Euler in (x/α, r)": alpha_s * (x / alpha_t + (sigma_s / alpha_s - sigma_t / alpha_t) * noise),
    }
    problem = denoising(schedule, lambda time, state: np.full_like(state, data))
    # The model predicts x̂ here; a velocity would only add the rounding of its conversion.
    problem = type(problem)(**(vars(problem) | {"data": lambda time, state: np.full_like(state, data)}))
    found = solve(problem, np.array([x]), [t, s], DDIM()).x[0]
    terms = abs(alpha_s / alpha_t * x) + abs(sigma_s * math.expm1(h) * noise) + abs(alpha_s * data) + abs(found)
    for name, value in forms.items():
        within(abs(found - value), 16 * UNIT * terms, name)


def factors(problem, method, t, s):
    """Read the factors of x, x̂ and ξ off one step: x̂ of the rows is 0, 1, 0."""
    basis = np.array([1.0, 0.0, 0.0])

    class Third:
        def increments(self, x):
            return lambda t0, t1: np.array([0.0, 0.0, math.sqrt(abs(t1 - t0))])

    unit = type(problem)(**(vars(problem) | {"data": lambda time, x: np.array([0.0, 1.0, 0.0])}))
    return solve(unit, basis, [t, s], method, rng=Third()).x


@pytest.mark.covering(7)
@shipped
@given(step=steps)
@law(2)
def test_ancestral_sampling_is_an_sde_solver(case, step):
    """Property 18: first-order SDE-DPM-Solver++ has the coefficients of DDPM's β̃ posterior, to 8u."""
    schedule, (t, s) = case.schedule, (case.span * step[0], case.span * step[1])
    kl, zero = (denoising(schedule, lambda time, x: x, w=w) for w in (diffusion.KL(), diffusion.Zero()))
    by_sde, by_chain = factors(kl, ExponentialEulerMaruyama(), t, s), factors(zero, Ancestral(), t, s)
    (alpha_t, sigma_t), (alpha_s, sigma_s) = ((schedule.alpha(time), schedule.sigma(time)) for time in (t, s))
    # Eq. 7 of arXiv 2006.11239 for any α and σ: q(x_s|x_t, x̂) with the variance of x_t given x_s.
    between = sigma_t**2 - (alpha_t / alpha_s) ** 2 * sigma_s**2
    posterior = [
        alpha_t * sigma_s**2 / (alpha_s * sigma_t**2),
        alpha_s * between / sigma_t**2,
        sigma_s * math.sqrt(between) / sigma_t,
    ]
    # Subtracting squares costs σ_t²/between; the clock is a difference of logarithms as large as log r.
    size = 8 * (1 + abs(math.log(sigma_s / alpha_s)) + abs(math.log(sigma_t / alpha_t)))
    for found in (by_sde, by_chain):
        within(np.abs(found[:2] - posterior[:2]), size * UNIT)
        within(abs(found[2] ** 2 - posterior[2] ** 2), size * UNIT * max(1.0, posterior[2] ** 2))
    within(np.abs(by_sde - by_chain), 2 * size * UNIT * (1 + np.abs(by_chain) * sigma_t**2 / between))


@given(schedule=schedules, c=mild_variances, m=coordinates, n=st.integers(1, 12), data=st.data())
@law(12)
def test_product_of_cosines(schedule, c, m, n, data):
    """Property 19: DDIM's ratio of standard deviations is Π cos(φ_k − φ_{k+1}), tan φ = σ/(α√c), on any grid."""
    inner = sorted(data.draw(st.sets(st.floats(0.01, 0.99), min_size=n - 1, max_size=n - 1)), reverse=True)
    ts = [1.0, *inner, 0.0]
    angles = [math.atan2(schedule.sigma(time), schedule.alpha(time) * math.sqrt(c)) for time in ts]
    product = math.prod(math.cos(a - b) for a, b in pairwise(angles))
    found = sampler_law(Path(schedule, Gaussian([m], c)), DDIM(), ts)
    within(abs(found.spreads.item() / math.sqrt(c) - product), 1e-13)
    within(abs(found.mean.item() - m), 1e-12 * (1 + abs(m)) / schedule.sigma(1.0))


@given(c=mild_variances, n=st.integers(2, 20), seed=st.integers(0, 10**6), schedule=st.sampled_from([Linear(), GVP()]))
@law(12)
def test_the_cosine_grid_is_best(c, n, seed, schedule):
    """Property 19: σ/α = √c tan(½π(1 − k/N)) has the ratio cos^N(π/2N), and no random change of the grid has more."""
    path, ts = Path(schedule, Gaussian([0.0], c)), cosine_optimal(schedule, n, c)
    assert (ts[0], ts[-1]) == (1.0, 0.0)
    ratio = sampler_law(path, DDIM(), ts).spreads.item() / math.sqrt(c)
    within(abs(ratio - math.cos(math.pi / (2 * n)) ** n), 1e-12)
    rng = np.random.default_rng(seed)
    for size in (1e-3, 0.03, 0.3):
        logits = np.log(ts[1:-1] / (1 - ts[1:-1])) + size * rng.standard_normal(n - 1)
        other = np.concatenate([[1.0], np.sort(1 / (1 + np.exp(-logits)))[::-1], [0.0]])
        assert sampler_law(path, DDIM(), other).spreads.item() / math.sqrt(c) < ratio + 1e-15


@pytest.mark.parametrize(
    ("method", "objective"),
    [(DDIM(), "kl"), (DDIM(), "w2"), (EulerMaruyama(), "kl")],
    ids=["ddim-kl", "ddim-w2", "em-kl"],
)
def test_grids_found_are_best(method, objective):
    """Property 19: with several variances no random change of the grid that was found has a smaller divergence."""
    path, n = Path(VP(), Gaussian([0.2, 0.0, -0.3], [0.02, 0.2, 1.5])), 4
    w = diffusion.Sigma() if method.stochastic else diffusion.Zero()

    def loss(ts):
        found = sampler_law(path, method, ts, w)
        return found.kl() if objective == "kl" else found.wasserstein2()

    ts, rng = optimal_grid(path, n, method, objective, w), np.random.default_rng(3)
    best = loss(ts)
    assert best < loss(uniform(n))
    for size in (1e-4, 1e-3, 1e-2):
        for _ in range(6):
            logits = np.log(ts[1:-1] / (1 - ts[1:-1])) + size * rng.standard_normal(n - 1)
            other = np.concatenate([[1.0], np.sort(1 / (1 + np.exp(-logits)))[::-1], [0.0]])
            assert loss(other) >= best * (1 - 1e-9)

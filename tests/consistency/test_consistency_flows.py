"""Properties 20, 23 and 25: guidance, likelihood, and what few-step models learn, on flows known in closed form."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad_vec
from scipy.stats import multivariate_normal

from interpolants import GVP, VP, Gaussian, Linear, Path, Score, Velocity, convert, probability_flow
from interpolants.equivalence import transfer
from interpolants.flow_map import average_velocity, consistency_function
from interpolants.guidance import classifier_free
from solvers import RK4, uniform
from solvers import solve as solve_ode
from solvers.likelihood import hutchinson, log_likelihood
from tests.support.ledger import within
from tests.support.strategies import coordinates, covariances, every_case, law, middle, mild_variances, shipped
from tests.support.zoo import MIXTURE

EXACT_ENDS = [Linear(), GVP()]
scales = st.floats(0.0, 4.0)
points = st.tuples(coordinates, coordinates)


@shipped
@given(fraction=middle, x=coordinates, pair=st.tuples(coordinates, coordinates), scale=scales)
@law(2)
def test_guidance_is_the_same_for_velocity_and_score(case, fraction, x, pair, scale):
    """Property 20: guiding velocities and converting is converting and guiding scores."""
    schedule, time, x = case.schedule, fraction * case.span, np.array([[x]])
    velocity = classifier_free(*(lambda _, x, p=p: p + 0 * x for p in pair), scale)(time, x)
    scores = [convert(p + 0 * x, time, x, schedule, source=Velocity, to=Score) for p in pair]
    guided = classifier_free(*(lambda _, x, s=s: s for s in scores), scale)(time, x)
    size = (1 + scale) * sum(np.abs(s) for s in scores)
    within(np.abs(convert(velocity, time, x, schedule, source=Velocity, to=Score) - guided), 1e-12 * (1e-3 + size))


@pytest.mark.covering(2)
@pytest.mark.parametrize("schedule", EXACT_ENDS, ids=lambda s: s.name)
@given(variances=st.tuples(st.floats(0.2, 3.0), st.floats(0.2, 3.0)), scale=st.floats(1.5, 4.0))
@law(4)
def test_guided_variance_is_geometric(schedule, variances, scale):
    """Property 20: the guided flow ends at c_c^ζ c_u^(1−ζ), which is not the tempered 1/(ζ/c_c + (1−ζ)/c_u)."""
    wanted, base = variances
    models = [Path(schedule, Gaussian([0.0], c)).velocity for c in variances]
    problem = probability_flow(schedule, classifier_free(*models, scale))
    end = solve_ode(problem, np.array([[1.0]]), uniform(400), RK4()).x[0, 0] ** 2
    geometric = wanted**scale * base ** (1 - scale)
    within(abs(end / geometric - 1), 2e-6)
    tempered = scale / wanted + (1 - scale) / base
    if abs(math.log(wanted / base)) > 0.1:
        assert tempered <= 0 or abs(end * tempered - 1) > 1e-3


@pytest.mark.covering(17)
@every_case
@given(fractions=st.tuples(middle, middle), mean=points, cov=covariances(), x=points)
@law(1)
def test_likelihood_of_a_gaussian_flow(case, fractions, mean, cov, x):
    """Property 23: log p along the flow from one marginal to another is scipy's log-density."""
    path = Path(case.schedule, Gaussian(mean, cov))
    start, stop = (fraction * case.span for fraction in fractions)
    stop = 0.9 * start if start == stop else stop

    def density(time, x):
        alpha, sigma = case.schedule.alpha(time), case.schedule.sigma(time)
        return multivariate_normal(alpha * np.array(mean), alpha**2 * cov + sigma**2 * np.eye(2)).logpdf(x).reshape(-1)

    flow, x = probability_flow(case.schedule, path.velocity), np.array([x])
    grid, prior = uniform(200, start, stop), lambda x: density(stop, x)
    found = log_likelihood(flow, x, grid, RK4(), prior, path.divergence)
    exact = density(start, x)
    within(np.abs(found.value - exact), 1e-5 * (1 + np.abs(exact)))


@pytest.mark.parametrize("schedule", [*EXACT_ENDS, VP()], ids=lambda s: s.name)
def test_hutchinson_over_all_signs(schedule):
    """Property 23: the mean over all 2^d sign vectors is the exact divergence, for the solve as for one time."""
    path, x = Path(schedule, MIXTURE), torch.tensor([[0.3, -0.4], [1.0, 0.2]], dtype=torch.float64)
    flow = probability_flow(schedule, path.velocity)
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=2)), dtype=torch.float64)
    grid, prior = uniform(20, 0.3, 0.9), lambda x: path.log_density(0.9, x)
    exact = log_likelihood(flow, x, grid, RK4(), prior)
    closed = log_likelihood(flow, x, grid, RK4(), prior, path.divergence)
    every = log_likelihood(flow, x, grid, RK4(), prior, hutchinson(flow.drift, signs))
    each = [log_likelihood(flow, x, grid, RK4(), prior, hutchinson(flow.drift, one[None])).value for one in signs]
    within((every.value - exact.value).abs(), 1e-13)
    within((closed.value - exact.value).abs(), 1e-12)
    within((sum(each) / 4 - exact.value).abs(), 1e-13)  # the trajectory does not depend on the probe
    assert max(float((one - exact.value).abs().max()) for one in each) > 1e-3
    within((exact.value - path.log_density(0.3, x)).abs(), 1e-4)


@pytest.mark.covering(7)
@every_case
@given(fractions=st.tuples(middle, middle), mean=points, cov=covariances(), x=points)
@law(1)
def test_average_velocity(case, fractions, mean, cov, x):
    """Property 25: u is the mean of v along the trajectory, by quadrature, and u = v − (t − r) du/dt along it."""
    path, x = Path(case.schedule, Gaussian(mean, cov)), np.array([x])
    start, stop = sorted(fraction * case.span for fraction in fractions)
    start = min(start, 0.9 * stop)
    u, v = average_velocity(path, start, stop, x), path.velocity(stop, x)
    mean_of_v, _ = quad_vec(lambda s: path.velocity(s, path.flow(stop, s, x)), start, stop, epsabs=1e-12, epsrel=1e-11)
    size = 1 + np.abs(v).max() + np.abs(u).max()
    within(np.abs(u - mean_of_v / (stop - start)), 1e-9 * size)
    h = 1e-3 * min(stop, case.span - stop)
    near = [average_velocity(path, start, stop + k * h, path.flow(stop, stop + k * h, x)) for k in (-2, -1, 1, 2)]
    slope = (near[0] - 8 * near[1] + 8 * near[2] - near[3]) / (12 * h)
    within(np.abs(u - v + (stop - start) * slope), 1e-8 * size * max(1, 1e-3 / h))


@every_case
@given(fractions=st.tuples(middle, middle), mean=points, cov=covariances(), x=points)
@law(1)
def test_consistency_function(case, fractions, mean, cov, x):
    """Property 25: f is the same along a trajectory, and the identity at the data."""
    path, x = Path(case.schedule, Gaussian(mean, cov)), np.array([x])
    start, stop = (fraction * case.span for fraction in fractions)
    end = consistency_function(path, start, x)
    size = 1 + np.abs(end).max() + np.abs(x).max() + np.abs(mean).max()
    within(np.abs(consistency_function(path, stop, path.flow(start, stop, x)) - end), 1e-10 * size**2)
    within(np.abs(consistency_function(path, 0.0, x) - x), 1e-15 * size)


@pytest.mark.covering(5)
@pytest.mark.parametrize("pair", list(itertools.permutations([Linear(), GVP(), VP()], 2)), ids=lambda p: p[0].name)
@given(times=st.tuples(st.floats(0.1, 0.8), st.floats(0.1, 0.8)), mean=points, variance=mild_variances, x=points)
@law(2)
def test_flows_of_equivalent_schedules(pair, times, mean, variance, x):
    """Property 25: through times of equal log-SNR and k = ᾱ/α the flow of one schedule is that of another."""
    source, target = pair
    paths = [Path(schedule, Gaussian(mean, variance)) for schedule in pair]
    moved = [float(target.time_of_log_snr(source.log_snr(time))) for time in times]
    scale = [target.alpha(theirs) / source.alpha(ours) for ours, theirs in zip(times, moved)]
    x = np.array([x])
    there = paths[1].flow(moved[0], moved[1], scale[0] * x)
    size = 1 + np.abs(there).max() + np.abs(x).max() + np.abs(mean).max()
    within(np.abs(there - scale[1] * paths[0].flow(*times, x)), 1e-11 * size**2)
    model = transfer(paths[0].velocity, source, target)
    exact = paths[1].velocity(moved[0], scale[0] * x)
    within(np.abs(model(moved[0], scale[0] * x) - exact), 1e-11 * (1 + np.abs(exact).max()) * size)

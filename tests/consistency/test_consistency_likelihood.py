"""Property 23 over the whole library: log p of every schedule and prediction, exact and by all sign vectors."""

import itertools

import pytest
import torch

from interpolants import Path, probability_flow
from interpolants.schedules import BUILT_IN
from solvers import DOP853, Adaptive, Heun
from solvers.likelihood import divergence, hutchinson, log_likelihood, log_likelihood_of_samples
from tests.support.ledger import within
from tests.support.registered import SLOW
from tests.support.zoo import MIXTURE, PREDICTIONS

SIGNS = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=2)), dtype=torch.float64)
X = torch.tensor([[0.3, -0.4], [1.0, 0.2], [-1.2, 0.5]], dtype=torch.float64)
LEVELS = (3.0, 0.0, -3.0)
"""The log-SNRs between which the flow is followed, alike for all schedules."""
METHOD = Adaptive(DOP853(), rtol=1e-5, atol=1e-6)


def rows():
    """Every schedule with every prediction; in the first tier a schedule that ships searched has one of them."""
    for k, name in enumerate(BUILT_IN):
        for j, prediction in enumerate(PREDICTIONS):
            first = k % len(PREDICTIONS) == j and name not in SLOW
            marks = [] if first else pytest.mark.slow
            yield pytest.param(name, prediction, id=f"{name}-{prediction}", marks=marks)


@pytest.mark.covering(11)
@pytest.mark.parametrize(("name", "prediction"), list(rows()))
def test_likelihood_of_a_mixture(name, prediction):
    """Property 23: log p_t is the mixture's, from data to noise and back; Hutchinson's mean over all signs is exact."""
    path = Path(BUILT_IN[name](), MIXTURE)
    flow = probability_flow(path.schedule, lambda time, x: path.predict(prediction, time, x), prediction)
    start, middle, stop = (float(path.schedule.time_of_log_snr(level)) for level in LEVELS)
    x = path.schedule.alpha(start) * X

    def end(x):
        return path.log_density(stop, x)

    exact, size = path.log_density(start, x), 1 + path.log_density(start, x).abs()
    found = log_likelihood(flow, x, [start, stop], METHOD, end)
    within((found.value - exact).abs(), 3e-5 * size)
    back = log_likelihood_of_samples(flow, found.x, [stop, start], METHOD, end, divergence(flow.drift))
    within((back.x - x).abs(), 3e-5 * (1 + x.abs()))
    within((back.value - exact).abs(), 3e-5 * size)
    rough = log_likelihood(flow, x, [start, middle, stop], Heun(), end)
    estimate = log_likelihood(flow, x, [start, middle, stop], Heun(), end, hutchinson(flow.drift, SIGNS))
    within((estimate.value - rough.value).abs(), 1e-11 * size)
    assert float(estimate.standard_error.min()) > 0

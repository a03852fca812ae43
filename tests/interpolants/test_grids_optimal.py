"""Best grids: the closed form is found again by the search, and the search is no worse than the usual grids."""

import math
from itertools import pairwise

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from interpolants import GVP, VP, Gaussian, Linear, Path, cosine_optimal, diffusion, optimal_grid, sampler_law
from interpolants.schedules import TrigFlow
from solvers import DDIM, Ancestral, EulerMaruyama, Heun, uniform
from tests.support.zoo import BUILT_INS, CASES, MIXTURE


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=repr(case), marks=[] if case in BUILT_INS else pytest.mark.slow) for case in CASES],
)
def test_closed_form(case):
    """The times have σ/α = √c tan φ with equal steps of φ, in 30 digits of the oracle, ends included."""
    n, c = 7, 0.2
    ts = cosine_optimal(case.schedule, n, c)
    assert (ts[0], ts[-1], len(ts)) == (1.0, 0.0, n + 1)
    with mpmath.workdps(30):
        angles = [mpmath.atan2(case.sigma(mpf(time)), case.alpha(mpf(time)) * mpmath.sqrt(c)) for time in ts.tolist()]
        steps = [float(a - b) for a, b in pairwise(angles)]
    np.testing.assert_allclose(steps, float(angles[0]) / n, rtol=0, atol=1e-12)
    if case.exact_end:
        assert abs(float(angles[0]) - math.pi / 2) < 1e-15


def test_parts_of_the_domain_and_other_domains():
    """Start and stop are the ends of the grid, and TrigFlow's domain [0, π/2] with c = σ_d² = ¼ has equal times."""
    ts = cosine_optimal(Linear(), 5, 0.5, start=0.9, stop=0.1)
    assert (ts[0], ts[-1]) == (0.9, 0.1)
    angles = np.arctan2(ts, (1 - ts) * math.sqrt(0.5))
    np.testing.assert_allclose(np.diff(angles), (angles[-1] - angles[0]) / 5, rtol=1e-12)
    flow = cosine_optimal(TrigFlow(sigma_data=0.5), 4, 0.25)
    np.testing.assert_allclose(flow, np.linspace(math.pi / 2, 0, 5), atol=1e-15)
    assert cosine_optimal(GVP(), 1, 3.0).tolist() == [1.0, 0.0]


@pytest.mark.covering(5)
@pytest.mark.parametrize("objective", ["kl", "w2"])
@pytest.mark.parametrize("schedule", [case.schedule for case in BUILT_INS], ids=lambda s: s.name)
def test_the_search_finds_the_closed_form(schedule, objective):
    """For one eigenvalue the search, begun at a bad grid, returns the closed form to 1e-6."""
    path, n = Path(schedule, Gaussian([0.0], 0.3)), 5
    found = optimal_grid(path, n, objective=objective, initial=[1.0, 0.9, 0.65, 0.6, 0.2, 0.0])
    np.testing.assert_allclose(found, cosine_optimal(schedule, n, 0.3), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "w"),
    [
        (DDIM(), diffusion.Zero()),
        (Ancestral(), diffusion.Zero()),
        (Heun(), diffusion.Zero()),
        (EulerMaruyama(), diffusion.Sigma()),
    ],
    ids=lambda part: type(part).__name__,
)
@pytest.mark.parametrize("ends", [(1.0, 0.0), (0.95, 0.02)], ids=["all", "part"])
def test_no_worse_than_the_usual_grids(method, w, ends):
    """For several eigenvalues the grid is better than uniform, log-SNR and cosine grids by more than rounding."""
    path, n, (start, stop) = Path(Linear(), Gaussian([0.5, 0.0], [0.02, 1.0])), 3, ends
    ts = optimal_grid(path, n, method, "w2", w, start=start, stop=stop)
    assert (ts[0], ts[-1], len(ts)) == (start, stop, n + 1)
    others = [uniform(n, start, stop)]
    others += [cosine_optimal(Linear(), n, c, start=start, stop=stop) for c in (0.02, math.sqrt(0.02), 1.0)]
    if ends != (1.0, 0.0):
        levels = np.linspace(*(2 * math.log((1 - time) / time) for time in ends), n + 1)
        others.append(np.concatenate([[start], 1 / (1 + np.exp(levels[1:-1] / 2)), [stop]]))
    losses = [sampler_law(path, method, each, w).wasserstein2() for each in (ts, *others)]
    assert losses[0] < 0.9999 * min(losses[1:])


def test_one_step_and_exact_starts():
    """One step has no choice; where every law is degenerate the divergence says so."""
    path = Path(VP(), Gaussian([0.0], 1.0))
    assert optimal_grid(path, 1, objective="w2").tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match="expected a grid with a finite divergence"):
        optimal_grid(Path(Linear(), Gaussian([0.0], 1.0)), 1)
    # Under GVP with c = 1 nothing moves: Heun and Euler are exact on every grid, and the first is returned.
    assert sampler_law(Path(GVP(), Gaussian([0.0], 1.0)), Heun(), optimal_grid(path, 3, Heun())).kl() < 1e-25


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda p: cosine_optimal(Linear(), 0, 1.0), ValueError, "number of steps"),
        (lambda p: cosine_optimal(Linear(), 3, 0.0), ValueError, "variance: a positive number"),
        (lambda p: cosine_optimal(Linear(), 3, 1.0, start=0.1, stop=0.9), ValueError, "a start after the stop"),
        (lambda p: cosine_optimal(Linear(), 3, 1.0, start=1.5), ValueError, "a start after the stop"),
        (lambda p: optimal_grid(p, 3, objective="fid"), ValueError, 'objective: "kl" or "w2"'),
        (lambda p: optimal_grid(p, 3, initial=uniform(4)), ValueError, "an initial grid of 3 steps"),
        (lambda p: optimal_grid(Path(Linear(), MIXTURE), 3), TypeError, "Gaussian target"),
        (lambda p: optimal_grid(p, 3, DDIM(), "kl", diffusion.KL()), ValueError, "without w for DDIM"),
    ],
)
def test_refusals(call, kind, words):
    """Impossible counts, variances, ends, objectives and targets are refused in three parts."""
    with pytest.raises(kind, match=words) as error:
        call(Path(Linear(), Gaussian([0.0], 1.0)))
    assert all(part in str(error.value) for part in ("expected ", "; received ", "; remedy: "))

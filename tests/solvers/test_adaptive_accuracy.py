"""Adaptive steps: the error follows the tolerance, dense output its order, and all libraries agree."""

import math

import numpy as np
import pytest
import torch
from adaptive_problems import Watched, batch, pendulum, predator, wave
from scipy.integrate import solve_ivp
from solver_methods import ADAPTABLE, name

from solvers import DOP853, ODE, Adaptive, Bosh3, Dopri5, Event, Tsit5, solve, uniform
from solvers.adaptive.control import factors
from solvers.adaptive.lanes import Shared
from solvers.adaptive.trial import Trial
from solvers.likelihood import log_likelihood
from tests.support.fields import FIELDS, slope

each_pair = pytest.mark.parametrize("method", ADAPTABLE, ids=name)


@pytest.mark.covering(5)
@pytest.mark.parametrize(
    ("method", "drift", "x0", "span"),
    [(method, pendulum, [0.7, -0.4], (0.0, 20.0)) for method in ADAPTABLE]
    + [(method, predator, [1.5, 0.8], (10.0, 0.0)) for method in ADAPTABLE[:2]],
    ids=[f"{name(method)}-pendulum" for method in ADAPTABLE] + [f"{name(method)}-predator" for method in ADAPTABLE[:2]],
)
def test_error_is_proportional_to_tolerance(method, drift, x0, span):
    """error/tolerance stays within a decade for tolerances from 1e-4 to 1e-10 (1e-8 at order 3), and below 30."""
    exact = solve_ivp(drift, span, x0, method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1]
    ratios = []
    for power in range(4, 11 if method.order > 3 else 9):
        tolerance = 10.0**-power
        settings = Adaptive(method, rtol=tolerance, atol=tolerance)
        found = solve(ODE(drift), np.array(x0), span, settings)
        assert found.status == "success"
        ratios.append(np.abs(found.x - exact).max() / tolerance)
    assert max(ratios) < 30.0, ratios
    assert max(ratios) < 10.0 * min(ratios), ratios


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
@each_pair
def test_short_problems(method, field):
    """Both directions of time reach the exact end to 300 tolerances, at the exact last time."""
    settings = Adaptive(method, rtol=1e-9, atol=1e-9)
    found = solve(ODE(field.drift), field.x0, [field.start, field.stop], settings)
    assert found.time == field.stop
    assert found.xs is None
    assert np.abs(found.x - field.exact()).max() < 3e-7


@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "per-sample"])
def test_the_last_time_is_met_exactly(per_sample):
    """The last step ends at the last time itself, whatever t + h would round to."""
    # One step over the whole interval: near the end t + (stop - t) is exact.
    rng, settings = np.random.default_rng(0), Adaptive(Dopri5(), first_step=9.0, per_sample=per_sample)
    for _ in range(40):
        start, stop = rng.uniform(-3.0, 3.0, 2).tolist()
        found = solve(ODE(lambda time, x: -1e-6 * x), np.ones((1, 1)), [start, stop], settings)
        assert (found.status, int(found.accepted[0])) == ("success", 1)
        assert float(np.ravel(found.time)[0]) == stop


@each_pair
def test_a_slope_at_the_end_that_is_not_finite_counts(method):
    """A step whose last slope is NaN has no estimate, also where that slope has no weight in it."""
    slopes = [np.ones(2)] * len(method.tableau.b) + [np.array([1.0, math.nan])]
    trial = Trial(Shared(), method.tableau, np.zeros(1), np.ones(1), np.ones(2), slopes)
    trial.x1 = np.ones(2)
    assert np.isnan(trial.error(1e-3, 1e-3)).all()


@each_pair
def test_evaluations_are_counted(method):
    """Two evaluations to begin with, then one for each stage of each trial: the first slope of a step is the last."""
    field = Watched()
    found = solve(ODE(field), batch(), [1.0, 0.0], Adaptive(method))
    tries = int(found.accepted[0] + found.rejected[0])
    assert found.nfe == len(field.times) == 2 + method.evaluations * tries
    assert found.rows == sum(field.rows) == 6 * found.nfe
    assert {type(time) for time in field.times} == {float}


@each_pair
def test_a_given_first_step_saves_an_evaluation(method):
    """first_step is tried first: the first evaluation is at the start, the second inside that step."""
    field = Watched()
    solve(ODE(field), batch(), [1.0, 0.0], Adaptive(method, first_step=1e-3))
    assert field.times[:2] == [1.0, 1.0 - method.nodes[1] * (1.0 - (1.0 - 1e-3))]


@each_pair
def test_no_step_is_longer_than_the_longest(method):
    """With max_step every step is at most that, the last ones too, and their ends meet the end of the interval."""
    ends = []
    spy = Event(lambda time, x: ends.append(time) or 1.0)
    settings = Adaptive(method, max_step=0.15, events=(spy,))
    solve(ODE(lambda time, x: -0.01 * x), np.ones(2), [0.0, 1.0], settings)
    assert (ends[0], ends[-1]) == (0.0, 1.0)
    assert 0.0 < min(np.diff(ends)) <= max(np.diff(ends)) <= 0.15 * (1.0 + 1e-12)
    assert ends[-1] - ends[-2] == pytest.approx(ends[-2] - ends[-3])


def test_the_controller():
    """Its factors are the published formula; refusals shrink by the estimate alone, and nothing grows right after."""
    error, before = np.array([0.5, 0.5, 4.0, 1e-9, math.nan, math.inf]), np.full(6, 0.25)
    accepted = np.array([True, True, False, True, False, False])
    after = np.array([False, True, False, False, False, False])
    found = factors(error, before, accepted, after, 5)
    steady = (0.9**5 / 0.5) ** (0.7 / 5) * (0.25 / 0.9**5) ** (0.4 / 5)
    np.testing.assert_allclose(found, [steady, min(steady, 1.0), 0.9 * 4.0 ** (-1 / 5), 10.0, 0.2, 0.2], rtol=1e-14)
    # At the error aimed at the step stays.
    aim = np.array([0.9**5])
    np.testing.assert_allclose(factors(aim, aim, np.array([True]), np.array([False]), 5), 1.0, rtol=1e-14)
    assert factors(np.array([0.1]), np.ones(1), np.array([True]), np.array([False]), 5)[0] > 1.0
    # At the error aimed at the step stays.
    aim = np.array([0.9**5])
    np.testing.assert_allclose(factors(aim, aim, np.array([True]), np.array([False]), 5), 1.0, rtol=1e-14)
    assert factors(np.array([0.1]), np.ones(1), np.array([True]), np.array([True]), 5)[0] == 1.0


@each_pair
def test_dense_output_has_its_order(method):
    """Within one step of length h the worst error falls at last as h to the order of interpolation plus one, ±0.2."""

    def drift(time, x):
        return math.exp(time) * x * (1.0 - x)

    errors, counts = [], [2**k for k in range(5)]
    longest, fractions = 0.4 if method.order > 5 else 0.1, np.linspace(0.05, 0.95, 19)
    for n in counts:
        start, x, h = 0.2, np.array([0.3]), longest / n
        slopes = [drift(start, x)]
        trial = Trial(Shared(), method.tableau, np.array([start]), np.array([start + h]), x, slopes)
        trial.run(drift)
        trial.prepare(drift)
        growth = np.exp(np.exp(start + fractions * h) - np.exp(start))
        exact = 0.3 * growth / (0.7 + 0.3 * growth)
        errors.append(max(abs(trial.dense(np.array([f]))[0] - e) for f, e in zip(fractions, exact)))
    usable = [k for k, error in enumerate(errors) if error > 1e-14][-2:]
    found = slope([counts[k] for k in usable], [errors[k] for k in usable])
    assert len(usable) == 2
    assert abs(found - method.tableau.dense_order - 1) < 0.2, errors


@pytest.mark.covering(3)
@each_pair
@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "per-sample"])
def test_states_at_times_between(method, per_sample):
    """Saved states are as exact as the end, the steps do not depend on how many are saved, and the ends are exact."""
    ts = np.concatenate([[1.0], np.linspace(0.97, 0.03, 40), [0.0]])
    settings = Adaptive(method, rtol=1e-8, atol=1e-8, per_sample=per_sample)
    found = solve(ODE(wave), batch(), ts, settings, save=True)
    alone = solve(ODE(wave), batch(), [1.0, 0.0], settings)
    np.testing.assert_array_equal(found.x, alone.x)
    np.testing.assert_array_equal(found.accepted, alone.accepted)
    np.testing.assert_array_equal(found.xs[0], batch())
    np.testing.assert_array_equal(found.xs[-1], found.x)
    assert found.xs.shape == (42, 6, 2)
    np.testing.assert_array_equal(found.ts, ts)

    def flat(time, y):
        return wave(float(time), y.reshape(6, 2)).ravel()

    exact = solve_ivp(flat, (1.0, 0.0), batch().ravel(), method="DOP853", rtol=1e-12, atol=1e-13, t_eval=ts).y.T
    assert np.abs(found.xs - exact.reshape(42, 6, 2)).max() < (2e-4 if method.order == 3 else 3e-5)


@each_pair
@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "per-sample"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch_and_numpy_agree(method, per_sample, dtype):
    """The same problem in torch gives the numbers of numpy, in its own library and dtype."""
    x = 0.3 * batch(dtype=dtype)  # slow enough for a step more or less not to matter much
    other = torch.from_numpy(x)
    settings, ts = Adaptive(method, rtol=1e-4, atol=1e-4, per_sample=per_sample), [1.0, 0.55, 0.2, 0.0]
    mine = solve(ODE(wave), x, ts, settings, save=True)
    theirs = solve(ODE(wave), other, ts, settings, save=True)
    assert type(theirs.x) is torch.Tensor
    assert theirs.x.dtype == other.dtype
    assert mine.x.dtype == x.dtype
    allowed = 1e-12 if dtype == "float64" else 1e-3
    np.testing.assert_allclose(theirs.xs.numpy(), mine.xs, rtol=0, atol=allowed)


@pytest.mark.covering(6)
@pytest.mark.parametrize("method", [Dopri5(), DOP853()], ids=name)
@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "per-sample"])
def test_jax(method, per_sample):
    """The same problem in jax gives the numbers of numpy, to single precision."""
    jax = pytest.importorskip("jax")
    x = 0.3 * batch(2, dtype=np.float32)
    settings, ts = Adaptive(method, rtol=1e-3, atol=1e-3, per_sample=per_sample), [1.0, 0.55, 0.0]
    theirs = solve(ODE(wave), jax.numpy.asarray(x), ts, settings, save=True)
    assert isinstance(theirs.x, jax.Array)
    assert theirs.x.dtype == np.float32
    mine = solve(ODE(wave), x, ts, settings, save=True)
    np.testing.assert_allclose(np.asarray(theirs.xs), mine.xs, rtol=0, atol=1e-3)


def test_half_precision_times_are_single():
    """Rows in half precision keep it, and their times come in single precision."""
    field = Watched(lambda time, x: -x)
    x = torch.ones(3, 2, dtype=torch.float16)
    found = solve(ODE(field), x, [1.0, 0.0], Adaptive(Bosh3(), rtol=1e-2, atol=1e-2, per_sample=True))
    assert found.x.dtype == torch.float16
    assert {time.dtype for time in field.times} == {torch.float32}
    assert float((found.x - math.e).abs().max()) < 0.05


@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "per-sample"])
def test_gradients_pass_through(per_sample):
    """Derivatives of the end with respect to start and parameter are those of the exact solution, to the tolerance."""
    x = torch.tensor([[0.4], [0.9]], dtype=torch.float64, requires_grad=True)
    rate = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    settings = Adaptive(Tsit5(), rtol=1e-9, atol=1e-9, per_sample=per_sample)
    found = solve(ODE(lambda time, x: -rate * x**2), x, [0.0, 0.5, 1.0], settings, save=True)
    by_x, by_rate = torch.autograd.grad(found.xs[1:].sum(), (x, rate))
    want_x = sum(1.0 / (1.0 + t * rate * x) ** 2 for t in (0.5, 1.0))
    want_rate = sum((-t * x**2 / (1.0 + t * rate * x) ** 2).sum() for t in (0.5, 1.0))
    torch.testing.assert_close(by_x, want_x.detach(), rtol=0, atol=1e-7)
    torch.testing.assert_close(by_rate, want_rate.detach(), rtol=0, atol=1e-7)


def test_likelihood_with_adaptive_steps():
    """The change of variables takes an adaptive method: N(0, 4) pulled back from N(0, 1) by x' = −x log 2."""
    x = np.array([[0.3], [-1.7]])
    problem = ODE(lambda time, x: -math.log(2.0) * x)
    settings = Adaptive(Dopri5(), rtol=1e-10, atol=1e-10)
    found = log_likelihood(
        problem,
        x,
        uniform(1, 0.0, 1.0),
        settings,
        lambda x: -0.5 * (x**2).sum(1) - 0.5 * math.log(2.0 * math.pi),
        lambda time, x: np.full(len(x), -math.log(2.0)),
    )
    exact = -(x[:, 0] ** 2) / 8.0 - 0.5 * math.log(8.0 * math.pi)
    np.testing.assert_allclose(found.value, exact, rtol=0, atol=1e-9)

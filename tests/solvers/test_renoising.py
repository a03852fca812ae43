"""Methods that add noise of their own: EDM's churn and restarts against recursions by hand, and what they refuse."""

import math
from itertools import pairwise

import numpy as np
import pytest
from refusals import PARTS
from scipy.integrate import quad
from solver_methods import name

from interpolants import GVP, VP, Gaussian, GaussianMixture, Linear, Path, denoising, diffusion, sampler_law
from solvers import (
    DDIM,
    Ancestral,
    DPMSolverPP,
    EDMHeun,
    EDMStochastic,
    Heun,
    PredictorCorrector,
    Restart,
    solve,
    uniform,
)
from solvers.method import evaluation_times
from tests.support.fields import slope

M, C = 0.7, 0.4
START, STOP = 0.8, 0.2
MIXTURE = GaussianMixture([0.4, 0.6], [[-1.0], [1.2]], [0.6, 0.8])


def heun(y, r, s):
    """Heun's step for dy/dr = r(y − m)/(c + r²), the flow of N(m, c) in y = x/α; Euler's to s = 0."""
    slope_at = lambda level, state: level * (state - M) / (C + level * level)  # noqa: E731
    euler = y + (s - r) * slope_at(r, y)
    return euler if s == 0.0 else y + 0.5 * (s - r) * (slope_at(r, y) + slope_at(s, euler))


def through(step, mean, variance):
    """Return mean and variance after an affine step."""
    return step(mean), (step(1.0) - step(0.0)) ** 2 * variance


def levels(schedule, ts):
    return [schedule.sigma(t) / schedule.alpha(t) for t in ts]


def start_law(schedule, time):
    """Return mean and variance of y = x/α at a time."""
    return M, C + levels(schedule, [time])[0] ** 2


def churned(schedule, ts, method, highest):
    """Return mean and variance of x/α at the end, by hand."""
    mean, variance = start_law(schedule, ts[0])
    gamma = min(method.churn / (len(ts) - 1), math.sqrt(2.0) - 1.0)
    for r, s in pairwise(levels(schedule, ts)):
        top = min((1.0 + gamma) * r, highest) if method.s_min <= r <= method.s_max else r
        variance += method.s_noise**2 * (top * top - r * r)
        mean, variance = through(lambda y, top=top, s=s: heun(y, top, s), mean, variance)
    return mean, variance


CHURNS = [
    EDMStochastic(),
    EDMStochastic(3.0, s_noise=1.1),
    EDMStochastic(4.0, s_min=0.3, s_max=2.0),
    EDMStochastic(0.0),
]


@pytest.mark.parametrize("schedule", [Linear(), VP()], ids=["linear", "vp"])
@pytest.mark.parametrize("method", CHURNS, ids=repr)
def test_churn_has_the_law_of_the_recursion(method, schedule):
    """Mean and variance on N(m, c) are those of noise up to (1 + γ)r and Heun's step down, inside, to 0 and from 1."""
    path, highest = Path(schedule, Gaussian([M], C)), math.inf
    if schedule.alpha(1.0):
        highest = levels(schedule, [1.0])[0]
    for ts in (uniform(9, 0.97, 0.1), uniform(9, 0.97, 0.0), uniform(12, 1.0 if schedule.alpha(1.0) else 0.999, 0.0)):
        law = sampler_law(path, method, ts)
        mean, variance = churned(schedule, ts, method, highest)
        alpha = schedule.alpha(ts[-1])
        np.testing.assert_allclose([law.mean.item(), law.cov.item()], [alpha * mean, alpha**2 * variance], rtol=1e-11)


def test_without_churn_it_is_heun():
    """With churn = 0, and from α = 0 where none is added, the states are those of EDMHeun to the last bit."""
    path, x = Path(Linear(), MIXTURE), np.linspace(-2.0, 2.0, 5)[:, None]
    made = denoising(path.schedule, path.velocity)
    for method, ts in ((EDMStochastic(0.0), uniform(9)), (EDMStochastic(9.0), [1.0, 0.6])):
        found = solve(made, x, ts, method, rng=np.random.default_rng(0))
        expected = solve(made, x, ts, EDMHeun())
        np.testing.assert_array_equal(found.x, expected.x)
        assert found.nfe == expected.nfe


@pytest.mark.parametrize("schedule", [Linear(), VP()], ids=["linear", "vp"])
def test_orders_of_churn(schedule):
    """Marginal variances converge with order 2, the covariance with the start to that of Θ = 2 churn with order 1."""
    path, churn, counts = Path(schedule, Gaussian([M], C)), 6.0, [80 * 2**k for k in range(5)]
    laws = [sampler_law(path, EDMStochastic(churn), uniform(n, START, STOP)) for n in counts]
    r0, r1 = levels(schedule, [START, STOP])

    def rate(time):
        r = levels(schedule, [time])[0]
        return r * r / (C + r * r)

    clock = 2.0 * churn * quad(rate, STOP, START)[0] / (START - STOP)
    spread = schedule.alpha(START) * schedule.alpha(STOP) * math.sqrt((C + r0 * r0) * (C + r1 * r1))
    exact = schedule.alpha(STOP) ** 2 * (C + r1 * r1)
    variance = [abs(law.cov.item() - exact) for law in laws]
    cross = [abs(law.cross.item() - spread * math.exp(-0.5 * clock)) for law in laws]
    assert abs(slope(counts, variance) - EDMStochastic.weak_order) < 0.1, variance
    assert abs(slope(counts, cross) - 1.0) < 0.1, cross


class Coarse:
    """Sums of ``merge`` neighbouring increments of one fine path."""

    def __init__(self, fine, merge):
        self.sums = fine.reshape(len(fine) // merge, merge, *fine.shape[1:]).sum(1)

    def increments(self, x):
        left = iter(self.sums)
        return lambda t0, t1: next(left)


def test_strong_order_of_churn():
    """On one path of noise, refined, solutions on neighbouring grids come together with order 1, on a mixture."""
    path, rng, finest = Path(GVP(), MIXTURE), np.random.default_rng(5), 2048
    made = denoising(path.schedule, path.velocity)
    fine = rng.standard_normal((finest, 300, 1)) * math.sqrt((START - STOP) / finest)
    x, counts = path.sample(START, 300, rng), [finest // 2**k for k in range(5)]
    method = EDMStochastic(6.0)
    ends = [solve(made, x, uniform(n, START, STOP), method, rng=Coarse(fine, finest // n)).x for n in counts]
    errors = [float(np.sqrt(np.mean((a - b) ** 2))) for a, b in pairwise(ends)]
    assert abs(slope(counts[1:], errors) - method.strong_order) < 0.1, errors


def restarted(schedule, ts, method, count):
    """Return mean and variance of x/α at the end of Restart(EDMHeun), by hand."""
    mean, variance = start_law(schedule, ts[0])
    low, high = method.low, method.high
    ladder = np.geomspace(high, low, count + 1)
    for r, s in pairwise(levels(schedule, ts)):
        passes = s <= low < r
        way = [r, low] if passes else [r, s]
        mean, variance = through(lambda y, way=way: heun(y, *way), mean, variance)
        for _ in range(method.repeats if passes else 0):
            variance += high * high - low * low
            for above, below in pairwise(ladder):
                mean, variance = through(lambda y, a=above, b=below: heun(y, a, b), mean, variance)
        if passes and s < low:
            mean, variance = through(lambda y, s=s: heun(y, low, s), mean, variance)
    return mean, variance


@pytest.mark.parametrize("schedule", [Linear(), VP()], ids=["linear", "vp"])
@pytest.mark.parametrize("steps", [None, 1, 4])
def test_restart_has_the_law_of_the_recursion(schedule, steps):
    """Mean and variance on N(m, c), with a grid that meets low, to rounding or not at all, and down to σ = 0."""
    path, method = Path(schedule, Gaussian([M], C)), Restart(low=0.25, high=1.5, steps=steps, repeats=3)
    met = float(schedule.time_of_log_snr(-2.0 * math.log(0.25)))
    for ts in (uniform(8, 0.9, 0.0), [0.9, 0.5, met, 0.01], [0.9, 0.5, met * (1.0 + 1e-14), 0.0], [0.9, 0.5, met]):
        count = steps or 1 + sum(0.25 * (1.0 + 1e-9) < r < 1.5 for r in levels(schedule, ts))
        law = sampler_law(path, method, ts)
        mean, variance = restarted(schedule, list(ts), method, count)
        alpha = schedule.alpha(ts[-1])
        np.testing.assert_allclose([law.mean.item(), law.cov.item()], [alpha * mean, alpha**2 * variance], rtol=1e-10)


@pytest.mark.covering(2)
@pytest.mark.parametrize("inner", [DDIM(), EDMHeun(), DPMSolverPP(3)], ids=name)
def test_order_of_restart(inner):
    """With ways down as fine as the grid the variance converges with the order of the method inside."""
    path, method = Path(Linear(), Gaussian([M], C)), Restart(inner, low=0.4, high=2.0)
    counts = [120 * 2**k for k in range(5)]
    exact = 0.8**2 * C + 0.2**2
    errors = [abs(sampler_law(path, method, uniform(n, START, STOP)).cov.item() - exact) for n in counts]
    assert method.weak_order == inner.order
    assert abs(slope(counts, errors) - method.weak_order) < 0.1, errors


def test_a_way_down_that_stays_coarse():
    """With a number of steps the error of the way down is left on any grid: order 0, as stated."""
    path, method, exact = Path(Linear(), Gaussian([M], C)), Restart(low=0.4, high=2.0, steps=4), 0.8**2 * C + 0.2**2
    errors = [abs(sampler_law(path, method, uniform(n, START, STOP)).cov.item() - exact) for n in (200, 400, 800)]
    assert errors[2] > 1e-3
    assert abs(slope([200, 400, 800], errors)) < 0.1
    assert (method.order, method.weak_order, method.strong_order) == (0, 0, 0.0)


def test_strong_order_of_restart():
    """With the same two normals on every grid the path converges with the order of the method, on a mixture."""
    path, rng = Path(GVP(), MIXTURE), np.random.default_rng(5)
    made, x = denoising(path.schedule, path.velocity), path.sample(START, 50, rng)
    normals, method = rng.standard_normal((2, 50, 1)), Restart(low=0.4, high=2.0)

    class Same:
        def increments(self, x):
            left = iter(normals)
            return lambda t0, t1: next(left) * math.sqrt(abs(t1 - t0))

    counts = [80 * 2**k for k in range(5)]
    ends = [solve(made, x, uniform(n, START, STOP), method, rng=Same()).x for n in [*counts, 2560]]
    errors = [float(np.sqrt(np.mean((a - b) ** 2))) for a, b in pairwise(ends)]
    assert abs(slope(counts, errors) - method.strong_order) < 0.1, errors


def test_restart_visits_what_it_evaluates():
    """Each step lists its evaluations: the restart's are those of the ways down, with the multistep start in each."""
    made, seen = denoising(Linear(), lambda time, x: seen.append(time) or x), []
    method = Restart(DPMSolverPP(2), low=0.3, high=1.0, steps=3, repeats=2)
    ts = uniform(10, 0.95, 0.05).tolist()
    solve(made, np.ones(2), ts, method, rng=np.random.default_rng(0))
    assert seen == [time for _, time in evaluation_times(method, ts, made)]
    assert len(seen) == 10 + 1 + 2 * 4 + 2  # the steps; the start; each way down with its start; the step that is split


MADE = denoising(VP(), lambda time, x: x)
NOISY = denoising(VP(), lambda time, x: x, w=diffusion.KL())


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: EDMStochastic(-1.0), ValueError, "churn: a number of at least 0"),
        (lambda: EDMStochastic(math.inf), ValueError, "churn: a number of at least 0; received inf"),
        (lambda: EDMStochastic(s_noise=0.0), ValueError, "s_noise: a number above 0"),
        (lambda: Restart(Ancestral()), TypeError, "a deterministic one for denoising problems; received Ancestral"),
        (lambda: Restart(Heun()), TypeError, "received Heun"),
        (lambda: Restart(low=1.0, high=1.0), ValueError, "levels 0 < low < high"),
        (lambda: Restart(steps=0), ValueError, "steps: a number of steps"),
        (lambda: Restart(repeats=1.5), TypeError, "repeats: a number of restarts"),
        (lambda: PredictorCorrector(Heun()), TypeError, "a method for denoising problems; received Heun"),
        (lambda: PredictorCorrector(snr=1.0), ValueError, r"snr: a number in \[0, 1\)"),
        (lambda: PredictorCorrector(steps=0), ValueError, "steps: a number of Langevin steps"),
        (lambda: solve(NOISY, np.ones(2), [0.9, 0.1], EDMStochastic(), rng=1), ValueError, "without w for EDMSto"),
        (lambda: solve(NOISY, np.ones(2), [0.9, 0.02], Restart(), rng=1), ValueError, "without w for Restart"),
        (
            lambda: solve(NOISY, np.ones(2), [0.9, 0.1], PredictorCorrector(DDIM()), rng=1),
            ValueError,
            "without w for PredictorCorrector",
        ),
        (lambda: solve(MADE, np.ones(2), [0.9, 0.5], Restart(), rng=1), ValueError, "falls through sigma/alpha = low"),
        (lambda: solve(MADE, np.ones(2), [0.05, 0.01], Restart(), rng=1), ValueError, "falls through sigma/alpha"),
        (lambda: solve(MADE, np.ones(2), [0.9, 0.01], Restart(high=500.0), rng=1), ValueError, "high = 500"),
        (lambda: solve(MADE, np.ones(2), [0.1, 0.9], EDMStochastic(), rng=1), ValueError, "falling times"),
    ],
)
def test_what_is_refused(make, kind, words):
    """Arguments, grids, schedules and a w that do not fit are errors in three parts, before the first call."""
    with pytest.raises(kind, match=words) as error:
        make()
    assert all(part in str(error.value) for part in PARTS)

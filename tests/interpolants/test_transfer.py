"""A model carried from one schedule to another, against the exact model of the other schedule."""

import itertools
import math
import re

import mpmath
import numpy as np
import pytest
import torch
from mpmath import mpf
from scipy import integrate

from interpolants import GVP, VP, Linear, Path, Prediction, Schedule, diffusion, probability_flow, t
from interpolants.equivalence import transfer, transfer_diffusion
from interpolants.prediction import conversion
from solvers import RK4, PoleError, solve, uniform
from tests.support.zoo import CHOICES, GAUSSIAN, LINEAR, MIXTURE, PREDICTIONS, QUADRATIC, TRIGONOMETRIC, wronskian
from tests.support.zoo import VARIANCE_PRESERVING as VARIANCE

CASES = [LINEAR, TRIGONOMETRIC, VARIANCE, QUADRATIC]
SCHEDULES = {case: case.schedule for case in CASES}
Velocity, Score, Noise, Data, VPrediction = PREDICTIONS
PAIRS = list(itertools.permutations(CASES, 2))
every_pair = pytest.mark.parametrize(("source", "target"), PAIRS, ids=[f"{a}-to-{b}" for a, b in PAIRS])
every_prediction = pytest.mark.parametrize("prediction", PREDICTIONS, ids=repr)
X = np.array([[0.3, -0.8], [1.4, 0.9], [-2.0, 0.1], [0.4, 0.0], [3.0, -2.5]])


def same_noise(source, target, time_bar):
    """Return t with r(t) = r̄(t̄) by bisection at 50 digits."""
    with mpmath.workdps(50):
        wanted, low, high = mpmath.log(target.sigma(mpf(time_bar)) / target.alpha(mpf(time_bar))), mpf(0), mpf(1)
        for _ in range(150):
            middle = (low + high) / 2
            noisier = mpmath.log(source.sigma(middle) / source.alpha(middle)) > wanted
            low, high = (low, middle) if noisier else (middle, high)
        return middle


def scale(source, target, time_bar):
    """Return k = ᾱ/α at 50 digits."""
    with mpmath.workdps(50):
        return target.alpha(mpf(time_bar)) / source.alpha(same_noise(source, target, time_bar))


def speed(source, target, time_bar):
    """Return ṫ as the derivative of the bisected map, from mpmath's numerical differentiation."""
    with mpmath.workdps(30):
        return mpmath.diff(lambda s: same_noise(source, target, s), mpf(time_bar), h=mpf("1e-12"))


def exact_model(case, law, prediction):
    path = Path(SCHEDULES[case], law)
    return lambda time, x: path.predict(prediction, time, x)


def moved(source, target, law, prediction):
    return transfer(exact_model(source, law, prediction), SCHEDULES[source], SCHEDULES[target], prediction)


def relative(found, exact):
    return np.max(np.abs(found - exact)) / np.max(np.abs(exact))


@pytest.mark.covering(7)
@every_pair
@every_prediction
@pytest.mark.parametrize("law", [GAUSSIAN, MIXTURE], ids=["gaussian", "mixture"])
def test_transferred_prediction_is_the_exact_one(source, target, prediction, law):
    """What was exact under one schedule is exact under the other to 1e-10, at a number and at a time per sample."""
    model, exact = moved(source, target, law, prediction), exact_model(target, law, prediction)
    times = np.array([0.01, 0.2, 0.5, 0.8, 0.98 * model.valid[1]])
    for time in times.tolist():
        assert relative(model(time, X), exact(time, X)) < 1e-10
    assert relative(model(times, X), exact(times, X)) < 1e-10


@every_pair
@every_prediction
def test_ends(source, target, prediction):
    """Next to and at both ends nothing is lost beyond k·ṫ times the round-off of the model; poles are the exception."""
    model, exact = moved(source, target, MIXTURE, prediction), exact_model(target, MIXTURE, prediction)
    lo, hi = model.valid
    for time in (lo, 1e-9, 1e-5, hi - 1e-9, hi):
        if time in model.poles:
            continue
        growth = 1.0
        if prediction is Velocity and time == 1e-9:
            growth = max(1.0, float(scale(source, target, time) * speed(source, target, time)))
        error = np.max(np.abs(model(time, X) - exact(time, X)))
        assert error <= 1e-13 * growth * max(1.0, np.max(np.abs(exact(time, X)))), time
        np.testing.assert_array_equal(model(np.full(5, time), X), model(time, X))


def test_velocity_poles():
    """A velocity under Linear, GVP or t² does not hold VP's score at t = 0: refused, while noise is transferred."""
    for source in (LINEAR, TRIGONOMETRIC, QUADRATIC):
        model = moved(source, VARIANCE, GAUSSIAN, Velocity)
        assert model.poles == (0.0,)
        for time in (0.0, np.array([0.5, 0.0, 0.5, 0.5, 0.5]), torch.tensor([0.5, 0.0, 0.5, 0.5, 0.5])):
            with pytest.raises(PoleError, match="remedy: stay away"):
                model(time, torch.from_numpy(X).float() if torch.is_tensor(time) else X)
        assert moved(source, VARIANCE, GAUSSIAN, Noise).poles == ()
    quadratic = moved(QUADRATIC, LINEAR, MIXTURE, Velocity)
    assert quadratic.poles == ()
    np.testing.assert_allclose(quadratic(0.0, X), -X, rtol=1e-15)


def test_valid_interval():
    """VP's noise ends at log-SNR −log expm1(10.05), which Linear passes before t = 1; every other way is open."""
    log_snr = -mpmath.log(mpmath.expm1(mpf("10.05")))
    last = {
        LINEAR: 1 / (1 + mpmath.exp(log_snr / 2)),
        TRIGONOMETRIC: 2 / mpmath.pi * mpmath.atan(mpmath.exp(-log_snr / 2)),
    }
    r = mpmath.exp(-log_snr / 2)
    last[QUADRATIC] = mpmath.sqrt(r / (1 + r))
    for source, target in PAIRS:
        lo, hi = moved(source, target, GAUSSIAN, Data).valid
        wanted = float(last[target]) if source is VARIANCE else 1.0
        assert lo == 0.0
        assert hi == pytest.approx(wanted, rel=1e-14)


@pytest.mark.parametrize(
    "time",
    [0.9935, 1.0, -0.1, math.nan, np.array([0.1, 0.2, 0.3, 0.4, 0.9935]), torch.tensor([0.1, 0.2, 0.3, 0.4, 1.0])],
    ids=str,
)
def test_refusal_names_the_interval(time):
    """Outside the shared noise levels a time is refused, with the interval of Linear's times in the message."""
    model = moved(VARIANCE, LINEAR, GAUSSIAN, Velocity)
    with pytest.raises(ValueError, match=r"expected t in .* received .* remedy: ") as refusal:
        model(time, X)
    lo, hi = (float(end) for end in re.search(r"\[(.*?), (.*?)\]", str(refusal.value)).groups())
    assert (lo, hi) == model.valid
    assert model(hi, X).shape == X.shape


def test_intervals_of_bounded_schedules():
    """A schedule with noise from the start bounds the times from below; ranges that do not meet are refused."""
    exploding = Schedule("exploding", alpha=1, sigma="(1 + 99*t)/100", check=False)
    lo, hi = transfer(exact_model(LINEAR, GAUSSIAN, Data), exploding, Linear(), Data).valid
    assert (lo, hi) == (pytest.approx(1 / 101, rel=1e-14), pytest.approx(0.5, rel=1e-14))
    loud = Schedule("loud", alpha=1, sigma=10 + t, check=False)
    with pytest.raises(ValueError, match="log-SNR ranges that overlap"):
        transfer(exact_model(LINEAR, GAUSSIAN, Data), exploding, loud, Data)


def ddim(schedule, model, prediction, times, x):
    data = conversion(schedule, prediction, Data)
    for time, after in itertools.pairwise(times):
        ratio = schedule.sigma(after) / schedule.sigma(time)
        x = ratio * x + (schedule.alpha(after) - schedule.alpha(time) * ratio) * data(time, x, model(time, x))
    return x


def euler(schedule, model, prediction, times, x):
    velocity = conversion(schedule, prediction, Velocity)
    for time, after in itertools.pairwise(times):
        x = x + (after - time) * velocity(time, x, model(time, x))
    return x


MODELS = [*((*pair, Data) for pair in PAIRS), (LINEAR, VARIANCE, Velocity), (QUADRATIC, TRIGONOMETRIC, VPrediction)]


@pytest.mark.parametrize(("source", "target", "prediction"), MODELS, ids=str)
def test_exponential_steps_are_the_same_and_euler_steps_are_not(source, target, prediction):
    """On shared log-SNRs DDIM's states are k apart to 1e-12, start to end; Euler's in t differ by more than 1e-3."""
    log_snrs = np.linspace(-6.0, 6.0, 13).tolist()
    ours, theirs = ([SCHEDULES[case].time_of_log_snr(value) for value in log_snrs] for case in (source, target))
    models = exact_model(source, MIXTURE, prediction), moved(source, target, MIXTURE, prediction)
    first, last = (float(scale(source, target, time)) for time in (theirs[0], theirs[-1]))
    for method, same in ((ddim, True), (euler, False)):
        known = method(SCHEDULES[source], models[0], prediction, ours, X)
        found = method(SCHEDULES[target], models[1], prediction, theirs, first * X)
        assert relative(found, last * known) < 1e-12 if same else relative(found, last * known) > 1e-3


@every_pair
def test_kl_becomes_kl(source, target):
    """wKL transferred is wKL, 2κ̄ from the oracle, to 1e-12 (and the ulp of t̄ close to t̄ = 1)."""
    w = transfer_diffusion(diffusion.KL(), SCHEDULES[source], SCHEDULES[target])
    for time in (1e-6, 0.1, 0.5, 0.9, 0.99 * w.valid[1]):
        with mpmath.workdps(50):
            exact = float(CHOICES[0].value(target, mpf(time)))
        assert w(time) == pytest.approx(exact, rel=1e-12)
    times = np.array([0.1, 0.5, 0.9])
    np.testing.assert_allclose(w(times), [w(time) for time in times.tolist()], rtol=1e-15)
    assert w.poles == ((1.0,) if target is not VARIANCE and source is not VARIANCE else ())
    assert w(0.0) == pytest.approx(0.1 if target is VARIANCE else 0.0, rel=1e-12)


@pytest.mark.covering(7)
@every_pair
@pytest.mark.parametrize("choice", [CHOICES[index] for index in (3, 4, 5)], ids=repr)
def test_other_choices_become_others(source, target, choice):
    """w̄ = k²ṫ w by bisection and mpmath, to 1e-10; and it is not the choice of that name under the target."""
    w = transfer_diffusion(choice.w, SCHEDULES[source], SCHEDULES[target])
    for time in (0.05, 0.5, 0.9):
        moment = same_noise(source, target, time)
        with mpmath.workdps(50):
            value = wronskian(target, mpf(time)) / wronskian(source, moment) * choice.value(source, moment)
            named = choice.value(target, mpf(time))
        assert w(time) == pytest.approx(float(value), rel=1e-10)
        if time != 0.5:
            assert abs(float(named / value) - 1) > 1e-3


def test_limits_of_transferred_w():
    """At the ends w̄ has its limit, by hand: π/2 for 1 and σ from Linear to GVP, 1/20 for σ from Linear to VP at 0."""
    linear, gvp, vp, quadratic = SCHEDULES.values()
    constant = transfer_diffusion(diffusion.Constant(1.0), linear, gvp)
    assert [constant(0.0), constant(1.0)] == pytest.approx([math.pi / 2, math.pi / 2], rel=1e-14)
    sigma = transfer_diffusion(diffusion.Sigma(), linear, gvp)
    assert [sigma(0.0), sigma(1.0)] == pytest.approx([0.0, math.pi / 2], rel=1e-14)
    assert transfer_diffusion(diffusion.Sigma(), linear, vp)(0.0) == pytest.approx(0.05, rel=1e-12)
    assert transfer_diffusion(diffusion.Ramp(), quadratic, linear)(0.0) == pytest.approx(0.5, rel=1e-12)
    assert transfer_diffusion(diffusion.Constant(1.0), linear, vp).poles == (0.0,)
    with pytest.raises(PoleError, match="finite"):
        transfer_diffusion(diffusion.Constant(1.0), linear, vp)(np.array([0.5, 0.0]))


@every_pair
def test_transferred_w_keeps_the_memory(source, target):
    """∫w̄/ρ̄² over t̄ is ∫w/ρ² over t, so two-time correlations are those of the original process, to 1e-8."""
    w, variance = transfer_diffusion(diffusion.Sigma(), SCHEDULES[source], SCHEDULES[target]), 0.3
    ends = [float(same_noise(source, target, time)) for time in (0.2, 0.8)]

    def clock(schedule, rate, start, stop):
        rho2 = lambda s: schedule.alpha(s) ** 2 * variance + schedule.sigma(s) ** 2  # noqa: E731
        return integrate.quad(lambda s: rate(s) / rho2(s), start, stop, epsabs=0, epsrel=1e-11)[0]

    known = clock(SCHEDULES[source], SCHEDULES[source].sigma, *ends)
    assert clock(SCHEDULES[target], w, 0.2, 0.8) == pytest.approx(known, rel=1e-8)


@every_prediction
def test_single_precision(prediction):
    """float32 in, float32 out, to 2e-5 of float64, in torch and numpy; the model's time is like the caller's."""
    seen, path = [], Path(VP(), MIXTURE)

    def model(time, x):
        seen.append((type(time), getattr(time, "dtype", None)))
        return path.predict(prediction, time.to(x.dtype) if torch.is_tensor(time) else time, x)

    transferred = transfer(model, VP(), GVP(), prediction)
    times = np.array([0.01, 0.3, 0.5, 0.8, 0.99])
    exact, x = transferred(times, X), torch.from_numpy(X).float()
    for time in (torch.from_numpy(times).float(), torch.from_numpy(times)):
        found = transferred(time, x)
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found.numpy(), exact, rtol=2e-5, atol=2e-5)
    assert transferred(0.5, x).dtype == torch.float32
    assert transferred(times.astype(np.float32), X.astype(np.float32)).dtype == np.float32
    kinds = [(np.ndarray, np.float64), (torch.Tensor, torch.float32), (torch.Tensor, torch.float64), (float, None)]
    assert seen == [*kinds, (np.ndarray, np.float32)]


def test_gradient_flows_through_the_model():
    """For v = θx the gradient of Σv̄ in θ is ṫΣx, with ṫ differentiated by mpmath; in x it is θṫ + k̇/k − …"""
    theta = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    x = torch.from_numpy(X).requires_grad_()
    transferred = transfer(lambda time, y: theta * y, Linear(), GVP())
    transferred(0.3, x).sum().backward()
    rate = float(speed(LINEAR, TRIGONOMETRIC, 0.3))
    assert theta.grad.item() == pytest.approx(rate * X.sum(), rel=1e-12)
    h = 1e-4
    logs = [float(mpmath.log(scale(LINEAR, TRIGONOMETRIC, 0.3 + sign * h))) for sign in (1, -1)]
    slope = 0.7 * rate + (logs[0] - logs[1]) / (2 * h)
    np.testing.assert_allclose(x.grad.numpy(), np.full(X.shape, slope), rtol=1e-6)


def test_samples_with_a_solver():
    """A VP model's flow, integrated in Linear's time, is the exact flow of the Gaussian under Linear, to 1e-7."""
    model = moved(VARIANCE, LINEAR, GAUSSIAN, Score)
    ode = probability_flow(Linear(), model, Score)
    found = solve(ode, X, uniform(200, start=0.99, stop=0.01), RK4()).x
    np.testing.assert_allclose(found, Path(Linear(), GAUSSIAN).flow(0.99, 0.01, X), rtol=1e-7, atol=1e-7)


def test_arguments():
    """What is no model, schedule, one of the five predictions or w is refused, and so is an output of another shape."""
    model = exact_model(LINEAR, GAUSSIAN, Data)
    with pytest.raises(TypeError, match="callable model"):
        transfer(None, Linear(), GVP())
    with pytest.raises(TypeError, match="a Schedule"):
        transfer(model, Linear(), "gvp")
    with pytest.raises(TypeError, match="pass prediction=Velocity"):
        transfer(model, Linear(), GVP(), "velocity")
    with pytest.raises(ValueError, match="one of Velocity, Score"):
        transfer(model, Linear(), GVP(), Prediction("Sum", lambda s: (1, 1)))
    with pytest.raises(TypeError, match="diffusion coefficient"):
        transfer_diffusion(0.5, Linear(), GVP())
    with pytest.raises(ValueError, match=r"prediction of shape \(5, 2\)"):
        transfer(lambda time, x: x[:, :1], Linear(), GVP())(0.5, X)
    with pytest.raises(ValueError, match="scalar time"):
        transfer(model, Linear(), GVP(), Data)(np.full(3, 0.5), X)

"""Learned schedules: exact ends, gradients in the parameters, freezing, and use wherever a schedule is used."""

import copy
import json
import math
import pickle

import numpy as np
import pytest
import torch

from interpolants import (
    GVP,
    Gaussian,
    Linear,
    Path,
    Schedule,
    Score,
    Velocity,
    certify,
    convert,
    probability_flow,
    reverse_sde,
    t,
)
from interpolants import diffusion as w
from interpolants.learned import (
    LearnedLogSNR,
    LearnedPolar,
    LearnedPower,
    LearnedSigmoid,
    log_snr_rate,
)
from interpolants.prediction import conversion
from interpolants.schedules.sigmoid import Sigmoid
from interpolants.transport import transport_cost
from solvers import RK4, EulerMaruyama, solve, uniform

MAKERS = {
    "log-snr": lambda: LearnedLogSNR(5),
    "polar": lambda: LearnedPolar(0.25, 5),
    "power": lambda: LearnedPower(1.3, 0.7),
    "sigmoid": lambda: LearnedSigmoid(3.0),
}
TIMES = np.array([1e-6, 0.02, 0.3, 0.5, 0.8, 1 - 1e-6])
THREE_PARTS = "expected .*; received .*; remedy: "


@pytest.fixture(params=MAKERS)
def schedule(request):
    """Return a learned schedule with random parameters."""
    made = MAKERS[request.param]()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.4 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return made


def parameters_of(schedule):
    return torch.nn.utils.parameters_to_vector(schedule.parameters()).detach().clone()


@pytest.mark.parametrize(
    ("learned", "exact"),
    [
        (LearnedLogSNR(), GVP()),
        (LearnedPower(1.0, 1.0), Linear()),
        (LearnedPower(3.0, 2.0), Schedule("power", (1 - t) ** 3, t**2)),
        (LearnedPolar(1.0), GVP()),
        (LearnedSigmoid(1e-4), Linear()),
    ],
    ids=lambda s: s.name,
)
def test_where_they_begin(learned, exact):
    """At their first parameters they are the schedules they generalise, derivatives included."""
    tolerance = 1e-8 if learned.name == "learned-sigmoid" else 1e-14  # k → 0 is the limit
    for mine, theirs in zip(learned(TIMES), exact(TIMES)):
        assert np.abs(mine - theirs).max() < tolerance


def test_sigmoid_by_hand():
    """The stable form of the sigmoid is (s(k(1 − 2t)) − s(−k))/(s(k) − s(−k)), and its mirror image."""
    s, learned = (lambda z: 1 / (1 + np.exp(-z))), LearnedSigmoid(5.0)
    wanted = (s(5 * (1 - 2 * TIMES)) - s(-5)) / (s(5) - s(-5))
    assert np.abs(learned.alpha(TIMES) - wanted).max() < 1e-14
    assert np.abs(learned.sigma(TIMES) - (1 - wanted)).max() < 1e-14
    for steepness in np.geomspace(1e-3, 1e4, 30):
        steep = LearnedSigmoid(float(steepness))
        assert np.isfinite(steep.alpha(TIMES)).all()
        assert (steep.alpha(0.0), steep.sigma(1.0), steep.alpha(0.5)) == (1.0, 1.0, 0.5)


def test_ends_and_monotone(schedule):
    """For any parameters: exact zeros at the ends, ones to the last bit, a decreasing log-SNR, a clean certificate."""
    assert (schedule.alpha(1.0), schedule.sigma(0.0)) == (0.0, 0.0)
    assert max(abs(schedule.alpha(0.0) - 1), abs(schedule.sigma(1.0) - 1)) < 3e-16
    ends = torch.tensor([0.0, 1.0])
    assert torch.equal(schedule.alpha(ends), torch.tensor([1.0, 0.0]))
    assert torch.equal(schedule.sigma(ends), torch.tensor([0.0, 1.0]))
    assert (np.diff(schedule.log_snr(np.linspace(0, 1, 200))) < 0).all()
    assert certify(schedule).ok
    assert schedule.prior_scale == 1.0


def test_digits_next_to_the_noise():
    """α next to t = 1 keeps its digits, in both precisions: it is the slope there times 1 − t."""
    schedule = LearnedLogSNR()
    for power, dtype, tolerance in ((-23, torch.float32, 1e-6), (-50, torch.float64, 1e-13)):
        near = torch.tensor([1 - 2.0**power], dtype=dtype)
        for weight, slope in (
            (0.0, 1.0),
            (1.0, 8 * math.e / (math.e + 7)),
        ):  # of τ at 1: the degree times the last step
            with torch.no_grad():
                schedule.rise.weights[-1] = weight
            ratio = schedule.alpha(near).double() / (0.5 * math.pi * slope * (1 - near.double()))
            assert (ratio - 1).abs().max() < tolerance


def test_variance_preserving():
    """LearnedLogSNR keeps α² + σ² = 1 and α² = s(log-SNR)."""
    schedule = MAKERS["log-snr"]()
    with torch.no_grad():
        schedule.rise.weights += torch.tensor([0.3, -1.0, 0.5, 0.8, -0.2])
    assert np.abs(schedule.alpha(TIMES) ** 2 + schedule.sigma(TIMES) ** 2 - 1).max() < 1e-15
    assert np.abs(schedule.alpha(TIMES) ** 2 - 1 / (1 + np.exp(-schedule.log_snr(TIMES)))).max() < 1e-14


@pytest.mark.parametrize("name", ["alpha", "d_alpha", "d_sigma", "log_snr", "kappa"])
def test_parameter_gradients(schedule, name):
    """Gradients in the parameters of any coefficient at tensors are central differences of its numbers at arrays."""
    times, start = TIMES[1:-1], parameters_of(schedule)
    schedule.zero_grad()
    weights = np.array([1.0, -2.0, 0.5, 3.0])
    (schedule.quantity(name)(torch.tensor(times)) * torch.tensor(weights)).sum().backward()
    got = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in schedule.parameters()])
    for index, slope in enumerate(got.tolist()):
        values = []
        for step in (-1e-5, 1e-5):
            moved = start.clone()
            moved[index] += step
            torch.nn.utils.vector_to_parameters(moved, schedule.parameters())
            values.append(float((schedule.quantity(name)(times) * weights).sum()))
        assert abs((values[1] - values[0]) / 2e-5 - slope) < 1e-7 * (1 + abs(slope))


def test_gradients_at_the_ends(schedule):
    """Times that include both ends give finite gradients in the parameters, and in α̇₀ the right ones."""
    times = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    schedule.alpha(times).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in schedule.parameters())
    power = LearnedPower(1.5, 2.0)
    power.d_alpha(times[:1]).sum().backward()
    assert abs(power.log_p.grad.item() + 1.5) < 1e-14  # α̇₀ = −p, p = exp(log p)


def test_freeze(schedule):
    """The frozen schedule has the same values without parameters, a clean certificate, and stays as it is."""
    frozen = schedule.freeze()
    kept = frozen(TIMES)
    for mine, theirs in zip(schedule(TIMES), kept):
        assert np.abs(mine - theirs).max() < 1e-12 * (1 + np.abs(theirs).max())
    assert not isinstance(frozen, torch.nn.Module)
    assert type(frozen).__name__ == "Sigmoid" or certify(frozen).ok
    with torch.no_grad():
        for parameter in schedule.parameters():
            parameter += 0.3
            parameter[..., None].view(-1)[0] += 0.5
    assert np.abs(schedule.alpha(0.3) - frozen.alpha(0.3)) > 1e-4
    assert all(np.array_equal(a, b) for a, b in zip(kept, frozen(TIMES)))


def test_a_frozen_formula():
    """A frozen sigmoid is an ordinary schedule of expressions, which can be written as text."""
    frozen = LearnedSigmoid(5.0).freeze()
    assert Schedule.from_dict(json.loads(json.dumps(frozen.to_dict()))) == frozen
    assert abs(frozen.alpha(0.25) - Sigmoid(5.0).alpha(0.25)) < 1e-14


def test_no_text(schedule):
    """A learned schedule has no expressions to save; the error names its state_dict."""
    for text in (schedule.to_dict, lambda: schedule.source("torch")):
        with pytest.raises(TypeError, match=THREE_PARTS):
            text()
    with pytest.raises(TypeError, match="state_dict"):
        schedule.to_dict()


def test_copies(schedule):
    """A deep copy, a pickle and a loaded state_dict have the same values and parameters of their own."""
    for twin in (copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))):
        assert twin(0.3) == schedule(0.3)
        assert twin != schedule
        with torch.no_grad():
            next(twin.parameters())[..., None].view(-1)[0] += 1.0
        assert twin(0.3) != schedule(0.3)
        assert abs(float(twin.expressions["alpha"].subs(t, 0.3).evalf()) - twin.alpha(0.3)) < 1e-15
    fresh = type(schedule)(**({"degree": 5} if hasattr(schedule, "rise") else {}))
    fresh.load_state_dict(schedule.state_dict())
    assert fresh(0.3) == schedule(0.3)


def test_time_of_log_snr(schedule):
    """The inverse inverts, and its gradients are 1/λ̇ in the level and −∂λ/λ̇ in the parameters."""
    level = torch.tensor([-3.0, 0.5], dtype=torch.float64, requires_grad=True)
    times = schedule.time_of_log_snr(level)
    assert (schedule.log_snr(times.detach()) - level).abs().max() < 1e-12
    slope = -log_snr_rate(schedule, times.detach()).detach()
    first = next(schedule.parameters())
    by_level, by_parameter = torch.autograd.grad(times[0], [level, first], retain_graph=True)
    (inner,) = torch.autograd.grad(schedule.log_snr(times.detach())[0], first)
    assert abs(by_level[0] * slope[0] - 1) < 1e-12
    assert (by_parameter + inner / slope[0]).abs().max() < 1e-12 * (1 + inner.abs().max())


@pytest.mark.covering(4)
def test_usable_as_a_schedule(schedule):
    """A reverse SDE with Path gives what the frozen schedule gives, and conversions pass gradients on."""
    frozen, target = schedule.freeze(), Gaussian([0.5, -1.0], [[0.5, 0.2], [0.2, 0.4]])
    x, ends = np.random.default_rng(0).normal(size=(4, 2)), []
    for each in (schedule, frozen):
        sde = reverse_sde(each, Path(each, target).velocity, w.Sigma())
        grid = uniform(4, start=0.9, stop=0.1)
        ends.append(solve(sde, x, grid, EulerMaruyama(), rng=np.random.default_rng(1)).x)
    assert np.abs(ends[0] - ends[1]).max() < 1e-9
    point = torch.tensor(x)
    convert(point, torch.full((4,), 0.4), point, schedule, source=Velocity, to=Score).sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in schedule.parameters())


@pytest.mark.parametrize("choice", [w.KL(), w.SBDM(), w.Constant(0.7), w.SinSquared(), w.Zero()], ids=repr)
def test_choices_of_w(choice):
    """With α = 1 − t, σ = t a reverse SDE has the drift and the noise worked out by hand, for any w."""
    at = {"KL()": 2 * 0.4 / 0.6, "SBDM()": 2 * 0.4 / 0.6, "Constant(0.7)": 0.7, "Zero()": 0.0}
    variance = at.get(repr(choice), math.sin(math.pi * 0.4) ** 2)
    x, velocity = np.array([[1.3]]), -0.4
    sde = reverse_sde(LearnedPower(1.0, 1.0), lambda time, x: np.full_like(x, velocity), choice)
    score = -(1.3 + 0.6 * velocity) / 0.4  # ε = x + (1 − t)v
    assert abs(sde.drift(0.4, x).item() - (velocity - 0.5 * variance * score)) < 1e-13
    assert abs(sde.diffusion(0.4) - math.sqrt(variance)) < 1e-14


def test_flow_and_cost():
    """The probability flow of a learned Linear is the exact flow of N(m, c), and its cost is m² + 1 + c − (π/2)√c."""
    path = Path(LearnedPower(1.0, 1.0), Gaussian([0.7], 0.25))
    x = np.linspace(-1.0, 1.0, 5)[:, None]
    ode = solve(probability_flow(path.schedule, path.velocity), x, uniform(20, start=1.0, stop=0.0), RK4())
    assert np.abs(ode.x - (0.7 + 0.5 * x)).max() < 1e-5
    assert abs(transport_cost(path) - (0.49 + 1.25 - math.pi / 4)) < 1e-8


def test_training_can_move_a_pole():
    """When σ = t² becomes √t, the pole at 0 of the score of a velocity goes, in conversions made before as well."""
    schedule, times = LearnedPower(1.0, 2.0), torch.tensor([0.0, 0.25, 1.0])
    point = torch.full((3, 1), 0.5)
    first = convert(point, times, point, schedule, source=Velocity, to=Score)
    combination = conversion(schedule, Velocity, Score)
    assert (first[0, 0].item(), combination.poles) == (-math.inf, (0.0,))
    with torch.no_grad():
        schedule.log_q.fill_(math.log(0.5))
    score = convert(point, times, point, schedule, source=Velocity, to=Score)[:, 0]
    assert (score + (2 - times) / (1 + times)).abs().max() < 1e-6  # s = −(x + (1 − t)v)/(σ((1 − t)σ̇ + σ)), x = v = ½
    assert combination.poles == ()

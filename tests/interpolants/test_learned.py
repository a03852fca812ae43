"""Learned schedules: exact ends, gradients, freezing, and training that reaches the optima known in closed form."""

import copy
import json
import math
import pickle

import numpy as np
import pytest
import torch

from interpolants import GVP, VP, Gaussian, Linear, Path, Schedule, Score, Velocity, certify, convert, reverse_sde, t
from interpolants import diffusion as w
from interpolants.learned import (
    LearnedLogSNR,
    LearnedPolar,
    LearnedPower,
    LearnedSigmoid,
    log_snr_rate,
    loss_variance,
    transport_cost_loss,
)
from interpolants.transport import transport_cost
from solvers import EulerMaruyama, solve, uniform

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


def minimise(loss, schedule, steps):
    """Minimise by L-BFGS and return the last loss."""
    optimiser = torch.optim.LBFGS(schedule.parameters(), max_iter=steps, line_search_fn="strong_wolfe", history_size=20)

    def closure():
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return value

    optimiser.step(closure)
    return loss().item()


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
    assert np.isfinite(LearnedSigmoid(1e4).alpha(TIMES)).all()


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
    """A frozen sigmoid is an ordinary schedule of expressions: proved, and written as text."""
    frozen = LearnedSigmoid(5.0).freeze()
    assert certify(frozen)["alpha_0"].status == "proved"
    assert Schedule.from_dict(json.loads(json.dumps(frozen.to_dict()))) == frozen


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


@pytest.mark.parametrize("c", [0.01, 0.25, 4.0])
def test_cost_loss_closed_forms(c):
    """Linear: m² + 1 + c − (π/2)√c; GVP: (π²/8)(m² + (1 − √c)²); VP: transport_cost's adaptive quadrature."""
    target, root = Gaussian([0.7], c), math.sqrt(c)
    linear, gvp = 0.49 + 1 + c - math.pi / 2 * root, math.pi**2 / 8 * (0.49 + (1 - root) ** 2)
    for schedule in (LearnedPower(1.0, 1.0), Linear()):
        assert abs(transport_cost_loss(schedule, target).item() - linear) < 1e-9
    assert abs(transport_cost_loss(LearnedLogSNR(), target).item() - gvp) < 1e-12
    vp = transport_cost_loss(VP(), target, 256).item()
    assert abs(vp - transport_cost(Path(VP(), target))) < 1e-8
    turned = Gaussian([0.7, 0.1], [[1.0, 0.3], [0.3, 0.5]])
    values = np.linalg.eigvalsh(turned.cov)
    wanted = 0.5 + (1 + values - math.pi / 2 * np.sqrt(values)).sum()
    assert abs(transport_cost_loss(Linear(), turned).item() - wanted) < 1e-9


@pytest.mark.parametrize("c", [0.25, 4.0])
def test_training_finds_the_optimal_transport(c):
    """Training on the transport cost of N(0, c) recovers ρ = (1 − t)√c + t, and the cost W2² = (1 − √c)²."""
    schedule, target, root = LearnedPolar(c, 8), Gaussian([0.0], c), math.sqrt(c)
    first = transport_cost_loss(schedule, target).item()
    last = minimise(lambda: transport_cost_loss(schedule, target), schedule, 30)
    times = np.linspace(0, 1, 101)
    rho = np.sqrt(schedule.alpha(times) ** 2 * c + schedule.sigma(times) ** 2)
    assert first > 1.02 * (1 - root) ** 2
    assert np.abs(rho - ((1 - times) * root + times)).max() < 1e-4
    assert 1 - 1e-9 < last / (1 - root) ** 2 < 1 + 1e-6
    assert abs(100 * (np.diff(rho) ** 2).sum() / (1 - root) ** 2 - 1) < 1e-6


def test_training_flattens_the_loss():
    """A loss that is a logistic density in the log-SNR gets variance 0, mean 1, at tan θ = t/(1 − t)."""
    schedule = LearnedLogSNR(10)

    def loss(times):
        density = torch.sigmoid(schedule.log_snr(times) / 2) * torch.sigmoid(-schedule.log_snr(times) / 2) / 2
        return density * log_snr_rate(schedule, times)

    before = loss_variance(loss).item()
    after = minimise(lambda: loss_variance(loss), schedule, 60)
    assert before > 0.01
    assert after < 1e-6
    times = np.linspace(0, 1, 101)
    angle = np.arctan2(schedule.sigma(times), schedule.alpha(times))
    assert np.abs(angle - np.arctan2(times, 1 - times)).max() < 1e-3
    assert abs(loss(torch.linspace(0.005, 0.995, 100, dtype=torch.float64)).mean().item() - 1) < 1e-4


def test_loss_variance():
    """The variance of t² over uniform times is 4/45, with midpoints and with a random shift."""
    assert abs(loss_variance(lambda s: s**2, 2000).item() - 4 / 45) < 1e-6
    shifted = [loss_variance(lambda s: s**2, 200, torch.Generator().manual_seed(k)).item() for k in (0, 1)]
    assert shifted[0] != shifted[1]
    assert max(abs(value - 4 / 45) for value in shifted) < 2e-3


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: LearnedLogSNR(0), ValueError),
        (lambda: LearnedPolar(-1.0), ValueError),
        (lambda: LearnedPower(0.0), ValueError),
        (lambda: LearnedSigmoid(-2.0), ValueError),
        (lambda: transport_cost_loss(Linear(), None), TypeError),
        (lambda: loss_variance(lambda s: s.sum()), ValueError),
    ],
)
def test_errors(call, error):
    """Impossible parameters, targets and losses are refused in three parts."""
    with pytest.raises(error, match=THREE_PARTS):
        call()

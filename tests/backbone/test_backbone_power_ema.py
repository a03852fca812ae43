"""The power-function average against its integral, in double precision and by direct summation."""

import mpmath
import pytest
import torch
from torch import nn

from backbone import EMA, Averages, PowerEMA
from backbone.ema import Profile


class Weights(nn.Module):
    """Trained, frozen and counted numbers."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        self.weight = nn.Parameter(torch.full((5,), 1e3, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(2, 3, dtype=dtype))
        self.frozen = nn.Parameter(torch.full((2,), 0.1, dtype=dtype), requires_grad=False)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))


def walk(model, steps, seed=0):
    """Move the trained weights at random, with a trend, and yield after every step."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _ in range(steps):
            for part in (model.weight, model.bias):
                part += torch.randn(part.shape, generator=generator, dtype=part.dtype) + 0.3
            model.count += 1
            yield


def masses(gamma, steps):
    """∫ from k − 1 to k of (γ + 1) τ^γ / n^(γ + 1), for each k, by quadrature in 30 digits."""
    with mpmath.workdps(30):
        gamma = mpmath.mpf(gamma)
        scale = (gamma + 1) / mpmath.mpf(steps) ** (gamma + 1)
        # Tanh-sinh from zero, where the power is not smooth, and the faster Gauss–Legendre elsewhere.
        rules = ["tanh-sinh", *["gauss-legendre"] * (steps - 1)]
        return [
            float(mpmath.quad(lambda tau: scale * tau**gamma, [k, k + 1], method=rule)) for k, rule in enumerate(rules)
        ]


@pytest.mark.parametrize("options", [{}, {"sigma_rel": 0.1}, {"sigma_rel": 0.28}, {"gamma": 2.5}])
def test_the_average_is_the_integral(options):
    """After n updates the average is Σ_k θ_k ∫_{k−1}^k p(τ) dτ: the integral along weights constant between updates."""
    model, steps = Weights(), 25
    average = PowerEMA(model, **options)
    history = []
    for _ in walk(model, steps):
        average.update(model)
        history.append(nn.utils.parameters_to_vector([model.weight, model.bias]).detach().clone())
    weights = torch.tensor(masses(average.gamma, steps), dtype=torch.float64)
    assert abs(float(weights.sum()) - 1) < 1e-14
    wanted = weights @ torch.stack(history)
    got = nn.utils.parameters_to_vector([average.model.weight, average.model.bias])
    torch.testing.assert_close(got, wanted, rtol=1e-13, atol=1e-13)
    assert average.profile == Profile(average.gamma, steps)


def test_the_first_update_forgets_the_initial_weights():
    """β_1 = 0: after one update the average is the network, bit for bit."""
    model = Weights(torch.float32)
    average = PowerEMA(model)
    next(walk(model, 1))
    average.update(model)
    assert all(torch.equal(a, b) for a, b in zip(average.model.state_dict().values(), model.state_dict().values()))


def test_exponent_zero_is_the_plain_mean():
    """With γ = 0 the average of 1, 2, …, n is (n + 1)/2."""
    model = Weights()
    average = PowerEMA(model, gamma=0.0)
    for n in range(1, 31):
        with torch.no_grad():
            model.bias.fill_(n)
        average.update(model)
    torch.testing.assert_close(average.model.bias, torch.full((2, 3), 15.5, dtype=torch.float64))


@pytest.mark.parametrize("n", [2, 1000, 10**9])
def test_the_weight_of_a_late_update_keeps_its_digits(n):
    """From an average of zero, update n takes 1 − (1 − 1/n)^(γ + 1) of a network of ones, to 14 digits."""
    model = Weights()
    with torch.no_grad():
        model.bias.zero_()
        average = PowerEMA(model, 0.1)
        model.bias.fill_(1)
    average.updates = n - 1
    average.update(model)
    with mpmath.workdps(40):
        wanted = 1 - (1 - 1 / mpmath.mpf(n)) ** (mpmath.mpf(average.gamma) + 1)
    torch.testing.assert_close(
        average.model.bias, torch.full_like(average.model.bias, float(wanted)), rtol=1e-14, atol=0
    )


def test_a_run_is_resumed_bit_for_bit_from_the_weights_and_the_number():
    """Thirty updates are twenty, saved and loaded into new averages, and ten more."""
    straight, model = Averages(*averages(Weights(torch.float32))), Weights(torch.float32)
    saved = None
    for n, _ in enumerate(walk(model, 30)):
        if n == 20:
            saved = [{name: part.clone() for name, part in a.model.state_dict().items()} for a in straight]
            resumed = Averages(*averages(Weights(torch.float32)))
            for average, state in zip(resumed, saved):
                average.model.load_state_dict(state)
            resumed.updates = straight.updates
        straight.update(model)
        if n >= 20:
            resumed.update(model)
    assert straight.updates == resumed.updates == 30
    for one, other in zip(straight, resumed):
        assert one.updates == other.updates
        assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), other.model.parameters()))


def averages(model):
    return PowerEMA(model, 0.05), PowerEMA(model, 0.10), EMA(model, 0.9, warmup=True)


def test_several_averages_are_each_what_they_are_alone(monkeypatch):
    """Updated together each is bit for bit the average kept alone, with one fused call; the first is ``model``."""
    model = Weights(torch.float32)
    together, alone = Averages(*averages(model)), averages(model)
    for _ in walk(model, 10):
        together.update(model)
        for average in alone:
            average.update(model)
    for one, other in zip(together, alone):
        assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), other.model.parameters()))
        assert int(one.model.count) == 10
        assert torch.equal(one.model.frozen, model.frozen)
    assert together.model is together.all[0].model
    calls = []
    monkeypatch.setattr(torch, "_foreach_lerp_", lambda a, b, weight: calls.append((len(a), len(b))))
    together.update(model)
    assert calls == [(3, 3)] * 3


def test_the_average_is_kept_in_float32_or_better():
    """A bfloat16 network has a float32 average, a float64 one a float64 one, in evaluation mode, without gradients."""
    for dtype, kept in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        average = PowerEMA(nn.Linear(2, 2, dtype=dtype).train())
        assert average.model.weight.dtype == kept
        assert not average.model.training
        assert not any(parameter.requires_grad for parameter in average.model.parameters())
        average.update(nn.Linear(2, 2, dtype=dtype))
        assert average.model.weight.dtype == kept


def test_the_two_numbers_of_an_average():
    """0.05 is the width where none is given; of γ and σ_rel each gives the other; both, or bad ones, are refused."""
    model = nn.Linear(1, 1)
    assert PowerEMA(model).sigma_rel == 0.05
    assert PowerEMA(model, gamma=PowerEMA(model, 0.1).gamma).sigma_rel == pytest.approx(0.1, rel=1e-14)
    with pytest.raises(ValueError, match=r"expected sigma_rel or gamma; received both, 0.1 and 3.0; remedy"):
        PowerEMA(model, 0.1, gamma=3.0)
    for options in ({"sigma_rel": 0.3}, {"gamma": -0.5}):
        with pytest.raises(ValueError, match=r"expected .*; received .*; remedy"):
            PowerEMA(model, **options)
    with pytest.raises(ValueError, match="expected at least one update; received 0"):
        PowerEMA(model).profile  # noqa: B018


def test_averages_are_different_and_some():
    """No average, or two of one width, are refused."""
    model = nn.Linear(1, 1)
    with pytest.raises(ValueError, match="expected at least one average; received none"):
        Averages()
    with pytest.raises(ValueError, match=r"expected different relative widths; received \[0.1, 0.1\]"):
        Averages(PowerEMA(model, 0.1), PowerEMA(model, 0.1))

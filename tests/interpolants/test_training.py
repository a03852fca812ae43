"""Training a schedule reaches the optima that are known in closed form."""

import math

import numpy as np
import pytest
import torch

from interpolants import VP, Gaussian, Linear, Path, transport_cost
from interpolants.learned import (
    LearnedLogSNR,
    LearnedPolar,
    LearnedPower,
    LearnedSigmoid,
    log_snr_rate,
    loss_variance,
    transport_cost_loss,
)

THREE_PARTS = "expected .*; received .*; remedy: "


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


@pytest.mark.covering(2)
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

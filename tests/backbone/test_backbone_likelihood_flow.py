"""The density of a network's flow against closed forms and quadrature, and the way to noise and back."""

import itertools
import math

import numpy as np
import pytest
import torch
from backbone_support import TINY, ExactNetwork, perturb
from scipy.stats import multivariate_normal

from backbone import ModelFlow, SiT, log_marginal
from interpolants import GVP, VP, Data, Gaussian, Linear, Path
from solvers import RK4, Adaptive, Dopri5, Euler, Heun, uniform
from solvers.likelihood import rademacher_probes

MEANS, VARIANCES = ([0.5, -1.0], [-0.3, 0.2]), (0.4, 1.7)
X = torch.tensor([[0.3, -0.4], [1.0, 0.2], [-1.2, 0.5]], dtype=torch.float64)
SIGNS = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=2)), dtype=torch.float64)


def exact(schedule):
    """A network that knows a Gaussian for each of two labels."""
    return ExactNetwork([Path(schedule, Gaussian(m, c)) for m, c in zip(MEANS, VARIANCES)], 2)


def truth(schedule, label):
    """log p of what comes of N(0, σ₁²) along the flow of N(m, c): affine, X₁ = α₁m + ρ₁(x − m)/√c, ρ₁² = α₁²c + σ₁²."""
    alpha, sigma = float(schedule.alpha(1.0)), float(schedule.sigma(1.0))
    m, c = np.array(MEANS[label]), VARIANCES[label]
    stretch = math.sqrt((alpha**2 * c + sigma**2) / c)
    moved = alpha * m + stretch * (X.numpy() - m)
    return multivariate_normal([0, 0], sigma**2 * np.eye(2)).logpdf(moved) + 2 * math.log(stretch)


@pytest.fixture(scope="module")
def images():
    torch.manual_seed(0)
    network = perturb(SiT(TINY), scale=0.2).double()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    return network, x, torch.tensor([4, 2])


@pytest.fixture(scope="module")
def noise(images):
    """The images encoded to about 1e-10."""
    network, x, y = images
    return ModelFlow(network, Linear(), [0.0, 1.0], Adaptive(Dopri5(), rtol=1e-10, atol=1e-10)).encode(x, y).x


@pytest.mark.parametrize("schedule", [Linear(), GVP(), VP()], ids=repr)
@pytest.mark.parametrize("label", [0, 1])
def test_the_density_of_an_exact_network(schedule, label):
    """log p is that of the affine image of N(0, σ₁²I); where α₁ = 0 that is N(m, c) itself."""
    found = ModelFlow(exact(schedule), schedule, uniform(40, 0.0, 1.0)).log_likelihood(X, label)
    np.testing.assert_allclose(
        found.value, truth(schedule, label), rtol=0, atol=2e-4 if schedule.name == "vp" else 2e-6
    )
    if schedule.name == "linear":
        law = multivariate_normal(MEANS[label], VARIANCES[label] * np.eye(2))
        np.testing.assert_allclose(found.value, law.logpdf(X), rtol=0, atol=2e-6)


def test_the_prior_has_the_last_standard_deviation():
    """log N(x; 0, σ₁²I) is scipy's, with the σ₁ of the schedule, whatever the last time of the grid."""
    schedule = Linear().rescale(3.0)
    flow = ModelFlow(exact(schedule), schedule, uniform(4, 0.0, 0.5))
    sigma = float(schedule.sigma(schedule.domain[1]))
    assert sigma == pytest.approx(3.0)
    np.testing.assert_allclose(flow.log_prior(X), multivariate_normal([0, 0], sigma**2 * np.eye(2)).logpdf(X))


def test_hutchinsons_mean_over_all_signs_is_exact():
    """With every sign vector as a probe the mean of the estimates is the exact value, and the error is told."""
    torch.manual_seed(1)
    network = perturb(SiT.for_vectors(2, hidden_size=16, num_heads=2, depth=1), scale=0.3).double()
    flow = ModelFlow(network, Linear(), uniform(6, 0.0, 1.0))
    value = flow.log_likelihood(X)
    estimate = flow.log_likelihood(X, probes=SIGNS)
    assert torch.allclose(estimate.value, value.value, rtol=0, atol=1e-12)
    assert (value.probes, estimate.probes) == (0, 4)
    assert float(estimate.standard_error.min()) > 1e-3
    assert float(value.standard_error.max()) == 0
    together = flow.log_likelihood(X, probes=rademacher_probes(X, 3, torch.Generator().manual_seed(0)))
    assert float((together.value - value.value).abs().max()) > 1e-6


def test_the_marginal_is_that_of_the_mixture():
    """log Σ p(y)p(x|y) and its largest class are scipy's, with equal weights and with others."""
    flow = ModelFlow(exact(Linear()), Linear(), uniform(40, 0.0, 1.0))
    by_class = flow.log_likelihood_by_class(X)
    densities = np.stack([multivariate_normal(m, c * np.eye(2)).pdf(X) for m, c in zip(MEANS, VARIANCES)], axis=1)
    np.testing.assert_allclose(by_class.exp(), densities, rtol=1e-5)
    np.testing.assert_allclose(log_marginal(by_class), np.log(densities.mean(1)), rtol=0, atol=1e-5)
    weights = torch.tensor([0.9, 0.1])
    np.testing.assert_allclose(log_marginal(by_class, weights), np.log(densities @ [0.9, 0.1]), rtol=0, atol=1e-5)
    assert by_class.argmax(1).tolist() == densities.argmax(1).tolist()
    assert torch.isfinite(log_marginal(torch.tensor([[-5000.0, -5001.0]]))).all()


def test_a_network_of_one_number_has_a_density_of_mass_one():
    """∫p dx = 1, and p is the slope of Φ(T(x)), T the way to noise: the divergence is that of the flow."""
    torch.manual_seed(1)
    network = perturb(SiT.for_vectors(1, hidden_size=16, num_heads=2, depth=1), scale=0.3).double()
    flow = ModelFlow(network, Linear(), uniform(20, 0.0, 1.0))
    points = torch.linspace(-8, 8, 321, dtype=torch.float64)[:, None]
    density = flow.log_likelihood(points).value.exp()
    assert float(torch.trapezoid(density, points[:, 0])) == pytest.approx(1, abs=1e-6)
    mass = torch.special.ndtr(flow.encode(points).x[:, 0])
    between = torch.cumulative_trapezoid(density, points[:, 0])
    assert float((mass[1:] - mass[0] - between).abs().max()) < 1e-4


@pytest.mark.parametrize(("method", "order"), [(Euler(), 1), (Heun(), 2), (RK4(), 4)], ids=repr)
def test_the_error_of_the_way_back_has_the_order_of_the_method(images, noise, method, order):
    """Encoding is wrong by n^-p; the round trip by n^-p for odd p and by n^-(p+1) for even p; nfe counts both ways."""
    network, x, y = images
    trips = [ModelFlow(network, Linear(), uniform(n, 0.0, 1.0), method).round_trip(x, y) for n in (8, 16)]
    assert [trip.nfe for trip in trips] == [2 * n * method.evaluations for n in (8, 16)]
    one_way = [float((trip.noise - noise).norm()) for trip in trips]
    both = [float(trip.error.norm()) for trip in trips]
    assert math.log2(one_way[0] / one_way[1]) == pytest.approx(order, abs=0.2)
    assert math.log2(both[0] / both[1]) == pytest.approx(order + (order % 2 == 0), abs=0.3)
    trip = trips[0]
    assert torch.equal(trip.error, (trip.x - x).reshape(2, -1).pow(2).mean(1).sqrt())


def test_an_adaptive_round_trip_ends_within_its_tolerance(images):
    """Dopri5 comes back to ten times its tolerances, 1e-4 and 1e-7, with more evaluations for the smaller."""
    network, x, y = images
    trips = [
        ModelFlow(network, Linear(), [0.0, 1.0], Adaptive(Dopri5(), rtol=tol, atol=tol)).round_trip(x, y)
        for tol in (1e-4, 1e-7)
    ]
    assert float(trips[0].error.max()) < 1e-3
    assert float(trips[1].error.max()) < 1e-6
    assert trips[0].nfe < trips[1].nfe


def test_labels_and_mode(images):
    """One label for all is that label for each; None is the null class; training mode drops none."""
    network, x, _ = images
    flow = ModelFlow(network, Linear(), uniform(2, 0.0, 1.0))
    threes = flow.encode(x, 3).x
    assert torch.equal(threes, flow.encode(x, torch.full((2,), 3)).x)
    assert torch.equal(flow.encode(x).x, flow.encode(x, 5).x)
    assert not torch.equal(threes, flow.encode(x).x)
    network.train()
    assert torch.equal(threes, flow.encode(x, 3).x)
    network.eval()
    one = ModelFlow(network, Linear(), [0.0, 0.5], Euler(), guidance=3.0).encode(x, 3).x
    given, null = (network(x, 0.0, torch.full((2,), label)) for label in (3, 5))
    assert torch.allclose(one, x + 0.5 * (null + 3 * (given - null)), rtol=0, atol=1e-12)


def test_defaults_are_twenty_steps_of_rk4(images):
    """Without a grid and a method: 80 evaluations each way, and no gradient is kept."""
    network, x, y = images
    solution = ModelFlow(network, Linear()).encode(x[:1].float(), y[:1])
    assert solution.nfe == 80
    assert not solution.x.requires_grad


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda flow: flow.log_likelihood_by_class(X), "expected a network with labels; received num_classes=0"),
        (lambda flow: log_marginal(torch.zeros(2, 3), torch.ones(3)), "3 probabilities that sum to 1"),
        (lambda flow: log_marginal(torch.zeros(2, 3), torch.tensor([0.5, 0.5])), "3 probabilities"),
        (lambda flow: log_marginal(torch.zeros(2, 2), torch.tensor([1.5, -0.5])), "2 probabilities"),
        (lambda flow: ModelFlow(flow.model, Linear(), prediction=Data).encode(X), "a pole at time 0.0"),
    ],
)
def test_refusals(call, words):
    """Networks without labels, weights that are no probabilities, and predictions with a pole at the data."""
    flow = ModelFlow(SiT.for_vectors(2, hidden_size=16, num_heads=2, depth=1), Linear())
    with pytest.raises(ValueError, match=r"expected .*; received .*; remedy: ") as error:
        call(flow)
    assert words in str(error.value)

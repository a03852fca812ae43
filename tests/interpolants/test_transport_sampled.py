"""What is sampled: against exact values within six standard errors, in any batch, numpy and torch."""

import math

import numpy as np
import pytest
import torch

from interpolants import (
    GVP,
    VP,
    Data,
    Empirical,
    Estimate,
    Gaussian,
    GaussianMixture,
    Linear,
    Noise,
    Path,
    Schedule,
    excess_loss,
    kinetic_gap,
    lipschitz,
    normalised_path_energy,
    path_length,
    straightness,
    t,
    transport_cost,
    wasserstein2,
)
from interpolants.transport.distance import squared
from interpolants.transport.sampled import along_path, coupled
from solvers import PoleError, uniform
from tests.support.zoo import GAUSSIAN, MIXTURE

MEASURES = [transport_cost, path_length, straightness]


def names(items):
    return [item.__name__ for item in items]


def close(estimate, exact):
    assert isinstance(estimate, Estimate)
    assert abs(estimate.value - exact) < 6 * estimate.standard_error
    assert 0 < estimate.standard_error < 0.2 * abs(exact)


@pytest.mark.parametrize("schedule", [Linear(), GVP(), VP()], ids=lambda s: s.name)
@pytest.mark.parametrize("measure", MEASURES, ids=names(MEASURES))
def test_the_flow_of_a_perfect_model(schedule, measure):
    """A model that is the exact velocity of a Gaussian has the exact numbers, within six standard errors."""
    path = Path(schedule, GAUSSIAN)
    found = measure(path, path.velocity, n=1024, rng=np.random.default_rng(3))
    close(found, measure(path))
    assert found.n == 1024


@pytest.mark.parametrize("schedule", [Linear(), VP()], ids=lambda s: s.name)
def test_samples_along_a_path(schedule):
    """Energy and length over triples of a Gaussian path are its exact cost and length, within six standard errors."""
    path = Path(schedule, GAUSSIAN)
    moments = along_path(path, 2048, np.random.default_rng(5), 512)
    close(moments.estimate(0), transport_cost(path))
    close(moments.estimate(1), path_length(path))


@pytest.mark.parametrize("measure", MEASURES, ids=names(MEASURES))
def test_a_product_of_lines(measure):
    """Two coordinates, one a mixture and one N(0, 1): the plane samples what the line knows exactly."""
    line = GaussianMixture([0.3, 0.7], [[-1.0], [0.5]], [[[0.2]], [[0.1]]])
    plane = GaussianMixture([0.3, 0.7], [[-1.0, 0.0], [0.5, 0.0]], [[[0.2, 0.0], [0.0, 1.0]], [[0.1, 0.0], [0.0, 1.0]]])
    found = measure(Path(GVP(), plane), n=1024, rng=np.random.default_rng(2))
    if measure is path_length:  # N(0, 1) stands still under GVP, so the length is that of the line as well
        close(found, path_length(Path(GVP(), line)))
    else:
        close(found, measure(Path(GVP(), line)) + measure(Path(GVP(), Gaussian([0.0], 1.0))))


def test_order_of_the_sampled_measures():
    """Straightness ≤ gap and W₂² ≤ E|X_1 − X_0|², because the sampled distance matches points of the flow."""
    path = Path(Linear(), MIXTURE)
    options = {"n": 1024, "rng": np.random.default_rng(1)}
    cost, length = transport_cost(path, **options), path_length(path, **options)
    defect, distance = straightness(path, **options), wasserstein2(path, **options)
    assert distance.value**2 + 6 * 2 * distance.value * distance.standard_error > 0
    error = math.hypot(cost.standard_error, defect.standard_error, 2 * distance.value * distance.standard_error)
    assert distance.value**2 <= cost.value - defect.value + 6 * error
    assert length.value**2 <= cost.value
    gap = kinetic_gap(path, **options)
    assert abs(gap.value - (cost.value - distance.value**2)) < 6 * math.hypot(gap.standard_error, error)
    ratio = normalised_path_energy(path, **options)
    assert abs(ratio.value - gap.value / distance.value**2) < 6 * ratio.standard_error


def test_error_of_the_path_energy():
    """The error of |C − S|/S is (dC − (C/S)dS)/S, from independent estimates of C and S = W₂²."""
    path, rng = Path(Linear(), MIXTURE), np.random.default_rng(2)
    square, cost = squared(path, 128, rng), transport_cost(path, n=128, rng=rng)
    found = normalised_path_energy(path, n=128, rng=np.random.default_rng(2))
    ratio = cost.value / square.value
    assert abs(found.value - (ratio - 1)) < 1e-12
    exact = math.hypot(cost.standard_error, ratio * square.standard_error) / square.value
    assert abs(found.standard_error / exact - 1) < 1e-12


def test_sampled_wasserstein_of_a_gaussian_in_disguise():
    """Two equal components are a Gaussian, whose W₂ is known; the flow is optimal, so the matching has no bias."""
    target = GaussianMixture([0.5, 0.5], [GAUSSIAN.mean] * 2, [GAUSSIAN.cov] * 2)
    found = wasserstein2(Path(Linear(), target), n=1024)
    close(found, wasserstein2(Path(Linear(), GAUSSIAN)))
    rng, squares = np.random.default_rng(0), []
    for _ in range(8):
        noise, data = coupled(Path(Linear(), target), 128, rng)
        squares.append(((noise - data) ** 2).sum(1).mean())
    assert abs(found.value - math.sqrt(np.mean(squares))) < 1e-12


def test_sampled_lipschitz_is_a_lower_bound():
    """Two components on a line in the plane: no more than the line's supremum, and within 10% of it."""
    line = GaussianMixture([0.4, 0.6], [[-0.8], [0.8]], [[[0.2]], [[0.2]]])
    plane = GaussianMixture([0.4, 0.6], [[-0.8, 0.0], [0.8, 0.0]], [np.diag([0.2, 1.0])] * 2)
    exact, found = lipschitz(Path(GVP(), line)), lipschitz(Path(GVP(), plane), n=512)
    assert 0.9 * exact < found.value <= exact * (1 + 1e-9)
    assert lipschitz(Path(Linear(), Empirical([[0.0, 1.0], [1.0, 0.0]]))) == math.inf


@pytest.mark.parametrize("prediction", [Data, Noise], ids=repr)
def test_other_predictions(prediction):
    """A model of the data or of the noise is converted; where that has a pole, the grid says how far to go."""
    path = Path(Linear(), GAUSSIAN)
    grid, rng = uniform(60, start=0.9995, stop=5e-4), np.random.default_rng(0)

    def model(time, x):
        return path.predict(prediction, time, x)

    found = transport_cost(path, model, prediction, n=512, grid=grid, rng=rng)
    assert abs(found.value - transport_cost(path)) < 6 * found.standard_error
    with pytest.raises(PoleError, match="remedy"):
        transport_cost(path, model, prediction, n=4)


def test_a_wrong_model_has_its_own_cost():
    """v_θ = bx moves X_1 to X_1 e^{−b}: energy b(1 − e^{−2b})/2 per coordinate, length 1 − e^{−b} times E|X_1|."""
    path, b = Path(Linear(), Gaussian([0.0, 0.0], 0.5)), 0.8
    options = {"model": lambda time, x: b * x, "n": 2048, "rng": np.random.default_rng(6)}
    close(transport_cost(path, **options), 2 * b * (1 - math.exp(-2 * b)) / 2)
    close(path_length(path, **options), (1 - math.exp(-b)) * math.sqrt(math.pi / 2))
    close(straightness(path, **options), 2 * (b * (1 - math.exp(-2 * b)) / 2 - (1 - math.exp(-b)) ** 2))


@pytest.mark.parametrize("schedule", [Linear(), VP()], ids=lambda s: s.name)
def test_excess_loss(schedule):
    """v_θ = v + δ(x − αm) has the excess loss δ²∫Σρ²; and a noise model that errs by e, ∫(W/α)²|e|²... is converted."""
    path, delta = Path(schedule, Gaussian([0.5, -1.0], [0.3, 2.0])), 0.1

    def model(time, x):
        return path.velocity(time, x) + delta * (x - path.schedule.alpha(float(time)) * path.target.mean)

    times = np.linspace(0, 1, 20_001)
    spread = schedule.alpha(times) ** 2 * 2.3 + 2 * schedule.sigma(times) ** 2
    close(excess_loss(path, model, n=2048), delta**2 * np.trapezoid(spread, times))


def test_excess_loss_of_a_data_model():
    """x̂_θ = x̂ + te under GVP: v = (σ̇/σ)x + (α̇ − ασ̇/σ)x̂, so the loss is |e|²∫(t·(π/2)/sin(πt/2))²."""
    path, e = Path(GVP(), GAUSSIAN), np.array([0.1, 0.2])
    found = excess_loss(path, lambda time, x: path.data(time, x) + time * e, Data, n=64)
    times = np.linspace(1e-9, 1, 20_001)
    exact = 0.05 * np.trapezoid((times * np.pi / 2 / np.sin(np.pi * times / 2)) ** 2, times)
    assert abs(found.value - exact) < 1e-8
    assert found.standard_error < 1e-10


@pytest.mark.parametrize("batch", [1, 100, 256, 1000])
def test_the_batch_does_not_matter(batch):
    """n samples give the same numbers in any batches, for paths and for models, and n need not fill a block."""
    mixture, gaussian = Path(Linear(), MIXTURE), Path(Linear(), GAUSSIAN)
    n = 300 if batch > 1 else 6
    for run in (
        lambda size: transport_cost(mixture, n=n, rng=np.random.default_rng(4), batch=size),
        lambda size: straightness(gaussian, gaussian.velocity, n=n, rng=np.random.default_rng(4), batch=size),
        lambda size: excess_loss(gaussian, lambda time, x: 0 * x, n=n, rng=np.random.default_rng(4), batch=size),
    ):
        whole, parts = run(4096), run(batch)
        assert abs(whole.value - parts.value) < 1e-12 * whole.value
        assert abs(whole.standard_error - parts.standard_error) < 1e-12 * whole.value
        assert whole.n == parts.n == n


def test_batches_are_batches():
    """The model never meets more samples than a batch, and every sample once."""
    path, seen = Path(Linear(), GAUSSIAN), []

    def model(time, x):
        seen.append(len(x))
        return path.velocity(time, x)

    transport_cost(path, model, n=300, batch=128, grid=uniform(1))
    assert seen == [128] * 4 + [128] * 4 + [44] * 4


def test_torch_models_keep_type_and_leave_no_graph():
    """A float32 network meets float32 points without gradients; the estimate is that of numpy within its errors."""
    path, types = Path(Linear(), GAUSSIAN), set()
    network = torch.nn.Linear(2, 2)

    def model(time, x):
        types.add((x.dtype, network(x).requires_grad))
        return path.velocity(time, x) + 0 * network(x)

    close(transport_cost(path, model, n=1024, rng=torch.Generator().manual_seed(1)), transport_cost(path))
    found = excess_loss(path, lambda time, x: model(time, x) + 0.1, n=64, rng=torch.Generator().manual_seed(1))
    assert abs(found.value - 0.02) < 1e-5
    assert types == {(torch.float32, False)}


def test_empirical_data_in_the_plane():
    """One point is a Gaussian of variance 0: Linear costs |y|² + d, a straight flow of length E|y − ε|."""
    path = Path(Linear(), Empirical([[0.6, -0.8]]))
    options = {"n": 1024, "rng": np.random.default_rng(9)}
    close(transport_cost(path, **options), 3.0)
    defect = straightness(path, **options)
    assert abs(defect.value) < 1e-9
    assert abs(wasserstein2(path, **options).value ** 2 - 3.0) < 0.5
    assert transport_cost(Path(VP(), path.target)) == math.inf


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"model": 3}, TypeError),
        ({"n": 1}, ValueError),
        ({"batch": 0}, ValueError),
        ({"model": lambda time, x: x[:, :1]}, ValueError),
        ({"model": lambda time, x: x * math.nan}, ValueError),
        ({"model": lambda time, x: x, "prediction": "velocity"}, TypeError),
    ],
    ids=range(6),
)
def test_what_is_refused(options, error):
    """What is no model, no prediction, no number of samples, or answers badly, is an error."""
    with pytest.raises(error, match=r"expected .*; received .*; remedy: "):
        transport_cost(Path(Linear(), GAUSSIAN), **options)
    with pytest.raises(ValueError, match=r"expected n >= 16 points; received 8; remedy: "):
        wasserstein2(Path(Linear(), MIXTURE), n=8)


@pytest.mark.covering(2)
@pytest.mark.parametrize("target", [Gaussian([0.5], 0.3), MIXTURE], ids=["exact", "sampled"])
def test_a_slower_clock(target):
    """On [0, 2] everything runs at half the speed: half the cost, defect and slope, the same length and ratio."""
    slow = Schedule("slow", 1 - t / 2, t / 2, domain=(0, 2))
    paths = [Path(schedule, target) for schedule in (Linear(), slow)]
    factors = {
        transport_cost: 0.5,
        straightness: 0.5,
        kinetic_gap: 0.5,
        path_length: 1.0,
        normalised_path_energy: 1.0,
        lipschitz: 0.5,
    }
    for measure, factor in factors.items():
        unit, found = (float(measure(path, n=256)) for path in paths)
        assert found == pytest.approx(factor * unit, rel=1e-7), measure

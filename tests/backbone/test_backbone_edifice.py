"""What Edifice's page on SiT offers, by this library, against the formulas of that page (docs/edifice.md)."""

import math

import jax
import numpy as np
import pytest
import torch
from backbone_support import perturb

from backbone import SiT, SiTConfig
from interpolants import GVP, Linear, Objective, Schedule, times

RNG = np.random.default_rng(0)
X, NOISE = RNG.standard_normal((2, 5, 3))
TIME = np.array([0.0, 0.2, 0.5, 0.875, 1.0])
COLUMN = TIME[:, None]
PAGE = {
    "linear": (Linear(), (1 - COLUMN) * X + COLUMN * NOISE, NOISE - X),
    "cosine": (
        GVP(),
        np.cos(np.pi * COLUMN / 2) * X + np.sin(np.pi * COLUMN / 2) * NOISE,
        -(np.pi / 2) * np.sin(np.pi * COLUMN / 2) * X + (np.pi / 2) * np.cos(np.pi * COLUMN / 2) * NOISE,
    ),
}


@pytest.mark.parametrize("library", [np.asarray, torch.tensor, jax.numpy.asarray], ids=["numpy", "torch", "jax"])
@pytest.mark.parametrize("name", PAGE)
def test_interpolants_and_velocities(name, library):
    """The point and the velocity are those of the page's formulas, both ends included, in each library."""
    schedule, point, velocity = PAGE[name]
    batch = Objective(schedule).at(library(X), library(NOISE), library(TIME))
    rounding = 1e-6 if library is jax.numpy.asarray else 1e-14
    np.testing.assert_allclose(np.asarray(batch.x_t), point, rtol=0, atol=rounding)
    np.testing.assert_allclose(np.asarray(batch.target), velocity, rtol=0, atol=rounding)


@pytest.mark.parametrize(
    ("alpha", "value", "slope"),
    [
        (lambda t: 1 - t**3, 1 - COLUMN**3, -3 * COLUMN**2),
        # A function of numpy cannot be traced with a symbol: it is measured.
        (lambda t: np.cos(np.pi / 2 * t), np.cos(np.pi / 2 * COLUMN), -np.pi / 2 * np.sin(np.pi / 2 * COLUMN)),
    ],
    ids=["traced", "measured"],
)
def test_functions_of_the_user(alpha, value, slope):
    """α and β as functions give I = α x + β ε and its derivative by hand, traced to expressions or measured."""
    schedule = Schedule.from_callables(alpha, lambda t: t * t)
    batch = Objective(schedule).at(X[1:4], NOISE[1:4], TIME[1:4])
    point, velocity = value * X + COLUMN**2 * NOISE, slope * X + 2 * COLUMN * NOISE
    np.testing.assert_allclose(batch.x_t, point[1:4], rtol=1e-12)
    np.testing.assert_allclose(batch.target, velocity[1:4], rtol=0, atol=1e-8)


@pytest.mark.parametrize("kind", ["numpy", "torch", "jax"])
def test_times_with_a_key(kind):
    """n times are uniform on (0, 1), the same for the same key or seed, and others for the next."""
    law, n = times.Uniform().of(Linear()), 20_000

    def draws(seed):
        if kind == "jax":
            new_key, key = jax.random.split(jax.random.key(seed))
            return law.sample(n, key), law.sample(n, jax.random.split(new_key)[1])
        rng = np.random.default_rng(seed) if kind == "numpy" else torch.Generator().manual_seed(seed)
        return law.sample(n, rng), law.sample(n, rng)

    first, second = (np.asarray(drawn) for drawn in draws(0))
    again = np.asarray(draws(0)[0])
    assert first.shape == (n,)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)
    for drawn in (first, second, np.asarray(draws(1)[0])):
        assert 0 < drawn.min() < drawn.max() < 1
        # Six standard errors of the mean and of the mean square of a uniform number, ½ ± 0.29 and ⅓ ± 0.30.
        assert abs(drawn.mean() - 1 / 2) < 6 * math.sqrt(1 / 12 / n)
        assert abs((drawn**2).mean() - 1 / 3) < 6 * math.sqrt(4 / 45 / n)


def test_the_loss():
    """The loss is the mean square of the differences over samples and features, one number."""
    predicted = RNG.standard_normal((5, 3))
    by_hand = sum((p - q) ** 2 for p, q in zip(predicted.flat, X.flat)) / 15
    for library in (np.asarray, torch.tensor):
        loss = Objective(Linear()).loss(library(predicted), library(X), library(TIME))
        assert loss.shape == ()
        assert float(loss) == pytest.approx(by_hand, rel=1e-13)


def test_the_options_of_build():
    """Each option is seen in the weights: input_dim, hidden_size, depth, num_heads, mlp_ratio and num_classes."""
    model = SiT.for_vectors(7, hidden_size=24, depth=2, num_heads=3, mlp_ratio=2.0, num_classes=5)
    shapes = {name: tuple(part.shape) for name, part in model.state_dict().items()}
    assert shapes["x_embedder.proj.weight"] == (24, 7)
    assert shapes["final_layer.linear.weight"] == (7, 24)
    assert shapes["blocks.1.mlp.fc1.weight"] == (48, 24)
    assert shapes["y_embedder.embedding_table.weight"] == (6, 24)
    assert len(model.blocks) == 2
    assert model.blocks[0].attn.num_heads == 3
    assert not any(name.startswith("y_embedder") for name in SiT.for_vectors(7).state_dict())
    perturb(model)
    x, y = torch.randn(4, 7), torch.tensor([0, 1, 4, 5])
    assert model(x, torch.rand(4), y).shape == (4, *model.config.output_shape) == (4, 7)
    # On one token attention is the value alone, whatever the heads; on two they matter.
    two = SiT(SiTConfig(input_size=(2,), patch_size=1, hidden_size=8, depth=1, num_heads=2))
    one = SiT(SiTConfig(input_size=(2,), patch_size=1, hidden_size=8, depth=1, num_heads=1))
    one.load_state_dict(perturb(two).state_dict())
    x = torch.randn(1, 4, 2)
    assert not torch.allclose(one.eval()(x, 0.5, y[:1]), two.eval()(x, 0.5, y[:1]), atol=1e-4)


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ({"input_size": 8}, (4, 8, 8)),
        ({"input_size": (8, 6), "in_channels": 3}, (3, 8, 6)),
        ({"input_size": (10,), "learn_sigma": False}, (4, 10)),
        ({"input_size": (), "patch_size": 1, "in_channels": 5}, (5,)),
    ],
)
def test_the_output_size(fields, shape):
    """It is the shape of a prediction without the batch, which learned variances do not change."""
    config = SiTConfig(**fields, hidden_size=8, depth=1, num_heads=2, num_classes=3)
    assert config.output_shape == shape
    assert SiT(config)(torch.zeros(2, *shape), 0.5, torch.tensor([0, 3])).shape == (2, *shape)


def test_num_steps_is_a_scale_or_an_index():
    """time_scale=s at time t is timesteps at index s·t with the same weights; without a scale it is another time."""
    scaled, indexed = SiT.for_vectors(3, time_scale=1000.0), SiT.for_vectors(3, timesteps=1000)
    indexed.load_state_dict(perturb(scaled).state_dict())
    x = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    found = indexed(x, torch.tensor([250, 875]))
    assert torch.equal(found, scaled(x, torch.tensor([0.25, 0.875])))
    assert not torch.allclose(found, indexed(x, torch.tensor([0.25, 0.875])), atol=1e-3)

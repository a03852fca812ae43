"""How steep a model is: exact predictions and known matrices, numpy and torch, whole and by iteration."""

import math

import numpy as np
import pytest
import torch

from interpolants import Data, Estimate, Gaussian, Linear, Noise, Path, Velocity, lipschitz


@pytest.mark.parametrize("prediction", [Velocity, Noise, Data], ids=repr)
def test_lipschitz_of_a_model(prediction):
    """The exact prediction of a Gaussian as a numpy model is as steep as the Gaussian, from below."""
    path = Path(Linear(), Gaussian([0.5, -1.0], [[0.5, 0.2], [0.2, 0.3]]))
    found = lipschitz(path, lambda time, x: path.predict(prediction, time, x), prediction, n=64)
    exact = lipschitz(path)
    assert isinstance(found, Estimate)
    assert exact * (1 - 1e-3) < found.value <= exact * (1 + 1e-8)


@pytest.mark.covering(2)
@pytest.mark.parametrize("d", [5, 300])
def test_lipschitz_of_a_torch_model(d):
    """A rotation and stretch by known factors, in few dimensions whole and in many by iteration; no gradient stays."""
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.linalg.qr(torch.randn(d, d, generator=generator))[0] for _ in range(2))
    stretch = torch.ones(d)
    stretch[0] = 3.0
    layer = torch.nn.Linear(d, d)
    layer.weight.data = first @ torch.diag(stretch) @ second
    path = Path(Linear(), Gaussian(np.zeros(d), 1.0))
    found = lipschitz(path, lambda time, x: layer(x), n=16, rng=generator)
    assert found.value == pytest.approx(3.0, rel=2e-3)
    assert layer.weight.grad is None


def test_lipschitz_of_a_model_refuses():
    """Another shape, NaN, and a numpy model with too many dimensions to take differences along each."""
    path = Path(Linear(), Gaussian(np.zeros(2), 1.0))
    with pytest.raises(ValueError, match=r"a prediction of shape \(\d+, 2\)"):
        lipschitz(path, lambda time, x: x[:, :1], n=16)
    with pytest.raises(ValueError, match="finite predictions"):
        lipschitz(path, lambda time, x: x * math.nan, n=16)
    with pytest.raises(TypeError, match="at most 256 dimensions"):
        lipschitz(Path(Linear(), Gaussian(np.zeros(257), 1.0)), lambda time, x: x, n=16)

"""Bits per dimension of a network against probabilities that are known without its divergence."""

import math

import numpy as np
import pytest
import torch
from backbone_support import ExactNetwork, perturb
from scipy.stats import norm

from backbone import Levels, ModelFlow, SiT, dequantised_bits
from backbone.data.digits import load_digits
from interpolants import Gaussian, Linear, Path
from solvers import uniform
from solvers.likelihood import rademacher_probes

SMALL = {"hidden_size": 16, "num_heads": 2, "depth": 1}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def network(features, **options):
    torch.manual_seed(1)
    return perturb(SiT.for_vectors(features, **SMALL, **options), scale=0.3).double()


@pytest.fixture(scope="module")
def pixel():
    """A random network of one pixel with two wide levels: 300 images of each, eight draws, and −log2 P from Φ(T) alone.

    The flow of one number is increasing, so the mass of a bin is that of the interval of noise that it becomes.
    """
    flow, levels = ModelFlow(network(1), Linear(), uniform(4, 0.0, 1.0)), Levels(2, -1.5, 1.5)
    edges = torch.tensor([[-3.0], [0.0], [3.0]], dtype=torch.float64)
    mass = torch.special.ndtr(flow.encode(edges).x[:, 0]).diff()
    x = torch.tensor([-1.5, 1.5], dtype=torch.float64).repeat_interleave(300)[:, None]
    return dequantised_bits(flow, x, levels=levels, rng=generator(), draws=8), -mass.log2()


def test_the_bound_is_above_the_probability_and_falls_with_the_draws(pixel):
    """−log2 P < the mean bound with 8 draws < that with 2 < that with 1, and the gap falls about as 1/K."""
    found, exact = pixel
    two = -torch.stack([(3 * pair.exp().mean(0)).log2() for pair in found.log_p.split(2)]).mean(0)
    one, two, eight = (bits.reshape(2, 300).mean(1) for bits in (found.single, two, found.bound))
    assert (exact < eight).all()
    assert (eight < two).all()
    assert (two < one).all()
    assert ((one - exact) / (eight - exact) > 4).all()


def test_many_draws_reach_the_probability(pixel):
    """The mean density over 2,400 draws of a bin times its width is its probability, to six standard errors."""
    found, exact = pixel
    cells = 3 * found.log_p.exp().reshape(8, 2, 300).permute(1, 0, 2).reshape(2, 2400)
    error = cells.std(1) / math.sqrt(2400)
    assert ((cells.mean(1) - 2**-exact).abs() < 6 * error).all()
    assert (error < 0.02 * cells.mean(1)).all()


def test_two_pixels_against_quadrature():
    """Every image of 2 × 3 levels: the mean bound is above −log2 P of Gauss–Legendre, many draws reach it."""
    flow = ModelFlow(network(2), Linear(), uniform(5, 0.0, 1.0))
    nodes, weights = np.polynomial.legendre.leggauss(6)
    levels = Levels(3, 0.0, 2.0)
    images = torch.tensor([[0.0, 0.0], [1.0, 2.0], [2.0, 1.0]], dtype=torch.float64)
    offsets = torch.tensor([[a, b] for a in nodes for b in nodes]) / 2
    shares = torch.tensor([a * b for a in weights for b in weights]) / 4
    density = flow.log_likelihood((images[:, None] + offsets).reshape(-1, 2)).value.exp().reshape(3, 36)
    exact = -(density @ shares).log2() / 2
    found = dequantised_bits(flow, images.repeat_interleave(300, 0), levels=levels, rng=generator(), draws=4)
    one, four = found.single.reshape(3, 300).mean(1), found.bound.reshape(3, 300).mean(1)
    assert (one > exact).all()
    assert (four < one).all()
    assert (four > exact - 6 * found.bound.reshape(3, 300).std(1) / math.sqrt(300)).all()
    many = found.log_p.exp().reshape(4, 3, 300).permute(1, 0, 2).reshape(3, 1200)
    assert ((many.mean(1) - 2 ** (-2 * exact)).abs() < 6 * many.std(1) / math.sqrt(1200)).all()


def test_the_terms_add_up():
    """Prior and change of variables by hand from encoded images, −log2 Δ, and their sum is the bound of one draw."""
    model = network(3, num_classes=2)
    flow, levels = ModelFlow(model, Linear(), uniform(4, 0.0, 1.0)), Levels(9)
    x = torch.tensor([[-1.0, 0.25, 1.0], [0.5, 0.0, -0.75]], dtype=torch.float64)
    found = dequantised_bits(flow, x, torch.tensor([1, 0]), levels=levels, rng=generator(3))
    assert levels.width == 0.25
    noisy = x + 0.25 * (torch.rand(2, 3, generator=generator(3), dtype=torch.float64) - 0.5)
    moved = flow.encode(noisy, torch.tensor([1, 0])).x
    prior = -norm.logpdf(moved.numpy()).sum(1) / 3 / math.log(2)
    change = -(flow.log_likelihood(noisy, torch.tensor([1, 0])).value.numpy()) / 3 / math.log(2) - prior
    np.testing.assert_allclose(found.terms["prior"], prior, rtol=1e-9)
    np.testing.assert_allclose(found.terms["change of variables"], change, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.terms["bins"], 2.0)
    np.testing.assert_allclose(sum(found.terms.values()), found.single, rtol=1e-12)
    np.testing.assert_allclose(found.bound, found.single, rtol=1e-12)


def test_bits_do_not_depend_on_the_scale_of_the_pixels():
    """Levels −1 … 1 under N(m, c) and 10 … 30 under N(10m + 20, 100c) need the same bits, those of scipy."""
    mean, variance = [0.1, -0.2], 0.3
    near = ExactNetwork([Path(Linear(), Gaussian(mean, variance))], 2)
    far = ExactNetwork([Path(Linear(), Gaussian([10 * m + 20 for m in mean], 100 * variance))], 2)
    x = torch.tensor([[0.0, 0.5], [-1.0, 1.0]], dtype=torch.float64)
    grid = uniform(60, 0.0, 1.0)
    one = dequantised_bits(ModelFlow(near, Linear(), grid), x, 0, levels=Levels(5), rng=generator())
    many = dequantised_bits(
        ModelFlow(far, Linear(), grid), 10 * x + 20, 0, levels=Levels(5, 10.0, 30.0), rng=generator()
    )
    np.testing.assert_allclose(one.single, many.single, rtol=0, atol=1e-3)
    assert float((one.terms["bins"] - many.terms["bins"]).min()) == pytest.approx(math.log2(10))
    noisy = x + 0.5 * (torch.rand(2, 2, generator=generator(), dtype=torch.float64) - 0.5)
    law = norm(np.array(mean), math.sqrt(variance))
    np.testing.assert_allclose(one.single, 1 - law.logpdf(noisy.numpy()).mean(1) / math.log(2), rtol=0, atol=1e-5)


def test_levels_of_the_digits():
    """The pixels of the digits are levels 0 … 16 of scikit-learn; noise stays in the bin of each; Δ = 1/8."""
    from sklearn.datasets import load_digits as bundled

    images, levels = load_digits().held_out_images, Levels(17)
    assert levels.width == 0.125
    assert levels.interval == (-1.0625, 1.0625)
    whole = levels.whole(images)
    assert whole.dtype == torch.int64
    known = {tuple(row) for row in bundled().data.astype(int).tolist()}
    assert all(tuple(row) in known for row in whole.flatten(1).tolist())
    noisy = levels.dequantise(images, generator())
    assert noisy.dtype == images.dtype
    assert float((noisy - images).abs().max()) <= 0.0625 + 1e-6
    assert float((noisy - images).mean()) == pytest.approx(0, abs=6 * 0.125 / math.sqrt(12 * images.numel()))
    assert float((noisy - images).std()) == pytest.approx(0.125 / math.sqrt(12), rel=0.01)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda flow, x: dequantised_bits(flow, x + 0.1, levels=Levels(3), rng=generator()), "pixels among 3 values"),
        (lambda flow, x: dequantised_bits(flow, 2 * x, levels=Levels(3), rng=generator()), "others, from -2 to 2"),
        (
            lambda flow, x: dequantised_bits(flow, x, levels=Levels(3), rng=generator(), draws=0),
            "draws to be an integer",
        ),
        (
            lambda flow, x: dequantised_bits(
                flow, x, levels=Levels(3), rng=generator(), draws=2, probes=rademacher_probes(x, 2, generator())
            ),
            "an exact divergence with several draws",
        ),
        (lambda flow, x: Levels(1), "count to be an integer ≥ 2"),
        (lambda flow, x: Levels(5, 1.0, 1.0), "first < last"),
        (lambda flow, x: Levels(5, 1.0, math.inf), "first < last"),
    ],
)
def test_refusals(call, words):
    """Pixels that are no levels, draws that are no count, and probes with several draws are refused."""
    x = torch.tensor([[-1.0, 1.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match=r"expected .*; received .*; remedy: ") as error:
        call(ModelFlow(SiT.for_vectors(2, **SMALL), Linear(), uniform(2, 0.0, 1.0)), x)
    assert words in str(error.value)

"""Densities along a flow: closed forms, any shape, three libraries, gradients, and what is refused."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from solvers import ODE, RK4, SDE, uniform
from solvers.likelihood import divergence, hutchinson, log_likelihood

GRID = uniform(40, start=0.0, stop=1.0)


def turn(time, x):
    """A field with divergence Σ cos(x_i + t)."""
    return (torch if isinstance(x, torch.Tensor) else jnp).sin(x + time)


def standard(x):
    return -0.5 * (x * x).reshape(x.shape[0], -1).sum(1) - 0.5 * math.log(2 * math.pi) * math.prod(x.shape[1:])


@pytest.mark.parametrize("shape", [(3, 1), (2, 4), (2, 2, 3, 1)], ids=str)
def test_linear_flow_in_any_shape(shape):
    """x' = ax from N(0, e^{-2a}) to N(0, 1): the density is known, and the points go where they should."""
    x = torch.linspace(-1, 1, math.prod(shape), dtype=torch.float64).reshape(shape)
    found = log_likelihood(ODE(lambda time, x: 0.7 * x), x, GRID, RK4(), standard)
    moved = x * math.exp(0.7)
    torch.testing.assert_close(found.value, standard(moved) + 0.7 * math.prod(shape[1:]), rtol=1e-8, atol=0)
    torch.testing.assert_close(found.x, moved, rtol=1e-8, atol=0)
    assert found.nfe == 160


def test_there_and_back():
    """The density that the flow gives at its end leads back to the one at its start."""
    x = torch.tensor([[0.3, -1.0], [0.9, 0.2]], dtype=torch.float64)
    there = log_likelihood(ODE(turn), x, GRID, RK4(), standard)
    back = log_likelihood(ODE(turn), there.x, GRID[::-1].copy(), RK4(), lambda _: there.value)
    torch.testing.assert_close(back.value, standard(there.x), rtol=0, atol=1e-6)
    torch.testing.assert_close(back.x, x, rtol=0, atol=1e-6)


def test_divergence_in_torch_and_jax():
    """The derivative that each library takes is Σ cos(x + t)."""
    x = np.array([[0.3, -1.0, 0.2], [0.9, 0.2, 1.1]])
    exact = np.cos(x + 0.4).sum(1)
    np.testing.assert_allclose(divergence(turn)(0.4, torch.tensor(x)).numpy(), exact, rtol=1e-14)
    np.testing.assert_allclose(np.asarray(divergence(turn)(0.4, jnp.asarray(x, jnp.float32))), exact, rtol=1e-5)
    probe = np.sign(x[:1])
    np.testing.assert_allclose(hutchinson(turn, torch.tensor(probe))(0.4, torch.tensor(x)).numpy(), exact, rtol=1e-14)
    found = hutchinson(turn, jnp.asarray(probe, jnp.float32))(0.4, jnp.asarray(x, jnp.float32))
    assert isinstance(found, jax.Array)
    np.testing.assert_allclose(np.asarray(found), exact, rtol=1e-5)


def test_probes_of_each_point():
    """Probes of shape (m, B, …) belong to the points one by one."""
    matrix = torch.tensor([[0.0, 2.0], [1.0, 0.5]], dtype=torch.float64)
    x = torch.zeros(2, 2, dtype=torch.float64)
    probes = torch.tensor([[[1.0, 1.0], [1.0, -1.0]]], dtype=torch.float64)
    found = hutchinson(lambda time, x: x @ matrix.T, probes)(0.0, x)
    assert found.tolist() == [3.5, -2.5]


def test_gradients_reach_the_points():
    """∂ log p/∂x of the linear flow is −e^{2a}x."""
    x = torch.tensor([[0.3, -1.0]], dtype=torch.float64, requires_grad=True)
    log_likelihood(ODE(lambda time, x: 0.5 * x), x, GRID, RK4(), standard).value.sum().backward()
    torch.testing.assert_close(x.grad, -math.e * x.detach(), rtol=1e-7, atol=0)


def test_what_is_refused():
    decay = ODE(lambda time, x: -x)
    with pytest.raises(TypeError, match="expected an ODE; received SDE"):
        log_likelihood(SDE(lambda time, x: x, lambda time: 1.0), np.ones((1, 1)), GRID, RK4(), standard)
    with pytest.raises(ValueError, match=r"points of shape \(B, …\); received shape \(3,\)"):
        log_likelihood(decay, np.ones(3), GRID, RK4(), standard)
    with pytest.raises(TypeError, match=r"a library with derivatives.*trace=path\.divergence"):
        log_likelihood(decay, np.ones((2, 1)), GRID, RK4(), standard)
    given = log_likelihood(decay, np.ones((2, 1)), GRID, RK4(), standard, lambda time, x: -np.ones(len(x)))
    np.testing.assert_allclose(given.value, standard(np.full((2, 1), math.exp(-1))) - 1, rtol=1e-7)

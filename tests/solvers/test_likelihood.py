"""Densities along a flow: closed forms, any shape, three libraries, gradients, and what is refused."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from solvers import ODE, RK4, SDE, Adaptive, Dopri5, Event, NonFiniteError, Pole, PoleError, uniform
from solvers.likelihood import (
    divergence,
    hutch_plus_plus,
    hutchinson,
    log_likelihood,
    log_likelihood_of_samples,
    rademacher_probes,
)

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


def test_gradients_reach_the_parameters():
    """∂ log p/∂θ of x' = θx is d − x²e^{2θ}, first step included, though the points themselves need no gradient."""
    x = torch.tensor([[0.3, -1.0]], dtype=torch.float64)
    signs = torch.tensor([[1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    exact = 2 - (x * x).sum() * math.e
    for make in (divergence, lambda f: hutchinson(f, signs), lambda f: hutch_plus_plus(f, signs[:1], signs)):
        theta = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
        flow = ODE(lambda time, x: theta * x)  # noqa: B023 - solved before the next
        log_likelihood(flow, x, GRID, RK4(), standard, make(flow.drift)).value.sum().backward()
        torch.testing.assert_close(theta.grad, exact, rtol=1e-7, atol=0)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_no_graph_is_kept_where_none_is_wanted(mode):
    """Without parameters, or under no_grad and in inference mode with them, the result needs no gradient."""
    needs = mode is not torch.enable_grad
    scale = torch.ones(3, dtype=torch.float64, requires_grad=needs)
    with mode():
        x = torch.ones(2, 3, dtype=torch.float64)
        found = log_likelihood(ODE(lambda time, x: 0.7 * scale * x), x, GRID, RK4(), standard)
    assert not found.value.requires_grad
    assert found.value.grad_fn is None
    np.testing.assert_allclose(found.value, standard(x * math.exp(0.7)) + 2.1, rtol=1e-8)


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_a_drift_that_does_not_read_the_state(library):
    """A field of time alone has divergence 0, with or without parameters, one by one or at once."""
    x = torch.ones(2, 3) if library == "torch" else jnp.ones((2, 3))
    trained = torch.ones(3, requires_grad=True)
    for field in (lambda time, x: 0 * x.sum() + x * 0 + time, lambda time, x: time + 0 * _still(x)):
        assert divergence(field)(0.3, x).tolist() == [0.0, 0.0]
    if library == "torch":
        for together in (1, 2):
            found = divergence(lambda time, x: (time * trained).expand(2, 3), together)(0.3, x)
            assert found.tolist() == [0.0, 0.0]


def _still(x):
    """Return the state without its history."""
    return x.detach() if isinstance(x, torch.Tensor) else jax.lax.stop_gradient(x)


def test_samples_and_their_density():
    """From noise to samples the density is that of the way back, and the closed form of a linear flow."""
    x = torch.tensor([[0.3, -1.0], [0.9, 0.2]], dtype=torch.float64)
    falling = uniform(40)
    made = log_likelihood_of_samples(ODE(turn), x, falling, RK4(), standard)
    back = log_likelihood(ODE(turn), made.x, GRID, RK4(), standard)
    torch.testing.assert_close(made.value, back.value, rtol=0, atol=1e-6)
    torch.testing.assert_close(back.x, x, rtol=0, atol=1e-6)
    linear = log_likelihood_of_samples(ODE(lambda time, x: 0.7 * x), x, falling, RK4(), standard)
    torch.testing.assert_close(linear.value, standard(x) + 2 * 0.7, rtol=1e-8, atol=0)
    torch.testing.assert_close(linear.x, x * math.exp(-0.7), rtol=1e-8, atol=0)


def test_the_model_is_called_once_for_drift_and_divergence():
    """Whatever the number of probes, a trace of the problem's drift adds no call; one of another function does."""
    calls = []

    def model(time, x):
        calls.append(time)
        return turn(time, x)

    flow, x = ODE(model), torch.zeros(2, 3, dtype=torch.float64)
    probes = rademacher_probes(x, 5, torch.Generator())
    for trace in (None, divergence(model), hutchinson(model, probes), hutch_plus_plus(model, probes[:2], probes)):
        calls.clear()
        assert log_likelihood(flow, x, uniform(3), RK4(), standard, trace).nfe == len(calls) == 12
    apart = log_likelihood(flow, x, uniform(3), RK4(), standard, divergence(turn))
    together = log_likelihood(flow, x, uniform(3), RK4(), standard)
    torch.testing.assert_close(apart.value, together.value, rtol=1e-13, atol=0)


def test_each_sample_with_its_own_steps():
    """Samples that leave the batch when they have finished keep their densities, exact and with shared probes."""
    x = torch.tensor([[0.3, -1.0], [2.9, 0.2], [0.0, 0.0]], dtype=torch.float64)
    settings = Adaptive(Dopri5(), rtol=1e-9, atol=1e-9, per_sample=True)
    flow = ODE(lambda time, x: torch.sin(3 * x + time[:, None] if torch.is_tensor(time) else 3 * x + time))
    exact = log_likelihood(flow, x, [0.0, 1.0], settings, standard)
    fixed = log_likelihood(flow, x, uniform(400, 0.0, 1.0), RK4(), standard)
    torch.testing.assert_close(exact.value, fixed.value, rtol=0, atol=1e-7)
    probes = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    shared = log_likelihood(flow, x, [0.0, 1.0], settings, standard, hutchinson(flow.drift, probes))
    torch.testing.assert_close(shared.value, fixed.value, rtol=0, atol=1e-7)
    own = hutchinson(flow.drift, rademacher_probes(x, 2, torch.Generator()))
    with pytest.raises(ValueError, match="shared=True"):
        log_likelihood(flow, x, [0.0, 1.0], settings, standard, own)


def test_a_solve_that_ends_early_has_no_density():
    """A state short of the prior's time is refused, whether a limit or an event stopped it."""
    x = torch.ones(2, 1, dtype=torch.float64)
    event = Event(lambda time, state: time - 0.5)
    for settings in (Adaptive(Dopri5(), max_steps=1, first_step=1e-3), Adaptive(Dopri5(), events=(event,))):
        with pytest.raises(ValueError, match=r"reaches the last time.*received the status '(max-steps|event)'"):
            log_likelihood(ODE(turn), x, [0.0, 1.0], settings, standard)


def test_what_a_solve_refuses():
    """Poles and domains of the problem hold for its likelihood, before the first call; NaN is named."""
    calls, x = [], torch.ones(2, 1, dtype=torch.float64)

    def model(time, x):
        calls.append(time)
        return x * (math.nan if time > 0.5 else 1.0)

    for problem, kind, words in (
        (ODE(model, poles=(Pole(0.0, "1/t diverges"),)), PoleError, "a pole at time 0.0"),
        (ODE(model, domain=(0.1, 1.0)), ValueError, "a grid that starts at 0.0"),
    ):
        with pytest.raises(kind, match=words):
            log_likelihood(problem, x, GRID, RK4(), standard)
    assert calls == []
    with pytest.raises(NonFiniteError, match="NaN or infinity between step 1"):
        log_likelihood(ODE(model), x, GRID, RK4(), standard)


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

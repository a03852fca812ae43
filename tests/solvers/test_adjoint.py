"""The continuous adjoint: its derivatives against closed forms, and where they are not those of the discrete map."""

import math

import numpy as np
import pytest
import torch
from living_tensors import Living
from refusals import PARTS
from solver_methods import name

from solvers import (
    DDIM,
    ODE,
    RK4,
    SDE,
    AdamsBashforth,
    Adaptive,
    Dopri5,
    Euler,
    EulerMaruyama,
    Heun,
    Pole,
    PoleError,
    solve,
    uniform,
)
from solvers.gradients import adjoint, checkpointed

RISING = [16, 32, 64, 128, 256]


def tensors(*values):
    return tuple(torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in values)


def logistic(theta):
    """x' = θ cos(t) x (1 − x): separable, with u = log(x/(1 − x)) moving by θ sin t."""
    return ODE(lambda time, x: theta * math.cos(time) * x * (1.0 - x))


def logistic_slopes(x, theta):
    """Return dX(1)/dx and dX(1)/dθ: X = s(u + θ sin 1), so dX/du = X(1 − X)."""
    end = 1.0 / (1.0 + (1.0 - x) / x * math.exp(-theta * math.sin(1.0)))
    return np.array([end * (1.0 - end) / (x * (1.0 - x)), end * (1.0 - end) * math.sin(1.0)])


def slopes(run, n, method):
    x, theta = tensors(0.3, 1.4)
    named = [(theta,)] if run is adjoint else []
    end = run(logistic(theta), x, uniform(n, 0.0, 1.0), method, *named).x
    return np.array([float(slope) for slope in torch.autograd.grad(end, (x, theta))])


@pytest.mark.parametrize("method", [Euler(), Heun(), AdamsBashforth(3), RK4()], ids=name)
def test_it_converges_with_the_order_of_the_method(method):
    """The error of both derivatives falls like h^p, over four halvings, against the closed form."""
    exact = logistic_slopes(0.3, 1.4)
    counts = RISING if method.order > 1 else [4 * n for n in RISING]
    errors = [np.abs(slopes(adjoint, n, method) - exact).max() for n in counts]
    assert abs(-np.polyfit(np.log(counts), np.log(errors), 1)[0] - method.order) < 0.1


@pytest.mark.parametrize("method", [Euler(), Heun()], ids=name)
def test_it_is_not_the_derivative_of_the_numbers_returned(method):
    """Differences of the solve itself agree with the plain derivative; the adjoint is off, by less and less: h^p."""

    def end(x):
        return float(solve(logistic(1.4), np.array(x), uniform(8, 0.0, 1.0), method).x)

    by_differences = (end(0.3 + 1e-5) - end(0.3 - 1e-5)) / 2e-5
    assert abs(slopes(solve, 8, method)[0] - by_differences) < 1e-9
    assert abs(slopes(adjoint, 8, method)[0] - by_differences) > 1e-5
    counts = [n * 4 // method.order**2 for n in RISING]
    gaps = [np.abs(slopes(adjoint, n, method) - slopes(solve, n, method)).max() for n in counts]
    # Heun's step forward and its step back cancel each other's leading error: one order more.
    assert -np.polyfit(np.log(counts), np.log(gaps), 1)[0] > method.order - 0.1


def test_it_fails_where_the_flow_contracts():
    """x' = 40(1 − x) forgets its start, and q' = θx² needs it: the adjoint is wrong on every grid, solve is right."""
    exact = 1.0 + 4.0 / 40.0 + 4.0 / 80.0  # ∫(1 + 2 e^{−40 t})² dt but for e^{−40}
    for n in (100, 200):
        for run, right in ((solve, True), (checkpointed, True), (adjoint, False)):
            (theta,) = tensors(1.0)
            x = {"x": torch.full((), 3.0, dtype=torch.float64), "q": torch.zeros((), dtype=torch.float64)}
            field = lambda time, s: {"x": 40.0 * (1.0 - s["x"]), "q": theta * s["x"] ** 2}  # noqa: E731, B023
            named = [(theta,)] if run is adjoint else []
            end = run(ODE(field), x, uniform(n, 0.0, 1.0), RK4(), *named).x["q"]
            (slope,) = torch.autograd.grad(end, theta)
            assert (abs(float(slope) - exact) < 1e-3) is right


@pytest.mark.parametrize("method", [RK4(), AdamsBashforth(4), Adaptive(Dopri5(), rtol=1e-9, atol=1e-9)], ids=name)
def test_the_solution_is_that_of_solve(method):
    """Forward nothing differs, to the last bit."""
    x, theta = tensors([0.3, 0.6], 1.4)
    plain = solve(logistic(theta), x, uniform(9), method)
    found = adjoint(logistic(theta), x, uniform(9), method, (theta,))
    assert torch.equal(found.x, plain.x)
    assert (found.nfe, found.status, found.ts.tolist()) == (plain.nfe, plain.status, plain.ts.tolist())


def test_the_way_back_may_have_another_method():
    """Forward evaluates as the method does, backward as the other one does."""
    calls = []
    x = torch.ones(2, requires_grad=True)
    end = adjoint(ODE(lambda time, x: calls.append(time) or torch.sin(x)), x, uniform(5), Heun(), backward=RK4()).x
    assert len(calls) == 10
    end.sum().backward()
    assert len(calls) == 10 + 20
    assert calls[10:12] == [0.0, 0.1]


def test_memory_does_not_grow():
    """The peak over forward and backward is the same for 16 and for 128 steps."""
    peaks = []
    for n in (16, 128):
        x = torch.ones(1000, dtype=torch.float64, requires_grad=True)
        with Living() as living:
            adjoint(ODE(lambda time, x: torch.tanh(torch.sin(x) * x + time)), x, uniform(n), Heun()).x.sum().backward()
        peaks.append(living.peak)
    assert peaks[0] == peaks[1]


@pytest.mark.parametrize("style", ["list", "generator", "function"])
def test_the_parameters_of_a_module(style):
    """All parameters of a network have the derivatives of the plain solve, on a grid so fine that both agree."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).double()
    network.register_parameter("idle", torch.nn.Parameter(torch.ones(3, dtype=torch.float64)))
    names, weights = zip(*network.named_parameters())
    x = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(3, 2).requires_grad_()
    ode = ODE(lambda time, x: network(x) * math.cos(time))

    def made(parameters):
        return ODE(lambda time, x: torch.func.functional_call(network, parameters, (x,)) * math.cos(time))

    parameters = {"list": list(weights), "generator": network.parameters(), "function": dict(zip(names, weights))}[
        style
    ]
    settings = Adaptive(Dopri5(), rtol=1e-10, atol=1e-12)
    found = adjoint(made if style == "function" else ode, x, uniform(20), RK4(), parameters, backward=settings).x
    expected = solve(ode, x, uniform(20), RK4()).x
    grads = [torch.autograd.grad((end**2).sum(), (x, *weights), allow_unused=True) for end in (found, expected)]
    for slope, wanted in zip(*grads):
        torch.testing.assert_close(slope, torch.zeros(3).double() if wanted is None else wanted, rtol=0, atol=1e-6)
    assert any(bool((slope.abs() > 0.1).any()) for slope in grads[0])


def test_frozen_parameters_and_tensors_made_of_others():
    """A parameter without requires_grad is passed over; one that is itself computed passes its derivative on."""
    x, base = tensors(0.3, 0.7)
    theta, frozen = 2.0 * base, torch.ones((), dtype=torch.float64)
    field = ODE(lambda time, x: theta * frozen * math.cos(time) * x * (1.0 - x))
    end = adjoint(field, x, uniform(64, 0.0, 1.0), RK4(), (theta, frozen)).x
    by_x, by_base = (float(slope) for slope in torch.autograd.grad(end, (x, base)))
    np.testing.assert_allclose([by_x, by_base / 2.0], logistic_slopes(0.3, 1.4), rtol=0, atol=1e-8)


def test_trees():
    """A tree has the derivatives of each leaf: position and speed of an oscillator, at a quarter of its period."""
    x = dict(zip("ps", tensors([1.0], [0.5])))
    ode = ODE(lambda time, x: {"p": x["s"], "s": -x["p"]})
    end = adjoint(ode, x, uniform(100, 0.0, math.pi / 2), RK4()).x
    assert set(end) == {"p", "s"}
    found = [float(slope) for slope in torch.autograd.grad(end["p"].sum(), (x["p"], x["s"]))]
    np.testing.assert_allclose(found, [0.0, 1.0], rtol=0, atol=1e-8)


def test_a_drift_without_derivatives():
    """A drift that does not depend on the state leaves the adjoint as it is."""
    x = torch.ones(2, requires_grad=True)
    end = adjoint(ODE(lambda time, x: torch.full((2,), 3.0)), x, uniform(4), Heun()).x
    assert torch.autograd.grad(end.sum(), x)[0].tolist() == [1.0, 1.0]


def test_second_derivatives_are_refused():
    """A derivative of the adjoint would be wrong without a word: torch says that it is not to be had."""
    x, theta = tensors(0.3, 1.4)
    end = adjoint(logistic(theta), x, uniform(4), RK4(), (theta,)).x
    for loss, words in ((end**2, "once_differentiable"), (end, "does not require grad")):
        (slope,) = torch.autograd.grad(loss, x, create_graph=True)
        with pytest.raises(RuntimeError, match=words):
            slope.backward()


def test_a_parameter_that_changes_in_between_is_noticed():
    """The way back would be that of another field."""
    x, theta = tensors(0.3, 1.4)
    end = adjoint(logistic(theta), x, uniform(4), RK4(), (theta,)).x
    with torch.no_grad():
        theta += 1.0
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        end.backward()


THETA = torch.ones((), requires_grad=True)
HIDDEN = ODE(lambda time, x: THETA * x)
STILL = ODE(lambda time, x: pytest.fail("called"))


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (
            (HIDDEN, torch.ones(2), uniform(2), Heun()),
            TypeError,
            r"another one, of shape \(\), that would get no deriv",
        ),
        ((HIDDEN, torch.ones(2), uniform(2), Heun(), THETA), TypeError, r"received one Tensor; remedy: .*\(tensor,\)"),
        ((HIDDEN, torch.ones(2), uniform(2), Heun(), (1.0,)), TypeError, "parameters: tensors; received float"),
        ((STILL, np.ones(2), uniform(2), Heun()), TypeError, "received numpy arrays, which have no derivatives"),
        (
            (SDE(lambda time, x: x, lambda time: 1.0), torch.ones(2), uniform(2), EulerMaruyama()),
            TypeError,
            "an ODE; rec",
        ),
        ((lambda parameters: 1.0, torch.ones(2), uniform(2), Heun()), TypeError, "an ODE; received float"),
        ((STILL, torch.ones(2), uniform(2), DDIM()), TypeError, "a Denoising for DDIM; received an ODE"),
        ((STILL, [torch.ones(2), 1.0], uniform(2), Heun()), TypeError, r"x\[1\]: an array"),
    ],
)
def test_what_has_no_adjoint(arguments, kind, words):
    """Tensors that nobody named, parameters that are none, and problems without an adjoint are refused."""
    with pytest.raises(kind, match=words) as error:
        adjoint(*arguments)
    assert all(part in str(error.value) for part in PARTS)


@pytest.mark.parametrize("backward", [None, Adaptive(Dopri5())], ids=["fixed", "adaptive"])
def test_a_pole_on_the_way_back(backward):
    """Euler may end at a pole, but not start there: refused before the first evaluation forward."""
    problem = ODE(STILL.drift, poles=(Pole(0.0, "1/t diverges"),))
    with pytest.raises(PoleError, match=r"1/t diverges"):
        adjoint(problem, torch.ones(2), uniform(4), Euler(), backward=backward)


def test_jax_parameters():
    """With jax, parameters in a dict have the derivatives of the closed form, under jit as well."""
    jax = pytest.importorskip("jax")

    def make(parameters):
        return logistic(parameters["theta"])

    def end(x, theta):
        return adjoint(make, x, uniform(4, 0.0, 1.0), RK4(), {"theta": theta}).x

    x, theta = jax.numpy.float32(0.3) * jax.numpy.ones(()), jax.numpy.float32(1.4) * jax.numpy.ones(())
    for slope in (jax.grad(end, (0, 1)), jax.jit(jax.grad(end, (0, 1)))):
        np.testing.assert_allclose(slope(x, theta), logistic_slopes(0.3, 1.4), rtol=0, atol=2e-4)
    assert adjoint(make, x, uniform(8), RK4(), {"theta": theta}).nfe == 32


@pytest.mark.slow
def test_jax_without_parameters():
    """A tree of jax arrays has the derivatives of each leaf, without parameters, outside jit."""
    jax = pytest.importorskip("jax")
    ode = ODE(lambda time, x: {"p": x["s"], "s": -x["p"]})
    x = {"p": jax.numpy.ones(1), "s": jax.numpy.ones(1)}
    slope = jax.grad(lambda x: adjoint(ode, x, uniform(4, 0.0, math.pi / 2), RK4()).x["p"].sum())(x)
    np.testing.assert_allclose([slope["p"][0], slope["s"][0]], [0.0, 1.0], rtol=0, atol=1e-3)


def test_jax_says_where_parameters_are_missing():
    """An ODE that holds its parameters cannot name them to jax; one that hides them is found by jax itself."""
    jax = pytest.importorskip("jax")
    x = jax.numpy.ones(2)
    with pytest.raises(TypeError, match="a function of the parameters that returns the ODE, for jax; received an ODE"):
        adjoint(ODE(lambda time, x: -x), x, uniform(2), Heun(), (x,))
    hidden = lambda theta: adjoint(logistic(theta), x, uniform(2), Heun()).x.sum()  # noqa: E731
    with pytest.raises(Exception, match="tracer"):
        jax.grad(hidden)(1.0)

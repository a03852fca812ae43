"""Every refusal says what was expected, what was received and what to do, and comes before it costs anything."""

import math

import numpy as np
import pytest
import torch
from refusals import PARTS, Recorder, refused
from solver_methods import METHODS, name

from solvers import (
    DDIM,
    ODE,
    SDE,
    Denoising,
    Euler,
    EulerMaruyama,
    Heun,
    Midpoint,
    Pole,
    PoleError,
    StochasticHeun,
    solve,
    steps,
    uniform,
)


@pytest.mark.parametrize(
    ("build", "kind", "words"),
    [
        (lambda: ODE(3.0), TypeError, "drift: a callable"),
        (lambda: SDE(None, lambda time: 1.0), TypeError, "drift: a callable"),
        (lambda: SDE(lambda time, x: x, 1.0), TypeError, "diffusion: a callable"),
        (lambda: ODE(lambda time, x: x, poles=(0.0,)), TypeError, "poles: a tuple of Pole"),
        (lambda: ODE(lambda time, x: x, poles=Pole(0.0, "x")), TypeError, "with the comma"),
        (lambda: ODE(lambda time, x: x, domain=1.0), TypeError, "domain: two times"),
        (lambda: ODE(lambda time, x: x, domain=(1.0, 0.0)), ValueError, "put the lower time first"),
        (lambda: Pole("0", "diverges"), TypeError, "time of the pole"),
        (lambda: Pole(math.nan, "diverges"), TypeError, "time of the pole"),
        (lambda: Pole(0.0, None), TypeError, "reason of the pole"),
    ],
)
def test_problems_are_checked_when_built(build, kind, words):
    """A part of the wrong kind is refused by the constructor, in three parts."""
    with pytest.raises(kind, match=words) as error:
        build()
    assert all(part in str(error.value) for part in PARTS)


def test_problems_are_frozen():
    """A problem cannot be changed after its checks."""
    with pytest.raises(AttributeError):
        ODE(lambda time, x: x).domain = (0.0, 1.0)


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_a_method_for_another_kind_of_problem(method):
    """Each method refuses the other kind of problem before the first call, naming both and what to choose."""
    field = Recorder()
    problem = ODE(field) if method.stochastic else SDE(field, lambda time: 1.0)
    remedy = "methods? for ODEs, such as Heun" if method.stochastic else "method for SDEs, such as EulerMaruyama"
    refused(TypeError, remedy, problem, np.ones(2), uniform(2), method, rng=np.random.default_rng(0))
    assert field.calls == []


def test_what_is_not_a_method_or_a_problem():
    """A class for an instance, swapped arguments and a bare function are told apart."""
    ode = ODE(Recorder())
    refused(TypeError, r"the class Heun; remedy: write Heun\(\)", ode, np.ones(2), uniform(2), Heun)
    refused(TypeError, "the order is solve", ode, np.ones(2), Heun(), uniform(2))
    refused(TypeError, r"wrap the function: ODE\(drift\)", ode.drift, np.ones(2), uniform(2), Heun())


@pytest.mark.parametrize(
    "x",
    [np.arange(3), torch.arange(3), np.ones(2, dtype=complex), torch.ones(2, dtype=torch.complex64), [1.0], 1.0, None],
    ids=["int-numpy", "int-torch", "complex-numpy", "complex-torch", "list", "float", "none"],
)
def test_states_are_real_floating_arrays(x):
    """Anything else is a TypeError before the first call."""
    field = Recorder()
    refused(TypeError, r"x(\[0\])?: an array of numpy, torch or jax with a real", ODE(field), x, uniform(2), Euler())
    assert field.calls == []


def test_a_misspelt_argument_is_an_error():
    """There is no **kwargs to swallow it."""
    with pytest.raises(TypeError, match="sav"):
        solve(ODE(Recorder()), np.ones(2), uniform(2), Euler(), sav=True)


@pytest.mark.parametrize(("ts", "end"), [([1.5, 0.5], "starts at 1.5"), ([0.5, -0.25], "ends at -0.25")])
def test_a_grid_stays_inside_the_domain(ts, end):
    """A grid that leaves the domain is refused before the first call, naming the domain and the end at fault."""
    field = Recorder()
    error = refused(ValueError, end, ODE(field, domain=(0.0, 1.0)), np.ones(2), ts, Euler())
    assert "[0.0, 1.0]" in str(error)
    assert field.calls == []


@pytest.mark.parametrize(
    ("method", "ts", "pole", "words"),
    [
        (Euler(), [1.0, 0.5, 0.0], 1.0, "in step 1; remedy: start the grid below 1.0"),
        (Euler(), [0.0, 0.5, 1.0], 0.0, "in step 1; remedy: start the grid above 0.0"),
        (Heun(), [1.0, 0.5, 0.0], 0.0, "Heun evaluates in step 2; remedy: end the grid above 0.0 .* does not evaluate"),
        (Heun(), [0.0, 0.5, 1.0], 1.0, "end the grid below 1.0"),
        (Euler(), [1.0, 0.5, 0.0], 0.5, "in step 2; remedy: .*one side of 0.5"),
        (Midpoint(), [1.0, 0.5, 0.0], 0.25, "Midpoint evaluates in step 2; remedy: .*one side of 0.25"),
    ],
)
def test_poles_are_refused_before_the_first_call(method, ts, pole, words):
    """A pole where the method would evaluate is a PoleError with its reason and the end of the grid to move."""
    field = Recorder()
    problem = ODE(field, poles=(Pole(pole, "1/t diverges"),))
    error = refused(PoleError, words, problem, np.ones(2), ts, method)
    assert "1/t diverges" in str(error)
    assert isinstance(error, ValueError)
    assert field.calls == []


def test_a_pole_at_the_end_is_seen_through_rounding():
    """A last time that t0 + (t1 − t0) would miss by a rounding is still the time at which Heun evaluates."""
    t0, t1 = 1.0, 0.1
    assert t0 + (t1 - t0) != t1
    refused(PoleError, "a pole at time 0.1", ODE(Recorder(), poles=(Pole(t1, "x"),)), np.ones(2), [t0, t1], Heun())


def test_the_remedy_of_a_pole_comes_first():
    """A pole that brings a remedy has it printed before the grid's."""
    problem = ODE(Recorder(), poles=(Pole(1.0, "the score is 0/0", "predict the noise"),))
    refused(
        PoleError, "remedy: predict the noise; or start the grid below 1.0", problem, np.ones(2), uniform(2), Euler()
    )


def test_poles_count_for_the_diffusion():
    """A stochastic method that asks for the coefficient at the end of a step does not step onto a pole."""
    problem = SDE(Recorder(), lambda time: 1.0 / time, poles=(Pole(0.0, "w diverges"),))
    rng = np.random.default_rng(0)
    refused(PoleError, "StochasticHeun evaluates in step 4", problem, np.ones(2), uniform(4), StochasticHeun(), rng=rng)
    assert solve(problem, np.ones(2), uniform(4), EulerMaruyama(), rng=rng).status == "success"


@pytest.mark.parametrize("method", [Euler(), Midpoint()], ids=name)
def test_a_pole_where_nobody_evaluates_is_no_obstacle(method):
    """A method that never evaluates at the last time may go to a pole there, and starts beside one elsewhere."""
    problem = ODE(Recorder(lambda time, x: -x / time), poles=(Pole(0.0, "1/t diverges"), Pole(2.0, "far away")))
    assert solve(problem, np.ones(2), uniform(5), method).status == "success"


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (lambda time, x: x[:, 0], ValueError, r"shape \(3, 2\); received .* shape \(3,\)"),
        (lambda time, x: x[:, :1], ValueError, r"received .* shape \(3, 1\)"),
        (lambda time, x: x[None], ValueError, r"received .* shape \(1, 3, 2\)"),
        (lambda time, x: x.double(), TypeError, "dtype torch.float32 .* received Tensor of dtype torch.float64"),
        (lambda time, x: x.numpy(), TypeError, "received ndarray of dtype float32"),
        (lambda time, x: 0.0, TypeError, "received float 0.0"),
        (lambda time, x: None, TypeError, "received NoneType None"),
    ],
    ids=["flat", "column", "row", "dtype", "library", "number", "nothing"],
)
@pytest.mark.parametrize("method", [Euler(), EulerMaruyama()], ids=name)
def test_answers_are_like_the_state(method, answer, kind, words):
    """A field that answers in another shape, dtype or library is refused at its first answer."""
    field = Recorder(answer)
    problem = SDE(field, lambda time: 1.0) if method.stochastic else ODE(field)
    refused(kind, words, problem, torch.ones(3, 2), uniform(5), method, rng=torch.Generator())
    assert len(field.calls) == 1


def test_the_second_node_is_looked_at_too():
    """A wrong answer at the end of the first step is found as one at its start is."""
    field = Recorder(lambda time, x: x if time == 1.0 else x.astype(np.float64))
    refused(TypeError, "dtype float32 .* at time 0.5", ODE(field), np.ones(2, np.float32), uniform(2), Heun())


def test_a_promotion_in_a_later_step_is_found_at_the_end():
    """A field that changes its dtype after the first step does not return a promoted state."""
    field = Recorder(lambda time, x: x if time > 0.5 else x.astype(np.float64))
    words = "at every time: dtype float32 .* last state .* float64"
    refused(TypeError, words, ODE(field), np.ones(2, np.float32), uniform(4), Euler())


def test_a_shape_that_grows_in_a_later_step_is_found_at_the_end():
    """A field that broadcasts after the first step does not return a state of another shape."""
    field = Recorder(lambda time, x: x if time > 0.5 else x[None])
    refused(
        TypeError, r"shape \(2,\); received a last state .* shape \(1, ", ODE(field), np.ones(2), uniform(2), Euler()
    )


def test_a_data_prediction_is_like_the_state_too():
    """A denoising problem's answer of another shape is refused at the first call, by the name it has there."""
    field = Recorder(lambda time, x: x[:, :1])
    linear = {"alpha": lambda time: 1.0 - time, "sigma": lambda time: time, "clock": lambda t, s: 0.0}
    problem = Denoising(field, log_snr=abs, time_of_log_snr=abs, **linear)
    refused(ValueError, r"data\(time, x\) like x: .* shape \(3, 1\)", problem, np.ones((3, 2)), uniform(4), DDIM())
    assert len(field.calls) == 1


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (-1.0, ValueError, "at least 0, at time 0.5; received -1.0"),
        (math.nan, ValueError, "at time 0.5; received nan"),
        (math.inf, ValueError, "at time 0.5; received inf"),
        (np.float32(-2.0), ValueError, "at time 0.5; received -2.0"),
        (torch.tensor(1.0), TypeError, "a float on the host, at time 0.5; received Tensor"),
        (None, TypeError, "a float on the host, at time 0.5; received NoneType"),
    ],
)
def test_the_diffusion_is_a_number_that_has_a_root(value, kind, words):
    """A coefficient that is negative, not finite or not on the host is refused, naming the time."""
    problem = SDE(Recorder(), lambda time: 1.0 if time > 0.5 else value)
    refused(kind, words, problem, np.ones(2), uniform(2), EulerMaruyama(), rng=np.random.default_rng(0))


def test_steps_checks_its_arguments_at_once():
    """The generator refuses when it is made, not when it is first asked."""
    with pytest.raises(ValueError, match="strictly"):
        steps(ODE(Recorder()), np.ones(2), [1.0, 1.0], Euler())


@pytest.mark.parametrize("sent", [np.ones(3), np.ones(2, np.float32), 5.0, torch.ones(2)])
def test_a_state_that_does_not_fit_cannot_be_sent(sent):
    """A replacement of another shape, dtype or library is refused."""
    run = steps(ODE(Recorder()), np.ones(2), uniform(3), Euler())
    next(run)
    with pytest.raises(TypeError, match=r"from send\(\); remedy") as error:
        run.send(sent)
    assert all(part in str(error.value) for part in PARTS)

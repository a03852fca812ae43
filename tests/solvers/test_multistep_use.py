"""Multistep and exponential methods in use: evaluations, both ends, gradients, libraries and refusals."""

import math

import numpy as np
import pytest
import torch
from refusals import PARTS
from solver_methods import EXPONENTIAL, PRECONDITIONED, name

from interpolants import (
    GVP,
    VP,
    Data,
    Gaussian,
    GaussianMixture,
    Linear,
    Noise,
    Path,
    Velocity,
    VPrediction,
    denoising,
    sampler_law,
)
from solvers import (
    DDIM,
    DEIS,
    ODE,
    RES,
    AdamsBashforth,
    Ancestral,
    Denoising,
    DPMSolver,
    DPMSolverPP,
    EDMHeun,
    Euler,
    PoleError,
    Preconditioned,
    UniPC,
    solve,
    steps,
    uniform,
)

TS = [0.8, 0.7, 0.55, 0.35]


def problem(data, **parts):
    """Return a problem of the path (1 − t, t)."""
    pieces = {"alpha": lambda t: 1.0 - t, "sigma": lambda t: t, "clock": lambda t, s: 0.0}
    pieces |= {"log_snr": lambda t: 2 * math.log(1 / t - 1), "time_of_log_snr": lambda L: 1 / (1 + math.exp(L / 2))}
    return Denoising(data, **(pieces | parts))


def documented(method, n):
    """Return the evaluations of n ≥ 5 steps from α = 0 to σ = 0 as the docstrings have them."""
    if isinstance(method, Preconditioned):
        return documented(method.method, n)
    if getattr(method, "variant", None) == "singlestep" or isinstance(method, EDMHeun):
        return method.order * (n - 1) + 1
    return n + min(method.order, 3) - 1


@pytest.mark.parametrize("method", EXPONENTIAL, ids=name)
def test_evaluations_are_those_documented(method):
    """From α = 0 to σ = 0 the counted evaluations are those that the docstring promises, starts included."""
    made = problem(lambda t, x: np.sin(3 * t + x))
    for n in (5, 11):
        assert solve(made, np.ones(2), uniform(n), method).nfe == documented(method, n)


@pytest.mark.covering(2)
@pytest.mark.parametrize("schedule", [Linear(), GVP(), VP()], ids=["linear", "gvp", "vp"])
@pytest.mark.parametrize("method", EXPONENTIAL, ids=name)
def test_from_noise_to_data(method, schedule):
    """From t = 1 to t = 0 exactly, one step and many: finite, and the exact law comes nearer to the target's."""
    path = Path(schedule, Gaussian([0.5, -1.0, 0.2], [0.1, 0.5, 1.5]))
    gaps = [sampler_law(path, method, uniform(n)).wasserstein2() for n in (1, 16, 128)]
    assert gaps[2] < 0.4 * gaps[1] < 0.4 * gaps[0] + 1e-12
    assert gaps[2] < 0.03


@pytest.mark.covering(5)
@pytest.mark.parametrize("prediction", [Velocity, Noise, Data, VPrediction], ids=str)
@pytest.mark.parametrize("method", [m for m in EXPONENTIAL if m.order > 1], ids=name)
def test_every_prediction_gives_the_same(method, prediction):
    """A model of the velocity, the noise, the data or v samples alike, down to t = 0."""
    path, x = Path(GVP(), GaussianMixture([0.4, 0.6], [[-1.0], [1.2]], [0.6, 0.8])), np.linspace(-2, 2, 5)[:, None]
    model = lambda time, x: path.predict(prediction, time, x)  # noqa: E731
    ts = uniform(6, 0.9, 0.0)
    found = solve(denoising(path.schedule, model, prediction), x, ts, method).x
    expected = solve(denoising(path.schedule, lambda time, x: path.predict(Data, time, x), Data), x, ts, method).x
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("method", EXPONENTIAL, ids=name)
def test_a_noise_model_is_refused_where_there_is_no_signal(method):
    """x̂ of a noise model is infinite at t = 1: a PoleError before the first call."""
    made = denoising(Linear(), lambda time, x: pytest.fail("called"), Noise)
    with pytest.raises(PoleError, match="evaluates in step 1"):
        solve(made, np.ones(2), uniform(4), method)


def test_a_state_sent_is_kept_by_the_corrector():
    """A state that replaces the one reached is corrected by the same increment, not overwritten."""
    made = problem(lambda t, x: np.full_like(x, math.sin(5 * t)))
    ends = []
    for shift in (0.0, 1.0):
        for step in (run := steps(made, np.zeros(1), TS, UniPC(3))):
            if step.index == 2:
                run.send(step.x + shift)
            end = step.x[0]
        ends.append(end)
    assert abs(ends[1] - ends[0] - TS[3] / TS[2]) < 1e-14


@pytest.mark.parametrize(
    "method", [DPMSolver(3), DPMSolverPP(3), UniPC(4), DEIS(3), EDMHeun(), RES(), PRECONDITIONED[1]], ids=name
)
def test_gradients_are_those_of_differences(method):
    """Torch's gradcheck passes through every kind of method, to the start and to a parameter of the model."""
    x, scale = torch.tensor([0.3, -1.0], dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64)

    def end(x, scale):
        return solve(problem(lambda t, y: torch.tanh(scale * y + t)), x, uniform(5), method).x

    assert torch.autograd.gradcheck(end, (x.requires_grad_(), scale.requires_grad_()))


@pytest.mark.parametrize("method", [DPMSolverPP(3), UniPC(3), DEIS(2), EDMHeun()], ids=name)
def test_exponential_methods_on_jax(method):
    """Jax arrays in, jax arrays out, with numpy's numbers to the rounding of float32."""
    jax = pytest.importorskip("jax")
    x = np.linspace(-1, 1, 4, dtype=np.float32)
    found = solve(problem(lambda t, y: jax.numpy.tanh(y + t)), jax.numpy.asarray(x), uniform(6), method).x
    expected = solve(problem(lambda t, y: np.tanh(y + np.float32(t))), x, uniform(6), method).x
    assert isinstance(found, jax.Array)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("build", "kind", "words"),
    [
        (lambda: DPMSolverPP(4), ValueError, "order: one of 1, 2, 3 for DPMSolverPP; received 4"),
        (lambda: DPMSolver(2.0), TypeError, "order: one of 1, 2, 3 for DPMSolver; received float 2.0"),
        (lambda: DPMSolver(True), TypeError, "received bool True"),
        (lambda: DPMSolverPP(2, "single"), ValueError, 'variant: "multistep" or "singlestep"; received \'single\''),
        (lambda: RES(3), ValueError, "order: one of 2 for RES"),
        (lambda: DEIS(0), ValueError, "one of 1, 2, 3 for DEIS; received 0"),
        (lambda: UniPC(1), ValueError, "one of 2, 3, 4 for UniPC with the corrector; received 1"),
        (lambda: UniPC(4, corrector=False), ValueError, "one of 1, 2, 3 for UniPC without the corrector; received 4"),
        (lambda: AdamsBashforth(5), ValueError, "one of 1, 2, 3, 4 for AdamsBashforth; received 5"),
        (lambda: Preconditioned(Euler()), TypeError, "a deterministic one for denoising problems; received Euler"),
        (lambda: Preconditioned(Ancestral()), TypeError, "received Ancestral"),
        (lambda: Preconditioned(EDMHeun()), ValueError, "does not evaluate at the end of a step; received EDMHeun"),
        (lambda: Preconditioned(DDIM(), 0.0, -1.0), ValueError, "variance: a number, at least 0; received -1.0"),
    ],
)
def test_arguments_that_are_refused(build, kind, words):
    """Orders, variants, inner methods and variances that do not exist are refused in three parts."""
    with pytest.raises(kind, match=words) as error:
        build()
    assert all(part in str(error.value) for part in PARTS)


@pytest.mark.parametrize("method", [m for m in EXPONENTIAL if not isinstance(m, Preconditioned)], ids=name)
def test_problems_that_are_refused(method):
    """An ODE, a start without noise and a w are refused before the first call."""
    calls = []
    data = lambda t, x: calls.append(t)  # noqa: E731
    with pytest.raises(TypeError, match=r"a Denoising for .*; received an ODE"):
        solve(ODE(data), np.ones(2), uniform(3), method)
    with pytest.raises(ValueError, match="sigma > 0 at the first time"):
        solve(problem(data), np.ones(2), [0.0, 1.0], method)
    with pytest.raises(ValueError, match="a denoising problem without w"):
        solve(problem(data, clock=lambda t, s: 1.0), np.ones(2), uniform(3), method)
    assert calls == []


def test_an_inverse_that_is_none_is_refused():
    """A time_of_log_snr that leads out of the step would spoil the order without a word: it is a ValueError."""
    made = problem(lambda t, x: x, time_of_log_snr=lambda L: 0.1)
    with pytest.raises(ValueError, match=r"time_of_log_snr: a time between 0.8 and 0.7") as error:
        solve(made, np.ones(2), TS, DPMSolverPP(2))
    assert all(part in str(error.value) for part in PARTS)

"""Exponential methods: formulas in 60 digits, exact steps, refusals, and the arrays they accept."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf
from refusals import PARTS, Recorder, refused
from solver_methods import DENOISING, name

from solvers import (
    DDIM,
    Ancestral,
    Denoising,
    ExponentialEulerMaruyama,
    Heun,
    Pole,
    PoleError,
    solve,
    uniform,
)
from tests.support.strategies import law

EEM = ExponentialEulerMaruyama()
UNIT = 2.0**-53
levels = st.floats(1e-3, 1.0)


def problem(data=None, clock=lambda t, s: 0.0, **parts):
    """Return a problem of the path (1 − t, t)."""
    data = data or (lambda time, x: 0.3 * x - 0.2)
    pieces = {"alpha": lambda t: 1.0 - t, "sigma": lambda t: t, "clock": clock}
    pieces |= {"log_snr": lambda t: 2 * math.log(1 / t - 1), "time_of_log_snr": lambda L: 1 / (1 + math.exp(L / 2))}
    return Denoising(data, **(pieces | parts))


class Unit:
    """Noise whose normals are all one."""

    def increments(self, x):
        return lambda t0, t1: np.full_like(x, math.sqrt(abs(t1 - t0)))


def factors(method, alphas, sigmas, theta):
    """Read the factors of x, x̂ and ξ of one step between given levels off the method."""
    rows = np.array([[1.0], [0.0], [0.0]])
    at = {1.0: 0, 0.0: 1}
    model = lambda time, x: np.array([[0.0], [1.0], [0.0]])  # noqa: E731
    pieces = {"alpha": lambda t: alphas[at[t]], "sigma": lambda t: sigmas[at[t]]}

    class Third:
        def increments(self, x):
            return lambda t0, t1: np.array([[0.0], [0.0], [math.sqrt(abs(t1 - t0))]])

    reads = getattr(method, "reads_clock", False)
    made = problem(model, clock=lambda t, s: theta if reads else 0.0, **pieces)
    return solve(made, rows, [1.0, 0.0], method, rng=Third()).x[:, 0]


@given(levels=st.tuples(levels, levels, levels, levels), theta=st.floats(0.0, 50.0))
@law(60)
def test_factors_of_any_w(levels, theta):
    """C, α_s − α_t C and σ_s √(1 − e^−Θ) to a few roundings of 60-digit values, whatever the levels and Θ."""
    alphas, sigmas = sorted(levels[:2]), sorted(levels[2:], reverse=True)
    found = factors(EEM, alphas, sigmas, theta)
    with mpmath.workdps(60):
        (alpha_t, alpha_s), (sigma_t, sigma_s) = (list(map(mpf, pair)) for pair in (alphas, sigmas))
        keep = sigma_s / sigma_t * mpmath.exp(-mpf(theta) / 2)
        exact = keep, alpha_s - alpha_t * keep, sigma_s * mpmath.sqrt(-mpmath.expm1(-mpf(theta)))
    assert abs(found[0] - exact[0]) <= 8 * UNIT * (1 + theta) * exact[0]
    assert abs(found[1] - exact[1]) <= 8 * UNIT * alphas[1]
    assert abs(found[2] - exact[2]) <= 8 * UNIT * exact[2]


@given(levels=st.tuples(levels, levels, levels, levels), eta=st.floats(0.0, 1.0))
@law(60)
def test_factors_of_the_ddim_family(levels, eta):
    """The noise of eq. 16 of arXiv 2010.02502 and the factors of its eq. 12, in 60 digits, for any η."""
    alphas, sigmas = sorted(levels[:2]), sorted(levels[2:], reverse=True)
    found = factors(Ancestral(eta=eta), alphas, sigmas, 0.0)
    with mpmath.workdps(60):
        (alpha_t, alpha_s), (sigma_t, sigma_s) = (list(map(mpf, pair)) for pair in (alphas, sigmas))
        step = 1 - (alpha_t * sigma_s / (alpha_s * sigma_t)) ** 2
        drawn = mpf(eta) * sigma_s * mpmath.sqrt(step)
        towards = mpmath.sqrt(max(mpf(0), sigma_s**2 - drawn**2))
        exact = towards / sigma_t, alpha_s - alpha_t * towards / sigma_t, drawn
    # Where ϱ is near 1 the rounding of ϱ is that of 1 − ϱ, and its root is what the noise shows.
    allowed = 16 * UNIT / float(max(step, mpf(UNIT)))
    assert abs(found[0] - exact[0]) <= (16 + allowed / UNIT * float(step)) * UNIT * (exact[0] + UNIT)
    assert abs(found[1] - exact[1]) <= 32 * UNIT * alphas[1]
    assert abs(found[2] - exact[2]) <= allowed * exact[2] + 1e-300


def test_large_variance():
    """β = σ_t²(1 − ϱ²) = σ_t² − (α_t/α_s)²σ_s² replaces β̃, the mean stays, and the last step adds nothing."""
    small, large = (factors(Ancestral(kind), [0.3, 0.8], [0.9, 0.5], 0.0) for kind in ("small", "large"))
    assert list(small[:2]) == list(large[:2])
    beta = 0.81 - (0.3 / 0.8) ** 2 * 0.25
    np.testing.assert_allclose([large[2] ** 2, small[2] ** 2], [beta, beta * 0.25 / 0.81], rtol=1e-14)
    assert list(factors(Ancestral("large"), [0.3, 1.0], [0.9, 0.0], 0.0)) == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("method", [EEM, Ancestral(), Ancestral("large")], ids=["w", "small", "large"])
def test_from_no_signal_to_no_noise(method):
    """From α = 0 the state is forgotten where Θ = ∞, and a step to σ = 0 returns α_s x̂."""
    assert list(factors(method, [0.0, 0.8], [1.0, 0.6], math.inf))[:2] == [0.0, 0.8]
    assert list(factors(method, [0.0, 1.0], [1.0, 0.0], math.inf)) == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("method", [*DENOISING[:3], Ancestral(eta=0.4)], ids=["w", "ancestral", "ddim", "eta"])
def test_a_point_is_reached(method):
    """With x̂ = y everywhere the last state is y, from any start and grid."""
    point = np.array([[0.7, -1.3]])
    clock = (lambda t, s: 2.0 * (t - s)) if getattr(method, "reads_clock", False) else (lambda t, s: 0.0)
    made = problem(lambda time, x: np.broadcast_to(point, x.shape), clock=clock)
    end = solve(made, np.ones((3, 2)), [1.0, 0.83, 0.4, 0.0], method, rng=np.random.default_rng(0)).x
    np.testing.assert_allclose(end, np.broadcast_to(point, end.shape), rtol=0, atol=4 * UNIT)


def test_ddim_runs_backwards():
    """A step up and the same step down with the same x̂ undo each other, also up to α = 0."""
    made = problem(lambda time, x: np.full_like(x, 0.4))
    x = np.array([0.3, -2.0])
    up = solve(made, x, [0.2, 0.7, 1.0], DDIM()).x
    np.testing.assert_allclose(solve(made, up, [1.0, 0.7, 0.2], DDIM()).x, x, rtol=1e-14)


@pytest.mark.parametrize(
    ("method", "parts", "ts", "words"),
    [
        (DDIM(), {"clock": lambda t, s: 1.0}, [1.0, 0.0], "without w for DDIM; received a w that is not zero"),
        (Ancestral(), {"clock": lambda t, s: 1.0}, [1.0, 0.0], "without w for Ancestral"),
        (Ancestral(), {}, [0.2, 0.9], "falling times for Ancestral; received 0.2 to 0.9"),
        (DDIM(), {}, [0.0, 1.0], "sigma > 0 at the first time; received 0"),
        (EEM, {"clock": lambda t, s: -1.0}, [1.0, 0.5], "at least 0 or infinite; received -1.0"),
        (EEM, {"clock": lambda t, s: math.nan}, [1.0, 0.5], "at least 0 or infinite; received nan"),
        (DDIM(), {"alpha": lambda t: math.nan}, [1.0, 0.5], "alpha.time.: a finite number, .* received nan"),
    ],
)
def test_refusals_before_the_first_call(method, parts, ts, words):
    """Noise a method would not see, noise that grows, a start without noise, a clock that is none: ValueErrors."""
    field = Recorder()
    refused(ValueError, words, problem(field, **parts), np.ones(2), ts, method, rng=np.random.default_rng(0))
    assert field.calls == []


def test_refusals_of_kinds_and_poles():
    """A method for another kind of problem, a pole where sampling starts, parts that cannot be called."""
    refused(TypeError, "an ODE for Heun; received a Denoising; .* such as DDIM", problem(), np.ones(2), [1, 0], Heun())
    poles = (Pole(1.0, "x̂ is infinite"),)
    refused(PoleError, "DDIM evaluates in step 1", problem(poles=poles), np.ones(2), [1.0, 0.0], DDIM())
    assert solve(problem(poles=poles), np.ones(2), [0.9, 0.0], DDIM()).nfe == 1
    for part in ("alpha", "sigma", "log_snr", "time_of_log_snr", "clock"):
        with pytest.raises(TypeError, match=f"{part}: a callable") as error:
            problem(**{part: 1.0})
        assert all(words in str(error.value) for words in PARTS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("medium",), '"small" or "large"'), (("small", 1.5), r"a number in \[0, 1\]"), (("large", 0.5), "eta = 1")],
)
def test_ancestral_arguments(arguments, words):
    """Another variance, η outside [0, 1] and the large variance with η ≠ 1 are ValueErrors in three parts."""
    with pytest.raises(ValueError, match=words) as error:
        Ancestral(*arguments)
    assert all(part in str(error.value) for part in PARTS)


@pytest.mark.parametrize("method", DENOISING, ids=name)
def test_gradients_reach_the_start_and_the_model(method):
    """Torch differentiates the end with respect to the start and to a parameter of x̂, in float32."""
    x, scale = torch.ones(2, 3, requires_grad=True), torch.tensor(0.3, requires_grad=True)
    clock = (lambda t, s: t - s) if getattr(method, "reads_clock", False) else (lambda t, s: 0.0)
    made = problem(lambda time, x: scale * torch.tanh(x), clock=clock)
    end = solve(made, x, uniform(4), method, rng=torch.Generator().manual_seed(0)).x
    assert end.dtype == torch.float32
    for gradient in torch.autograd.grad(end.sum(), (x, scale)):
        assert bool((gradient != 0).all())
    one = problem(lambda time, x: 0.5 * x)
    (slope,) = torch.autograd.grad(solve(one, x, [1.0, 0.5], DDIM()).x.sum(), x)
    torch.testing.assert_close(slope, torch.full((2, 3), 0.5 + 0.5 * 0.5))

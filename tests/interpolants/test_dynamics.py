"""The ODE and the SDEs of a model: drift, noise, number of calls, and where they are infinite."""

import signal
from itertools import product

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf

from interpolants import (
    GVP,
    VP,
    Data,
    Linear,
    Noise,
    Score,
    Velocity,
    VPrediction,
    forward_sde,
    probability_flow,
    reverse_sde,
)
from interpolants import diffusion as w
from solvers import ODE, SDE
from tests.support.strategies import coordinates, interior, law, models, sdes
from tests.support.zoo import BUILT_INS, CASES, CHOICES, PREDICTIONS, row


class Constant:
    """A model that counts its calls and answers with one number."""

    def __init__(self, answer):
        self.answer, self.calls = answer, []

    def __call__(self, time, x):
        self.calls.append((time, x))
        return np.full_like(x, self.answer) if isinstance(x, np.ndarray) else torch.full_like(x, self.answer)


def exact_drift(case, prediction, time, x, p, w_value, sign):
    """Return v − sign·½ w s at 60 digits from data and noise recovered out of (x, p); and the sum of its terms."""
    with mpmath.workdps(60):
        s = mpf(time)
        a, b = row(prediction.name, case, s)
        alpha, sigma = case.alpha(s), case.sigma(s)
        determinant = alpha * b - sigma * a
        factors = []
        for c, d in ((case.d_alpha(s), case.d_sigma(s) + sign * w_value / (2 * sigma)),):
            factors = [(b * c - a * d) / determinant, (alpha * d - sigma * c) / determinant]
        terms = factors[0] * mpf(x), factors[1] * mpf(p)
        return terms[0] + terms[1], abs(terms[0]) + abs(terms[1])


def check_drift_and_noise(make, sign, case, prediction, choice, time, x, p):
    """Compare drift and noise with the oracle, and count the calls of the model."""
    state, model = np.array([x]), Constant(p)
    with mpmath.workdps(60):
        w_value = choice.value(case, mpf(time))
    sde = make(case.schedule, model, choice.w, prediction=prediction)
    exact, size = exact_drift(case, prediction, time, x, p, w_value, sign)
    assert isinstance(sde, SDE)
    found = sde.drift(time, state)[0]
    assert len(model.calls) == 1
    assert model.calls[0][0] == time
    assert model.calls[0][1] is state
    assert abs(found - exact) <= 32 * 2.0**-52 * (size + sensitivity_of(case, prediction, choice, time, x, p, sign))
    assert abs(sde.diffusion(time) - mpmath.sqrt(w_value)) <= 32 * 2.0**-52 * mpmath.sqrt(w_value)


@given(pair=sdes, prediction=st.sampled_from(PREDICTIONS), time=interior, x=coordinates, p=coordinates)
@law(30)
def test_reverse_drift_and_noise(pair, prediction, time, x, p):
    """The drift is v − ½ w s to 32u of its terms and the noise √w; the model is called once, with (time, x)."""
    case, choice = pair
    source = prediction
    check_drift_and_noise(reverse_sde, 1, case, source, choice, time, x, p)


@pytest.mark.covering(34)
@pytest.mark.parametrize(
    ("case", "prediction", "choice"),
    list(product(BUILT_INS, PREDICTIONS, (CHOICES[0], CHOICES[6]))),
)
def test_forward_drift_and_noise(case, prediction, choice):
    """The forward drift is v + ½ w s to 32u of its terms, with wKL (where the score cancels) and with w = t."""
    check_drift_and_noise(forward_sde, -1, case, prediction, choice, 0.3, 0.7, -1.1)


def sensitivity_of(case, prediction, choice, time, x, p, sign):
    """Return |t ∂_t| of both terms of the drift, what the round-off of t itself costs."""
    with mpmath.workdps(60):
        h = mpf(10) ** -20
        pieces = []
        for pair in ((x, 0), (0, p)):
            values = [
                exact_drift(case, prediction, u, *pair, choice.value(case, u), sign)[0]
                for u in (mpf(time), mpf(time) * (1 + h))
            ]
            pieces.append(abs(values[1] - values[0]) / h)
        return sum(pieces)


@pytest.mark.slow
@given(pair=models, time=interior, x=coordinates, p=coordinates)
@law(20)
def test_zero_w_is_the_ode(pair, time, x, p):
    """With w = 0 both SDEs have the drift of the probability flow, no noise and the same poles."""
    (case, prediction), state = pair, np.array([x])
    ode = probability_flow(case.schedule, Constant(p), prediction=prediction)
    assert isinstance(ode, ODE)
    for make in (reverse_sde, forward_sde):
        sde = make(case.schedule, Constant(p), w.Zero(), prediction=prediction)
        np.testing.assert_allclose(sde.drift(time, state), ode.drift(time, state), rtol=1e-13)
        assert sde.diffusion(time) == 0.0
        assert [pole.time for pole in sde.poles] == [pole.time for pole in ode.poles]


@pytest.mark.covering(11)
@pytest.mark.parametrize("prediction", PREDICTIONS, ids=repr)
@pytest.mark.parametrize("case", BUILT_INS, ids=repr)
def test_one_call_per_drift(case, prediction):
    """The ODE and the SDEs call the model exactly once per drift, and never for the noise."""
    for build in (
        lambda model: probability_flow(case.schedule, model, prediction=prediction),
        lambda model: reverse_sde(case.schedule, model, w.KL(), prediction=prediction),
        lambda model: forward_sde(case.schedule, model, w.Ramp(), prediction=prediction),
    ):
        model = Constant(0.5)
        problem = build(model)
        assert model.calls == []
        problem.drift(0.4, np.ones((3, 2)))
        assert len(model.calls) == 1
        getattr(problem, "diffusion", lambda time: 0.0)(0.4)
        assert len(model.calls) == 1


def test_a_velocity_model_is_the_ode_itself():
    """The probability flow of a velocity model calls the model and nothing else."""
    answer = np.ones(2)
    assert probability_flow(Linear(), lambda time, x: answer).drift(0.0, np.ones(2)) is answer


def blows_up(case, prediction, choice, end):
    """Whether a factor of the drift, or √w, grows without bound towards an end, judged by 1e-6, 1e-12 and 1e-24."""
    with mpmath.workdps(120):
        sizes = []
        for power in (6, 12, 24):
            s = abs(mpf(end) - mpf(10) ** -power)
            a, b = row(prediction.name, case, s)
            alpha, sigma = case.alpha(s), case.sigma(s)
            w_value = choice.value(case, s) if choice else mpf(0)
            c, d = case.d_alpha(s), case.d_sigma(s) + w_value / (2 * sigma)
            determinant = alpha * b - sigma * a
            sizes.append(((b * c - a * d) / determinant, (alpha * d - sigma * c) / determinant, mpmath.sqrt(w_value)))
        grows = [abs(sizes[2][k]) > 100 * abs(sizes[1][k]) > 1e3 * abs(sizes[0][k]) for k in range(3)]
        return any(grows)


COMBINATIONS = [
    pytest.param(case, prediction, id=f"{case}-{prediction}") for case in CASES for prediction in PREDICTIONS
]


@pytest.mark.slow
@pytest.mark.parametrize(("case", "prediction"), COMBINATIONS)
def test_poles(case, prediction):
    """Poles are declared exactly at the ends where the factors of the drift or the noise grow without bound."""
    ode = probability_flow(case.schedule, Constant(1.0), prediction=prediction)
    assert [pole.time for pole in ode.poles] == [end for end in (0.0, 1.0) if blows_up(case, prediction, None, end)]
    for choice in CHOICES:
        sde = reverse_sde(case.schedule, Constant(1.0), choice.w, prediction=prediction)
        expected = [end for end in (0.0, 1.0) if blows_up(case, prediction, choice, end)]
        assert [pole.time for pole in sde.poles] == expected, (choice, expected)
        assert all(pole.remedy and pole.reason for pole in sde.poles)


@pytest.mark.parametrize(
    ("schedule", "prediction", "choice", "ends"),
    [
        (Linear(), Velocity, w.KL(), [1.0]),
        (Linear(), Velocity, w.Sigma(), []),
        (Linear(), Velocity, w.Constant(1), [0.0]),
        (Linear(), Velocity, w.SinSquared(), []),
        (Linear(), Score, w.Sigma(), [1.0]),
        (Linear(), Noise, w.Sigma(), [1.0]),
        (Linear(), Data, w.Sigma(), [0.0]),
        (GVP(), Velocity, w.KL(), [1.0]),
        (GVP(), Velocity, w.Sigma(), []),
        (GVP(), VPrediction, w.Sigma(), []),
        (VP(), Velocity, w.KL(), []),
        (VP(), Velocity, w.Constant(1), []),
        (VP(), Score, w.KL(), []),
        (VP(), Noise, w.KL(), [0.0]),
    ],
    ids=str,
)
def test_textbook_poles(schedule, prediction, choice, ends):
    """The poles are those of the paper's tables: wKL at t = 1 where α₁ = 0, constant w at t = 0 where κ₀ = 0."""
    assert [pole.time for pole in reverse_sde(schedule, Constant(1.0), choice, prediction=prediction).poles] == ends


@pytest.mark.slow
@given(pair=sdes.filter(lambda pair: repr(pair[1]) != "KL()"), time=interior, x=coordinates, s=coordinates)
@law(30)
def test_forward_minus_reverse(pair, time, x, s):
    """b_forward − b_reverse = w s for a score model."""
    (case, choice), state = pair, np.array([x])
    parts = [
        make(case.schedule, Constant(s), choice.w, prediction=Score).drift(time, state)[0]
        for make in (forward_sde, reverse_sde)
    ]
    exact = float(choice.value(case, mpf(time)) * mpf(s))
    size = sum(map(abs, parts)) + abs(exact) + abs(x) * float(abs(case.d_alpha(mpf(time)) / case.alpha(mpf(time))))
    assert abs(parts[0] - parts[1] - exact) <= 1e-13 * size


@pytest.mark.parametrize("build", [probability_flow, lambda s, m: reverse_sde(s, m, w.KL())])
@pytest.mark.parametrize("model", [None, 3, "model"])
def test_models_are_callables(build, model):
    """A model that cannot be called is a TypeError in three parts, at construction."""
    with pytest.raises(TypeError, match=r"expected a callable .*; received .*; remedy: "):
        build(Linear(), model)


@pytest.mark.parametrize("choice", [None, 1.0, "KL", w.KL, "sigma"])
def test_w_is_a_choice(choice):
    """A w that is a number, a name or a function is a TypeError in three parts, at construction."""
    with pytest.raises(TypeError, match=r"expected a diffusion coefficient w; received .*; remedy: "):
        reverse_sde(Linear(), Constant(1.0), choice)


@pytest.mark.parametrize("prediction", ["velocity", None, type(Velocity)])
def test_a_prediction_is_not_a_name(prediction):
    """A prediction that is a name or a class is a TypeError in three parts, at construction."""
    with pytest.raises(TypeError, match=r"expected a prediction.*; received .*; remedy: "):
        probability_flow(Linear(), Constant(1.0), prediction=prediction)
    with pytest.raises(TypeError, match=r"expected a prediction.*; received .*; remedy: "):
        reverse_sde(Linear(), Constant(1.0), w.KL(), prediction=prediction)


def test_learned_variances_are_explained():
    """A network that returns twice the channels is a ValueError that names both shapes."""
    sde = reverse_sde(Linear(), lambda time, x: np.ones((2, 8)), w.Sigma())
    with pytest.raises(ValueError, match=r"expected a prediction of shape \(2, 4\); received \(2, 8\); remedy: "):
        sde.drift(0.5, np.ones((2, 4)))


@pytest.mark.slow
def test_first_use_of_vp_with_sigma_noise():
    """The forward SDE of a velocity model under VP with w = σ_t gives its first drift within 10 seconds."""

    def stop(number, frame):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 10.0)
    try:
        drift = forward_sde(VP(), Constant(1.0), w.Sigma()).drift(0.4, np.ones(1))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert np.isfinite(drift).all()

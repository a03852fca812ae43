"""The clock ∫ w/σ² and the denoising problem, against mpmath's quadrature of the oracles."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf

from interpolants import GVP, VP, Data, Linear, Noise, Score, Velocity, VPrediction, convert, denoising, diffusion
from interpolants.schedules import EDM, TrigFlow
from tests.support.strategies import law, models
from tests.support.zoo import BUILT_INS, CASES, CHOICES, FIRST


def identity(time, x):
    return x


def clock_of(schedule, w):
    return denoising(schedule, identity, w=w).clock


def integral(case, choice, t, s):
    """∫_s^t w/σ² at 25 digits, with panels that shrink towards both ends."""
    with mpmath.workdps(25):
        t, s = mpf(t), mpf(s)
        marks = {s, t} | {u for k in range(1, 12) for u in (mpf(10) ** -k, 1 - mpf(10) ** -k) if s < u < t}
        return mpmath.quad(lambda u: choice.value(case, u) / case.sigma(u) ** 2, sorted(marks), maxdegree=8)


def first(case, choice):
    return case.name in {"linear", "vp", "exp-log"} and repr(choice) in FIRST


PAIRS = [
    pytest.param(case, choice, id=f"{case}-{choice}", marks=[] if first(case, choice) else pytest.mark.slow)
    for case in CASES
    for choice in CHOICES
]


@pytest.mark.covering(7)
@pytest.mark.parametrize(("case", "choice"), PAIRS)
def test_clock(case, choice):
    """Long steps, short steps and steps next to both ends have the integral of mpmath to 1e-10."""
    clock = clock_of(case.schedule, choice.w)
    for t, s in ((0.999, 0.2), (0.75, 0.25), (1 - 1e-9, 0.9), (0.3, 1e-5), (0.5 + 1e-4, 0.5)):
        exact = integral(case, choice, t, s)
        # The oracle's w may cancel where the noise is: 1 − α next to t = 1 is known to an ulp of 1.
        assert abs(clock(t, s) - exact) <= 1e-10 * exact + 1e-13, (t, s)
    assert clock(0.4, 0.4) == 0.0


@pytest.mark.covering(2)
@pytest.mark.parametrize(("case", "choice"), [row for row in PAIRS if not row.marks])
def test_clock_at_the_ends(case, choice):
    """From t = 1 and to t = 0 the clock is infinite exactly where the integral grows without bound."""
    clock = clock_of(case.schedule, choice.w)
    for limit, near in (
        (clock(1.0, 0.5), [clock(1 - mpf_power, 0.5) for mpf_power in (1e-6, 1e-9, 1e-12)]),
        (clock(0.5, 0.0), [clock(0.5, power) for power in (1e-6, 1e-9, 1e-12)]),
    ):
        growth = near[2] - near[1], near[1] - near[0]
        if math.isinf(limit):
            assert growth[0] > 0.9 * growth[1] > 0.0
        else:
            assert abs(limit - near[2]) <= 1.1 * growth[0] / 30 + 1e-9 * limit


@given(t=st.floats(0.05, 1.0), s=st.floats(0.0, 1.0), eta=st.floats(0.0, 3.0))
@law(8)
def test_multiples_of_kl(t, s, eta):
    """η·wKL has 2η log(r_t/r_s) in closed form, infinite from t = 1 under Linear and finite under VP."""
    s *= 0.99 * t
    kl = clock_of(Linear(), eta * diffusion.KL())(t, s)
    if eta and (t == 1.0 or s == 0.0):
        assert kl == math.inf
    elif eta == 0.0:
        assert kl == 0.0
    else:
        assert abs(kl - 2 * eta * math.log((t / (1 - t)) / (s / (1 - s)))) <= 1e-13 * (1 + kl)
    if s > 1e-9:
        levels = [math.expm1(0.1 * u + 9.95 * u * u) for u in (t, s)]
        exact = eta * math.log(levels[0] / levels[1])
        assert abs(clock_of(VP(), eta * diffusion.KL())(t, s) - exact) <= 1e-13 * (1 + exact)


def test_fixed_nodes_would_be_wrong():
    """The first step of wKL + σ from 1 − 1e-12 has Θ near 2·27.6, which 40 Gauss–Legendre nodes miss by a tenth."""
    t, s = 1 - 1e-12, 0.5
    w = diffusion.KL() + diffusion.Sigma()
    exact = 2 * math.log((t / (1 - t)) / (s / (1 - s))) + math.log(t / s)
    assert abs(clock_of(Linear(), w)(t, s) - exact) < 1e-12 * exact
    nodes, weights = np.polynomial.legendre.leggauss(40)
    times = (t + s) / 2 + (t - s) / 2 * nodes
    naive = (t - s) / 2 * np.sum(weights * (2 / (times * (1 - times)) + 1 / times))
    assert abs(naive / exact - 1) > 0.1


@given(pair=models, time=st.floats(0.01, 0.99), x=st.floats(-3, 3), p=st.floats(-3, 3))
@law(10)
def test_data_prediction(pair, time, x, p):
    """Every prediction becomes x̂ with one call of the model, as convert says."""
    (case, prediction), calls = pair, []

    def model(at, state):
        calls.append((at, state))
        return np.full_like(state, p)

    state = np.array([[x]])
    made = denoising(case.schedule, model, prediction)
    found = made.data(time, state)
    assert calls[0][0] == time
    assert calls[0][1] is state
    assert len(calls) == 1
    np.testing.assert_array_equal(
        found, convert(np.full_like(state, p), time, state, case.schedule, source=prediction, to=Data)
    )


@pytest.mark.parametrize(
    ("schedule", "prediction", "ends"),
    [
        (Linear(), Velocity, []),
        (Linear(), VPrediction, []),
        (Linear(), Data, []),
        (Linear(), Noise, [1.0]),
        (GVP(), Score, [1.0]),
        (VP(), Noise, []),
        (TrigFlow(), Noise, [math.pi / 2]),
    ],
    ids=lambda part: getattr(part, "name", repr(part)),
)
def test_poles(schedule, prediction, ends):
    """x̂ is infinite where α = 0 for noise and score, and nowhere for velocity, v and data, whatever w."""
    for w in (diffusion.Zero(), diffusion.KL()):
        made = denoising(schedule, identity, prediction, w)
        assert [pole.time for pole in made.poles] == ends
        assert made.domain == schedule.domain


@pytest.mark.parametrize("schedule", [*(case.schedule for case in BUILT_INS), EDM()], ids=lambda s: s.name)
def test_levels_are_floats(schedule):
    """α, σ and the log-SNR are Python floats at every time, ±inf for the log-SNR where σ or α is 0."""
    made = denoising(schedule, identity)
    lo, hi = schedule.domain
    assert made.log_snr(lo) == math.inf
    for time in (lo, 0.3 * hi, hi):
        assert {type(f(time)) for f in (made.alpha, made.sigma, made.log_snr)} == {float}
    middle = made.log_snr(0.4 * hi)
    assert abs(made.time_of_log_snr(middle) - 0.4 * hi) < 1e-12 * hi
    assert math.isinf(made.log_snr(hi)) is (made.alpha(hi) == 0.0)


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ((3,), TypeError, "a callable model"),
        ((identity, "velocity"), TypeError, "a prediction"),
        ((identity, Velocity, 1.0), TypeError, "a diffusion coefficient w"),
        ((identity, Velocity, diffusion.Custom("t - 1/2")), ValueError, ">= 0"),
    ],
)
def test_refusals(arguments, kind, words):
    """A model, a prediction or a w that is none, and a negative w, are refused when the problem is built."""
    with pytest.raises(kind, match=words):
        denoising(Linear(), *arguments)


def test_an_integral_that_diverges_inside():
    """A w with a pole inside the domain is a ValueError that names it, not a number."""
    with pytest.raises(ValueError, match=r"expected w/sigma\*\*2 integrable .*; received .*; remedy: "):
        clock_of(Linear(), diffusion.Custom("1/(t - 1/3)**2"))(0.9, 0.1)

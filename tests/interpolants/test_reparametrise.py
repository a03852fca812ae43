"""Another clock and another scale: against the schedule itself at moved times, and against closed forms."""

import numpy as np
import pytest
import sympy
import torch
from hypothesis import given
from hypothesis import strategies as st
from sympy import Piecewise, Rational, cos, exp, log, pi, sin, sqrt, tan

from interpolants import GVP, VP, Linear, Schedule, t, time_shift
from interpolants.reparametrise import inverse_of
from interpolants.schedules import (
    Cosine,
    DDPMCosine,
    DDPMLinear,
    FlowMatching,
    Follmer,
    Laplace,
    TrigFlow,
)
from tests.support.strategies import law

UNIT = (sympy.Integer(0), sympy.Integer(1))
TIMES = np.array([1e-6, 0.01, 0.2, 0.45, 0.7, 0.93, 0.999])
SHIFTED = 3 * TIMES / (1 + 2 * TIMES)
RATE = 3 / (1 + 2 * TIMES) ** 2
SCHEDULES = [Linear, GVP, VP, Cosine, Follmer, Laplace, FlowMatching, DDPMLinear, DDPMCosine]


@pytest.mark.covering(14)
@pytest.mark.parametrize(
    "make", [pytest.param(make, marks=pytest.mark.slow) if make in (DDPMCosine, Cosine) else make for make in SCHEDULES]
)
def test_a_shift_moves_the_clock(make):
    """α, σ, log-SNR are those at 3t/(1+2t); W and κ get the factor 3/(1+2t)², up to the rounding of that time."""
    schedule = make()
    warped = schedule.warp(time_shift(3))
    for name in ("alpha", "sigma"):
        np.testing.assert_allclose(getattr(warped, name)(TIMES), getattr(schedule, name)(SHIFTED), rtol=2e-12)
        found = getattr(warped, name)(torch.from_numpy(TIMES)).numpy()
        np.testing.assert_allclose(found, getattr(schedule, name)(SHIFTED), rtol=2e-12)
    np.testing.assert_allclose(warped.log_snr(TIMES), schedule.log_snr(SHIFTED), rtol=2e-12, atol=2e-12)


@pytest.mark.covering(5)
@pytest.mark.parametrize("name", ["kappa", "wronskian"])
@pytest.mark.parametrize("make", [Linear, GVP, VP, Follmer])
def test_a_shift_speeds_up_the_rates(make, name):
    """κ and W of a shifted schedule get the factor φ̇ = 3/(1+2t)²."""
    wanted = RATE * make().quantity(name)(SHIFTED)
    np.testing.assert_allclose(make().warp(time_shift(3)).quantity(name)(TIMES), wanted, rtol=2e-11)


@pytest.mark.covering(7)
@pytest.mark.parametrize("make", SCHEDULES)
def test_and_back(make):
    """A shift by 3 and one by 1/3 give the schedule: the same expressions, or the same numbers to 1e-14."""
    schedule = make()
    again = schedule.warp(time_shift(3)).warp(time_shift(Rational(1, 3)))
    if make in (Linear, GVP, VP):
        assert again == schedule
    np.testing.assert_allclose(again.alpha(TIMES), schedule.alpha(TIMES), rtol=1e-14)
    np.testing.assert_allclose(again.sigma(TIMES), schedule.sigma(TIMES), rtol=1e-14)


@pytest.mark.slow
@given(shift=st.integers(1, 60), level=st.floats(-8.0, 8.0))
@law(8)
def test_shift_of_linear_is_a_constant_in_the_log_snr(shift, level):
    """Linear shifted by s/4 has the log-SNR of Linear minus 2 log(s/4) (Esser et al.), and its inverse undoes it."""
    s = shift / 4
    warped = Linear().warp(time_shift(s))
    time = warped.time_of_log_snr(level)
    assert abs(warped.log_snr(time) - level) < 1e-13 * (1 + abs(level))
    assert abs(Linear().log_snr(time) - 2 * np.log(s) - level) < 1e-13 * (1 + abs(level) + abs(np.log(s)))


@pytest.mark.covering(5)
@pytest.mark.parametrize("make", [VP, GVP, FlowMatching, Laplace, DDPMLinear])
def test_time_of_log_snr_after_a_warp(make):
    """time_of_log_snr undoes log_snr of a warped schedule, with a closed form or without."""
    warped = make().warp(time_shift(Rational(1, 2)))
    np.testing.assert_allclose(warped.time_of_log_snr(warped.log_snr(TIMES)), TIMES, rtol=1e-9)


@pytest.mark.parametrize(
    "phi",
    [
        t,
        t**2,
        sqrt(t),
        t * (1 + t) / 2,
        sin(pi * t / 2),
        tan(pi * t / 4),
        (exp(t) - 1) / (sympy.E - 1),
        log(1 + 3 * t) / log(4),
        2**t - 1,
        time_shift(5),
        time_shift(5) ** 2,
    ],
    ids=str,
)
def test_elementary_inverses(phi):
    """Chains of elementary functions, and quadratics, are inverted: φ⁻¹(φ(t)) = t at 60 digits."""
    inverse = inverse_of(phi, UNIT)
    assert inverse is not None
    for time in (Rational(1, 17), Rational(3, 5)):
        assert abs(sympy.N(inverse.subs(t, phi.subs(t, time)) - time, 60)) < 1e-50


@pytest.mark.slow
@pytest.mark.covering(3)
@pytest.mark.parametrize("phi", [(t + sin(pi * t / 2)) / 2, (t + t**3) / 2, t * exp(t - 1)], ids=str)
def test_warps_without_an_elementary_inverse(phi):
    """Where no inverse is found the warp still has its values, its kink, and a time of log-SNR."""
    assert inverse_of(phi, UNIT) is None
    moved = [float(phi.subs(t, time)) for time in TIMES]
    for make in (Linear, Laplace):
        warped = make().warp(phi)
        np.testing.assert_allclose(warped.sigma(TIMES), make().sigma(np.array(moved)), rtol=1e-12)
        np.testing.assert_allclose(warped.time_of_log_snr(warped.log_snr(TIMES)), TIMES, rtol=1e-9)


def test_onto_another_domain():
    """TrigFlow on [0, π/2] becomes GVP on [0, 1] and back; EDM's clock runs on any interval."""
    turned = TrigFlow(1.0).warp(pi * t / 2, domain=(0, 1))
    assert turned == GVP()
    assert turned.time_of_log_snr(0.0) == pytest.approx(0.5, abs=1e-15)
    back = GVP().warp(2 * t / pi, domain=(0, pi / 2))
    assert back == TrigFlow(1.0)
    assert back.domain == TrigFlow().domain


def test_a_given_inverse_is_used_and_checked():
    """An inverse that undoes φ is taken; one that does not is a ValueError in three parts."""
    phi = (t + t**3) / 2
    root = sqrt(t**2 + Rational(1, 27))
    cardano = sympy.cbrt(root + t) - sympy.cbrt(root - t)
    assert Linear().warp(phi, inverse=cardano).closed_inverse is not None
    assert Linear().warp(t**2, inverse=sqrt(t)).closed_inverse is not None
    with pytest.raises(ValueError, match=r"expected the inverse of .*; received .*; remedy: "):
        Linear().warp(phi, inverse=cardano + t)
    with pytest.raises(ValueError, match="expected the inverse of"):
        Linear().warp(t**2, inverse=t)


@pytest.mark.parametrize(
    ("phi", "words"),
    [
        (1 - t, "phi = 0 at t = 0"),
        (t / 2, "phi = 1 at t = 1"),
        (t + 1, "phi = 0 at t = 0"),
        (t + sin(2 * pi * t) / 2, "increasing"),
        (sympy.Integer(1), "phi = 0"),
        (Piecewise((t, t <= 1), (1, True)), "one formula"),
        (sympy.Symbol("a") * t + sympy.Symbol("b"), "only free symbol"),
        (1 / t, "phi = 0 at t = 0"),
    ],
    ids=str,
)
def test_maps_that_are_no_clocks(phi, words):
    """A map that is not increasing from end to end is a ValueError in three parts."""
    with pytest.raises(ValueError, match=r"expected .*; received .*; remedy: ") as error:
        Linear().warp(phi)
    assert words in str(error.value)


@pytest.mark.parametrize("shift", [0, -1, t])
def test_shifts_are_positive(shift):
    """A shift that is no positive number is a ValueError in three parts."""
    with pytest.raises(ValueError, match=r"expected shift > 0; received .*; remedy: "):
        time_shift(shift)


@pytest.mark.covering(4)
@pytest.mark.parametrize(
    ("make", "k"),
    [
        (VP, 3),
        (VP, 1 + t**2),
        (Linear, exp(t)),
        (GVP, 2 - t),
        pytest.param(Laplace, 1 + t, marks=pytest.mark.slow),
        pytest.param(DDPMCosine, 0.5, marks=pytest.mark.slow),
    ],
)
def test_a_scale(make, k):
    """Log-SNR and its inverse stay; α and σ get the factor k, and κ the factor k²."""
    schedule = make()
    scaled = schedule.rescale(k)
    factor = np.array([float(sympy.sympify(k).subs(t, time)) for time in TIMES])
    np.testing.assert_allclose(scaled.log_snr(TIMES), schedule.log_snr(TIMES), rtol=4e-15, atol=4e-15)
    np.testing.assert_allclose(scaled.time_of_log_snr(0.7), schedule.time_of_log_snr(0.7), rtol=1e-14)
    for name, power in (("alpha", 1), ("sigma", 1), ("kappa", 2), ("wronskian", 2), ("lambda", 1)):
        wanted = factor**power * schedule.quantity(name)(TIMES)
        np.testing.assert_allclose(scaled.quantity(name)(TIMES), wanted, rtol=8e-15, err_msg=name)


def test_vp_becomes_variance_exploding():
    """VP divided by its α has α = 1 and σ = sqrt(expm1(B)), with B by quadrature of the rate."""
    exploding = VP().rescale(1 / VP().alpha(t), name="exploding")
    assert exploding.expressions["alpha"] == 1
    assert exploding.name == "exploding"
    rate = 0.1 * TIMES + 9.95 * TIMES**2
    np.testing.assert_allclose(exploding.sigma(TIMES), np.sqrt(np.expm1(rate)), rtol=2e-14)
    assert exploding.rescale(VP().alpha(t)).expressions["alpha"] == VP().expressions["alpha"]


@pytest.mark.parametrize("k", [0, -1, t, 1 / t, 1 / (1 - t), cos(pi * t), t - Rational(1, 2)])
def test_scales_are_positive_and_finite(k):
    """A scale that vanishes, changes sign or is infinite anywhere is a ValueError in three parts."""
    with pytest.raises(ValueError, match=r"expected 0 < k < inf.*; received .*; remedy: "):
        Linear().rescale(k)


def test_the_new_schedules_travel():
    """A warped and rescaled schedule survives to_dict and from_dict."""
    schedule = VP().warp(time_shift(2)).rescale(1 + t)
    assert Schedule.from_dict(schedule.to_dict()) == schedule

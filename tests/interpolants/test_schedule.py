"""What a schedule accepts, refuses, remembers and draws."""

import json
import math
import signal

import mpmath
import numpy as np
import pytest
import sympy
import torch
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf
from sympy import exp, sqrt

from interpolants import GVP, VP, Linear, Schedule, t
from interpolants.schedules import BUILT_IN, by_name
from tests.support.precision import DPS
from tests.support.strategies import law
from tests.support.zoo import BUILT_INS, CASES

every_case = pytest.mark.parametrize("case", CASES, ids=repr)


@every_case
def test_round_trip_through_json(case):
    """to_dict, JSON, from_dict give an equal schedule with the same inverse, hash and values."""
    schedule = case.schedule
    again = Schedule.from_dict(json.loads(json.dumps(schedule.to_dict())))
    assert again == schedule
    assert hash(again) == hash(schedule)
    assert again.name == schedule.name
    assert again.domain == schedule.domain
    assert again.alpha(0.3) == schedule.alpha(0.3)
    assert again.time_of_log_snr(0.3) == schedule.time_of_log_snr(0.3)


def test_from_dict_is_not_code(tmp_path, monkeypatch):
    """A checkpoint with code for an expression is refused; a missing field is named."""
    monkeypatch.chdir(tmp_path)
    data = Linear().to_dict() | {"alpha": "__import__('os').system('touch pwned')"}
    with pytest.raises(ValueError, match="expected"):
        Schedule.from_dict(data)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="nothing for sigma"):
        Schedule.from_dict({"name": "a", "alpha": "1 - t"})


def test_equality_is_of_expressions():
    """Schedules are equal by expressions and domain, whatever their names; the hash follows."""
    named = Schedule("another name", alpha=1 - t, sigma=t)
    assert named == Linear()
    assert hash(named) == hash(Linear())
    assert len({Linear(), named, GVP()}) == 2
    assert Linear() != GVP()
    assert VP(0.1, 20) != VP(0.1, 19)
    assert VP(beta_min=0.1, beta_max=20.0) == VP(0.1, 20)
    assert Linear() != "linear"


@pytest.mark.parametrize(
    ("alpha", "sigma", "words"),
    [
        (2 - t, t, "alpha = 1 at t = 0"),
        (1 - t, t + sympy.Rational(1, 100), "sigma = 0 at t = 0"),
        (1 - 2 * t, t, "alpha > 0 inside"),
        (1 - t, -t, "sigma > 0 inside"),
        (1 - t, t * (1 - t) * (sympy.Rational(1, 2) - t), "decreasing log-SNR"),
        (1 - t / 2, t * (1 - t), "decreasing log-SNR"),
        (1 / (1 + exp(10 * t - 5)), 1 - 1 / (1 + exp(10 * t - 5)), "alpha = 1 at t = 0"),
        (1 - t, sqrt(t - 1), "."),
        (1 - t, sympy.log(t), "."),
    ],
)
def test_bad_pairs_are_refused(alpha, sigma, words):
    """A pair that is not a path from data to noise is a ValueError that says expected, received, remedy."""
    with pytest.raises(ValueError, match=words) as error:
        Schedule("bad", alpha, sigma)
    assert all(part in str(error.value) for part in ("expected ", "; received ", "; remedy: "))


def test_check_false_defers():
    """With check=False a raw sigmoid is built and evaluates."""
    raw = Schedule("raw", 1 / (1 + exp(10 * t - 5)), 1 / (1 + exp(5 - 10 * t)), check=False)
    assert abs(raw.alpha(0.5) - 0.5) < 1e-15


@pytest.mark.parametrize("domain", [(1.0, 0.0), (0.0, 0.0), (0.0, math.nan), (0.0, math.inf), (0.0,)])
def test_domains_are_intervals(domain):
    """A domain that is no bounded interval is a ValueError."""
    with pytest.raises(ValueError, match="expected"):
        Schedule("odd", 1 - t, t, domain=domain)


@pytest.mark.parametrize(
    "call",
    [
        lambda: VP(beta_mim=0.1),
        lambda: Linear(sigma_min=0.1),
        lambda: Schedule("a", alpha=1 - t, sgima=t),
        lambda: Schedule("a", 1 - t, t, (0.0, 1.0)),
    ],
)
def test_misspelt_arguments(call):
    """A keyword that does not exist is a TypeError."""
    with pytest.raises(TypeError, match="argument"):
        call()


@pytest.mark.parametrize("rates", [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0), (t, 1.0), (math.nan, 1.0), (0.1, math.inf)])
def test_vp_rates(rates):
    """Rates that are not 0 < beta_min ≤ beta_max < ∞ are a ValueError in three parts."""
    with pytest.raises(ValueError, match=r"expected .*; received .*; remedy: "):
        VP(*rates)


def test_vp_of_rates_with_all_digits():
    """VP with rates that use all 17 digits of a double evaluates within 5 seconds."""

    def stop(number, frame):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 5.0)
    try:
        assert VP(0.12345678901234566, 2.345678901234567).sigma(0.3) > 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


@given(low=st.integers(1, 200), more=st.integers(0, 3000), time=st.floats(1e-30, 1.0))
@law(4)
def test_vp_of_any_rates(low, more, time):
    """VP(a, b) is exp(−B/2) and sqrt(1 − exp(−B)) of its integrated rate, to 16 ulp, for any rates."""
    low, high = low / 100, (low + more) / 100
    schedule = VP(low, high)
    with mpmath.workdps(DPS):
        a, b, s = mpf(repr(low)), mpf(repr(high)), mpf(time)
        noise = mpmath.quad(lambda u: a + (b - a) * u, [0, s])
        alpha, sigma = mpmath.exp(-noise / 2), mpmath.sqrt(-mpmath.expm1(-noise))
        assert abs(schedule.alpha(time) / alpha - 1) < 16 * 2.0**-52
        assert abs(schedule.sigma(time) - sigma) <= 16 * 2.0**-52 * sigma


@pytest.mark.covering(3)
@pytest.mark.parametrize("name", BUILT_IN)
def test_by_name(name):
    """by_name finds every built-in schedule; an unknown name is answered with the nearest."""
    assert by_name(name) == BUILT_IN[name]()
    with pytest.raises(ValueError, match=f"did you mean '{name}'"):
        by_name(name + "e")


@every_case
def test_prior(case):
    """The prior is σ₁ times standard normal numbers, reproducible, in the generator's library."""
    with mpmath.workdps(60):
        sigma = float(case.sigma(mpf(1)))
    drawn = case.schedule.prior((4, 3), np.random.default_rng(5))
    np.testing.assert_allclose(drawn, sigma * np.random.default_rng(5).standard_normal((4, 3)), rtol=1e-14)
    tensor = case.schedule.prior((4, 3), torch.Generator().manual_seed(1))
    expected = torch.randn((4, 3), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(tensor, sigma * expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("rng", [None, 0, np.random.RandomState(0), np.random])
def test_prior_wants_a_generator(rng):
    """Anything but a numpy or torch generator is a TypeError in three parts."""
    with pytest.raises(TypeError, match=r"expected a numpy or torch generator; received .*; remedy: "):
        Linear().prior((2,), rng)


@every_case
def test_call_returns_the_four(case):
    """schedule(time) is (α, σ, α̇, σ̇), the same numbers as the four methods."""
    schedule, time = case.schedule, np.array([0.1, 0.6])
    found = schedule(time)
    assert found._fields == ("alpha", "sigma", "d_alpha", "d_sigma")
    for name, got in found._asdict().items():
        np.testing.assert_array_equal(got, getattr(schedule, name)(time))


@pytest.mark.parametrize("case", BUILT_INS, ids=repr)
def test_repr_shows_the_formula(case):
    """The repr names the schedule and shows both expressions."""
    text = repr(case.schedule)
    assert text.startswith(case.name)
    assert str(case.schedule.expressions["sigma"]) in text


def test_another_domain():
    """A schedule on another interval has its ends there, and its quantities refuse times outside."""
    schedule = Schedule("wide", 1 - t / 4, t / 4, domain=(0.0, 4.0))
    assert schedule.alpha(4.0) == 0.0
    assert schedule.sigma(4.0) == 1.0
    assert schedule.prior_scale == 1.0
    assert schedule.log_snr(2.0) == 0.0
    assert abs(schedule.time_of_log_snr(0.0) - 2.0) < 1e-15
    with pytest.raises(ValueError, match=r"t in \[0, 4\]"):
        schedule.alpha(4.5)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_family_travels(name):
    """Every built-in schedule, those with branches included, comes back equal from its JSON."""
    schedule = BUILT_IN[name]()
    assert Schedule.from_dict(json.loads(json.dumps(schedule.to_dict()))) == schedule

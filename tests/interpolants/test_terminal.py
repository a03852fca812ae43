"""Zero terminal SNR: the published algorithm on the betas, at every timestep, and the digits of σ."""

from functools import cache

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from interpolants import GVP, VP, Linear, Schedule, t, zero_terminal_snr
from interpolants.schedules import EDM, VE, DDPMCosine, DDPMLinear, DDPMScaledLinear, Discrete, SubVP
from tests.interpolants.test_discrete import T, products

MODELS = {"ddpm-linear": DDPMLinear, "ddpm-scaled-linear": DDPMScaledLinear, "ddpm-cosine": DDPMCosine}


@cache
def published(name):
    """Algorithm 1 of arXiv 2305.08891 on the square roots of the products, at 60 digits: n = 1 … T."""
    with mpmath.workdps(60):
        roots = [mpmath.exp(s / 2) for s in products(name)[1:]]
        first, last = roots[0], roots[-1]
        return [(root - last) * (first / (first - last)) for root in roots]


@pytest.mark.covering(6)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_it_is_the_published_algorithm(name, dtype):
    """α' and σ' are those of algorithm 1 at all 1000 timesteps, to 8 ulp and what the rounding of n/T does."""
    schedule = zero_terminal_snr(MODELS[name]())
    times = (np.arange(1, T + 1) / T).astype(dtype)
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    roots, sums = published(name), products(name)
    eps = mpf(float(np.finfo(dtype).eps))
    with mpmath.workdps(60):
        for n in range(1, T + 1):
            late = abs(mpf(float(times[n - 1])) - mpf(n) / T)
            fall = max(abs(roots[n - 1] - roots[k]) for k in (max(n - 2, 0), min(n, T - 1))) * T * 1.01 * late
            wanted, noise = roots[n - 1], mpmath.sqrt(1 - roots[n - 1] ** 2)
            exponent = abs(sums[n]) / 2 * mpmath.exp(sums[n] / 2)
            assert abs(mpf(float(alpha[n - 1])) - wanted) <= eps * (8 * wanted + exponent) + fall, n
            assert abs(mpf(float(sigma[n - 1])) - noise) <= 8 * eps * noise + fall * wanted / noise, n


@pytest.mark.covering(3)
@pytest.mark.parametrize("name", MODELS)
def test_it_begins_as_before(name):
    """Up to the first timestep nothing changes; the schedule stays discrete, and ends without signal."""
    before, after = MODELS[name](), zero_terminal_snr(MODELS[name]())
    early = np.array([0.0, 1e-9, 3e-4, 0.001])
    np.testing.assert_allclose(after.alpha(early), before.alpha(early), rtol=4e-16)
    np.testing.assert_allclose(after.sigma(early), before.sigma(early), rtol=1e-15)
    assert isinstance(after, Discrete)
    assert after.num_train_timesteps == T
    assert after.alpha(1.0) == 0.0
    assert abs(after.sigma(1.0) - 1.0) < 1e-15
    assert zero_terminal_snr(after) == after


def test_of_vp_in_continuous_time():
    """VP's α' is the formula with a = 1, and α'² + σ'² = 1 to the last digits of σ', from 1e-9 to 1."""
    schedule = zero_terminal_snr(VP())
    with mpmath.workdps(60):

        def root(s):
            return mpmath.exp(-mpmath.quad(lambda u: mpf("0.1") + mpf("19.9") * u, [0, s]) / 2)

        for time in (1e-9, 1e-4, 0.01, 0.3, 0.77, 0.999, 1 - 2.0**-30):
            wanted = (root(mpf(time)) - root(1)) / (1 - root(1))
            assert abs(schedule.alpha(time) / wanted - 1) < 8e-15
            assert abs(schedule.sigma(time) / mpmath.sqrt((1 - wanted) * (1 + wanted)) - 1) < 2e-15
            step = mpf("1e-25")
            rate = (root(time + step) - root(time - step)) / (2 * step) / (1 - root(1))
            assert abs(schedule.d_alpha(time) / rate - 1) < 8e-15
    assert abs(schedule.alpha(0.0) - 1.0) < 1e-15
    assert (schedule.sigma(0.0), schedule.alpha(1.0)) == (0.0, 0.0)


def test_of_a_schedule_that_does_not_preserve_variance():
    """Sub-VP becomes variance preserving."""
    schedule = zero_terminal_snr(SubVP())
    assert abs(schedule.alpha(0.4) ** 2 + schedule.sigma(0.4) ** 2 - 1) < 1e-15
    assert schedule.alpha(1.0) == 0.0


@pytest.mark.parametrize("schedule", [Linear(), GVP()], ids=lambda schedule: schedule.name)
def test_nothing_to_do(schedule):
    """A schedule that ends without signal comes back itself."""
    assert zero_terminal_snr(schedule) is schedule


@pytest.mark.parametrize(
    "schedule", [VE(), EDM(), Schedule("half", (2 - t) / 4, t, check=False), DDPMLinear(1)], ids=repr
)
def test_no_signal_to_take(schedule):
    """A constant signal, one that does not start at 1 and a single timestep are a ValueError in three parts."""
    with pytest.raises(ValueError, match=r"expected .*; received .*; remedy: "):
        zero_terminal_snr(schedule)


def test_only_schedules():
    """Anything but a schedule is a TypeError in three parts."""
    with pytest.raises(TypeError, match=r"expected a Schedule; received .*; remedy: "):
        zero_terminal_snr(np.linspace(0.1, 0.2, 5))

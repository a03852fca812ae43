"""Discrete models in continuous time: every α, σ and log-SNR against the product of 1 − β at 60 digits."""

from functools import cache

import mpmath
import numpy as np
import pytest
import torch
from mpmath import mpf

from interpolants.schedules import Cosine, DDPMCosine, DDPMLinear, DDPMScaledLinear, Discrete, betas, by_name
from interpolants.schedules.betas import EXACT, embed, ramp
from tests.support.papers import FAMILIES
from tests.support.precision import DPS

T = 1000
NAMES = ("ddpm-linear", "ddpm-scaled-linear", "ddpm-cosine")
EPS = 2.0**-52


def linear(count, start="0.0001", end="0.02"):
    start, end = mpf(start), mpf(end)
    return [start + (end - start) * k / max(count - 1, 1) for k in range(count)]


def scaled_linear(count):
    return [root**2 for root in linear(count, mpmath.sqrt(mpf("0.00085")), mpmath.sqrt(mpf("0.012")))]


def cosine(count, clip="0.999"):
    """betas_for_alpha_bar of improved DDPM's code."""

    def f(x):
        return mpmath.cos((x + mpf("0.008")) / mpf("1.008") * mpmath.pi / 2) ** 2

    return [min(1 - f(mpf(k + 1) / count) / f(mpf(k) / count), mpf(clip)) for k in range(count)]


RATES = dict(zip(NAMES, (linear, scaled_linear, cosine)))
CLASSES = dict(zip(NAMES, (DDPMLinear, DDPMScaledLinear, DDPMCosine)))


@cache
def products(name, count=T):
    """Return log prod(1 − β_k) for n = 0 … T."""
    with mpmath.workdps(60):
        total, sums = mpf(0), [mpf(0)]
        for beta in RATES[name](count):
            total += mpmath.log(1 - beta)
            sums.append(total)
        return sums


def from_sums(sums, what):
    return {
        "alpha": lambda s: mpmath.exp(s / 2),
        "sigma": lambda s: mpmath.sqrt(-mpmath.expm1(s)),
        "log_snr": lambda s: s - mpmath.log(-mpmath.expm1(s)),
    }[what](sums)


def slope(sums, n, what):
    """Return how fast a quantity changes with S, times the steepest neighbouring change of S with time."""
    fall = max(sums[n - 1] - sums[n], sums[n] - sums[min(n + 1, len(sums) - 1)]) * (len(sums) - 1)
    signal = mpmath.exp(sums[n])
    with_s = {
        "alpha": mpmath.sqrt(signal) / 2,
        "sigma": signal / (2 * mpmath.sqrt(1 - signal)),
        "log_snr": 1 / (1 - signal),
    }
    return fall * with_s[what]


def excess(got, times, sums, what, dtype):
    """Return the worst error beyond what the rounding of n/T does, in ulp, all timesteps considered.

    The rounding of the exponent S/2 by half an ulp, which no form of an exponential avoids, is taken off too.
    """
    worst = 0.0
    with mpmath.workdps(60):
        for n in range(1, len(sums)):
            exact = from_sums(sums[n], what)
            unit = mpf(float(np.finfo(dtype).eps)) * max(abs(exact), 1 if what == "log_snr" else 0)
            late = abs(mpf(float(times[n])) - mpf(n) / (len(sums) - 1))
            exponent = abs(sums[n]) / 2 * unit if what == "alpha" else 0
            error = abs(mpf(float(got[n])) - exact) - slope(sums, n, what) * late - exponent
            worst = max(worst, float(error / unit))
    return worst


@pytest.mark.covering(5)
@pytest.mark.parametrize("library", [np, torch], ids=["numpy", "torch"])
@pytest.mark.parametrize("what", ["alpha", "sigma", "log_snr"])
@pytest.mark.parametrize("name", NAMES)
def test_all_thousand_timesteps(name, what, library):
    """α and σ are within 4 ulp of the product at all 1000 timesteps, log-SNR within 16, in float64 and float32."""
    schedule, sums = by_name(name), products(name)
    for dtype in (np.float64, np.float32):
        times = (np.arange(T + 1) / T).astype(dtype)
        given = times if library is np else torch.from_numpy(times)
        got = np.asarray(getattr(schedule, what)(given))
        assert got.dtype == dtype
        assert excess(got, times, sums, what, dtype) <= (16 if what == "log_snr" else 4)
        assert got[0] == {"sigma": 0.0, "log_snr": np.inf}.get(what, got[0])
        assert what != "alpha" or abs(got[0] - 1) <= np.finfo(dtype).eps


@pytest.mark.covering(19)
@pytest.mark.parametrize("count", [1, 2, 3, 7, 50, 100, 250, 4000])
@pytest.mark.parametrize("name", NAMES)
def test_any_number_of_timesteps(name, count):
    """σ and the log of α are those of the products for any T, and α falls strictly, between the timesteps too."""
    schedule, sums = CLASSES[name](count), products(name, count)
    assert schedule.num_train_timesteps == count
    for n in {1, count // 3, count // 2, count - 1, count} - {0}:
        late = 4 * EPS + 4 * EPS * float((sums[max(n - 1, 0)] - sums[n]) * n)
        assert abs(schedule.sigma(n / count) / float(from_sums(sums[n], "sigma")) - 1) < late
        assert abs(schedule.alpha(n / count) / float(from_sums(sums[n], "alpha")) - 1) < late + EPS * abs(sums[n])
    fine = schedule.alpha(np.concatenate([np.geomspace(1e-6, 1e-3, 50), np.linspace(1.1e-3, 1.0, 400)]))
    assert (np.diff(fine) < 0).all()
    assert fine[0] < 1


@pytest.mark.parametrize("name", NAMES)
def test_rates_at_random_times(name):
    """α̇, σ̇, W, λ and κ between the timesteps are within 16 ulp of derivatives taken at 80 digits of Γ and cosines."""
    schedule, (signal, noise) = by_name(name), FAMILIES[name].formulas()
    times = np.float64(np.float32(np.random.default_rng(7).uniform(0.001, 0.998, 12)))
    with mpmath.workdps(80):
        for when in times:
            x, h = mpf(float(when)), mpf(10) ** -26
            a, b = signal(x), noise(x)
            da, db = ((f(x + h) - f(x - h)) / (2 * h) for f in (signal, noise))
            w = a * db - da * b
            wanted = {"d_alpha": da, "d_sigma": db, "wronskian": w, "lambda": w / a, "kappa": b * w / a}
            for what, value in wanted.items():
                got = mpf(schedule.quantity(what)(float(when)))
                assert abs(got / value - 1) <= 16 * EPS * (1 + abs(mpmath.log(a)) / 4), (what, when)


def test_range_of_the_linear_model():
    """DDPM's σ/α goes from 0.0100 at the first timestep to 157.4 at the last."""
    schedule = DDPMLinear()
    ratio = [schedule.sigma(s) / schedule.alpha(s) for s in (schedule.time_of_timestep(0), 1.0)]
    assert [f"{r:.4g}" for r in ratio] == ["0.01", "157.4"]


def test_cosine_without_its_clip():
    """Up to the last step the discrete cosine is the continuous one; a lower clip starts where the rates pass it."""
    at = np.linspace(0.0, 0.998, 60)
    np.testing.assert_array_equal(DDPMCosine().alpha(at), Cosine().alpha(at))
    with mpmath.workdps(60):
        signal = mpmath.mpf(1)
        for beta in cosine(100, "0.1"):
            signal *= 1 - beta
    assert abs(DDPMCosine(100, max_beta=0.1).alpha(1.0) / float(mpmath.sqrt(signal)) - 1) < 64 * EPS


@pytest.mark.covering(3)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", NAMES[:2])
def test_arrays_of_betas(name, dtype):
    """An array of rates gives the products of its own numbers, to the rounding of its type."""
    with mpmath.workdps(60):
        betas = np.array([float(beta) for beta in RATES[name](T)]).astype(dtype)
        signal = mpmath.mpf(1)
        schedule, eps = Discrete.from_betas(betas), float(np.finfo(dtype).eps)
        for n, beta in enumerate(betas, start=1):
            signal *= 1 - mpf(float(beta))
            if n in (1, 2, 10, 333, 900, 1000):
                s = mpmath.log(signal)
                budget = 2 * eps + 32 * EPS
                assert abs(schedule.sigma(n / T) / mpmath.sqrt(1 - signal) - 1) < budget, n
                assert abs(schedule.alpha(n / T) / mpmath.sqrt(signal) - 1) < budget * (1 + abs(s) / 4), n
    assert schedule.num_train_timesteps == T


def test_betas_with_a_corner():
    """A warm-up followed by a constant rate is two polynomials, joined at the corner."""
    betas = np.concatenate([np.linspace(1e-4, 0.02, 101), np.full(899, 0.02)])
    schedule = Discrete.from_betas(betas, name="warm-up")
    assert len(schedule.expressions["alpha"].args) == 2
    with mpmath.workdps(60):
        sums = np.cumsum([mpmath.log(1 - mpf(float(b))) for b in betas])
        for n in (1, 50, 100, 101, 102, 500, 1000):
            assert abs(schedule.alpha(n / T) / mpmath.exp(sums[n - 1] / 2) - 1) < 32 * EPS
            assert abs(schedule.sigma(n / T) / mpmath.sqrt(1 - mpmath.exp(sums[n - 1])) - 1) < 32 * EPS


def test_timesteps_and_times():
    """Timestep i of the network is the time (i + 1)/T, as a number and as an array, and back."""
    schedule = DDPMLinear()
    assert schedule.time_of_timestep(0) == 0.001
    assert schedule.time_of_timestep(999) == 1.0
    index = np.arange(T)
    back = schedule.timestep_of_time(schedule.time_of_timestep(index))
    np.testing.assert_allclose(back, index, atol=1e-9)
    assert schedule.timestep_of_time(0.0) == -1


@pytest.mark.covering(2)
@pytest.mark.parametrize("name", NAMES)
def test_construction_is_remembered(name, monkeypatch):
    """A second schedule with the same rates interpolates nothing anew."""
    first = CLASSES[name](321)
    monkeypatch.setattr(betas, "_interpolate", None)
    monkeypatch.setattr(betas, "_sums", None)
    assert first == CLASSES[name](321)
    monkeypatch.undo()
    assert first != CLASSES[name](320)


def test_the_embedding_is_exact():
    """The rational polynomials meet all 1000 sums to 2⁻⁶⁴, far below an ulp."""
    with mpmath.workdps(DPS):
        ((stop, formula),) = ramp(T, mpf("0.0001"), mpf("0.02"), 1)
        polynomial = [mpf(c.p) / c.q for c in formula.as_poly().all_coeffs()]
        sums = products("ddpm-linear")
        worst = max(abs(mpmath.polyval(polynomial, mpf(n) / T) / sums[n] - 1) for n in range(1, T + 1))
    assert stop == 1
    assert worst < 2.0**-63


@pytest.mark.parametrize(
    ("betas", "words"),
    [
        ([], "shape"),
        ([[0.1, 0.2]], "shape"),
        (0.1, "shape"),
        ([0.1, 0.0], "0 < beta < 1"),
        ([0.1, 1.0], "0 < beta < 1"),
        ([0.1, float("nan")], "0 < beta < 1"),
        (np.random.default_rng(0).uniform(0.001, 0.02, 300), "rough"),
    ],
)
def test_bad_betas(betas, words):
    """Rates that are no row of numbers in (0, 1), or that follow no curve, are a ValueError in three parts."""
    with pytest.raises(ValueError, match=r"expected .*; received .*; remedy: ") as error:
        Discrete.from_betas(betas)
    assert words in str(error.value)


def test_betas_of_the_wrong_type():
    """Text for rates is a TypeError in three parts."""
    with pytest.raises(TypeError, match=r"expected .*; received .*; remedy: "):
        Discrete.from_betas("cosine")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [0, -1, 2.5, True, "1000"])
def test_bad_counts(name, count):
    """A number of timesteps that is no positive integer is a ValueError in three parts."""
    with pytest.raises(ValueError, match=r"expected num_train_timesteps.*; received .*; remedy: "):
        CLASSES[name](count)


def test_one_rough_piece_is_refused_by_embed():
    """embed itself refuses exact rates that jump about."""
    jumping = [mpf(1 + k % 2) / 100 for k in range(200)]
    with pytest.raises(ValueError, match="rough from index"):
        embed(jumping, EXACT)

"""Which functions an expression may use: what every backend has, what can be written with it, and a refusal else."""

import numpy as np
import pytest
import sympy
import torch

from interpolants import Schedule, t

HALF = sympy.Rational(1, 2)


@pytest.mark.parametrize(
    ("sigma", "name"),
    [
        (t * sympy.gamma(t + 1), "gamma"),
        (t * (1 + sympy.floor(2 * t)), "floor"),
        (sympy.Max(t, t**2 / 2 + HALF), "Max"),
        (t * (1 + sympy.Abs(t**2 - HALF)), "Abs"),
        (sympy.erf(t), "erf"),
        (sympy.sign(t - HALF) + t, "sign"),
        (sympy.zeta(2 + t) - sympy.zeta(2), "zeta"),
    ],
)
def test_unknown_functions_are_refused(sigma, name):
    """A function that a backend lacks is a ValueError that names it, and what can be used instead."""
    with pytest.raises(ValueError, match=rf"numerical implementation in sigma; received {name}; remedy: use exp, .*"):
        Schedule("unknown", 1 - t, sigma)


@pytest.mark.parametrize("pair", [("alpha", 0, t), ("sigma", 1 - t, 0)], ids=lambda pair: pair[0])
def test_nothing_is_no_schedule(pair):
    """α = 0 or σ = 0 everywhere is refused by name, before a logarithm of it is taken."""
    name, alpha, sigma = pair
    with pytest.raises(ValueError, match=rf"expected {name} > 0 inside the domain; received 0; remedy: "):
        Schedule("nothing", alpha, sigma)


def test_reciprocal_functions():
    """sec is 1/cos, in value and derivative."""
    schedule = Schedule("secant", 2 - sympy.sec(sympy.pi * t / 3), t)
    times = np.linspace(0.1, 0.9, 5)
    np.testing.assert_allclose(schedule.alpha(times), 2 - 1 / np.cos(np.pi * times / 3), rtol=1e-14)
    slope = -np.pi / 3 * np.tan(np.pi * times / 3) / np.cos(np.pi * times / 3)
    np.testing.assert_allclose(schedule.d_alpha(times), slope, rtol=1e-14)


@pytest.mark.parametrize(
    "bend",
    [
        sympy.Abs(t - HALF),
        sympy.Abs(HALF - t),
        sympy.Piecewise((HALF - t, t <= HALF), (t - HALF, True)),
        sympy.Piecewise((HALF - t, t < HALF), (t - HALF, True)),
    ],
    ids=str,
)
def test_absolute_values_and_branches(bend):
    """|t − ½| and its branches give one schedule, whose derivative is ∓1 on the two sides, in numpy and torch."""
    schedule = Schedule("bent", 1 - t, t * (1 + bend) * 2 / 3)
    times = np.array([0.2, 0.4, 0.6, 0.9])
    np.testing.assert_allclose(schedule.sigma(times), times * (1 + np.abs(times - 0.5)) * 2 / 3, rtol=1e-14)
    slope = (1 + np.abs(times - 0.5) + times * np.sign(times - 0.5)) * 2 / 3
    np.testing.assert_allclose(schedule.d_sigma(times), slope, rtol=1e-14)
    np.testing.assert_allclose(schedule.d_sigma(torch.from_numpy(times)).numpy(), slope, rtol=1e-14)


def test_branches_in_another_order():
    """A Piecewise whose branches do not end at increasing numbers is refused with the way to write it."""
    schedule_of = sympy.Piecewise((2 * t**2, t > HALF), (t, True))
    with pytest.raises(ValueError, match=r"branches that end at numbers, in order; received t > 1/2; remedy: write"):
        Schedule("turned", 1 - t, schedule_of)(0.3)


def test_squared_sines_are_seen_through():
    """σ = 1 − cos²(πt/2) keeps its digits at 1e-30, and so does its log-SNR, in float32 too."""
    schedule = Schedule("squares", sympy.cos(sympy.pi * t / 2) ** 2, 1 - sympy.cos(sympy.pi * t / 2) ** 2)
    for dtype, rtol in ((np.float64, 1e-15), (np.float32, 1e-6)):
        time = np.array([1e-15, 1e-3], dtype)
        exact = np.sin(np.pi * time.astype(np.float64) / 2) ** 2
        np.testing.assert_allclose(schedule.sigma(time), exact, rtol=rtol)
        np.testing.assert_allclose(schedule.log_snr(time), 4 * np.log(1 / np.tan(np.pi * time / 2)), rtol=rtol)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a .functools.lru_cache:UserWarning")
def test_compiled_schedule():
    """torch.compile(fullgraph=True) follows a schedule that was used once, and says so where it was not."""
    schedule = Schedule("compiled", 1 - t**3, t**3)
    times = torch.linspace(0.1, 0.9, 5)
    compiled = torch.compile(lambda x: (schedule.sigma(x), schedule.log_snr(x)), fullgraph=True, backend="eager")
    with pytest.raises(Exception, match="evaluate sigma of compiled once with a tensor before compiling"):
        compiled(times)
    torch._dynamo.reset()
    expected = schedule.sigma(times), schedule.log_snr(times)
    assert all(torch.equal(a, b) for a, b in zip(compiled(times), expected, strict=True))

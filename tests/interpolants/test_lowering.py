"""Every coefficient is within its budget of an 80-digit value, at any time, in every arithmetic, and is never NaN."""

import ast
import subprocess
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest
import sympy
import torch
from hypothesis import given
from sympy import Piecewise, Rational, cos, exp, log, pi, sin, sqrt

from interpolants import Score, diffusion, t
from interpolants.dynamics import drift_combination
from interpolants.last_bit import NUDGED
from interpolants.prediction import conversion
from interpolants.printing import emit, statements
from interpolants.schedules import VE, Laplace
from interpolants.stable import cospi
from solvers import PoleError
from tests.support.precision import value, worst
from tests.support.strategies import SPECIAL_TIMES, law, many, times
from tests.support.zoo import BUILT_INS, CASES, CHOICES, PREDICTIONS, kappa, row, solve_two, wronskian

ROOT = Path(__file__).resolve().parents[2]

every_case = pytest.mark.parametrize("case", CASES, ids=repr)
built_in = pytest.mark.parametrize("case", BUILT_INS, ids=repr)

QUANTITIES = {
    "alpha": lambda case, s: case.alpha(s),
    "sigma": lambda case, s: case.sigma(s),
    "d_alpha": lambda case, s: case.d_alpha(s),
    "d_sigma": lambda case, s: case.d_sigma(s),
    "log_snr": lambda case, s: 2 * mpmath.log(case.alpha(s) / case.sigma(s)),
    "ratio": lambda case, s: case.sigma(s) / case.alpha(s),
    "wronskian": wronskian,
    "lambda": lambda case, s: wronskian(case, s) / case.alpha(s),
    "kappa": kappa,
}
ARITHMETICS = ["numpy64", "numpy32", "torch64", "torch32", "float"]


def evaluate(coefficient, points, arithmetic):
    """Return the times as the arithmetic has them, the values there, and the dtype whose ulp counts."""
    dtype = np.float32 if arithmetic.endswith("32") else np.float64
    array = np.asarray(points, dtype)
    array = array[(array >= 0) & (array <= 1)]
    if arithmetic.startswith("torch"):
        found = coefficient(torch.from_numpy(array))
        assert found.dtype == torch.from_numpy(array).dtype
        return array, found.numpy(), dtype
    if arithmetic == "float":
        kept = np.array([time for time in array.tolist() if time not in coefficient.poles])
        return kept, [coefficient(time) for time in kept.tolist()], dtype
    found = coefficient(array)
    assert found.dtype == dtype
    return array, found, dtype


def within(coefficient, oracle, points, budget, floor=0.0):
    for arithmetic in ARITHMETICS:
        points_there, found, dtype = evaluate(coefficient, [*points, 0.37], arithmetic)
        error = worst(found, points_there, oracle, dtype, floor)
        assert error[0] <= budget, (coefficient, arithmetic, error)


@every_case
@pytest.mark.parametrize("name", QUANTITIES)
@given(points=many(times))
@law(8)
def test_quantities(case, name, points):
    """α and σ are within 4 ulp (16 for exponentials), the derived quantities within 16, log-SNR within 16u absolute."""
    budget = case.ulp if name in ("alpha", "sigma") else 16.0
    floor = 1.0 if name == "log_snr" else 0.0
    coefficient = case.schedule.quantity(name)
    within(coefficient, lambda s: QUANTITIES[name](case, s), points, budget, floor)


@every_case
@pytest.mark.parametrize("name", QUANTITIES)
def test_special_times(case, name):
    """The same at 0, 1, 1e-30, 1 − 2⁻²⁴ and 1 − 2⁻⁵³, where arrays have the signed infinity of the limit."""
    budget = case.ulp if name in ("alpha", "sigma") else 16.0
    floor = 1.0 if name == "log_snr" else 0.0
    coefficient = case.schedule.quantity(name)
    within(coefficient, lambda s: QUANTITIES[name](case, s), SPECIAL_TIMES, budget, floor)


@every_case
@pytest.mark.parametrize("name", QUANTITIES)
def test_poles_are_the_infinite_limits(case, name):
    """A number at an end is an error exactly where the limit is infinite, and the limit elsewhere."""
    coefficient = case.schedule.quantity(name)
    limits = {end: value(lambda s: QUANTITIES[name](case, s), end) for end in (0.0, 1.0)}
    assert coefficient.poles == tuple(end for end in (0.0, 1.0) if mpmath.isinf(limits[end]))
    for end in coefficient.poles:
        with pytest.raises(PoleError, match=r"expected .*; received t = .*; remedy: "):
            coefficient(end)
        assert coefficient(np.array([end]))[0] == float(limits[end])
        assert coefficient(torch.tensor([end]))[0].item() == float(limits[end])


@every_case
def test_no_pole_hangs_on_a_last_bit(case):
    """Infinite limits stay where a processor rounds every exp, log, sin, … the other way."""
    for name in QUANTITIES:
        lowered = case.schedule.quantity(name).lowered
        for end in lowered.ends:
            for library in NUDGED if end.is_pole else ():
                for dtype in (np.float64, np.float32):
                    with np.errstate(all="ignore"):
                        found = lowered.function(library, "array")(np.asarray([end.time], dtype))
                    assert found[0] == end.limit, (name, end, found)


@pytest.mark.covering(4)
@built_in
@pytest.mark.parametrize("source", PREDICTIONS, ids=repr)
@pytest.mark.parametrize("to", PREDICTIONS, ids=repr)
@given(points=many(times, 12))
@law(2)
def test_conversion_coefficients(case, source, to, points):
    """Both factors of every conversion are within 16 ulp of the 2×2 solve, ends and near-ends included."""
    combination = conversion(case.schedule, source, to)

    def oracle(index):
        return lambda s: solve_two(case, s, row(source.name, case, s), row(to.name, case, s))[index]

    for index, coefficient in enumerate(combination.coefficients):
        within(coefficient, oracle(index), [*SPECIAL_TIMES, *points], 16.0)


FIRST = {"KL()", "Sigma()", "Decreasing()"}


def drift_cases():
    for case in BUILT_INS:
        for prediction in PREDICTIONS:
            for choice in CHOICES:
                key = (case.name, prediction.name, repr(choice))
                marks = [pytest.mark.slow] * (repr(choice) not in FIRST)
                yield pytest.param(case, prediction, choice, id="-".join(key), marks=marks)


@pytest.mark.covering(4)
@pytest.mark.parametrize(("case", "prediction", "choice"), list(drift_cases()))
def test_drift_coefficients(case, prediction, choice):
    """Both factors of every reverse-SDE drift are within 16 ulp of the 2×2 solve with v − ½ w s as a row."""
    variance = choice.w.of(case.schedule).expression
    combination = drift_combination(case.schedule, prediction, variance, "the drift")

    def oracle(index):
        def exact(s):
            wanted = (case.d_alpha(s), case.d_sigma(s) + choice.value(case, s) / (2 * case.sigma(s)))
            return solve_two(case, s, row(prediction.name, case, s), wanted)[index]

        return exact

    points = [*SPECIAL_TIMES, 1e-12, 1e-3, 0.03, 0.1, 0.3, 0.62, 0.8, 0.97, 1 - 1e-6, 1 - 1e-9]
    for index, coefficient in enumerate(combination.coefficients):
        within(coefficient, oracle(index), points, 16.0)


def test_exponents_with_many_digits():
    """The score of (1 − t)^p, t^q with ten-digit p and q and a drift take less than 3 GB; the score is mpmath's."""
    code = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30))
from interpolants import Score, Velocity, certify, diffusion, reverse_sde
from interpolants.last_bit import NUDGED
from interpolants.prediction import conversion
from interpolants.schedules.power import Power
schedule = Power(1.3278123412, 0.7123451217)
a, b = conversion(schedule, Velocity, Score).coefficients
reverse_sde(schedule, print, diffusion.Sigma())  # its drift is 0/0 at the data end until powers are divided
print(repr([[float(a(s)), float(b(s))] for s in (1e-9, 0.3, 0.9)]), certify(schedule).ok)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr[-1000:]
    numbers, _, ok = run.stdout.strip().rpartition(" ")
    p, q = mpmath.mpf("1.3278123412"), mpmath.mpf("0.7123451217")
    for s, got in zip((1e-9, 0.3, 0.9), ast.literal_eval(numbers)):
        s = mpmath.mpf(s)
        sigma, rate = s**q, q / s + p / (1 - s)  # ε = (v − (α̇/α)x)/(σ(σ̇/σ − α̇/α))
        wanted = (-p / (1 - s) / (sigma**2 * rate), -1 / (sigma**2 * rate))
        assert all(abs(mine / theirs - 1) < 1e-14 for mine, theirs in zip(got, wanted))
    assert ok == "True"


def test_numbers_among_the_forms():
    """A number is one float, however it is written: cos(π/252) as cospi, sums of sines that share a part."""
    turn = Rational(1, 252)
    assert float(emit(cospi(-turn))) == float(sympy.cos(pi * turn).evalf(20))
    number = 4 * (cos(pi / 126) + 1) ** 2 / (sin(5 * pi / 252) + 3 * sin(pi / 84) + 2 * sin(pi / 252))
    assert statements(number, t, "x") == ([], repr(float(number.evalf(20))))


def test_a_product_of_branches_that_is_a_number():
    """σ times the score's −1/σ is −1 in every branch of Laplace, at numbers and in arrays."""
    schedule = Laplace()
    product = schedule.coefficient(Score.row(schedule)[1] * schedule.expressions["sigma"])
    assert product.expression.has(Piecewise)
    assert product(0.3) == -1.0
    assert product(np.array([0.0, 0.2, 0.9])).tolist() == [-1.0, -1.0, -1.0]


def test_shared_numbers_keep_single_precision():
    """√log 5000 occurs twice in √wKL under VE; numpy's root of a Python float would turn float32 into float64."""
    root = VE().coefficient(sympy.sqrt(diffusion.KL().expression(VE())))
    times = np.array([0.0, 0.3, 1.0], np.float32)
    assert root(times).dtype == np.float32
    assert statements(sqrt(log(5000)) * exp(t * log(5000)), t, "x")[0] == []

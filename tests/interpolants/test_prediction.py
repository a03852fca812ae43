"""The five predictions and every conversion among them, against a 2×2 solve at 60 digits."""

import copy
import math
import pickle

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf
from sympy import Integer, Rational

from interpolants import Data, Linear, Noise, Prediction, Schedule, Score, Velocity, VPrediction, convert
from interpolants.prediction import conversion
from solvers import PoleError
from tests.support.strategies import coordinates, interior, law, models
from tests.support.zoo import BUILT_INS, CASES, PREDICTIONS, row

every_pair = pytest.mark.parametrize(
    ("source", "to"), [(a, b) for a in PREDICTIONS for b in PREDICTIONS], ids=lambda p: p.name
)


def values(case, time, x_data, noise):
    """Return x_t and all five quantities at 60 digits."""
    with mpmath.workdps(60):
        s, y, e = mpf(time), mpf(x_data), mpf(noise)
        found = {p.name: row(p.name, case, s)[0] * y + row(p.name, case, s)[1] * e for p in PREDICTIONS}
        return case.alpha(s) * y + case.sigma(s) * e, found


@pytest.mark.covering(17)
@every_pair
@given(data=st.data(), time=interior, x_data=coordinates, noise=coordinates)
@law(12)
def test_conversions(source, to, data, time, x_data, noise):
    """Each of the 25 conversions returns the wanted row, within 16u of the sizes of the two terms."""
    case = data.draw(st.sampled_from([c for c in CASES if c.name != "exp-log"]))
    x, exact = values(case, time, x_data, noise)
    A, B = (float(part) for part in factors(case, time, source, to))
    given_x, given_p = float(x), float(exact[source.name])
    found = convert(np.array([[given_p]]), time, np.array([[given_x]]), case.schedule, source=source, to=to)
    size = abs(A * given_x) + abs(B * given_p) + abs(float(exact[to.name]))
    assert abs(found[0, 0] - float(exact[to.name])) <= 16 * 2.0**-52 * size + 1e-300


def factors(case, time, source, to):
    """Return A and B with to = A x + B source by Cramer's rule at 60 digits."""
    with mpmath.workdps(60):
        s = mpf(time)
        (a, b), (c, d) = row(source.name, case, s), row(to.name, case, s)
        alpha, sigma = case.alpha(s), case.sigma(s)
        determinant = alpha * b - sigma * a
        return (b * c - a * d) / determinant, (alpha * d - sigma * c) / determinant


@pytest.mark.slow
@given(start=models, end=models, time=interior, x=coordinates, p=coordinates)
@law(60)
def test_round_trips(start, end, time, x, p):
    """There and back again is the identity within 16u times the condition number of the two solves."""
    (case, source), (_, to) = start, end
    x, p = np.array([[x]]), np.array([[p]])
    there = convert(p, time, x, case.schedule, source=source, to=to)
    back = convert(there, time, x, case.schedule, source=to, to=source)
    forth, home = factors(case, time, source, to), factors(case, time, to, source)
    size = abs(p) + abs(x) + abs(float(home[1])) * (abs(float(forth[0])) * abs(x) + abs(float(forth[1])) * abs(p))
    size = size + abs(float(home[0])) * abs(x)
    assert (abs(back - p) <= 16 * 2.0**-52 * size).all()


@pytest.mark.covering(51)
@every_pair
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_times_of_shape_b(source, to, library):
    """A time of shape (B,) acts on its own sample for x of shape (B, …), also where B is the width."""
    rng, case = np.random.default_rng(0), CASES[1]
    for shape in ((3, 3), (3, 4), (3,), (3, 3, 3, 3), (1, 1)):
        x, p = rng.standard_normal((2, *shape))
        time = rng.uniform(0.1, 0.9, shape[0])
        rows = [convert(b, float(s), a, case.schedule, source=source, to=to) for s, a, b in zip(time, x, p)]
        if library == "torch":
            time, x, p = (torch.from_numpy(array) for array in (time, x, p))
        found = convert(p, time, x, case.schedule, source=source, to=to)
        assert type(found) is type(x)
        np.testing.assert_allclose(np.asarray(found), np.stack(rows), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize(
    ("time", "x", "p"),
    [((3,), (4, 3), (4, 3)), ((4, 1), (4, 3), (4, 3)), ((4,), (4, 3), (4,)), ((1,), (4, 3), (4, 3)), ((4,), (), ())],
)
def test_wrong_shapes(library, time, x, p):
    """Times that are neither a scalar nor (B,), or a prediction unlike x, are a ValueError in three parts."""
    make = np.full if library == "numpy" else torch.full
    with pytest.raises(ValueError, match=r"expected .*; received .*; remedy: "):
        convert(make(p, 0.5), make(time, 0.5), make(x, 0.5), Linear(), source=Velocity, to=Score)


@pytest.mark.parametrize("bad", ["velocity", "Velocity", Prediction, None, type, 0])
def test_strings_and_classes_are_refused(bad):
    """A prediction given by name, class or nothing is a TypeError that lists the choices."""
    x = np.ones((1, 1))
    for arguments in ({"source": bad, "to": Score}, {"source": Score, "to": bad}):
        with pytest.raises(TypeError, match=r"Velocity, Score, Noise, Data, VPrediction; received .*; remedy: "):
            convert(x, 0.5, x, Linear(), **arguments)


SINGULAR = {(Velocity, Score): {0.0}, (Noise, Data): {1.0}, (Data, Noise): {0.0}, (Noise, Velocity): {1.0}}
SINGULAR |= {(Data, Velocity): {0.0}, (Score, Velocity): {1.0}, (Velocity, Noise): set(), (Velocity, Data): set()}


@pytest.mark.parametrize("pair", SINGULAR, ids=str)
def test_poles_of_the_linear_conversions(pair):
    """Linear: velocity → score and data → noise, velocity are singular at 0, noise → data, velocity at 1."""
    assert set(conversion(Linear(), *pair).poles) == SINGULAR[pair]


def at_ends():
    for case in CASES:
        for source, to in ((a, b) for a in PREDICTIONS for b in PREDICTIONS):
            marks = [pytest.mark.slow] * (case not in BUILT_INS)
            yield pytest.param(case, source, to, id=f"{case}-{source}-{to}", marks=marks)


def check_end(case, source, to, end):
    """Compare one end, by number and by array, with the growth of the oracle's factors."""
    near = factors(case, 1e-12 if end == 0.0 else 1 - 2.0**-40, source, to)
    far = factors(case, 1e-6 if end == 0.0 else 1 - 2.0**-20, source, to)
    grows = any(abs(a) > 100 * abs(b) + 1e-3 for a, b in zip(near, far, strict=True)) and source is not to
    x, p = np.array([[0.7, -1.3]]), np.array([[1.9, 0.4]])
    for time in (np.array([end]), torch.tensor([end], dtype=torch.float64)):
        pair = (x, p) if isinstance(time, np.ndarray) else (torch.from_numpy(x), torch.from_numpy(p))
        found = np.asarray(convert(pair[1], time, pair[0], case.schedule, source=source, to=to))
        assert not np.isnan(found).any()
        assert np.isinf(found).all() == grows
    outcome = pytest.raises(PoleError) if grows else pytest.MonkeyPatch.context()
    with outcome:
        assert np.isfinite(convert(p, end, x, case.schedule, source=source, to=to)).all()


@pytest.mark.covering(20)
@pytest.mark.parametrize(("case", "source", "to"), list(at_ends()))
def test_ends(case, source, to):
    """At an end a number is a PoleError exactly where A or B blows up at 1e-12 from it; arrays are never NaN."""
    for end in (0.0, 1.0):
        check_end(case, source, to, end)


def test_a_prediction_that_is_x_itself():
    """A prediction proportional to x_t carries no information and is refused."""
    same = Prediction("Same", lambda s: (s.expressions["alpha"], s.expressions["sigma"]))
    with pytest.raises(ValueError, match="independent of x_t; received Same to Score; remedy"):
        conversion(Linear(), same, Score)


def test_textbook_conversions():
    """Linear: x̂ = x − t v, ε̂ = x + (1 − t) v, s = −ε̂/t; at t = ¼ these are numbers anyone can check."""
    x, v = np.array([2.0]), np.array([4.0])
    assert convert(v, 0.25, x, Linear(), source=Velocity, to=Data)[0] == 1.0
    assert convert(v, 0.25, x, Linear(), source=Velocity, to=Noise)[0] == 5.0
    assert convert(v, 0.25, x, Linear(), source=Velocity, to=Score)[0] == -20.0
    assert math.isclose(convert(v, 0.25, x, Linear(), source=Velocity, to=VPrediction)[0], 0.75 * 5 - 0.25 * 1)


def test_a_misspelt_argument():
    """source and to are keywords, and a misspelt one is a TypeError."""
    x = np.ones(1)
    with pytest.raises(TypeError, match="argument"):
        convert(x, 0.5, x, Linear(), source=Velocity, target=Score)
    with pytest.raises(TypeError, match="argument"):
        convert(x, 0.5, x, Linear(), Velocity, Score)
    assert isinstance(Linear(), Schedule)


def test_copies_and_pickles():
    """A prediction stays itself; one of one's own that has a function with a name is the same afterwards."""
    for prediction in PREDICTIONS:
        assert copy.deepcopy(prediction) is prediction
        assert pickle.loads(pickle.dumps(prediction)) is prediction
    own = Prediction("Velocity", half)
    assert pickle.loads(pickle.dumps(own)) == own
    assert copy.deepcopy(own) == own != Velocity


def half(schedule):
    """Half of the data."""
    return Rational(1, 2), Integer(0)


@pytest.mark.parametrize("case", BUILT_INS, ids=lambda case: case.schedule.name)
def test_what_was_evaluated_can_be_pickled(case):
    """A schedule with compiled code has the same numbers afterwards."""
    schedule = case.schedule
    before = schedule.alpha(0.3), schedule.sigma(np.array([0.3]))
    again = pickle.loads(pickle.dumps(schedule))
    assert (again.alpha(0.3), again.sigma(np.array([0.3]))) == before

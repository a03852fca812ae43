"""What the docstrings of w say about the ends is so."""

import re

import pytest
import sympy

from interpolants import GVP, VP, Gaussian, Linear, Path, Velocity, kl_bound, reverse_sde, t
from interpolants import diffusion as w
from interpolants.dynamics import drift_combination
from interpolants.measure import Exact

SCHEDULES = {"Linear": Linear(), "GVP": GVP(), "VP()": VP()}
ARGUMENTS = {"KLRegularized": (sympy.Rational(1, 2), 1), "Constant": (1,)}
WITHOUT = {"Custom"}  # any expression: nothing to say
CHOICES = [name for name in w.__all__ if name[0].isupper() and name not in {"DiffusionCoefficient", *WITHOUT}]
LOSSES = {"bound, L = 1": "1", "bound, L = t(1-t)": "t*(1 - t)"}


def table(name):
    """Return {row: {schedule: text}} of the table in a docstring."""
    lines = [line.strip() for line in getattr(w, name).__doc__.splitlines()]
    first, second, third = (index for index, line in enumerate(lines) if re.fullmatch(r"=+(  +=+)+", line))
    assert second == first + 2
    cells = [re.split(r" {2,}", line) for line in (lines[first + 1], *lines[second + 1 : third])]
    assert cells[0][1:] == list(SCHEDULES)
    return {row[0]: dict(zip(SCHEDULES, row[1:], strict=True)) for row in cells[1:]}


every = pytest.mark.parametrize(("name", "under"), [(name, under) for name in CHOICES for under in SCHEDULES])


def make(name):
    return getattr(w, name)(*ARGUMENTS.get(name, ()))


@pytest.mark.covering(6)
@every
def test_limits_of_w(name, under):
    """Both limits in the table are sympy's, and those at 200 digits."""
    schedule, rows = SCHEDULES[under], table(name)
    expression = make(name).expression(schedule)
    for time, side in ((0, "+"), (1, "-")):
        said = sympy.sympify(rows[f"w at t = {time}"][under])
        limit = sympy.limit(expression, t, time, side)
        assert limit == said or abs(sympy.N(limit - said, 60)) < 1e-50
        assert Exact(expression, t, schedule.exact_domain).ends[time].limit == pytest.approx(float(said), rel=1e-14)


@every
def test_drifts(name, under):
    """The drift of a velocity model is infinite at the ends that the table names, and nowhere else."""
    schedule = SCHEDULES[under]
    combination = drift_combination(schedule, Velocity, make(name).expression(schedule), "the drift")
    parts = (Exact(part, t, schedule.exact_domain) for part in (combination.A, combination.B))
    poles = sorted({end.time for part in parts for end in part.ends if end.is_pole})
    said = table(name)["drift infinite at"][under]
    assert said == (", ".join(f"t = {time:g}" for time in poles) or "no time")


@every
def test_bounds(name, under):
    """The integrand of the bound, ½w⁻¹(1 + w/2κ)²L, is integrable at both ends where the table says finite."""
    schedule, rows = SCHEDULES[under], table(name)
    expression, kappa = make(name).expression(schedule), schedule.expressions["kappa"]
    for row, loss in LOSSES.items():
        if expression == 0:
            assert rows[row][under] == "infinite"
            continue
        integrand = (1 + expression / (2 * kappa)) ** 2 / (2 * expression) * sympy.sympify(loss, {"t": t})
        orders = [end.order for end in Exact(integrand, t, schedule.exact_domain).ends]
        assert rows[row][under] == ("finite" if min(orders) > -0.99 else "infinite")


@pytest.mark.slow
@every
def test_the_same_by_its_users(name, under):
    """kl_bound and reverse_sde agree with the table."""
    schedule, rows, choice = SCHEDULES[under], table(name), make(name)
    problem = reverse_sde(schedule, lambda time, x: x, choice, prediction=Velocity)
    poles = sorted({pole.time for pole in problem.poles})
    assert rows["drift infinite at"][under] == (", ".join(f"t = {time:g}" for time in poles) or "no time")
    for row, loss in LOSSES.items():
        bound = kl_bound(Path(schedule, Gaussian([0.0], 1.0)), None, choice, excess_loss=loss)
        assert rows[row][under] == ("finite" if float(bound) < float("inf") else "infinite")


def test_every_choice_has_a_table():
    """All public choices but Custom say what they do at the ends, in five rows, and name who else has them."""
    assert len(CHOICES) == 9
    for name in CHOICES:
        assert list(table(name)) == ["w at t = 0", "w at t = 1", "drift infinite at", *LOSSES]


def test_names_elsewhere():
    """SiT's forms, written out in its own time and convention (noise √2D), are the stated multiples of ours."""
    own = 1 - t
    forms = {
        "sigma": (t, 2 * w.Sigma()),
        "linear": (1 - own, 2 * w.Ramp()),
        "decreasing": ((sympy.cos(sympy.pi * own) + 1) ** 2 / 4, 2 * w.Decreasing()),
        "inccreasing-decreasing": (sympy.sin(sympy.pi * own) ** 2, 2 * w.SinSquared()),
        "constant": (sympy.Integer(1), w.Constant(2)),
        "SBDM": ((1 / own) * t**2 + t, w.KL()),  # (d alpha/alpha) sigma^2 - sigma d sigma, with d sigma = -1
    }
    for diffusion, ours in forms.values():
        difference = 2 * diffusion - ours.expression(Linear())
        assert all(abs(sympy.N(difference.subs(t, sympy.Rational(k, 7)), 60)) < 1e-50 for k in range(1, 7))

"""The parts of a certificate against facts derived by hand, and with the code behind them broken."""

import math
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import sympy

from interpolants import GVP, VP, Linear, Schedule, certify, t
from interpolants.certify import SECTIONS, Certificate
from interpolants.schedules import Follmer

conversions, equations, proofs, rounding = (
    import_module(f"interpolants.certify.{name}") for name in ("conversions", "equations", "proofs", "rounding")
)
ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def ends():
    """Map (schedule, map, end) to the rows of A and B."""
    found = {}
    for schedule in (Linear(), GVP(), VP(), Follmer()):
        for row in certify(schedule, sections=["endpoints"])["endpoints"].details:
            found.setdefault((schedule.name, row["map"], row["t"]), []).append(row)
    return found


def orders(rows):
    """The order of the pole of A and of B, None where there is a limit."""
    return tuple(row["order"] if row["kind"] == "pole" else None for row in rows)


BY_HAND = [
    # s = -(x + (1 - t) v)/t; GVP: s = -x - (2/π) v cot(πt/2)
    ("linear", "Velocity to Score", 0, (1, 1)),
    ("gvp", "Velocity to Score", 0, (None, 1)),
    # s = -x - 2v/β
    ("vp", "Velocity to Score", 0, (None, None)),
    # κ₀ = 1 for Föllmer: s = -x - v there
    ("follmer", "Velocity to Score", 0, (None, None)),
    # x̂ = (x - σε)/α
    ("linear", "Noise to Data", 1, (1, 1)),
    ("gvp", "Noise to Data", 1, (1, 1)),
    ("linear", "Noise to Data", 0, (None, None)),
    # v = (σ̇/σ)x - (W/σ)x̂: 1/t for Linear; σ̇/σ = 1/2t for VP
    ("linear", "Data to Velocity", 0, (1, 1)),
    ("vp", "Data to Velocity", 0, (1, 1)),
    # v = (α̇/α)x + (W/α)ε, W ~ t^(-1/2) for VP
    ("vp", "Noise to Velocity", 0, (None, 0.5)),
    # v - (W/α)(-ε̂), ε̂ = x + (1 - t)v under Linear: v + (x + (1 - t)v)/(1 - t) has A = 1/(1 - t), B = 2
    ("linear", "reverse SDE, KL(), Velocity model", 1, (1, None)),
    ("linear", "reverse SDE, KL(), Velocity model", 0, (None, None)),
    # W/α·ε with W ~ t^(-1/2)
    ("vp", "reverse SDE, KL(), Noise model", 0, (None, 0.5)),
    ("vp", "reverse SDE, KL(), Velocity model", 0, (None, None)),
    # forward and wKL: v + (W/α)·(-ε̂) = (α̇/α)x: B = 0, A = -1/(1 - t)
    ("linear", "forward SDE, KL(), Velocity model", 1, (1, None)),
    # ½·1/σ·ε̂ with ε̂ = x at t = 0
    ("linear", "reverse SDE, Constant(1), Velocity model", 0, (1, 1)),
    ("linear", "probability flow, Velocity model", 0, (None, None)),
    # ½ w s with w = σ² order: sin²(πt)/t → 0 and sin⁴ likewise
    ("linear", "reverse SDE, SinSquared(), Velocity model", 0, (None, None)),
    ("linear", "reverse SDE, Ramp(), Velocity model", 0, (None, None)),
]


@pytest.mark.parametrize(("schedule", "name", "time", "expected"), BY_HAND)
def test_poles_derived_by_hand(ends, schedule, name, time, expected):
    """The orders of the poles of A and B are those of the formulas above."""
    assert orders(ends[schedule, name, time]) == expected


LIMITS = [
    ("vp", "Velocity to Score", 0, (-1, -20)),  # β_0 = 0.1
    ("follmer", "Velocity to Score", 0, (-1, -1)),
    ("linear", "Velocity to Data", 1, (1, -1)),
    ("gvp", "Velocity to Data", 1, (0, -2 / math.pi)),
    ("gvp", "Velocity to Noise", 0, (0, 2 / math.pi)),
    ("linear", "forward SDE, KL(), Velocity model", 0, (-1, 0)),
    ("linear", "reverse SDE, Sigma(), Velocity model", 0, (0.5, 1.5)),
    ("vp", "forward SDE, KL(), Score model", 1, (-10, 0)),  # -½β₁x
]


@pytest.mark.parametrize(("schedule", "name", "time", "expected"), LIMITS)
def test_limits_derived_by_hand(ends, schedule, name, time, expected):
    """Finite ends have the limits that the formulas of each schedule give."""
    assert [row["limit"] for row in ends[schedule, name, time]] == pytest.approx(list(expected), abs=1e-12)


def test_nothing_is_singular_at_the_noise_end_of_vp(ends):
    """α₁ > 0: all conversions and drifts are finite at t = 1, and directly so."""
    rows = [row for (name, _, time), pair in ends.items() if (name, time) == ("vp", 1) for row in pair]
    assert len(rows) == 2 * (20 + 13 * 5)
    assert {row["kind"] for row in rows} == {"regular"}


def test_regular_is_not_removable(ends):
    """Linear's velocity to noise needs no limit; VP's has σ̇ = ∞ in it and does."""
    assert {row["kind"] for row in ends["linear", "Velocity to Noise", 0]} == {"regular"}
    assert {row["kind"] for row in ends["vp", "Velocity to Noise", 0]} == {"removable"}


def test_conversions_are_proved_for_all_pairs():
    """25 ordered pairs, each with residual 0."""
    for schedule in (Linear(), GVP(), VP()):
        finding = certify(schedule, sections=["conversions"])["conversions"]
        assert finding.status == "proved"
        assert len({(row["source"], row["to"]) for row in finding.details}) == 25


def test_a_vanishing_wronskian_is_a_counter_example():
    """α = 1 − t/4, σ = t(5/4 − t) has W = 5/4 − 2t + t²/4 = 0 at t = 4 − √11: velocity alone cannot be inverted."""
    schedule = Schedule("bad", 1 - t / 4, t * (sympy.Rational(5, 4) - t), check=False)
    finding = certify(schedule, sections=["conversions"])["conversions"]
    assert finding.status == "fails"
    bad = [row for row in finding.details if row["status"] == "fails"]
    assert len(bad) == 8
    assert all("Velocity" in (row["source"], row["to"]) for row in bad)
    where = float(bad[0]["because"].rpartition("t = ")[2])
    assert abs(where - (4 - math.sqrt(11))) < 0.01


def test_a_wrong_conversion_is_caught(monkeypatch):
    """With the sign of B turned in the library's 2×2 solve, no round trip reduces to the identity."""
    true = conversions.solve_row

    def wrong(*arguments):
        found = true(*arguments)
        return type(found)(found.schedule, found.A, found.B if found.B == 1 else -2 * found.B, found.label)

    monkeypatch.setattr(conversions, "solve_row", wrong)
    monkeypatch.setattr(conversions, "_residual", conversions._residual.__wrapped__)
    finding = certify(Linear(), sections=["conversions"])["conversions"]
    assert sum(row["status"] == "fails" for row in finding.details) == 20


def test_the_error_table():
    """Eight quantities in two types; budgets met; a tampered form is found beyond them."""
    finding = certify(VP(), sections=["rounding"], backends=["numpy", "torch"])["rounding"]
    assert finding.status == "measured"
    assert len(finding.details) == 9 * 2 * 2
    assert all(row["of_budget"] <= 1 and row["times"] > 250 for row in finding.details)
    assert {row["backend"] for row in finding.details} == {"numpy", "torch"}


def test_the_error_table_sees_lost_digits(monkeypatch):
    """Where the code of σ is the naive sqrt(1 − exp), the table fails and names the place."""

    def naive(schedule, name, points, backend, dtype):
        x = points.astype(dtype)
        return np.sqrt(1 - np.exp(-(x * x * dtype_of(dtype)(9.95) + x * dtype_of(dtype)(0.1))))

    def dtype_of(name):
        return np.dtype(name).type

    schedule = VP()
    schedule.expressions = {"sigma": schedule.expressions["sigma"]}
    monkeypatch.setattr(rounding, "evaluate", naive)
    finding = rounding.rounding(schedule, ("numpy",))
    assert finding.status == "fails"
    assert finding.witness["value"] > 1000
    assert rounding.error_at(VP(), "sigma", 0.5, "numpy", "float64") <= 4


def test_a_hanging_proof_is_measured_and_said_so(monkeypatch):
    """Where sympy does not return, the finding is measured within the budget, with the reason."""

    def hang(expression):
        while True:
            expression.subs(t, t)

    monkeypatch.setattr(proofs, "BUDGET_SECONDS", 0.2)
    monkeypatch.setattr(equations, "reduce", hang)
    start = time.perf_counter()
    certificate = certify(Linear(), sections=["equations"])
    assert time.perf_counter() - start < 5
    for finding in certificate.findings:
        assert finding.status == "measured"
        assert "no proof in 0.2 s" in finding.evidence


def test_sections_and_backends_are_named():
    """A part that does not exist is a ValueError that lists those that do."""
    assert [f.name for f in certify(Linear(), sections=["equations"]).findings] == ["continuity", "fokker_planck"]
    with pytest.raises(ValueError, match=r"expected names out of boundaries, .*; received 'sign'; .*'signs'"):
        certify(Linear(), sections=["sign"])
    with pytest.raises(ValueError, match="numpy, torch"):
        certify(Linear(), backends=["cupy"])


def test_sections_name_their_findings():
    """The table of sections says what each finds."""
    for name, (_, expected) in SECTIONS.items():
        assert tuple(f.name for f in certify(Linear(), sections=[name]).findings) == expected


def test_a_schedule_may_bring_its_own_certificate():
    """certify(schedule) returns schedule._certificate() where there is one."""

    class Opaque(Linear):
        def _certificate(self):
            return Certificate(self.to_dict(), ())

    assert certify(Opaque()).findings == ()

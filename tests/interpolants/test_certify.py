"""What a certificate proves, what it notes, and what it catches."""

import json

import pytest
import sympy
from sympy import exp

from interpolants import GVP, VP, Linear, Schedule, certify, t
from tests.support.zoo import CASES

NAMES = {
    *("alpha_0", "sigma_0", "alpha_1", "sigma_1", "alpha_positive", "sigma_positive", "kappa_positive"),
    *("continuity", "fokker_planck", "conversions", "endpoints", "rounding"),
}


@pytest.mark.covering(3)
@pytest.mark.parametrize("schedule", [Linear(), GVP(), VP()], ids=lambda s: s.name)
def test_built_ins_are_proved(schedule):
    """Boundaries, both transport equations and the signs of the built-ins are found, and nothing required fails."""
    certificate = certify(schedule)
    assert certificate.ok
    assert {finding.name for finding in certificate.findings} == NAMES
    for name in ("alpha_0", "sigma_0", "continuity", "fokker_planck"):
        assert certificate[name].status == "proved"
    for name in ("alpha_positive", "sigma_positive", "kappa_positive", "rounding"):
        assert certificate[name].status in ("proved", "measured")


@pytest.mark.slow
def test_vp_does_not_reach_the_noise():
    """VP's α₁ = 0.0066 is noted with its value, is not required, and leaves the certificate ok."""
    finding = certify(VP())["alpha_1"]
    assert (finding.status, finding.required) == ("fails", False)
    assert abs(float(finding.evidence.partition("= ")[2]) - 0.00657) < 1e-4
    assert certify(Linear())["alpha_1"].status == "proved"


@pytest.mark.slow
def test_a_raw_sigmoid_fails_its_boundaries():
    """α = sigmoid(k(1 − 2t)) is 0.9933 and not 1 at t = 0: not ok, for that reason and no other."""
    raw = Schedule("raw", 1 / (1 + exp(10 * t - 5)), 1 - 1 / (1 + exp(10 * t - 5)), check=False)
    certificate = certify(raw)
    assert not certificate.ok
    assert {f.name for f in certificate.findings if f.status == "fails" and f.required} == {"alpha_0", "sigma_0"}


@pytest.mark.covering(5)
@pytest.mark.parametrize("name", ["d_alpha", "d_sigma"])
@pytest.mark.parametrize("factor", [sympy.Rational(1, 2), -1, 1 + t / 1000], ids=str)
def test_a_wrong_derivative_breaks_the_transport_equations(name, factor):
    """A derivative off by a factor, however small, fails the continuity and the Fokker–Planck equation."""
    schedule = Schedule("tampered", 1 - t, t)
    schedule.expressions[name] = schedule.expressions[name] * factor
    certificate = certify(schedule)
    assert certificate["continuity"].status == "fails"
    assert certificate["fokker_planck"].status == "fails"
    assert not certificate.ok


@pytest.mark.covering(3)
@pytest.mark.parametrize(
    ("alpha", "sigma", "fails"),
    [
        (1 - t / 4, t * (sympy.Rational(5, 4) - t), "kappa_positive"),
        pytest.param(1 - 2 * t, t, "alpha_positive"),
        pytest.param(1 - t, -t, "sigma_positive"),
    ],
)
def test_wrong_signs(alpha, sigma, fails):
    """A negative α, σ or κ inside is found, with the time, and the certificate is not ok."""
    certificate = certify(Schedule("bad", alpha, sigma, check=False))
    assert certificate[fails].status == "fails"
    assert " at t = " in certificate[fails].evidence
    assert not certificate.ok


@pytest.mark.covering(8)
@pytest.mark.parametrize("case", CASES, ids=repr)
def test_custom_schedules(case):
    """Every schedule of the zoo is certified, and its certificate travels through JSON with its schedule."""
    certificate = certify(case.schedule)
    assert certificate.ok
    data = json.loads(json.dumps(certificate.to_dict()))
    assert data["ok"] is True
    assert Schedule.from_dict(data["schedule"]) == case.schedule
    assert [f["name"] for f in data["findings"]] == [f.name for f in certificate.findings]


def test_table():
    """The table has a heading with the formulas, one line per finding, and says "no" for what is not required."""
    certificate = certify(VP())
    lines = certificate.table().splitlines()
    assert lines[0].startswith("vp: alpha = exp(")
    assert len(lines) == 1 + len(certificate.findings)
    assert any(line.strip().startswith("no ") and "alpha = 0 at t = 1" in line for line in lines)
    assert str(certificate) == certificate.table()
    assert all(finding.statement in line for finding, line in zip(certificate.findings, lines[1:], strict=True))


def test_errors():
    """What is not a schedule is a TypeError; a property that was not examined is a KeyError naming those that were."""
    with pytest.raises(TypeError, match=r"expected a Schedule; received .*; remedy: "):
        certify("linear")
    with pytest.raises(KeyError, match="continuity"):
        certify(Linear())["beauty"]

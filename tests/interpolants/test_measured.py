"""What certify says of functions, and what is refused when a schedule is made of them."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from interpolants import Linear, Schedule, certify
from interpolants.certify import SECTIONS

ROOT = Path(__file__).resolve().parents[2]
THREE_PARTS = "expected .*; received .*; remedy: "
PAIRS = {
    "gvp": (lambda s: torch.cos(math.pi * s / 2), lambda s: torch.sin(math.pi * s / 2)),
    "vp": (lambda s: np.exp(-s / 20 - 4.975 * s**2), lambda s: np.sqrt(-np.expm1(-s / 10 - 9.95 * s**2))),
    "root": (lambda s: math.sqrt(1 - s) ** 2, lambda s: math.sqrt(s)),
}
HOW = {"gvp": "forward-mode autodiff", "vp": "a complex step", "root": "finite differences within "}


@pytest.mark.parametrize("name", PAIRS)
def test_certificate(name):
    """Every finding is measured, none proved; α₁ of VP is noted, and the names are certify's."""
    certificate = certify(Schedule.from_callables(*PAIRS[name], name=name))
    failed = {finding.name for finding in certificate.findings if finding.status != "measured"}
    assert certificate.ok
    assert failed == ({"alpha_1", "sigma_1"} if name == "vp" else set())
    sections = [name for name in SECTIONS if name not in ("conversions", "endpoints")]
    wanted = {finding.name for finding in certify(Linear(), sections=sections).findings}
    assert {finding.name for finding in certificate.findings} == wanted
    assert name in certificate.table()
    assert json.loads(json.dumps(certificate.to_dict()))["schedule"]["derivatives"].startswith(HOW[name])


def test_certificate_of_wrong_schedules():
    """A start that is off, an increasing log-SNR and a wrong derivative fail, each in its own finding."""
    off = Schedule.from_callables(lambda s: 0.99 * np.cos(s), np.sin, check=False)
    turning = Schedule.from_callables(np.cos, lambda s: np.sin(3 * s), check=False)
    wrong = Schedule.from_callables(np.cos, np.sin)
    wrong._parts[1].slope = lambda times: np.cos(times) + 1e-5
    for schedule, finding in ((off, "alpha_0"), (turning, "kappa_positive"), (wrong, "continuity")):
        failed = {f.name for f in certify(schedule).findings if f.required and f.status == "fails"}
        assert finding in failed
        assert failed <= {finding, "fokker_planck"}


@pytest.mark.parametrize(
    ("alpha", "sigma", "error", "message"),
    [
        (1, lambda s: s, TypeError, "two functions of time"),
        (lambda s: s.upper(), lambda s: s, TypeError, "alpha of shape.*AttributeError"),
        (np.cos, lambda s: np.ones((2, 2)), ValueError, r"sigma of shape.*shape \(2, 2\)"),
        (np.cos, lambda s: np.where(s > 0.7, np.nan, s), ValueError, "not NaN, from sigma"),
        (lambda s: 0.9 * np.cos(s), np.sin, ValueError, "alpha = 1, not 0.9"),
        (np.cos, lambda s: 0.1 + np.sin(s), ValueError, "sigma = 0, not 0.1"),
        (lambda s: np.cos(2 * s), np.sin, ValueError, "alpha > 0 inside the domain.*t = 0.79"),
        (np.cos, lambda s: np.sin(3 * s), ValueError, "a decreasing log-SNR"),
    ],
)
def test_errors(alpha, sigma, error, message):
    """What is not a schedule is refused when it is made, in three parts."""
    with pytest.raises(error, match=f"(?=.*{message}){THREE_PARTS}"):
        Schedule.from_callables(alpha, sigma)


@pytest.mark.parametrize("domain", [(0,), (1, 0), (0, math.inf), (0, math.nan)])
def test_a_wrong_domain(domain):
    """A domain is two finite times, the first before the second."""
    with pytest.raises(ValueError, match=f"(?=expected a domain of two times){THREE_PARTS}"):
        Schedule.from_callables(np.cos, np.sin, domain=domain)


def test_functions_of_numpy_need_numpy_alone():
    """Making and certifying a schedule of numpy's functions imports neither torch nor jax."""
    code = """
import sys, numpy as np
from interpolants import Schedule, certify
print(certify(Schedule.from_callables(np.cos, np.sin)).ok, {"torch", "jax"} & sys.modules.keys())
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.strip() == "True set()"

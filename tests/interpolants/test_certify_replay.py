"""Certificates that replay, those that were changed and do not, and the forms kept on disk."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import sympy

from interpolants import VP, Linear, Schedule, certify, t
from interpolants.certify import Certificate

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def stored():
    return json.loads(json.dumps(certify(Linear()).to_dict()))


@pytest.mark.slow
def test_an_honest_certificate_replays(stored):
    """Through JSON and back, nothing differs."""
    assert Certificate.from_dict(stored).to_dict() == stored
    assert Certificate.from_dict(stored).replay() == ()
    assert certify(VP()).replay() == ()


def finding(data, name):
    return next(item for item in data["findings"] if item["name"] == name)


TAMPERED = {
    "status": lambda data: finding(data, "alpha_1").update(status="fails"),
    "value": lambda data: finding(data, "sigma_positive")["witness"].update(value=0.5),
    "time": lambda data: finding(data, "kappa_positive")["witness"].update(time=0.25),
    "witness": lambda data: finding(data, "alpha_0").update(witness=None),
    "quantity": lambda data: finding(data, "alpha_0")["witness"].update(quantity="beauty"),
    "required": lambda data: finding(data, "continuity").update(required=False),
    "pole": lambda data: finding(data, "endpoints")["details"][0].update(kind="regular"),
    "rows": lambda data: finding(data, "endpoints")["details"].pop(),
    "ulp": lambda data: finding(data, "rounding")["details"][0].update(ulp=100.0),
    "residual": lambda data: finding(data, "conversions")["details"][3].update(residual="1"),
    "schedule": lambda data: data["schedule"].update(alpha="1 - t**2"),
    "removed": lambda data: data["findings"].remove(finding(data, "alpha_1")),
    "renamed": lambda data: finding(data, "continuity").update(name="beauty"),
}


@pytest.mark.covering(7)
@pytest.mark.parametrize("change", TAMPERED)
def test_a_tampered_certificate_does_not_replay(change, stored):
    """Any one change of a status, number, row or expression is reported."""
    data = copy.deepcopy(stored)
    TAMPERED[change](data)
    assert Certificate.from_dict(data).replay() != ()


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.update(ok=False),
        lambda data: data.pop("findings"),
        lambda data: finding(data, "continuity").update(status="believed"),
        lambda data: finding(data, "continuity").update(extra=1),
    ],
)
def test_what_is_no_certificate_is_refused(change, stored):
    """A summary that does not follow from the findings, or another shape, is a ValueError."""
    data = copy.deepcopy(stored)
    change(data)
    with pytest.raises(ValueError, match=r"expected a certificate.*; received .*; remedy: "):
        Certificate.from_dict(data)


SCRIPT = """
import time
from interpolants import Schedule, certify
schedule = Schedule("mine", "1 - t**2*(3 - 2*t)", "t**(3/2)")
start = time.perf_counter()
found = certify(schedule, sections=["rounding"])
print(time.perf_counter() - start, found["rounding"].status, found["rounding"].evidence)
"""


def certified_elsewhere():
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, cwd=ROOT, check=True)
    seconds, _, rest = run.stdout.partition(" ")
    return float(seconds), rest


@pytest.mark.slow
def test_a_second_process_finds_the_forms_on_disk(own_cache):
    """The second run is faster with the same answer; corrupt, foreign and malicious files are ignored."""
    first, found = certified_elsewhere()
    files = sorted(own_cache.glob("*"))
    assert files
    assert all(file.suffix == ".json" for file in files)
    second, again = certified_elsewhere()
    assert again == found
    assert second < first
    for index, file in enumerate(files):
        data = json.loads(file.read_text())
        data["lowered"]["array"] = data["lowered"]["scalar"] = "raise SystemExit('executed')"
        data["version" if index % 2 else "key"] = "another"
        file.write_text("{" if index == 0 else json.dumps(data))
    _, after = certified_elsewhere()
    assert after == found


@pytest.mark.slow
def test_the_thorough_search_is_what_runs_afterwards(own_cache):
    """After certify the schedule evaluates the code that was measured, in this process and, from disk, in the next."""
    schedule = Schedule("better", 1 - sympy.sin(sympy.pi * t / 2) ** 3, t**3)
    schedule.sigma(0.5)
    certify(schedule, sections=["rounding"])
    (file,) = [f for f in own_cache.glob("*") if json.loads(f.read_text())["key"].startswith("t**3 on")]
    data = json.loads(file.read_text())
    data["lowered"]["scalar"] = "return 42.0"
    file.write_text(json.dumps(data))
    script = "from interpolants import Schedule; print(Schedule('again', '1 - t**3', 't**3').sigma(0.5))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert float(run.stdout) == 42.0
    assert schedule.sigma(0.5) == 0.125


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_no_error(own_cache, monkeypatch):
    """Where the cache is a file, the search is done and nothing is kept."""
    own_cache.write_text("not a folder")
    schedule = Schedule("mine", 1 - t**3 * sympy.Rational(4, 5) - t / 5, t**2)
    assert certify(schedule, sections=["rounding"])["rounding"].status == "measured"
    assert own_cache.read_text() == "not a folder"

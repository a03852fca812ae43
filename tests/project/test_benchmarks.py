"""Every benchmark has a smoke run that works and leaves no record; every record says where it comes from."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.scripts import script

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks/results"
SCRIPTS = [path for path in sorted((ROOT / "benchmarks").glob("*.py")) if "\ndef main()" in path.read_text()]


def numbers(value):
    """Yield every number in data."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from numbers(part)
    elif isinstance(value, float):
        yield value


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script_can_smoke_and_save(path):
    """It reads --smoke and saves through record.py."""
    text = path.read_text()
    assert "options.smoke" in text
    assert "from record import" in text
    assert "options.save" in text


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_record_says_where_it_comes_from(path):
    """Name, date, versions, processor and Python are there, and at least one row of finite numbers."""
    data = json.loads(path.read_text())
    assert data["name"] == path.stem
    assert len(data["date"].split("-")) == 3
    assert data["versions"]
    assert all(data[key] for key in ("processor", "python", "rows"))
    assert all(math.isfinite(number) for number in numbers(data["rows"]))


def test_page_lists_every_script_and_the_record_of_each():
    """What the page calls a record is a file that is there, or is not there yet; each script is listed."""
    tables = script(ROOT / "docs/benchmark_tables.py")
    assert set(tables.questions()) == {path.name for path in SCRIPTS}
    assert all(len(question) > 20 for question in tables.questions().values())
    found = {tables.recorded(path.name) for path in SCRIPTS}
    assert {path.stem for path in RESULTS.glob("*.json")} - found <= {"backbone_device"}


@pytest.mark.slow
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_smoke(path, tmp_path):
    """It ends well in minutes, prints rows, and changes no record."""
    before = {file: file.stat().st_mtime_ns for file in RESULTS.iterdir()}
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, path, "--smoke"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert {file: file.stat().st_mtime_ns for file in RESULTS.iterdir()} == before

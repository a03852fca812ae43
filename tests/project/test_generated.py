"""The files that scripts write for the documentation are what the scripts would write now."""

import csv
import importlib.util
import json
import random
import sys
from pathlib import Path

import pytest

from interpolants.modules import BACKENDS
from interpolants.schedules import BUILT_IN

ROOT = Path(__file__).resolve().parents[2]
QUANTITIES = ("alpha", "sigma", "d_alpha", "d_sigma", "ratio", "log_snr", "wronskian", "lambda", "kappa")
EXPONENTIAL = ("vp", "constant-vp", "sub-vp", "ve", "sigmoid", "raw-sigmoid", "sigmoid-vp", "lipschitz-optimal", "ddpm")


def script(path):
    """Import a script by its path, with its folder importable for its neighbours."""
    specification = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(specification)
    sys.path.insert(0, str(path.parent))
    try:
        specification.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


@pytest.fixture(scope="module")
def rows():
    with (ROOT / "benchmarks/results/precision.csv").open() as file:
        return list(csv.DictReader(file))


def test_precision_covers_everything(rows):
    """Every schedule × quantity × backend × type has one row."""
    found = [(row["schedule"], row["quantity"], row["backend"], row["dtype"]) for row in rows]
    types = ("float64", "float32")
    wanted = {(s, q, b, d) for s in BUILT_IN for q in QUANTITIES for b in BACKENDS for d in types}
    assert set(found) == wanted
    assert len(found) == len(wanted)


def test_precision_is_within_budget(rows):
    """α and σ are within 4 ulp, exponentials and everything derived within 16, in every backend."""
    for row in rows:
        exponential = row["schedule"].startswith(EXPONENTIAL)
        budget = 4.0 if row["quantity"] in ("alpha", "sigma") and not exponential else 16.0
        assert float(row["ulp"]) <= budget, row


@pytest.mark.covering(4)
@pytest.mark.parametrize("backend", BACKENDS)
def test_precision_is_fresh(rows, backend):
    """One schedule per backend, drawn by a fixed seed, is measured again at other times, and is as good."""
    precision = script(ROOT / "benchmarks/precision.py")
    name = random.Random(f"precision of {backend}").choice(sorted(BUILT_IN))
    table = {
        (row["quantity"], row["dtype"]): float(row["ulp"])
        for row in rows
        if row["schedule"] == name and row["backend"] == backend
    }
    for row in precision.measure(name, backend, random=60):
        assert float(row["ulp"]) <= 1.25 * table[row["quantity"], row["dtype"]] + 1.0, row


@pytest.mark.covering(2)
@pytest.mark.parametrize("name", ["linear", "gvp"])
def test_formulas_are_fresh(name):
    """The LaTeX of the page is what the schedule gives."""
    formulas = script(ROOT / "docs/formulas.py")
    stored = json.loads((ROOT / "docs/formulas.json").read_text())
    assert set(stored) == set(formulas.NAMES)
    assert json.loads(json.dumps(formulas.formulas(name))) == stored[name]

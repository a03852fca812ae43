"""The files that scripts write for the documentation are what the scripts would write now."""

import csv
import json
import random
from pathlib import Path

import numpy as np
import pytest

from interpolants.modules import BACKENDS
from interpolants.schedules import BUILT_IN, PAPER
from tests.support.scripts import script

ROOT = Path(__file__).resolve().parents[2]
QUANTITIES = ("alpha", "sigma", "d_alpha", "d_sigma", "ratio", "log_snr", "wronskian", "lambda", "kappa")
EXPONENTIAL = ("vp", "constant-vp", "sub-vp", "ve", "sigmoid", "raw-sigmoid", "sigmoid-vp", "lipschitz-optimal", "ddpm")


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
    """The LaTeX of the pages is what the schedule gives."""
    formulas = script(ROOT / "docs/formulas.py")
    stored = json.loads((ROOT / "docs/formulas.json").read_text())[name]
    found = json.loads(json.dumps(formulas.formulas(name)))
    assert found == {key: stored[key] for key in found}


@pytest.mark.parametrize("name", ["linear", "ve"])
def test_derivations_are_fresh(name):
    """Certificate and ends are what the schedule gives, and the measures agree to 1e-9."""
    formulas = script(ROOT / "docs/formulas.py")
    stored, schedule = json.loads((ROOT / "docs/formulas.json").read_text())[name], formulas.by_name(name)
    assert formulas.certificate(schedule) == {key: stored[key] for key in ("certificate", "ends")}
    np.testing.assert_allclose(formulas.measures(schedule), stored["measures"], rtol=1e-9)


def test_every_schedule_has_its_derivation():
    """A page for each built-in schedule, as the script writes it, and all parts of its content; no proof is missing."""
    formulas = script(ROOT / "docs/formulas.py")
    stored = json.loads((ROOT / "docs/formulas.json").read_text())
    pages = {path.stem: path.read_text() for path in (ROOT / "docs/derivations").glob("*.md")}
    assert pages == {name: formulas.page(name) for name in BUILT_IN}
    assert set(stored) == set(BUILT_IN)
    for name, found in stored.items():
        parts = {"measures", "certificate", "ends"}
        if name not in formulas.WITHOUT_LATEX:
            parts |= {"quantities", "conversions", "transport"}
            assert len(found["quantities"]) == 10
            assert len(found["conversions"]) == (20 if name in PAPER else 8)
        assert set(found) == parts
        assert [row[0] for row in found["measures"]] == list(formulas.VARIANCES)
        assert all(word in found["certificate"] for word in ("continuity", "Fokker-Planck", "conversions invert"))

"""The laws of tests/consistency can fail: each does so when its part of the source is wrong."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ledger import PROPERTIES, table, within
from tests.support.mutants import MUTANTS

ROOT = Path(__file__).resolve().parents[2]
LAWS = sorted((ROOT / "tests" / "consistency").glob("test_consistency_*.py"))
QUICK = {1, 8}
"""The mutants of the first tier; the others take longer to be noticed."""


def laws_of(file):
    """Return the names of the tests of a file with the property that each names, or None."""
    tree = ast.parse(file.read_text())
    found = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            number = re.match(r"Property (\d+):", ast.get_docstring(node) or "")
            found[node.name] = number and int(number[1])
    return found


def test_every_law_names_its_property():
    """Each test of the suite belongs to one of the twenty-five, and each of these has a test and a mutant."""
    properties = [number for file in LAWS for number in laws_of(file).values()]
    assert None not in properties
    assert set(properties) == set(PROPERTIES) == set(range(1, 26))
    assert [mutant.property for mutant in MUTANTS] == list(PROPERTIES)


@pytest.mark.parametrize("mutant", MUTANTS, ids=repr)
def test_mutants_fit_the_source(mutant):
    """What a mutant replaces occurs once, and its test exists and is about its property."""
    assert (ROOT / mutant.file).read_text().count(mutant.old) == 1
    file, names = mutant.test.split("::")
    laws = laws_of(ROOT / "tests" / "consistency" / f"test_consistency_{file}")
    assert all(laws[name] == mutant.property for name in names.split(" or "))


@pytest.mark.covering(2)
@pytest.mark.parametrize(
    "mutant",
    [m if m.property in QUICK else pytest.param(m, marks=pytest.mark.slow) for m in MUTANTS],
    ids=repr,
)
def test_the_law_fails(mutant, tmp_path):
    """In a copy of the source with the fault, the property's test fails by its own comparison."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in ("solvers", "interpolants", "backbone", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    broken = tmp_path / mutant.file
    broken.write_text(broken.read_text().replace(mutant.old, mutant.new))
    file, names = mutant.test.split("::")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0"]
    command += [f"tests/consistency/test_consistency_{file}", "-k"]
    command += [f"({names}) and {mutant.case.replace('-', ' and ')}" if mutant.case else f"({names})"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert run.returncode == 1, run.stdout[-3000:] + run.stderr[-2000:]
    line = next(line for line in run.stdout.splitlines() if re.match(rf"\s*{mutant.property}  ", line))
    assert line.endswith("FAILED")
    assert "AssertionError" in run.stdout


def test_within_is_strict():
    """An error at its budget passes; one above, NaN, and a comparison of nothing fail."""
    within([0.0, 1.0], [0.0, 1.0])
    for error, budget in ((1.1, 1.0), (float("nan"), 1.0), ([0.0, 2.0], [3.0, 1.0]), ([], []), (1e-300, 0.0)):
        with pytest.raises(AssertionError, match=r"over the budget|nothing was compared"):
            within(error, budget)


def test_the_table_shows_the_worst():
    """One line for each property: the largest share of a budget, the number of tests, the failures."""

    class Report:
        def __init__(self, failed, worst):
            self.failed, self.duration, self.user_properties = failed, 0.5, [("property", [8, *worst])]

    (line,) = table([Report(False, [0.5, 0.5, 1.0]), Report(True, [0.7, 7.0, 10.0]), Report(False, [-1.0, 0, 0])])
    wanted = "8 continuity equation 7.0e+00 of 1.0e+01 3 tests 1.5 s 1 FAILED"
    assert line.split() == wanted.split()
    assert table([]) == []

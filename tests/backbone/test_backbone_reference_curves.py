"""The recipes of configs/ci go as they went: a record of this code, for changes that were not meant. No oracle."""

import dataclasses
import json
from pathlib import Path

import pytest

from backbone.train.run import run
from backbone.train.run_config import read_config

ROOT = Path(__file__).resolve().parents[2]
RECORD = json.loads((ROOT / "tests/facts/reference_curves.json").read_text())
CURVES = {row["recipe"]: row for row in RECORD["rows"]}
# Summing in another order moves these losses by 1e-6 in 60 steps (the record's "rounding"), and other instructions,
# AVX2 or no vectors at all, by 5e-6; a learning rate that is 1 % off moves them by 4e-3 or more.
TOLERANCE = 5e-5


def _losses(name, folder, **changes):
    recipe = read_config(ROOT / f"configs/ci/{name}.toml")
    training = dataclasses.replace(recipe.training, **changes)
    return run(dataclasses.replace(recipe, out=folder, training=training, device="cpu")).losses


def _distance(losses, name):
    return max(abs(a - b) / b for a, b in zip(losses, CURVES[name]["losses"], strict=True))


def test_every_recipe_has_a_curve():
    """The record has the recipes of configs/ci, as many losses as they have steps, and says by what it was made."""
    recipes = {file.stem: read_config(file) for file in (ROOT / "configs/ci").glob("*.toml")}
    assert set(CURVES) == set(recipes)
    assert {name: len(row["losses"]) for name, row in CURVES.items()} == {
        name: recipe.training.steps for name, recipe in recipes.items()
    }
    assert {"torch", "numpy"} == set(RECORD["versions"])
    assert all(0 < row["rounding"] < TOLERANCE / 20 for row in CURVES.values())


@pytest.mark.parametrize("name", [pytest.param("chain", marks=pytest.mark.slow), *sorted(set(CURVES) - {"chain"})])
def test_a_recipe_trains_as_it_did(name, tmp_path):
    """Every loss is that of the record to 5e-5; if the change is meant, run benchmarks/reference_curves.py --save."""
    found = _distance(_losses(name, tmp_path), name)
    assert found < TOLERANCE, f"off by {found:.1e}, with torch {RECORD['versions']['torch']} in the record"


def test_a_small_change_is_noticed(tmp_path):
    """A learning rate that is 1 % larger is off by more than ten times the tolerance, so that the record can fail."""
    rate = read_config(ROOT / "configs/ci/noise.toml").training.learning_rate
    assert _distance(_losses("noise", tmp_path, learning_rate=1.01 * rate), "noise") > 10 * TOLERANCE


def test_the_losses_fall():
    """Each recipe learns: the mean of the last ten losses is below two thirds of the first."""
    for row in CURVES.values():
        assert sum(row["losses"][-10:]) / 10 < 2 / 3 * row["losses"][0]

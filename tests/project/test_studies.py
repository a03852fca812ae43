"""The digits studies and their record: what they run is what they say."""

import importlib
import json
import math
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from backbone.cli import main
from backbone.train import run as engine

ROOT = Path(__file__).resolve().parents[2]


class BegunError(Exception):
    """Raised in the place of a training."""


@pytest.fixture(scope="module")
def studies():
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        return importlib.import_module("digits_studies")


@pytest.fixture(scope="module")
def lab(studies, tmp_path_factory):
    return studies.Lab(tmp_path_factory.mktemp("runs"), studies.SMOKE)


@pytest.mark.parametrize("name", ["dit", "vp", "width-32"])
def test_the_command_of_a_variant_trains_it(studies, name, monkeypatch):
    """`sit train` with the printed flags begins the very training of the study."""
    begun = []

    def stop(config, **options):
        begun.append(config)
        raise BegunError

    monkeypatch.setattr(engine, "run", stop)
    with pytest.raises(BegunError):
        main(shlex.split(studies.command(name))[1:])
    assert begun == [studies.config(name, Path("out/studies"))]


@pytest.mark.slow
def test_a_study_runs_once_and_reports_what_it_counted(studies, lab, monkeypatch):
    """Two studies give their rows; asked again, nothing is trained or sampled a second time, and the rows are equal."""
    names = ("solver", "wall-clock")
    rows = list(studies.rows_of(lab, names))
    sampled = [row for row in rows if row["part"] == "sampling"]
    assert {row["variant"] for row in rows if row["part"] == "training"} == set(studies.trainings(names))
    assert {row["method"] for row in sampled} == {"euler", "heun", "rk4", "ddim", "ddpm", "em"}
    for row in sampled:
        assert (row["samples"], row["seeds"]) == (10, 2)
        assert 0 <= row["accuracy"] <= 1
        assert row["frechet"] > 0
        assert row["seconds"] > 0
    for name in ("run", "judge"):
        monkeypatch.setattr(studies, name, lambda *args, **options: pytest.fail("made a second time"))
    assert list(studies.rows_of(lab, names)) == rows


def test_a_training_that_was_stopped_ends_the_study(studies, tmp_path, monkeypatch):
    """Nothing is measured of a network that a signal stopped before its last step."""
    monkeypatch.setattr(studies, "run", lambda config, **options: SimpleNamespace(stopped=True))
    with pytest.raises(SystemExit, match="linear was stopped"):
        studies.Lab(tmp_path, studies.SMOKE).train("linear")


def test_means_and_standard_errors(studies, lab):
    """Of 0.8 and 0.9 the mean is 0.85 and its standard error |0.9 − 0.8|/2; the time is the least."""
    sampler = studies.Sampler("euler", 7)
    file = lab.out / "linear/measured" / f"{sampler.slug}-10x2.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    found = [{"accuracy": 0.8, "frechet": 3.0, "seconds": 2.0}, {"accuracy": 0.9, "frechet": 5.0, "seconds": 1.0}]
    file.write_text(json.dumps(found))
    row = lab.sampling("linear", sampler)
    assert (row["accuracy"], row["frechet"], row["seconds"]) == (pytest.approx(0.85), 4.0, 1.0)
    assert row["accuracy error"] == pytest.approx(0.05)
    assert row["frechet error"] == pytest.approx(1.0)


def test_the_record_is_complete(studies):
    """The committed record has each training with its command, and each sampling of the budget, once."""
    rows = json.loads((ROOT / "benchmarks/results/digits_studies.json").read_text())["rows"]
    everything, budget = list(studies.STUDIES), studies.Budget()
    commands = {row["variant"]: row["command"] for row in rows if row["part"] == "training"}
    assert commands == {name: studies.command(name) for name in studies.trainings(everything)}
    keys, sampled = ("method", "nfe", "w", "start"), [row for row in rows if row["part"] == "sampling"]
    found = [(row["variant"], studies.Sampler(*(row[key] for key in keys))) for row in sampled]
    assert found == studies.samplings(everything, budget)
    assert {row["variant"] for row in rows if row["part"] == "transport"} == set(studies.STUDIES["transport"])
    assert all(math.isfinite(value) for row in rows for value in row.values() if isinstance(value, float))

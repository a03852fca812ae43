"""`sit plot training`: logs and reports read back, the figure with its numbers, and what is refused."""

import csv
import json
import math

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")

from matplotlib.figure import Figure

from backbone.cli import main
from backbone.plots import Run, read_run, read_runs, training_curves, training_page
from backbone.plots.training import running_mean


def write(folder, rows, end="\n"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + end)
    return folder


def decaying(count, scale=1.0):
    return [{"step": 10 * k, "loss": scale / k, "lr": 1e-3 * k} for k in range(1, count + 1)]


def numbers(file):
    with file.open() as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize(
    ("suffix", "magic"),
    [
        ("png", b"\x89PNG"),
        pytest.param("svg", b"<?xml", marks=pytest.mark.slow),
        pytest.param("pdf", b"%PDF", marks=pytest.mark.slow),
    ],
)
def test_a_run_is_drawn_with_its_numbers(suffix, magic, tmp_path, capsys):
    """The figure has the format of its suffix, and the CSV every reading of every quantity that was written."""
    run, out = write(tmp_path / "small", decaying(30)), tmp_path / "new" / f"curve.{suffix}"
    assert main(["plot", "training", str(run), "--out", str(out)]) == 0
    assert capsys.readouterr().out.split() == [str(out), str(out.with_suffix(".csv"))]
    assert out.read_bytes().startswith(magic)
    rows = numbers(out.with_suffix(".csv"))
    assert {(row["panel"], row["curve"]) for row in rows} == {("loss", "small"), ("lr", "small")}
    found = {float(row["x"]): float(row["y"]) for row in rows if row["panel"] == "loss"}
    assert found == {10.0 * k: 1 / k for k in range(1, 31)}


def test_several_runs_are_laid_over_each_other(tmp_path):
    """Two logs of 300 readings: four curves of the loss, two of them running means, on a logarithmic scale."""
    runs = [str(write(tmp_path / name, decaying(300, scale))) for name, scale in (("base", 1.0), ("large", 2.0))]
    out = tmp_path / "f.png"
    assert main(["plot", "training", *runs, "--out", str(out)]) == 0
    curves = {row["curve"] for row in numbers(out.with_suffix(".csv")) if row["panel"] == "loss"}
    assert curves == {"base", "base, each reading", "large", "large, each reading"}
    smooth = {float(r["x"]): float(r["y"]) for r in numbers(out.with_suffix(".csv")) if r["curve"] == "large"}
    assert smooth[500.0] != 2.0 / 50
    ax = training_page(read_runs([tmp_path / "base", tmp_path / "large"])).axes[0]
    assert ax.get_yscale() == "log"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["base", "large"]


def test_panels_are_those_that_were_written():
    """A panel for each known quantity of any run, the loss first; a run without it has no curve there."""
    steps = np.arange(1.0, 4.0)
    lean, rich = (
        Run("lean", steps, {"loss": steps}),
        Run("rich", steps, {"loss": steps, "grad_norm": steps, "x": steps}),
    )
    assert [ax.get_gid() for ax in training_page([lean]).axes] == ["loss"]
    axes = training_page([lean, rich]).axes
    assert [ax.get_gid() for ax in axes] == ["loss", "grad_norm"]
    assert [len(ax.lines) for ax in axes] == [2, 1]


def test_losses_that_are_not_positive_have_a_plain_scale():
    """A loss that passes through zero is drawn on a linear scale, and NaN is left out."""
    run = Run("nll", np.arange(4.0), {"loss": np.array([1.0, 0.0, np.nan, -1.0])})
    ax = training_curves(Figure().subplots(), [run])
    assert ax.get_yscale() == "linear"
    assert ax.lines[0].get_xdata().tolist() == [0.0, 1.0, 3.0]


def test_the_running_mean_is_the_mean_of_neighbours():
    """Each value is numpy's mean of those at most three places away."""
    values = np.random.default_rng(0).random(20)
    wanted = [np.mean(values[max(0, k - 3) : k + 4]) for k in range(20)]
    np.testing.assert_allclose(running_mean(values, 3), wanted, rtol=1e-13)
    np.testing.assert_array_equal(running_mean(values[:1], 3), values[:1])


def test_a_log_is_read_as_a_training_leaves_it(tmp_path):
    """A resumed training writes steps again, and the later counts; gaps are NaN; a line that is being written waits."""
    rows = [
        {"step": 1, "loss": 4.0, "frechet": 9.0},
        {"step": 2, "loss": 3.0, "note": "restarted"},
        {"step": 3, "loss": 2.0},
        {"step": 2, "loss": 2.5},
    ]
    folder = write(tmp_path / "run", rows, end='\n\n{"step": 4, "lo')
    run = read_run(folder)
    assert run.name == "run"
    assert run.steps.tolist() == [1, 2, 3]
    assert run.columns["loss"].tolist() == [4.0, 2.5, 2.0]
    assert set(run.columns) == {"loss", "frechet"}
    assert [part.tolist() for part in run.curve("frechet")] == [[1.0], [9.0]]
    assert len(run.curve("lr")[0]) == 0
    (folder / "log.jsonl").rename(folder / "other.jsonl")
    assert read_run(folder / "other.jsonl").name == "other"


def test_a_loss_that_was_not_finite_is_kept_out_of_the_curve(tmp_path):
    """null, which the trainer writes for it, and NaN are read, and not drawn."""
    run = read_run(
        write(tmp_path, [{"step": 1, "loss": 1.0}, {"step": 2, "loss": None}, {"step": 3, "loss": math.nan}])
    )
    assert run.steps.tolist() == [1, 2, 3]
    assert run.curve("loss")[0].tolist() == [1.0]


def test_the_report_of_the_demonstration_is_read(tmp_path):
    """The points of its loss curve are the run, which is called after the folder."""
    folder = tmp_path / "demo"
    folder.mkdir()
    curve = [{"step": 15, "loss": 2.0}, {"step": 30, "loss": 1.0}]
    (folder / "report.json").write_text(json.dumps({"digits": {"loss_curve": curve}}))
    for source in (folder, folder / "report.json"):
        run = read_run(source)
        assert (run.name, run.steps.tolist(), run.columns["loss"].tolist()) == ("demo", [15, 30], [2.0, 1.0])


def test_runs_of_one_name_are_told_apart_by_their_paths(tmp_path, monkeypatch):
    """Two folders called run have their paths as names; two names that differ stay."""
    monkeypatch.chdir(tmp_path)
    for name in ("a/run", "b/run", "c"):
        write(tmp_path / name, decaying(2))
    sources = [tmp_path.__class__(name) for name in ("a/run", "b/run", "c")]
    assert [run.name for run in read_runs(sources)] == ["a/run", "b/run", "c"]
    assert [run.name for run in read_runs(sources[1:])] == ["run", "c"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["log.jsonl or report.json", "a folder with neither"]),
        ("", ['lines with "step" and "loss"', "with steps on 0 lines"]),
        ('{"step": 1, "lr": 0.1}\n', ['lines with "step" and "loss"', "with steps on 1 lines"]),
        ('{"loss": 1}\n', ["with steps on 0 lines"]),
        ('{"step": 1, "loss": null}\n', ["with steps on 1 lines"]),
        ("step 1 loss 2.0\n", ["with steps on 0 lines"]),
    ],
)
def test_logs_that_cannot_be_drawn(content, words, tmp_path, capsys):
    """An empty folder or log, a log without a loss and a file of another kind exit with 2 and say what was found."""
    if content is not None:
        (tmp_path / "log.jsonl").write_text(content)
    assert main(["plot", "training", str(tmp_path), "--out", str(tmp_path / "f.png")]) == 2
    error = capsys.readouterr().err
    for word in ["expected", "received", "remedy", *words]:
        assert word in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "f.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["at least one training", "none"]),
        (["nowhere"], ["log.jsonl or report.json", "nowhere, which is no file"]),
        (["run", "run"], ["each training once", "run twice"]),
        (["run/report.json"], ["a report of sit demo"]),
        (["run", "--out", "f.jpg"], [".png, .svg, .pdf", "'.jpg'"]),
    ],
)
def test_runs_that_are_not_there(arguments, words, tmp_path, monkeypatch, capsys):
    """No run, a path that leads nowhere, one given twice, a report of something else, a format that is unknown."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "run", decaying(2))
    (tmp_path / "run" / "report.json").write_text('{"digits": {"loss_curve": [3]}}')
    assert main(["plot", "training", *arguments]) == 2
    error = capsys.readouterr().err
    for word in ["expected", "received", "remedy", *words]:
        assert word in error


def test_help_lists_every_figure(capsys):
    """`sit plot --help` names the figures of schedules and those of networks, each with what it draws."""
    with pytest.raises(SystemExit) as stop:
        main(["plot", "--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    for figure in ("schedules", "transport-cost", "path-length", "bounds", "trajectories", "attention", "training"):
        assert f"• {figure} " in said

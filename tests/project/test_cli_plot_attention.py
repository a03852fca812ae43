"""`sit plot attention`: the figure, its numbers against the maps themselves, and what is refused."""

import csv
import dataclasses
import math

import matplotlib as mpl
import numpy as np
import pytest
import torch

mpl.use("Agg")

from backbone import SiT, SiTConfig, attention_distance, attention_maps, save_checkpoint
from backbone.cli import main
from backbone.plots import attention_page, read_attention
from interpolants import GVP, Linear, Noise, VPrediction, probability_flow
from solvers import Heun, solve, uniform

SMALL = SiTConfig(input_size=(8, 12), patch_size=4, in_channels=1, hidden_size=16, depth=2, num_heads=2, num_classes=3)


def network(config=SMALL):
    """A network whose every weight is random, so that no block is switched off."""
    torch.manual_seed(0)
    model = SiT(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    file = tmp_path_factory.mktemp("network") / "small.safetensors"
    save_checkpoint(file, network(), extra={"schedule": Linear().to_dict(), "prediction": "Velocity"})
    return file


def follow(model, label, samples, seed=0):
    """The states at 0.9, 0.5 and 0.1, by an independent solve on the same grid."""
    noise = Linear().prior((samples, 1, 8, 12), torch.Generator().manual_seed(seed)).float()
    labels = torch.full((samples,), label)
    with torch.no_grad():
        flow = probability_flow(Linear(), lambda time, x: model(x, time, labels))
        solution = solve(flow, noise, uniform(50), Heun(), save=True)
    return {round(float(t), 2): x for t, x in zip(solution.ts, solution.xs)}


def test_the_figure_has_the_maps_and_the_distances(checkpoint, tmp_path, capsys):
    """The CSV holds the rows of the map of each block, head and time, and the distances: those of an own solve."""
    out = tmp_path / "new" / "look.png"
    options = ["--label", "1", "--samples", "3", "--times", "0.9", "0.1", "--out", str(out)]
    assert main(["plot", "attention", str(checkpoint), *options]) == 0
    assert capsys.readouterr().out.split() == [str(out), str(out.with_suffix(".csv"))]
    assert out.read_bytes().startswith(b"\x89PNG")
    with out.with_suffix(".csv").open() as stream:
        rows = list(csv.DictReader(stream))
    states, model = follow(network(), 1, 3), network()
    for block, head, time in ((0, 1, 0.9), (1, 0, 0.1)):
        wanted = attention_maps(model, states[time][:1], time, 1)[block, 0, head, 4].reshape(2, 3)
        for row in range(2):
            curve = f"block {block}, head {head}, t = {time}, patch 1,1, row {row}"
            found = [float(line["y"]) for line in rows if line["curve"] == curve]
            np.testing.assert_allclose(found, wanted[row], rtol=0, atol=1e-5)
    for block in range(2):
        found = [line for line in rows if line["panel"] == "attention distance" and line["curve"] == f"block {block}"]
        assert [round(float(line["x"]), 3) for line in found] == [round(1 - k / 10, 3) for k in range(11)]
        maps = attention_maps(model, states[0.5], 0.5, 1)[block]
        assert float(found[5]["y"]) == pytest.approx(float(attention_distance(maps, SMALL).mean()), abs=1e-4)
    (alike, _) = [float(line["y"]) for line in rows if line["curve"] == "all alike"]
    places = [(i, j) for i in range(2) for j in range(3)]
    assert alike == pytest.approx(sum(4 * math.dist(a, b) for a in places for b in places) / 36)


def test_choices_of_patches_times_blocks_and_heads(checkpoint, tmp_path):
    """Panels are the times, one map for each patch, block, time and head that was asked for, and the distance."""
    out = tmp_path / "look.svg"
    options = ["--patch", "0,2", "1,0", "--times", "1", "0.25", "0", "--blocks", "1", "--heads", "1", "--samples", "1"]
    assert main(["plot", "attention", str(checkpoint), *options, "--out", str(out)]) == 0
    curves = {line.split('"')[1] for line in out.with_suffix(".csv").read_text().splitlines() if "patch" in line}
    wanted = {f"block 1, head 1, t = {t}, patch {p}" for t in ("1", "0.25", "0") for p in ("0,2", "1,0")}
    assert {curve.rpartition(", row")[0] for curve in curves} == wanted
    reading = read_attention(network(), Linear(), rng=torch.Generator().manual_seed(0), times=(0.5,), samples=1)
    figure = attention_page(reading, patches=[(0, 0)], blocks=[0], heads=[0, 1])
    assert len(figure.axes) == 1 + 2 + 1
    assert len(attention_page(reading).axes) == 1 + 4 + 1


@pytest.mark.parametrize(
    "config",
    [
        dataclasses.replace(SMALL, conditioning="in-context", in_channels=3, num_classes=0),
        pytest.param(
            dataclasses.replace(SMALL, input_size=(12,), in_channels=4, depth=9, positions="rope"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["in-context colour", "deep sequence"],
)
def test_other_networks_are_drawn(config, tmp_path):
    """Colour images with tokens beside the patches, and a sequence through nine blocks, have a page each."""
    reading = read_attention(network(config), GVP(), rng=torch.Generator().manual_seed(0), samples=2)
    assert reading.distances.shape == (11, config.depth)
    assert reading.maps.shape[:2] == (3, config.depth)
    figure = attention_page(reading)
    figure.savefig(tmp_path / "page.png")
    assert len(figure.axes) == 3 + 3 * 2 * min(4, config.depth) + 1


def test_a_network_of_another_prediction_is_followed_by_its_own_flow():
    """The flow is that of the prediction: with v-prediction the states differ from those of a velocity."""
    states = [
        read_attention(network(), GVP(), rng=torch.Generator().manual_seed(0), samples=1, prediction=given).states
        for given in (None, VPrediction)
    ]
    assert float((states[0] - states[1]).abs().max()) > 1e-3
    with pytest.raises(ValueError, match=r"a pole at time 1\.0"):
        read_attention(network(), GVP(), rng=torch.Generator().manual_seed(0), samples=1, prediction=Noise)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--patch", "2,0"], ["patches from 0,0 to 1,2", "received 2,0"]),
        (["--patch", "1"], ["patches from 0,0 to 1,2"]),
        (["--patch", "middle"], ["a patch as row,column", "'middle'"]),
        (["--blocks", "2"], ["blocks 0 … 1", "[2]"]),
        (["--heads", "-1"], ["heads 0 … 1", "[-1]"]),
        (["--times", "1.5"], ["times from 0, data, to 1, noise", "[1.5]"]),
        (["--label", "4"], ["a label 0 … 3", "received 4"]),
        (["--samples", "0"], ["samples to be an integer ≥ 1"]),
        (["--schedule", "lineer"], ["did you mean 'linear'"]),
        (["--prediction", "speed"], ["a prediction, one of"]),
        (["--out", "look.jpg"], [".png, .svg, .pdf"]),
    ],
)
def test_options_that_do_not_fit(options, words, checkpoint, capsys):
    """Patches, blocks, heads, times, labels and names that are not there exit with 2 and say what there is."""
    assert main(["plot", "attention", str(checkpoint), *options]) == 2
    error = capsys.readouterr().err
    for word in ["expected", "received", "remedy", *words]:
        assert word in error
    assert len(error.strip().splitlines()) == 1


def test_checkpoints_that_cannot_be_drawn(tmp_path, capsys):
    """No file, vectors without a grid, a timestep for a time, and a checkpoint that does not name its schedule."""
    linear = {"schedule": Linear().to_dict()}
    save_checkpoint(tmp_path / "vectors", SiT.for_vectors(2, hidden_size=16, num_heads=2), extra=linear)
    save_checkpoint(tmp_path / "steps", SiT(dataclasses.replace(SMALL, timesteps=1000)), extra=linear)
    save_checkpoint(tmp_path / "bare", network())
    for name, words in (
        ("absent", "which is no file"),
        ("vectors", "a network of vectors of 2 numbers"),
        ("steps", "one of 1000 timesteps"),
        ("bare", "add --schedule linear"),
    ):
        assert main(["plot", "attention", str(tmp_path / name)]) == 2
        error = capsys.readouterr().err
        assert words in error
        assert "remedy" in error
    out = tmp_path / "f.png"
    options = ["--schedule", "gvp", "--prediction", "velocity", "--samples", "1", "--times", "0.5", "--heads", "0"]
    options += ["--out", str(out)]
    assert main(["plot", "attention", str(tmp_path / "bare"), *options]) == 0
    assert out.is_file()


@pytest.mark.parametrize(
    "options", [["--out", "look.jpg"], ["--patch", "5,5"], ["--blocks", "7"], ["--patch", "here"]], ids=" ".join
)
def test_the_network_is_not_asked_in_vain(options, checkpoint, monkeypatch, capsys):
    """A file or a choice that is refused is refused before the network runs."""
    monkeypatch.setattr("backbone.plots.read_attention", None)
    assert main(["plot", "attention", str(checkpoint), *options]) == 2
    assert "remedy" in capsys.readouterr().err

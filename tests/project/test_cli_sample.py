"""``sit sample`` and ``sit reproduce``: what they print, write and return, how they say no, and what a kill costs."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from backbone import SampleConfig, SiT, SiTConfig, save_checkpoint
from backbone.cli import main
from interpolants import Linear

ROOT = Path(__file__).resolve().parents[2]
SHAPE = SiTConfig(input_size=8, in_channels=1, hidden_size=16, depth=1, num_heads=2, num_classes=10, learn_sigma=False)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small network with weights that are not zero."""
    torch.manual_seed(0)
    model = SiT(SHAPE)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn(weight.shape)
    file = tmp_path_factory.mktemp("small") / "small.safetensors"
    save_checkpoint(file, model, extra={"schedule": Linear().to_dict(), "prediction": "Velocity"})
    return file


def _command(checkpoint, out, *options):
    fixed = ("--threads", "1", "--device", "cpu", "--quiet")
    return ["sample", str(checkpoint), "--out", str(out), *fixed, *map(str, options)]


def test_sample_writes_images_and_prints_what_was_run(checkpoint, tmp_path, capsys):
    """A folder of PNG, a sheet with a row for each label, a manifest, and a table of what was run."""
    out = tmp_path / "out"
    assert main(_command(checkpoint, out, "--num", 20, "--steps", 2, "--method", "midpoint", "--guidance", 2)) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["method"] == "Midpoint()"
    assert lines["steps"] == "2 (uniform, 1 to 0)"
    assert lines["NFE"] == "4, the network 8 times for a sample"
    assert lines["guidance"] == "ClassifierFree(scale=2.0, channels=None)"
    assert lines["schedule"] == "linear, prediction Velocity"
    assert lines["samples"].startswith("20 of [8, 8, 1], uint8")
    assert lines["parameters"] == f"{sum(p.numel() for p in SiT(SHAPE).parameters()):,}"
    assert float(lines["time"].split()[0]) >= 0
    assert str(out / "manifest.json") in lines["files"]
    assert len(list((out / "samples").glob("*.png"))) == 20
    with Image.open(out / "grid.png") as image:
        assert image.height == 2 + 10 * 50
    with Image.open(out / "samples" / "000013_3.png") as image:
        assert (image.mode, image.size) == ("L", (8, 8))


def test_reproduce_makes_them_again_and_says_so(checkpoint, tmp_path, capsys):
    """Exit 0 and "identical" for the same samples, exit 1 and the distance where a digest is another."""
    out = tmp_path / "out"
    assert main(_command(checkpoint, out, "--num", 6, "--steps", 2, "--w", "sigma", "--format", "npz")) == 0
    manifest = out / "manifest.json"
    assert main(["reproduce", str(manifest), "--quiet"]) == 0
    assert "identical: all 6 samples and labels, bit for bit" in capsys.readouterr().out
    with np.load(out / "samples.npz") as first, np.load(tmp_path / "out-again" / "samples.npz") as second:
        assert (first["arr_0"] == second["arr_0"]).all()
        assert first["arr_0"].shape == (6, 8, 8, 1)
    text = json.loads(manifest.read_text())
    text["content"]["samples"] = "0" * 64
    manifest.write_text(json.dumps(text))
    assert main(["reproduce", str(manifest), "--quiet", "--out", str(tmp_path / "third"), "--batch-size", "6"]) == 1
    printed = capsys.readouterr().out
    assert "not identical: 6 of 6 samples are, the largest difference is 0" in printed
    assert "changed: batch_size 64 → 6" in printed


def test_help_has_every_option(capsys):
    """Each field of the config is an option with its own words."""
    with pytest.raises(SystemExit) as stop:
        main(["sample", "--help"])
    assert stop.value.code == 0
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for field in dataclasses.fields(SampleConfig):
        assert f"--{field.name.replace('_', '-')} " in printed
    for line in SampleConfig.__doc__.partition("Args:")[2].partition("Raises:")[0].split("\n        "):
        if ": " in line:
            assert line.partition(": ")[2].split(";")[0].split("\n")[0].strip()[:40] in printed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--num", "0"], ["num to be an integer ≥ 1"]),
        (["--method", "heum"], ["did you mean 'Heun'"]),
        (["--w", "kl"], ["infinite at t = 1", "--method EulerMaruyama --start 0.999", "ExponentialEulerMaruyama"]),
        (["--w", "sigma", "--method", "DDIM"], ["a method that takes w"]),
        (["--labels", "11"], ["classes within 0 … 10"]),
        (["--guidance", "2", "--labels", "null"], ["for guidance"]),
        (["--schedule", "gvp"], ["the schedule of", "leave out --schedule"]),
        (["--grid", "unifrom"], ["did you mean 'uniform'"]),
        (["--vae", "nowhere"], ["config.json of a VAE"]),
    ],
)
def test_bad_input_is_named(options, words, checkpoint, tmp_path, capsys):
    """Bad input exits with 2 and one line that says what to do, before a folder is made."""
    assert main(_command(checkpoint, tmp_path / "out", *options)) == 2
    error = capsys.readouterr().err
    for word in ["expected", "received", "remedy", *words]:
        assert word in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_that_cannot_be_used_is_named(checkpoint, tmp_path, capsys):
    """A file that is not there, NaN weights, and a file without schedule or prediction: each says what to do."""
    model = SiT(SHAPE)
    save_checkpoint(tmp_path / "bare.safetensors", model)
    with torch.no_grad():
        model.final_layer.linear.bias[0] = float("nan")
    save_checkpoint(tmp_path / "nan.safetensors", model)
    for name, words in (
        ("none", "expected a checkpoint file"),
        ("nan", "final_layer.linear.bias"),
        ("bare", "remedy: pass --schedule linear, or keep it in the file: sit convert --schedule linear"),
    ):
        assert main(_command(tmp_path / f"{name}.safetensors", tmp_path / "out")) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


LONG = ("--num", 16, "--steps", 60, "--batch-size", 2, "--format", "npz", "--w", "sigma")


def _start(checkpoint, out, **environment):
    command = [sys.executable, "-m", "backbone.cli", *_command(checkpoint, out, *LONG)]
    settings = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    return subprocess.Popen(command, cwd=ROOT, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _files(out):
    return {file.name: file.read_bytes() for file in out.iterdir() if file.name != "manifest.json"}


def test_a_killed_run_goes_on(checkpoint, tmp_path):
    """After kill -9 in the middle, the same command makes the bytes of a run that was not killed."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process, until = _start(checkpoint, killed), time.monotonic() + 120
    while len(list(killed.rglob("0*.npz"))) < 2 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    parts = list(killed.rglob("0*.npz"))
    assert 2 <= len(parts) < 8
    assert not (killed / "samples.npz").exists()
    assert main(_command(checkpoint, killed, *LONG)) == 0
    assert main(_command(checkpoint, whole, *LONG)) == 0
    assert _files(killed) == _files(whole)


@pytest.mark.slow
def test_two_processes_at_once_make_what_one_does(checkpoint, tmp_path):
    """Two processes with the variables of torchrun, one of them killed and started again, make the bytes of one."""
    shared, whole = tmp_path / "shared", tmp_path / "whole"
    first = _start(checkpoint, shared, RANK="0", WORLD_SIZE="2")
    second = _start(checkpoint, shared, RANK="1", WORLD_SIZE="2")
    until = time.monotonic() + 120
    while not list(shared.rglob("0*.npz")) and time.monotonic() < until:
        time.sleep(0.02)
    second.kill()
    second.communicate()
    third = _start(checkpoint, shared, RANK="1", WORLD_SIZE="2")
    for process in (first, third):
        said = process.communicate(timeout=240)
        assert process.returncode == 0, said
    assert main(_command(checkpoint, whole, *LONG)) == 0
    assert _files(shared) == _files(whole)

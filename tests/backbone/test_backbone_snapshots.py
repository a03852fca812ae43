"""Saving snapshots: what is refused, and what a run leaves that was stopped while it wrote."""

import os
import signal
import subprocess
import sys
import time

import pytest
import safetensors.torch
import torch
from stored_averages import CONFIG
from torch import nn

from backbone import EMA, Averages, PowerEMA, SiT, post_hoc, save_snapshot
from backbone.ema import find_snapshots


def test_a_failed_save_leaves_whole_files(tmp_path, monkeypatch):
    """When writing stops in the second file of a pair the first is there, and no draft."""
    model = SiT(CONFIG)
    averages = Averages(PowerEMA(model, 0.05), PowerEMA(model, 0.10))
    averages.update(model)
    save, calls = safetensors.torch.save_file, []

    def fail(tensors, file, metadata):
        calls.append(file)
        if len(calls) == 2:
            file.write_bytes(b"half")
            raise OSError("disk full")
        save(tensors, file, metadata)

    monkeypatch.setattr(safetensors.torch, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save_snapshot(tmp_path, averages)
    assert os.listdir(tmp_path) == ["snapshot-000000001-0.05.safetensors"]
    assert [s.profile.sigma_rel for s in find_snapshots(tmp_path)] == pytest.approx([0.05])


@pytest.mark.slow
def test_a_killed_run_leaves_snapshots_that_can_be_used(tmp_path):
    """A process killed while it does nothing but write leaves whole files, from which averages can be taken."""
    code = (
        f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); from stored_averages import *\n"
        "model = SiT(CONFIG); averages = Averages(PowerEMA(model, 0.05), PowerEMA(model, 0.10))\n"
        f"while True: averages.update(model); save_snapshot({str(tmp_path)!r}, averages)\n"
    )
    running = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": "."})
    while len(os.listdir(tmp_path)) < 40 and running.poll() is None:
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    assert len(find_snapshots(tmp_path)) >= 38
    assert post_hoc(tmp_path, 0.075, tolerance=0.2) is not None


def test_weights_that_half_precision_cannot_hold_are_refused(tmp_path):
    """A weight of 1e5 is refused in float16, by name, and stored in float32; one that is infinite in neither."""
    average = PowerEMA(model := SiT(CONFIG))
    with torch.no_grad():
        model.final_layer.linear.bias[0] = 1e5
    average.update(model)
    with pytest.raises(ValueError, match=r"expected finite weights; received final_layer.linear.bias .*store float32"):
        save_snapshot(tmp_path, average, dtype=torch.float16)
    assert os.listdir(tmp_path) == []
    (file,) = save_snapshot(tmp_path, average)
    assert os.listdir(tmp_path) == [file.name]
    with torch.no_grad():
        model.final_layer.linear.bias[0] = float("inf")
    average.update(model)
    with pytest.raises(ValueError, match="the training diverged"):
        save_snapshot(tmp_path, average)


def test_what_is_no_snapshot_is_refused(tmp_path):
    """A constant average, an average of nothing, another dtype, another network: each with its remedy."""
    model = SiT(CONFIG)
    power = PowerEMA(model)
    with pytest.raises(ValueError, match="expected a power-function average; received none; remedy: keep PowerEMA"):
        save_snapshot(tmp_path, EMA(model))
    with pytest.raises(ValueError, match="expected at least one update; received 0"):
        save_snapshot(tmp_path, power)
    power.update(model)
    with pytest.raises(ValueError, match="expected a dtype of float32, float16; received bfloat16"):
        save_snapshot(tmp_path, power, dtype=torch.bfloat16)
    with pytest.raises(TypeError, match="expected extra of plain JSON values"):
        save_snapshot(tmp_path, power, extra={"schedule": object()})
    other = PowerEMA(plain := nn.Linear(1, 1))
    other.update(plain)
    with pytest.raises(TypeError, match="expected a SiT; received Linear"):
        save_snapshot(tmp_path, other)
    with pytest.raises(OSError, match="missing"):
        save_snapshot(tmp_path / "missing", power)
    assert os.listdir(tmp_path) == []

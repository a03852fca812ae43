"""The benchmark of the network: what it counts, what it compares, and what its record says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from backbone.sizes import SIZES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def scripts():
    """The two scripts as modules."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import network
        import network_device

        yield network, network_device
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def by_hand(config):
    """Multiplications of a forward pass of one image: patches, blocks, last layer, embeddings and modulations."""
    t, d, pixels = config.tokens, config.hidden_size, config.patch_size**2 * config.in_channels
    attention = t * 3 * d * d + 2 * t * t * d + t * d * d
    block = attention + t * 8 * d * d + 6 * d * d
    return t * pixels * d + config.depth * block + t * d * 2 * pixels + 2 * d * d + 256 * d + d * d


def test_the_work_of_an_image(scripts):
    """The operations of a pass are twice the products by hand; XL/2 takes 711.7 GFLOP per image in training."""
    for name in ("SiT-S/2", "SiT-B/8", "SiT-XL/2"):
        assert scripts[1].forward_flops(SIZES[name]) == 2 * by_hand(SIZES[name])
    assert 3 * scripts[1].forward_flops(SIZES["SiT-XL/2"]) == pytest.approx(711.7e9, rel=1e-4)


def test_the_peer_is_the_same_network(scripts, monkeypatch):
    """At time 0 both networks have the same outputs from the same weights; one weight changed is noticed."""
    network = scripts[0]
    ours, theirs = network.networks(network.SMALL)
    assert sum(p.numel() for p in theirs.parameters()) > sum(p.numel() for p in ours.parameters())
    broken = network.peer

    def other(model):
        theirs = broken(model)
        with torch.no_grad():
            theirs.transformer_blocks[1].attn1.to_k.weight[0, 0] += 0.1
        return theirs

    monkeypatch.setattr(network, "peer", other)
    with pytest.raises(RuntimeError, match="the networks differ by"):
        network.networks(network.SMALL)


def test_a_case_that_fails_is_a_row_and_what_was_measured_is_kept(scripts, monkeypatch, capsys):
    """A case out of memory is a row that says so, those after it run, and each row is written when it is there."""
    device, written = scripts[1], []

    def measure(case, where, rate):
        if case.what == "training":
            raise torch.OutOfMemoryError("no memory\nmore")
        return {"images/s": 1.0}

    monkeypatch.setattr(device, "measure", measure)
    monkeypatch.setattr(device, "save_rows", lambda name, rows, packages, **more: written.append((name, len(rows))))
    rows = device.device_rows("cpu", True, float("inf"))
    assert [row.get("failed") for row in rows[1:3]] == ["OutOfMemoryError: no memory", None]
    assert written == [("backbone_device", k + 1) for k in range(len(rows))]
    assert len(rows) == 1 + len(list(device.cases(small=True)))
    late = device.device_rows("cpu", False, 0.0)
    assert all(row["failed"] == "the time was up" for row in late[1:])
    assert capsys.readouterr().out.count("no memory") == sum(row.get("what") == "training" for row in rows)


def test_every_size_is_measured_on_a_device(scripts):
    """All twelve sizes, training and forward, eager and compiled, the largest first; four sizes over four batches."""
    cases = list(scripts[1].cases(small=False))
    once = {(c.size, c.what, c.kind) for c in cases}
    assert once == {(s, w, k) for s in SIZES for w in ("training", "forward") for k in ("eager", "compiled")}
    assert cases[0].size == "SiT-XL/2"
    sweep = {(c.size, c.batch) for c in cases if c.kind == "eager" and c.what == "training"}
    for letter in "SBL":
        assert {batch for size, batch in sweep if size == f"SiT-{letter}/2"} == {32, 64, 128, 256}
    assert len(set(cases)) == len(cases)


@pytest.mark.slow
def test_the_benchmark_runs():
    """The short run of every part ends well, with a row for each case and no failure."""
    script = ROOT / "benchmarks" / "network.py"
    run = subprocess.run([sys.executable, str(script), "--smoke"], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    parts = [line.split("  ")[0] for line in run.stdout.splitlines()]
    assert {part: parts.count(part) for part in set(parts)} == {
        "build": 1,
        "eager": 4,
        "compiled": 4,
        "patches": 4,
        "device": 9,
    }
    assert "failed" not in run.stdout


def test_the_record_keeps_its_promises():
    """No eager pass took longer than diffusers', no compiled one by more than the spread; XL/2 took under a second."""
    rows = json.loads((ROOT / "benchmarks/results/backbone.json").read_text())["rows"]
    peer = [row for row in rows if row["part"] in ("eager", "compiled")]
    assert {(row["pass"], row["threads"], row["part"]) for row in peer} == {
        (what, threads, kind)
        for what in ("forward", "forward and backward")
        for threads in (1, 2)
        for kind in ("eager", "compiled")
    }
    assert all(row["ratio"] <= 1 for row in peer if row["part"] == "eager")
    # Compiled, both run nearly the same kernels: forward and backward are 2 to 3 % behind, which the page says.
    assert all(row["p10"] <= 1 for row in peer)
    assert all(row["most"] <= 1 for row in rows if row["part"] == "build")

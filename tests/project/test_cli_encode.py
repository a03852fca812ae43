"""sit encode: what it prints, writes and returns."""

import json
import os

import pytest

from backbone.cli import main
from tests.support.imagenet_tree import CORRUPT, write_tree


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("images") / "train")


def encode(tree, out, *more):
    command = [
        "encode",
        "--images",
        str(tree),
        "--vae",
        "identity",
        "--out",
        str(out),
        "--size",
        "16",
        "--device",
        "cpu",
    ]
    return main([*command, *more])


def test_encode_writes_a_store_and_verifies_it(tree, tmp_path, capsys):
    """A store is written with progress on stderr and a summary; --verify finds no fault, and one after a change."""
    out = tmp_path / "store"
    assert encode(tree, out, "--corrupt", "skip", "--shard-records", "6", "--classes", "3") == 0
    said = capsys.readouterr()
    assert "17 records of 3 classes, (3, 16, 16) from identity" in said.out
    assert "in 3 shards, 1 corrupt images skipped" in said.out
    assert "/18 images (" in said.err
    assert " per second, " in said.err
    assert " left" in said.err
    assert main(["encode", "--out", str(out), "--verify"]) == 0
    assert f"{out} has no faults: 17 records" in capsys.readouterr().out
    shard = out / "shard-00001.npy"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\xff")
    assert main(["encode", "--out", str(out), "--verify"]) == 1
    assert capsys.readouterr().out.startswith("shard-00001.npy was changed")
    # The remedy that is offered: remove it, encode once more.
    shard.unlink()
    assert encode(tree, out, "--corrupt", "skip", "--shard-records", "6") == 0
    assert capsys.readouterr().out.startswith("6 images in ")
    assert main(["encode", "--out", str(out), "--verify", "--vae", "identity"]) == 0


def test_encode_says_what_is_wrong(tree, tmp_path, capsys):
    """A corrupt image, another number of classes, missing arguments and a missing store exit with 2 and a remedy."""
    assert encode(tree, tmp_path / "a") == 2
    assert CORRUPT in capsys.readouterr().err
    assert encode(tree, tmp_path / "b", "--classes", "1000") == 2
    assert "expected 1000 folders of classes; received 3" in capsys.readouterr().err
    assert main(["encode", "--out", str(tmp_path / "c")]) == 2
    assert "pass --images FOLDER and --vae" in capsys.readouterr().err
    assert main(["encode", "--out", str(tmp_path / "d"), "--verify"]) == 2
    assert "expected a latent store with manifest.json" in capsys.readouterr().err


def test_one_of_several_machines(tree, tmp_path, capsys, monkeypatch):
    """A machine that ends while others have work says so, and the manifest is not there yet."""
    monkeypatch.setitem(os.environ, "RANK", "0")
    monkeypatch.setitem(os.environ, "WORLD_SIZE", "2")
    out = tmp_path / "store"
    assert encode(tree, out, "--corrupt", "skip", "--shard-records", "6") == 0
    assert "is not complete yet: other machines" in capsys.readouterr().out
    assert not (out / "manifest.json").exists()
    assert json.loads((out / "plan.json").read_text())["images"] == 18

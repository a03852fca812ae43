"""Runs that go on from damaged checkpoints, full disks and kills in the middle of a save."""

import json
import os
import resource
import shutil
import signal
import warnings

import pytest
from safetensors.torch import load_file
from training_support import plain, processes, same, toy_train, weights

from backbone import Record, files

TWO = Record(save_every=2)


def _flip(file):
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)


def _cut(file):
    os.truncate(file, file.stat().st_size // 2)


DAMAGES = {
    "a flipped bit": (lambda file: _flip(file), "its SHA-256 is another"),
    "a flipped bit of the metadata": (
        lambda file: file.write_bytes(file.read_bytes().replace(b"ema_", b"emb_", 1)),
        "SHA",
    ),
    "a truncated file": (_cut, r"\d+ bytes for \d+"),
    "an empty file": (lambda file: file.write_bytes(b""), "0 bytes for"),
    "JSON garbage": (lambda file: file.with_suffix(".json").write_text("{not json"), "JSONDecodeError"),
    "empty JSON": (lambda file: file.with_suffix(".json").write_text(""), "JSONDecodeError"),
    "JSON of another kind": (lambda file: file.with_suffix(".json").write_text("[1]"), "TypeError"),
    "JSON without the hash": (lambda file: file.with_suffix(".json").write_text("{}"), "KeyError"),
    "no text": (lambda file: file.with_suffix(".json").write_bytes(b"\xff\xfe\x00"), "UnicodeDecodeError"),
}


@pytest.mark.covering(4)
@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over(name, tmp_path):
    """The one before it is taken, with a warning that says what is wrong; the run ends where it would have ended."""
    damage, expected = DAMAGES[name]
    toy_train(tmp_path, Record(save_every=2, keep=3), steps=5)
    damage(tmp_path / "checkpoints" / "step-00000005.safetensors")
    with pytest.warns(UserWarning, match=f"step-00000005.safetensors is damaged .*{expected}.*; it is passed over"):
        resumed = toy_train(tmp_path, Record(save_every=2, keep=1), steps=7)
    assert len(resumed.losses) == 3
    assert same(weights(resumed), weights(plain(steps=7)))
    # With keep=1 the damaged one would have outlived the good ones: it was newer.
    assert [file.name for file in (tmp_path / "checkpoints").glob("*.json")] == ["step-00000007.json"]


def test_a_damaged_newer_one_does_not_outlive_a_good_one(tmp_path):
    """With keep=1 the checkpoint that is kept is the one just written, not a damaged one of a later step."""
    toy_train(tmp_path, Record(save_every=4, keep=2), steps=8)
    _flip(tmp_path / "checkpoints" / "step-00000008.safetensors")
    with pytest.warns(UserWarning, match="step-00000008.safetensors is damaged"), pytest.raises(KeyboardInterrupt):
        toy_train(tmp_path, Record(save_every=2, keep=1), steps=8, on_step=_press(6))
    assert [file.name for file in (tmp_path / "checkpoints").glob("*.json")] == ["step-00000006.json"]
    assert same(weights(toy_train(tmp_path, steps=8)), weights(plain(steps=8)))


def _press(at):
    def told(step, loss):
        if step == at:
            raise KeyboardInterrupt

    return told


def test_damaged_ones_alone_are_an_error(tmp_path):
    """Where every checkpoint is damaged the run does not begin anew over its own log."""
    toy_train(tmp_path, Record(save_every=2), steps=4)
    before = (tmp_path / "log.jsonl").read_text()
    for file in (tmp_path / "checkpoints").glob("*.safetensors"):
        _cut(file)
    with pytest.warns(UserWarning, match="is damaged"), pytest.raises(ValueError, match="received damaged ones alone"):
        toy_train(tmp_path, Record(save_every=2))
    assert (tmp_path / "log.jsonl").read_text() == before


# Where a save can be interrupted: what is called, and which call of it in the second save.
POINTS = {
    "before the average": ("replace", 0),
    "before the file": ("replace", 1),
    "between file and JSON": ("replace", 2),
    "before the old one is removed": ("unlink", 0),
    "in the middle of the old one": ("unlink", 1),
    "before the file is durable": ("fsync", 2),
    "after the file is durable": ("fsync", 3),
}


def _killed(folder, point):
    """Train, and die as by kill -9 in the second save, at a call of the operating system."""
    name, place = POINTS[point]
    where, what = (files.Path, "unlink") if name == "unlink" else (files.os, name)
    real, calls = getattr(where, what), []

    def deadly(*args, **options):
        if name != "unlink" or str(args[0]).endswith((".json", ".safetensors")):
            calls.append(args)
        if armed and len(calls) == place + 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **options)

    armed = []

    def arm(step, loss):
        if step == 3:
            calls.clear()
            armed.append(True)

    setattr(where, what, deadly)
    toy_train(folder, Record(save_every=2, keep=1), on_step=arm)


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_any_moment_of_a_save(point, tmp_path):
    """kill -9 at any point of a save leaves a good checkpoint, from which the run goes on bit for bit."""
    [(code, _)] = processes(1, _killed, tmp_path, point)
    assert code == -signal.SIGKILL
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed = toy_train(tmp_path, Record(save_every=2, keep=1))
    assert same(weights(resumed), weights(plain()))
    assert len(resumed.losses) in (2, 4)
    assert not list(tmp_path.rglob(".*.part"))
    names = {file.suffix for file in (tmp_path / "checkpoints").iterdir()}
    assert names == {".json", ".safetensors"}


def _full(folder, limit):
    """Train while no file may be larger than a limit, then without it; return the warnings."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")

        def shrink(step, loss):
            size = limit if step == 3 else resource.RLIM_INFINITY
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

        result = toy_train(folder, Record(save_every=2), on_step=shrink)
    return [str(warning.message) for warning in seen], result.losses


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_full_disk_costs_a_checkpoint_and_not_the_run(share, tmp_path):
    """A save that does not fit warns, leaves nothing of itself and the one before as it was; the training goes on."""
    toy_train(tmp_path / "size", TWO, steps=2)
    size = next((tmp_path / "size" / "checkpoints").glob("*.safetensors")).stat().st_size
    [(code, (said, losses))] = processes(1, _full, tmp_path / "run", int(share * size))
    assert code == 0
    assert any("to write " in text and "free some space" in text for text in said)
    assert losses == plain().losses
    folder = tmp_path / "run" / "checkpoints"
    assert sorted(file.name for file in folder.glob("*.json")) == ["step-00000002.json", "step-00000006.json"]
    assert not list((tmp_path / "run").rglob(".*.part"))
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines() if line]
    assert share < 0.01 or [row["step"] for row in rows if "not_saved" in row] == [4]
    shutil.rmtree(tmp_path / "size")
    for file in folder.glob("*.safetensors"):
        assert load_file(file)


def test_the_last_save_that_fails_is_an_error(tmp_path, monkeypatch):
    """In the middle a save may fail; at the end it may not, and the error says where and why."""

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    def later(step, loss):
        if step == 5:
            monkeypatch.setattr("backbone.files.os.replace", full)

    with pytest.raises(
        OSError, match=r"expected to write .*averaged.*No space left on device; remedy: free some space"
    ):
        toy_train(tmp_path, TWO, on_step=later)
    monkeypatch.undo()
    assert not list(tmp_path.rglob(".*.part"))
    assert same(weights(toy_train(tmp_path, TWO)), weights(plain()))

"""Encoding that ends early, and encoding in several processes: no record is lost, the bytes are those of one call."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backbone import encode
from tests.support.imagenet_tree import CORRUPT, bytes_of, pixel_config, write_tree

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("images") / "train")


@pytest.fixture(scope="module")
def whole(tree, tmp_path_factory):
    """The store of one call in one process."""
    out = tmp_path_factory.mktemp("whole") / "store"
    encode(pixel_config(tree, out))
    return out


class Killed(BaseException):
    """The end of a process, as far as a test in the same process can have one."""


def test_no_record_is_lost_or_encoded_twice_wherever_it_ends(tree, tmp_path, monkeypatch):
    """Ended before or after any rename, or while a shard is written, and called again: the bytes of one call."""
    real, counted = os.replace, []
    monkeypatch.setattr(os, "replace", lambda *names: (counted.append(names), real(*names)))
    encode(pixel_config(tree, tmp_path / "whole", shard_records=7))
    expected = bytes_of(tmp_path / "whole")
    # Listing and plan, three shards with notes, labels, manifest and times.
    assert len(counted) == 2 + 2 * 3 + 3
    for place in range(len(counted)):
        for after in (False, True):
            out, calls = tmp_path / f"{place}-{after}", []

            def replace(*names, after=after, place=place, calls=calls):
                calls.append(names)
                if after and len(calls) == place + 1:
                    real(*names)
                if len(calls) == place + 1:
                    raise Killed
                real(*names)

            monkeypatch.setattr(os, "replace", replace)
            with pytest.raises(Killed):
                encode(pixel_config(tree, out, shard_records=7))
            monkeypatch.setattr(os, "replace", real)
            noted = len(list((out / "progress").glob("*.json"))) if (out / "progress").exists() else 0
            shard = out / f"shard-{noted:05d}.npy"
            draft = shard.with_name(f".{shard.name}.elsewhere.1.part")
            draft.write_bytes(b"half a shard of a process that was killed")
            found = encode(pixel_config(tree, out, shard_records=7))
            # What is noted is not encoded again: 7 images of each shard.
            assert found.images == max(0, 18 - 7 * noted)
            assert draft.exists() == (noted == 3)
            draft.unlink(missing_ok=noted < 3)
            assert bytes_of(out) == expected


SLOWLY = """
import sys, time
from pathlib import Path
from backbone import EncodeConfig, encode
config = EncodeConfig(
    images=Path(sys.argv[1]), vae="identity", out=Path(sys.argv[2]), size=16, corrupt="skip", shard_records=1,
    device="cpu")
encode(config, lambda progress: time.sleep(0.05))
"""


@pytest.mark.parametrize(
    "sent", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)], ids=lambda sent: sent.name
)
def test_a_killed_process(tree, tmp_path, sent):
    """A process that is killed midway leaves whole shards only; a second call ends at the bytes of one call."""
    out = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", SLOWLY, tree, out], cwd=ROOT)
    limit = time.monotonic() + 60
    while len(list(out.glob("progress/*.json"))) < 5 and time.monotonic() < limit:
        time.sleep(0.005)
    process.send_signal(sent)
    assert process.wait() == -sent
    noted = len(list(out.glob("progress/*.json")))
    assert 5 <= noted < 18
    assert encode(pixel_config(tree, out, shard_records=1, batch_size=32)).images == 18 - noted
    encode(pixel_config(tree, tmp_path / "whole", shard_records=1, batch_size=32))
    assert bytes_of(out) == bytes_of(tmp_path / "whole")


def test_a_full_disk(tree, tmp_path, whole):
    """Where a shard does not fit, the call says so and leaves no half of it; with room the next call completes it."""
    out = tmp_path / "s"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Between the listing's and the shards' sizes: 4 records of 1536 bytes.
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        with pytest.raises(OSError, match=r"a shard to be written; received .*shard-00000.npy: .*large; .*make room"):
            encode(pixel_config(tree, out))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(out.rglob("*shard*"))
    encode(pixel_config(tree, out))
    assert bytes_of(out) == bytes_of(whole)


def test_too_small_a_disk_is_refused_at_once(tree, tmp_path, monkeypatch):
    """A disk without room for the whole store is refused before the first image."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("usage", (), {"free": 2**14}))
    with pytest.raises(OSError, match=r"expected 2\.575e-05 GiB of room; received 1\.526e-05 GiB"):
        encode(pixel_config(tree, tmp_path / "s"))


@pytest.mark.slow
def test_workers(tree, tmp_path, whole):
    """Three processes write the bytes of one, report every image, and pass on the error of a corrupt one."""
    seen = []
    encode(pixel_config(tree, tmp_path / "s", workers=3), seen.append)
    assert bytes_of(tmp_path / "s") == bytes_of(whole)
    assert seen[-1].done == seen[-1].total == 18
    with pytest.raises(ValueError, match=rf"images that can be decoded; received {CORRUPT}"):
        encode(pixel_config(tree, tmp_path / "failing", workers=2, corrupt="fail"))
    encode(pixel_config(tree, tmp_path / "failing"))
    assert bytes_of(tmp_path / "failing") == bytes_of(whole)


WORKERS = """
import sys
from pathlib import Path
from backbone import EncodeConfig, encode
from backbone.data import shard
if __name__ == "__main__":
    config = EncodeConfig(
        images=Path(sys.argv[1]), vae="identity", out=Path(sys.argv[2]), size=16, corrupt="skip", shard_records=1,
        device="cpu", workers=2)
    encode(config)
"""


def children(number):
    """Return the numbers of the processes that a process started."""
    listing = subprocess.run(["ps", "-o", "pid=", "--ppid", str(number)], capture_output=True, text=True)
    return [int(word) for word in listing.stdout.split()]


@pytest.mark.slow
def test_workers_end_with_their_parent(tmp_path):
    """When the first process is killed its workers end too, and no shard appears after that."""
    tree = write_tree(tmp_path / "train", per_class=400)
    script = tmp_path / "script.py"
    script.write_text(WORKERS)
    out = tmp_path / "s"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, script, tree, out], env=environment)
    limit = time.monotonic() + 120
    while len(list(out.glob("progress/*.json"))) < 5 and time.monotonic() < limit:
        time.sleep(0.005)
    workers = children(process.pid)
    assert len(workers) >= 2
    process.kill()
    process.wait()
    while any(os.path.exists(f"/proc/{worker}") for worker in workers) and time.monotonic() < limit:
        time.sleep(0.05)
    noted = len(list(out.glob("progress/*.json")))
    assert noted < 1200
    time.sleep(1.0)
    assert len(list(out.glob("progress/*.json"))) == noted

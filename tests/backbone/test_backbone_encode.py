"""Encoding into a store, with pixels in the place of latents: which records it has, and what survives interruptions."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from backbone import EncodeConfig, Store, StoreError, encode, verify_store
from backbone.data.images import decode
from backbone.draws import Draws
from tests.support.imagenet_tree import CLASSES, CORRUPT, bytes_of, pixel_config, write_tree

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


def test_the_records_are_the_images(tree, whole):
    """Each image that can be decoded is a record, in order, beside its mirror image, under the number of its class."""
    files = [path for name in CLASSES for path in sorted((tree / name).glob("*.JPEG"))]
    files.remove(tree / CORRUPT)
    store = Store(whole, num_classes=3)
    assert store.count == len(files) == 17
    assert store.manifest.classes == CLASSES
    stored = [store.read(np.arange(17), np.full(17, flip))[:, 0] for flip in (False, True)]
    for number, file in enumerate(files):
        pixels = decode(file.read_bytes(), 16)
        assert np.array_equal(stored[0][number], pixels.transpose(2, 0, 1))
        assert np.array_equal(stored[1][number], pixels.transpose(2, 0, 1)[:, :, ::-1])
        assert store.manifest.classes[store.labels(torch.tensor([number]))] == file.parent.name
    assert [piece.records for piece in store.manifest.shards] == [4, 4, 3, 4, 2]
    assert verify_store(whole) == []


def test_the_manifest_says_what_was_done(tree, whole):
    """The manifest names what was skipped and why, and has the channels' mean and deviation over all records."""
    manifest = json.loads((whole / "manifest.json").read_text())
    ((path, reason),) = manifest["skipped"]
    assert path == CORRUPT
    assert "truncated" in reason
    assert manifest["preprocessing"]["size"] == 16
    pixels = np.concatenate([np.load(whole / shard["name"]) for shard in manifest["shards"]]).astype(float)
    np.testing.assert_allclose(manifest["channel_mean"], pixels.mean(axis=(0, 1, 2, 4, 5)), rtol=1e-12)
    np.testing.assert_allclose(manifest["channel_std"], pixels.std(axis=(0, 1, 2, 4, 5)), rtol=1e-12)


def test_a_corrupt_image_fails_or_is_skipped(tree, tmp_path, whole):
    """By default the first corrupt image ends the call, by name; a call that skips then completes the same store."""
    with pytest.raises(
        ValueError, match=rf"images that can be decoded; received {CORRUPT}: .*truncated.*--corrupt skip"
    ):
        encode(pixel_config(tree, tmp_path / "s", corrupt="fail"))
    assert not (tmp_path / "s" / "manifest.json").exists()
    with pytest.raises(StoreError, match=r"with manifest.json"):
        Store(tmp_path / "s")
    found = encode(pixel_config(tree, tmp_path / "s"))
    # Shards 0 and 1 were there, and hold 8 of the 18 images.
    assert (found.images, found.manifest.records, found.manifest.skipped) == (10, 17, 1)
    assert bytes_of(tmp_path / "s") == bytes_of(whole)


def test_an_image_that_cannot_be_read_is_never_skipped(tmp_path):
    """A file that is gone since it was listed is an error of the disk, not a corrupt image."""
    images = write_tree(tmp_path / "train")
    config = pixel_config(images, tmp_path / "s", corrupt="fail")
    with pytest.raises(ValueError, match="decoded"):
        encode(config)
    (images / CLASSES[2] / f"{CLASSES[2]}_1.JPEG").unlink()
    with pytest.raises(FileNotFoundError, match=CLASSES[2]):
        encode(pixel_config(images, tmp_path / "s"))


def test_two_machines(tree, tmp_path, whole, monkeypatch):
    """Two ranks encode every other shard each, in any order of ending; the last completes the bytes of one call."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    found = []
    for rank in ("0", "1", "0"):
        monkeypatch.setenv("RANK", rank)
        found.append(encode(pixel_config(tree, tmp_path / "s")))
    assert [part.images for part in found] == [4 + 4 + 2, 4 + 4, 0]
    assert [part.manifest is None for part in found] == [True, False, False]
    assert bytes_of(tmp_path / "s") == bytes_of(whole)
    monkeypatch.setenv("RANK", "2")
    with pytest.raises(ValueError, match=r"RANK below WORLD_SIZE; received RANK=2, WORLD_SIZE=2"):
        encode(pixel_config(tree, tmp_path / "s"))


def test_a_rank_waits_for_the_first(tree, tmp_path, monkeypatch):
    """Another rank waits for rank 0 to list the images, and says so where it never does."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(StoreError, match=r"plan.json, which rank 0 writes; received none in 3600 s"):
        encode(pixel_config(tree, tmp_path / "s"))


def test_other_options_are_refused(tree, tmp_path, whole):
    """A store that was begun in another way is not continued; what differs is named."""
    for changes, says in (
        ({"size": 24}, r"shape \[3, 16, 16\] there, \[3, 24, 24\] here; preprocessing size 16 there, 24 here"),
        ({"shard_records": 5}, "computation shard_records 4 there, 5 here; remedy"),
        ({"flips": False}, "flips True there, False here"),
    ):
        with pytest.raises(StoreError, match=says):
            encode(pixel_config(tree, whole, **changes))
    with pytest.raises(StoreError, match=r"source train there, other here"):
        encode(pixel_config(write_tree(tmp_path / "other"), whole))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"a new or empty folder, or a store; received .*full with other files"):
        encode(pixel_config(tree, tmp_path / "full"))


def test_what_is_wrong_with_the_request(tree, tmp_path, monkeypatch):
    """Another number of classes, no images or VAE, images that are all corrupt, and a changed listing are refused."""
    with pytest.raises(
        ValueError, match=r"expected 1000 folders of classes; received 3 in .*, from n01440764 to n07747607"
    ):
        encode(pixel_config(tree, tmp_path / "a", classes=1000))
    with pytest.raises(ValueError, match=r"images and a VAE; received images None, vae None"):
        encode(EncodeConfig(out=tmp_path / "b"))
    (tmp_path / "bad" / "c").mkdir(parents=True)
    (tmp_path / "bad" / "c" / "x.jpg").write_bytes(b"no image")
    with pytest.raises(StoreError, match=r"at least one image that can be decoded"):
        encode(pixel_config(tmp_path / "bad", tmp_path / "c"))
    encode(pixel_config(tree, tmp_path / "d"))
    (tmp_path / "d" / "listing.jsonl").write_text("")
    with pytest.raises(StoreError, match=r"a changed listing.jsonl"):
        encode(pixel_config(tree, tmp_path / "d"))
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"expected Pillow, to decode images; .*interpolants\[imagenet\]"):
        encode(pixel_config(tree, tmp_path / "e"))


@pytest.mark.parametrize(
    "fields",
    [{"size": 0}, {"shard_records": 1.5}, {"workers": 0}, {"classes": 0}, {"flips": 1}, {"corrupt": "ignore"}],
    ids=lambda fields: next(iter(fields)),
)
def test_a_config_is_checked(fields):
    """Sizes and counts are at least one, flags are flags, and there are two ways with corrupt images."""
    with pytest.raises(ValueError, match=rf"expected {next(iter(fields))}.*; received"):
        EncodeConfig(out=Path("s"), **fields)


def test_without_flips(tree, tmp_path):
    """A store without mirror images is half as large and never gives one."""
    encode(pixel_config(tree, tmp_path / "s", flips=False))
    store = Store(tmp_path / "s")
    assert store.manifest.record_shape == (1, 1, 3, 16, 16)
    x, _ = store.batch(torch.zeros(40, dtype=torch.int64), Draws(0, torch.arange(40)))
    assert len(x.unique(dim=0)) == 1

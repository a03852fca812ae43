"""What a latent store refuses to be, each with the file or the fact named, and what verification finds."""

import json
import os
import shutil
import warnings

import numpy as np
import pytest
import torch

from backbone import Store, StoreError, verify_store
from backbone.draws import Draws
from tests.support.stores import file_of, latents, write_store


@pytest.fixture
def folder(tmp_path):
    data, labels = latents(10)
    return write_store(tmp_path / "store", data, labels)


def change(folder, **fields):
    """Change fields of a manifest."""
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | fields))


def test_a_whole_store_is_verified(folder):
    """Nothing is wrong with a store written by hand from the description of the format."""
    seen = []
    assert verify_store(folder, vae_sha256="0" * 64, progress=lambda done, total: seen.append((done, total))) == []
    assert seen == [(1, 3), (2, 3), (3, 3)]


def flip_a_byte(file, place=-1):
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("name", ["shard-00001.npy", "labels.npy", "listing.jsonl"])
def test_a_changed_byte_is_found(folder, name):
    """One bit of any file is found by its hash, and the file named; the others are not."""
    flip_a_byte(folder / name)
    assert verify_store(folder) == [f"{name} was changed: its hash is another than the manifest's"]


def test_a_changed_file_warns_until_it_is_verified(folder):
    """Another time of a file warns at opening; verification notes the times of a whole store, and of no other."""
    assert verify_store(folder) == []
    Store(folder)
    os.utime(folder / "shard-00002.npy", ns=(1, 1))
    with pytest.warns(UserWarning, match=r"last verified; received .*shard-00002.npy and 0 others .*--verify once"):
        Store(folder)
    assert verify_store(folder) == []
    Store(folder)
    flip_a_byte(folder / "shard-00002.npy")
    assert len(verify_store(folder)) == 1
    with pytest.warns(UserWarning, match=r"shard-00002.npy"):
        Store(folder)


def test_a_copy_can_be_verified_where_nothing_can_be_written(folder, monkeypatch):
    """A store without noted times, on a disk that is not to be written to, is verified and opened in silence."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert verify_store(folder) == []
    assert not (folder / "times.json").exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Store(folder)


def test_missing_and_short_files(folder):
    """A missing shard and a shard of another size are refused at opening, and found by verification, by name."""
    (folder / "shard-00000.npy").rename(folder / "away")
    with pytest.raises(StoreError, match=r"expected 3 shards; received .*shard-00000.npy, which does not exist"):
        Store(folder)
    assert verify_store(folder) == ["shard-00000.npy is missing"]
    (folder / "away").rename(folder / "shard-00000.npy")
    with (folder / "shard-00002.npy").open("ab") as file:
        file.write(b"x")
    with pytest.raises(StoreError, match=r"bytes; received .*shard-00002.npy with \d+; remedy"):
        Store(folder)
    assert "shard-00002.npy has" in verify_store(folder)[0]


def test_a_corrupt_shard_is_named(folder):
    """A shard whose header is damaged, or that is of another shape, is named when it is first read, and by verify."""
    store = Store(folder)
    data, _ = latents(4, shape=(4, 2, 3))
    np.save(folder / "shard-00001.npy", data)
    store._maps.clear()
    with pytest.raises(StoreError, match=r"shard-00001.npy: \(4, 2, 2, 4, 2, 3\), float16; remedy"):
        store.batch(torch.tensor([5]), Draws(0, torch.tensor([0])))
    (folder / "shard-00001.npy").write_bytes(b"no array" * 40)
    with pytest.raises(StoreError, match=r"shard-00001.npy: .*remedy: find what changed"):
        store.batch(torch.tensor([5]), Draws(0, torch.tensor([0])))
    piece = file_of(folder / "shard-00001.npy", 4)
    shards = json.loads((folder / "manifest.json").read_text())["shards"]
    change(folder, shards=[shards[0], piece, shards[2]])
    assert verify_store(folder)[0].startswith("shard-00001.npy is no such array")


@pytest.mark.parametrize(
    ("place", "value", "says"), [(0, np.nan, "NaN or infinity in record 2"), (1, -1.0, "negative")]
)
def test_bad_numbers_are_found(tmp_path, place, value, says):
    """NaN, and negative deviations, whose hashes are right, are found in their shard."""
    data, labels = latents(10)
    data[6, 1, place, 2, 1, 0] = value
    (problem,) = verify_store(write_store(tmp_path / "s", data, labels, channel_mean=[0.0] * 4, channel_std=[1.0] * 4))
    assert problem.startswith("shard-00001.npy has")
    assert says in problem


def test_wrong_statistics_are_found(folder):
    """Channel statistics that are not those of the shards, and labels outside the classes, are found."""
    mean = json.loads((folder / "manifest.json").read_text())["channel_mean"]
    change(folder, channel_mean=[mean[0] + 1e-6, *mean[1:]])
    assert verify_store(folder)[0].startswith(
        "channel_mean and channel_std of the manifest are not those of the shards"
    )
    change(folder, channel_mean=mean, classes=["only one"])
    assert verify_store(folder) == ["labels.npy has labels outside 0 … 0"]
    with pytest.raises(StoreError, match=r"expected labels from 0 to 0; received .* from 0 to 4"):
        Store(folder)


@pytest.mark.parametrize(
    ("stored", "scale", "says"),
    [
        (1.0, 0.18215, "applied twice: the stored latents are scaled already"),
        (1 / 0.18215**2, 0.18215, r"not applied: the stored latents need 0\.03"),
        (1.0, 1.0, None),
        (1 / 0.18215, 0.18215, None),
        (8.0, 1.0, "that of another VAE"),
    ],
)
def test_the_variance_of_the_latents(tmp_path, stored, scale, says):
    """A standard deviation far from 1 is refused with its cause, at opening and by verify; channels may be unit."""
    data, labels = latents(10)
    folder = write_store(tmp_path / "s", (data * np.float16(stored)).astype(np.float16), labels, scale=scale)
    if says is None:
        Store(folder)
        assert verify_store(folder) == []
    else:
        with pytest.raises(StoreError, match=rf"about unit variance; received .*{says}"):
            Store(folder)
        assert "about unit variance" in verify_store(folder)[0]
        assert Store(folder, normalise="channels").count == 10


def test_an_empty_shard_file_is_no_latents(tmp_path):
    """Zeros, as of a file that was never written, have no unit variance."""
    data, labels = latents(10)
    with pytest.raises(StoreError, match=r"standard deviation of 0 \(a damaged or empty shard"):
        Store(write_store(tmp_path / "s", 0 * data, labels))


def test_other_classes_and_another_vae(folder):
    """Another number of classes than the network's, and another VAE than was asked for, are refused."""
    with pytest.raises(StoreError, match=r"expected 1000 classes; received .* with 5, from class 0 to class 4"):
        Store(folder, num_classes=1000)
    with pytest.raises(StoreError, match=r"VAE with hash 11+; received .* of by hand with hash 00+; remedy"):
        Store(folder, vae_sha256="1" * 64)
    assert "not 1" in verify_store(folder, vae_sha256="1" * 64)[0]
    with pytest.raises(ValueError, match="normalise to be one of scale, channels"):
        Store(folder, normalise="chanels")


@pytest.mark.parametrize(
    "fields",
    [
        {"format": "interpolants-latents-2"},
        {"records": 11},
        {"parts": ["std"]},
        {"dtype": "float64"},
        {"channel_std": [1.0]},
        {"scale": None},
        {"shape": [4, 3]},
        {"shards": [{"name": "../shard.npy", "size": 1, "sha256": "", "records": 10}]},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_manifest_must_be_one(folder, fields):
    """Another format, counts that contradict one another, missing or odd fields and paths that lead out are refused."""
    change(folder, **fields)
    with pytest.raises(StoreError, match=r"expected a .*manifest.*manifest.json"):
        Store(folder)


def test_no_store(tmp_path, folder):
    """A folder without a manifest and a manifest that is no JSON are refused by name."""
    with pytest.raises(StoreError, match=r"a latent store with manifest.json; received .* without it"):
        Store(tmp_path / "nowhere")
    (folder / "manifest.json").write_text("{")
    with pytest.raises(StoreError, match=r"expected JSON; received .*manifest.json"):
        Store(folder)


def test_records_that_are_not_there(folder):
    """Records out of range, and another number of records than of draws, are refused."""
    store = Store(folder)
    for record in (-1, 10):
        with pytest.raises(ValueError, match=r"expected records from 0 to 9"):
            store.batch(torch.tensor([record]), Draws(0, torch.tensor([0])))
    with pytest.raises(ValueError, match=r"a draw for each record; received 1 and 2"):
        store.batch(torch.tensor([1]), Draws(0, torch.tensor([0, 1])))


def test_the_hash_of_a_store(tmp_path, folder):
    """Copies have the same hash; a store of other records has another."""
    shutil.copytree(folder, tmp_path / "copy")
    data, labels = latents(10, seed=1)
    other = write_store(tmp_path / "other", data, labels)
    assert Store(tmp_path / "copy").sha256 == Store(folder).sha256 != Store(other).sha256

"""Files of samples: what is written is read by others, whole or not at all, and never in memory at once."""

import errno
import hashlib
import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image

from backbone.files import replaced, sha256, sha256_of_folder
from backbone.sampling.files import read_npz, read_pngs, write_npz, write_pngs
from backbone.sampling.pixels import sheet, sheet_ids, to_bytes


def _bytes(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_npz_is_what_numpy_writes(dtype, tmp_path):
    """numpy reads the two arrays of the blocks, and the file is that of numpy.savez, byte for byte."""
    samples, labels = _bytes((11, 4, 5, 3)).astype(dtype), np.arange(11)
    write_npz(tmp_path / "a.npz", samples.shape, dtype, [samples[:4], samples[4:8], samples[8:]], labels)
    with np.load(tmp_path / "a.npz") as found:
        assert found.files == ["arr_0", "arr_1"]
        assert (found["arr_0"] == samples).all()
        assert found["arr_0"].dtype == samples.dtype
        assert (found["arr_1"] == labels).all()
    np.savez(tmp_path / "b.npz", samples, labels)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert (np.concatenate(list(read_npz(tmp_path / "a.npz"))) == samples).all()


def test_npz_is_written_and_read_block_by_block(tmp_path):
    """64 MiB in blocks of 1 MiB never take more than a few blocks of memory."""
    block, file = np.zeros((16, 256, 256, 1), np.uint8), tmp_path / "large.npz"
    tracemalloc.start()
    write_npz(file, (1024, 256, 256, 1), np.uint8, (block + np.uint8(k) for k in range(64)), np.zeros(1024, np.int64))
    written = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    last = [int(part[-1, 0, 0, 0]) for part in read_npz(file)][-1]
    read = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert file.stat().st_size > 64 * 2**20
    assert last == 63
    assert written < 8 * 2**20
    assert read < 48 * 2**20


@pytest.mark.parametrize("channels", [1, 3])
def test_pngs_are_read_back(channels, tmp_path):
    """Each sample is a PNG whose name has its number and label and whose pixels are its bytes."""
    samples, labels = _bytes((5, 6, 7, channels)), np.array([3, 1, 4, 1, 5])
    write_pngs(tmp_path / "new" / "images", [samples[:2], samples[2:]], labels)
    files = sorted((tmp_path / "new" / "images").iterdir())
    assert [file.name for file in files] == [f"00000{n}_{label}.png" for n, label in enumerate(labels)]
    with Image.open(files[2]) as image:
        assert image.mode == {1: "L", 3: "RGB"}[channels]
        assert (np.asarray(image).reshape(6, 7, channels) == samples[2]).all()
    assert (np.concatenate(list(read_pngs(tmp_path / "new" / "images"))) == samples).all()


def test_the_rule_of_bytes():
    """127.5 x + 128 with its fraction cut off, clamped, for each channel, in the order height, width, channel."""
    values = [-3.0, -1.0, -0.999, -0.5, 0.0, 0.001, 0.25, 0.75, 1.0, 3.0]
    wanted = [min(255, max(0, int(127.5 * value + 128))) for value in values]
    images = torch.tensor(values).view(1, 1, 2, 5) + torch.tensor([0.0, 0.5, -0.5]).view(1, 3, 1, 1)
    found = to_bytes(images)
    assert found.shape == (1, 2, 5, 3)
    assert found.dtype == np.uint8
    assert found[0, :, :, 0].ravel().tolist() == wanted
    assert found[0, 0, 4].tolist() == [128, 191, 64]


def test_which_samples_are_on_the_sheet():
    """Few labels have a row each, many or one fill a square with the first samples."""
    assert sheet_ids([0, 1, 2, 0, 1, 2, 0], columns=2) == [[0, 3], [1, 4], [2, 5]]
    assert sheet_ids([7] * 5) == [[0, 1, 2], [3, 4]]
    assert sheet_ids(list(range(20)), columns=3) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert sheet_ids([3]) == [[0]]


@pytest.mark.parametrize("channels", [1, 3])
def test_the_sheet_shows_its_samples(channels, tmp_path):
    """Each sample of a row is on the page, enlarged by a whole number, with white between; names come before rows."""
    samples = _bytes((5, 8, 8, channels)) // 2
    rows = [[samples[0], samples[1], samples[2]], [samples[3], samples[4]]]
    sheet(rows).save(tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as image:
        page = np.asarray(image).reshape(image.height, image.width, channels)
    assert page.shape == (2 + 2 * 50, 2 + 3 * 50, channels)
    assert (page[2:50:6, 52:100:6] == samples[1]).all()
    assert (page[7:50:6, 57:100:6] == samples[1]).all()
    assert (page[52:100:6, 52:100:6] == samples[4]).all()
    assert (page[52:, 102:] == 255).all()
    named = np.asarray(sheet(rows, ["first", "second"]))
    gutter = named.shape[1] - page.shape[1]
    assert gutter > 20
    assert (named[:, gutter:] == np.squeeze(page)).all()
    assert all((named[top : top + 48, :gutter] < 128).any() for top in (2, 52))


def test_large_samples_are_not_enlarged():
    """Samples of 64 pixels and more are shown as they are."""
    samples = _bytes((1, 64, 70, 3))
    page = np.asarray(sheet([samples]))
    assert page.shape == (68, 74, 3)
    assert (page[2:66, 2:72] == samples[0]).all()


def test_a_draft_becomes_the_file_or_vanishes(tmp_path):
    """What fails while it is written leaves the old file and nothing else; what is whole takes its place."""
    target = tmp_path / "file"
    target.write_text("old")

    def fail():
        with replaced(target, tmp_path) as draft:
            draft.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        fail()
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("file", "old")]
    with replaced(target, tmp_path) as draft:
        draft.write_text("new")
        assert target.read_text() == "old"
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("file", "new")]


def test_digests(tmp_path):
    """A file has the digest of its bytes, and a folder that of what sha256sum prints in it."""
    for name, text in (("b", "two"), ("a", "one")):
        (tmp_path / name).write_text(text)
    one, two = (hashlib.sha256(text).hexdigest() for text in (b"one", b"two"))
    assert sha256(tmp_path / "a") == one
    assert sha256_of_folder(tmp_path) == hashlib.sha256(f"{one}  a\n{two}  b\n".encode()).hexdigest()

"""Images from npz and from PNG: in order, in batches, and refused where they are not what they should be."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from backbone.evaluate import images as home
from backbone.evaluate import open_images


def pictures(n=7, shape=(4, 5, 3), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)


def folder(path, images):
    path.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image.squeeze()).save(path / f"{i:03d}.png")
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_npz_gives_its_images_in_order(save, size, tmp_path):
    """Stored or compressed, batches of 1, 3, 7 or all join to arr_0, and reading twice gives the same."""
    wanted = pictures()
    save(tmp_path / "x.npz", wanted, labels=np.arange(7))
    images = open_images(tmp_path / "x.npz")
    assert (images.count, images.shape) == (7, (4, 5, 3))
    for _ in range(2):
        batches = list(images.batches(size))
        assert [len(batch) for batch in batches] == [len(part) for part in np.split(wanted, range(size, 7, size))]
        np.testing.assert_array_equal(np.concatenate(batches), wanted)


def test_npz_is_never_whole_in_memory(tmp_path):
    """Reading 40 MB of images ten at a time takes less than 4 MB, as tracemalloc counts numpy's memory."""
    import tracemalloc

    file = tmp_path / "x.npz"
    np.savez(file, np.zeros((200, 256, 256, 3), np.uint8))
    images = open_images(file)
    tracemalloc.start()
    total = sum(len(batch) for batch in images.batches(5))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 200
    assert peak < 4e6


def test_png_gives_its_images_by_name(tmp_path):
    """RGB, and grey with a channel of its own, sorted by name; other files are left alone."""
    for shape in ((4, 5, 3), (4, 5, 1)):
        wanted = pictures(shape=shape)
        path = folder(tmp_path / f"of{shape[2]}", wanted)
        (path / "README.txt").write_text("not an image")
        images = open_images(path)
        assert (images.count, images.shape) == (7, shape)
        np.testing.assert_array_equal(np.concatenate(list(images.batches(4))), wanted)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.zeros((2, 4, 4, 3), np.float32), r"arr_0 of uint8 \(N, H, W, C\); received .* float32 \(2, 4, 4, 3\)"),
        (np.zeros((4, 4, 3), np.uint8), r"arr_0 of uint8 .* \(4, 4, 3\)"),
        (np.zeros((0, 4, 4, 3), np.uint8), r"arr_0 of uint8 .* \(0, 4, 4, 3\)"),
        (np.asfortranarray(pictures()), "arr_0 .* in Fortran order; remedy: .*ascontiguousarray"),
        (np.array([{}], object), "arr_0 of uint8 .* object"),
    ],
)
def test_other_arrays_are_refused(array, expected, tmp_path):
    """Floats, one image, no image, Fortran order and pickled objects are refused before anything is read."""
    np.savez(tmp_path / "x.npz", array)
    with pytest.raises(ValueError, match=f"expected {expected}"):
        open_images(tmp_path / "x.npz")


def test_damaged_files_are_refused(tmp_path):
    """Text, an npz without arr_0, a header that promises more than there is, flipped bytes, and nothing at all."""
    file = tmp_path / "x.npz"
    file.write_text("<html>404</html>")
    with pytest.raises(ValueError, match=r"expected an npz with arr_0; received .*not a zip"):
        open_images(file)
    np.savez(file, other=pictures())
    with pytest.raises(ValueError, match=r"expected an npz with arr_0; received .*arr_0\.npy"):
        open_images(file)
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 256, 256, 3)}
    )
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("arr_0.npy", stream.getvalue() + b"few")
    with pytest.raises(ValueError, match="expected 196608000000000 bytes of images; received 3 in"):
        open_images(file)
    np.savez(file, pictures(2000))
    data = bytearray(file.read_bytes())
    data[100_000:100_010] = b"0123456789"
    file.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"expected a whole npz; received .*CRC"):
        list(open_images(file).batches(500))
    with pytest.raises(FileNotFoundError, match="expected an npz or a folder of PNG"):
        open_images(tmp_path / "none")


def test_folders_that_are_no_set_are_refused(tmp_path):
    """No PNG, a size of its own, transparency, 16 bits, a JPEG by another name, half a file."""
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match=r"expected a folder of PNG; received .*empty without \*\.png"):
        open_images(empty)
    wide = folder(tmp_path / "wide", [pictures(1)[0], pictures(1, (4, 6, 3))[0]])
    with pytest.raises(
        ValueError, match=r"expected images of one size, \(4, 5, 3\); received \(4, 6, 3\) in .*001.png"
    ):
        list(open_images(wide).batches(2))
    for mode, kind in (("RGBA", "RGBA"), ("I;16", "I;16"), ("P", "P")):
        path = tmp_path / kind.replace(";", "")
        path.mkdir()
        Image.new(mode, (4, 4)).save(path / "a.png")
        with pytest.raises(ValueError, match=f"expected grey or RGB with 8 bits; received .* of mode {mode}"):
            open_images(path)
    lossy = tmp_path / "lossy"
    lossy.mkdir()
    Image.new("RGB", (4, 4)).save(lossy / "a.png", format="JPEG")
    with pytest.raises(ValueError, match="expected a whole PNG"):
        open_images(lossy)
    half = folder(tmp_path / "half", pictures(1, (40, 40, 3)))
    (half / "000.png").write_bytes((half / "000.png").read_bytes()[:600])
    with pytest.raises(ValueError, match="expected a whole PNG"):
        open_images(half)


def test_pillow_is_asked_for_by_name(tmp_path, monkeypatch):
    """Without Pillow a folder is refused with its name, and an npz is read."""
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    path = tmp_path / "x"
    path.mkdir()
    (path / "a.png").touch()
    with pytest.raises(ImportError, match="pip install pillow"):
        home.PngImages(path)

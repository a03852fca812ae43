"""From files to squares of pixels: ADM's crop against filters written out, odd images, and folders, zips and tars."""

import gzip
import io
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from backbone.data.images import CorruptImageError, centre_crop, decode
from backbone.data.listing import Listing, write_listing
from backbone.data.sources import Entry, find_images, read_image
from tests.support.imagenet_tree import CLASSES, CORRUPT, jpeg, photographs, write_tree


def box(x):
    """The box filter of width one."""
    return ((x > -0.5) & (x <= 0.5)).astype(float)


def cubic(x):
    """Keys's cubic convolution with a = −1/2."""
    x = np.abs(x)
    return np.where(x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x < 2, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 0.0))


def resize(pixels, width, height, kernel):
    """Filter rows and then columns, the kernel as wide as the pixels of the result, each pass rounded to 8 bits."""
    for axis, size in ((1, width), (0, height)):
        old = pixels.shape[axis]
        ratio = old / size
        centres = (np.arange(size) + 0.5) * ratio
        weights = kernel((np.arange(old) + 0.5 - centres[:, None]) / max(ratio, 1.0))
        weights /= weights.sum(axis=1, keepdims=True)
        filtered = np.moveaxis(np.tensordot(weights, pixels, axes=(1, axis)), 0, axis)
        pixels = np.clip(np.floor(filtered + 0.5), 0, 255)
    return pixels


def crop_by_hand(pixels, size):
    """ADM's centre crop: halves by box, the rest by cubic convolution, the middle."""
    height, width = pixels.shape[:2]
    while min(height, width) >= 2 * size:
        height, width = height // 2, width // 2
        pixels = resize(pixels, width, height, box)
    scale = size / min(height, width)
    height, width = round(height * scale), round(width * scale)
    pixels = resize(pixels, width, height, cubic)
    top, left = (height - size) // 2, (width - size) // 2
    return pixels[top : top + size, left : left + size]


@pytest.mark.parametrize(
    ("width", "height"), [(200, 131), (64, 64), (63, 127), (31, 20), (129, 640), (427, 260)], ids=str
)
def test_the_centre_crop(width, height):
    """For no, one or three halvings, odd sides, and enlargement, the crop is that of the filters, to one level."""
    # A roof with edges everywhere: on a smooth image all filters agree.
    image = photographs()[0].crop((120, 120, 120 + min(width, 300), 120 + min(height, 300))).resize((width, height))
    found = np.asarray(centre_crop(image, 32)).astype(int)
    expected = crop_by_hand(np.asarray(image).astype(float), 32)
    assert found.shape == (32, 32, 3)
    assert np.abs(found - expected).max() <= 1
    assert (found == expected).mean() > 0.8


def test_what_a_crop_keeps():
    """A ramp that is halved keeps its slope, and the square is central: a mark in the middle stays there."""
    ramp = np.repeat(np.arange(128, dtype=np.uint8)[None], 64, axis=0)
    halved = np.asarray(centre_crop(Image.fromarray(np.stack([ramp] * 3, -1)), 32)).astype(int)
    # Columns 2k and 2k + 1 average to 2k + ½, rounded up; 64 columns are cropped to 16 … 47.
    assert np.array_equal(halved[7, :, 1], 2 * np.arange(16, 48) + 1)
    marked = np.zeros((40, 90, 3), np.uint8)
    marked[:, 44:46] = 255
    columns = np.asarray(centre_crop(Image.fromarray(marked), 40)).sum(axis=(0, 2))
    assert np.flatnonzero(columns).tolist() == [19, 20]


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_every_mode_becomes_rgb():
    """Grey, palette, alpha and CMYK images become what they show, and an orientation is not applied."""
    photo = photographs()[0].crop((0, 0, 48, 40))
    rgb = np.asarray(photo)
    assert np.array_equal(decode(png(photo), 40), rgb[:, 4:44])
    grey = photo.convert("L")
    assert np.array_equal(decode(png(grey), 40), np.stack([np.asarray(grey)[:, 4:44]] * 3, -1))
    palette = photo.quantize(16)
    colours = np.array(palette.getpalette()[:48]).reshape(16, 3)
    assert np.array_equal(decode(png(palette), 40), colours[np.asarray(palette)][:, 4:44])
    alpha = photo.copy()
    alpha.putalpha(7)
    assert np.array_equal(decode(png(alpha), 40), rgb[:, 4:44])
    # Without black, CMYK is the complement of RGB, and JPEG keeps it to a few levels.
    cmyk = Image.merge("CMYK", [*(Image.fromarray(255 - rgb[..., c]) for c in range(3)), Image.new("L", photo.size)])
    assert np.abs(decode(jpeg(cmyk), 40).astype(int) - rgb[:, 4:44]).mean() < 6
    turned = Image.Exif()
    turned[0x0112] = 6
    assert np.array_equal(decode(jpeg(photo, exif=turned), 40), decode(jpeg(photo), 40))


def test_corrupt_images_are_refused():
    """Half a file, other bytes, no bytes, and 16 bits per channel are refused as corrupt."""
    data = jpeg(photographs()[0])
    deep = png(Image.fromarray(np.full((8, 8), 40_000, np.uint16)))
    for bad, says in (
        (data[:9000], "truncated"),
        (b"GIF89a", "Error"),
        (b"", "cannot identify"),
        (deep, "more than 8 bits"),
    ):
        with pytest.raises(CorruptImageError, match=says):
            decode(bad, 32)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("images") / "train")


def contents(source):
    """Return the classes, and for each image its label, path and bytes."""
    names, entries = find_images(source)
    return names, [(entry.label, entry.path, read_image(source, entry)) for entry in entries]


def expected(tree):
    """Return the same by sorting what is there."""
    names = sorted(CLASSES)
    files = [
        (label, f"{name}/{file.name}") for label, name in enumerate(names) for file in (tree / name).glob("n*.JPEG")
    ]
    return names, [(label, path, (tree / path).read_bytes()) for label, path in sorted(files)]


def test_class_folders(tree):
    """Classes are the sorted folders, images sorted within, and other files are left out."""
    assert contents(tree) == expected(tree)


def test_folders_within_classes_sort_as_torchvision_sorts_them(tmp_path):
    """Images are sorted by folder and then by name: those of a folder come before those of folders in it."""
    for path in ("b/z.png", "b/a/y.PNG", "b/a-/x.jpeg", "a/q.jpg", "b/.hidden/w.jpg", "b/._z.png", ".git/v.jpg"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    names, entries = find_images(tmp_path)
    # os.walk's folders, sorted as strings: "b" < "b/a" < "b/a-", as "b/a" is the beginning of "b/a-".
    assert [(names[e.label], e.path) for e in entries] == [
        ("a", "a/q.jpg"),
        ("b", "b/z.png"),
        ("b", "b/a/y.PNG"),
        ("b", "b/a-/x.jpeg"),
    ]


def pack(tree, file, kind):
    """Write a tree as an archive, in an order that is not sorted."""
    paths = sorted((path for path in tree.rglob("*") if path.is_file()), reverse=True)
    if kind.startswith("zip"):
        method = zipfile.ZIP_DEFLATED if "deflated" in kind else zipfile.ZIP_STORED
        with zipfile.ZipFile(file, "w", method) as archive:
            archive.writestr("__MACOSX/train/n01440764/._n.JPEG", b"litter")
            for path in paths:
                archive.write(path, path.relative_to(tree.parent if "above" in kind else tree))
    elif kind == "tar of tars":
        with tarfile.open(file, "w") as archive:
            for name in reversed(CLASSES):
                buffer = io.BytesIO()
                with tarfile.open(fileobj=buffer, mode="w") as inner:
                    for path in paths:
                        if path.parent.name == name:
                            inner.add(path, path.name)
                member = tarfile.TarInfo(f"{name}.tar")
                member.size = buffer.tell()
                buffer.seek(0)
                archive.addfile(member, buffer)
    else:
        with tarfile.open(file, "w") as archive:
            for path in paths:
                archive.add(path, f"./train/{path.relative_to(tree)}" if "above" in kind else path.relative_to(tree))


@pytest.mark.parametrize(
    "kind", ["zip", "zip deflated", "zip in a folder above", "tar", "tar in a folder above", "tar of tars"]
)
def test_archives_list_as_their_folder(tree, tmp_path, kind):
    """A zip or tar has the classes, labels, order, names and bytes of the folder it was made from."""
    pack(tree, tmp_path / "archive", kind)
    assert contents(tmp_path / "archive") == expected(tree)


def test_a_damaged_member_is_refused(tree, tmp_path):
    """A changed byte of a zip's member, stored or deflated, is refused by its checksum."""
    for kind, says in (("zip", "its checksum in"), ("zip deflated", "its (checksum|bytes) in")):
        file = tmp_path / kind
        pack(tree, file, kind)
        entry = next(find_images(file)[1])
        data = bytearray(file.read_bytes())
        data[entry.offset + 30 + len(entry.path) + 200] ^= 0x55
        file.write_bytes(data)
        with pytest.raises(ValueError, match=says):
            read_image(file, entry)


def test_sources_that_are_refused(tree, tmp_path):
    """Nothing there, no class folder, an empty class, a compressed tar and another file are refused by name."""
    with pytest.raises(FileNotFoundError, match="nowhere, which does not exist"):
        find_images(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"folders of classes; received .*n01440764 without one"):
        find_images(tree / CLASSES[0])
    (tmp_path / "some" / "empty").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"at least one image in each class; received .*some/empty without any"):
        list(find_images(tmp_path / "some")[1])
    pack(tree, tmp_path / "x.tar", "tar")
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress((tmp_path / "x.tar").read_bytes(), 1))
    with pytest.raises(ValueError, match=r"uncompressed tar; received .*x.tar.gz"):
        find_images(tmp_path / "x.tar.gz")
    with zipfile.ZipFile(tmp_path / "flat.zip", "w") as archive:
        archive.writestr("a.jpg", b"")
    with pytest.raises(ValueError, match=r"folders of classes; received .*flat.zip without one"):
        find_images(tmp_path / "flat.zip")
    with tarfile.open(tmp_path / "link.tar", "w") as archive:
        member = tarfile.TarInfo("a/b.jpg")
        member.type, member.linkname = tarfile.SYMTYPE, "c.jpg"
        archive.addfile(member)
    with pytest.raises(ValueError, match=r"a/b.jpg, a link"):
        find_images(tmp_path / "link.tar")


def test_a_listing_is_read_in_parts(tmp_path):
    """Entries come back as they were, any part of them, with names in any script or with a line's end in them."""
    entries = [Entry(n % 3, f"c/ñ\n雪 {n}.jpg", "zip", 2**40 + n, n, 2**32 - 1) for n in range(7)]
    write_listing(tmp_path / "l", entries)
    listing = Listing(tmp_path / "l")
    assert len(listing) == 7
    for start, stop in ((0, 7), (0, 1), (2, 5), (6, 9), (7, 9)):
        assert listing.part(start, stop) == entries[start:stop]


def test_the_tree_has_what_it_says(tree):
    """The generated tree has a grey, a CMYK, a turned and a corrupt image, and images of different sizes."""
    images = {path.name: Image.open(io.BytesIO(path.read_bytes())) for path in tree.rglob("*.JPEG")}
    assert images["n01440764_1.JPEG"].mode == "L"
    assert images["n01440764_2.JPEG"].mode == "CMYK"
    assert images["n02123045_1.JPEG"].getexif()[0x0112] == 6
    assert len({image.size for image in images.values()}) > 10
    with pytest.raises(OSError, match="truncated"):
        images[CORRUPT.rpartition("/")[2]].load()

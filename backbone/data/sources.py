"""Where images come from: class folders, a zip or a tar, listed in one order and read by place.

The classes are the sorted names of the folders, and images are sorted by class, folder and name, as torchvision's
ImageFolder sorts them; so a zip or tar of a folder lists as the folder does. Names that begin with a dot, and
``__MACOSX``, are left out, which ImageFolder does not do: they are litter of file managers.
"""

from __future__ import annotations

import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from solvers.errors import explain

__all__ = ["EXTENSIONS", "Entry", "find_images", "read_image"]

#: Suffixes of images, in lower case; other files are no images.
EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
# Signature, version, flags, method, time, date, CRC, two sizes, and the lengths of the name and of what follows it.
_ZIP_HEADER = struct.Struct("<4s5H3I2H")


@dataclass(frozen=True, slots=True)
class Entry:
    """One image.

    Attributes:
        label: number of its class.
        path: its name, from the source's root, with slashes.
        how: a file, bytes within a tar, or a member of a zip.
        offset: where it begins in the archive.
        size: how many bytes it takes there.
        crc: the checksum that a zip has of it.
    """

    label: int
    path: str
    how: Literal["file", "bytes", "zip"] = "file"
    offset: int = 0
    size: int = 0
    crc: int = 0


def find_images(source: Path) -> tuple[list[str], Iterator[Entry]]:
    """Return the classes of a source and its images in order.

    Args:
        source: a folder of class folders; a zip or uncompressed tar of one, within one folder more or not; or a tar of
            one tar per class, as ImageNet's training set is published.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: it is of another kind, compressed as a whole, has no class folder, or a class without images.
    """
    if source.is_dir():
        names = sorted(item.name for item in os.scandir(source) if item.is_dir() and _wanted(item.name))
        if not names:
            raise ValueError(_no_classes(source))
        return names, _folder(source, names)
    if not source.exists():
        remedy = "pass a folder of class folders, a zip or a tar"
        raise FileNotFoundError(explain("a source of images", f"{source}, which does not exist", remedy))
    members = list(_zip(source) if zipfile.is_zipfile(source) else _tar(source))
    return _labelled(source, [member for member in members if all(map(_wanted, PurePosixPath(member.path).parts))])


def read_image(source: Path, entry: Entry) -> bytes:
    """Return the bytes of one image; safe to call from many threads.

    Raises:
        OSError: the file or archive cannot be read.
        ValueError: the member of a zip is damaged.
    """
    if entry.how == "file":
        return (source / entry.path).read_bytes()
    # Opened each time: one position could not be shared by threads.
    with source.open("rb") as file:
        file.seek(entry.offset)
        if entry.how == "bytes":
            return file.read(entry.size)
        fields = _ZIP_HEADER.unpack(file.read(_ZIP_HEADER.size))
        file.seek(fields[-2] + fields[-1], os.SEEK_CUR)
        data = file.read(entry.size)
    try:
        # A negative window says that no zlib header is there.
        data = zlib.decompress(data, -zlib.MAX_WBITS) if fields[3] == zipfile.ZIP_DEFLATED else data
    except zlib.error as error:
        raise ValueError(f"its bytes in {source.name} are damaged: {error}") from error
    if zlib.crc32(data) != entry.crc:
        raise ValueError(f"its checksum in {source.name} is another")
    return data


def _wanted(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def _is_image(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS)


def _no_classes(source: Path) -> str:
    remedy = "put the images of each class into a folder: SOURCE/CLASS/IMAGE.jpg"
    return explain("folders of classes", f"{source} without one", remedy)


def _folder(source: Path, names: list[str]) -> Iterator[Entry]:
    """Yield the images of class folders, one class at a time, so that memory does not grow with their number."""
    for label, name in enumerate(names):
        paths = []
        for folder, below, files in os.walk(source / name, followlinks=True):
            below[:] = filter(_wanted, below)
            inside = Path(folder).relative_to(source).as_posix()
            paths += [(inside, file) for file in files if _wanted(file) and _is_image(file)]
        if not paths:
            raise ValueError(_empty(source, name))
        yield from (Entry(label, f"{inside}/{file}") for inside, file in sorted(paths))


def _empty(source: Path, name: str) -> str:
    remedy = "remove the folder, or complete the download: labels are counted over the folders"
    return explain("at least one image in each class", f"{source}/{name} without any", remedy)


def _zip(source: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(source) as archive:
        for member in archive.infolist():
            if member.is_dir() or not _is_image(member.filename):
                continue
            if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                received = f"{source}: {member.filename}, encrypted or packed otherwise"
                raise ValueError(explain("members stored or deflated", received, "pack it with zip -0 -r"))
            yield Entry(0, member.filename, "zip", member.header_offset, member.compress_size, member.CRC)


def _tar(source: Path) -> Iterator[Entry]:
    try:
        with tarfile.open(source, "r:") as archive:
            yield from _members(source, archive, "", 0)
    except tarfile.ReadError as error:
        remedy = "unpack it, or decompress a .tar.gz: only a plain tar can be read from the middle"
        raise ValueError(explain("a folder, a zip or an uncompressed tar", f"{source}: {error}", remedy)) from error


def _members(source: Path, archive: tarfile.TarFile, prefix: str, start: int) -> Iterator[Entry]:
    """Yield the images of a tar that begins at a byte of the file, and of the tars within it."""
    while (member := archive.next()) is not None:
        # The archive would remember all its members, a kilobyte each.
        archive.members = []  # type: ignore[attr-defined]
        path = str(PurePosixPath(prefix, member.name))
        if member.isreg() and path.endswith(".tar"):
            with tarfile.open(fileobj=archive.extractfile(member), mode="r:") as inner:
                yield from _members(source, inner, path.removesuffix(".tar"), start + member.offset_data)
        elif _is_image(path):
            if not member.isreg():
                raise ValueError(explain("images as files", f"{source}: {path}, a link", "pack it with tar -h"))
            yield Entry(0, path, "bytes", start + member.offset_data, member.size)


def _labelled(source: Path, members: list[Entry]) -> tuple[list[str], Iterator[Entry]]:
    """Return the classes of an archive and its images in order."""
    parts = [(PurePosixPath(member.path).parts, member) for member in members]
    # "train/n01440764/x.JPEG" has a folder around the classes, which is no class.
    while parts and all(len(path) > 2 for path, _ in parts) and len({path[0] for path, _ in parts}) == 1:
        parts = [(path[1:], member) for path, member in parts]
    inside = [(path, member) for path, member in parts if len(path) > 1]
    if not inside:
        raise ValueError(_no_classes(source))
    inside.sort(key=lambda item: (item[0][0], "/".join(item[0][:-1]), item[0][-1]))
    names = sorted({path[0] for path, _ in inside})
    labels = {name: label for label, name in enumerate(names)}
    return names, (
        Entry(labels[path[0]], "/".join(path), member.how, member.offset, member.size, member.crc)
        for path, member in inside
    )

"""Sets of images on disk, read batch by batch: the npz of the ADM suite, and folders of PNG."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

import numpy as np
from numpy.typing import NDArray

from solvers.errors import explain

__all__ = ["Images", "NpzImages", "PngImages", "open_images"]

Batch = NDArray[np.uint8]


class Images(Protocol):
    """A set of images of one size, in an order that does not change."""

    source: str
    count: int
    shape: tuple[int, int, int]

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield the images, uint8 (n, H, W, C), with n = ``size`` but for the last batch."""
        ...


def open_images(path: Path) -> Images:
    """Return the images of an npz or of a folder; they are read when asked for.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: no image in it, or none that this reads.
    """
    if path.is_dir():
        return PngImages(path)
    if path.is_file():
        return NpzImages(path)
    raise FileNotFoundError(explain("an npz or a folder of PNG", f"{path}, which is neither", "check the path"))


class NpzImages:
    """The member ``arr_0`` of an npz, uint8 (N, H, W, C), compressed or not, of which one batch at a time is in memory.

    Args:
        file: such as the samples that ADM, DiT and SiT write, or a reference batch of the ADM suite.

    Raises:
        ValueError: no npz, no such member, of another type or shape, or not whole.
    """

    def __init__(self, file: Path) -> None:
        self.source, self._file = str(file), file
        try:
            with zipfile.ZipFile(file) as archive, archive.open("arr_0.npy") as stream:
                (shape, fortran, dtype), start = _header(stream), stream.tell()
                size = archive.getinfo("arr_0.npy").file_size - start
        except (zipfile.BadZipFile, KeyError, ValueError, NotImplementedError, EOFError) as error:
            remedy = "write the images with numpy.savez(file, images)"
            raise ValueError(explain("an npz with arr_0", f"{file} ({error})", remedy)) from error
        if dtype != np.uint8 or len(shape) != 4 or fortran or 0 in shape:
            order = ", in Fortran order" if fortran else ""
            remedy = "round to 0 … 255 and put channels last: numpy.ascontiguousarray(images)"
            raise ValueError(explain("arr_0 of uint8 (N, H, W, C)", f"{file} with {dtype} {shape}{order}", remedy))
        if size != math.prod(shape):
            remedy = "copy or write the file again"
            raise ValueError(explain(f"{math.prod(shape)} bytes of images", f"{size} in {file}", remedy))
        self.count, self.shape = shape[0], (shape[1], shape[2], shape[3])

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield batches of ``size``."""
        one = math.prod(self.shape)
        with zipfile.ZipFile(self._file) as archive, archive.open("arr_0.npy") as stream:
            _header(stream)
            for start in range(0, self.count, size):
                n = min(size, self.count - start)
                try:
                    data = stream.read(n * one)
                except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                    remedy = "copy or write the file again"
                    raise ValueError(explain("a whole npz", f"{self._file} ({error})", remedy)) from error
                yield np.frombuffer(data, np.uint8).reshape(n, *self.shape)


class PngImages:
    """The files ``*.png`` of a folder, in the order of their names, of one size: grey (C = 1) or RGB with 8 bits.

    Args:
        folder: without its subfolders.

    Raises:
        ValueError: no PNG.
        ImportError: Pillow is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self.source = str(folder)
        self._files = sorted(file for file in folder.iterdir() if file.suffix.lower() == ".png")
        if not self._files:
            remedy = "put the images into this folder itself, as PNG: other formats lose pixels"
            raise ValueError(explain("a folder of PNG", f"{folder} without *.png", remedy))
        self.count = len(self._files)
        first = self._read(self._files[0])
        self.shape = (first.shape[0], first.shape[1], first.shape[2])

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield batches of ``size``."""
        for start in range(0, self.count, size):
            images = [self._read(file) for file in self._files[start : start + size]]
            for file, image in zip(self._files[start : start + size], images):
                if image.shape != self.shape:
                    received = f"{image.shape} in {file}"
                    raise ValueError(explain(f"images of one size, {self.shape}", received, "resize them all alike"))
            yield np.stack(images)

    @staticmethod
    def _read(file: Path) -> Batch:
        try:
            from PIL import Image, UnidentifiedImageError
        except ImportError as error:
            raise ImportError(explain("Pillow, to read PNG", "no package PIL", "pip install pillow")) from error
        try:
            with Image.open(file, formats=["PNG"]) as image:
                if image.mode not in ("L", "RGB"):
                    remedy = "convert them: palettes, transparency and 16 bits have no one meaning for a network"
                    raise ValueError(explain("grey or RGB with 8 bits", f"{file} of mode {image.mode}", remedy))
                pixels = np.asarray(image)
        except (UnidentifiedImageError, OSError, SyntaxError) as error:
            raise ValueError(explain("a whole PNG", f"{file} ({error})", "write the file again")) from error
        return pixels[..., None] if pixels.ndim == 2 else pixels


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Read the header of an npy stream up to its first value."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"npy version {version}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    header: tuple[tuple[int, ...], bool, np.dtype[np.generic]] = read(stream)
    return header

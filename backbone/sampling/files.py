"""The files that samples end in, written from a stream: ADM's npz, and folders of PNG."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["read_npz", "read_pngs", "write_npz", "write_pngs"]

_READ = 1 << 24


def write_npz(
    file: Path, shape: tuple[int, ...], dtype: DTypeLike, blocks: Iterable[NDArray[Any]], labels: NDArray[np.int64]
) -> None:
    """Write ``arr_0`` of blocks and ``arr_1`` of labels, as ``numpy.savez(file, samples, labels)`` would.

    The bytes depend on the samples alone: no dates, no compression. One block is in memory at a time.

    Args:
        file: where.
        shape: of all samples.
        dtype: of the samples.
        blocks: samples along the first axis, one block after another.
        labels: (N,).
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        with archive.open(zipfile.ZipInfo("arr_0.npy"), "w", force_zip64=True) as member:
            header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(member, header)
            for block in blocks:
                member.write(np.ascontiguousarray(block).data)
        with archive.open(zipfile.ZipInfo("arr_1.npy"), "w", force_zip64=True) as member:
            np.lib.format.write_array(member, labels, allow_pickle=False)


def read_npz(file: Path) -> Iterator[NDArray[Any]]:
    """Yield the samples of ``arr_0`` in blocks of some megabytes."""
    with zipfile.ZipFile(file) as archive, archive.open("arr_0.npy") as member:
        np.lib.format.read_magic(member)
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
        row = dtype.itemsize * math.prod(shape[1:])
        rows = max(1, _READ // row)
        for first in range(0, shape[0], rows):
            count = min(rows, shape[0] - first)
            yield np.frombuffer(member.read(count * row), dtype).reshape(count, *shape[1:])


def write_pngs(folder: Path, blocks: Iterable[NDArray[np.uint8]], labels: NDArray[np.int64]) -> None:
    """Write a file ``number_label.png`` for each sample (H, W, C) into a new folder."""
    from PIL import Image

    folder.mkdir(parents=True)
    number = 0
    for block in blocks:
        for image in block:
            page = image[:, :, 0] if image.shape[2] == 1 else image
            Image.fromarray(page).save(folder / f"{number:06}_{labels[number]}.png")
            number += 1


def read_pngs(folder: Path) -> Iterator[NDArray[Any]]:
    """Yield the images of :func:`write_pngs` in order, each as a block (1, H, W, C)."""
    from PIL import Image

    for file in sorted(folder.glob("*.png"), key=lambda file: int(file.name.partition("_")[0])):
        with Image.open(file) as image:
            pixels = np.asarray(image)
        yield pixels.reshape(1, *pixels.shape[:2], -1)

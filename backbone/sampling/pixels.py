"""From what a network makes to bytes, and a sheet of some of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["RULE", "sheet", "sheet_ids", "to_bytes"]

RULE = "127.5 x + 128, clamped to [0, 255], fraction cut off"
_CELL, _MARGIN, _PAPER = 48, 2, 255


def to_bytes(images: Tensor) -> NDArray[np.uint8]:
    """Return images (N, C, H, W) with values around [-1, 1] as bytes (N, H, W, C), by the rule of DiT and SiT.

    >>> import torch
    >>> to_bytes(torch.tensor([-1.1, -1.0, 0.0, 0.996, 1.0]).view(1, 1, 1, 5)).ravel().tolist()
    [0, 0, 128, 254, 255]
    """
    scaled = (127.5 * images.to(torch.float32) + 128.0).clamp(0.0, 255.0)
    return np.ascontiguousarray(scaled.permute(0, 2, 3, 1).to("cpu", torch.uint8).numpy())


def sheet_ids(labels: Sequence[int], columns: int = 8, rows: int = 10) -> list[list[int]]:
    """Return the numbers of the samples of a sheet, a row each: by label where the labels are few.

    Args:
        labels: of all samples.
        columns: at most so many samples in a row.
        rows: at most so many rows; with more labels the first samples fill a square.
    """
    values = sorted(set(labels))
    if 1 < len(values) <= rows:
        found: dict[int, list[int]] = {value: [] for value in values}
        for number, label in enumerate(labels):
            if len(found[label]) < columns:
                found[label].append(number)
        return list(found.values())
    count = min(len(labels), columns * columns)
    side = math.ceil(math.sqrt(count))
    return [list(range(first, min(first + side, count))) for first in range(0, count, side)]


def sheet(rows: Sequence[Sequence[NDArray[np.uint8]]], names: Sequence[str] | None = None) -> Image:
    """Return rows of images (H, W, C) on one page, small ones enlarged by a whole number.

    Args:
        rows: at least one image; of one shape, with 1 or 3 channels.
        names: one for each row, written before it.
    """
    from PIL import ImageDraw, ImageFont
    from PIL.Image import fromarray

    height, width, channels = rows[0][0].shape
    zoom = max(1, _CELL // max(height, width))
    step_y, step_x = zoom * height + _MARGIN, zoom * width + _MARGIN
    font = ImageFont.load_default()
    gutter = _MARGIN + max((math.ceil(font.getlength(name)) + 2 * _MARGIN for name in names or ()), default=0)
    shape = (step_y * len(rows) + _MARGIN, step_x * max(map(len, rows)) + gutter, channels)
    page = np.full(shape, _PAPER, dtype=np.uint8)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            top, left = _MARGIN + i * step_y, gutter + j * step_x
            large = image.repeat(zoom, axis=0).repeat(zoom, axis=1)
            page[top : top + zoom * height, left : left + zoom * width] = large
    found = fromarray(page[:, :, 0] if channels == 1 else page)
    for i, name in enumerate(names or ()):
        middle = _MARGIN + i * step_y + zoom * height // 2
        ImageDraw.Draw(found).text((2 * _MARGIN, middle), name, fill=0, font=font, anchor="lm")
    return found

r"""From the bytes of an image to the square of pixels that is encoded, as ADM and SiT make it.

An image becomes RGB by Pillow's own conversion, whatever it is: grey, CMYK, with a palette or with an alpha channel,
which is dropped. Its EXIF orientation is ignored, as those codes ignore it. Then it is halved with a box filter while
its shorter side is at least twice the size, reduced or enlarged to the size by bicubic interpolation, and cropped.

References: Dhariwal & Nichol (2021), arXiv:2105.05233, code; Ma et al. (2024), arXiv:2401.08740, code.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["CorruptImageError", "centre_crop", "decode"]


class CorruptImageError(ValueError):
    """The bytes are no whole image."""


def centre_crop(image: Image.Image, size: int) -> Image.Image:
    """Return the central square of an image, its shorter side brought to ``size`` pixels."""
    from PIL import Image

    while min(image.size) >= 2 * size:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = size / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


def decode(data: bytes, size: int) -> NDArray[np.uint8]:
    """Return the central square of an image, (size, size, 3).

    Args:
        data: a file that Pillow reads.
        size: side of the square, pixels.

    Raises:
        CorruptImageError: the data are no image, end early, claim to be too large, or have 16 bits per channel, which
            a conversion would clip without a word.
    """
    from PIL import Image

    # The decoders raise OSError, SyntaxError, ValueError, struct.error, zlib.error and others on damaged bytes.
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            mode, whole = image.mode, image.convert("RGB")
    except Exception as error:
        raise CorruptImageError(f"{type(error).__name__}: {error}".replace(repr(data), "…")) from error
    if mode.startswith(("I", "F")):
        raise CorruptImageError(f"mode {mode}: more than 8 bits per channel")
    return np.asarray(centre_crop(whole, size))

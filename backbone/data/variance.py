"""Whether latents have about unit variance, as every recipe of a training assumes, and why not."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbone.data.manifest import Manifest, StoreError
from solvers.errors import explain

__all__ = ["check_variance"]

#: Standard deviations between ½ and 2 are taken for one.
LEAST, MOST = 0.5, 2.0


def check_variance(folder: Path, manifest: Manifest, stored: NDArray[Any], normalise: str) -> None:
    """Refuse a store whose latents a network would see far from unit variance.

    Args:
        folder: for the message.
        manifest: of the store.
        stored: some of its records, (N, 2, C, h, w).
        normalise: ``"scale"`` or ``"channels"``.

    Raises:
        StoreError: the standard deviation is outside [½, 2] or not finite; with the likely cause.
    """
    mean, std = stored[:, 0].astype(np.float64), stored[:, 1].astype(np.float64)
    # The law of total variance, of each channel.
    variance = mean.var(axis=(0, 2, 3)) + np.square(std).mean(axis=(0, 2, 3))
    gain = manifest.scale if normalise == "scale" else 1.0 / np.array(manifest.channel_std)
    found = float(np.sqrt(np.mean(variance * np.square(gain))))
    if not LEAST <= found <= MOST:
        received = f"{folder} with a standard deviation of {found:.3g} {cause(found, manifest.scale)}"
        remedy = "mend scale in manifest.json, encode again with the right VAE, or pass normalise='channels'"
        raise StoreError(explain("latents of about unit variance", received, remedy))


def cause(found: float, scale: float) -> str:
    """Return what a standard deviation other than one is likely to come from."""
    if not math.isfinite(found) or found == 0.0:
        return "(a damaged or empty shard: run sit encode --verify)"
    # On a logarithmic axis, nearer to the scale than halfway to one.
    ratio = math.log(found) / math.log(scale) if scale not in (0.0, 1.0) and scale > 0 else 0.0
    if 0.5 < ratio < 1.5:
        return f"(the scale {scale:.5g} was applied twice: the stored latents are scaled already)"
    if -1.5 < ratio < -0.5:
        return (
            f"(the scale was not applied: the stored latents need {scale / found:.5g}, the manifest says {scale:.5g})"
        )
    return f"(the scale {scale:.5g} is that of another VAE)"

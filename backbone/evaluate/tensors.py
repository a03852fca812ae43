"""Images through a torch module, always in the same precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["on_device"]


def on_device(function: Callable[[torch.Tensor], Any], images: NDArray[np.uint8], device: str) -> Any:
    """Call the function with uint8 (n, C, H, W) on the device; no gradient, and float32 that is float32.

    TensorFloat-32, which cuDNN uses by default, moves features by 1e-3.
    """
    # Images of a file are read-only, of which torch would warn; a copy is small beside the network.
    batch = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)).copy()).to(device)
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        return function(batch)

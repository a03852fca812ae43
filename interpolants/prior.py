"""The noise that sampling starts from."""

from __future__ import annotations

from typing import Any

import numpy as np

from solvers.errors import explain

__all__ = ["generator_or_default", "standard_normal"]


def generator_or_default(rng: Any) -> Any:
    """Return the generator, or where there is none numpy's with the seed 0."""
    return np.random.default_rng(0) if rng is None else rng


def standard_normal(shape: tuple[int, ...], rng: Any) -> Any:
    """Draw N(0, I) from a numpy or torch generator."""
    if isinstance(rng, np.random.Generator):
        return rng.standard_normal(shape)
    module = type(rng).__module__.partition(".")[0]
    if module == "torch":
        import torch

        return torch.randn(shape, generator=rng, device=rng.device)
    remedy = "pass numpy.random.default_rng(seed) or torch.Generator().manual_seed(seed)"
    raise TypeError(explain("a numpy or torch generator", type(rng).__name__, remedy))

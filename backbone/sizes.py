"""Networks by name: the published sizes of SiT and DiT, and a small one for vectors; free of torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from backbone.config import SiTConfig
from solvers.errors import closest, explain

__all__ = ["DIT_SIZES", "SIZES", "named_config", "vector_config"]

_WIDTHS = {"S": (12, 384, 6), "B": (12, 768, 12), "L": (24, 1024, 16), "XL": (28, 1152, 16)}

#: The twelve published shapes, ``SiT-S/8`` to ``SiT-XL/2``.
SIZES: Mapping[str, SiTConfig] = {
    f"SiT-{size}/{patch}": SiTConfig(patch_size=patch, depth=depth, hidden_size=width, num_heads=heads)
    for size, (depth, width, heads) in _WIDTHS.items()
    for patch in (2, 4, 8)
}

#: The same shapes, ``DiT-S/8`` to ``DiT-XL/2``, whose time is the index of one of 1000 timesteps.
DIT_SIZES: Mapping[str, SiTConfig] = {
    name.replace("SiT", "DiT"): dataclasses.replace(config, timesteps=1000) for name, config in SIZES.items()
}


def named_config(name: str, sizes: Mapping[str, SiTConfig] = SIZES, /, **overrides: Any) -> SiTConfig:
    """Return the config of a published size, with fields replaced.

    Args:
        name: one of ``sizes``, such as ``"SiT-XL/2"``.
        sizes: :data:`SIZES` or :data:`DIT_SIZES`.
        overrides: fields of :class:`SiTConfig`.

    Raises:
        ValueError: ``name`` is not in the table (the choices are listed), or a value is out of range.
        TypeError: an override is not a field (the closest fields are named).
    """
    if name not in sizes:
        raise ValueError(
            explain(f"one of {', '.join(sizes)}", repr(name), f"closest: {closest(name, sizes)}; or SiT(SiTConfig(…))")
        )
    return _replaced(sizes[name], overrides)


def vector_config(features: int, /, **overrides: Any) -> SiTConfig:
    """Return the config of a small network without labels on vectors (N, features), with fields replaced.

    Raises:
        ValueError: a value is out of range.
        TypeError: an override is not a field (the closest fields are named).
    """
    small = SiTConfig(
        input_size=(),
        patch_size=1,
        in_channels=features,
        hidden_size=128,
        depth=3,
        num_heads=4,
        num_classes=0,
        learn_sigma=False,
    )
    return _replaced(small, overrides)


def _replaced(config: SiTConfig, overrides: Mapping[str, Any]) -> SiTConfig:
    known = [field.name for field in dataclasses.fields(SiTConfig)]
    for key in overrides:
        if key not in known:
            raise TypeError(
                explain("overrides that are fields of SiTConfig", repr(key), f"closest: {closest(key, known)}")
            )
    return dataclasses.replace(config, **overrides)

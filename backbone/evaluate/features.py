"""What turns images into features: pixels, a network in a file, or anything of your own."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backbone.evaluate.rows import expect_finite, host
from solvers.errors import explain

if TYPE_CHECKING:
    import torch

__all__ = ["Extractor", "Features", "extractor", "from_module", "pixels"]

_ABSENT = "say --features FILE; docs/evaluation.md says where Inception's weights are; --features pixels needs none"


@dataclass(frozen=True, slots=True)
class Features:
    """What a network says of n images.

    Attributes:
        pool: (n, d), of FID, precision and recall; of Inception pool_3, d = 2048.
        spatial: (n, s), of sFID, or None; of Inception 7 channels of 17 × 17, s = 2023.
        logits: (n, C), of the Inception score, up to a constant per row, or None.
    """

    pool: NDArray[Any]
    spatial: NDArray[Any] | None = None
    logits: NDArray[Any] | None = None


@dataclass(frozen=True, slots=True)
class Extractor:
    """A function of images with a name, which checks what the function returns.

    Args:
        name: what the numbers are of; sets are comparable where it is the same, so a file's name has its hash.
        function: takes uint8 (n, H, W, C) and returns :class:`Features`, or an array (n, d), which is ``pool``.
        notes: what else a reader of the numbers must know, for the report.
    """

    name: str
    function: Callable[[NDArray[np.uint8]], Any]
    notes: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, images: NDArray[np.uint8], first: int = 0) -> Features:
        """Return the features of images uint8 (n, H, W, C), of which the first has number ``first`` in errors.

        Raises:
            ValueError: other shapes than (n, width), or values that are not finite, by the number of the image.
        """
        found = self.function(images)
        features = found if isinstance(found, Features) else _of(found)
        for part in ("pool", "spatial", "logits"):
            array = getattr(features, part)
            if array is None:
                continue
            if array.ndim != 2 or len(array) != len(images):
                remedy = "flatten what belongs to one image"
                raise ValueError(explain(f"{part} of shape ({len(images)}, width)", f"{array.shape}", remedy))
            if part != "logits":  # of which −∞ is one
                expect_finite(f"{part} features, a row for each image", array, first)
        return features


def pixels() -> Extractor:
    """Return the pixels themselves, in [0, 1], as features: for tests and small images, without published numbers."""
    return Extractor("pixels", lambda images: images.reshape(len(images), -1) / 255.0, {"resize": "none"})


def from_module(module: torch.nn.Module, name: str, device: str = "cpu") -> Extractor:
    """Return the features of a torch module, with gradients off and in evaluation mode.

    Args:
        module: takes uint8 (n, C, H, W) and returns ``pool`` (n, d), or a dict with ``pool`` and perhaps ``spatial``
            and ``logits``.
        name: what the numbers are of.
        device: where it runs.
    """
    from backbone.evaluate.tensors import on_device

    model = module.to(device).eval()

    def call(images: NDArray[np.uint8]) -> Features:
        return _of(on_device(model, images, device))

    return Extractor(name, call, {"device": device})


def _of(found: Any) -> Features:
    if not isinstance(found, dict):
        return Features(host(found))
    if "pool" not in found or not found.keys() <= {"pool", "spatial", "logits"}:
        remedy = "return a tensor (n, d), or a dict with pool, spatial and logits"
        raise ValueError(explain("a dict with pool", f"one with {sorted(found)}", remedy))
    return Features(**{key: host(value) for key, value in found.items()})


def extractor(choice: str | None, device: str = "cpu") -> Extractor:
    """Return what ``sit evaluate --features`` names.

    Args:
        choice: "pixels"; the file of a network, see :mod:`backbone.evaluate.inception`; or "module:attribute", an
            :class:`Extractor`, a torch module, or a function of uint8 (n, H, W, C), found as ``import`` finds it, and
            in the working folder.
        device: where a network runs.

    Raises:
        ValueError: no choice, a file that is no such network, or an attribute that cannot be called.
        ImportError: no such module.
    """
    if not choice:
        raise ValueError(explain("features", "none", _ABSENT))
    if choice == "pixels":
        return pixels()
    if Path(choice).is_file():
        from backbone.evaluate.inception import from_file

        return from_file(Path(choice), device)
    module, colon, attribute = choice.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), attribute)):
        raise ValueError(explain("pixels, a file, or module:attribute", f"{choice!r}, which is no file", _ABSENT))
    return _attribute(choice, module, attribute, device)


def _attribute(choice: str, module: str, attribute: str, device: str) -> Extractor:
    sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    finally:
        sys.path.remove("")
    if isinstance(found, Extractor):
        return found
    if not callable(found) or isinstance(found, type):
        remedy = "name an Extractor, a torch module or a function of uint8 images"
        raise ValueError(explain(f"something to call at {choice}", type(found).__name__, remedy))
    network = getattr(sys.modules.get("torch.nn"), "Module", ())  # torch is an extra, and there where one is given
    if isinstance(found, network):
        return from_module(found, choice, device)
    return Extractor(choice, found)

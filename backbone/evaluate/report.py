"""All numbers of one set of samples against a reference, with what defines them."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = ["Measured", "Report"]

_LABELS = {
    "fid": "FID",
    "sfid": "sFID",
    "inception_score": "Inception score",
    "precision": "precision",
    "recall": "recall",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """A number, or why there is none.

    Attributes:
        value: the number, or None.
        deviation: of the Inception score, over its splits.
        bias: of a Fréchet distance, what the sizes of the sets are expected to add, see
            :func:`backbone.evaluate.frechet_bias`.
        absent: why there is no value.
    """

    value: float | None = None
    deviation: float | None = None
    bias: float | None = None
    absent: str | None = None

    def __str__(self) -> str:
        """Return the number as a table has it."""
        if self.value is None:
            return f"-  ({self.absent})"
        deviation = "" if self.deviation is None else f" ± {self.deviation:.4f}"
        bias = "" if self.bias is None else f"  (of which about {self.bias:.2g} by the sizes of the sets)"
        return f"{self.value:.4f}{deviation}{bias}"


@dataclass(frozen=True, slots=True)
class Report:
    """The numbers and their definition.

    Attributes:
        metrics: by name: fid, sfid, inception_score, precision, recall.
        samples: source, count, shape and the hash of the pixels.
        reference: source, whether its statistics were stored and of how many images, and its images as above.
        features: name, notes and widths.
        options: split, shuffle, k, allow_small.
        warnings: what a reader should know before comparing.
        versions: of Python and the packages.
    """

    metrics: Mapping[str, Measured]
    samples: Mapping[str, Any]
    reference: Mapping[str, Any]
    features: Mapping[str, Any]
    options: Mapping[str, Any]
    warnings: tuple[str, ...]
    versions: Mapping[str, str] = field(default_factory=lambda: _versions())

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON has it; a number that is absent is null, with the reason."""
        metrics = {
            name: {key: value for key, value in asdict(found).items() if key == "value" or value is not None}
            for name, found in self.metrics.items()
        }
        rest = ("samples", "reference", "features", "options", "versions")
        return {"metrics": metrics, "warnings": list(self.warnings)} | {
            name: dict(getattr(self, name)) for name in rest
        }

    def table(self) -> str:
        """Return the numbers as text."""
        lines = [f"{_LABELS[name]:<17}{found}" for name, found in self.metrics.items()]
        images, count = self.reference["images"], self.reference["statistics_count"] or "an unknown number of"
        against = [f"{self.reference['statistics']} statistics of {count} images"]
        against += [f"{images['count']} images"] if images else []
        sets = [
            f"{'samples':<17}{self.samples['count']} of {self.samples['source']}",
            f"{'reference':<17}{self.reference['source']}: {', '.join(against)}",
            f"{'features':<17}{self.features['name']}",
        ]
        return "\n".join([*lines, *sets])


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in ("interpolants", "numpy", "scipy", "torch"):
        # torch is an extra, and pixels need none.
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions

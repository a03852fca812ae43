"""One pass over a set of images, and what a reference may be."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from backbone.evaluate.features import Extractor, Features
from backbone.evaluate.images import Images, open_images
from backbone.evaluate.moments import Moments
from backbone.evaluate.statistics import Statistics

__all__ = ["Gathered", "Progress", "Reference", "gather", "open_reference"]

Progress: TypeAlias = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Gathered:
    """What one pass over a set leaves.

    Attributes:
        pool: moments of the pooled features.
        spatial: of the spatial ones, or None.
        rows: the pooled features themselves (N, d), or None where they were not asked for.
        logits: (N, C), or None.
        shape: of an image, (H, W, C).
        sha256: of the pixels, image after image, whatever file they are in.
    """

    pool: Moments
    spatial: Moments | None
    rows: NDArray[Any] | None
    logits: NDArray[Any] | None
    shape: tuple[int, int, int]
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        """Return what says which images these were."""
        return {"count": self.pool.count, "shape": list(self.shape), "pixels_sha256": self.sha256}

    def widths(self) -> dict[str, int | None]:
        """Return the widths of the features, None for those that are absent."""
        return {
            "pool": len(self.pool.mean),
            "spatial": None if self.spatial is None else len(self.spatial.mean),
            "logits": None if self.logits is None else self.logits.shape[1],
        }


@dataclass(frozen=True, slots=True)
class Reference:
    """Images, stored statistics, or both, as the reference batches of the ADM suite have.

    Attributes:
        source: where they are from.
        images: for precision and recall, and for the rest where there are no statistics.
        statistics: for FID and sFID.
    """

    source: str
    images: Images | None
    statistics: Statistics | None


def open_reference(path: Path) -> Reference:
    """Return the reference in an npz with ``arr_0``, ``mu`` and ``sigma``, or some of them, or in a folder of PNG.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: neither images nor statistics.
    """
    if not path.is_file():
        return Reference(str(path), open_images(path), None)
    try:
        with np.load(path, allow_pickle=False) as data:
            names = set(data.files)
    except (ValueError, AttributeError, TypeError, OSError, EOFError):
        names = set()  # the error of the images says what is wrong
    statistics = Statistics.load(path) if names & {"mu", "sigma"} else None
    return Reference(str(path), open_images(path) if "arr_0" in names or statistics is None else None, statistics)


def gather(
    images: Images,
    extractor: Extractor,
    batch: int,
    *,
    rows: bool = False,
    progress: Progress | None = None,
    name: str = "images",
) -> Gathered:
    """Go through a set once.

    Args:
        images: the set.
        extractor: the features.
        batch: images at once.
        rows: keep the pooled features too, N d numbers in the type that they come in.
        progress: called with ``name``, the images done and their number.
        name: of the set, in errors.

    Raises:
        ValueError: features that are not finite, by the number of the image, or that change their width.
    """
    first = extractor(next(images.batches(1)))
    pool = Moments(first.pool.shape[1])
    spatial = None if first.spatial is None else Moments(first.spatial.shape[1])
    kept: dict[str, NDArray[Any]] = {}
    digest = hashlib.sha256()
    for block in images.batches(batch):
        done = pool.count
        digest.update(block.tobytes())
        try:
            found = extractor(block, done)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        pool.update(found.pool)
        if spatial is not None and found.spatial is not None:
            spatial.update(found.spatial)
        _keep(kept, found, images.count, done, rows)
        if progress is not None:
            progress(name, pool.count, images.count)
    return Gathered(pool, spatial, kept.get("pool"), kept.get("logits"), images.shape, digest.hexdigest())


def _keep(kept: dict[str, NDArray[Any]], found: Features, count: int, done: int, rows: bool) -> None:
    for name, array in (("pool", found.pool if rows else None), ("logits", found.logits)):
        if array is not None:
            kept.setdefault(name, np.empty((count, array.shape[1]), array.dtype))[done : done + len(array)] = array

"""Stored means and covariances of features, in the layout of the ADM suite."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbone.evaluate.frechet import gaussian_frechet_distance
from backbone.evaluate.moments import Moments
from solvers.errors import explain

__all__ = ["Statistics"]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Gaussians fitted to the pooled and to the spatial features of a set of images.

    The file is an npz with ``mu`` (d,), ``sigma`` (d, d), and where there are spatial features ``mu_s`` (s,) and
    ``sigma_s`` (s, s), which the ADM suite reads. ``count`` and ``features`` beside them are of this library.

    Attributes:
        mu: (d,).
        sigma: (d, d).
        mu_s: (s,), or None.
        sigma_s: (s, s), or None.
        count: the number of images, or None where the file does not say.
        features: which network they are of, in words, or None where the file does not say.
    """

    mu: NDArray[Any]
    sigma: NDArray[Any]
    mu_s: NDArray[Any] | None = None
    sigma_s: NDArray[Any] | None = None
    count: int | None = None
    features: str | None = None

    @classmethod
    def of(cls, pool: Moments, spatial: Moments | None = None, features: str | None = None) -> Statistics:
        """Return the statistics of moments."""
        if spatial is None:
            return cls(pool.mean, pool.covariance, None, None, pool.count, features)
        return cls(pool.mean, pool.covariance, spatial.mean, spatial.covariance, pool.count, features)

    def fid(self, other: Statistics) -> float:
        """Return the Fréchet distance of the pooled features.

        Raises:
            ValueError: different widths, or covariances that are none.
        """
        return gaussian_frechet_distance(self.mu, self.sigma, other.mu, other.sigma)

    def sfid(self, other: Statistics) -> float | None:
        """Return the Fréchet distance of the spatial features, None where one side has none."""
        if self.mu_s is None or self.sigma_s is None or other.mu_s is None or other.sigma_s is None:
            return None
        return gaussian_frechet_distance(self.mu_s, self.sigma_s, other.mu_s, other.sigma_s)

    def save(self, file: Path) -> None:
        """Write the npz."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as stream:
            np.savez(stream, **{name: value for name, value in fields.items() if value is not None})

    @classmethod
    def load(cls, file: Path) -> Statistics:
        """Read an npz of this library or of the ADM suite; whether the covariances are such shows when they are used.

        Raises:
            FileNotFoundError: no such file.
            ValueError: no npz, arrays that are absent, of other shapes, of objects, or not finite.
        """
        if not file.is_file():
            raise FileNotFoundError(explain("a file of statistics", f"{file}, which is no file", "check the path"))
        try:
            with np.load(file, allow_pickle=False) as data:
                names = ("mu", "sigma", "mu_s", "sigma_s", "count", "features")
                arrays = {name: data[name] for name in names if name in data}
        except (ValueError, TypeError, AttributeError, OSError, EOFError, zipfile.BadZipFile) as error:
            remedy = "write it with sit evaluate --save-statistics"
            raise ValueError(explain("an npz of arrays of numbers", f"{file} ({error})", remedy)) from error
        for mu, sigma in (("mu", "sigma"), ("mu_s", "sigma_s")):
            if mu == "mu" or mu in arrays or sigma in arrays:
                _check(file, arrays, mu, sigma)
        count, features = arrays.pop("count", None), arrays.pop("features", None)
        return cls(
            **arrays,
            count=None if count is None else int(count),
            features=None if features is None else str(features),
        )


def _check(file: Path, arrays: dict[str, NDArray[Any]], mu: str, sigma: str) -> None:
    found = {name: arrays[name].shape for name in (mu, sigma) if name in arrays}
    d = arrays[mu].size if mu in arrays else 0
    if found != {mu: (d,), sigma: (d, d)}:
        held = ", ".join(f"{name} {shape}" for name, shape in found.items()) or "neither"
        raise ValueError(explain(f"{mu} (d,) and {sigma} (d, d)", f"{file} with {held}", "compute the statistics anew"))
    for name in (mu, sigma):
        if arrays[name].dtype.kind != "f" or not np.isfinite(arrays[name]).all():
            dtype = arrays[name].dtype
            raise ValueError(
                explain(f"finite floats in {name}", f"{file}, {dtype}, some not finite", "compute the statistics anew")
                if dtype.kind == "f"
                else explain(f"floats in {name}", f"{file} with {dtype}", "compute the statistics anew")
            )

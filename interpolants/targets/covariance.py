r"""Covariances of K components as eigenvalues and, where they need one, a basis; never (K, d, d) unless given so.

With :math:`U_k` of orthonormal columns, :math:`C_k = U_k\Lambda_kU_k^\top + f_k(I - U_kU_k^\top)`:

- variances (K, d): the coordinates are the basis;
- one variance per component: no column, :math:`f_k` alone;
- low rank: r columns, and the floor :math:`f_k \ge 0`;
- full matrices: columns for all positive eigenvalues, and f = 0 on the rest.

Eigenvalues may be zero: the law then lives on :math:`m_k + \operatorname{range} C_k`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interpolants.coefficient import Array
from interpolants.targets.limits import constant
from solvers.errors import explain

__all__ = ["Covariances", "LowRank", "covariances"]

Floats = NDArray[np.float64]

FORMS = "covs (), (K,), (K, d), (K, d, d) or LowRank"


class LowRank:
    r"""Covariances :math:`F_kF_k^\top + f_kI`, held as factors.

    Args:
        factors: :math:`F_k`, shape (K, d, r) for a mixture of K, (d, r) for one Gaussian.
        floor: :math:`f_k \ge 0`, a number or of shape (K,); 0 leaves the covariance singular where r < d.

    Raises:
        ValueError: other shapes, NaN or infinity, a negative floor.
    """

    def __init__(self, factors: ArrayLike, floor: ArrayLike = 0.0):
        self.factors = np.asarray(factors, np.float64)
        self.floor = np.asarray(floor, np.float64)
        if self.factors.ndim not in (2, 3) or not all(self.factors.shape):
            remedy = "pass r columns of length d for every component"
            raise ValueError(explain("factors (K, d, r) or (d, r)", f"shape {self.factors.shape}", remedy))
        if self.floor.shape not in ((), self.factors.shape[:-2]):
            received = f"factors {self.factors.shape} and floor {self.floor.shape}"
            raise ValueError(explain("a floor () or (K,)", received, "give one floor, or one per component"))
        for name, array in (("factors", self.factors), ("a floor", self.floor)):
            if not np.isfinite(array).all():
                raise ValueError(explain(f"finite {name}", "NaN or infinity", "clean the data first"))
        if (self.floor < 0).any():
            raise ValueError(explain("a floor >= 0", f"{self.floor.min():.3g}", "pass a variance"))

    def __repr__(self) -> str:
        return f"LowRank(factors {self.factors.shape})"


@dataclass(frozen=True)
class Part:
    """Eigenvalues on some directions: ``values`` (K, n) and how many directions each stands for (K, n)."""

    values: Floats
    counts: Floats

    @cached_property
    def positive(self) -> NDArray[np.bool_]:
        """Where the eigenvalues are positive."""
        return self.values > 0

    def take(self, components: Any) -> Part:
        """Return the eigenvalues of some components."""
        return Part(self.values[components], self.counts[components])


@dataclass(frozen=True)
class Covariances:
    """Eigenvalues of K covariances in d dimensions.

    Attributes:
        dimension: d.
        parts: without a basis one part, of all directions; with it the eigenvalues on its columns and, where the
            columns do not span everything, the floor.
        basis: U, shape (K, d, n), zero columns where a component has fewer; None for the coordinates.
        matrices_given: the matrices (K, d, d), if they were the input.
    """

    dimension: int
    parts: tuple[Part, ...]
    basis: Floats | None = None
    matrices_given: Floats | None = None

    def __len__(self) -> int:
        return len(self.parts[0].values)

    @cached_property
    def zeros(self) -> Floats:
        """How many eigenvalues of each component are zero, shape (K,)."""
        return np.asarray(sum((part.counts * ~part.positive).sum(1) for part in self.parts))

    @property
    def singular(self) -> bool:
        """Whether any eigenvalue is zero."""
        return bool(self.zeros.any())

    @cached_property
    def thin(self) -> Floats | None:
        """1 for components whose columns do not span everything and else 0, shape (K, 1, 1); None where all do."""
        if self.basis is None or len(self.parts) == 1:
            return None
        return np.asarray(self.parts[1].counts[:, :, None] > 0, np.float64)

    @property
    def least(self) -> float:
        """The smallest eigenvalue."""
        return float(min(part.values[part.counts > 0].min(initial=np.inf) for part in self.parts))

    def take(self, components: Any) -> Covariances:
        """Return the covariances of some components."""
        basis = None if self.basis is None else self.basis[components]
        given = None if self.matrices_given is None else self.matrices_given[components]
        return Covariances(self.dimension, tuple(part.take(components) for part in self.parts), basis, given)

    @cached_property
    def eigenvalues(self) -> Floats:
        """All eigenvalues, shape (K, d)."""
        if self.basis is None:
            return np.array(np.broadcast_to(self.parts[0].values, (len(self), self.dimension)))
        return np.stack([self._spectrum(k)[0] for k in range(len(self))])

    @cached_property
    def eigenvectors(self) -> Floats:
        """Eigenvectors in columns, in the order of the eigenvalues, shape (K, d, d): made when asked for."""
        if self.basis is None:
            return np.array(np.broadcast_to(np.eye(self.dimension), (len(self), self.dimension, self.dimension)))
        return np.stack([self._spectrum(k)[1] for k in range(len(self))])

    def root(self, standard: Array) -> Array:
        """Return C^½ ξ of the one covariance here for standard normal ξ of shape (n, d)."""
        deviations = [constant(np.sqrt(part.values[0]), standard) for part in self.parts]
        if self.basis is None:
            return deviations[0] * standard
        basis = constant(self.basis[0], standard)
        along = standard @ basis
        coloured = (deviations[0] * along) @ basis.T
        if self.thin is None:
            return coloured
        return coloured + deviations[1] * float(self.thin[0, 0, 0]) * (standard - along @ basis.T)

    @cached_property
    def matrices(self) -> Floats:
        """The covariances, shape (K, d, d): made when asked for, unless they were the input."""
        if self.matrices_given is not None:
            return self.matrices_given
        return (self.eigenvectors * self.eigenvalues[:, None, :]) @ self.eigenvectors.swapaxes(1, 2)

    def _spectrum(self, k: int) -> tuple[Floats, Floats]:
        """Return the eigenvalues and eigenvectors of one component, those of the floor first."""
        live = self.parts[0].counts[k] > 0
        columns, values = np.asarray(self.basis)[k][:, live], self.parts[0].values[k][live]
        missing = self.dimension - len(values)
        if not missing:
            return values, columns
        rest = np.linalg.svd(columns, full_matrices=True)[0][:, len(values) :] if len(values) else np.eye(missing)
        floor = np.full(missing, self.parts[1].values[k, 0])
        return np.concatenate([floor, values]), np.concatenate([rest, columns], 1)


def covariances(covs: Any, k: int, d: int) -> Covariances:
    """Read the covariances of k components in d dimensions; refuse what has the wrong shape or is no covariance."""
    if isinstance(covs, LowRank):
        return _low_rank(covs, k, d)
    array = np.asarray(covs, np.float64)
    if array.shape not in ((), (k,), (k, d), (k, d, d)):
        remedy = "give every component its variance, d variances or a matrix"
        raise ValueError(explain(f"{FORMS} with K = {k}, d = {d}", f"shape {array.shape}", remedy))
    if not np.isfinite(array).all():
        raise ValueError(explain("finite covs", "NaN or infinity", "clean the data first"))
    if array.ndim == 3:
        return _full(array)
    _refuse_negative(float(array.min()))
    if array.ndim == 2:
        return Covariances(d, (Part(array, np.ones((k, d))),))
    values = np.array(np.broadcast_to(array, (k,)))[:, None]
    return Covariances(d, (Part(values, np.full((k, 1), float(d))),))


def _full(array: Floats) -> Covariances:
    """Diagonalise; an eigenvalue within the rounding of the largest is zero, as in numpy's ``matrix_rank``."""
    k, d, _ = array.shape
    largest = np.abs(array).max((1, 2))
    asymmetry = np.abs(array - array.swapaxes(1, 2)).max((1, 2))
    if (asymmetry > 1e-9 * largest).any():
        remedy = "symmetrise it: (C + C.T) / 2"
        raise ValueError(explain("a symmetric covariance", f"an asymmetry of {asymmetry.max():.3g}", remedy))
    diagonals = np.diagonal(array, axis1=1, axis2=2)
    coupled = (array != diagonals[:, :, None] * np.eye(d)).any((1, 2))
    if not coupled.any():
        _refuse_negative(float(diagonals.min()))
        return Covariances(d, (Part(diagonals.copy(), np.ones((k, d))),), matrices_given=array)
    values, basis = np.linalg.eigh(array)
    rounding = np.where(coupled, 4 * d * np.finfo(np.float64).eps * np.abs(values).max(1), 0.0)[:, None]
    if (values < -rounding).any():
        _refuse_negative(float(values[values < -rounding].min()))
    return _on_columns(values, basis, values > rounding, np.zeros(k), array)


def _low_rank(covs: LowRank, k: int, d: int) -> Covariances:
    factors = covs.factors if covs.factors.ndim == 3 or k > 1 else covs.factors[None]
    if factors.shape[:-1] != (k, d):
        remedy = "give every component its factors"
        raise ValueError(explain(f"LowRank factors ({k}, {d}, r)", f"shape {factors.shape}", remedy))
    floor = np.array(np.broadcast_to(covs.floor, (k,)))
    basis, roots, _ = np.linalg.svd(factors, full_matrices=False)
    live = roots > d * np.finfo(np.float64).eps * roots.max(1, keepdims=True)
    return _on_columns(roots**2 + floor[:, None], basis, live, floor, None)


def _on_columns(
    values: Floats, basis: Floats, live: NDArray[np.bool_], floor: Floats, given: Floats | None
) -> Covariances:
    """Keep the live columns; the rest of space has the floor."""
    d = basis.shape[1]
    width = live.any(0)
    values, basis, live = values[:, width], basis[:, :, width], live[:, width]
    columns = Part(np.where(live, values, 1.0), live.astype(np.float64))
    rest = d - live.sum(1, dtype=np.float64)[:, None]
    if not rest.any():
        return Covariances(d, (columns,), basis, given)
    return Covariances(d, (columns, Part(floor[:, None], rest)), basis * live[:, None, :], given)


def _refuse_negative(least: float) -> None:
    if least < 0:
        remedy = "covariances have none below zero; add a multiple of the identity if rounding made it"
        raise ValueError(explain("a positive semidefinite covariance", f"the eigenvalue {least:.3g}", remedy))

"""Targets whose data have labels: conditional targets and p(label | x_t), exact, for guidance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from interpolants.targets.target import Target
from solvers.errors import explain

__all__ = ["Labelled"]


class Labelled(Target):
    """A target that is a weighted sum of parts, each with a label or none: components, or points."""

    labels: NDArray[Any] | None
    weights: NDArray[np.float64]

    @property
    def classes(self) -> NDArray[Any]:
        """The labels that occur, each once, in order; empty without labels."""
        return np.unique(np.empty(0) if self.labels is None else self.labels)

    def _chosen(self, label: object) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Return which parts have a label, and their weights divided by their sum."""
        chosen = np.zeros(0, bool) if self.labels is None else np.asarray(self.labels == label)
        if not chosen.any():
            classes = self.classes.tolist()
            known = ", ".join(map(repr, classes[:8])) + (", ..." if len(classes) > 8 else "")
            remedy = "choose one of target.classes" if classes else f"pass labels=... to {type(self).__name__}"
            raise ValueError(explain(f"a label, one of {known or 'none: the data have none'}", repr(label), remedy))
        rows = np.flatnonzero(chosen)
        weights = self.weights[rows]
        return rows, weights / weights.sum()

    def membership(self, rows: Any = slice(None)) -> NDArray[np.float64]:
        """Return 1 where a part has a class, shape (n, classes); refuse a target without labels."""
        if self.labels is None:
            remedy = f"pass labels=... to {type(self).__name__}"
            raise ValueError(explain("a target with labels", f"{self!r} without", remedy))
        return np.asarray(self.labels[rows][:, None] == self.classes, np.float64)

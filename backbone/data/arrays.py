"""What a training reads: records by number. Images and labels in memory are the simplest such data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from backbone.draws import Draws
from backbone.inputs import check_labels, describe
from solvers.errors import explain

__all__ = ["Arrays", "Data"]


class Data(Protocol):
    """Records that a training reads by number."""

    @property
    def count(self) -> int:
        """How many records there are."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one record, (C, H, W), (C, L) or (C,)."""
        ...

    @property
    def num_classes(self) -> int:
        """How many labels there are, 0 for none."""
        ...

    def batch(self, records: Tensor, draws: Draws) -> tuple[Tensor, Tensor | None]:
        """Return data (N, *shape), float32, and labels (N,), int64, or None, on the device of ``draws``.

        Args:
            records: (N,), int64, on the host.
            draws: the random numbers of the samples that these records are.
        """
        ...


@dataclass(frozen=True, eq=False)
class Arrays:
    """Images and labels in memory, on any device.

    Args:
        images: (M, C, …), floating.
        labels: (M,), int64, 0 … num_classes - 1; None for none.
        num_classes: how many labels there are; 0 takes the largest label plus one.

    Raises:
        ValueError: no image, no floating images, or labels that do not fit.
    """

    images: Tensor
    labels: Tensor | None = None
    num_classes: int = 0

    def __post_init__(self) -> None:
        images = self.images
        if not isinstance(images, Tensor) or not images.is_floating_point() or images.ndim < 2 or not len(images):
            remedy = "pass images such as load_digits().images"
            raise ValueError(explain("at least one image, floating, of shape (M, C, …)", describe(images), remedy))
        if self.labels is None:
            return
        check_labels(self.labels, len(images), self.num_classes, values=False)
        low, high = (int(bound) for bound in torch.aminmax(self.labels))
        if not self.num_classes:
            # A frozen dataclass has no other way to derive a field.
            object.__setattr__(self, "num_classes", high + 1)
        # Labels counted from 1 would train their last class as the null class, unnoticed.
        if low < 0 or high >= self.num_classes:
            received = f"labels from {low} to {high}"
            remedy = "count labels from 0; the null class is not trained on by a label but by class_dropout"
            raise ValueError(explain(f"training labels within 0 … {self.num_classes - 1}", received, remedy))

    @property
    def count(self) -> int:
        """How many images there are."""
        return len(self.images)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image."""
        return tuple(self.images.shape[1:])

    def batch(self, records: Tensor, draws: Draws) -> tuple[Tensor, Tensor | None]:
        """Return the images and labels of some records, as they are."""
        x_data = self.images[records.to(self.images.device)].to(draws.device, torch.float32)
        if self.labels is None:
            return x_data, None
        return x_data, self.labels[records.to(self.labels.device)].to(draws.device)

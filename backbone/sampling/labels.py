"""Which label a sample is asked for: a function of its number."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from backbone.draws import Draws
from solvers.errors import closest, explain

__all__ = ["Labels"]

_RULES = ("balanced", "random", "null")


class Labels:
    """A protocol of labels, by name or as a list of classes.

    Args:
        text: "balanced" (n mod classes), "random", "null", or classes such as "207,360", over and over.
        num_classes: of the network; of one without labels every sample has the null class 0.
        seed: of the random labels.

    Raises:
        ValueError: another text, or a class out of range.
    """

    def __init__(self, text: str, num_classes: int, seed: int) -> None:
        self.text, self.num_classes, self.seed = text.strip().lower(), num_classes, seed
        self.classes = () if self.text in _RULES else self._parsed(text)

    def _parsed(self, text: str) -> tuple[int, ...]:
        parts = [part.strip() for part in text.split(",")]
        if not all(part.isdecimal() for part in parts):
            wanted = f"labels: {', '.join(_RULES)}, or classes such as 207,360"
            raise ValueError(explain(wanted, repr(text), f"did you mean {closest(text, _RULES)}?"))
        classes = tuple(map(int, parts))
        if max(classes) > self.num_classes:
            wanted = f"classes within 0 … {self.num_classes} ({self.num_classes} is the null class)"
            remedy = "count classes from 0" if self.num_classes else "pass --labels null: the network has no labels"
            raise ValueError(explain(wanted, str(max(classes)), remedy))
        return classes

    @property
    def unconditional(self) -> bool:
        """Whether every sample has the null class."""
        return self.num_classes == 0 or self.text == "null" or set(self.classes) == {self.num_classes}

    def of(self, ids: Tensor) -> Tensor:
        """Return the labels (N,) of samples by their numbers (N,), int64, on the host."""
        if self.unconditional:
            return torch.full_like(ids, self.num_classes)
        if self.text == "balanced":
            return ids % self.num_classes
        if self.text == "random":
            # The middles of 2⁵² cells below 1 stay below the number of classes.
            return (Draws(self.seed, ids).uniform("choice") * self.num_classes).long()
        return torch.from_numpy(np.array(self.classes, dtype=np.int64))[ids % len(self.classes)]

    def __str__(self) -> str:
        if self.num_classes == 0:
            return "null: the network has no labels"
        return {
            "balanced": f"balanced: sample n has the label n mod {self.num_classes}",
            "random": f"random: sample n has the label floor({self.num_classes} u), u of Philox by (seed, n)",
            "null": f"null: every sample has the null class {self.num_classes}",
        }.get(self.text, f"classes: sample n has entry n mod {len(self.classes)} of {self.text}")

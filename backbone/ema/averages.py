"""What an average of weights is to a training loop, and several at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, Protocol

from backbone.ema.moving import M
from backbone.ema.power import PowerEMA
from solvers.errors import explain

__all__ = ["Average", "Averages"]


class Average(Protocol[M]):
    """A network whose weights are an average of those of another.

    Attributes:
        updates: how many weights were taken in; with the weights of ``model`` the whole state.
    """

    updates: int

    @property
    def model(self) -> M:
        """The averaged network."""

    def update(self, model: M) -> None:
        """Take in the weights of ``model`` as they are now."""


class Averages(Generic[M]):
    """Several averages of one network, updated together; itself an average, the first of them.

    Args:
        averages: such as ``PowerEMA(model, 0.05), PowerEMA(model, 0.10)``.

    Raises:
        ValueError: no average, or two of one relative width, whose snapshots would have one name.
    """

    def __init__(self, *averages: Average[M]) -> None:
        if not averages:
            raise ValueError(explain("at least one average", "none", "Averages(PowerEMA(model, 0.05), …)"))
        widths = [average.sigma_rel for average in averages if isinstance(average, PowerEMA)]
        if len({f"{width:.6g}" for width in widths}) < len(widths):
            raise ValueError(explain("different relative widths", f"{widths}", "leave out one"))
        self.all = averages

    @property
    def model(self) -> M:
        """The network of the first average."""
        return self.all[0].model

    @property
    def updates(self) -> int:
        """The number of updates; setting it, to resume, sets that of all."""
        return self.all[0].updates

    @updates.setter
    def updates(self, number: int) -> None:
        for average in self.all:
            average.updates = number

    def update(self, model: M) -> None:
        """Take in the weights of ``model`` everywhere, with one fused call for each average."""
        for average in self.all:
            average.update(model)

    def __iter__(self) -> Iterator[Average[Any]]:
        return iter(self.all)

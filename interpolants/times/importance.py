"""Times where the loss is large and noisy, from what was measured in training."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from interpolants.coefficient import namespace
from interpolants.schedule import Schedule
from interpolants.times.law import Law, Times, support
from interpolants.times.plain import Uniform
from solvers.errors import explain

__all__ = ["Importance"]


class Importance(Times):
    r"""A histogram of times that follows the measured loss.

    .. math:: p(t) \propto (1 - u)\,\sqrt{\mathbb E[L_t^2]} + u

    in each bin, with the mean over its last ``history`` losses; uniform until every bin has that many. Divided by this
    density a loss has the mean that it has under uniform times, whatever was measured, and the least variance
    where the histogram is right. An :class:`~interpolants.Objective` does so, since :attr:`measure` is ``Uniform``.
    The object is a state: :meth:`update` changes it, :meth:`state_dict` saves it.

    Args:
        bins: the number of bins of equal width.
        history: how many losses each remembers.
        uniform: u, the share of uniform times, which bounds the factor of a loss by 1/u.
        lo, hi: the first and last time; by default the ends of the domain.

    Raises:
        ValueError: bins or history < 1, or u not in (0, 1].

    References: Nichol & Dhariwal (2021), Improved DDPM, arXiv 2102.09672, §3.3, eq. 18; the bins stand for its steps.
    """

    def __init__(
        self,
        bins: int = 64,
        history: int = 10,
        uniform: float = 0.01,
        lo: float | None = None,
        hi: float | None = None,
    ):
        for what, count in (("bins", bins), ("history", history)):
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                raise ValueError(explain(f"{what} >= 1", repr(count), "pass a whole number"))
        if not 0 < uniform <= 1:
            remedy = "keep some uniform times, or a bin whose loss was once small is never seen again"
            raise ValueError(explain("0 < uniform <= 1", repr(uniform), remedy))
        self.lo, self.hi, self.uniform = lo, hi, float(uniform)
        self._losses = np.zeros((bins, history))
        self._counts = np.zeros(bins, np.int64)

    def __repr__(self) -> str:
        bins, history = self._losses.shape
        return f"Importance(bins={bins}, history={history}, uniform={self.uniform})"

    @property
    def measure(self) -> Times:
        """Uniform times, over which losses are averaged."""
        return Uniform(self.lo, self.hi)

    @property
    def warm(self) -> bool:
        """Whether every bin has as many losses as it remembers."""
        return bool((self._counts >= self._losses.shape[1]).all())

    @property
    def probabilities(self) -> np.ndarray[Any, Any]:
        """The probability of each bin, shape (bins,)."""
        bins = len(self._counts)
        sizes = np.sqrt((self._losses**2).mean(1))
        if not self.warm or sizes.sum() == 0:
            return np.full(bins, 1 / bins)
        return np.asarray((1 - self.uniform) * sizes / sizes.sum() + self.uniform / bins)

    def of(self, schedule: Schedule | None = None) -> Law:
        """Return the law as it is now; a later :meth:`update` does not change it."""
        (lo, hi), heights = support(schedule, self.lo, self.hi), self.probabilities
        bins = len(heights)
        edges = np.concatenate([[0.0], np.cumsum(heights)])
        edges[-1] = 1.0

        def place(xp: ModuleType, values: np.ndarray[Any, Any], like: Any) -> Any:
            return xp.as_tensor(values, device=like.device) if xp.__name__ == "torch" else xp.asarray(values)

        def density(xp: Any, time: Any) -> Any:
            index = xp.clip(xp.floor((time - lo) / (hi - lo) * bins), 0, bins - 1)
            index = index.long() if xp.__name__ == "torch" else index.astype(int)
            return place(xp, heights * bins / (hi - lo), time)[index]

        def quantile(xp: Any, u: Any) -> Any:
            below = place(xp, edges, u)
            index = xp.clip(xp.searchsorted(below, u, side="right") - 1, 0, bins - 1)
            fraction = (u - below[index]) / (below[index + 1] - below[index])
            return lo + (hi - lo) * (index + fraction) / bins

        return Law(repr(self), (lo, hi), None, density, quantile)

    def update(self, time: Any, loss: Any, schedule: Schedule | None = None) -> None:
        """Remember the losses of a batch, before any division by the density.

        Several processes stay equal if each gets the times and losses of all.

        Args:
            time: shape (B,), numpy, torch or jax.
            loss: shape (B,), the losses of the samples at those times, such as ``objective.integrand(…)``.
            schedule: whose domain it is; [0, 1] if absent.

        Raises:
            ValueError: shapes that differ, a time outside the support, a loss that is negative or not finite.
        """
        times, losses = _host(time), _host(loss)
        lo, hi = support(schedule, self.lo, self.hi)
        if times.ndim != 1 or times.shape != losses.shape:
            received = f"shapes {times.shape} and {losses.shape}"
            raise ValueError(explain("times and losses of one shape (B,)", received, "pass one loss per sample"))
        if not ((times >= lo) & (times <= hi)).all():
            raise ValueError(
                explain(f"times in [{lo:g}, {hi:g}]", f"{times.min():g} to {times.max():g}", "draw them here")
            )
        if not (np.isfinite(losses) & (losses >= 0)).all():
            worst = losses[~(np.isfinite(losses) & (losses >= 0))][0]
            raise ValueError(
                explain("finite losses >= 0", f"{worst}", "look at the batch before its loss is remembered")
            )
        bins, history = self._losses.shape
        index = np.clip(((times - lo) / (hi - lo) * bins).astype(int), 0, bins - 1)
        for which, value in zip(index.tolist(), losses.tolist()):
            self._losses[which, self._counts[which] % history] = value
            self._counts[which] += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the state as lists of numbers: JSON, and part of a checkpoint."""
        return {"losses": self._losses.tolist(), "counts": self._counts.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take a state back.

        Raises:
            ValueError: it has other bins or another history.
        """
        losses, counts = np.asarray(state["losses"], np.float64), np.asarray(state["counts"], np.int64)
        if losses.shape != self._losses.shape or counts.shape != self._counts.shape:
            received = f"losses of shape {losses.shape}, counts of shape {counts.shape}"
            raise ValueError(explain(f"losses of shape {self._losses.shape}", received, "build it with the same bins"))
        self._losses, self._counts = losses.copy(), counts.copy()


def _host(values: Any) -> np.ndarray[Any, Any]:
    module = namespace(values)
    if module is not None and module.__name__ == "torch":
        values = values.detach().double().cpu().numpy()
    return np.asarray(values, np.float64)

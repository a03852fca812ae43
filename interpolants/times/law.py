"""A law of times: density, quantiles and draws, for numpy, torch and jax."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sympy import Expr

from interpolants.coefficient import Array, namespace
from interpolants.schedule import Schedule
from solvers.errors import explain

__all__ = ["Function", "Law", "Times", "mass", "open_uniform", "strictly_inside", "support"]

Function = Callable[[Any, Any], Any]
"""The array library and an array → an array."""

FLOATS = ("float32", "float64")


def open_uniform(n: int, rng: Any) -> Array:
    """Draw n numbers strictly between 0 and 1: the middles of 2**52 cells (of 2**23 for a jax key of single precision).

    Args:
        n: how many.
        rng: a numpy or torch generator (float64), or a jax key (jax's default float).
    """
    if isinstance(rng, np.random.Generator):
        return (np.floor(rng.random(n) * 2.0**52) + 0.5) * 2.0**-52
    module = type(rng).__module__.partition(".")[0]
    if module == "torch":
        import torch

        drawn = torch.rand(n, generator=rng, dtype=torch.float64, device=rng.device)
        return (torch.floor(drawn * 2.0**52) + 0.5) * 2.0**-52
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(rng, jax.Array):
        drawn = jax.random.uniform(rng, (n,))
        cells = 2.0**23 if drawn.dtype.itemsize == 4 else 2.0**52
        return (jax.numpy.floor(drawn * cells) + 0.5) / cells
    remedy = "pass numpy.random.default_rng(seed), torch.Generator().manual_seed(seed) or jax.random.key(seed)"
    raise TypeError(explain("a numpy or torch generator, or a jax key", type(rng).__name__, remedy))


@dataclass(frozen=True)
class Law:
    """The law of a time.

    Attributes:
        name: what reports call it.
        support: the first and last time; draws lie strictly between them.
        expression: the density as an expression of time, up to round-off in its normalisation; None if it has none.
        density: library, float64 times inside the support → density.
        quantile: library, numbers in (0, 1) → times.
        draw: n, generator → the numbers in (0, 1), each uniform, that become the n times.
    """

    name: str
    support: tuple[float, float]
    expression: Expr | None
    density: Function
    quantile: Function
    draw: Callable[[int, Any], Array] = open_uniform

    def __repr__(self) -> str:
        return f"{self.name} on [{self.support[0]:g}, {self.support[1]:g}]"

    def pdf(self, time: Any) -> Any:
        """Return the density at times of any shape, 0 outside the support, at its ends the limit.

        A number gives a float, an array an array of the same library and dtype. It is computed in float64.
        """
        module = namespace(time)
        if module is None:
            return float(self.pdf(np.asarray(float(time))))
        wide = time.astype(np.float64) if module is np else time.double() if module.__name__ == "torch" else time
        (lo, hi), tiny = self.support, 1e-300 if wide.dtype.itemsize == 8 else 1e-30
        # The limits at the ends are read a hair inside, where nothing is 0 times infinity.
        edges = lo + tiny if lo == 0 else np.nextafter(lo, hi), np.nextafter(hi, lo)
        with np.errstate(all="ignore"):
            inside = self.density(module, module.clip(wide, float(edges[0]), float(edges[1])))
        found = module.where((wide >= lo) & (wide <= hi), inside, module.zeros_like(wide))
        if module is np:
            return found.astype(time.dtype if time.dtype in FLOATS else np.float64)[()]
        return found.to(time.dtype) if module.__name__ == "torch" and time.dtype.is_floating_point else found

    def sample(self, n: int, rng: Any, dtype: Any = None) -> Array:
        """Draw n times, shape (n,), strictly inside the support.

        Args:
            n: how many, ≥ 1.
            rng: a numpy or torch generator, or a jax key; the times live where it does.
            dtype: float32 or float64 of the library; numpy's default is float64, torch's float32, jax's its own.

        Raises:
            TypeError: another generator.
            ValueError: n < 1, or half precision: in bfloat16 only 128 times lie between ½ and 1.
        """
        if not isinstance(n, int) or isinstance(n, bool) or n < 1:
            raise ValueError(explain("n >= 1 times", repr(n), "pass the batch size"))
        return self.at(self.draw(n, rng), dtype)

    def at(self, uniform: Array, dtype: Any = None) -> Array:
        """Return the times that numbers uniform in (0, 1) become, of their shape; see :meth:`sample`."""
        module: Any = namespace(uniform)
        if dtype is None:
            dtype = module.float32 if module.__name__ == "torch" else uniform.dtype
        short = str(np.dtype(dtype) if module is not sys.modules.get("torch") else dtype).rpartition(".")[2]
        if short not in FLOATS:
            remedy = "keep times in float32 or float64, whatever the network computes in"
            raise ValueError(explain("dtype float32 or float64 for times", short, remedy))
        with np.errstate(all="ignore"):
            times = self.quantile(module, uniform)
        times = times.to(dtype) if module.__name__ == "torch" else times.astype(dtype)
        return module.clip(times, *strictly_inside(self.support, short))


def strictly_inside(support: tuple[float, float], dtype: str) -> tuple[float, float]:
    """Return the first and last number of a type between the ends; next to 0 the smallest normal number."""
    number = np.dtype(dtype).type
    lo, hi = (number(end) for end in support)
    if float(lo) <= support[0]:
        lo = max(np.nextafter(lo, number(np.inf)), np.finfo(dtype).tiny if lo == 0 else lo)
    if float(hi) >= support[1]:
        hi = np.nextafter(hi, number(-np.inf))
    return float(lo), float(hi)


class Times(ABC):
    """A choice of the density of times; :meth:`of` gives its law under a schedule."""

    @property
    def measure(self) -> Times | None:
        """The density that losses are to be averaged over, where it is not this one; None where it is."""
        return None

    @abstractmethod
    def of(self, schedule: Schedule | None = None) -> Law:
        """Return the law on the domain of ``schedule``; without one on [0, 1], where it needs none."""

    def sample(self, n: int, rng: Any, dtype: Any = None) -> Array:
        """Draw n times of [0, 1], shape (n,); see :meth:`Law.sample`."""
        return self.of().sample(n, rng, dtype)

    def pdf(self, time: Any) -> Any:
        """Return the density on [0, 1]; see :meth:`Law.pdf`."""
        return self.of().pdf(time)


def support(schedule: Schedule | None, lo: float | None, hi: float | None) -> tuple[float, float]:
    """Return the times between ``lo`` and ``hi``, by default the ends of the domain.

    Raises:
        ValueError: not an interval of the domain.
    """
    first, last = (0.0, 1.0) if schedule is None else schedule.domain
    ends = first if lo is None else float(lo), last if hi is None else float(hi)
    if not first <= ends[0] < ends[1] <= last:
        received, remedy = f"lo = {ends[0]:g}, hi = {ends[1]:g}", "pass times inside the domain, or none for all of it"
        raise ValueError(explain(f"{first:g} <= lo < hi <= {last:g}", received, remedy))
    return ends


def mass(what: object, cdf: Callable[[float], Any], lo: float, hi: float) -> tuple[float, float]:
    """Return the probability below ``lo`` and that between ``lo`` and ``hi``.

    Raises:
        ValueError: the second is too small for 16 digits.
    """
    with np.errstate(all="ignore"):
        below, above = float(cdf(lo)), float(cdf(hi))
    if not above - below > 1e-9:
        received = f"{max(above - below, 0.0):.3g} for {what} between {lo:.4g} and {hi:.4g}"
        raise ValueError(explain("a density with mass on the domain", received, "move its location, or widen it"))
    return below, above - below

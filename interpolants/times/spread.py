r"""Draws that fill the density evenly: every time has the same law, and the mean over a batch a smaller variance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from interpolants.coefficient import Array, namespace
from interpolants.schedule import Schedule
from interpolants.times.law import Law, Times, open_uniform

__all__ = ["Antithetic", "LowDiscrepancy", "Stratified"]


@dataclass(frozen=True)
class _Spread(Times):
    """Times of another choice, drawn together."""

    times: Times

    @property
    def measure(self) -> Times | None:
        """That of the times."""
        return self.times.measure

    def of(self, schedule: Schedule | None = None) -> Law:
        """Return the law of ``times`` with other draws."""
        return replace(self.times.of(schedule), name=repr(self), draw=self._draw)

    def _draw(self, n: int, rng: Any) -> Array:
        raise NotImplementedError


class Stratified(_Spread):
    r"""One draw in each of n parts of equal probability: :math:`u_i = (i + U_i)/n`; in increasing order.

    Its error falls like :math:`n^{-3/2}` for a smooth loss, where independent draws have :math:`n^{-1/2}`.
    """

    def _draw(self, n: int, rng: Any) -> Array:
        return (_count(n, uniform := open_uniform(n, rng)) + uniform) / n


class LowDiscrepancy(_Spread):
    r"""One random shift of n points at equal distances: :math:`u_i = (U + i/n) \bmod 1`.

    References: Kingma, Salimans, Poole & Ho (2021), arXiv 2107.00630, appendix I.1.
    """

    def _draw(self, n: int, rng: Any) -> Array:
        uniform = open_uniform(1, rng)
        return (uniform + _count(n, uniform) / n) % 1.0


class Antithetic(_Spread):
    r"""Pairs u and 1 − u: exact for a loss that is a straight line in u. An odd n leaves the last one alone."""

    def _draw(self, n: int, rng: Any) -> Array:
        half = open_uniform((n + 1) // 2, rng)
        module: Any = namespace(half)
        return module.stack([half, 1 - half], 1).reshape(-1)[:n]


def _count(n: int, like: Array) -> Array:
    """Return 0, 1, …, n − 1 in the library, type and place of ``like``."""
    module: Any = namespace(like)
    if module.__name__ == "torch":
        return module.arange(n, dtype=like.dtype, device=like.device)
    return module.arange(n, dtype=like.dtype)

"""CFG-Zero*: classifier-free guidance with the unconditional prediction at its best scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from interpolants.coefficient import Array, pad
from interpolants.guidance.rule import Guidance, Scale, check_scale, is_number, moves, scale_at
from interpolants.guidance.samples import dot, ratio
from solvers.arrays import namespace
from solvers.errors import explain

__all__ = ["CFGZeroStar"]


@dataclass(frozen=True)
class CFGZeroStar(Guidance):
    r"""Classifier-free guidance from the multiple of :math:`v_u` nearest to :math:`v_c`.

    .. math:: v = s\,v_u + \zeta(v_c - s\,v_u), \qquad s = \frac{\langle v_c, v_u\rangle}{\|v_u\|^2}

    with one s per sample, over all its entries. It acts on velocities, and s depends on that: wrap a model of another
    prediction with :func:`interpolants.convert` first.

    Args:
        scale: :math:`\zeta`, a finite number, or a function of time.
        still: the time above which the velocity is zero, for the probability flow only: the paper's zero-init. With
            ``Euler()`` on ``uniform(n)`` the first k steps stand still for ``still=1 - (k - 0.5) / n``. None is off.

    Raises:
        ValueError: a scale or ``still`` that is not finite; when it is used, x without an axis of samples.

    References: Fan, Zheng, Yeh & Liu (2025), CFG-Zero*: Improved Classifier-Free Guidance for Flow Matching Models,
    arXiv 2503.18886.
    """

    scale: Scale
    still: float | None = None

    def __post_init__(self) -> None:
        check_scale(self.scale)
        if self.still is not None and not (is_number(self.still) and math.isfinite(self.still)):
            remedy = "0.98 keeps the first step of uniform(50) still"
            raise ValueError(explain("still: a time, or None", repr(self.still), remedy))

    def active(self, time: Any) -> bool:
        """Whether the result is not the conditional velocity at a time."""
        return self._stands(time) or moves(self.scale, time)

    def _stands(self, time: Any) -> bool:
        return self.still is not None and (not is_number(time) or bool(time > self.still))

    def _mix(self, time: Any, x: Array, conditional: Array, unconditional: Array) -> Array:
        if is_number(time) and self._stands(time):
            return 0.0 * conditional
        best = pad(ratio(dot(conditional, unconditional), dot(unconditional, unconditional)), x)
        base = best * unconditional
        mixed = base + scale_at(self.scale, time, x) * (conditional - base)
        if self.still is None or is_number(time):
            return mixed
        return namespace(x).where(pad(time > self.still, x), 0.0 * mixed, mixed)

"""Guidance by a mix with weights that sum to one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from interpolants.coefficient import Array
from interpolants.guidance.rule import Guidance, Scale, check_scale, moves, scale_at
from solvers.arrays import concat
from solvers.errors import explain

__all__ = ["Autoguidance", "ClassifierFree"]


@dataclass(frozen=True)
class ClassifierFree(Guidance):
    r"""Classifier-free guidance, :math:`v = v_u + \zeta(v_c - v_u)`.

    To the conditional score it adds :math:`(\zeta - 1)\nabla\log p_t(y|x)`. The marginals of the guided flow are not
    the tempered densities :math:`p_c^\zeta p_u^{1-\zeta}`: for zero-mean Gaussians with variances :math:`c_c, c_u` the
    flow ends at variance :math:`c_c^\zeta c_u^{1-\zeta}`, the tempered one has :math:`1/(\zeta/c_c + (1-\zeta)/c_u)`.

    Args:
        scale: :math:`\zeta`, a finite number, or a function of time, called with what the model is called with. Where
            it is 1 only the conditional prediction is evaluated.
        channels: guide the first so many channels (axis 1) and leave the others conditional; None is all. The published
            code of DiT and SiT guides 3 of 4 latent channels: ``channels=3`` is for parity with their numbers, which do
            not carry over to all channels.

    Raises:
        ValueError: a scale that is not finite; channels below 1 or, when it is used, above those of x.

    References: Ho & Salimans (2022), Classifier-Free Diffusion Guidance, arXiv 2207.12598, eq. 6, with
    :math:`\zeta = 1 + w`; Ma et al. (2024), arXiv 2401.08740, §2.5.
    """

    scale: Scale
    channels: int | None = None

    def __post_init__(self) -> None:
        check_scale(self.scale)
        whole = isinstance(self.channels, int) and not isinstance(self.channels, bool)
        if self.channels is not None and (not whole or self.channels < 1):
            remedy = "3 is the published code's choice, None guides all"
            raise ValueError(explain("channels: a whole number, at least 1, or None", repr(self.channels), remedy))

    def active(self, time: Any) -> bool:
        """Whether the scale is not 1 at a time."""
        return moves(self.scale, time)

    def _mix(self, time: Any, x: Array, conditional: Array, unconditional: Array) -> Array:
        scale, kept = scale_at(self.scale, time, x), self.channels
        if kept is None:
            return unconditional + scale * (conditional - unconditional)
        if x.ndim < 2 or x.shape[1] < kept:
            wanted = f"x of shape (B, C, …) with at least {kept} channels"
            raise ValueError(explain(wanted, f"shape {tuple(x.shape)}", "lower channels, or leave it out"))
        base = unconditional[:, :kept]
        mixed = base + scale * (conditional[:, :kept] - base)
        return concat([mixed, conditional[:, kept:]], 1)


@dataclass(frozen=True)
class Autoguidance(ClassifierFree):
    r"""Guidance by a worse version of the model, :math:`v = v_{\mathrm{bad}} + \zeta(v - v_{\mathrm{bad}})`.

    The same combination as :class:`ClassifierFree`; the second model is smaller or less trained and has the same
    condition as the first, so that what is amplified is its error and not the condition. ``guided(model, bad,
    Autoguidance(2.0))``.

    Args:
        scale: :math:`\zeta`, a finite number, or a function of time.
        channels: as for :class:`ClassifierFree`.

    References: Karras, Aittala, Kynkäänniemi, Lehtinen, Aila & Laine (2024), Guiding a Diffusion Model with a Bad
    Version of Itself, arXiv 2406.02507.
    """

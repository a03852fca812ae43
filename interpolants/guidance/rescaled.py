"""Rescaled guidance: the guided prediction with the deviation of the conditional one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from interpolants.coefficient import Array, pad
from interpolants.guidance.denoised import Denoised
from interpolants.guidance.rule import Guidance, is_number
from interpolants.guidance.samples import dot, ratio, rows
from interpolants.prediction import Prediction, Velocity
from interpolants.schedule import Schedule
from solvers.errors import explain

__all__ = ["Rescale"]


@dataclass(frozen=True)
class Rescale(Guidance):
    r"""Another guidance, its prediction of the data brought back towards the deviation of the conditional one.

    .. math:: \hat x = \Bigl[\varphi\,\frac{\operatorname{std}\hat x_c}{\operatorname{std}\hat x_g}
              + 1 - \varphi\Bigr]\hat x_g

    with standard deviations over all entries of a sample, at least two. φ = 0 is the guidance alone. The paper rescales
    what its network predicts; here it is always the data, so that the result does not depend on the prediction.

    Args:
        guidance: what gives :math:`\hat x_g`.
        schedule: the schedule of the models.
        phi: φ, within [0, 1].
        prediction: what the models predict.

    Raises:
        TypeError: not a guidance, a schedule or a prediction.
        ValueError: φ outside [0, 1]; when it is used, samples of one entry.

    References: Lin, Liu, Li & Yang (2023), Common Diffusion Noise Schedules and Sample Steps are Flawed,
    arXiv 2305.08891, §3.4, where φ = 0.7.
    """

    guidance: Guidance
    schedule: Schedule
    phi: float = 0.7
    prediction: Prediction = Velocity
    _denoised: Denoised = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.guidance, Guidance):
            raise TypeError(explain("a guidance", repr(self.guidance), "write Rescale(ClassifierFree(4.0), ...)"))
        object.__setattr__(self, "_denoised", Denoised(self.schedule, self.prediction))
        if not is_number(self.phi) or not 0.0 <= self.phi <= 1.0:
            raise ValueError(explain("phi within [0, 1]", repr(self.phi), "0.7 is the paper's, 0 is off"))

    def active(self, time: Any) -> bool:
        """Whether the guidance inside is active."""
        return self.guidance.active(time)

    def started(self) -> Guidance:
        """Return the guidance for one solve."""
        return replace(self, guidance=self.guidance.started())

    def _mix(self, time: Any, x: Array, conditional: Array, unconditional: Array) -> Array:
        mixed = self.guidance.combine(time, x, conditional, unconditional)
        wanted, found = (self._denoised.data(time, x, each) for each in (conditional, mixed))
        if rows(x).shape[1] < 2:
            remedy = "rescale samples of several entries, such as images"
            raise ValueError(explain("samples of at least two entries", f"x of shape {tuple(x.shape)}", remedy))
        # std x̂_c − std x̂_g over B, as a difference of squares: it stays finite where B = 0 and the two agree.
        sum_, difference = _centred(wanted + found), _centred(conditional - mixed)
        wanted_std, found_std = (dot(each, each) ** 0.5 for each in (_centred(wanted), _centred(found)))
        factor = ratio(ratio(dot(difference, sum_), wanted_std + found_std), found_std)
        return mixed + self.phi * pad(factor, x) * found


def _centred(x: Array) -> Array:
    """Return the samples as rows, each without its mean."""
    flat = rows(x)
    return flat - flat.mean(-1)[:, None]

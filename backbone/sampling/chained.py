"""DDPM's own chain as a method of ``sit sample``, for networks of timesteps, with learned variances too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbone.model import SiT
from backbone.sampling.config import SampleConfig
from interpolants import DiscreteDiffusion, ReverseChain
from interpolants.guidance import Guidance
from interpolants.prediction import Prediction
from interpolants.schedule import Schedule
from solvers import Denoising, Solution
from solvers.errors import explain
from solvers.noise import PerSample

__all__ = ["Chained", "chain_of"]


@dataclass(frozen=True, slots=True)
class Chained:
    """The options of an :class:`interpolants.ReverseChain`, which is what it is called.

    Args:
        variance: "small", "large" or "learned".
        eta: 1 is DDPM, 0 is DDIM.
        clip: x̂ is clipped to [−clip, clip]; None does not clip, as for latents.
    """

    variance: Literal["small", "large", "learned"] = "small"
    eta: float = 1.0
    clip: float | None = None
    solves: ClassVar[type[Denoising]] = Denoising
    stochastic: ClassVar[bool] = True

    def __repr__(self) -> str:
        return f"ReverseChain(variance={self.variance!r}, eta={self.eta}, clip={self.clip})"

    def check_options(self, config: SampleConfig, model: SiT) -> None:
        """Refuse options that the chain has no use for, and variances that a network has not.

        Raises:
            ValueError: either.
        """
        given = [name for name in ("last_step", "transfer") if getattr(config, name) is not None]
        if given:
            remedy = f"leave out {given[0]}, or take DDIM or another method of solvers"
            raise ValueError(explain("the chain of the training itself, for ReverseChain", given[0], remedy))
        if self.variance == "learned" and not model.config.learn_sigma:
            remedy = "take \"ReverseChain(variance='small')\""
            raise ValueError(explain("a network with variances", "learn_sigma=False in its config", remedy))

    def check(self, chain: DiscreteDiffusion, prediction: Prediction) -> None:
        """Refuse what the chain refuses.

        Raises:
            ValueError: the variance, eta, or clip; a prediction that does not tell the data at the last timestep.
        """
        self._chain(chain, lambda timesteps, x: x, prediction)

    def _chain(self, chain: DiscreteDiffusion, network: Any, prediction: Prediction) -> ReverseChain:
        return ReverseChain(chain, network, prediction, self.variance, self.eta, self.clip)

    def sample(
        self,
        model: SiT,
        labels: Tensor,
        chain: DiscreteDiffusion,
        rng: PerSample,
        prediction: Prediction,
        guidance: Guidance | None,
    ) -> Solution:
        """Draw an image for each label; guidance is of the prediction, the variances are those of the label.

        Args:
            model: a network of timesteps.
            labels: (N,), on its device.
            chain: its timesteps.
            rng: of the start and of the steps.
            prediction: what the network predicts.
            guidance: None is none.
        """
        channels, rule = model.config.in_channels, None if guidance is None else guidance.started()
        keep = torch.zeros(2 * len(labels), dtype=torch.bool, device=labels.device)
        null = torch.full_like(labels, model.config.null_class)
        timesteps = iter(chain.timesteps[::-1].tolist())

        def network(index: Tensor, x: Tensor) -> Tensor:
            # The number on the host, which a device would have to be waited for.
            time = (next(timesteps) + 1) / chain.num_train_timesteps
            if rule is None or not rule.active(time):
                return model.both_halves(x, index, labels, drop_labels=keep[: len(x)]).to(x.dtype)
            twice, both = torch.cat([index, index]), torch.cat([labels, null])
            out = model.both_halves(torch.cat([x, x]), twice, both, drop_labels=keep).to(x.dtype)
            given, free = out.chunk(2)
            combined = rule.combine(time, x, given[:, :channels], free[:, :channels])
            return torch.cat([combined, given[:, channels:]], dim=1)

        start = rng.start(torch.empty(len(labels), channels, *model.config.size, device=labels.device))
        with torch.no_grad():
            return self._chain(chain, network, prediction).sample(start, rng)


def chain_of(schedule: Schedule, times: NDArray[np.float64]) -> DiscreteDiffusion:
    """Return the chain of a :class:`~interpolants.schedules.Discrete` schedule through the timesteps of a grid.

    Raises:
        ValueError: times that are none of (i + 1)/T, or a grid that does not end at the data.
    """
    whole = DiscreteDiffusion(schedule)
    places = times * len(whole) - 1.0
    index = np.rint(places).astype(np.int64)
    if np.abs(places - index).max() > 1e-6 or index[-1] != -1 or index[-2] < 0:
        remedy = "pass --grid respaced, or timestep-strides"
        raise ValueError(explain("a grid of timesteps, for ReverseChain", f"times {times[:3].tolist()} …", remedy))
    return whole.respaced(index[-2::-1].tolist())

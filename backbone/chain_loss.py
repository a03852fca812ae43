r"""What DiT is trained on: the noise of a chain of discrete rates, and with it the variances."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import Tensor

from backbone.draws import Draws
from backbone.losses import dropped
from backbone.model import SiT
from solvers.errors import explain

if TYPE_CHECKING:
    from interpolants import DiscreteDiffusion

__all__ = ["Chain"]


@dataclass(frozen=True)
class Chain:
    r"""The loss of DDPM at a timestep i drawn uniformly, :math:`|ε_θ(x_i, i, y) - ε|^2`.

    With ``learned`` the network has the variances in its second half, and the term of the variational bound at i, times
    the number of timesteps over 1000, teaches them alone.

    Args:
        schedule: of discrete rates, such as ``interpolants.schedules.DDPMLinear()``.
        learned: learn the variances, as DiT does; the network then needs ``learn_sigma``.
        levels: how many grey levels the data have, for the last term of the bound; None for data without levels. DiT
            has 256, for its latents too.

    Raises:
        TypeError: a schedule of continuous time.

    References: Ho, Jain & Abbeel (2020), arXiv:2006.11239, equation 14; Nichol & Dhariwal (2021), arXiv:2102.09672,
    equation 16; Peebles & Xie (2023), arXiv:2212.09748, section 3.1.
    """

    schedule: Any
    learned: bool = True
    levels: int | None = 256

    @cached_property
    def diffusion(self) -> DiscreteDiffusion:
        """The noising chain."""
        from interpolants import DiscreteDiffusion
        from interpolants.schedules import Discrete

        if not isinstance(self.schedule, Discrete):
            remedy = "choose ddpm-linear, ddpm-scaled-linear or ddpm-cosine, or the loss of an interpolant"
            raise TypeError(explain("a schedule of discrete rates", repr(self.schedule), remedy))
        return DiscreteDiffusion(self.schedule)

    def __call__(self, model: SiT, x_data: Tensor, y: Tensor | None, draws: Draws) -> Tensor:
        """Return the loss of each sample, (N,)."""
        from interpolants import training_losses

        self._check(model)
        count = len(self.diffusion)
        index = (draws.uniform("time") * count).long().clamp(max=count - 1)
        noise, drop = draws.normal("noise", tuple(x_data.shape[1:])), dropped(model, draws)

        def network(timesteps: Tensor, x: Tensor) -> Tensor:
            return model.both_halves(x, timesteps, y, drop_labels=drop).float()

        if self.learned:
            losses: Tensor = training_losses(self.diffusion, network, x_data, index, noise, levels=self.levels).loss
            return losses
        guess = network(self.diffusion.network_timesteps(index, x_data), self.diffusion.noised(index, x_data, noise))
        return (guess[:, : x_data.shape[1]] - noise).square().flatten(1).mean(dim=1)

    def _check(self, model: SiT) -> None:
        config, count = model.config, len(self.diffusion)
        if config.timesteps != count:
            remedy = f"build the network with timesteps={count}, as dit(name) does"
            raise ValueError(explain(f"a network of {count} timesteps", f"timesteps={config.timesteps}", remedy))
        if self.learned and not config.learn_sigma:
            raise ValueError(explain("learn_sigma, for learned variances", "a network without", "pass learned=False"))

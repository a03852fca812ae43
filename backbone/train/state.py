"""Everything that a training changes: network, optimiser, average, loss scale, and how many steps were made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import DTensor

from backbone.ema import EMA, PowerEMA
from backbone.losses import LearningLoss, Loss
from backbone.model import SiT
from backbone.train.config import TrainConfig
from backbone.train.parallel import shard
from backbone.train.world import World
from solvers.errors import explain

__all__ = ["State"]

# Whole tensors on the host, whatever part of them a process has.
_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


class State:
    """What has to be kept for a training to go on as if nothing had happened.

    All random numbers and the order of the data are functions of the seed and the number of the sample, so of the data
    nothing is kept but ``step``.

    Args:
        model: the network.
        loss: what it learns; what it has learnt itself, if it does, is kept.
        config: the recipe.
        here: the processes, among which the network may be split.

    Attributes:
        step: how many steps were made.
        skipped: the steps that a rollback goes round.
    """

    def __init__(self, model: SiT, loss: Loss, config: TrainConfig, here: World) -> None:
        self.model, self.loss, self.config, self.here = model, loss, config, here
        here.spread(model.state_dict().values())
        self.ema = None if config.ema_decay is None else EMA(model, config.ema_decay, warmup=config.ema_warmup)
        self.powers = [PowerEMA(model, width) for width in config.ema_widths]
        self.sharded = config.parallel == "fsdp" and here.size > 1
        if self.sharded:
            for network in (model, *(average.model for average in self.averages.values())):
                shard(network)
        self.optimizer = torch.optim.AdamW(
            [part for part in model.parameters() if part.requires_grad],
            lr=config.learning_rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.scaler = torch.amp.GradScaler(here.device.type, enabled=config.precision == "float16")
        self.step = 0
        self.skipped: list[int] = []

    @property
    def averages(self) -> dict[str, EMA[SiT] | PowerEMA[SiT]]:
        """All averages of the weights, by name; the first is the one to sample from."""
        constant = {} if self.ema is None else {"ema": self.ema}
        return {**constant, **{f"power{average.sigma_rel:.6g}": average for average in self.powers}}

    @property
    def averaged(self) -> SiT:
        """The network to sample from."""
        return next((average.model for average in self.averages.values()), self.model)

    def gradient_norm(self) -> Tensor:
        """Return the norm of the gradient, 0-d on the device, which is then clipped where the recipe says so."""
        self.scaler.unscale_(self.optimizer)
        limit = math.inf if self.config.clip_norm is None else self.config.clip_norm
        parameters = [part for part in self.model.parameters() if part.grad is not None]
        norm = torch.nn.utils.get_total_norm([part.grad for part in parameters if part.grad is not None])
        if math.isfinite(limit):
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def update(self, mean: Tensor, norm: Tensor) -> None:
        """Move the weights and their average by the gradients, forget these, and let the loss learn from its batch.

        Args:
            mean: this process's part of the loss, 0-d.
            norm: of the gradient.
        """
        if self.config.on_non_finite != "skip" or bool(torch.isfinite(self.here.mean(mean) + norm)):
            for group in self.optimizer.param_groups:
                group["lr"] = self.config.learning_rate_at(self.step)
            self.scaler.step(self.optimizer)
            for average in self.averages.values():
                average.update(self.model)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if isinstance(self.loss, LearningLoss):
            self.loss.learn(self.here.gather)

    def parts(self) -> dict[str, Any]:
        """Return the state dicts as they are, for an error to carry."""
        return {
            "model": self.model.state_dict(),
            "ema": None if self.ema is None else self.ema.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def whole_average(self) -> SiT:
        """Return the network to sample from in one piece; every process takes part."""
        if not self.sharded:
            return self.averaged
        weights = _weights(self.averaged)
        with torch.device("meta"):
            whole = SiT(self.model.config)
        if weights:
            whole.load_state_dict(weights, assign=True)
        return whole

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by name, whole and on the host; every process takes part."""
        found = {f"model.{name}": part for name, part in _weights(self.model).items()}
        for kind, average in self.averages.items():
            found |= {f"{kind}/{name}": part for name, part in _weights(average.model).items()}
        # Before the first step there is nothing, and torch would make a step to have something.
        moments: dict[str, Any] = {}
        if self.optimizer.state:
            whole = get_optimizer_state_dict(self.model, self.optimizer, options=_WHOLE)
            # Only the first process has it.
            moments = cast("dict[str, Any]", whole.get("state", {}))
        for name, parts in moments.items():
            found |= {f"adam.{key}.{name}": torch.as_tensor(value) for key, value in parts.items()}
        return found

    def numbers(self) -> dict[str, Any]:
        """Return what is no tensor, as JSON."""
        return {
            "step": self.step,
            "skipped": self.skipped,
            "updates": {kind: average.updates for kind, average in self.averages.items()},
            "scaler": self.scaler.state_dict(),
            "loss": self.loss.state_dict() if isinstance(self.loss, LearningLoss) else None,
        }

    def restore(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Take back what :meth:`tensors` and :meth:`numbers` gave; every process takes part and holds the whole."""
        # Gradients of a step that is given up would keep torch from making room for the moments.
        self.optimizer.zero_grad(set_to_none=True)
        _put_weights(self.model, _under("model.", tensors))
        for kind, average in self.averages.items():
            _put_weights(average.model, _under(f"{kind}/", tensors))
            average.updates = numbers["updates"][kind]
        self._restore_optimizer(_under("adam.", tensors))
        if numbers["scaler"]:
            self.scaler.load_state_dict(dict(numbers["scaler"]))
        if isinstance(self.loss, LearningLoss):
            self.loss.load_state_dict(numbers["loss"])
        self.step, self.skipped = numbers["step"], list(numbers["skipped"])

    def _restore_optimizer(self, moments: dict[str, Tensor]) -> None:
        if not moments:
            # Those of before the first step: none, also where steps were made since.
            self.optimizer.state.clear()
            return
        state: dict[str, dict[str, Tensor]] = {}
        for path, value in moments.items():
            key, _, name = path.partition(".")
            state.setdefault(name, {})[key] = value
        names = [name for name, part in self.model.named_parameters() if part.requires_grad]
        groups = [
            {key: value for key, value in group.items() if key != "params"} for group in self.optimizer.param_groups
        ]
        whole: Any = {"state": state, "param_groups": [{**groups[0], "params": names}]}
        set_optimizer_state_dict(self.model, self.optimizer, whole, options=_WHOLE)


def _weights(model: SiT) -> dict[str, Tensor]:
    return cast("dict[str, Tensor]", get_model_state_dict(model, options=_WHOLE))


def _put_weights(model: SiT, weights: dict[str, Tensor]) -> None:
    set_model_state_dict(model, cast("Any", weights), options=_WHOLE)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = {name.removeprefix(prefix): part for name, part in tensors.items() if name.startswith(prefix)}
    if not found and prefix != "adam.":
        raise ValueError(explain(f"tensors {prefix}…", "none", "resume with the recipe that the run was begun with"))
    return found

"""SiT networks: the model, its training, checkpoints and sampling.

The names below are loaded when first used, so ``import backbone`` needs no torch and the command line works without it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from solvers.errors import closest

if TYPE_CHECKING:
    from backbone.checkpoints import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
    from backbone.config import SiTConfig
    from backbone.data.arrays import Arrays
    from backbone.ema import EMA
    from backbone.evaluate import conditional_accuracy, frechet_distance
    from backbone.field import bind
    from backbone.model import SiT, dit, sit
    from backbone.sample import sample
    from backbone.train import NonFiniteLossError, Record, RunConfig, TrainConfig, TrainResult, train

__all__ = [
    "EMA",
    "Arrays",
    "Checkpoint",
    "CheckpointError",
    "NonFiniteLossError",
    "Record",
    "RunConfig",
    "SiT",
    "SiTConfig",
    "TrainConfig",
    "TrainResult",
    "bind",
    "conditional_accuracy",
    "dit",
    "frechet_distance",
    "load_checkpoint",
    "sample",
    "save_checkpoint",
    "sit",
    "train",
]

_HOME = {
    "Arrays": "data.arrays",
    "EMA": "ema",
    "Checkpoint": "checkpoints",
    "CheckpointError": "checkpoints",
    "NonFiniteLossError": "train.readings",
    "SiT": "model",
    "SiTConfig": "config",
    "Record": "train.record",
    "RunConfig": "train.run_config",
    "TrainConfig": "train.config",
    "TrainResult": "train.loop",
    "bind": "field",
    "conditional_accuracy": "evaluate",
    "dit": "model",
    "frechet_distance": "evaluate",
    "load_checkpoint": "checkpoints",
    "sample": "sample",
    "save_checkpoint": "checkpoints",
    "sit": "model",
    "train": "train.loop",
}


class _Package(ModuleType):
    """A package in which a public function keeps its name although a submodule has the same one.

    Importing ``backbone.train`` would otherwise bind the module to ``backbone.train`` in place of the function, and
    ``from backbone import train`` would mean one or the other depending on what was imported before.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (isinstance(value, ModuleType) and name in _HOME):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'backbone' has no attribute {name!r}; closest: {closest(name, __all__)}")
    value = getattr(import_module(f"backbone.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

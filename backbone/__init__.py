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
    from backbone.attention_maps import attention_distance, attention_maps, uniform_distance
    from backbone.checkpoints import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
    from backbone.config import SiTConfig
    from backbone.data.arrays import Arrays
    from backbone.data.encode import Encoded, encode
    from backbone.data.encode_config import EncodeConfig
    from backbone.data.manifest import StoreError
    from backbone.data.store import Store
    from backbone.data.verify import verify_store
    from backbone.ema import EMA, Averages, PowerEMA, post_hoc, save_snapshot
    from backbone.evaluate import conditional_accuracy, frechet_distance
    from backbone.field import bind
    from backbone.likelihood import Bits, Levels, ModelFlow, RoundTrip, dequantised_bits, log_marginal
    from backbone.model import SiT, dit, sit
    from backbone.sample import sample
    from backbone.sampling.again import Reproduction, reproduce
    from backbone.sampling.config import SampleConfig
    from backbone.sampling.run import write_samples
    from backbone.train.config import TrainConfig
    from backbone.train.loop import TrainResult, train
    from backbone.train.readings import NonFiniteLossError
    from backbone.train.record import Record
    from backbone.train.run_config import RunConfig

__all__ = [
    "EMA",
    "Arrays",
    "Averages",
    "Bits",
    "Checkpoint",
    "CheckpointError",
    "EncodeConfig",
    "Encoded",
    "Levels",
    "ModelFlow",
    "NonFiniteLossError",
    "PowerEMA",
    "Record",
    "Reproduction",
    "RoundTrip",
    "RunConfig",
    "SampleConfig",
    "SiT",
    "SiTConfig",
    "Store",
    "StoreError",
    "TrainConfig",
    "TrainResult",
    "attention_distance",
    "attention_maps",
    "bind",
    "conditional_accuracy",
    "dequantised_bits",
    "dit",
    "encode",
    "frechet_distance",
    "load_checkpoint",
    "log_marginal",
    "post_hoc",
    "reproduce",
    "sample",
    "save_checkpoint",
    "save_snapshot",
    "sit",
    "train",
    "uniform_distance",
    "verify_store",
    "write_samples",
]

_HOME = {
    "EMA": "ema",
    "Arrays": "data.arrays",
    "Averages": "ema",
    "Bits": "likelihood",
    "Checkpoint": "checkpoints",
    "CheckpointError": "checkpoints",
    "EncodeConfig": "data.encode_config",
    "Encoded": "data.encode",
    "Levels": "likelihood",
    "ModelFlow": "likelihood",
    "NonFiniteLossError": "train.readings",
    "PowerEMA": "ema",
    "Record": "train.record",
    "Reproduction": "sampling.again",
    "RoundTrip": "likelihood",
    "RunConfig": "train.run_config",
    "SampleConfig": "sampling.config",
    "SiT": "model",
    "SiTConfig": "config",
    "Store": "data.store",
    "StoreError": "data.manifest",
    "TrainConfig": "train.config",
    "TrainResult": "train.loop",
    "attention_distance": "attention_maps",
    "attention_maps": "attention_maps",
    "bind": "field",
    "conditional_accuracy": "evaluate",
    "dequantised_bits": "likelihood",
    "dit": "model",
    "encode": "data.encode",
    "frechet_distance": "evaluate",
    "load_checkpoint": "checkpoints",
    "log_marginal": "likelihood",
    "post_hoc": "ema",
    "reproduce": "sampling.again",
    "sample": "sample",
    "save_checkpoint": "checkpoints",
    "save_snapshot": "ema",
    "sit": "model",
    "train": "train.loop",
    "uniform_distance": "attention_maps",
    "verify_store": "data.verify",
    "write_samples": "sampling.run",
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

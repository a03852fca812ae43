"""Training: the loop, its recipe, and what is kept of it. ``python -m backbone.train`` is ``sit train``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backbone.train.config import TrainConfig
    from backbone.train.loop import TrainResult, train
    from backbone.train.readings import NonFiniteLossError
    from backbone.train.record import Record
    from backbone.train.run_config import RunConfig

__all__ = ["NonFiniteLossError", "Record", "RunConfig", "TrainConfig", "TrainResult", "train"]

_HOME = {
    "NonFiniteLossError": "readings",
    "Record": "record",
    "RunConfig": "run_config",
    "TrainConfig": "config",
    "TrainResult": "loop",
    "train": "loop",
}


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is asked for; a recipe alone does not."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)

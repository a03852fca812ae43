"""``sit convert``: checkpoints of other projects."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

__all__ = ["convert"]


def convert(
    source: Annotated[Path, tyro.conf.Positional],
    target: Annotated[Path, tyro.conf.Positional],
    weights: Literal["ema", "model"] | None = None,
    num_heads: int | None = None,
    timesteps: int | None = None,
    schedule: str | None = None,
    prediction: str | None = None,
    reverse_time: bool = False,
    force: bool = False,
) -> int:
    """Turn a checkpoint of SiT, DiT or REPA into safetensors with its config inside, and print what was found.

    Args:
        source: a .pt file, or safetensors.
        target: the safetensors file to write.
        weights: which weights of a training checkpoint; ema where there are any.
        num_heads: attention heads, for a width that is not a published one.
        timesteps: of a network whose time is the index of a timestep, to keep in the file: 1000 for DiT's.
        schedule: name of the schedule of the training, to keep in the file, such as linear.
        prediction: what the network predicts, to keep in the file, such as velocity.
        reverse_time: turn a network of SiT's code, for which time 1 is data, to time 0 for data; needs prediction.
        force: overwrite a file.
    """
    from backbone.convert import convert as run

    print(
        run(
            source,
            target,
            weights=weights,
            num_heads=num_heads,
            timesteps=timesteps,
            schedule=schedule,
            prediction=prediction,
            reverse_time=reverse_time,
            force=force,
        )
    )
    return 0

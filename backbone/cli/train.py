"""``sit train``: a training from a config file and flags."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import tyro

from backbone.config import SiTConfig
from backbone.train.config import TrainConfig
from backbone.train.record import Record
from backbone.train.run_config import ObjectiveConfig, ProbeConfig, RunConfig, read_config

__all__ = ["CONFIGS", "command"]

#: Whose fields are flags.
CONFIGS = (RunConfig, SiTConfig, ObjectiveConfig, TrainConfig, Record, ProbeConfig)


def command(arguments: Sequence[str]) -> Callable[..., int]:
    """Return the subcommand; its defaults are those of the file after ``--config``, if it is among the arguments."""
    default = RunConfig()
    if arguments[:1] == ["train"]:
        for place, argument in enumerate(arguments):
            flag, _, value = argument.partition("=")
            if flag == "--config":
                default = read_config(Path(value or "".join(arguments[place + 1 : place + 2])))

    def train(
        run: Annotated[RunConfig, tyro.conf.arg(name="")] = default,
        config: Path | None = None,
        quiet: bool = False,
    ) -> int:
        """Train a network: of a recipe in configs/, with any of its fields replaced by a flag.

        With torchrun --nproc-per-node N -m backbone.train it runs in N processes. A run that was interrupted, by a
        signal or otherwise, goes on from its newest good checkpoint when the same command is given again.

        Args:
            run: the training.
            config: TOML or JSON file with the fields below, whose values the other flags replace.
            quiet: show no progress.
        """
        from backbone.train.run import run as start

        result = start(run, progress=not quiet)
        state = "stopped by a signal" if result.stopped else "done"
        loss = f", loss {result.losses[-1]:.4f}" if result.losses else ""
        # Of all the processes of torchrun one speaks.
        if os.environ.get("RANK", "0") == "0":
            print(f"{state}: {result.steps} of {run.training.steps} steps{loss}; {run.out}")
        return 0

    return train

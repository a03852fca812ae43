"""What a training leaves on disk and on the terminal while it runs, and where a run that was interrupted goes on."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from backbone.checkpoints import save_checkpoint
from backbone.ema import save_snapshot
from backbone.files import drop_drafts, locked, write_text
from backbone.flops import forward_flops
from backbone.train.config import TrainConfig
from backbone.train.log import Log, Rate
from backbone.train.readings import NonFiniteLossError, Reading, Readings
from backbone.train.record import Record
from backbone.train.resume import Checkpoints
from backbone.train.state import State
from backbone.train.world import World
from solvers.errors import explain

__all__ = ["Journal", "Probe"]

Probe = Callable[[State, World], dict[str, float]]


class Journal:
    """The record of one training, kept.

    Args:
        folder: of the run: ``config.json``, ``log.jsonl``, ``checkpoints/`` and ``averaged.safetensors``, the network
            to sample from. A training goes on from the newest good checkpoint in it. None keeps nothing.
        record: what to keep, and how often.
        config: how the training is done.
        recipe: JSON that has to be the same when the run goes on.
        here: the processes.
        extra: JSON to keep in ``averaged.safetensors``, such as the schedule and the prediction.
        described: JSON for ``config.json``; None is the recipe and the record.
        probe: what measures the network now and then.
        on_step: what is told of each step and its loss.
        progress: show a bar on stderr.
    """

    def __init__(
        self,
        folder: Path | None,
        record: Record,
        config: TrainConfig,
        recipe: dict[str, Any],
        here: World,
        extra: dict[str, Any] | None = None,
        described: dict[str, Any] | None = None,
        probe: Probe | None = None,
        on_step: Callable[[int, float], None] | None = None,
        *,
        progress: bool = False,
    ) -> None:
        if config.on_non_finite == "rollback" and (folder is None or not record.save_every):
            remedy = 'give a folder and save_every, or choose on_non_finite="skip"'
            raise ValueError(explain('checkpoints, for on_non_finite="rollback"', "none", remedy))
        whole = recipe | {"training": config.to_dict(), "record": asdict(record)}
        self.described = whole if described is None else described
        # Refused now, and not at the first checkpoint.
        json.dumps([extra, self.described], allow_nan=False)
        self.record, self.config, self.recipe, self.here, self.probe = record, config, recipe, here, probe
        self.folder, self.extra, self.on_step = folder, extra or {}, on_step
        self.checkpoints = None if folder is None else Checkpoints(folder / "checkpoints", here, record.keep)
        self.progress = progress and here.first
        self.losses: dict[int, float] = {}
        self.saved: int | None = None
        self.log = Log(None, 0)
        self.bar: Any = None
        self._held = ExitStack()

    def open(self, state: State) -> None:
        """Bring the state to where the run was, and begin to write.

        Raises:
            ValueError: the run in the folder has another recipe, or damaged checkpoints alone; nothing is changed.
            OSError: another training uses the folder, or it cannot be written.
        """
        if self.folder is not None and self.checkpoints is not None:
            self.here.first_does(self._take)
            self.saved = self.checkpoints.restore(state, self.recipe)
            self.here.first_does(self._describe)
            if self.config.on_non_finite == "rollback" and self.saved is None:
                self.save(state)
        self.counted = state.step
        self.here.first_does(lambda: self._begin_log(state.step))
        peak = self.record.peak_flops
        whole = None if peak is None else peak * self.here.size / (3 * forward_flops(state.model.config))
        self.rate = Rate(whole)
        if self.progress:
            from tqdm import tqdm

            self.bar = tqdm(total=self.config.steps, initial=state.step, unit="step")

    def due(self, state: State) -> bool:
        """Whether the step that is being made has to be read before it changes the weights.

        A checkpoint or a sample is only made of weights that are known to be good.
        """
        made, record = state.step + 1, self.record
        often = (self.config.log_every, record.save_every, record.probe_every)
        return made == self.config.steps or any(every and made % every == 0 for every in often)

    def read(self, readings: Readings, state: State) -> bool:
        """Write the rows of the steps that were made since the last time; return False after a rollback.

        Raises:
            NonFiniteLossError: a loss is not finite, and the recipe neither skips the step nor goes back.
        """
        rows = readings.read()
        # The scaler of half precision tries scales until the gradient fits, and leaves out the steps where it does not.
        scaled = self.config.precision == "float16"
        for place, row in enumerate(rows):
            self.losses[row.step] = row.loss
            fine = row.finite or (scaled and math.isfinite(row.loss))
            if not fine and self.config.on_non_finite != "skip":
                self._write(rows[: place + 1])
                self._give_up(state, NonFiniteLossError(row.step, list(self.losses.values()), state.parts()))
                return False
            if self.on_step is not None:
                self.on_step(row.step, row.loss)
        self._write(rows)
        return True

    def _write(self, rows: list[Reading]) -> None:
        if not rows:
            return
        made = rows[-1].step + 1
        batch = self.config.batch_size
        speed = self.rate.over((made - self.counted) * batch, (self.config.steps - made) * batch)
        self.counted = made
        for row in rows:
            self.log.write(row.step + 1, row.row() | (speed if row is rows[-1] else {}))
        if self.bar is not None:
            self.bar.n = made
            shown = {"loss": f"{rows[-1].loss:.4f}", "images/s": f"{speed['images_per_second']:.0f}"}
            self.bar.set_postfix(shown | ({"mfu": f"{speed['mfu']:.1%}"} if "mfu" in speed else {}))

    def _give_up(self, state: State, error: NonFiniteLossError) -> None:
        """Raise the error, or return to the last checkpoint, from where the training goes round its step."""
        if self.config.on_non_finite == "stop" or self.checkpoints is None:
            raise error
        skipped = {*state.skipped, error.step}
        start = self.checkpoints.restore(state, self.recipe)
        # Where no batch goes through from there, the weights are at fault and not the batches.
        if start is None or (error.step > start and skipped.issuperset(range(start, error.step))):
            raise error
        state.skipped = sorted(skipped)
        self.log.close()
        self.here.first_does(lambda: self._begin_log(state.step))
        self.log.write(state.step, {"rolled_back_from": error.step + 1})
        self.losses = {step: loss for step, loss in self.losses.items() if step < state.step}
        self.counted = state.step

    def after(self, state: State) -> None:
        """Save and measure where it is time to; the state is at the end of a step."""
        due = self.record.save_every and state.step % self.record.save_every == 0
        if due and state.step < self.config.steps:
            try:
                self.save(state)
            except OSError as error:
                # The run may outlast a full disk; the checkpoint before is as it was.
                if self.here.first:
                    warnings.warn(str(error), stacklevel=2)
                self.log.write(state.step, {"not_saved": str(error)})
        every = self.record.snapshot_every
        if self.folder is not None and state.powers and every and state.step % every == 0:
            folder = self.folder / "snapshots"
            folder.mkdir(exist_ok=True)
            save_snapshot(folder, state.powers, dtype=torch.float16, extra=self.extra | {"step": state.step})
        if self.probe is not None and self.record.probe_every and state.step % self.record.probe_every == 0:
            found = self.probe(state, self.here)
            self.log.write(state.step, found)

    def save(self, state: State) -> None:
        """Write a checkpoint and the network to sample from, if there is a folder and the step is not in it yet."""
        if self.checkpoints is None or self.folder is None or self.saved == state.step:
            return
        # The average first: a run whose last checkpoint is there is complete.
        whole, extra = state.whole_average(), self.extra | {"step": state.step}
        file = self.folder / "averaged.safetensors"
        self.here.first_writes(str(file), lambda: save_checkpoint(file, whole, extra=extra))
        self.checkpoints.save(state, self.recipe)
        self.saved = state.step

    def close(self) -> None:
        """Finish all files, and leave the folder to others."""
        with self._held:
            self.log.close()
            if self.bar is not None:
                self.bar.close()

    def _take(self) -> None:
        """Have the folder to itself, and remove what a killed run left half-written."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._held.enter_context(locked(self.folder))
            for folder in (self.folder, self.folder / "checkpoints", self.folder / "samples"):
                drop_drafts(folder)

    def _describe(self) -> None:
        if self.folder is not None:
            write_text(self.folder / "config.json", json.dumps(self.described, indent=1) + "\n")

    def _begin_log(self, after: int) -> None:
        self.log = Log(self.folder, after, tensorboard=self.record.tensorboard, wandb=self.record.wandb)

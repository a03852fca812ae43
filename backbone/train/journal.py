"""What a training leaves on disk and on the terminal while it runs, and where a run that was interrupted goes on."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backbone.checkpoints import save_checkpoint
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
        folder: of the run: ``log.jsonl``, ``checkpoints/`` and ``averaged.safetensors``, the network to sample from. A
            training goes on from the newest good checkpoint in it. None keeps nothing.
        record: what to keep, and how often.
        config: how the training is done.
        recipe: JSON that has to be the same when the run goes on.
        here: the processes.
        extra: JSON to keep in ``averaged.safetensors``, such as the schedule and the prediction.
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
        probe: Probe | None = None,
        on_step: Callable[[int, float], None] | None = None,
        *,
        progress: bool = False,
    ) -> None:
        if config.on_non_finite == "rollback" and (folder is None or not record.save_every):
            remedy = 'give a folder and save_every, or choose on_non_finite="skip"'
            raise ValueError(explain('checkpoints, for on_non_finite="rollback"', "none", remedy))
        self.record, self.config, self.recipe, self.here, self.probe = record, config, recipe, here, probe
        self.folder, self.extra, self.on_step = folder, extra, on_step
        self.checkpoints = None if folder is None else Checkpoints(folder / "checkpoints", here, record.keep)
        self.progress = progress and here.first
        self.losses: list[float] = []
        self.saved: int | None = None

    def open(self, state: State) -> None:
        """Bring the state to where the run was, and begin to write."""
        if self.checkpoints is not None:
            self.saved = self.checkpoints.restore(state, self.recipe)
            if self.config.on_non_finite == "rollback" and self.saved is None:
                self.save(state)
        self.first, self.counted = state.step, state.step
        self.log = self._log(state.step)
        peak = self.record.peak_flops
        whole = None if peak is None else peak * self.here.size / (3 * forward_flops(state.model.config))
        self.rate = Rate(whole)
        self.bar = _bar(self.config.steps, state.step) if self.progress else None

    def read(self, readings: Readings, state: State) -> bool:
        """Write the rows of the steps that were made since the last time; return False after a rollback.

        Raises:
            NonFiniteLossError: a loss is not finite, and the recipe neither skips the step nor goes back.
        """
        rows = readings.read()
        for row in rows:
            self.losses.append(row.loss)
            if not row.finite and self.config.on_non_finite != "skip":
                error = NonFiniteLossError(row.step, self.losses, state.parts())
                if self.config.on_non_finite == "stop":
                    raise error
                self._roll_back(state, error)
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

    def _roll_back(self, state: State, error: NonFiniteLossError) -> None:
        """Return to the last checkpoint, from where the training goes round the step of the error."""
        skipped = {*state.skipped, error.step}
        if self.checkpoints is None or self.checkpoints.restore(state, self.recipe) is None:
            raise error
        state.optimizer.zero_grad(set_to_none=True)
        state.skipped = sorted(skipped)
        self.log.close()
        self.log = self._log(state.step)
        self.log.write(state.step, {"rolled_back_from": error.step + 1})
        del self.losses[max(0, state.step - self.first) :]
        self.counted = state.step

    def after(self, state: State) -> None:
        """Save and measure where it is time to; the state is at the end of a step."""
        due = self.record.save_every and state.step % self.record.save_every == 0
        if due and state.step < self.config.steps:
            try:
                self.save(state)
            except OSError as error:
                # The run may outlast a full disk; the checkpoint before is as it was.
                warnings.warn(str(error), stacklevel=2)
                self.log.write(state.step, {"not_saved": str(error)})
        if self.probe is not None and self.record.probe_every and state.step % self.record.probe_every == 0:
            found = self.probe(state, self.here)
            self.log.write(state.step, found)

    def save(self, state: State) -> None:
        """Write a checkpoint and the network to sample from, if there is a folder and the step is not in it yet."""
        if self.checkpoints is None or self.saved == state.step or self.folder is None:
            return
        self.checkpoints.save(state, self.recipe)
        weights = state.whole_average()
        if self.here.first:
            save_checkpoint(self.folder / "averaged.safetensors", weights, extra=self.extra)
        self.saved = state.step

    def close(self) -> None:
        """Finish all files."""
        self.log.close()
        if self.bar is not None:
            self.bar.close()

    def _log(self, after: int) -> Log:
        folder = self.folder if self.here.first else None
        return Log(folder, after, tensorboard=self.record.tensorboard, wandb=self.record.wandb)


def _bar(steps: int, made: int) -> Any:
    from tqdm import tqdm

    return tqdm(total=steps, initial=made, unit="step")

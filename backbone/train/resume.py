"""The checkpoints that a training goes on from: written whole or not at all, checked before they are trusted."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbone.files import replaced, sha256, write_text
from backbone.train.state import State
from backbone.train.world import World
from solvers.errors import explain

__all__ = ["Checkpoints"]


class Checkpoints:
    """A folder of ``step-00001000.safetensors``, each with ``step-00001000.json`` beside it.

    The JSON holds what is no tensor, the size and the SHA-256. It is written last, so a checkpoint counts only if it is
    whole; and it is believed only if the hash is right, so that a damaged file is passed over for the one before it.

    Args:
        folder: made if absent.
        here: the processes; the first writes, all read.
        keep: how many to keep; 0 keeps all.
    """

    def __init__(self, folder: Path, here: World, keep: int) -> None:
        self.folder, self.here, self.keep = folder, here, keep
        if here.first:
            folder.mkdir(parents=True, exist_ok=True)

    def save(self, state: State, recipe: dict[str, Any]) -> None:
        """Write a checkpoint of the step that the state is at.

        Args:
            state: what to keep.
            recipe: JSON that a later run has to agree with.

        Raises:
            OSError: it could not be written; nothing is left of it, and those before it are there. Every process
                raises.
        """
        from safetensors.torch import save_file

        tensors, fault = state.tensors(), ""
        if self.here.first:
            file = self._file(state.step)
            try:
                with replaced(file) as draft:
                    save_file({name: part.contiguous() for name, part in tensors.items()}, draft)
                    known = {"bytes": draft.stat().st_size, "sha256": sha256(draft)}
                numbers = state.numbers() | known | {"recipe": recipe, "torch": torch.__version__}
                write_text(file.with_suffix(".json"), json.dumps(numbers, indent=1) + "\n")
                self._prune()
            except Exception as error:
                # safetensors has errors of its own for a full disk.
                fault = str(error)
        (fault,) = self.here.agree([fault])
        if fault:
            remedy = "free some space and start again; the run goes on from the checkpoint before this one"
            raise OSError(explain(f"to write a checkpoint of step {state.step} to {self.folder}", fault, remedy))

    def restore(self, state: State, recipe: dict[str, Any]) -> int | None:
        """Put the newest good checkpoint into the state; return its step, or None where there is none.

        Raises:
            ValueError: the run in this folder was begun with another recipe; the fields that differ are named.
        """
        (found,) = self.here.agree([self._newest() if self.here.first else None])
        if found is None:
            return None
        step, numbers = found
        _check_recipe(self.folder, numbers["recipe"], recipe)
        state.restore(self._read(step), numbers)
        return int(step)

    def steps(self) -> list[int]:
        """Return the steps of the checkpoints that are whole, in order; their hashes are not looked at."""
        return sorted(
            int(file.stem.removeprefix("step-"))
            for file in self.folder.glob("step-*.json")
            if file.with_suffix(".safetensors").exists()
        )

    def _file(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}.safetensors"

    def _read(self, step: int) -> dict[str, Tensor]:
        from safetensors.torch import load_file

        return load_file(self._file(step))

    def _newest(self) -> tuple[int, dict[str, Any]] | None:
        """Return the step and the numbers of the newest checkpoint that is what its JSON says."""
        for step in reversed(self.steps()):
            file = self._file(step)
            try:
                numbers = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
                if file.stat().st_size == numbers["bytes"] and sha256(file) == numbers["sha256"]:
                    return step, numbers
                fault = "another hash than its JSON says"
            except (OSError, ValueError, KeyError) as error:
                fault = f"{type(error).__name__}: {error}"
            warnings.warn(f"{file} is damaged ({fault}); the checkpoint before it is used instead", stacklevel=2)
        return None

    def _prune(self) -> None:
        for step in self.steps()[: -self.keep] if self.keep else []:
            # Its JSON goes first: without it the rest counts for nothing.
            self._file(step).with_suffix(".json").unlink(missing_ok=True)
            self._file(step).unlink(missing_ok=True)


def _check_recipe(folder: Path, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    missing = object()
    differ = [
        f"{name}={theirs.get(name)!r} for {ours.get(name)!r}"
        for name in sorted({*theirs, *ours})
        if theirs.get(name, missing) != ours.get(name, missing)
    ]
    if differ:
        remedy = "go on with the recipe of the run (config.json in its folder), or choose another folder"
        raise ValueError(
            explain("the recipe that the run was begun with", f"{folder} with {'; '.join(differ)}", remedy)
        )

"""The checkpoints that a training goes on from: written whole or not at all, checked before they are trusted."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbone.files import replaced, sha256, write_text
from backbone.train.state import State
from backbone.train.world import World
from solvers.errors import explain

__all__ = ["Checkpoints"]

Json = dict[str, Any]

#: Under which names the metadata of a checkpoint holds JSON.
_NUMBERS, _RECIPE = "numbers", "recipe"


class Checkpoints:
    """A folder of ``step-00001000.safetensors``, each with ``step-00001000.json`` beside it.

    The first holds everything, in tensors and metadata; the second its size and SHA-256. The second is written last, so
    a checkpoint counts only if it is whole; and it is believed only if the hash is right, so that a damaged file is
    passed over for the one before it.

    Args:
        folder: of the checkpoints.
        here: the processes; the first writes, all read.
        keep: how many to keep; 0 keeps all.
    """

    def __init__(self, folder: Path, here: World, keep: int) -> None:
        self.folder, self.here, self.keep = folder, here, keep

    def save(self, state: State, recipe: Json) -> None:
        """Write a checkpoint of the step that the state is at.

        Args:
            state: what to keep.
            recipe: JSON that a later run has to agree with.

        Raises:
            OSError: it could not be written; nothing is left of it, and those before it are there. Every process
                raises.
        """
        tensors, numbers = state.tensors(), state.numbers()
        what = str(self._file(state.step))
        self.here.first_writes(what, lambda: self._write(state.step, tensors, numbers, recipe))

    def restore(self, state: State, recipe: Json) -> int | None:
        """Put the newest good checkpoint into the state; return its step, or None where there is none at all.

        Raises:
            ValueError: the run in this folder was begun with another recipe (the fields that differ are named), or
                every checkpoint is damaged.
        """
        (step,) = self.here.agree([self._newest() if self.here.first else None])
        if step is None:
            return None
        if step < 0:
            remedy = "bring one back, or choose another folder to begin anew"
            raise ValueError(explain(f"a good checkpoint in {self.folder}", "damaged ones alone", remedy))
        tensors, numbers, theirs = self._read(step)
        _check_recipe(self.folder, theirs, recipe)
        state.restore(tensors, numbers)
        return int(step)

    def steps(self) -> list[int]:
        """Return the steps of the checkpoints that are whole, in order; their hashes are not looked at."""
        found = [re.fullmatch(r"step-(\d+)", file.stem) for file in self.folder.glob("step-*.json")]
        return sorted(int(name[1]) for name in found if name and self._file(int(name[1])).exists())

    def _file(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}.safetensors"

    def _write(self, step: int, tensors: Mapping[str, Tensor], numbers: Json, recipe: Json) -> None:
        from safetensors.torch import save_file

        self.folder.mkdir(parents=True, exist_ok=True)
        file = self._file(step)
        metadata = {_NUMBERS: json.dumps(numbers), _RECIPE: json.dumps(recipe)}
        with replaced(file) as draft:
            save_file({name: part.contiguous() for name, part in tensors.items()}, draft, metadata)
            known = {"bytes": draft.stat().st_size, "sha256": sha256(draft), "torch": torch.__version__}
        write_text(file.with_suffix(".json"), json.dumps({"step": step, **known}, indent=1) + "\n")
        self._prune(step)

    def _read(self, step: int) -> tuple[dict[str, Tensor], Json, Json]:
        from safetensors import safe_open

        with safe_open(self._file(step), framework="pt") as file:
            known = file.metadata()
            # A file of safetensors is opened, not a mapping.
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, json.loads(known[_NUMBERS]), json.loads(known[_RECIPE])

    def _newest(self) -> int | None:
        """Return the newest step whose file is what its JSON says, -1 if there are but damaged ones, None if none."""
        steps = self.steps()
        for step in reversed(steps):
            fault = self._fault(step)
            if not fault:
                return step
            warnings.warn(f"{self._file(step)} is damaged ({fault}); it is passed over", stacklevel=2)
        return -1 if steps else None

    def _fault(self, step: int) -> str:
        file = self._file(step)
        try:
            known = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
            size, wanted = known["bytes"], known["sha256"]
            if file.stat().st_size != size:
                return f"{file.stat().st_size} bytes for {size}"
            return "" if sha256(file) == wanted else "its SHA-256 is another"
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"{type(error).__name__}: {error}"

    def _prune(self, newest: int) -> None:
        """Remove all but the last few up to the step just written; those of later steps were passed over as damaged."""
        steps = self.steps()
        kept = [step for step in steps if step <= newest][-self.keep :]
        for step in set(steps) - set(kept):
            # Its JSON goes first: without it the rest counts for nothing.
            self._file(step).with_suffix(".json").unlink(missing_ok=True)
            self._file(step).unlink(missing_ok=True)


def _check_recipe(folder: Path, theirs: Json, ours: Json) -> None:
    missing = object()
    # Through JSON and back, ours has lists for tuples as theirs.
    left, right = _flat(theirs), _flat(json.loads(json.dumps(ours)))
    differ = [
        f"{name}={left.get(name)!r} for {right.get(name)!r}"
        for name in sorted({*left, *right})
        if left.get(name, missing) != right.get(name, missing)
    ]
    if differ:
        remedy = "go on with the recipe of the run (config.json in its folder), or choose another folder"
        raise ValueError(
            explain("the recipe that the run was begun with", f"{folder} with {'; '.join(differ)}", remedy)
        )


def _flat(fields: Mapping[str, Any], where: str = "") -> Json:
    """Return nested fields under names such as ``training.seed``."""
    found: Json = {}
    for name, value in fields.items():
        found |= _flat(value, f"{where}{name}.") if isinstance(value, Mapping) else {f"{where}{name}": value}
    return found

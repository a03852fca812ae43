"""Finished parts of a run, on disk: what survives a stop, and what several processes share.

Part k has the samples k·B … (k + 1)·B − 1, whatever the process that makes it, so that neither a stop nor the number of
processes changes a sample. A part is written beside its name and renamed: it is whole or not there. Parts of a plan lie
in a folder named after its digest, so that those of two plans never mix.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from backbone.files import replaced
from backbone.sampling.sampler import Drawn
from solvers.errors import explain

__all__ = ["Parts", "differences", "refuse"]

_POLL = 0.2


class Parts:
    """The parts of a plan in a folder.

    Args:
        out: the folder of the run.
        plan: what decides the samples; its paths do not.
        num: number of samples.
        size: samples of a part.

    Raises:
        ValueError: finished parts of another plan lie there.
    """

    def __init__(self, out: Path, plan: Mapping[str, Any], num: int, size: int) -> None:
        self.num, self.size, self.count = num, size, -(-num // size)
        self.root = out / ".parts"
        text = json.dumps(without_paths(plan), sort_keys=True)
        self.folder = self.root / hashlib.sha256(text.encode()).hexdigest()[:16]
        self._refuse_others(plan)
        self.folder.mkdir(parents=True, exist_ok=True)
        with replaced(self.folder / "plan.json", self.folder) as draft:
            draft.write_text(json.dumps(plan, indent=1))

    def _refuse_others(self, plan: Mapping[str, Any]) -> None:
        for other in sorted(self.root.glob("*/plan.json")):
            if other.parent != self.folder and any(other.parent.glob("*.npz")):
                found = differences(json.loads(other.read_text()), plan)
                refuse(self.root.parent, found)

    def file(self, k: int) -> Path:
        """Return where part k is."""
        return self.folder / f"{k:06}.npz"

    def bounds(self, k: int) -> tuple[int, int]:
        """Return the number of the first sample of part k, and of the first after it."""
        return k * self.size, min((k + 1) * self.size, self.num)

    def missing(self) -> list[int]:
        """Return the parts that are not finished."""
        there = {file.name for file in self.folder.glob("*.npz")}
        return [k for k in range(self.count) if self.file(k).name not in there]

    def save(self, k: int, drawn: Drawn, facts: Mapping[str, Any]) -> None:
        """Write a part.

        Raises:
            OSError: it cannot be written; nothing is left of it then.
        """
        about = {"nfe": drawn.nfe, "rows": drawn.rows, "seconds": drawn.seconds, **facts}
        with replaced(self.file(k), self.folder) as draft, draft.open("wb") as stream:
            np.savez(stream, samples=drawn.samples, labels=drawn.labels, about=np.array(json.dumps(about)))

    def load(self, k: int) -> tuple[Drawn, dict[str, Any]]:
        """Return a part, and the facts that were saved with it."""
        with np.load(self.file(k)) as part:
            about = json.loads(str(part["about"]))
            known = (about.pop(name) for name in ("nfe", "rows", "seconds"))
            return Drawn(part["samples"], part["labels"], *known), about

    def stream(self) -> Iterator[tuple[Drawn, dict[str, Any]]]:
        """Yield the parts in order, one in memory at a time."""
        return (self.load(k) for k in range(self.count))

    def wait(self, limit: float, world: int) -> None:
        """Return when all parts are there.

        Raises:
            TimeoutError: no part was added for ``limit`` seconds; the missing ones are named.
        """
        missing, since = self.missing(), time.monotonic()
        while missing:
            if time.monotonic() - since > limit:
                ranks = ", ".join(map(str, sorted({k % world for k in missing})))
                received = f"none for {limit:g} s, with {len(missing)} of {self.count} missing, those of ranks {ranks}"
                remedy = "look at what these processes said, and start the run again: finished parts are kept"
                raise TimeoutError(explain("new parts from the other processes", received, remedy))
            time.sleep(_POLL)
            left = self.missing()
            if len(left) < len(missing):
                since = time.monotonic()
            missing = left

    def remove(self) -> None:
        """Remove all parts, when the files made of them are there."""
        shutil.rmtree(self.root, ignore_errors=True)


def without_paths(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plan without the paths of its files, which their digests replace."""
    kept = {name: plan[name] for name in plan if name not in ("checkpoint", "vae", "config")}
    kept["config"] = {name: value for name, value in plan["config"].items() if name != "vae"}
    for name in ("checkpoint", "vae"):
        kept[name] = plan[name] and {key: value for key, value in plan[name].items() if key != "path"}
    return kept


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Return in words where two plans differ."""
    old, new = (dict(_flat(without_paths(plan))) for plan in (there, here))
    return [
        f"{name}: {old.get(name)!r:.60} there, {new.get(name)!r:.60} here" for name in new if new[name] != old.get(name)
    ]


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, part in value.items():
        if isinstance(part, Mapping):
            yield from _flat(part, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", part


def refuse(out: Path, found: list[str]) -> None:
    """Refuse a folder with other samples.

    Raises:
        ValueError: always.
    """
    received = f"{out} with others: {'; '.join(found[:4])}"
    remedy = "pass another --out, delete that folder, or ask for the same"
    raise ValueError(explain("a folder without other samples", received, remedy))

"""The listing of a store: a line for each image of the source, in order, read in parts."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable
from dataclasses import astuple
from itertools import pairwise
from pathlib import Path

import numpy as np

from backbone.data.sources import Entry
from backbone.files import replaced

__all__ = ["Listing", "write_listing"]


def write_listing(file: Path, entries: Iterable[Entry]) -> None:
    """Write a JSON list for each image: label, path, how to read it, offset, size, checksum."""
    with replaced(file) as draft, draft.open("w", encoding="ascii") as lines:
        lines.writelines(json.dumps(astuple(entry)) + "\n" for entry in entries)


class Listing:
    """The entries of a listing by number; only where the lines end is kept in memory.

    Args:
        file: written by :func:`write_listing`.
    """

    def __init__(self, file: Path) -> None:
        with file.open("rb") as stream:
            self._text = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        self._ends = np.flatnonzero(np.frombuffer(self._text, np.uint8) == ord("\n"))

    def __len__(self) -> int:
        return len(self._ends)

    def part(self, start: int, stop: int) -> list[Entry]:
        """Return the entries from one number to before another."""
        ends = [-1, *self._ends[start:stop].tolist()] if start == 0 else self._ends[start - 1 : stop].tolist()
        return [Entry(*json.loads(self._text[a + 1 : b])) for a, b in pairwise(ends)]

"""What a training says of itself: a line of JSON for each step, TensorBoard, Weights & Biases."""

from __future__ import annotations

import json
import math
import time
import uuid
import warnings
from pathlib import Path
from typing import Any, BinaryIO

from backbone.files import write_text
from solvers.errors import explain

__all__ = ["Log", "Rate", "read_log"]

Row = dict[str, Any]


class Rate:
    """Images per second, the share of the device's arithmetic that they use, and the seconds that are left.

    Args:
        whole: images per second that would use all of it; None leaves the share out.
    """

    def __init__(self, whole: float | None) -> None:
        self.whole = whole
        self.at = time.perf_counter()

    def over(self, images: int, left: int) -> Row:
        """Return the rate since the last call, over so many images, and the time for those that are left."""
        now = time.perf_counter()
        rate = images / max(now - self.at, 1e-9)
        self.at = now
        share = {} if self.whole is None else {"mfu": round(rate / self.whole, 4)}
        return {"images_per_second": round(rate, 3), **share, "eta_s": round(left / rate, 1)}


class Log:
    """Where rows of numbers go; without a folder they go nowhere.

    Args:
        folder: of the run; ``log.jsonl`` and ``tensorboard/`` are written there.
        after: the step that the run goes on from: rows of later steps, of a run that was killed, are dropped.
        tensorboard: write events for TensorBoard.
        wandb: a project of Weights & Biases; None for none. The name of the run there is kept in ``wandb.txt``.

    Raises:
        ImportError: wandb or tensorboard is asked for and not installed.
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path | None, after: int, *, tensorboard: bool = False, wandb: str | None = None) -> None:
        self._file: BinaryIO | None = None
        self._torn = False
        self._board: Any = None
        self._wandb: Any = None
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "log.jsonl"
        if file.exists():
            kept = [json.dumps(row) + "\n" for row in read_log(file) if row["step"] <= after]
            write_text(file, "".join(kept))
        if wandb is not None:
            self._wandb = _wandb(folder, wandb)
        if tensorboard:
            self._board = _board(folder, after)
        # Without a buffer a row is written at once, and one that could not be is not tried again.
        self._file = file.open("ab", buffering=0)

    def write(self, step: int, row: Row) -> None:
        """Add a row; ``step`` is the number of steps that were made."""
        # JSON has no NaN.
        row = {name: None if _odd(value) else value for name, value in row.items()}
        if self._file is not None:
            self._append(self._file, json.dumps({"step": step, **row}, allow_nan=False) + "\n")
        numbers = {name: value for name, value in row.items() if isinstance(value, int | float)}
        if self._board is not None:
            for name, value in numbers.items():
                self._board.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log(numbers, step=step)

    def _append(self, file: BinaryIO, line: str) -> None:
        """Write a line; a full disk costs the line and not the run."""
        data = (("\n" if self._torn else "") + line).encode()
        try:
            self._torn = file.write(data) < len(data)
        except OSError as error:
            self._torn = True
            warnings.warn(f"a row of the log could not be written: {error}", stacklevel=4)

    def close(self) -> None:
        """Finish all files."""
        for sink, end in ((self._file, "close"), (self._board, "close"), (self._wandb, "finish")):
            if sink is not None:
                getattr(sink, end)()


def _odd(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _board(folder: Path, after: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError(explain("tensorboard", "none", "pip install tensorboard, or leave it out")) from error
    return SummaryWriter(str(folder / "tensorboard"), purge_step=after + 1)


def _wandb(folder: Path, project: str) -> Any:
    try:
        import wandb
    except ImportError as error:
        raise ImportError(explain("wandb", "none", "pip install wandb, or leave it out")) from error
    # A name in the folder, for it to be the same where the folder is moved, and another for another folder.
    name = folder / "wandb.txt"
    if not name.exists():
        write_text(name, uuid.uuid4().hex[:12] + "\n")
    return wandb.init(project=project, dir=str(folder), resume="allow", id=name.read_text(encoding="utf-8").strip())


def read_log(file: Path) -> list[Row]:
    """Return the rows of a ``log.jsonl``; a last line that a killed run left half-written is passed over."""
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(row)
    return rows

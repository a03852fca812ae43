"""What a training says of itself: a line of JSON for each step, TensorBoard, Weights & Biases."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import IO, Any

from backbone.files import write_text

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
        wandb: a project of Weights & Biases; None for none.
    """

    def __init__(self, folder: Path | None, after: int, *, tensorboard: bool = False, wandb: str | None = None) -> None:
        self._file: IO[str] | None = None
        self._board: Any = None
        self._wandb: Any = None
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "log.jsonl"
        if file.exists():
            kept = [json.dumps(row) + "\n" for row in read_log(file) if row["step"] <= after]
            write_text(file, "".join(kept))
        self._file = file.open("a", encoding="utf-8")
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=after + 1)
        if wandb is not None:
            import wandb as service

            self._wandb = service.init(project=wandb, dir=str(folder), resume="allow", id=folder.resolve().name)

    def write(self, step: int, row: Row) -> None:
        """Add a row; ``step`` is the number of steps that were made."""
        if self._file is not None:
            self._file.write(json.dumps({"step": step, **row}) + "\n")
            self._file.flush()
        numbers = {name: value for name, value in row.items() if isinstance(value, int | float)}
        if self._board is not None:
            for name, value in numbers.items():
                self._board.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log(numbers, step=step)

    def close(self) -> None:
        """Finish all files."""
        for sink, end in ((self._file, "close"), (self._board, "close"), (self._wandb, "finish")):
            if sink is not None:
                getattr(sink, end)()


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

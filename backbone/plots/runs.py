"""What a training wrote down, read back: ``log.jsonl`` or the demonstration's ``report.json``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from backbone.train.log import read_log
from solvers.errors import explain

__all__ = ["Run", "read_run", "read_runs"]

Floats = NDArray[np.float64]
LOG, REPORT = "log.jsonl", "report.json"


@dataclass(frozen=True)
class Run:
    """The numbers of one training.

    Args:
        name: what a legend calls it.
        steps: the steps at which something was written, rising.
        columns: the numbers by name, ``"loss"`` among them, each as long as ``steps``; NaN where a line had none.
    """

    name: str
    steps: Floats
    columns: Mapping[str, Floats]

    def curve(self, quantity: str) -> tuple[Floats, Floats]:
        """Return the steps and the values of a quantity where it is finite; none for one that was not written."""
        values = self.columns.get(quantity, np.full(len(self.steps), math.nan))
        there = np.isfinite(values)
        return self.steps[there], values[there]


def read_run(source: Path, name: str | None = None) -> Run:
    r"""Read a training from ``log.jsonl``, from ``report.json`` of ``sit demo``, or from the folder of either.

    A line of ``log.jsonl`` is a JSON object with ``"step"`` and ``"loss"``, and any other numbers, such as ``"lr"`` and
    ``"grad_norm"``. Of a step that is there twice, since a training was resumed before it, the later line counts. Lines
    that are half-written are left out.

    Args:
        source: a file or a folder.
        name: what a legend calls it; the name of the folder, or of a file that is called otherwise, when absent.

    Raises:
        FileNotFoundError: no such file, or a folder with neither.
        ValueError: a file without a loss, or a report of something else.
    """
    file = _file(source)
    given = file.stem if file.name not in (LOG, REPORT) else file.resolve().parent.name
    rows = _report(file) if file.suffix == ".json" else read_log(file)
    by_step = {float(row["step"]): row for row in rows}
    steps = sorted(by_step)
    names = dict.fromkeys(key for row in rows for key, value in row.items() if key != "step" and _is_number(value))
    if "loss" not in names:
        remedy = f"pass the {LOG} of a training that has begun, or the folder that it is in"
        raise ValueError(explain('lines with "step" and "loss"', f"{file}, with steps on {len(rows)} lines", remedy))
    columns = {key: np.array([_number(by_step[step].get(key)) for step in steps]) for key in names}
    return Run(given if name is None else name, np.array(steps), columns)


def read_runs(sources: Sequence[Path]) -> list[Run]:
    """Read several trainings; where two would have the same name, all are called by their paths as given.

    Raises:
        FileNotFoundError, ValueError: what :func:`read_run` raises; a path that is given twice.
    """
    runs, paths = [read_run(source) for source in sources], [str(source) for source in sources]
    if len(set(paths)) < len(paths):
        again = next(path for path in paths if paths.count(path) > 1)
        raise ValueError(explain("each training once", f"{again} twice", "leave one out"))
    alike = len({run.name for run in runs}) < len(runs)
    return [replace(run, name=path) for path, run in zip(paths, runs)] if alike else runs


def _file(source: Path) -> Path:
    """Return the file of a run."""
    found = [source / name for name in (LOG, REPORT) if (source / name).is_file()] if source.is_dir() else [source]
    if not found or not found[0].is_file():
        received = f"{source}, a folder with neither" if source.is_dir() else f"{source}, which is no file"
        remedy = "pass the folder of a training, or the file itself"
        raise FileNotFoundError(explain(f"{LOG} or {REPORT}", received, remedy))
    return found[0]


def _report(file: Path) -> list[dict[str, Any]]:
    """Return the points of the loss curve of the demonstration."""
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))["digits"]["loss_curve"]
        return [{"step": row["step"], "loss": row["loss"]} for row in rows]
    except (ValueError, LookupError, TypeError) as error:
        remedy = f"pass what sit demo wrote, or a {LOG}"
        raise ValueError(explain("a report of sit demo, with digits and loss_curve", str(file), remedy)) from error


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: object) -> float:
    return float(value) if _is_number(value) else math.nan

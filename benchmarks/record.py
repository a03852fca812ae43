"""What every benchmark shares: pairs timed in turn, medians, and a JSON record with versions and hardware."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["alternate", "arguments", "in_turn", "record", "save_rows", "show", "stored_rows"]

RESULTS = Path(__file__).parent / "results"


def arguments(description: str, parts: tuple[str, ...] = (), **more: str) -> argparse.Namespace:
    """Parse ``--smoke`` (a run of seconds that only shows that the script works), ``--save``, and the ``--parts``.

    Args:
        description: what the script does.
        parts: the questions among which ``--parts`` chooses; all by default.
        more: further options with a text as value, by their help.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--smoke", action="store_true", help="few repetitions; the numbers mean nothing")
    parser.add_argument("--save", action="store_true", help="write the record under benchmarks/results")
    if parts:
        parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts), help="which questions to answer")
    for name, text in more.items():
        parser.add_argument(f"--{name}", default="", help=text)
    return parser.parse_args()


def alternate(
    first: Callable[[], Any],
    second: Callable[[], Any],
    repeats: int,
    clock: Callable[[], Any] = time.perf_counter,
    limit: float = float("inf"),
) -> tuple[list[Any], list[Any]]:
    """Return what two callables took in turn, A B A B …, so that a drift of the machine meets both.

    Args:
        first: what is timed, after one call of each.
        second: the other.
        repeats: pairs.
        clock: seconds, or an array of the seconds of several clocks.
        limit: seconds after which no pair is begun, once there are five.
    """
    times: tuple[list[Any], list[Any]] = ([], [])
    first(), second()
    start = time.perf_counter()
    while len(times[0]) < repeats and (len(times[0]) < 5 or time.perf_counter() - start < limit):
        for run, spent in zip((first, second), times):
            began = clock()
            run()
            spent.append(clock() - began)
    return times


def in_turn(first: Callable[[], Any], second: Callable[[], Any], repeats: int, least: bool = False) -> dict[str, float]:
    """Return the seconds of two callables that run in turn, and their ratio; medians, or with ``least`` minima."""
    times = alternate(first, second, repeats)
    ratios = [a / b for a, b in zip(*times)]
    low, high = statistics.quantiles(ratios, n=10)[0], statistics.quantiles(ratios, n=10)[-1]
    typical = [min(spent) if least else statistics.median(spent) for spent in times]
    return {"first": typical[0], "second": typical[1], "ratio": typical[0] / typical[1], "p10": low, "p90": high}


def record(
    name: str, rows: list[dict[str, Any]], packages: tuple[str, ...], save: bool, folder: Path = RESULTS
) -> None:
    """Print the rows; with ``save`` also write them with date, versions and hardware."""
    for row in rows:
        show(row)
    if save:
        save_rows(name, rows, packages, folder)


def show(row: dict[str, Any]) -> None:
    """Print a row."""
    cells = (f"{key} {value:.4g}" if isinstance(value, float) else f"{value}" for key, value in row.items())
    print("  ".join(cells), flush=True)


def save_rows(
    name: str, rows: list[dict[str, Any]], packages: tuple[str, ...], folder: Path = RESULTS, **more: Any
) -> None:
    """Write rows with date, versions, hardware, how busy it is, and what else is to be known about the machine.

    A load beyond the number of cores says that others were at work: ratios of what ran in turn count, seconds do not.
    """
    folder.mkdir(exist_ok=True)
    versions = {package: importlib.metadata.version(package) for package in packages}
    machine = {"processor": _processor(), "python": platform.python_version(), "system": platform.system(), **more}
    if hasattr(os, "getloadavg"):
        machine |= {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    data = {"name": name, "date": time.strftime("%Y-%m-%d"), "versions": versions, **machine, "rows": rows}
    (folder / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")


def stored_rows(name: str) -> list[dict[str, Any]]:
    """Return the rows that were written last, of the same machine."""
    file = RESULTS / f"{name}.json"
    data = json.loads(file.read_text()) if file.exists() else {"processor": None, "rows": []}
    return list(data["rows"]) if data["processor"] == _processor() else []


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

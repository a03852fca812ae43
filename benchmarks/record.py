"""What every benchmark shares: pairs timed in turn, medians, and a JSON record with versions and hardware."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["arguments", "in_turn", "record"]

RESULTS = Path(__file__).parent / "results"


def arguments(description: str) -> argparse.Namespace:
    """Parse ``--smoke`` (a run of seconds that only shows that the script works) and ``--save``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--smoke", action="store_true", help="few repetitions; the numbers mean nothing")
    parser.add_argument("--save", action="store_true", help="write the record under benchmarks/results")
    return parser.parse_args()


def in_turn(first: Callable[[], Any], second: Callable[[], Any], repeats: int, least: bool = False) -> dict[str, float]:
    """Time two callables in turn, A B A B …, so that a drift of the machine meets both; seconds and their ratio.

    They are medians, or with ``least`` minima.
    """
    times: tuple[list[float], list[float]] = ([], [])
    first(), second()
    for _ in range(repeats):
        for run, spent in zip((first, second), times):
            began = time.perf_counter()
            run()
            spent.append(time.perf_counter() - began)
    ratios = [a / b for a, b in zip(*times)]
    low, high = statistics.quantiles(ratios, n=10)[0], statistics.quantiles(ratios, n=10)[-1]
    typical = [min(spent) if least else statistics.median(spent) for spent in times]
    return {"first": typical[0], "second": typical[1], "ratio": typical[0] / typical[1], "p10": low, "p90": high}


def record(
    name: str, rows: list[dict[str, Any]], packages: tuple[str, ...], save: bool, folder: Path = RESULTS
) -> None:
    """Print the rows; with ``save`` also write them with date, versions and hardware."""
    for row in rows:
        print("  ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{value}" for key, value in row.items()))
    if save:
        folder.mkdir(exist_ok=True)
        versions = {package: importlib.metadata.version(package) for package in packages}
        machine = {"processor": _processor(), "python": platform.python_version(), "system": platform.system()}
        data = {"name": name, "date": time.strftime("%Y-%m-%d"), "versions": versions, **machine, "rows": rows}
        (folder / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

"""Writes ``formulas.json``: the LaTeX of every built-in schedule, and of the conversions of the paper's.

``python docs/formulas.py`` takes minutes, because sympy looks for short forms; the pages read the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from interpolants.latex import conversion_rows, rows
from interpolants.schedules import BUILT_IN, PAPER, by_name

NAMES = tuple(name for name in BUILT_IN if not name.startswith("ddpm"))
"""The exponents of the discrete models are polynomials of ten terms, which say nothing to the eye."""

FILE = Path(__file__).with_name("formulas.json")


def formulas(name: str) -> dict[str, Any]:
    """Return the rows of one schedule: its quantities with limits and, for the paper's, its conversions."""
    schedule = by_name(name)
    found: dict[str, Any] = {"quantities": [list(row) for row in rows(schedule)]}
    if name in PAPER:
        found["conversions"] = [[source, to, [a.formula, b.formula]] for source, to, a, b in conversion_rows(schedule)]
    return found


def main() -> None:
    """Write the formulas of all schedules."""
    everything = {name: formulas(name) for name in NAMES}
    FILE.write_text(json.dumps(everything, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()

"""Tables from files that scripts write and tests keep fresh: the directives ``formulas`` and ``precision``."""

from __future__ import annotations

import csv
import json
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from tables import ROOT, SYMBOLS, Generated, math, table

FORMULAS = ROOT / "docs" / "formulas.json"
PRECISION = ROOT / "benchmarks" / "results" / "precision.csv"


class Formulas(Generated):
    """A section per schedule: its quantities with their limits and, for the paper's, its conversions."""

    sources = ("docs/formulas.json",)

    def build(self) -> list[nodes.Node]:
        return [_formula_section(name, found) for name, found in json.loads(FORMULAS.read_text()).items()]


def _formula_section(name: str, found: dict[str, Any]) -> nodes.section:
    section = nodes.section(ids=[nodes.make_id(f"formulas-{name}")], names=[f"formulas-{name}"])
    section += nodes.title("", name)
    rows = [(math(symbol), math(formula), math(lo), math(hi)) for symbol, formula, lo, hi in found["quantities"]]
    section += table(("quantity", "formula", "at the data end", "at the noise end"), rows)
    if "conversions" in found:
        section += nodes.paragraph("", "Conversions, A x + B p:")
        pairs = [(f"{source} → {to}", math(a), math(b)) for source, to, (a, b) in found["conversions"]]
        section += table(("conversion", math("A"), math("B")), pairs)
    return section


class Precision(Generated):
    """A table per schedule: the worst error of every quantity in every backend and type, and the time of the worst."""

    sources = ("benchmarks/results/precision.csv",)

    def build(self) -> list[nodes.Node]:
        with PRECISION.open() as file:
            rows = list(csv.DictReader(file))
        result: list[nodes.Node] = []
        for name in dict.fromkeys(row["schedule"] for row in rows):
            section = nodes.section(ids=[nodes.make_id(f"precision-{name}")], names=[f"precision-{name}"])
            section += nodes.title("", name)
            section += _precision_table([row for row in rows if row["schedule"] == name])
            result.append(section)
        return result


def _precision_table(rows: list[dict[str, str]]) -> nodes.table:
    columns = list(dict.fromkeys((row["backend"], row["dtype"]) for row in rows))
    cells = {(row["quantity"], row["backend"], row["dtype"]): row for row in rows}
    body = []
    for quantity in dict.fromkeys(row["quantity"] for row in rows):
        found = [cells[quantity, *column] for column in columns]
        worst = max(found, key=lambda row: float(row["ulp"]))
        where = f"{float(worst['time']):.2g}"
        body.append((math(SYMBOLS[quantity]), *(f"{float(row['ulp']):.1f}" for row in found), where))
    return table(("quantity", *(f"{backend} {dtype[-2:]}" for backend, dtype in columns), "worst at t ="), body)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("formulas", Formulas)
    app.add_directive("precision", Precision)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

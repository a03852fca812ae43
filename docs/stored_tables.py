"""Tables from files that scripts write: the directives ``formulas``, ``precision`` and those of benchmarks."""

from __future__ import annotations

import csv
import json
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from tables import ROOT, SYMBOLS, Generated, code, math, table

FORMULAS = ROOT / "docs" / "formulas.json"
PRECISION = ROOT / "benchmarks" / "results" / "precision.csv"
ORDERS = ROOT / "benchmarks" / "results" / "sampler_orders.json"
WORK = ROOT / "benchmarks" / "results" / "work_precision.json"
FEW = ROOT / "benchmarks" / "results" / "few_step.json"


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


class SamplerOrders(Generated):
    """A section per library with its version: every sampler, its claim and what was measured."""

    sources = ("benchmarks/results/sampler_orders.json",)

    def build(self) -> list[nodes.Node]:
        data = json.loads(ORDERS.read_text())
        result: list[nodes.Node] = []
        for source in dict.fromkeys(row["sampler"].partition(":")[0] for row in data["rows"]):
            rows = [row for row in data["rows"] if row["sampler"].partition(":")[0] == source]
            version = "" if source == "solvers" else f" {data['versions'][rows[0]['package']]}"
            section = nodes.section(ids=[nodes.make_id(f"orders-{source}")], names=[f"orders-{source}"])
            section += nodes.title("", f"{source}{version}, {data['date']}")
            section += table(_ORDER_HEAD, [_order_cells(row) for row in rows])
            result.append(section)
        return result


_ORDER_HEAD = ("sampler", "claim", "order", "evaluations", "mean", "variance", "σ at end", "order to it", "round-off")


def _order_cells(row: dict[str, Any]) -> tuple[Any, ...]:
    name = ", ".join([row["sampler"].partition(":")[2], *row["options"]])
    observed = _number(row["observed"], "{:.2f}")
    order = observed if row["kept"] else nodes.strong(observed, observed)
    a, b = row["evaluations"]
    calls = ("n" if a == 1 else f"{a:g} n") + (f" {'+' if b > 0 else '−'} {abs(b):g}" if b else "")
    end = row["end"] or {"sigma": None, "order": None}
    claim = _number(row["claimed"], "{:g}")
    errors = (_number(row[key], "{:.0e}") for key in ("mean", "variance"))
    ends = _number(end["sigma"], "{:.2g}"), _number(end["order"], "{:.2f}")
    return code(name), claim, order, calls, *errors, *ends, _number(row["roundoff"], "{:.0e}")


def _number(value: float | None, form: str) -> str:
    # A minus sign, for lines break after hyphens.
    return "–" if value is None else form.format(value).replace("-", "−")


class WorkPrecision(Generated):
    """For each mixture the error by the number of evaluations, and what each library needs to reach an error."""

    sources = ("benchmarks/results/work_precision.json",)

    def build(self) -> list[nodes.Node]:
        data = json.loads(WORK.read_text())
        libraries = [name for name in data["versions"] if any(name in row for row in data["rows"])]
        result: list[nodes.Node] = []
        for case in dict.fromkeys(row["case"] for row in data["rows"]):
            rows = [row for row in data["rows"] if row["case"] == case]
            section = nodes.section(ids=[nodes.make_id(f"work-{case}")], names=[f"work-{case}"])
            section += nodes.title("", f"{case}, {data['date']}")
            head = ("evaluations", "ours", "method", *(f"{name} {data['versions'][name]}" for name in libraries))
            budgets = [row for row in rows if "ours" in row]
            section += table(head, [_error_cells(row, libraries) for row in budgets])
            worst = [row for row in rows if "at nfe" in row]
            cells = [(row["against"], f"{row['worst ratio']:.2f}", str(row["at nfe"])) for row in worst]
            section += table(("against", "largest ratio of errors, ours / theirs", "at evaluations"), cells)
            races = [_race(row) for row in rows if "error" in row]
            section += table(("to reach", "ours", "theirs", "best of theirs", "seconds, ours / theirs"), races)
            result.append(section)
        return result


def _error_cells(row: dict[str, Any], libraries: list[str]) -> tuple[Any, ...]:
    errors = (_number(row.get(name), "{:.1e}") for name in libraries)
    return str(row["nfe"]), _number(row["ours"], "{:.1e}"), row["method"], *errors


def _race(row: dict[str, Any]) -> tuple[Any, ...]:
    counts = (_number(row[f"nfe, {whose}"], "{:d}") for whose in ("ours", "theirs"))
    theirs = f"{row['against']}: {row['theirs']}" if "theirs" in row else row["against"]
    return f"{row['error']:.0e}", *counts, theirs, _number(row.get("ratio"), "{:.2f}")


class FewStep(Generated):
    """For each objective and number of sampling steps: accuracy, Fréchet distance and spread."""

    sources = ("benchmarks/results/few_step.json",)

    def build(self) -> list[nodes.Node]:
        data = json.loads(FEW.read_text())
        head = ("objective", "from", "steps", "sampling", "evaluations", "accuracy", "Fréchet", "spread")
        line = f"{data['date']}, torch {data['versions']['torch']}, {data['processor']}"
        return [table(head, [_few_step_cells(row) for row in data["rows"]]), nodes.paragraph("", line)]


def _few_step_cells(row: dict[str, Any]) -> tuple[Any, ...]:
    shown = ("accuracy", "{:.3f}"), ("frechet", "{:.2f}"), ("within", "{:.2f}")
    scores = tuple(_with_spread(row, name, form) for name, form in shown)
    if "steps" not in row:
        return row["objective"], "", "", "", "", *scores
    begun = row["from"] or "new weights"
    return row["objective"], begun, str(row["train_steps"]), row["method"], str(row["nfe"]), *scores


def _with_spread(row: dict[str, Any], name: str, form: str) -> str:
    spread = row.get(f"{name} spread")
    return form.format(row[name]) + ("" if spread is None else f" ± {form.format(spread)}")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("formulas", Formulas)
    app.add_directive("precision", Precision)
    app.add_directive("sampler-orders", SamplerOrders)
    app.add_directive("work-precision", WorkPrecision)
    app.add_directive("few-step", FewStep)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

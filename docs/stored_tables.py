"""Tables from files that scripts write: the directives ``derivation``, ``precision`` and those of benchmarks."""

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
EVALUATION = ROOT / "benchmarks" / "results" / "evaluate.json"
WORK = ROOT / "benchmarks" / "results" / "work_precision.json"
STORE = ROOT / "benchmarks" / "results" / "store.json"
FEW = ROOT / "benchmarks" / "results" / "few_step.json"
NETWORK = ROOT / "benchmarks" / "results" / "backbone.json"
DEVICE = ROOT / "benchmarks" / "results" / "backbone_device.json"


class Derivation(Generated):
    """The sections of one schedule: quantities and limits, conversions, what it costs, its certificate, its ends."""

    sources = ("docs/formulas.json", "docs/stored_tables.py")
    required_arguments = 1

    def build(self) -> list[nodes.Node]:
        name = self.arguments[0]
        found = json.loads(FORMULAS.read_text())[name]
        sections = [_section(name, "Transport", _transport(found))]
        if "quantities" in found:
            head = ("quantity", "formula", "at the data end", "at the noise end")
            rows = [tuple(math(cell) for cell in row) for row in found["quantities"]]
            conversions = [(f"{source} → {to}", math(a), math(b)) for source, to, (a, b) in found["conversions"]]
            sections = [
                _section(name, "Quantities", [table(head, rows)]),
                _section(name, "Conversions, A x + B p", [table(("conversion", math("A"), math("B")), conversions)]),
                *sections,
            ]
        sections.append(_section(name, "Certificate", [nodes.literal_block("", found["certificate"], language="text")]))
        sections.append(_section(name, "At the ends", [nodes.literal_block("", found["ends"], language="text")]))
        return sections


def _section(name: str, title: str, content: list[nodes.Node]) -> nodes.section:
    label = nodes.make_id(f"{name}-{title}")
    return nodes.section("", nodes.title("", title), *content, ids=[label], names=[label])


def _transport(found: dict[str, Any]) -> list[nodes.Node]:
    lines: list[nodes.Node] = []
    if "transport" in found:
        formulas = found["transport"]
        equal = f" = {formulas['integral']}" if "integral" in formulas else ""
        said = [rf"\int\dot\rho^2\,dt = \int {formulas['energy']}\,dt{equal}"]
        said += [rf"\int\dot\alpha^2\,dt = {formulas['pull']}"] if "pull" in formulas else []
        lines += [nodes.math_block(text, text, nowrap=False, number=None, label=None) for text in said]
    head = (math("c"), "cost", "length", "gap", "Lipschitz", math("W_2"))
    rows = [["∞" if value is None else f"{value:.8g}" for value in row] for row in found["measures"]]
    return [*lines, table(head, rows)]


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


class LatentRates(Generated):
    """What reading, opening and encoding of a latent store were measured to cost."""

    sources = ("benchmarks/results/store.json",)

    def build(self) -> list[nodes.Node]:
        data = json.loads(STORE.read_text())
        lines = []
        for row in data["rows"]:
            if row["part"] == "read":
                lines.append((f"{row['reader']}", f"{row['records_per_core_second']:,.0f} records per second"))
            elif row["part"] == "open":
                held = f"{1000 * row['seconds']:.0f} ms, {row['opening_mib'] + row['reading_mib']:.0f} MiB"
                lines.append((f"opening {row['records']:,} records, and memory with 10,240 of them read", held))
            elif row["vae"]:
                rate = f"{row['images_per_core_second']:.2g} images per second, {row['share_of_vae']:.0%} of it the VAE"
                lines.append((f"encoding by a VAE {row['vae']}", rate))
            else:
                lines.append(("decoding and cropping JPEG", f"{row['images_per_core_second']:.0f} images per second"))
        return [table((f"{data['processor']}, {data['date']}", "one core"), lines)]


class EvaluationCost(Generated):
    """Seconds and memory of each number of an evaluation, in both ways."""

    sources = ("benchmarks/results/evaluate.json",)

    def build(self) -> list[nodes.Node]:
        data = json.loads(EVALUATION.read_text())
        rows = [
            (row["case"], code(row["way"]), f"{row['seconds']:.1f}", f"{row['peak_mb']:.0f}") for row in data["rows"]
        ]
        versions = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
        note = nodes.paragraph("", f"{data['date']}, {data['processor']}, {versions}.")
        return [table(("case", "way", "seconds", "MB beyond the input"), rows), note]


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


class NetworkSpeed(Generated):
    """The network beside its peer and beside the convolution, how long it is built, and what a GPU does if recorded."""

    sources = ("benchmarks/results/backbone*.json",)

    def build(self) -> list[nodes.Node]:
        data = json.loads(NETWORK.read_text())
        versions = ", ".join(f"{name} {data['versions'][name]}" for name in ("torch", "diffusers"))
        result: list[nodes.Node] = [nodes.paragraph("", f"{data['processor']}, {versions}, {data['date']}.")]
        for parts, other in ((("eager", "compiled"), "diffusers"), (("patches",), "other")):
            rows = [row for row in data["rows"] if row["part"] in parts]
            head = ("pass", "threads", "", "ours, s", f"{other}, s", "ratio", "80 % of the ratios", "work", "least")
            if rows:
                result.append(table(head, [_pair(row) for row in rows]))
        rows = [row for row in data["rows"] if row["part"] == "build"]
        cells = [(row["size"], f"{row['seconds']:.2f}", f"{row['most']:.2f}", str(row["runs"])) for row in rows]
        result.append(table(("on the meta device", "s", "the slowest, s", "processes"), cells))
        return result + (_device() if DEVICE.exists() else [])


def _pair(row: dict[str, Any]) -> tuple[Any, ...]:
    seconds = (f"{row[key]:.3f}" for key in ("ours", "other"))
    spread = f"{row['p10']:.2f} to {row['p90']:.2f}"
    ratios = (f"{row['ratio']:.2f}", spread, f"{row['work']:.2f}", f"{row['least']:.2f}")
    return row["pass"], str(row["threads"]), row.get("other is", row["part"]), *seconds, *ratios


def _device() -> list[nodes.Node]:
    data = json.loads(DEVICE.read_text())
    rate = next(row["teraflops"] for row in data["rows"] if "teraflops" in row)
    said = f"{data['device']}, torch {data['versions']['torch']}, {data['date']}; dense products {rate:.0f} TFLOP/s."
    head = ("size", "pass", "kind", "batch", "images/s", "share of the rate", "GiB")
    measured = [row for row in data["rows"] if "images/s" in row]
    cells = [
        (
            *(str(row[key]) for key in ("size", "what", "kind", "batch")),
            *(f"{row['images/s']:.0f}", f"{row['share']:.0%}", f"{row['GiB']:.1f}"),
        )
        for row in measured
    ]
    return [nodes.paragraph("", said), table(head, cells)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("derivation", Derivation)
    app.add_directive("precision", Precision)
    app.add_directive("sampler-orders", SamplerOrders)
    app.add_directive("evaluation-cost", EvaluationCost)
    app.add_directive("work-precision", WorkPrecision)
    app.add_directive("latent-rates", LatentRates)
    app.add_directive("few-step", FewStep)
    app.add_directive("network-speed", NetworkSpeed)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Tables of the records of benchmarks: ``benchmark-questions``, and ``benchmark`` with the name of a record."""

from __future__ import annotations

import ast
import json
import re
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from tables import ROOT, Generated, code, table

FOLDER = ROOT / "benchmarks"
NAMES = {
    "first": "first, s",
    "second": "second, s",
    "p10": "ratio, 10 %",
    "p90": "ratio, 90 %",
    "us_per_step": "µs per step",
    "nfe": "evaluations",
}


def questions() -> dict[str, str]:
    """Return what each benchmark asks: the first paragraph of its docstring."""
    found = {}
    for path in sorted(FOLDER.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body):
            found[path.name] = (ast.get_docstring(tree) or "").partition("\n\n")[0].replace("\n", " ").replace("``", "")
    return found


def recorded(script: str) -> str | None:
    """Return the name of the record that a script writes: the first constant that it gives to record or save_rows."""
    text = (FOLDER / script).read_text(encoding="utf-8")
    match = re.search(r'\b(?:record|save_rows|save)\(\s*"(\w+)"', text)
    return match and match[1]


class Questions(Generated):
    """Each benchmark, what it asks, and when it was last recorded."""

    sources: ClassVar[tuple[str, ...]] = ("benchmarks/*.py", "benchmarks/results/*.json", "docs/benchmark_tables.py")

    def build(self) -> list[nodes.Node]:
        rows = []
        for script, question in questions().items():
            name = recorded(script)
            file = FOLDER / "results" / f"{name}.json"
            when = json.loads(file.read_text())["date"] if name and file.exists() else "–"
            rows.append((code(script), question, when.replace("-", "\N{NON-BREAKING HYPHEN}")))
        return [table(("script", "question", "recorded"), rows)]


class Record(Generated):
    """One record: where and when, then its rows, a table for each set of columns."""

    sources: ClassVar[tuple[str, ...]] = Questions.sources
    required_arguments = 1

    def build(self) -> list[nodes.Node]:
        data = json.loads((FOLDER / "results" / f"{self.arguments[0]}.json").read_text())
        versions = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
        said = f"{data['date']}, {data['processor']}, Python {data['python']}, {versions}"
        if "load" in data:
            said += f"; load {data['load']:g} on {data['cores']} cores"
        result: list[nodes.Node] = [nodes.paragraph("", f"{said}.")]
        for keys in dict.fromkeys(tuple(row) for row in data["rows"]):
            rows = [row for row in data["rows"] if tuple(row) == keys]
            result.append(
                table([NAMES.get(key, key) for key in keys], [[cell(row[key]) for key in keys] for row in rows])
            )
        return result


def cell(value: Any) -> str:
    """Return a number with three digits and a minus sign, or a text."""
    return f"{value:.3g}".replace("-", "−") if isinstance(value, float) else str(value)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("benchmark-questions", Questions)
    app.add_directive("benchmark", Record)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

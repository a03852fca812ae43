"""What stands behind the library, from its own files: a certificate, and the laws of the consistency suite.

Directives without arguments: ``consistency-tests`` and ``certificate-example``.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from tables import ROOT, Generated, code

import interpolants
from interpolants import t
from interpolants.certify.ends import summary


class CertificateExample(Generated):
    """The certificate of t ↦ (1 − t², t²) as the command line prints it, and a part of its ends."""

    def build(self) -> list[nodes.Node]:
        schedule = interpolants.Schedule("quadratic", alpha=1 - t**2, sigma=t**2)
        certificate = interpolants.certify(schedule)
        ends = summary(certificate["endpoints"].details).splitlines()
        kept = [
            ends[0],
            *(line for line in ends if line.startswith(("Velocity to", "probability", "reverse SDE, KL()"))),
        ]
        return [nodes.literal_block("", text) for text in (certificate.table(), "\n".join(kept))]


class ConsistencyTests(Generated):
    """The twenty-five properties, each with the statements of its tests and their names."""

    sources = ("tests/consistency/*.py", "tests/support/ledger.py")

    def build(self) -> list[nodes.Node]:
        laws: dict[int, list[tuple[str, str, str]]] = defaultdict(list)
        for path in sorted((ROOT / "tests" / "consistency").glob("test_consistency_*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                text = " ".join((ast.get_docstring(node) or "").split()) if isinstance(node, ast.FunctionDef) else ""
                if found := re.match(r"Property (\d+): (.*)", text):
                    laws[int(found[1])].append((path.name, node.name, found[2]))
        return [_section(number, title, laws[number]) for number, title in _titles().items()]


def _titles() -> dict[int, str]:
    """Return the titles that the summary of a run prints."""
    tree = ast.parse((ROOT / "tests" / "support" / "ledger.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "PROPERTIES":
            titles: dict[int, str] = ast.literal_eval(node.value)
            return titles
    raise ValueError("tests/support/ledger.py assigns no PROPERTIES")


def _section(number: int, title: str, laws: list[tuple[str, str, str]]) -> nodes.section:
    section = nodes.section(ids=[f"property-{number}"], names=[f"property {number}"])
    first = title[0].upper() if title[0].isascii() else title[0]  # α stays α
    section += nodes.title("", f"{number}. {first}{title[1:]}")
    items = []
    for file, name, text in laws:
        place = nodes.paragraph("", "", code(file), nodes.Text(" "), code(name))
        items.append(nodes.list_item("", nodes.paragraph("", text), place))
    section += nodes.bullet_list("", *items)
    return section


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("consistency-tests", ConsistencyTests)
    app.add_directive("certificate-example", CertificateExample)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

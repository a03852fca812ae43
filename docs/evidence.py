"""What stands behind the library, from its own files: a certificate, and the laws of the consistency suite.

Directives: ``property-tests`` with the number of a property, and ``certificate-example``.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from typing import Any

from docutils import nodes
from sphinx import addnodes
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
        return [nodes.literal_block("", text, language="text") for text in (certificate.table(), "\n".join(kept))]


class PropertyTests(Generated):
    """The tests of one of the twenty-five properties: what each asserts, its name, and its file to read."""

    sources = ("tests/consistency/*.py",)
    required_arguments = 1

    def build(self) -> list[nodes.Node]:
        tests = laws()[int(self.arguments[0])]
        page = self.state.document.settings.env.docname
        return [nodes.bullet_list("", *(_test(page, *test) for test in tests))]


def laws() -> dict[int, list[tuple[str, str, str]]]:
    """Return, for each property, the file, the name and the statement of its tests, read from their docstrings."""
    found: dict[int, list[tuple[str, str, str]]] = defaultdict(list)
    for path in sorted((ROOT / "tests" / "consistency").glob("test_consistency_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            text = " ".join((ast.get_docstring(node) or "").split()) if isinstance(node, ast.FunctionDef) else ""
            if match := re.match(r"Property (\d+): (.*)", text):
                found[int(match[1])].append((path.name, node.name, match[2]))
    return found


def _test(page: str, file: str, name: str, statement: str) -> nodes.list_item:
    """Return one test, with its file as a link that the build fills with a copy."""
    link = addnodes.download_reference(
        "", "", code(f"{file}::{name}"), refdoc=page, reftarget=f"/../tests/consistency/{file}", refexplicit=True
    )
    return nodes.list_item("", nodes.paragraph("", statement), nodes.paragraph("", "", link))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("property-tests", PropertyTests)
    app.add_directive("certificate-example", CertificateExample)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""What the digits need, from the record: ``digits-bits``, ``digits-terms``, ``digits-noise`` and ``digits-classes``."""

from __future__ import annotations

import json
import math
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from tables import ROOT, Generated, table

RESULTS = ROOT / "benchmarks" / "results" / "digits_likelihood.json"


class Stored(Generated):
    """A table of the record."""

    sources = ("benchmarks/results/digits_likelihood.json", "docs/digits_tables.py")

    def rows(self, part: str) -> list[dict[str, Any]]:
        """Return the rows of a part."""
        return [row for row in json.loads(RESULTS.read_text())["rows"] if row["part"] == part]


class Bits(Stored):
    """Bits per dimension of the simple models and of the networks, on held-out digits and on those seen."""

    def build(self) -> list[nodes.Node]:
        lines = [(row["model"], "held out", str(row["count"]), "–", _spread(row), "") for row in self.rows("baseline")]
        for row in self.rows("bits"):
            divergence = f"{row['probes']} probes" if row["probes"] else "exact"
            probe = f"{row['probe error']:.4f}" if row["probes"] else ""
            model = f"network, {row['network']}"
            lines.append((model, row["digits"], str(row["count"]), divergence, _spread(row), probe))
        (row,) = self.rows("draws")
        model = f"network, dequantised, {row['draws']} draws"
        gain = f"{row['several']:.3f}, {row['gap']:.3f} ± {row['standard error']:.3f} fewer than with one"
        lines.append((model, "held out", str(row["count"]), "exact", gain, ""))
        head = ("model", "digits", "how many", "divergence", "bits per dimension", "of it the probes")
        return [table(head, lines)]


class Terms(Stored):
    """The three terms of the exact bits."""

    def build(self) -> list[nodes.Node]:
        names = ("prior", "change of variables", "bins", "bits")
        lines = [
            (row["network"], row["digits"], *(f"{row[name]:.3f}".replace("-", "−") for name in names))
            for row in self.rows("bits")
            if not row["probes"]
        ]
        return [table(("network", "digits", "prior", "change of variables", "bins", "sum"), lines)]


class Noise(Stored):
    """How far encoded digits are from N(0, I)."""

    def build(self) -> list[nodes.Node]:
        lines = [
            (
                row["digits"],
                str(row["count"]),
                f"{row['mean square']:.1f} ± {row['standard error']:.1f}",
                f"{row['KS of the square']:.3f}",
                f"{row['p']:.1g}".replace("-", "−"),
                f"{row['KS of all coordinates']:.3f}",
            )
            for row in self.rows("noise")
        ]
        head = (
            "digits",
            "how many",
            "mean of |x₁|²",
            "KS distance of |x₁|² to χ²",
            "p",
            "KS distance of x₁ to N(0, 1)",
        )
        return [table(head, lines)]


class Classes(Stored):
    """How often the largest likelihood tells the label, in a sentence."""

    def build(self) -> list[nodes.Node]:
        (row,) = self.rows("classes")
        right, saved = round(row["accuracy"] * row["count"]), row["bits that the label saves"]
        text = (
            f"With one probe that serves all ten labels the largest likelihood is that of the true label for {right} "
            f"of {row['count']} held-out digits. The marginal p(x) needs {saved:.3f} bits per dimension more than "
            f"p(x|y); where the label can be read off the image it is log₂(10)/64 = {math.log2(10) / 64:.3f}."
        )
        return [nodes.paragraph("", text)]


def _spread(row: dict[str, Any]) -> str:
    return f"{row['bits']:.3f} ± {row['standard error']:.3f}"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    for name, directive in (("bits", Bits), ("terms", Terms), ("noise", Noise), ("classes", Classes)):
        app.add_directive(f"digits-{name}", directive)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

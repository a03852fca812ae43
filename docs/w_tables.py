"""What w does, from the record: the directives ``w-best``, ``w-crossings``, ``w-line``, ``w-plane`` and ``w-paper``."""

from __future__ import annotations

import json
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from tables import ROOT, Generated, table

NAMES = {"linear": "Linear", "gvp": "GVP", "vp": "VP"}
BASES = {"": "ODE", "KL": "wKL", "sigma": "σ", "sin^2": "sin²", "KL, eta": "wKL,η"}
# Fréchet distances of SiT, lower is better: Ma et al. (2024), arXiv 2401.08740, the table of choices of w.
PAPER = {
    ("vp", "score"): (35.7, 37.1, 37.7, 38.9),
    ("vp", "velocity"): (37.8, 38.7, 39.2, 41.1),
    ("gvp", "score"): (37.8, 33.5, 33.2, 33.3),
    ("gvp", "velocity"): (32.9, 33.4, 33.6, 33.2),
    ("linear", "score"): (41.0, 35.3, 34.4, 34.9),
    ("linear", "velocity"): (33.6, 33.5, 33.3, 33.0),
}


class Stored(Generated):
    """A table of one part of the record."""

    sources = ("benchmarks/results/what_w_does.json", "docs/w_tables.py")

    def rows(self, part: str, **wanted: Any) -> list[dict[str, Any]]:
        """Return the rows of a part with the given values."""
        file = ROOT / "benchmarks" / "results" / "what_w_does.json"
        found = [row for row in json.loads(file.read_text())["rows"] if row["part"] == part]
        return [row for row in found if all(row[key] == value for key, value in wanted.items())]


class Best(Stored):
    """For each schedule and error: the ODE, wKL, twice wKL, the bound at wKL, and the best that was tried."""

    def build(self) -> list[nodes.Node]:
        lines = []
        for schedule, name in NAMES.items():
            for error in ("near the noise", "everywhere", "near the data"):
                rows = self.rows("continuous", schedule=schedule, error=error)
                by = {(row["w"], row["c"]): row for row in rows}
                best = min(rows, key=lambda row: row["kl"])
                bound = by["KL", 1.0]["bound"]
                shown = [_digits(by[key]["kl"]) for key in (("", 0.0), ("KL", 1.0), ("KL", 2.0))]
                which = f"{best['c']:g} {BASES[best['w']]}" if best["c"] else "ODE"
                lines.append(
                    (name, error, *shown, "∞" if bound is None else _digits(bound), _digits(best["kl"]), which)
                )
        return [table(("schedule", "error", "ODE", "wKL", "2 wKL", "bound, wKL", "least", "at"), lines)]


class Crossings(Stored):
    """From how many steps noise pays."""

    def build(self) -> list[nodes.Node]:
        found = {(row["schedule"], row["w"]): row["n"] for row in self.rows("crossing")}
        lines = [
            (name, *("–" if found[schedule, base] is None else str(found[schedule, base]) for base in ("KL", "sigma")))
            for schedule, name in NAMES.items()
        ]
        return [table(("schedule", "wKL from", "σ from"), lines)]


class Line(Stored):
    """KL on the line by error, number of steps and w."""

    def build(self) -> list[nodes.Node]:
        lines = []
        for schedule, name in NAMES.items():
            rows = self.rows("line", schedule=schedule)
            for error, n in dict.fromkeys((row["error"], row["n"]) for row in rows):
                values = {row["w"]: row["kl"] for row in rows if (row["error"], row["n"]) == (error, n)}
                lines.append((name, error or "none", str(n), *(_digits(values[base]) for base in BASES)))
        return [table(("schedule", "error", "steps", *BASES.values()), lines)]


class Plane(Stored):
    """Sliced W2 in the plane by error and w, with standard errors."""

    def build(self) -> list[nodes.Node]:
        (floor,) = self.rows("plane", schedule="")
        lines = [("two samples of the target", "", _spread(floor), "", "", "", "")]
        for schedule, name in NAMES.items():
            for error in ("", "half of another"):
                values = {row["w"]: _spread(row) for row in self.rows("plane", schedule=schedule, error=error)}
                lines.append((name, error or "none", *(values[base] for base in BASES)))
        return [table(("schedule", "error", *BASES.values()), lines)]


class Paper(Stored):
    """The distances of the paper's networks beside KL on the line with an error everywhere and 250 steps."""

    def build(self) -> list[nodes.Node]:
        bases = [base for base in BASES if base]
        lines = []
        for (schedule, prediction), distances in PAPER.items():
            error = "everywhere" if prediction == "velocity" else "noise, everywhere"
            values = {row["w"]: row["kl"] for row in self.rows("line", schedule=schedule, error=error, n=250)}
            name = f"{NAMES[schedule]}, {prediction}"
            lines.append((name, *(f"{value:g}" for value in distances), *(_digits(values[base]) for base in bases)))
        heads = [f"{which}, {BASES[base]}" for which in ("FID", "KL") for base in bases]
        return [table(("schedule, prediction", *heads), lines)]


def _digits(value: float) -> str:
    # A minus sign, for lines break after hyphens.
    return (f"{value:.4f}" if value >= 1e-3 else f"{value:.1e}").replace("-", "−")


def _spread(row: dict[str, Any]) -> str:
    return f"{row['sliced']:.4f} ± {row['standard error']:.4f}"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    for name, directive in (
        ("best", Best),
        ("crossings", Crossings),
        ("line", Line),
        ("plane", Plane),
        ("paper", Paper),
    ):
        app.add_directive(f"w-{name}", directive)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

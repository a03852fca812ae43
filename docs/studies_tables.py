"""The digits studies from their record: the directives ``study``, with its name, and ``study-budget``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from tables import ROOT, Generated, code, table

RESULTS = ROOT / "benchmarks" / "results" / "digits_studies.json"
LABELS = {
    "dit": "DiT: chain, noise",
    "continuous": "continuous: VP, noise",
    "vp": "VP, velocity",
    "gvp": "GVP, velocity",
    "linear": "Linear, velocity",
    "sigmoid": "Sigmoid, k = 5",
    "linear-again": "Linear, another seed",
    "linear-once-more": "Linear, a third seed",
    "dit-longer": "DiT, three times the steps",
    "linear-longer": "Linear, three times the steps",
    "adaln": "adaLN without zero",
}
NAMED = {
    "conditioning": {"linear": "adaLN-Zero"},
    "patch-size": {"linear": "2", "patch-4": "4", "patch-8": "8"},
    "positions": {"linear": "sine and cosine, fixed", "rope": "RoPE"},
    "w-and-size": {"width-32": "width 32, depth 2", "width-64": "width 64, depth 3", "linear": "width 96, depth 4"},
}
W = {"": "ODE", "KL": "wKL", "sigma": "σ", "sin^2": "sin²", "KL, eta": "wKL,η"}
METHODS = {
    ("linear", "heun"): "SiT, ODE (Heun)",
    ("linear", "em"): "SiT, SDE with w = σ",
    ("dit", "ddim"): "DiT, DDIM",
    ("dit", "ddpm"): "DiT, DDPM",
}
# FID-50K of ImageNet networks, lower is better: Ma et al. (2024), arXiv 2401.08740. SiT-B by its w, all of a velocity;
# and the sizes by the ODE and the SDE. All after 400,000 steps without guidance.
PUBLISHED_W = {
    "vp": (37.8, 38.7, 39.2, 41.1),
    "gvp": (32.9, 33.4, 33.6, 33.2),
    "linear": (33.6, 33.5, 33.3, 33.0),
}
PUBLISHED_SIZES = {"S": (58.97, 57.64), "B": (34.84, 33.02), "L": (20.01, 18.79), "XL": (18.04, 17.19)}

Row = dict[str, Any]


def rows_of(part: str, **wanted: Any) -> list[Row]:
    """Return the rows of a part with the given values."""
    found = [row for row in json.loads(RESULTS.read_text())["rows"] if row["part"] == part]
    return [row for row in found if all(row[key] == value for key, value in wanted.items())]


def sampled(variant: str, method: str, nfe: int, w: str = "", start: float = 1.0) -> Row:
    """Return one sampling."""
    (row,) = rows_of("sampling", variant=variant, method=method, nfe=nfe, w=w, start=start)
    return row


def counts(variant: str, method: str, w: str = "") -> list[Row]:
    """Return the samplings of a method from t = 1, by the number of evaluations."""
    found = rows_of("sampling", variant=variant, method=method, w=w, start=1.0)
    return sorted(found, key=lambda row: row["nfe"])


def label(variant: str, study: str = "") -> str:
    """Return what a table or a figure calls a variant."""
    return NAMED.get(study, {}).get(variant, LABELS.get(variant, variant))


def variants(study: str) -> tuple[str, ...]:
    """Return the variants of a study."""
    import sys

    if str(RESULTS.parents[1]) not in sys.path:
        sys.path.append(str(RESULTS.parents[1]))
    from digits_variants import STUDIES

    return STUDIES[study]


def spread(row: Row, key: str = "frechet") -> str:
    """Return a mean and its standard error."""
    if key == "accuracy":
        return f"{100 * row[key]:.1f} ± {100 * row[f'{key} error']:.1f} %"
    return f"{row[key]:.2f} ± {row[f'{key} error']:.2f}"


def same_quality(target: Row, rows: Iterable[Row]) -> Row | None:
    """Return the sampling with the fewest evaluations whose distance is no larger than that of another."""
    return next((row for row in rows if row["frechet"] <= target["frechet"]), None)


class Study(Generated):
    """The table of a study."""

    required_arguments = 1
    sources = ("benchmarks/results/digits_studies.json", "benchmarks/digits_variants.py", "docs/studies_tables.py")

    def build(self) -> list[nodes.Node]:
        name = self.arguments[0]
        special = {
            "dit-to-sit": _steps,
            "longer": _longer,
            "solver": _solver,
            "nfe": _nfe,
            "w-and-size": _w,
            "published-sizes": _sizes,
            "transport": _transport,
            "wall-clock": _clock,
        }
        return [special[name]() if name in special else _plain(name)]


def _plain(study: str) -> nodes.table:
    cells = []
    for name in variants(study):
        row, (trained,) = sampled(name, "heun", 50), rows_of("training", variant=name)
        shown = (f"{trained['parameters']:,}", f"{trained['loss']:.4f}", spread(row, "accuracy"), spread(row))
        cells.append((label(name, study), *shown, f"{1e3 * row['seconds']:.1f}"))
    head = ("", "parameters", "loss at the end", "accuracy", "Fréchet", "CPU ms per sample")
    return table(head, cells)


def _steps() -> nodes.table:
    cells = []
    for name in variants("dit-to-sit"):
        held, noisy = sampled(name, "ddim", 50), _noisy(name)
        flow = spread(sampled(name, "heun", 50)) if name in PUBLISHED_W else "–"
        published = f"{PUBLISHED_W[name][1]:g}" if name in PUBLISHED_W else "–"
        sde = "–" if noisy is None else spread(noisy)
        cells.append((label(name), spread(held, "accuracy"), spread(held), flow, sde, published))
    head = ("", "accuracy, DDIM, 50", "DDIM, 50", "ODE (Heun), 50", "SDE or DDPM, 100", "published FID, SDE with σ")
    return table(head, cells)


def _longer() -> nodes.table:
    cells = []
    for name in variants("longer"):
        (trained,), held, noisy = rows_of("training", variant=name), sampled(name, "ddim", 50), _noisy(name)
        shown = (spread(row, key) for row in (held, noisy) if row is not None for key in ("accuracy", "frechet"))
        cells.append((label(name), f"{trained['steps']:,}", *shown))
    noisy_head = "SDE or DDPM, 100"
    return table(("", "steps", "accuracy, DDIM, 50", "DDIM, 50", f"accuracy, {noisy_head}", noisy_head), cells)


def _noisy(name: str) -> Row | None:
    """Return how a variant is sampled with noise: DiT by its chain, a velocity by its SDE, a noise not at all."""
    methods = {"dit": ("ddpm", ""), "dit-longer": ("ddpm", ""), "continuous": None}
    method = methods.get(name, ("em", "sigma"))
    return None if method is None else sampled(name, method[0], 100, method[1])


def _solver() -> nodes.table:
    methods = ("euler", "heun", "rk4")
    cells = [
        (str(row["nfe"]), *(spread(sampled("linear", method, row["nfe"])) for method in methods))
        for row in counts("linear", "euler")
    ]
    return table(("evaluations", "Euler", "Heun", "RK4"), cells)


def _nfe() -> nodes.table:
    cells = [
        (
            str(row["nfe"]),
            *(spread(sampled(*pair, row["nfe"], "sigma" if pair[1] == "em" else "")) for pair in METHODS),
        )
        for row in counts("dit", "ddpm")
    ]
    return table(("evaluations", *METHODS.values()), cells)


def _w() -> nodes.table:
    cells = []
    for name in variants("w-and-size"):
        ode = spread(sampled(name, "heun", 50))
        noisy = (spread(sampled(name, "em", 100, w, 0.99)) for w in W if w)
        published = (f"{value:g}" for value in PUBLISHED_W[name]) if name in PUBLISHED_W else ("–",) * 4
        cells.append((label(name, "w-and-size"), ode, *noisy, *published))
    choices = [name for w, name in W.items() if w]
    return table(("", *W.values(), *(f"FID, {name}" for name in choices)), cells)


def _sizes() -> nodes.table:
    cells = [(f"SiT-{name}/2", *(f"{value:g}" for value in values)) for name, values in PUBLISHED_SIZES.items()]
    return table(("published, ImageNet", "FID, ODE", "FID, SDE"), cells)


def _transport() -> nodes.table:
    cells = []
    for name in variants("transport"):
        (cost,) = rows_of("transport", variant=name)
        few = [sampled(name, "euler", nfe) for nfe in (8, 16, 32)]
        spent = f"{cost['cost']:.1f} ± {cost['standard error']:.1f}"
        cells.append((label(name), spent, *(spread(row) for row in few), spread(sampled(name, "heun", 50))))
    head = ("", "transport cost", *(f"Euler, {nfe}" for nfe in (8, 16, 32)), "Heun, 50")
    return table(head, cells)


def _clock() -> nodes.table:
    cells = []
    for method, nfe in (("ddpm", 250), ("ddim", 50)):
        target = sampled("dit", method, nfe)
        cells.append((f"DiT, {method.upper()}", str(nfe), spread(target), f"{1e3 * target['seconds']:.1f}", "1"))
        for key in ("heun", "em"):
            found = same_quality(target, counts("linear", key, "sigma" if key == "em" else ""))
            shown: tuple[str, ...] = ("–", "never that near", "–", "–")
            if found is not None:
                ratio = target["seconds"] / found["seconds"]
                shown = str(found["nfe"]), spread(found), f"{1e3 * found['seconds']:.1f}", f"{ratio:.1f}"
            cells.append((f"no farther: {METHODS['linear', key]}", *shown))
    return table(("", "evaluations", "Fréchet", "CPU ms per sample", "times as fast"), cells)


class Budget(Generated):
    """What was spent on what, when and with which versions."""

    sources = ("benchmarks/results/digits_studies.json", "docs/studies_tables.py")

    def build(self) -> list[nodes.Node]:
        data = json.loads(RESULTS.read_text())
        (floor,), one = rows_of("floor"), rows_of("sampling")[0]
        trained = rows_of("training")
        minutes = sum(row["seconds"] for row in trained) / 60.0
        versions = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
        fewest = min(row["steps"] for row in trained)
        spent = f"{len(trained)} trainings of {fewest} steps, or as many as is said, of {trained[0]['batch']} digits"
        real = f"an accuracy of {spread(floor, 'accuracy')} and a distance of {spread(floor)}"
        text = (
            f"{data['date']}, {data['processor']}, one thread, {versions}. {spent} took {minutes:.0f} minutes, "
            f"on a machine with other work. A sampling is {one['samples']} digits for each of {one['seeds']} seeds; a "
            "number is the mean over the seeds and its standard error, which for so few seeds is rough itself. As many "
            f"real digits of the training set score {real}."
        )
        return [nodes.paragraph("", text)]


class Commands(Generated):
    """The command of every training."""

    sources = ("benchmarks/results/digits_studies.json", "docs/studies_tables.py")

    def build(self) -> list[nodes.Node]:
        return [table(("variant", "command"), [(row["variant"], code(row["command"])) for row in rows_of("training")])]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("study", Study)
    app.add_directive("study-budget", Budget)
    app.add_directive("study-commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

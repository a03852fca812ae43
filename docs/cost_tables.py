"""What trainings cost.

Directives without arguments: ``public-throughput``, ``training-costs``, ``training-step`` and ``on-this-core``.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from tables import ROOT, Generated, table

from backbone.flops import forward_flops
from backbone.train.run_config import RunConfig, read_config

STEP = ROOT / "benchmarks" / "results" / "training_step.json"
#: Dense bfloat16 operations per second, from the makers' data sheets.
PEAK = {"H100": 989e12, "H200": 989e12, "H800": 989e12, "A100": 312e12, "TPU v4": 275e12}
#: Who, on what, images per second and device of a network the size of SiT-XL/2 at 256 × 256.
SEEN = (
    ("the SiT paper", "TPU v4", "JAX", 54),
    ("REPA", "H100", "8 devices", 173),
    ("LightningDiT", "H800", "8 devices", 284),
    ("a sequel of REPA", "H200", "4 devices, float16, compiled", 384),
    ("fast-DiT", "A100", "1 device", 107),
)
#: Assumptions: the slowest and the fastest of these on an H100 or H200, and the efficiency of more devices.
RANGE = (173, 384)
EFFICIENCY = {1: 1.0, 8: 1.0, 64: 0.9}
#: Watts of an H100 SXM at its limit, and images of a Fréchet distance with their evaluations, doubled by guidance.
WATTS, SAMPLES, EVALUATIONS = 700.0, 50_000, 250
RUNS = (
    ("SiT-S/2", "sit-s-2-256", 400_000),
    ("SiT-B/2", "sit-b-2-256", 400_000),
    ("SiT-L/2", "sit-l-2-256", 400_000),
    ("SiT-XL/2", "sit-xl-2-256", 400_000),
    ("SiT-XL/2", "sit-xl-2-256", 7_000_000),
    ("SiT-XL/2, 512 × 512", "sit-xl-2-512", 3_000_000),
)


def recipe(name: str) -> RunConfig:
    """Return a recipe of ImageNet."""
    return read_config(ROOT / "configs" / "imagenet" / f"{name}.toml")


@cache
def per_image(name: str) -> float:
    """Return the operations that training takes for an image: forward, and twice as many backwards."""
    return 3.0 * forward_flops(recipe(name).model)


def hours(name: str, steps: int, throughput: float, devices: int) -> float:
    """Return the hours of a run, for the share of the peak that belongs to a throughput of SiT-XL/2 on an H100."""
    rate = throughput * per_image("sit-xl-2-256") / per_image(name)
    images = steps * recipe(name).training.batch_size
    return images / (rate * devices * EFFICIENCY[devices]) / 3600.0


class PublicThroughput(Generated):
    """What others report, and the share of the peak that it is."""

    sources = ("docs/cost_tables.py", "backbone/*.py")

    def build(self) -> list[nodes.Node]:
        flops = per_image("sit-xl-2-256")
        rows = [
            (who, device, how, str(rate), f"{PEAK[device] / 1e12:.0f}", f"{rate * flops / PEAK[device]:.0%}")
            for who, device, how, rate in SEEN
        ]
        head = ("who", "device", "how", "images/s per device", "peak, TFLOP/s", "share of the peak")
        return [table(head, rows)]


class TrainingCosts(Generated):
    """Hours on 1, 8 and 64 devices, and energy, for each published run."""

    sources = ("docs/cost_tables.py", "backbone/*.py", "configs/imagenet/*.toml")

    def build(self) -> list[nodes.Node]:
        rows = []
        for label, name, steps in RUNS:
            images, flops = steps * recipe(name).training.batch_size, per_image(name)
            spans = [[hours(name, steps, rate, devices) for rate in RANGE] for devices in EFFICIENCY]
            energy = [span * WATTS / 1e6 for span in spans[0]]
            sampling = SAMPLES * EVALUATIONS * 2 * flops / 3.0
            rows.append(
                (
                    *(label, f"{steps:,}", f"{flops / 1e9:.1f}", f"{images * flops / 1e18:,.0f}"),
                    *(_span(slow, fast) for slow, fast in spans),
                    " – ".join(_short(value) for value in reversed(energy)),
                    f"{sampling / (images * flops):.1%}",
                )
            )
        head = ("network", "steps", "GFLOP per image", "EFLOP", *(f"{n} GPU" + "s" * (n > 1) for n in EFFICIENCY))
        return [table((*head, "MWh", "one FID-50K"), rows)]


def _span(slow: float, fast: float) -> str:
    """Return two spans of hours as text, in days where they are long and minutes where they are short."""
    unit, name = (24.0, "d") if fast >= 48.0 else (1.0, "h") if slow >= 1.0 else (1.0 / 60.0, "min")
    return f"{_short(fast / unit)} – {_short(slow / unit)} {name}"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10.0 else f"{value:.2g}"


class OnThisCore(Generated):
    """What was measured here, and what it would mean for the whole run."""

    sources = ("benchmarks/results/training_step.json", "docs/cost_tables.py")

    def build(self) -> list[nodes.Node]:
        data = json.loads(STEP.read_text())
        (row,) = [row for row in data["rows"] if row["case"].startswith("SiT-S/2")]
        rate = row["batch"] / row["seconds per step"]
        reached = rate * per_image("sit-s-2-256")
        days = 400_000 * 256 / rate / 86_400
        cells = (row["case"], str(row["batch"]), f"{rate:.2f}", f"{reached / 1e9:.0f}", f"{days:,.0f}")
        note = f"One thread, {data['processor']}, torch {data['versions']['torch']}, float32, {data['date']}."
        head = ("measured", "batch", "images per CPU second", "GFLOP/s", "extrapolated: days for 400,000 steps of 256")
        return [nodes.paragraph("", note), table(head, [cells])]


class TrainingStep(Generated):
    """The share of every part of a step."""

    sources = ("benchmarks/results/training_step.json", "docs/cost_tables.py")

    def build(self) -> list[nodes.Node]:
        rows = json.loads(STEP.read_text())["rows"]
        named = ("case", "batch", "steps", "seconds per step")
        parts = [key for key in rows[0] if key not in named]
        cells: list[Any] = [(part, *(f"{row[part]:.2%}" for row in rows)) for part in parts]
        cells.insert(0, ("CPU seconds per step", *(f"{row['seconds per step']:.3g}" for row in rows)))
        return [table(("share of a step", *(f"{row['case']}, batch {row['batch']}" for row in rows)), cells)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    for name, directive in (
        ("public-throughput", PublicThroughput),
        ("training-costs", TrainingCosts),
        ("on-this-core", OnThisCore),
        ("training-step", TrainingStep),
    ):
        app.add_directive(name, directive)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

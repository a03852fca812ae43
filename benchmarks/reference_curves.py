"""The losses of the recipes in ``configs/ci``, step by step, for a test to notice when a training changes.

They are a record of what this code did and no oracle: that the losses are right is for other tests to show. Beside them
is how far rounding moves them, measured by the same training with its batches in parts, which are summed in another
order. Run it with ``--save`` when a change of a recipe or of the random numbers is meant.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import torch
from record import arguments, record

from backbone.train.run import run
from backbone.train.run_config import read_config

ROOT = Path(__file__).resolve().parents[1]
FACTS = ROOT / "tests" / "facts"


def losses(name: str, **changes: Any) -> list[float]:
    """Return the losses of a recipe, with fields of its training changed."""
    recipe = read_config(ROOT / "configs" / "ci" / f"{name}.toml")
    with tempfile.TemporaryDirectory() as folder:
        training = dataclasses.replace(recipe.training, **changes)
        return run(dataclasses.replace(recipe, out=Path(folder), training=training, device="cpu")).losses


def main() -> None:
    """Train every recipe twice."""
    options = arguments(__doc__ or "")
    torch.set_num_threads(1)
    recipes = sorted(file.stem for file in (ROOT / "configs" / "ci").glob("*.toml"))
    rows = []
    for name in recipes[-1:] if options.smoke else recipes:
        whole, parts = losses(name), losses(name, micro_batch=4)
        rounding = max(abs(a - b) / a for a, b in zip(whole, parts))
        rows.append({"recipe": name, "rounding": rounding, "losses": whole})
    record("reference_curves", rows, ("torch", "numpy"), options.save, FACTS)


if __name__ == "__main__":
    main()

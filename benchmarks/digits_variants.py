"""The trainings of the digits studies: one recipe, ``configs/digits.toml``, and what each variant changes in it.

Each is also one command; ``python benchmarks/digits_studies.py --commands`` prints them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backbone.train.run_config import RunConfig, read_config

__all__ = ["BASE", "STEPS", "STUDIES", "VARIANTS", "command", "config"]

ROOT = Path(__file__).resolve().parents[1]
BASE = ROOT / "configs" / "digits.toml"
STEPS = 500
_SHARED: dict[str, Any] = {"record.probe_every": 0, "record.save_every": 100, "record.keep": 1}

#: What a variant changes; its name is that of its folder. The digits have 17 grey levels.
VARIANTS: dict[str, dict[str, Any]] = {
    "linear": {},
    "linear-again": {"seed": 1, "training.seed": 1},
    "linear-once-more": {"seed": 2, "training.seed": 2},
    "dit": {
        "model.timesteps": 1000,
        "model.learn_sigma": True,
        "objective.schedule": "ddpm-linear",
        "objective.prediction": "noise",
        "objective.loss": "Chain(levels=17)",
    },
    "continuous": {"objective.schedule": "vp", "objective.prediction": "noise"},
    "vp": {"objective.schedule": "vp", "objective.times": "Uniform(1e-5, 1)"},
    "gvp": {"objective.schedule": "gvp"},
    "sigmoid": {"objective.schedule": "Sigmoid(5)"},
    "adaln": {"model.conditioning": "adaln"},
    "cross-attention": {"model.conditioning": "cross-attention"},
    "in-context": {"model.conditioning": "in-context"},
    "patch-4": {"model.patch_size": 4},
    "patch-8": {"model.patch_size": 8},
    "learned": {"model.positions": "learned"},
    "rope": {"model.positions": "rope"},
    "width-32": {"model.hidden_size": 32, "model.depth": 2},
    "width-64": {"model.hidden_size": 64, "model.depth": 3},
}
VARIANTS |= {"linear-longer": VARIANTS["linear"], "dit-longer": VARIANTS["dit"]}
#: How many times the steps of the others some variants have.
LONGER = {"linear-longer": 3, "dit-longer": 3}

#: The variants that a study compares; the first column of its table.
STUDIES: dict[str, tuple[str, ...]] = {
    "dit-to-sit": ("dit", "continuous", "vp", "gvp", "linear"),
    "longer": ("dit", "dit-longer", "linear", "linear-longer"),
    "conditioning": ("linear", "adaln", "cross-attention", "in-context"),
    "patch-size": ("linear", "patch-4", "patch-8"),
    "positions": ("linear", "learned", "rope"),
    "schedule": ("linear", "gvp", "sigmoid"),
    "solver": ("linear",),
    "nfe": ("dit", "linear"),
    "w-and-size": ("width-32", "width-64", "linear", "vp", "gvp"),
    "transport": ("linear", "gvp", "sigmoid", "vp"),
    "wall-clock": ("dit", "linear"),
    "seeds": ("linear", "linear-again", "linear-once-more"),
}


def config(name: str, out: Path, steps: int = STEPS) -> RunConfig:
    """Return the whole training of a variant, whose folder is ``out/name``."""
    fields = read_config(BASE).to_dict()
    for path, value in _changes(name, out, steps).items():
        *sections, key = path.split(".")
        place = fields
        for section in sections:
            place = place[section]
        place[key] = value
    return RunConfig.from_dict(fields)


def command(name: str, out: Path = Path("out/studies"), steps: int = STEPS) -> str:
    """Return the command that trains a variant."""
    flags = " ".join(_flag(path, value) for path, value in _changes(name, out, steps).items())
    return f"sit train --config {BASE.relative_to(ROOT)} {flags}"


def _changes(name: str, out: Path, steps: int) -> dict[str, Any]:
    return {"out": str(out / name), "training.steps": steps * LONGER.get(name, 1), **_SHARED, **VARIANTS[name]}


def _flag(path: str, value: Any) -> str:
    name = path.replace("_", "-")
    if isinstance(value, bool):
        section, _, key = name.rpartition(".")
        return f"--{section}.{'' if value else 'no-'}{key}"
    text = str(value)
    return f'--{name} "{text}"' if "(" in text else f"--{name} {text}"

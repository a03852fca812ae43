"""Files of weights as SiT, DiT and REPA write them: names and shapes from the record of the published definition."""

import argparse
import json
from pathlib import Path

import torch

from backbone import SiT, SiTConfig

RECORD = json.loads((Path(__file__).parents[1] / "facts" / "sit_state_dict.json").read_text())
SHAPES = {name: tuple(shape) for name, shape in RECORD["state_dict"].items()}
CONFIG = SiTConfig.from_dict(RECORD["config"])
ARGS = argparse.Namespace(model="SiT-XL/2", lr=1e-4, betas=[0.9, 0.999], nan=float("nan"))


def weights(seed=0, shapes=SHAPES):
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.1 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def prefixed(prefix, state):
    return {prefix + name: tensor for name, tensor in state.items()}


def projected(state):
    """Add what REPA's training adds."""
    return state | {"projectors.0.0.weight": torch.ones(3, 64), "projectors.0.0.bias": torch.ones(3)}


def training(ema, model=None):
    """What the training scripts of SiT and DiT save."""
    return {"model": model or weights(1), "ema": ema, "opt": {"state": {0: {"step": torch.ones(1)}}}, "args": ARGS}


LAYOUTS = {
    "plain": lambda state: state,
    "ordered": lambda state: from_module(state),
    "module": lambda state: prefixed("module.", state),
    "compiled": lambda state: prefixed("_orig_mod.", state),
    "both": lambda state: prefixed("_orig_mod.module.", state),
    "inside": lambda state: {name.replace("blocks.1.", "blocks.1._orig_mod."): part for name, part in state.items()},
    "training": training,
    "parallel": lambda state: training(state, prefixed("module.", weights(1))),
    "repa": lambda state: training(projected(state)) | {"steps": 400000},
    "model alone": lambda state: {"model": state, "args": vars(ARGS)},
    "parameters": lambda state: {name: torch.nn.Parameter(part) for name, part in state.items()},
}


def from_module(state):
    """Return the state dict that a module makes, an OrderedDict with metadata."""
    model = SiT(CONFIG)
    model.load_state_dict(state)
    return model.state_dict()


def same(model, state):
    ours = model.state_dict()
    return set(ours) == set(state) and all(torch.equal(ours[name], part) for name, part in state.items())


def output(model):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(3, 4, 8, 8, generator=generator)
    with torch.no_grad():
        return model.both_halves(x, torch.tensor([0.0, 0.4, 1.0]), torch.tensor([0, 7, 10]))

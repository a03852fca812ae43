"""How fast is the network? Five questions, one part each; ``--parts`` chooses.

eager: SiT-S/2 beside diffusers' DiTTransformer2DModel of the same shape, forward and with the backward pass, on one and
on two threads. That both compute the same function is checked first, with the same weights.
compiled: the same after torch.compile.
patches: the patch embedding as a product of matrices, beside the convolution that it is, in the whole network.
build: SiT-XL/2 on the meta device, in a new process.
device: training and forward passes on a GPU, in network_device.py; left out where there is none.

The parts on the CPU go to results/backbone.json, each in place of what was there of it, and those of a device to
results/backbone_device.json. This script cannot be called backbone.py, which would hide the package from the scripts
beside it.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from diffusers import DiTTransformer2DModel
from network_device import device_rows
from numpy.typing import NDArray
from record import alternate, arguments, save_rows, show, stored_rows
from torch import Tensor, nn

from backbone import SiT, SiTConfig
from backbone.sizes import SIZES

PARTS = ("eager", "compiled", "patches", "build")
PACKAGES = ("torch", "diffusers", "interpolants")
SMALL = SiTConfig(input_size=8, hidden_size=32, depth=2, num_heads=2)
Network = Callable[[Tensor, Tensor, Tensor], Tensor]


def peer(model: SiT) -> DiTTransformer2DModel:
    """Return diffusers' network of the same shape with the same weights.

    Each of its blocks has its own embedding of time and label, with a table of all classes, and computes it again; ours
    has one. Its copies get the same weights, and without the copies both have the same number of parameters.
    """
    config = model.config
    theirs = DiTTransformer2DModel(
        num_attention_heads=config.num_heads,
        attention_head_dim=config.head_size,
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        num_layers=config.depth,
        sample_size=config.size[0],
        patch_size=config.patch_size,
        num_embeds_ada_norm=config.num_classes,
        norm_eps=1e-6,
    )
    state = model.state_dict()
    theirs.load_state_dict({name: state_of(name, state) for name in theirs.state_dict()})
    own = sum(p.numel() for p in model.parameters() if p.requires_grad)
    one = sum(p.numel() for name, p in theirs.named_parameters() if ".emb." not in name or name.split(".")[1] == "0")
    if own != one:
        raise RuntimeError(f"the networks differ: {own} parameters against {one}")
    return theirs


def state_of(name: str, state: dict[str, Tensor]) -> Tensor:
    """Return our tensor for one of diffusers' names."""
    start, _, end = name.rpartition(".")
    if name == "pos_embed.pos_embed":
        return state["pos_embed"]
    outside = {
        "pos_embed.proj": "x_embedder.proj",
        "proj_out_1": "final_layer.adaLN_modulation.1",
        "proj_out_2": "final_layer.linear",
    }
    if start in outside:
        return state[f"{outside[start]}.{end}"]
    _, number, part = start.split(".", 2)
    if part.startswith("attn1.to_") and part != "attn1.to_out.0":
        return state[f"blocks.{number}.attn.qkv.{end}"].chunk(3)["qkv".index(part[-1])]
    inside = {
        "attn1.to_out.0": f"blocks.{number}.attn.proj",
        "ff.net.0.proj": f"blocks.{number}.mlp.fc1",
        "ff.net.2": f"blocks.{number}.mlp.fc2",
        "norm1.linear": f"blocks.{number}.adaLN_modulation.1",
        "norm1.emb.timestep_embedder.linear_1": "t_embedder.mlp.0",
        "norm1.emb.timestep_embedder.linear_2": "t_embedder.mlp.2",
        "norm1.emb.class_embedder.embedding_table": "y_embedder.embedding_table",
    }
    return state[f"{inside[part]}.{end}"]


def networks(config: SiTConfig) -> tuple[SiT, DiTTransformer2DModel]:
    """Return both networks with weights that switch every branch on.

    Raises:
        RuntimeError: they are not the same function. At time 0 alone they must be: their frequencies of time differ.
    """
    torch.manual_seed(0)
    ours = SiT(config).eval()
    with torch.no_grad():
        for parameter in ours.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.02)
    theirs = peer(ours).eval()
    x, _, y = inputs(config, 2)
    with torch.no_grad():
        found = theirs(x, torch.zeros(2, dtype=torch.int64), y, return_dict=False)[0]
        wanted = ours.both_halves(x, torch.zeros(2), y)
    if not (found - wanted).abs().max() < 1e-5 * wanted.abs().max():
        raise RuntimeError(f"the networks differ by {(found - wanted).abs().max()} of {wanted.abs().max()}")
    return ours, theirs


def inputs(config: SiTConfig, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return a batch: states, times and labels."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, config.in_channels, *config.size, generator=generator)
    return x, torch.rand(count, generator=generator), torch.arange(count) % config.num_classes


def passes(network: Network, module: nn.Module, batch: tuple[Tensor, ...]) -> dict[str, Callable[[], None]]:
    """Return a forward pass, and one with the backward pass."""
    x, time_N, y = batch

    def forward() -> None:
        with torch.no_grad():
            network(x, time_N, y)

    def both() -> None:
        module.zero_grad()
        network(x, time_N, y).square().mean().backward()

    return {"forward": forward, "forward and backward": both}


def clocks() -> NDArray[np.float64]:
    """Return the time, and the time that this process has computed, which other programs disturb less."""
    return np.array([time.perf_counter(), time.process_time()])


def row(part: str, case: dict[str, Any], first: Callable[[], None], second: Callable[[], None], n: int) -> Any:
    """Time two passes in turn, n times or for a minute; seconds, ratios, and the spread of the ratios of the pairs.

    A ratio is of medians, and at the end of minima; "work" is that of the medians of the time computed.
    """
    ours, other = (np.array(spent) for spent in alternate(first, second, n, clocks, limit=60.0))
    (wall, computed), least = np.median(ours, axis=0) / np.median(other, axis=0), ours.min(axis=0) / other.min(axis=0)
    low, high = np.quantile(ours[:, 0] / other[:, 0], (0.1, 0.9))
    found = {
        "part": part,
        **case,
        "ours": float(np.median(ours[:, 0])),
        "other": float(np.median(other[:, 0])),
        "ratio": float(wall),
        "p10": float(low),
        "p90": float(high),
        "work": float(computed),
        "least": float(least[0]),
        "pairs": len(ours),
    }
    show(found)
    return found


def compiled(network: Network, threads: int) -> Network:
    """Return the network after torch.compile; the smoke run leaves out the kernels, which take minutes to make."""
    if "--smoke" in sys.argv:
        return torch.compile(network, backend="aot_eager")
    # The number of threads is in the code, and a cache on disk does not ask for it unless it is told.
    return torch.compile(network, options={"cpp.threads": threads})


def peer_rows(part: str, config: SiTConfig, batch: int, repeats: int) -> list[dict[str, Any]]:
    """Time both networks, eager or compiled."""
    rows = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        ours, theirs = networks(config)

        def other(x: Tensor, time_N: Tensor, y: Tensor, theirs: nn.Module = theirs) -> Tensor:
            return cast("Tensor", theirs(x, time_N, y, return_dict=False)[0])

        pair: list[Network] = [ours.both_halves, other]
        if part == "compiled":
            torch._dynamo.reset()
            pair = [compiled(f, threads) for f in pair]
        x, time_N, y = inputs(config, batch)
        first = passes(pair[0], ours, (x, time_N, y))
        second = passes(pair[1], theirs, (x, (999 * time_N).long(), y))
        for what in first:
            case = {"pass": what, "threads": threads, "batch": batch}
            rows.append(row(part, case, first[what], second[what], repeats))
    return rows


class Convolved(nn.Module):
    """The published patch embedding: a convolution, whose tokens are not contiguous; or all in channels-last."""

    def __init__(self, proj: nn.Module, last: bool) -> None:
        super().__init__()
        self.proj, self.last = proj, last

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens."""
        layout = torch.channels_last if self.last else torch.contiguous_format
        tokens: Tensor = self.proj(x.contiguous(memory_format=layout)).flatten(2).transpose(1, 2)
        return tokens


def patch_rows(config: SiTConfig, batch: int, repeats: int) -> list[dict[str, Any]]:
    """Time the network with its own patch embedding against the same with a convolution."""
    torch.set_num_threads(1)
    rows = []
    for last in (False, True):
        ours, other = networks(config)[0], networks(config)[0]
        other.x_embedder = Convolved(other.x_embedder.proj, last)
        data = inputs(config, batch)
        first, second = (passes(model.both_halves, model, data) for model in (ours, other))
        for what in first:
            case = {"pass": what, "threads": 1, "other is": "channels-last" if last else "convolution", "batch": batch}
            rows.append(row("patches", case, first[what], second[what], repeats))
    return rows


BUILD = """
import sys, time
import torch
from backbone import sit
began = time.perf_counter()
with torch.device("meta"):
    sit(sys.argv[1])
print(time.perf_counter() - began)
"""


def build_rows(name: str, repeats: int) -> list[dict[str, Any]]:
    """Time the first network of a process on the meta device; importing torch and this package is not counted."""
    spent = []
    for _ in range(repeats):
        done = subprocess.run([sys.executable, "-c", BUILD, name], capture_output=True, text=True, check=True)
        spent.append(float(done.stdout))
    found = {"part": "build", "size": name, "seconds": statistics.median(spent), "most": max(spent), "runs": repeats}
    show(found)
    return [found]


def main() -> None:
    """Run the parts, and write each when it is there."""
    options = arguments(__doc__ or "", (*PARTS, "device"))
    config = SMALL if options.smoke else SIZES["SiT-S/2"]
    batch, repeats = (2, 3) if options.smoke else (4, 30)
    began = time.perf_counter()
    for part in [part for part in PARTS if part in options.parts]:
        if part == "build":
            rows = build_rows("SiT-S/8" if options.smoke else "SiT-XL/2", 1 if options.smoke else 7)
        elif part == "patches":
            rows = patch_rows(config, batch, repeats)
        else:
            rows = peer_rows(part, config, batch, repeats)
        if options.save:
            kept = [row for row in stored_rows("backbone") if row["part"] != part]
            save_rows("backbone", sorted(kept + rows, key=lambda row: PARTS.index(row["part"])), PACKAGES)
    if "device" in options.parts and (options.smoke or torch.cuda.is_available()):
        device_rows("cpu" if options.smoke else "cuda", options.save, began + 300)


if __name__ == "__main__":
    main()

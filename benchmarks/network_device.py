"""The network on a GPU: images per second, the share of the matrix rate, and memory; the part "device" of network.py.

A training step is the forward and backward pass of the velocity loss in bfloat16 autocast, AdamW and the moving
average; a forward pass is without gradients. The matrix rate is that of one large product in bfloat16, in the same run.
An image costs 2 operations per multiplication forwards and three times that in training, counted on the meta device.

Sizes come in order of importance, every row is written as soon as it is there, a case that fails is a row that says so,
and none is begun after the time is up: what has been measured is never lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from record import save_rows, show
from torch.utils.flop_counter import FlopCounterMode

from backbone import EMA, SiT, SiTConfig
from backbone.sizes import SIZES

BATCHES = (256, 128, 64, 32)
PATCHES = (2, 4, 8)


@dataclass(frozen=True)
class Case:
    """One measurement.

    Attributes:
        size: the name of a size.
        config: its shape.
        what: "training" or "forward".
        kind: "eager" or "compiled", each block by itself, so that one compilation serves all.
        batch: images.
    """

    size: str
    config: SiTConfig
    what: str
    kind: str
    batch: int


def device_rows(device: str, save: bool, stop: float) -> list[dict[str, Any]]:
    """Measure until ``stop`` on the clock of ``time.perf_counter``; on the CPU a small size, to try the script."""
    rows: list[dict[str, Any]] = []
    more = {"device": torch.cuda.get_device_name() if device == "cuda" else "cpu", "cuda": torch.version.cuda}

    def keep(row: dict[str, Any]) -> None:
        rows.append({"part": "device", **row})
        show(rows[-1])
        if save:
            save_rows("backbone_device", rows, ("torch", "interpolants"), **more)

    rate = matrix_rate(device, 8192 if device == "cuda" else 128)
    keep({"what": "matrix rate", "teraflops": rate / 1e12})
    for case in cases(small=device == "cpu"):
        named = {"size": case.size, "what": case.what, "kind": case.kind, "batch": case.batch}
        if time.perf_counter() > stop:
            keep({**named, "failed": "the time was up"})
            continue
        try:
            keep({**named, **measure(case, device, rate)})
        except (RuntimeError, ValueError, TypeError) as error:  # what compilers and allocators raise
            keep({**named, "failed": f"{type(error).__name__}: {str(error).partition(chr(10))[0][:120]}"})
        finally:
            if device == "cuda":
                torch.cuda.empty_cache()
    return rows


def cases(small: bool) -> Iterator[Case]:
    """Yield the cases, what matters most first: sizes of the smallest patches, their batch sweep, the other sizes."""
    names, batches = [f"SiT-{letter}/{patch}" for patch in PATCHES for letter in ("XL", "B", "L", "S")], BATCHES
    sizes = {name: SIZES[name] for name in names}
    if small:
        sizes = {"small": SiTConfig(input_size=8, hidden_size=32, depth=2, num_heads=2)}
        batches = (4, 2)

    def of(patches: tuple[int, ...], kind: str, sweep: bool = False) -> Iterator[Case]:
        for size, config in sizes.items():
            # At this batch the activations of eager code have room.
            usual = batches[1] if config.hidden_size > 768 else batches[0]
            for batch in [batch for batch in batches if (batch != usual) == sweep and config.patch_size in patches]:
                yield from (Case(size, config, what, kind, batch) for what in ("training", "forward"))

    yield from of(PATCHES[:1], "eager")
    yield from of(PATCHES[:1], "compiled")
    yield from of(PATCHES[:1], "eager", sweep=True)
    yield from of(PATCHES[1:], "eager")
    yield from of(PATCHES[1:], "compiled")


def measure(case: Case, device: str, rate: float) -> dict[str, Any]:
    """Return images per second, the share of the matrix rate, peak memory, and the seconds before the first step."""
    began = time.perf_counter()
    torch.manual_seed(0)
    with torch.device(device):
        model = SiT(case.config)
    run = step(model, case, device)
    if case.kind == "compiled":
        torch._dynamo.reset()
        for block in model.blocks:
            # Without a GPU the script is tried, and kernels would take minutes to generate.
            block.compile(fullgraph=True, backend="inductor" if device == "cuda" else "aot_eager")
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for _ in range(3):
        run()
    synchronise(device)
    started = time.perf_counter() - began
    count, seconds = 0, 0.0
    while seconds < (1.0 if device == "cuda" else 0.01) and count < 200:
        begin = time.perf_counter()
        for _ in range(5):
            run()
        synchronise(device)
        count, seconds = count + 5, seconds + time.perf_counter() - begin
    images = case.batch * count / seconds
    work = (6 if case.what == "training" else 2) * multiplications(case.config)
    memory = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else 0.0
    return {
        "images/s": images,
        "share": images * work / rate,
        "gigaflop": work / 1e9,
        "GiB": memory,
        "start": started,
        "steps": count,
    }


def step(model: SiT, case: Case, device: str) -> Callable[[], None]:
    """Return one training step or forward pass on a fixed batch; nothing of it waits for the device."""
    shape = (case.batch, case.config.in_channels, *case.config.size)
    x, target = torch.randn(2, *shape, device=device)
    time_N, y = torch.rand(case.batch, device=device), torch.arange(case.batch, device=device) % 1000
    if case.what == "forward":
        model.eval()

        def forward() -> None:
            with torch.no_grad(), torch.autocast(device, torch.bfloat16):
                model(x, time_N, y)

        return forward
    optimiser = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-4, fused=True)
    average = EMA(model)

    def train() -> None:
        with torch.autocast(device, torch.bfloat16):
            output = model(x, time_N, y)
        (output - target).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        average.update(model)

    return train


def multiplications(config: SiTConfig) -> float:
    """Return the multiplications of a forward pass of one image, counted."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        SiT(config).both_halves(
            torch.empty(1, config.in_channels, *config.size), 0.5, torch.zeros(1, dtype=torch.int64)
        )
    return counter.get_total_flops() / 2


def matrix_rate(device: str, side: int) -> float:
    """Return the operations per second of the best of a few dense products in bfloat16."""
    a, b = torch.randn(2, side, side, device=device, dtype=torch.bfloat16)
    best = float("inf")
    for _ in range(5):
        synchronise(device)
        began = time.perf_counter()
        for _ in range(10):
            a @ b
        synchronise(device)
        best = min(best, (time.perf_counter() - began) / 10)
    return 2 * side**3 / best


def synchronise(device: str) -> None:
    """Wait for a GPU."""
    if device == "cuda":
        torch.cuda.synchronize()

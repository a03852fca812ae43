"""What a step of training spends outside of its network: the loop itself, timed part by part in the run.

The parts are functions of the loop, replaced by themselves with a clock. Times are CPU seconds of one thread, so that
other work on the machine does not count; what no part claims is the arithmetic of the loss and the loop.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from record import arguments, record

from backbone import Arrays, SiT, SiTConfig, TrainConfig
from backbone.data.order import Order
from backbone.draws import Draws
from backbone.sizes import named_config
from backbone.train import train
from backbone.train.journal import Journal
from backbone.train.state import State
from interpolants import Linear, Objective

PARTS: dict[str, tuple[tuple[Any, str], ...]] = {
    "forward": ((SiT, "forward"),),
    "backward": ((torch.autograd, "backward"),),
    "data": ((Order, "__call__"), (Arrays, "batch")),
    "draws": ((Draws, "uniform"), (Draws, "normal")),
    "gradient norm": ((State, "gradient_norm"),),
    "optimiser and average": ((State, "update"),),
    "log": ((Journal, "read"),),
}
DIGITS = SiTConfig(input_size=8, in_channels=1, hidden_size=96, depth=4, num_heads=4, num_classes=10, learn_sigma=False)
#: Name, network, images in a batch, steps that count.
CASES = (("SiT-S/2 on latents of 32 × 32", named_config("SiT-S/2"), 8, 3), ("digits", DIGITS, 64, 40))


@contextmanager
def clocks() -> Iterator[Counter[str]]:
    """Count the CPU seconds of every part while the block runs."""
    spent: Counter[str] = Counter()
    with ExitStack() as stack:
        for name, places in PARTS.items():
            for owner, attribute in places:
                function = _timed(spent, name, getattr(owner, attribute))
                stack.enter_context(mock.patch.object(owner, attribute, function))
        yield spent


def _timed(spent: Counter[str], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            spent[name] += time.process_time() - began

    return timed


def measure(name: str, network: SiTConfig, batch: int, steps: int) -> dict[str, Any]:
    """Return the share of every part in steps after the first two, logged to a file at every step."""
    torch.manual_seed(0)
    shape = (network.in_channels, *network.size)
    data = Arrays(torch.randn(4 * batch, *shape), torch.arange(4 * batch) % network.num_classes, network.num_classes)
    config, marks = TrainConfig(steps=steps + 2, batch_size=batch, prefetch=False), []
    with tempfile.TemporaryDirectory() as folder, clocks() as spent:

        def on_step(step: int, loss: float) -> None:
            marks.append((time.process_time(), Counter(spent)))

        train(SiT(network), data, config, objective=Objective(Linear()), folder=Path(folder), on_step=on_step)
    # A mark is set while the log is written, so that what is between two of them is one whole step.
    (began, before), (ended, after) = marks[1], marks[-1]
    parts = {part: (after[part] - before[part]) / (ended - began) for part in PARTS}
    parts["loss and loop"] = 1.0 - sum(parts.values())
    network_share = parts["forward"] + parts["backward"]
    moved = parts["gradient norm"] + parts["optimiser and average"]
    return {
        "case": name,
        "batch": batch,
        "steps": steps,
        "seconds per step": (ended - began) / steps,
        **parts,
        "outside": 1.0 - network_share - moved,
        "outside, with optimiser and average": 1.0 - network_share,
    }


def main() -> None:
    """Measure the cases."""
    options = arguments(__doc__ or "")
    torch.set_num_threads(1)
    cases = [("digits, smoke", DIGITS, 4, 2)] if options.smoke else CASES
    record("training_step", [measure(*case) for case in cases], ("torch",), options.save)


if __name__ == "__main__":
    main()

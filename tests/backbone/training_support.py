"""Toy trainings, and processes that join one: forked from a server that has torch already, which costs little."""

import multiprocessing
import os
import socket
import sys
import time
import traceback
from functools import cache
from multiprocessing.connection import wait
from unittest.mock import patch

import torch

from backbone import Arrays, SiT, SiTConfig, TrainConfig, train
from interpolants import Linear, Objective

TOY = SiTConfig(
    input_size=4, patch_size=2, in_channels=1, hidden_size=16, depth=1, num_heads=2, num_classes=2, learn_sigma=False
)

OBJECTIVE = Objective(Linear())

PAPER = {
    "batch_size": 256,
    "learning_rate": 1e-4,
    "betas": (0.9, 0.999),
    "weight_decay": 0.0,
    "warmup_steps": 0,
    "decay": "constant",
    "clip_norm": None,
    "ema_decay": 0.9999,
    "ema_warmup": False,
}
"""The published training: AdamW, batch, average; without warm-up, decay or clipping."""


def toy_data(count=48):
    """Two classes: images of -1 and of +1 with a little noise."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(count) % 2
    return Arrays((2.0 * y - 1).view(-1, 1, 1, 1) + 0.1 * torch.randn(count, 1, 4, 4, generator=generator), y, 2)


def toy_model():
    torch.manual_seed(0)
    return SiT(TOY)


def toy_config(**fields):
    return TrainConfig(**({"steps": 6, "batch_size": 12, "learning_rate": 1e-2, "ema_decay": 0.9} | fields))


def toy_train(folder=None, record=None, loss=None, data=None, probe=None, on_step=None, **fields):
    """Train the toy network anew, or go on in the folder."""
    return train(
        toy_model(),
        data or toy_data(),
        toy_config(**fields),
        objective=loss or OBJECTIVE,
        folder=folder,
        record=record,
        probe=probe,
        on_step=on_step,
    )


@cache
def plain(**fields):
    """A training of which nothing is kept, made once and compared with by many; it is only read."""
    return toy_train(**fields)


def weights(result):
    """The weights of the network and of its average, by name."""
    found = {f"model.{name}": part.detach().clone() for name, part in result.model.state_dict().items()}
    return found | {f"ema.{name}": part.clone() for name, part in result.averaged.state_dict().items()}


def same(one, two):
    """Whether two dictionaries of tensors are equal, bit for bit."""
    return one.keys() == two.keys() and all(torch.equal(part, two[name]) for name, part in one.items())


def processes(size, function, *args, during=None, timeout=120):
    """Call a function in so many processes that can join one another; return (exit code, result) of each.

    The result is what the function returned, or the text of its exception. A process that was killed has none.
    ``during`` is called with the process ids once all run.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training_support", "backbone.train.run", "backbone.cli", "sklearn.datasets"])
    started = []
    for rank in range(size):
        ours, theirs = context.Pipe(duplex=False)
        known = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        child = context.Process(target=_child, args=(known, theirs, function, args))
        # The server imports before it is told our path, and would find another copy of the library.
        with patch.dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path))):
            child.start()
        theirs.close()
        started.append((child, ours))
    if during is not None:
        during([child.pid for child, _ in started])
    found = []
    for child, ours in started:
        result = None
        wait([ours, child.sentinel], timeout)
        # A killed process closes its end without a word.
        try:
            result = ours.recv() if ours.poll() else None
        except EOFError:
            result = None
        child.join(timeout)
        if child.is_alive():
            child.kill()
            child.join()
        found.append((child.exitcode, result))
    return found


def after_step(folder, step, timeout=60):
    """Wait until the log has the row of a step."""
    end = time.monotonic() + timeout
    file = folder / "log.jsonl"
    while time.monotonic() < end and (not file.exists() or f'"step": {step},' not in file.read_text()):
        time.sleep(0.02)


def _child(known, answer, function, args):
    os.environ.update({name: str(value) for name, value in known.items()} | {"OMP_NUM_THREADS": "1"})
    torch.set_num_threads(1)
    try:
        answer.send(function(*args))
    except Exception as error:
        answer.send(f"{type(error).__name__}: {error}")
        traceback.print_exc()
        sys.exit(1)

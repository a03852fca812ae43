"""The processes that encode shards: this one, or several on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from backbone.data.encode_config import EncodeConfig
from backbone.data.listing import Listing
from backbone.data.manifest import LISTING
from backbone.data.shard import Stopped, encode_shard
from backbone.data.vae import Encoder, load_encoder
from solvers.errors import explain

__all__ = ["encode_here", "encode_in_workers", "share_device"]


def encode_here(
    config: EncodeConfig,
    source: Path,
    encoder: Encoder,
    device: torch.device,
    listing: Listing,
    numbers: list[int],
    tick: Callable[[int], None],
) -> None:
    """Encode shards one after the other in this process.

    Args:
        config: of the whole store.
        source: where the images are.
        encoder: as it was loaded.
        device: where to compute.
        listing: of the images.
        numbers: of the shards.
        tick: called with the number of images of each batch.
    """
    encoder.to(device)
    with _reproducible(config, device):
        for number in numbers:
            start = number * config.shard_records
            entries = listing.part(start, start + config.shard_records)
            encode_shard(config, source, number, entries, encoder, tick)


def encode_in_workers(
    config: EncodeConfig,
    source: Path,
    vae: str,
    device: torch.device,
    numbers: list[int],
    tick: Callable[[int], None],
) -> None:
    """Encode shards in ``config.workers`` processes; whichever is free takes the next.

    They are spawned, for a forked process cannot use CUDA, and end when this one does, however it ends.

    Raises:
        ChildProcessError: a process was killed.
    """
    context = multiprocessing.get_context("spawn")
    shared = _Shared(context.Value("q", 0), context.Value("q", 0), context.Value("b", 0))
    job = (config, source, vae, device, shared)
    seen = 0
    with ProcessPoolExecutor(min(config.workers, len(numbers)), context, _begin, job) as pool:
        waiting: set[Future[None]] = {pool.submit(_work, number) for number in numbers}
        try:
            while waiting:
                complete, waiting = wait(waiting, timeout=1.0, return_when=FIRST_COMPLETED)
                new = int(shared.images.value) - seen
                if new:
                    tick(new)
                    seen += new
                for future in complete:
                    future.result()
        except BrokenProcessPool as error:
            remedy = "see whether memory ran out, pass fewer --workers, and run it again: complete shards are kept"
            raise ChildProcessError(explain("workers that live", "one that was killed", remedy)) from error
        finally:
            # The others stop at their next batch.
            shared.stop.value = 1
            pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Shared:
    """Numbers that all workers see: which is the next, how many images are done, whether to stop."""

    workers: Any
    images: Any
    stop: Any


@dataclass
class _Job:
    """What a worker was told when it began, and what it loads when it first has work."""

    config: EncodeConfig
    source: Path
    vae: str
    device: torch.device
    shared: _Shared
    number: int
    ready: dict[str, Any] = field(default_factory=dict)


_JOBS: list[_Job] = []


def _begin(config: EncodeConfig, source: Path, vae: str, device: torch.device, shared: _Shared) -> None:
    """Begin a worker."""
    # Ctrl-C reaches all processes of a terminal; the first one decides what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with shared.workers.get_lock():
        number = int(shared.workers.value)
        shared.workers.value += 1
    _JOBS.append(_Job(config, source, vae, device, shared, number))


def _end_with_parent() -> None:
    """End this process when its parent has ended, by kill -9 too: a new run must not meet an old one at work."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(number: int) -> None:
    """Encode one shard in a worker."""
    (job,) = _JOBS
    device = share_device(job.device, job.number, job.config.workers)
    if not job.ready:
        # Loaded here and not when the worker begins, for here an error reaches the caller as it is.
        job.ready |= {"encoder": load_encoder(job.vae), "listing": Listing(job.config.out / LISTING)}

    def tick(images: int) -> None:
        with job.shared.images.get_lock():
            job.shared.images.value += images
        if job.shared.stop.value:
            raise Stopped

    encode_here(job.config, job.source, job.ready["encoder"], device, job.ready["listing"], [number], tick)


def share_device(device: torch.device, worker: int = 0, workers: int = 1) -> torch.device:
    """Return the device of a worker: CUDA devices go round, over the processes of torchrun and their workers."""
    if str(device) != "cuda":
        return device
    place = int(os.environ.get("LOCAL_RANK", "0")) * workers + worker
    return torch.device("cuda", place % torch.cuda.device_count())


@contextmanager
def _reproducible(config: EncodeConfig, device: torch.device) -> Iterator[None]:
    """Let equal batches give equal bytes, in any process."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    # Sums are divided among threads, whose number would be that of the machine divided by the workers.
    torch.set_num_threads(1)
    tf32 = config.tf32 and device.type == "cuda"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=tf32):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)

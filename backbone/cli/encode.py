"""``sit encode``: images to a latent store."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import tyro

from backbone.data.encode_config import EncodeConfig

if TYPE_CHECKING:
    from backbone.data.encode import Progress
    from backbone.data.manifest import Manifest

__all__ = ["encode"]


def encode(config: Annotated[EncodeConfig, tyro.conf.arg(name="")], verify: bool = False) -> int:
    """Encode class folders of images into a latent store, continue what was begun, or verify a store.

    Exits with status 1 where verification finds something wrong, which is printed.

    Args:
        config: what to encode, and how.
        verify: instead of encoding, read everything in --out and compare it with its manifest; with --vae also whether
            the latents are of that VAE.
    """
    if verify:
        return _verify(config)
    from backbone.data.encode import encode as run
    from backbone.data.store import Store

    shown = _Line()
    found = run(config, shown.show)
    shown.end()
    rate = found.images / found.seconds if found.seconds > 0 else 0.0
    print(f"{found.images} images in {_clock(found.seconds)}, {rate:.4g} per second")
    if found.manifest is None:
        print(f"{config.out} is not complete yet: other machines have shards to encode; the last one completes it")
    else:
        print(f"{config.out} is complete: {_summary(found.manifest)}")
        # Opened as a training does, so that latents of a wrong scale are noticed here.
        Store(config.out)
    return 0


def _verify(config: EncodeConfig) -> int:
    from backbone.data.manifest import Manifest
    from backbone.data.vae import load_encoder
    from backbone.data.verify import verify_store

    wanted = None if config.vae is None else load_encoder(config.vae).sha256
    shown = _Line()
    problems = verify_store(
        config.out, vae_sha256=wanted, progress=lambda done, total: shown.say(f"{done}/{total} shards")
    )
    shown.end()
    for problem in problems:
        print(problem)
    print(f"{config.out} has {len(problems) or 'no'} faults: {_summary(Manifest.read(config.out))}")
    return 1 if problems else 0


def _summary(manifest: Manifest) -> str:
    size = sum(piece.size for piece in manifest.shards) / 2**20
    skipped = f", {manifest.skipped} corrupt images skipped" if manifest.skipped else ""
    return (
        f"{manifest.records} records of {len(manifest.classes)} classes, {manifest.shape} from {manifest.vae_name}, "
        f"{size:.4g} MiB in {len(manifest.shards)} shards{skipped}"
    )


class _Line:
    """Progress on the standard error: one line that changes on a terminal, a line each half minute in a file."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self.next, self.width = 0.0, 0

    def show(self, progress: Progress) -> None:
        share = progress.done / max(1, progress.total)
        left = _clock(progress.remaining) if progress.done else "unknown time"
        self.say(f"{progress.done}/{progress.total} images ({share:.1%}), {progress.rate:.4g} per second, {left} left")

    def say(self, text: str) -> None:
        now = time.monotonic()
        if now >= self.next:
            self.next = now + (0.5 if self.terminal else 30.0)
            print(
                f"\r{text:<{self.width}}" if self.terminal else text, end="" if self.terminal else "\n", file=sys.stderr
            )
            self.width = len(text)
            sys.stderr.flush()

    def end(self) -> None:
        if self.terminal and self.width:
            print(file=sys.stderr)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"

"""``sit reproduce``: the samples of a manifest again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

__all__ = ["reproduce"]


def reproduce(
    manifest: Annotated[Path, tyro.conf.Positional],
    out: Path | None = None,
    checkpoint: Path | None = None,
    vae: Path | None = None,
    batch_size: int | None = None,
    device: str | None = None,
    threads: int | None = None,
    quiet: bool = False,
) -> int:
    """Make the samples of a manifest again and say whether they are the same, bit for bit.

    Exits with status 1 where they are not, and says how far they are apart and what was different this time.

    Args:
        manifest: the manifest.json that sit sample wrote.
        out: folder for the new samples; that of the manifest with -again added when absent.
        checkpoint: where the checkpoint is now, if it has moved.
        vae: where the VAE is now, if it has moved.
        batch_size: another size of the batches.
        device: another device.
        threads: another number of threads.
        quiet: show no progress bar.
    """
    from backbone.sampling.again import reproduce as run
    from backbone.sampling.manifest import table

    found = run(
        manifest,
        out,
        checkpoint=checkpoint,
        vae=vae,
        batch_size=batch_size,
        device=device,
        threads=threads,
        progress=not quiet,
    )
    if found is None:
        return 0
    print(table(found.manifest, found.out), found, sep="\n")
    return 0 if found.identical else 1

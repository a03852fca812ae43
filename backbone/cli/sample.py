"""``sit sample``: a checkpoint to images, latents or npz."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from backbone.sampling.config import SampleConfig

__all__ = ["sample"]

_DEFAULT = SampleConfig()


def sample(
    checkpoint: Annotated[Path, tyro.conf.Positional],
    config: Annotated[SampleConfig, tyro.conf.arg(name="")] = _DEFAULT,
    out: Path = Path("out/samples"),
    wait: float = 1800.0,
    quiet: bool = False,
) -> int:
    """Sample a checkpoint to files, with a manifest that makes them again, and print what was run.

    A run that was stopped goes on where it was when the same command is given again. Under torchrun the processes share
    the work: torchrun --nproc-per-node 8 -m backbone.cli sample CHECKPOINT --num 50000 --format npz. Then sit reproduce
    OUT/manifest.json makes the samples again and says whether they are the same.

    Args:
        checkpoint: the file with the network: of this package, SiT, DiT or REPA.
        config: what is sampled.
        out: folder for the samples, grid.png and manifest.json.
        wait: how many seconds the first process waits for a further part of the others.
        quiet: show no progress bar.
    """
    from backbone.sampling.manifest import table
    from backbone.sampling.run import write_samples

    manifest = write_samples(checkpoint, out, config, progress=not quiet, wait=wait)
    if manifest is not None:
        print(table(manifest, out))
    return 0

"""``sit ema``: an average of another width from the snapshots of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from solvers.errors import explain

__all__ = ["ema"]


def ema(
    folder: Annotated[Path, tyro.conf.Positional],
    sigma_rel: float,
    out: Path,
    step: int | None = None,
    tolerance: float = 0.05,
    force: bool = False,
) -> int:
    """Reconstruct a power-function average of any relative width, write it as a checkpoint, and print how well it fits.

    Args:
        folder: the snapshots of one training.
        sigma_rel: relative width, up to 0.2887; 0.05 is a twentieth of the training.
        out: the safetensors file to write.
        step: number of updates at which the average is wanted; the last that is stored.
        tolerance: the largest accepted error of the profile; above it nothing is written.
        force: overwrite a file.
    """
    from backbone.checkpoints import save_checkpoint
    from backbone.ema import combine, plan_post_hoc

    if out.exists() and not force:
        raise FileExistsError(explain("a file that does not exist", f"{out}, which does", "pass --force to overwrite"))
    snapshots, fit = plan_post_hoc(folder, sigma_rel, step, tolerance=tolerance)
    gamma, at = fit.target.gamma, fit.target.step
    widths = sorted({f"{snapshot.profile.sigma_rel:.4g}" for snapshot in snapshots})
    average = {"sigma_rel": sigma_rel, "gamma": gamma, "step": at, "residual": fit.residual}
    save_checkpoint(out, combine(snapshots, fit.weights), extra=snapshots[-1].extra | {"average": average})
    print(f"read      {folder}: {len(snapshots)} snapshots of width {', '.join(widths)}")
    print(f"average   sigma_rel {sigma_rel:g}, gamma {gamma:.5g}, step {at}")
    print(f"fit       {fit}")
    print(f"written   {out}: {out.stat().st_size:,} bytes")
    return 0

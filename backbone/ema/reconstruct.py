"""An average of any width, after the training, from the snapshots of a few."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor

from backbone.ema.fit import Fit, fit
from backbone.ema.profile import Profile, gamma_of
from backbone.ema.snapshots import Snapshot, find_snapshots
from backbone.layouts import CheckpointError
from backbone.model import SiT
from backbone.shapes import check_shapes
from solvers.errors import explain

__all__ = ["combine", "plan_post_hoc", "post_hoc"]


def post_hoc(
    folder: str | os.PathLike[str], sigma_rel: float, step: int | None = None, *, tolerance: float = 0.05
) -> SiT:
    r"""Return the network averaged with a relative width that need not have been kept in training.

    .. math:: \hat\theta = \sum_i w_i\,\hat\theta_i, \qquad
              w = \arg\min_{\sum w_i = 1} \Bigl\| \sum_i w_i p_i - p_{\gamma,t} \Bigr\|_2

    The files are read one after another, by tensors: however many there are, the sum takes 8 bytes for each weight.

    Args:
        folder: of :func:`backbone.save_snapshot`.
        sigma_rel: relative width in :math:`(0, 1/\sqrt{12}]`.
        step: number of updates t; None is the last that is stored.
        tolerance: the largest accepted ``Fit.error``.

    Returns:
        The network in float32 and in evaluation mode.

    Raises:
        FileNotFoundError: no snapshots.
        ValueError: the fit is worse than the tolerance, as for a width or a step far from those stored.
        CheckpointError: a damaged or foreign file.

    References: Karras et al. (2024), arXiv:2312.02696, section 3.2 and appendix C.
    """
    snapshots, found = plan_post_hoc(folder, sigma_rel, step, tolerance=tolerance)
    return combine(snapshots, found.weights)


def plan_post_hoc(
    folder: str | os.PathLike[str], sigma_rel: float, step: int | None = None, *, tolerance: float = 0.05
) -> tuple[list[Snapshot], Fit]:
    """Return what :func:`backbone.post_hoc` would combine, and how well it would fit; only headers are read.

    Arguments and errors are those of :func:`backbone.post_hoc`.
    """
    gamma = gamma_of(sigma_rel)
    snapshots = find_snapshots(folder)
    target = Profile(gamma, snapshots[-1].profile.step if step is None else step)
    unit = max(snapshot.rounding for snapshot in snapshots)
    found = fit([snapshot.profile for snapshot in snapshots], target, unit=unit)
    if not found.error <= tolerance:
        steps = sorted({snapshot.profile.step for snapshot in snapshots})
        widths = sorted({f"{snapshot.profile.sigma_rel:.4g}" for snapshot in snapshots})
        raise ValueError(
            explain(
                f"a profile that {len(snapshots)} snapshots give to {tolerance:g}",
                f"sigma_rel={sigma_rel:g} at step {target.step}: {found}",
                f"choose a width between those stored ({', '.join(widths)}) and a step that is stored "
                f"({steps[0]} … {steps[-1]}); next time store {_advice(found)}",
            )
        )
    return snapshots, found


def _advice(found: Fit) -> str:
    return "float32 instead of float16" if found.rounding > found.residual else "more often"


def combine(snapshots: Sequence[Snapshot], weights: Sequence[float]) -> SiT:
    """Return the network whose weights are a linear combination, summed in float64 and rounded once to float32.

    Args:
        snapshots: of one network.
        weights: a number for each; files with weight zero are not read.

    Raises:
        CheckpointError: a file lacks a tensor, has another shape, or holds NaN or infinity.
    """
    with torch.device("meta"):
        model = SiT(snapshots[0].config)
    sums = {name: torch.zeros(part.shape, dtype=torch.float64) for name, part in model.state_dict().items()}
    for snapshot, weight in zip(snapshots, weights, strict=True):
        if weight != 0:
            _add(sums, snapshot, weight)
    # Each sum is let go when it has been rounded, so that both copies of the network never stand side by side.
    model.load_state_dict({name: sums.pop(name).float() for name in list(sums)}, strict=True, assign=True)
    return model.eval()


def _add(sums: dict[str, Tensor], snapshot: Snapshot, weight: float) -> None:
    from safetensors import safe_open

    with safe_open(snapshot.path, "pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118, not a mapping
        wanted = {name: tuple(total.shape) for name, total in sums.items()}
        check_shapes(snapshot.path, wanted, shapes, snapshot.config)
        for name, total in sums.items():
            part = file.get_tensor(name)
            if not bool(torch.isfinite(part).all()):
                remedy = "delete this snapshot, which the others can replace"
                raise CheckpointError(explain("finite weights", f"{snapshot.path} with NaN in {name}", remedy))
            total.add_(part, alpha=weight)

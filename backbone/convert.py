r"""Checkpoints of other projects as safetensors of this one, in its direction of time where that is asked for.

SiT's code has :math:`t' = 1 - t` and the velocity :math:`-v`. Both fold into the weights, exactly but for rounding:
the sign into the last layer, and the time into the first, because

.. math:: \cos\omega(1 - t) = \cos\omega\cos\omega t + \sin\omega\sin\omega t, \qquad
          \sin\omega(1 - t) = \sin\omega\cos\omega t - \cos\omega\sin\omega t.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from backbone.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from backbone.embeddings import time_features
from backbone.layouts import Weights, some
from backbone.model import SiT
from solvers.errors import closest, explain

__all__ = ["convert", "named_extra", "turn_time"]


def convert(
    source: Path,
    target: Path,
    *,
    weights: Weights | None = None,
    num_heads: int | None = None,
    schedule: str | None = None,
    prediction: str | None = None,
    reverse_time: bool = False,
    force: bool = False,
) -> str:
    """Write a checkpoint of any layout as safetensors with its config inside; return what was found, to print.

    Args:
        source: file that :func:`backbone.load_checkpoint` reads.
        target: file to write.
        weights: as for :func:`backbone.load_checkpoint`, as is ``num_heads``.
        num_heads: of the attention.
        schedule: name of a built-in schedule, kept in the file.
        prediction: name of a prediction in any case, kept in the file.
        reverse_time: fold t → 1 - t into the weights; see :func:`turn_time`.
        force: overwrite ``target``.

    Raises:
        FileExistsError: ``target`` exists and ``force`` is not set.
        ValueError: an unknown name; ``reverse_time`` without a prediction.
        CheckpointError: as :func:`backbone.load_checkpoint` raises.
    """
    if target.exists() and not force:
        raise FileExistsError(
            explain("a file that does not exist", f"{target}, which does", "pass --force to overwrite")
        )
    named = named_extra(schedule, prediction)
    if reverse_time and prediction is None:
        remedy = "pass --prediction velocity, which changes its sign with time; the others do not"
        raise ValueError(explain("a prediction with --reverse-time", "none", remedy))
    found = load_checkpoint(source, weights=weights, num_heads=num_heads)
    if reverse_time:
        turn_time(found.model, velocity=named["prediction"] == "Velocity")
        named["time_reversed"] = True
    extra = found.extra | named
    save_checkpoint(target, found.model, extra=extra)
    return _report(source, target, found, extra)


@torch.no_grad()
def turn_time(model: SiT, *, velocity: bool) -> None:
    r"""Turn a network of :math:`t' = 1 - t` into that of t, in place.

    Args:
        model: :math:`f(x, t', y)`; it becomes :math:`\pm f(x, 1 - t, y)`.
        velocity: change the sign as well, as a velocity needs because :math:`d/dt' = -d/dt`; of ``both_halves`` that of
            the first.

    Raises:
        ValueError: a flow map, whose intervals would change their ends.
    """
    if model.config.flow_map:
        remedy = "turn the velocity network first, then few_step.as_flow_map(model)"
        raise ValueError(explain("a network of one time", "flow_map=True in its config", remedy))
    config, first = model.config, model.get_parameter("t_embedder.mlp.0.weight")
    one = torch.tensor([getattr(config, "time_scale", 1.0)], dtype=torch.float64, device=first.device)
    cosine, sine = time_features(one, first.shape[1]).chunk(2, dim=1)
    on_cosine, on_sine = first.double().chunk(2, dim=1)
    first.copy_(torch.cat([on_cosine * cosine + on_sine * sine, on_cosine * sine - on_sine * cosine], dim=1))
    if velocity:
        for part in model.final_layer.linear.parameters():
            part.view(-1, config.out_channels, *part.shape[1:])[:, : config.in_channels].neg_()


def named_extra(schedule: str | None, prediction: str | None) -> dict[str, Any]:
    """Return a schedule and a prediction, of which only the names are known, as a checkpoint keeps them.

    Raises:
        ValueError: a name that is not built in.
    """
    from interpolants.prediction import PREDICTIONS
    from interpolants.schedules import by_name

    named: dict[str, Any] = {} if schedule is None else {"schedule": by_name(schedule).to_dict()}
    if prediction is not None:
        choices = {name.lower(): name for name in PREDICTIONS}
        if prediction.lower() not in choices:
            remedy = f"did you mean {closest(prediction, choices)}?"
            raise ValueError(explain(f"a prediction, one of {', '.join(choices)}", repr(prediction), remedy))
        named["prediction"] = choices[prediction.lower()]
    return named


def _report(source: Path, target: Path, found: Checkpoint, extra: dict[str, Any]) -> str:
    parameters = list(found.model.parameters())
    config = ", ".join(f"{name}={value!r}" for name, value in found.model.config.to_dict().items())
    count = sum(part.numel() for part in parameters)
    lines = {
        "read": f"{source}: {found.layout}",
        "network": f"{count:,} parameters in {len(parameters)} tensors, {parameters[0].dtype}".replace("torch.", ""),
        "config": config,
        "left out": f"{len(found.dropped)} tensors: {some(list(found.dropped))}" if found.dropped else "nothing",
        "kept": ", ".join(f"{name}={_short(value)}" for name, value in extra.items()) or "no schedule, no prediction",
        "written": f"{target}: {target.stat().st_size:,} bytes",
    }
    return "\n".join(f"{name:9} {value}" for name, value in lines.items())


def _short(value: Any) -> str:
    """Return what a reader needs of a value of ``extra``: of a schedule its name."""
    return str(value.get("name", f"{len(value)} entries")) if isinstance(value, dict) else str(value)

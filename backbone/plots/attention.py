r"""Where a network looks: attention maps at several times of a sample, and the distance at which each block reads.

The network makes its own input: samples are followed from noise to data along its probability flow, and read on the
way at :math:`x_t`, so that a checkpoint is all that is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbone.attention_maps import attention_distance, attention_maps, uniform_distance
from backbone.checks import check_count
from backbone.config import SiTConfig
from backbone.field import bind
from backbone.model import SiT
from interpolants.plots import COLOURS, style
from interpolants.plots.look import NOISE_FIRST
from solvers.errors import explain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from interpolants import Schedule

__all__ = ["Reading", "attention_page", "check_choice", "distance_curves", "read_attention"]

STEPS = 50
EVERY = 5
MOST = 4


@dataclass(frozen=True)
class Reading:
    """What a network read while it made samples.

    Args:
        config: that of the network.
        times: when the maps were taken.
        states: the first sample at these times, (M, C, …).
        maps: its self-attention, (M, L, K, T, S).
        distance_times: when the distances were taken.
        distances: the attention distance of every block in pixels, the mean over heads and samples, shape (D, L).
    """

    config: SiTConfig
    times: tuple[float, ...]
    states: Tensor
    maps: Tensor
    distance_times: NDArray[np.float64]
    distances: Tensor


def read_attention(
    model: SiT,
    schedule: Schedule,
    *,
    rng: torch.Generator,
    times: Sequence[float] = (0.9, 0.5, 0.1),
    label: int | None = None,
    samples: int = 8,
    prediction: Any = None,
) -> Reading:
    """Make samples with 50 steps of Heun's method and read the network's attention on the way.

    Args:
        model: the network, of images or sequences.
        schedule: the one that it was trained with.
        rng: a torch Generator on the device of the network.
        times: when to keep the maps of the first sample.
        label: of all samples; None is the null class.
        samples: how many the distances are averaged over.
        prediction: what the network predicts; None is ``Velocity``.

    Raises:
        ValueError: a network of vectors, which has no grid of patches, or one whose time is the index of a timestep;
            times outside the schedule's domain; a label out of range.
    """
    from interpolants import Velocity, probability_flow
    from solvers import Heun, steps, uniform

    start, stop = schedule.domain
    check_count("samples", samples)
    _check(model.config, times, (start, stop), label)
    regular = uniform(STEPS, stop, start)
    grid = np.unique(np.concatenate([regular, np.asarray(times, np.float64)]))[::-1]
    field = bind(model, label)
    flow = probability_flow(schedule, field, prediction=Velocity if prediction is None else prediction)
    device = next(model.parameters()).device
    noise = schedule.prior((samples, model.config.in_channels, *model.config.size), rng).to(device, torch.float32)
    kept: dict[float, tuple[Tensor, Tensor]] = {}
    far: dict[float, Tensor] = {}
    with torch.no_grad():
        for time, x in chain([(stop, noise)], ((step.time, step.x) for step in steps(flow, noise, grid, Heun()))):
            if time in times:
                kept[time] = x[0], attention_maps(model, x[:1], time, label)[:, 0]
            if time in regular[::EVERY]:
                maps = attention_maps(model, x, time, label)
                far[time] = attention_distance(maps, model.config).mean(dim=(1, 2))
    states, maps = (torch.stack([kept[time][part] for time in times]).cpu() for part in (0, 1))
    distances = torch.stack(list(far.values())).cpu()
    return Reading(model.config, tuple(times), states, maps, np.array(list(far)), distances)


def _check(config: SiTConfig, times: Sequence[float], domain: tuple[float, float], label: int | None) -> None:
    """Refuse networks without a grid or with timesteps, and times that are never reached."""
    _expect_grid(config)
    if config.timesteps is not None:
        remedy = "read a DiT with attention_maps(model, x, timestep, y)"
        raise ValueError(explain("a network of continuous time", f"one of {config.timesteps} timesteps", remedy))
    if not times or any(not domain[0] <= time <= domain[1] for time in times):
        wanted = f"times from {domain[0]:g}, data, to {domain[1]:g}, noise"
        raise ValueError(explain(wanted, f"{list(times)}", "pass times such as 0.9 0.5 0.1"))
    if label is not None and not 0 <= label <= config.null_class:
        wanted = f"a label 0 … {config.null_class} ({config.null_class} is the null class)"
        raise ValueError(explain(wanted, str(label), "leave it out for the null class"))


def _expect_grid(config: SiTConfig) -> None:
    """Refuse networks of vectors."""
    if not config.grid:
        received = f"a network of vectors of {config.in_channels} numbers, one token without neighbours"
        raise ValueError(explain("a network of images or sequences", received, "there is no attention to look at"))


def distance_curves(ax: Axes, reading: Reading) -> Axes:
    """Draw the attention distance of every block against time, and that of a head that reads all patches alike."""
    from matplotlib import colormaps

    depth = reading.config.depth
    shown = {0, depth // 2, depth - 1} if depth > 8 else set(range(depth))
    for block in range(depth):
        colour = colormaps["viridis"](0.9 * block / max(1, depth - 1))
        label = f"block {block}" if block in shown else f"_block {block}"
        values = reading.distances[:, block].numpy()
        ax.plot(reading.distance_times, values, color=colour, gid=f"block {block}", label=label)
    alike = uniform_distance(reading.config)
    ax.plot(
        reading.distance_times[[0, -1]], [alike, alike], color="0.35", linewidth=1, linestyle=":", label="all alike"
    )
    ax.set(xlim=(max(reading.distance_times), min(reading.distance_times)), xlabel=NOISE_FIRST)
    ax.set(ylabel="attention distance, pixels", title="How far a block reads")
    ax.set_gid("attention distance")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax


def attention_page(
    reading: Reading,
    *,
    patches: Sequence[tuple[int, ...]] = (),
    blocks: Sequence[int] = (),
    heads: Sequence[int] = (),
) -> Figure:
    """Draw what patches read: a row for each of them and each block, a column for each time and head.

    Above are the sample at each time with the patches marked, beside it the attention distance of all blocks. The maps
    of a row share one scale, from zero to their largest weight.

    Args:
        reading: from :func:`read_attention`.
        patches: patches by their row and column, or by their place in a sequence; the one in the middle by default.
        blocks: which blocks; up to four, evenly spread, by default.
        heads: which heads; the first four by default.

    Raises:
        ValueError: patches, blocks or heads that are not there.
    """
    from matplotlib.figure import Figure

    config = reading.config
    patches = patches or [tuple(side // 2 for side in config.grid)]
    blocks = blocks or sorted({round(b) for b in np.linspace(0, config.depth - 1, min(MOST, config.depth))})
    heads = heads or range(min(MOST, config.num_heads))
    check_choice(config, patches, blocks, heads)
    rows, columns = len(patches) * len(blocks), len(reading.times) * len(heads)
    with style():
        side = 0.62
        width, height = side * columns + 0.9, side * rows + 1.9
        figure = Figure(figsize=(width + 5.0, max(height, 3.6)), layout="constrained")
        left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(width, 5.0))[0]
        _maps(left, reading, patches, blocks, heads)
        distance_curves(right.subplots(), reading)
    return figure


def check_choice(
    config: SiTConfig, patches: Sequence[tuple[int, ...]], blocks: Sequence[int], heads: Sequence[int]
) -> None:
    """Refuse patches, blocks and heads that a network lacks; none are the default.

    Raises:
        ValueError: any that is not there; a network of vectors.
    """
    _expect_grid(config)
    for query in patches:
        if len(query) != len(config.grid) or any(not 0 <= i < side for i, side in zip(query, config.grid)):
            last = ",".join(str(side - 1) for side in config.grid)
            wanted = f"patches from {','.join('0' for _ in config.grid)} to {last}"
            raise ValueError(explain(wanted, ",".join(map(str, query)), f"the grid is {config.grid}"))
    for name, chosen, count in (("blocks", blocks, config.depth), ("heads", heads, config.num_heads)):
        if any(not 0 <= index < count for index in chosen):
            raise ValueError(explain(f"{name} 0 … {count - 1}", str(list(chosen)), f"the network has {count}"))


def _maps(
    figure: Any, reading: Reading, patches: Sequence[tuple[int, ...]], blocks: Sequence[int], heads: Sequence[int]
) -> None:
    """Draw the samples and the maps in one grid of panels."""
    grid = _plane(reading.config.grid)
    rows = [(query, block) for query in patches for block in blocks]
    # A narrow column without panels between one time and the next.
    widths = [*[1.0] * len(heads), 0.35] * len(reading.times)
    heights = [2.4, *[1.0] * len(rows)]
    places = figure.add_gridspec(len(heights), len(widths) - 1, width_ratios=widths[:-1], height_ratios=heights)
    for m in range(len(reading.times)):
        first = m * (len(heads) + 1)
        _state(figure.add_subplot(places[0, first : first + len(heads)]), reading, m, patches)
        for r, (query, block) in enumerate(rows, start=1):
            token = int(np.ravel_multi_index(query, reading.config.grid))
            weights = reading.maps[:, block, list(heads), token, : reading.config.tokens]
            for k, head in enumerate(heads):
                ax = figure.add_subplot(places[r, first + k])
                where = f"t = {reading.times[m]:g}, patch {','.join(map(str, query))}"
                picture = weights[m, k].reshape(grid).numpy()
                gid, top = f"block {block}, head {head}, {where}", float(weights.max())
                ax.imshow(picture, vmin=0.0, vmax=top, cmap="Blues", aspect=_aspect(grid), gid=gid)
                _mark(ax, query, 1.0, _colour(patches.index(query)))
                _bare(ax)
                if r == 1:
                    ax.set_title(f"head {head}", fontsize=7, loc="center", pad=2)
                if not m + k:
                    ax.set_ylabel(f"block {block}", rotation=0, ha="right", va="center", fontsize=8)


def _state(ax: Axes, reading: Reading, m: int, patches: Sequence[tuple[int, ...]]) -> None:
    """Draw x_t, of one or three channels as it is and of others their mean, with the patches marked."""
    state, patch = reading.states[m].float(), reading.config.patch_size
    plane = state if state.ndim == 3 else state[:, None]
    if len(plane) == 3:
        ax.imshow((plane.permute(1, 2, 0).numpy() / 2 + 0.5).clip(0, 1))
    else:
        ax.imshow(-plane.mean(0).numpy(), cmap="gray", interpolation="nearest", aspect=_aspect(plane.shape[1:]))
    for index, query in enumerate(patches):
        _mark(ax, query, patch, _colour(index))
    _bare(ax)
    ax.set_title(f"t = {reading.times[m]:g}", loc="center")


def _mark(ax: Axes, query: tuple[int, ...], side: float, colour: str) -> None:
    """Draw a frame around a patch."""
    from matplotlib.patches import Rectangle

    row, column = (0, *query)[-2:]
    height = side if len(query) == 2 else 1.0
    corner = (column * side - 0.5, row * height - 0.5)
    ax.add_patch(Rectangle(corner, side, height, fill=False, edgecolor=colour, linewidth=1.2, clip_on=False))


def _colour(index: int) -> str:
    """Return the colour of a patch; the first of all colours is too near to that of the maps."""
    return COLOURS[1 + index % (len(COLOURS) - 1)]


def _plane(grid: tuple[int, ...]) -> tuple[int, int]:
    """Return the grid as rows and columns; a sequence is one row."""
    return (grid[0], grid[1]) if len(grid) == 2 else (1, grid[0])


def _aspect(shape: Sequence[int]) -> Literal["auto", "equal"]:
    """A single row fills its panel."""
    return "auto" if shape[0] == 1 else "equal"


def _bare(ax: Axes) -> None:
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set(visible=True, color="0.85", linewidth=0.6)

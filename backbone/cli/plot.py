"""``sit plot``: figures with their numbers, a subcommand each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro

from backbone.cli.schedules import Names, schedules

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from interpolants import Schedule
    from interpolants.prediction import Prediction

__all__ = ["plot"]


@dataclass(frozen=True)
class _OfSchedules:
    """A figure of schedules."""

    figure: ClassVar[str]

    names: Names = ()
    """built-in schedules; linear, gvp and vp when nothing is given."""
    alpha: str | None = None
    """data coefficient of a schedule of your own, such as "1 - t**2"."""
    sigma: str | None = None
    """its noise coefficient, such as "t**2"."""
    out: Path | None = None
    """PNG, SVG or PDF file, by its suffix; FIGURE.png when absent."""
    csv: Path | None = None
    """file for the numbers; that of the figure with the suffix .csv when absent."""

    def page(self) -> Figure:
        """Draw it."""
        from interpolants import plots

        return plots.page(self.figure, schedules(self.names, self.alpha, self.sigma))


@dataclass(frozen=True)
class Schedules(_OfSchedules):
    """Draw the coefficients of data and noise and the log-SNR of schedules."""

    figure = "schedules"


@dataclass(frozen=True)
class TransportCost(_OfSchedules):
    """Draw what schedules cost to carry N(0, 1) to N(0, s²), with the bound that none can beat."""

    figure = "transport-cost"


@dataclass(frozen=True)
class PathLength(_OfSchedules):
    """Draw the mean length of the paths from N(0, 1) to N(0, s²), with its bound."""

    figure = "path-length"


@dataclass(frozen=True)
class Bounds(_OfSchedules):
    """Draw the KL bound and the true divergence of a wrong velocity against the multiple of wKL."""

    figure = "bounds"


@dataclass(frozen=True)
class Trajectories(_OfSchedules):
    """Draw the flow lines of schedules from noise to a mixture of two modes."""

    figure = "trajectories"


@dataclass(frozen=True)
class Attention:
    """Draw what patches of an image read in each block and head, at several times, and how far away blocks read.

    The network makes the images itself, so that its checkpoint is all that is needed.

    Args:
        checkpoint: safetensors or .pt file of a network of images or sequences.
        patch: patches as row,column, such as 1,2; the one in the middle when absent.
        times: when to look, from 1, noise, to 0, data.
        blocks: which blocks, from 0; up to four, evenly spread, when absent.
        heads: which heads, from 0; the first four when absent.
        label: what the images show; the null class when absent.
        samples: images that the attention distance is averaged over.
        seed: of the noise that they are made from.
        schedule: name of the schedule of the training, such as linear, where the checkpoint does not have it.
        prediction: what the network predicts, where the checkpoint does not have it; velocity when absent.
        out: PNG, SVG or PDF file, by its suffix; attention.png when absent.
        csv: file for the numbers; that of the figure with the suffix .csv when absent.
    """

    figure: ClassVar[str] = "attention"

    checkpoint: Annotated[Path, tyro.conf.Positional]
    patch: tuple[str, ...] = ()
    times: tuple[float, ...] = (0.9, 0.5, 0.1)
    blocks: tuple[int, ...] = ()
    heads: tuple[int, ...] = ()
    label: int | None = None
    samples: int = 8
    seed: int = 0
    schedule: str | None = None
    prediction: str | None = None
    out: Path | None = None
    csv: Path | None = None

    def page(self) -> Figure:
        """Draw it."""
        import torch

        from backbone.checkpoints import load_checkpoint
        from backbone.plots import attention_page, read_attention
        from backbone.plots.attention import check_choice

        patches = [_place(text) for text in self.patch]
        found = load_checkpoint(self.checkpoint)
        check_choice(found.model.config, patches, self.blocks, self.heads)
        schedule, prediction = self._trained(found.extra)
        reading = read_attention(
            found.model,
            schedule,
            rng=torch.Generator().manual_seed(self.seed),
            times=self.times,
            label=self.label,
            samples=self.samples,
            prediction=prediction,
        )
        return attention_page(reading, patches=patches, blocks=self.blocks, heads=self.heads)

    def _trained(self, extra: dict[str, Any]) -> tuple[Schedule, Prediction]:
        """Return the schedule and the prediction of the training, from the options or else from the checkpoint."""
        from backbone.convert import named_extra
        from interpolants import Schedule, Velocity
        from interpolants.prediction import PREDICTIONS
        from solvers.errors import explain

        known = extra | named_extra(self.schedule, self.prediction)
        if "schedule" not in known:
            received = f"{self.checkpoint}, which has none"
            raise ValueError(explain("a checkpoint with its schedule", received, "add --schedule linear, or its name"))
        return Schedule.from_dict(known["schedule"]), PREDICTIONS.get(known.get("prediction", ""), Velocity)


@dataclass(frozen=True)
class Training:
    """Draw the loss of trainings, and their learning rate, norm of the gradient and what else was written down.

    Args:
        runs: folders or files of trainings: log.jsonl, or report.json of sit demo.
        out: PNG, SVG or PDF file, by its suffix; training.png when absent.
        csv: file for the numbers; that of the figure with the suffix .csv when absent.
    """

    figure: ClassVar[str] = "training"

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    out: Path | None = None
    csv: Path | None = None

    def page(self) -> Figure:
        """Draw it."""
        from backbone.plots import read_runs, training_page

        return training_page(read_runs(self.runs))


def _place(text: str) -> tuple[int, ...]:
    """Return the place of a patch that is written as row,column."""
    from solvers.errors import explain

    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(explain("a patch as row,column", repr(text), "write --patch 1,2")) from None


Page = Schedules | TransportCost | PathLength | Bounds | Trajectories | Attention | Training


def plot(page: tyro.conf.OmitArgPrefixes[tyro.conf.OmitSubcommandPrefixes[Page]]) -> int:
    """Draw a figure, write its numbers beside it, and say where both are.

    Args:
        page: what to draw; sit plot FIGURE --help has the options of each.
    """
    from interpolants import plots
    from interpolants.plots.pages import expect_format

    out = Path(f"{page.figure}.png") if page.out is None else page.out
    expect_format(out)
    print(*plots.save(page.page(), out, page.csv), sep="\n")
    return 0

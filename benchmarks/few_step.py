r"""How good are one step and few on digits? MeanFlow, Improved MeanFlow, shortcut, consistency; 50 steps of Heun.

One network of the demonstration's size per objective. A velocity network is trained first; the others continue it,
which is stated in their row as ``from``, or begin anew. Samples are judged as in the demonstration: the share in which
a classifier fitted on held-out digits sees the digit asked for, and the Fréchet distance of pixels to the held-out
digits; mean and standard deviation over seeds of the noise. Trained networks are kept under ``out/few_step``, so that a
run that was stopped goes on: ``--only NAME`` trains one and stops. Delete the folder for a run from the beginning.
``seconds`` of training are those of the wall, of one thread on a machine that may be shared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import arguments, record
from torch import Tensor

from backbone import SiT, conditional_accuracy, frechet_distance, load_checkpoint, sample, save_checkpoint, train
from backbone.data.arrays import Arrays
from backbone.data.digits import Digits, DigitsClassifier, fit_classifier, load_digits
from backbone.demo.digits import MODEL, training
from backbone.few_step import (
    Consistency,
    ImprovedMeanFlow,
    MeanFlow,
    Shortcut,
    as_flow_map,
    sample_consistency,
    sample_flow_map,
)
from backbone.losses import Loss
from interpolants import Linear, Objective
from interpolants.plots import style
from solvers import Euler, Heun, Solution, uniform

SCHEDULE = Linear()
FOLDER = Path("out/few_step")
IMAGES = Path(__file__).parents[1] / "docs" / "images"
BATCH = 64


@dataclass(frozen=True)
class Variant:
    """An objective, how it is trained, and how it is sampled.

    Attributes:
        name: in the table.
        loss: of the velocity network, for a teacher.
        steps: of training, after those of the velocity where it continues it.
        rate: the largest learning rate.
        origin: ``"velocity"``, or ``""`` for new weights.
        draw: a function of network, labels, generator and number of steps.
        counts: numbers of steps to sample with.
    """

    name: str
    loss: Callable[[SiT], Objective | Loss]
    steps: int
    rate: float
    origin: str
    draw: Callable[[SiT, Tensor, torch.Generator, int], Solution]
    counts: tuple[int, ...] = (1, 2, 4)


def along_velocity(model: SiT, labels: Tensor, rng: torch.Generator, n: int) -> Solution:
    """Sample the probability flow: by Heun's method in 50 steps, in fewer by Euler's, whose one step is x − v(x, 1)."""
    return sample(model, labels, schedule=SCHEDULE, rng=rng, ts=uniform(n), method=Heun() if n == 50 else Euler())


def along_map(model: SiT, labels: Tensor, rng: torch.Generator, n: int) -> Solution:
    """Sample along a flow map."""
    return sample_flow_map(model, labels, schedule=SCHEDULE, rng=rng, ts=uniform(n))


def renewed(model: SiT, labels: Tensor, rng: torch.Generator, n: int) -> Solution:
    """Sample a consistency model with new noise between the steps."""
    return sample_consistency(model, labels, schedule=SCHEDULE, rng=rng, ts=uniform(n))


WARM = 150 * BATCH
VARIANTS = (
    Variant("velocity", lambda _: Objective(SCHEDULE), 1500, 4e-3, "", along_velocity, (50, 1, 2, 4)),
    Variant("MeanFlow", lambda _: MeanFlow(SCHEDULE), 600, 2e-3, "velocity", along_map),
    Variant("Improved MeanFlow", lambda _: ImprovedMeanFlow(SCHEDULE), 600, 2e-3, "velocity", along_map),
    Variant("shortcut", lambda _: Shortcut(SCHEDULE), 800, 2e-3, "velocity", along_map),
    Variant(
        "consistency of a teacher",
        lambda v: Consistency(SCHEDULE, warmup=WARM, teacher=v),
        600,
        2e-3,
        "velocity",
        renewed,
    ),
    Variant("consistency of data", lambda _: Consistency(SCHEDULE, warmup=WARM), 600, 2e-3, "velocity", renewed),
    Variant("MeanFlow, new weights", lambda _: MeanFlow(SCHEDULE), 900, 4e-3, "", along_map),
)


def trained(variant: Variant, data: Digits, folder: Path, steps: int | None) -> tuple[SiT, dict[str, Any]]:
    """Return the averaged network of a variant and how it was trained, from the folder if it is there."""
    file = folder / f"{variant.name.replace(' ', '_').replace(',', '')}.safetensors"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        continued = trained(VARIANTS[0], data, folder, steps)[0] if variant.origin else None
        model = _network(variant, continued)
        recipe = dataclasses.replace(
            training(steps or variant.steps, 0), batch_size=BATCH, learning_rate=variant.rate, clip_norm=1.0
        )
        loss = variant.loss(model if continued is None else continued)
        result = train(model, Arrays(data.images, data.labels), recipe, objective=loss)
        kept = {"train_steps": recipe.steps, "rate": variant.rate, "seconds": round(result.seconds, 1)}
        save_checkpoint(file, result.averaged, extra=kept)
    found = load_checkpoint(file)
    return found.model, found.extra


def _network(variant: Variant, continued: SiT | None) -> SiT:
    """Return the network to train: a flow map for what samples along one, and attention with a forward mode."""
    if continued is None:
        return SiT(dataclasses.replace(MODEL, attention="math", flow_map=variant.draw is along_map))
    if variant.draw is along_map:
        return as_flow_map(continued)
    twin = SiT(continued.config)
    twin.load_state_dict(continued.state_dict())
    return twin


def rows_of(
    variant: Variant, model: SiT, extra: dict[str, Any], judge: DigitsClassifier, data: Digits, per: int, seeds: int
) -> list[dict[str, Any]]:
    """Return a row for each number of steps: mean and standard deviation over the seeds."""
    labels, rows = torch.arange(10).repeat_interleave(per), []
    for n in variant.counts:
        scores = []
        for seed in range(seeds):
            solution = variant.draw(model, labels, torch.Generator().manual_seed(seed + 1), n)
            scores.append(judged(solution.x, labels, judge, data))
        place = {"objective": variant.name, "from": variant.origin, "steps": n}
        place |= {"method": method_of(variant, n), "nfe": solution.nfe}
        found = {}
        for name in scores[0]:
            values = [score[name] for score in scores]
            found |= {name: float(np.mean(values)), f"{name} spread": float(np.std(values, ddof=1))}
        rows.append(place | found | extra)
    return rows


def judged(images: Tensor, labels: Tensor, judge: DigitsClassifier, data: Digits) -> dict[str, float]:
    """Return accuracy, Fréchet distance, and the variance of pixels within a class over that of the digits."""
    return {
        "accuracy": conditional_accuracy(judge, images, labels),
        "frechet": frechet_distance(images.flatten(1), data.held_out_images.flatten(1)),
        "within": _within(images, labels) / _within(data.images, data.labels),
    }


def _within(images: Tensor, labels: Tensor) -> float:
    return float(torch.stack([images[labels == k].flatten(1).var(dim=0).mean() for k in range(10)]).mean())


def method_of(variant: Variant, n: int) -> str:
    """Return what a number of steps of a variant is called."""
    steps = f"{n} step{'s' if n > 1 else ''}"
    if variant.draw is not along_velocity:
        return steps
    return f"{steps} of {'Heun' if n == 50 else 'Euler'}"


def blocks(networks: dict[str, SiT]) -> list[tuple[str, Tensor]]:
    """Return what the figure shows: for each method its samples from the same noise, two rows of each digit twice."""
    labels = torch.arange(10).repeat_interleave(2).repeat(2)
    shown = []
    for variant in VARIANTS:
        for n in variant.counts[:2] if variant.draw is along_velocity else variant.counts[:1]:
            drawn = variant.draw(networks[variant.name], labels, torch.Generator().manual_seed(1), n).x
            shown.append((f"{variant.name}\n{method_of(variant, n)}", drawn))
    return shown


def figure(shown: list[tuple[str, Tensor]], file: Path) -> None:
    """Draw a row block for each method: every digit four times, two above two, from the same noise in all blocks."""
    from matplotlib.figure import Figure

    with style():
        page = Figure(figsize=(8.5, 0.95 * len(shown)), layout="constrained")
        for index, (ax, (name, drawn)) in enumerate(zip(page.subplots(len(shown), 1), shown)):
            tiles = torch.nn.functional.pad(drawn[:, 0], (1, 1, 1, 1), value=-1.0)
            rows = [torch.cat(list(row), dim=1) for row in tiles.chunk(2)]
            ax.imshow(-torch.cat(rows).clamp(-1, 1).numpy(), cmap="gray", interpolation="nearest")
            ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
            ax.set_yticks([])
            ax.set_xticks([20 * k + 9.5 for k in range(10)], [str(k) for k in range(10)] if index == 0 else [""] * 10)
            ax.xaxis.tick_top()
            ax.tick_params(length=0)
            ax.grid(False)
            for spine in ax.spines.values():
                spine.set_visible(False)
        page.savefig(file)


def run(folder: Path, steps: int | None, per: int, seeds: int) -> tuple[list[dict[str, Any]], dict[str, SiT]]:
    """Train what is not trained yet; return the rows and the networks."""
    data = load_digits()
    judge = fit_classifier(data.held_out_images, data.held_out_labels)
    rows: list[dict[str, Any]] = [
        {"objective": "real training digits", **judged(data.images, data.labels, judge, data)}
    ]
    networks: dict[str, SiT] = {}
    for variant in VARIANTS:
        networks[variant.name], extra = trained(variant, data, folder, steps)
        rows += rows_of(variant, networks[variant.name], extra, judge, data, per, seeds)
    return rows, networks


def main() -> None:
    """Run the study."""
    options = arguments(__doc__ or "", only="train the variant of this name, keep it and stop")
    torch.set_num_threads(1)
    if options.only:
        (variant,) = (variant for variant in VARIANTS if variant.name == options.only)
        print(trained(variant, load_digits(), FOLDER, None)[1])
        return
    if options.smoke:
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as folder:
            rows, networks = run(Path(folder), 2, 2, 2)
            figure(blocks(networks), Path(folder) / "few_step.png")
    else:
        rows, networks = run(FOLDER, None, 100, 4)
        if options.save:
            figure(blocks(networks), IMAGES / "few_step.png")
    record("few_step", rows, ("torch", "numpy", "scikit-learn"), options.save)


if __name__ == "__main__":
    main()

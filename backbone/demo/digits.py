"""The practice half of the demonstration: train a small SiT on real digits, sample it four ways, judge the samples."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backbone.checkpoints import save_checkpoint
from backbone.config import SiTConfig
from backbone.data.arrays import Arrays
from backbone.data.digits import Digits, DigitsClassifier, fit_classifier, load_digits
from backbone.evaluate import conditional_accuracy, frechet_distance
from backbone.model import SiT
from backbone.plots import Run, training_page
from backbone.sample import sample
from backbone.train import TrainConfig, TrainResult, train
from interpolants import Linear, Objective, Schedule
from interpolants import diffusion as w
from interpolants.plots import style
from solvers import uniform

__all__ = ["MODEL", "run", "table", "training"]

MODEL = SiTConfig(
    input_size=8, patch_size=2, in_channels=1, hidden_size=96, depth=4, num_heads=4, num_classes=10, learn_sigma=False
)

# wKL is infinite at t = 1 under the linear schedule, and Euler–Maruyama evaluates where a step begins.
SAMPLERS: tuple[tuple[str, w.DiffusionCoefficient | None, int, float], ...] = (
    ("ODE, Heun", None, 25, 1.0),
    ("SDE, w = σ", w.Sigma(), 100, 1.0),
    ("SDE, w = sin²(πt)", w.SinSquared(), 100, 1.0),
    ("SDE, w = KL", w.KL(), 100, 0.99),
)


def training(steps: int, seed: int) -> TrainConfig:
    """Return the recipe that this small network and data set need; the defaults are those of ImageNet."""
    return TrainConfig(
        steps=steps,
        batch_size=64,
        learning_rate=4e-3,
        warmup_steps=min(50, max(1, steps // 10)),
        decay="cosine",
        ema_decay=0.99,
        seed=seed,
    )


def run(out: Path, *, seed: int, steps: int, samples: int) -> dict[str, Any]:
    """Train, save ``digits.safetensors``, draw ``digits.png`` and ``training.png``; return the numbers."""
    data, schedule = load_digits(), Linear()
    judge = fit_classifier(data.held_out_images, data.held_out_labels)
    torch.manual_seed(seed)
    recipe = training(steps, seed)
    result = train(SiT(MODEL), Arrays(data.images, data.labels), recipe, objective=Objective(schedule), progress=True)
    model = result.averaged.eval()
    extra = {"schedule": schedule.to_dict(), "prediction": "Velocity", "training": recipe.to_dict()}
    save_checkpoint(out / "digits.safetensors", model, extra=extra)
    labels = torch.arange(10).repeat_interleave(samples // 10)
    rows, images = [], []
    for name, choice, n, start in SAMPLERS:
        drawn, row = _draw(model, labels, schedule, choice, n, start, seed)
        images.append((name, drawn))
        rows.append({"sampler": name, **row, **_judge(judge, drawn, labels, data)})
    _training_figure(result, out)
    _samples_figure(images, labels, out)
    held_out, seen = data.held_out_images, data.images
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "training": {**recipe.to_dict(), "seconds": round(result.seconds, 1)},
        "loss_curve": _curve(result.losses),
        "classifier_cross_validated_accuracy": judge.accuracy,
        "classifier_accuracy_on_training_digits": conditional_accuracy(judge, seen, data.labels),
        "frechet_train_to_held_out": frechet_distance(seen.flatten(1), held_out.flatten(1)),
        "samples": samples,
        "samplers": rows,
    }


def _draw(
    model: SiT,
    labels: Tensor,
    schedule: Schedule,
    choice: w.DiffusionCoefficient | None,
    n: int,
    start: float,
    seed: int,
) -> tuple[Tensor, dict[str, Any]]:
    began = time.perf_counter()
    rng = torch.Generator().manual_seed(seed + 1)
    solution = sample(model, labels, schedule=schedule, rng=rng, ts=uniform(n, start=start), w=choice)
    row = {"steps": n, "start": start, "nfe": solution.nfe, "seconds": round(time.perf_counter() - began, 2)}
    return solution.x, row


def _judge(judge: DigitsClassifier, drawn: Tensor, labels: Tensor, data: Digits) -> dict[str, float]:
    distance = frechet_distance(drawn.flatten(1), data.held_out_images.flatten(1))
    return {"accuracy": conditional_accuracy(judge, drawn, labels), "frechet_to_held_out": distance}


def _curve(losses: Sequence[float], points: int = 100) -> list[dict[str, float]]:
    """Means of the loss over equal stretches of the training."""
    parts = np.array_split(np.asarray(losses), min(points, len(losses)))
    ends = np.cumsum([len(part) for part in parts])
    return [{"step": int(end), "loss": float(part.mean())} for end, part in zip(ends, parts)]


def _training_figure(result: TrainResult, out: Path) -> None:
    run = Run(
        "SiT on digits", np.arange(1, len(result.losses) + 1, dtype=np.float64), {"loss": np.array(result.losses)}
    )
    figure = training_page([run])
    with style():
        figure.savefig(out / "training.png")


def _samples_figure(images: Sequence[tuple[str, Tensor]], labels: Tensor, out: Path, columns: int = 8) -> None:
    """One panel per sampler: row k holds samples that were asked to be the digit k."""
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(3.1 * len(images), 4.3), layout="constrained")
        for ax, (name, drawn) in zip(figure.subplots(1, len(images)), images):
            rows = [drawn[labels == k][:columns, 0] for k in range(10)]
            tiles = [torch.nn.functional.pad(row, (1, 1, 1, 1), value=-1.0) for row in rows]
            page = torch.cat([torch.cat(list(row), dim=1) for row in tiles])
            ax.imshow(-page.clamp(-1, 1).numpy(), cmap="gray", interpolation="nearest")
            ax.set_title(name)
            ax.set_yticks([10 * k + 4.5 for k in range(10)], [str(k) for k in range(10)])
            ax.set_xticks([])
            ax.tick_params(length=0)
            ax.grid(False)
            for spine in ax.spines.values():
                spine.set_visible(False)
        figure.supylabel("requested digit", fontsize=10)
        figure.savefig(out / "digits.png")


def table(report: dict[str, Any]) -> str:
    """Return the samplers' figures as an aligned text table."""
    lines = [f"{'sampler':<20}{'steps':>6}{'NFE':>6}{'seconds':>9}{'accuracy':>10}{'Fréchet':>9}"]
    for row in report["samplers"]:
        numbers = f"{row['steps']:>6}{row['nfe']:>6}{row['seconds']:>9.1f}"
        lines.append(f"{row['sampler']:<20}{numbers}{row['accuracy']:>10.3f}{row['frechet_to_held_out']:>9.3f}")
    real = report["classifier_accuracy_on_training_digits"]
    lines.append(f"{'real training digits':<41}{real:>10.3f}{report['frechet_train_to_held_out']:>9.3f}")
    return "\n".join(lines)

r"""How many bits per dimension does the demonstration's network need for digits, and does it come back from noise?

Two networks of the recipe of ``sit demo`` are trained and kept, with their logs, under ``out/digits_likelihood``: one
on the digits as they are, ``values``, and one on digits with uniform noise in their bins of 1/8, ``dequantised``, drawn
anew for every image of every epoch. Parts: ``baseline``, simple models with the same noise; ``round trip`` and encoding
errors by method and number of evaluations, in float64; ``noise``, how far encoded digits are from N(0, I); ``classes``,
the label of the largest likelihood; ``bits`` of both networks on digits that they saw and on held-out ones, with the
exact divergence and with Hutchinson's estimate for the same noise; ``draws``, the bound with several draws.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import arguments, record
from scipy import stats
from torch import Tensor

from backbone import (
    Levels,
    ModelFlow,
    SiT,
    TrainConfig,
    dequantised_bits,
    load_checkpoint,
    log_marginal,
    save_checkpoint,
    train,
)
from backbone.data.arrays import Arrays
from backbone.data.digits import Digits, load_digits
from backbone.demo.digits import MODEL, training
from interpolants import Linear, Objective
from solvers import RK4, Adaptive, Dopri5, Euler, Heun, power, uniform
from solvers.likelihood import LogLikelihood, bits_per_dimension, rademacher_probes

Row = dict[str, Any]
LEVELS, DIMENSIONS, SCHEDULE = Levels(17), 64, Linear()
KEPT = Path(__file__).resolve().parents[1] / "out" / "digits_likelihood"


@dataclass(frozen=True)
class Size:
    """How much is computed."""

    steps: int = 1500
    grid: int = 10
    exact: int = 32
    estimated: int = 599
    draws: int = 8
    trips: int = 16
    classes: int = 50


SMOKE = Size(steps=2, grid=1, exact=2, estimated=4, draws=2, trips=2, classes=3)


def generator(seed: int) -> torch.Generator:
    """Return a generator of its own for each use, so that parts do not depend on each other."""
    return torch.Generator().manual_seed(seed)


def network(name: str, data: Digits, recipe: TrainConfig, kept: Path | None) -> SiT:
    """Return a trained network; one that was kept is read again if its recipe is the same."""
    file = None if kept is None else kept / name / "digits.safetensors"
    if file is not None and file.is_file():
        found = load_checkpoint(file)
        if found.extra.get("training") == recipe.to_dict():
            return found.model.requires_grad_(False)
    images, labels = data.images, data.labels
    if name == "dequantised":
        epochs = math.ceil(recipe.steps * recipe.batch_size / len(images))
        images, labels = images.repeat(epochs, 1, 1, 1), labels.repeat(epochs)
        images = LEVELS.dequantise(images, generator(0))
    torch.manual_seed(recipe.seed)
    result = train(SiT(MODEL), Arrays(images, labels), recipe, objective=Objective(SCHEDULE))
    model = result.averaged.eval()
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        extra = {"schedule": SCHEDULE.to_dict(), "prediction": "Velocity", "training": recipe.to_dict()}
        save_checkpoint(file, model, extra=extra)
        lines = [
            json.dumps({"step": step + 1, "loss": loss, "lr": recipe.learning_rate_at(step)})
            for step, loss in enumerate(result.losses)
        ]
        (file.parent / "log.jsonl").write_text("\n".join(lines) + "\n")
    return model.requires_grad_(False)


def bits_rows(models: dict[str, SiT], data: Digits, size: Size) -> Iterator[Row]:
    """Yield the bits of both networks, exact on some digits and estimated on many, beginning with the same ones."""
    sets = {"training": (data.images, data.labels), "held out": (data.held_out_images, data.held_out_labels)}
    for name, model in models.items():
        # The network of the values has its mass near them, and a stiff flow at the data.
        flow = ModelFlow(model, SCHEDULE, power(size.grid * (2 if name == "values" else 1), 2.0, 0.0, 1.0))
        for part, (images, labels) in sets.items():
            for count, probes in ((size.exact, 0), (size.exact, 2), (size.estimated, 2)):
                if name == "values" and (count > size.exact or part == "training"):
                    continue
                x, y = shuffled(images, labels, count)
                drawn = rademacher_probes(x, probes, generator(2)) if probes else None
                found = dequantised_bits(flow, x, y, levels=LEVELS, rng=generator(1), probes=drawn)
                terms = {term: float(value.mean()) for term, value in found.terms.items()}
                place = {"part": "bits", "network": name, "digits": part, "count": count, "probes": probes}
                yield place | errors(found.found[0], found.single) | terms | {"nfe": found.found[0].nfe}


def errors(found: LogLikelihood, bits: Tensor) -> Row:
    """Return the mean of bits with the standard errors of digits and probes."""
    _, probe, _ = found.mean()
    unit = DIMENSIONS * math.log(2.0)
    return {"bits": float(bits.mean()), "standard error": spread(bits), "probe error": probe / unit if probe else 0.0}


def spread(values: Tensor) -> float:
    """Return the standard error of a mean."""
    return float(values.std()) / math.sqrt(len(values))


def shuffled(images: Tensor, labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the first digits of a fixed order, in which the labels are mixed."""
    order = torch.randperm(len(images), generator=generator(7))[:count]
    return images[order], labels[order]


def draws_row(model: SiT, data: Digits, size: Size) -> Row:
    """Return the bounds with one draw and with K, for the same digits, and the error of their difference."""
    x, y = shuffled(data.held_out_images, data.held_out_labels, size.exact)
    flow = ModelFlow(model, SCHEDULE, power(size.grid, 2.0, 0.0, 1.0))
    found = dequantised_bits(flow, x, y, levels=LEVELS, rng=generator(1), draws=size.draws)
    gap = found.single - found.bound
    values = {"one": float(found.single.mean()), "several": float(found.bound.mean()), "gap": float(gap.mean())}
    return {"part": "draws", "count": size.exact, "draws": size.draws, **values, "standard error": spread(gap)}


def baseline_rows(data: Digits, size: Size) -> Iterator[Row]:
    """Yield what simple models of the training digits need for the held-out ones."""
    labels, held = data.labels.numpy(), data.held_out_labels.numpy()
    seen, rest = (LEVELS.whole(images).flatten(1).numpy() for images in (data.images, data.held_out_images))
    place = {"part": "baseline", "count": len(rest)}
    yield place | {"model": "all levels alike", "bits": math.log2(LEVELS.count), "standard error": 0.0}
    for model, groups in (("", (np.zeros_like(labels), np.zeros_like(held))), (" of each label", (labels, held))):
        bits = np.empty(len(rest))
        for label in np.unique(groups[1]):
            # Half a count for every level, Krichevsky & Trofimov's estimate, so that none is impossible.
            counts = 0.5 + np.stack([(seen[groups[0] == label] == level).sum(0) for level in range(LEVELS.count)])
            chances = np.log2(counts / counts.sum(0))
            mine = groups[1] == label
            bits[mine] = -np.take_along_axis(chances.T[None], rest[mine][:, :, None], 2)[..., 0].mean(1)
        yield place | {"model": f"a histogram of each pixel{model}", **mean(bits)}
        yield place | {"model": f"a Gaussian{model}", **mean(gaussian_bits(data, groups, draws=1))}
        yield place | {
            "model": f"a Gaussian{model}, {size.draws} draws",
            **mean(gaussian_bits(data, groups, size.draws)),
        }


def gaussian_bits(data: Digits, groups: tuple[np.ndarray, np.ndarray], draws: int) -> np.ndarray:
    """Return the bits of Gaussians fitted to dequantised digits: a mean for each group, one covariance for all."""
    seen = LEVELS.dequantise(data.images.double(), generator(0)).flatten(1).numpy()
    means = np.stack([seen[groups[0] == group].mean(0) for group in range(groups[0].max() + 1)])
    law = stats.multivariate_normal(np.zeros(DIMENSIONS), np.cov((seen - means[groups[0]]).T))
    rng, held_out = generator(1), data.held_out_images.double()
    rest = [LEVELS.dequantise(held_out, rng).flatten(1).numpy() for _ in range(draws)]
    log_p = np.stack([law.logpdf(x - means[groups[1]]) for x in rest])
    bits: np.ndarray = bits_per_dimension(log_p, DIMENSIONS, LEVELS.count, LEVELS.interval)
    return bits


def mean(bits: np.ndarray) -> Row:
    """Return a mean and its standard error."""
    return {"bits": float(bits.mean()), "standard error": float(bits.std(ddof=1) / math.sqrt(len(bits)))}


def trip_rows(model: SiT, data: Digits, size: Size) -> Iterator[Row]:
    """Yield the errors of encoding and of the way there and back, root mean squares over pixels and digits."""
    x, y = shuffled(data.held_out_images, data.held_out_labels, size.trips)
    x, double = LEVELS.dequantise(x.double(), generator(1)), SiT(model.config).double().eval()
    double.load_state_dict(model.state_dict())
    flow = ModelFlow(double, SCHEDULE)
    tight = replace(flow, ts=[0.0, 1.0], method=Adaptive(Dopri5(), rtol=1e-9, atol=1e-9)).encode(x, y).x
    counts = [5, 10, 20, 40, 80][: 2 if size is SMOKE else None]
    cases: list[tuple[str, Any, Any]] = [
        (type(method).__name__, uniform(n, 0.0, 1.0), method) for method in (Euler(), Heun(), RK4()) for n in counts
    ]
    tolerances = [1e-2, 1e-3, 1e-4, 1e-5, 1e-6][: 2 if size is SMOKE else None]
    cases += [("Dopri5, adaptive", [0.0, 1.0], Adaptive(Dopri5(), rtol=tol, atol=tol)) for tol in tolerances]
    for name, ts, method in cases:
        trip = replace(flow, ts=ts, method=method).round_trip(x, y)
        there = float((trip.noise - tight).square().mean().sqrt())
        back = float(trip.error.square().mean().sqrt())
        yield {"part": "round trip", "method": name, "nfe": trip.nfe, "round trip": back, "encoding": there}


def noise_rows(model: SiT, data: Digits, size: Size) -> Iterator[Row]:
    """Yield |x₁|² of encoded digits, which is χ² with 64 degrees for N(0, I): mean, Kolmogorov–Smirnov, moments."""
    flow = ModelFlow(model, SCHEDULE, power(2 * size.grid, 2.0, 0.0, 1.0))
    sets = {"training": (data.images, data.labels), "held out": (data.held_out_images, data.held_out_labels)}
    for part, (images, labels) in sets.items():
        x, y = shuffled(images, labels, size.estimated)
        noise = flow.encode(LEVELS.dequantise(x, generator(1)), y).x.double().flatten(1)
        squares = noise.square().sum(1)
        distance, p = stats.kstest(squares.numpy(), stats.chi2(DIMENSIONS).cdf)
        pooled = stats.kstest(noise.flatten().numpy(), stats.norm.cdf).statistic
        values = {"mean square": float(squares.mean()), "standard error": spread(squares)}
        values |= {"KS of the square": float(distance), "p": float(p), "KS of all coordinates": float(pooled)}
        yield {"part": "noise", "digits": part, "count": len(x), **values}


def class_row(model: SiT, data: Digits, size: Size) -> Row:
    """Return how often the likelihood is largest for the true label, by one probe that serves all labels."""
    x, y = shuffled(data.held_out_images, data.held_out_labels, size.classes)
    x = LEVELS.dequantise(x, generator(1))
    flow = ModelFlow(model, SCHEDULE, power(max(1, size.grid // 2), 2.0, 0.0, 1.0))
    by_class = flow.log_likelihood_by_class(x, probes=rademacher_probes(x, 1, generator(2)))
    right = (by_class.argmax(1) == y).double()
    given = by_class.gather(1, y[:, None])[:, 0]
    more = (given - log_marginal(by_class)) / (DIMENSIONS * math.log(2.0))
    values = {"accuracy": float(right.mean()), "standard error": spread(right)}
    return {"part": "classes", "count": size.classes, **values, "bits that the label saves": float(more.mean())}


def main() -> None:
    """Train, or read what was trained, and run the parts."""
    options = arguments(__doc__ or "")
    size, kept = (SMOKE, None) if options.smoke else (Size(), KEPT)
    data, recipe = load_digits(), training(size.steps, 0)
    models = {name: network(name, data, recipe, kept) for name in ("values", "dequantised")}
    model = models["dequantised"]
    rows = [
        *baseline_rows(data, size),
        *trip_rows(model, data, size),
        *noise_rows(model, data, size),
        class_row(model, data, size),
        *bits_rows(models, data, size),
        draws_row(model, data, size),
    ]
    record("digits_likelihood", rows, ("numpy", "scipy", "scikit-learn", "torch"), options.save)


if __name__ == "__main__":
    main()

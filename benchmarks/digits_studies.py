"""Studies at the scale of digits: what the choices of SiT do to a network that trains in minutes on a CPU.

A study trains its variants (``digits_variants.py``), each once and in a folder of its own, samples their averaged
networks and judges the samples by the share that a classifier of the held-out digits recognises and by the Fréchet
distance to these, for several seeds of the noise. What was trained or measured already is not made again.

    python benchmarks/digits_studies.py nfe           # one study, or several by name; all without a name
    python benchmarks/digits_studies.py --save        # all, into benchmarks/results/digits_studies.json
    python benchmarks/digits_studies.py --commands    # what trains each variant

Then ``python docs/studies_figures.py`` draws the figures.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from digits_sampling import COEFFICIENTS, Sampler, Trained, judge, learned_cost
from digits_variants import STEPS, STUDIES, command, config
from record import record

from backbone import conditional_accuracy, frechet_distance
from backbone.data.digits import Digits, DigitsClassifier, fit_classifier, load_digits
from backbone.files import write_text
from backbone.train.log import read_log
from backbone.train.run import run

Row = dict[str, Any]


@dataclass(frozen=True)
class Budget:
    """How much is spent; ``counts`` are the evaluations of the study of NFE."""

    steps: int = STEPS
    samples: int = 100
    seeds: tuple[int, ...] = (1, 2)
    counts: tuple[int, ...] = (10, 20, 50, 100, 250, 500)
    coarse: tuple[int, ...] = (8, 16, 32, 64)
    nfe: int = 50
    noisy: int = 100
    paths: int = 256


SMOKE = Budget(steps=2, samples=10, counts=(4, 6), coarse=(4,), nfe=4, noisy=4, paths=10)


def samplers(study: str, variant: str, budget: Budget) -> list[Sampler]:
    """Return how a study samples a variant."""
    flow, common = Sampler("heun", budget.nfe), Sampler("ddim", budget.nfe)
    sde = Sampler("em", budget.noisy, "sigma")
    match study:
        case "dit-to-sit":
            # The velocity of a noise prediction is infinite at the data, where a step of Heun's method ends.
            own = {"dit": [Sampler("ddpm", budget.noisy)], "continuous": []}
            return [common, *own.get(variant, [flow, sde])]
        case "longer":
            return [common, Sampler("ddpm", budget.noisy) if variant.startswith("dit") else sde]
        case "nfe" | "wall-clock" if variant == "dit":
            return [Sampler(method, n) for method in ("ddim", "ddpm") for n in budget.counts]
        case "nfe" | "wall-clock":
            flows = [Sampler("heun", n) for n in budget.counts]
            return flows + [Sampler("em", n, "sigma") for n in budget.counts]
        case "solver":
            return [Sampler(method, n) for method in ("euler", "heun", "rk4") for n in budget.coarse]
        case "w-and-size":
            # wKL is infinite at t = 1 under Linear and GVP; every w begins at the same time.
            return [flow, *(Sampler("em", budget.noisy, w, start=0.99) for w in COEFFICIENTS)]
        case "transport":
            return [Sampler("euler", n) for n in budget.coarse[:3]] + [flow]
        case _:
            return [flow]


class Lab:
    """The folder of all runs, and what is known in it.

    Args:
        out: the folder.
        budget: of trainings and samples.
    """

    def __init__(self, out: Path, budget: Budget) -> None:
        self.out, self.budget = out, budget
        self.trained: dict[str, Trained] = {}

    @cached_property
    def digits(self) -> Digits:
        """The data."""
        return load_digits()

    @cached_property
    def classifier(self) -> DigitsClassifier:
        """The judge, which knows the held-out digits alone."""
        return fit_classifier(self.digits.held_out_images, self.digits.held_out_labels)

    def train(self, name: str) -> Trained:
        """Return a variant, trained now unless it was."""
        if name not in self.trained:
            if run(config(name, self.out, self.budget.steps), progress=sys.stderr.isatty()).stopped:
                sys.exit(f"{name} was stopped; the same command goes on from here")
            self.trained[name] = Trained.read(self.out / name)
        return self.trained[name]

    def training(self, name: str) -> Row:
        """Return what its log says of a training."""
        whole, trained = config(name, self.out, self.budget.steps), self.train(name)
        rows = [row for row in read_log(self.out / name / "log.jsonl") if "loss" in row]
        last = [row["loss"] for row in rows[-max(1, len(rows) // 10) :]]
        # The median, because a step may have waited for other work or for a machine that slept.
        spent = statistics.median(whole.training.batch_size / row["images_per_second"] for row in rows) * len(rows)
        count = sum(part.numel() for part in trained.model.parameters())
        place = {"part": "training", "variant": name, "parameters": count, "steps": whole.training.steps}
        found = {"batch": whole.training.batch_size, "loss": statistics.fmean(last), "seconds": spent}
        return place | found | {"command": command(name, self.out, self.budget.steps)}

    def sampling(self, name: str, sampler: Sampler) -> Row:
        """Return the means over the seeds, with standard errors, and the CPU seconds for a sample."""
        budget = self.budget
        found = self._known(
            name,
            f"{sampler.slug}-{budget.samples}x{len(budget.seeds)}",
            lambda: judge(self.train(name), sampler, self.classifier, self.digits, budget.samples, budget.seeds),
        )
        row: Row = {"part": "sampling", "variant": name, **asdict(sampler), "samples": budget.samples}
        row |= {"seeds": len(budget.seeds)}
        for key in ("accuracy", "frechet"):
            values = [one[key] for one in found]
            row |= {key: statistics.fmean(values), f"{key} error": statistics.stdev(values) / math.sqrt(len(values))}
        # The least, because the first draw of a process also builds the coefficients of a schedule.
        return row | {"seconds": min(one["seconds"] for one in found)}

    def cost(self, name: str) -> Row:
        """Return the transport cost of a variant."""
        n = self.budget.paths
        found = self._known(name, f"cost-{n}", lambda: learned_cost(self.train(name), self.digits, n, 32))
        return {"part": "transport", "variant": name, **found}

    def floor(self) -> Row:
        """Return what real digits of the training set score, in draws as large as those of samples."""
        rng, digits = torch.Generator().manual_seed(0), self.digits
        rows = []
        for _ in range(10):
            kept = torch.randperm(len(digits.images), generator=rng)[: self.budget.samples]
            images, labels = digits.images[kept], digits.labels[kept]
            accuracy = conditional_accuracy(self.classifier, images, labels)
            rows.append((accuracy, frechet_distance(images.flatten(1), digits.held_out_images.flatten(1))))
        accuracy, frechet = (statistics.fmean(column) for column in zip(*rows))
        errors = [statistics.stdev(column) / math.sqrt(len(rows)) for column in zip(*rows)]
        place = {"part": "floor", "accuracy": accuracy, "accuracy error": errors[0]}
        return place | {"frechet": frechet, "frechet error": errors[1], "samples": self.budget.samples}

    def _known(self, name: str, key: str, make: Any) -> Any:
        """Return what a file of the variant's folder holds, made now unless it was."""
        file = self.out / name / "measured" / f"{key}.json"
        if not file.exists():
            found = make()
            file.parent.mkdir(parents=True, exist_ok=True)
            write_text(file, json.dumps(found) + "\n")
        return json.loads(file.read_text())


def trainings(studies: Sequence[str]) -> list[str]:
    """Return the variants of the studies, each once."""
    return list(dict.fromkeys(name for study in studies for name in STUDIES[study]))


def samplings(studies: Sequence[str], budget: Budget) -> list[tuple[str, Sampler]]:
    """Return the variants of the studies with their samplers, each pair once and the cheap ones first."""
    pairs = ((study, name) for study in studies for name in STUDIES[study])
    found = dict.fromkeys((name, sampler) for study, name in pairs for sampler in samplers(study, name, budget))
    return sorted(found, key=lambda pair: pair[1].nfe)


def rows_of(lab: Lab, studies: Sequence[str]) -> Iterator[Row]:
    """Yield every row of the studies: what real digits score, trainings, samplings, costs."""
    yield lab.floor()
    for name in trainings(studies):
        yield lab.training(name)
    for name, sampler in samplings(studies, lab.budget):
        yield lab.sampling(name, sampler)
    if "transport" in studies:
        for name in STUDIES["transport"]:
            yield lab.cost(name)


def main() -> None:
    """Run the studies that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", metavar="STUDY", help=f"of {', '.join(STUDIES)}; all when absent")
    parser.add_argument("--out", type=Path, default=Path("out/studies"), help="folder of the runs")
    parser.add_argument("--smoke", action="store_true", help="a run of seconds; the numbers mean nothing")
    parser.add_argument("--save", action="store_true", help="write the record under benchmarks/results")
    parser.add_argument("--commands", action="store_true", help="print what trains each variant, and stop")
    options = parser.parse_args()
    wrong = [name for name in options.studies if name not in STUDIES]
    if wrong or (options.save and (options.studies or options.smoke)):
        parser.error(f"no study {wrong[0]!r}" if wrong else "--save keeps all studies together: name none, no --smoke")
    studies = options.studies or list(STUDIES)
    torch.set_num_threads(1)
    if options.commands:
        for name in trainings(studies):
            print(command(name, options.out))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            lab = Lab(Path(scratch), SMOKE) if options.smoke else Lab(options.out, Budget())
            record("digits_studies", list(rows_of(lab, studies)), ("torch", "numpy", "scikit-learn"), options.save)


if __name__ == "__main__":
    main()

"""``sit evaluate``: how good samples are."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import tyro

__all__ = ["evaluate"]


def evaluate(
    samples: Annotated[Path, tyro.conf.Positional],
    reference: Path,
    features: str | None = None,
    device: str = "cpu",
    batch: int = 64,
    split: int = 5000,
    shuffle: int | None = None,
    k: int = 3,
    allow_small: bool = False,
    json_file: Annotated[Path | None, tyro.conf.arg(name="json", aliases=["--json-file"])] = None,
    save_statistics: Path | None = None,
) -> int:
    """Print FID, sFID, Inception score, precision and recall of samples, as far as features and reference allow.

    Args:
        samples: an npz with arr_0, uint8 (N, H, W, C), or a folder of PNG.
        reference: the same, or an npz with the statistics mu, sigma, mu_s and sigma_s, or with both as those of ADM.
        features: the file of an Inception network, "pixels", or module:attribute; see docs/evaluation.md.
        device: where the network runs, such as cuda.
        batch: images that the network sees at once.
        split: images in a split of the Inception score.
        shuffle: seed of a permutation before the splits; when absent, the images stay in order.
        k: neighbours of precision and recall.
        allow_small: measure Fréchet distances of fewer images than features.
        json_file: also write the numbers here, with all that defines them.
        save_statistics: also write the statistics of the reference here, as an npz for the next time.
    """
    from backbone.evaluate import Options, compare, extractor, open_images, open_reference
    from solvers.errors import explain

    options = Options(split=split, shuffle=shuffle, k=k, allow_small=allow_small)
    network = extractor(features, device)
    against = open_reference(reference)
    if save_statistics is not None and against.statistics is not None:
        remedy = "copy them from there"
        raise ValueError(explain("a reference of images, to save statistics of", f"{reference} has its own", remedy))
    progress = _show if sys.stderr.isatty() else None
    report, statistics = compare(open_images(samples), against, network, options, batch=batch, progress=progress)
    print(report.table())
    print(
        *(f"warning: {warning}" for warning in report.warnings),
        sep="\n",
        end="\n" * bool(report.warnings),
        file=sys.stderr,
    )
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(report.to_dict(), indent=1) + "\n")
    if save_statistics is not None:
        statistics.save(save_statistics)
    return 0


def _show(name: str, done: int, count: int) -> None:
    print(f"\r{name}: {done} of {count}", end="\n" * (done == count), file=sys.stderr, flush=True)

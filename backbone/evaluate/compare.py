"""Samples against a reference: one pass over each set, then every number that the features allow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from backbone.checks import check_count
from backbone.evaluate.features import Extractor
from backbone.evaluate.frechet import frechet_bias
from backbone.evaluate.gather import Gathered, Progress, Reference, gather
from backbone.evaluate.images import Images
from backbone.evaluate.manifold import precision_recall
from backbone.evaluate.report import Measured, Report
from backbone.evaluate.score import inception_score
from backbone.evaluate.statistics import Statistics
from solvers.errors import explain

__all__ = ["Options", "compare"]

# Below the first an FID is of little use, and from the second on its bias is a good part of it.
_FEW, _SHARE = 10_000, 0.05


@dataclass(frozen=True, slots=True)
class Options:
    """What the numbers depend on beside the images and the features.

    Attributes:
        split: images of one split of the Inception score.
        shuffle: seed of a permutation before the splits, or None for the order of the samples.
        k: neighbours of precision and recall.
        allow_small: measure Fréchet distances of no more images than features, whose covariances are singular.
    """

    split: int = 5000
    shuffle: int | None = None
    k: int = 3
    allow_small: bool = False

    def __post_init__(self) -> None:
        for name in ("split", "k"):
            check_count(name, getattr(self, name))


def compare(
    samples: Images,
    reference: Reference,
    extractor: Extractor,
    options: Options | None = None,
    *,
    batch: int = 64,
    progress: Progress | None = None,
) -> tuple[Report, Statistics]:
    """Measure all that the features and the reference allow: FID, sFID, Inception score, precision, recall.

    Fréchet distances are to the stored statistics of the reference where it has them, as in the ADM suite, and else to
    its images. Precision and recall need images of the reference.

    Args:
        samples: the images to judge.
        reference: what to compare with.
        extractor: the features.
        options: splits, neighbours and the like.
        batch: images that the network sees at once.
        progress: called with the name of the set, the images done and their number.

    Returns:
        the report, and the statistics of the reference that it used.

    Raises:
        ValueError: sets that are too small, or features that do not fit the statistics or are not finite.
    """
    chosen = options or Options()
    check_count("batch", batch)
    _expect_fit(samples, reference, extractor, chosen)
    real = None
    if reference.images is not None:
        real = gather(reference.images, extractor, batch, rows=True, progress=progress, name="reference")
    drawn = gather(samples, extractor, batch, rows=real is not None, progress=progress, name="samples")
    statistics = reference.statistics
    if statistics is None and real is not None:
        statistics = Statistics.of(real.pool, real.spatial, extractor.name)
    if statistics is None:
        raise ValueError(explain("a reference with images or statistics", "neither", "use open_reference(path)"))
    metrics = _metrics(drawn, real, statistics, chosen)
    report = Report(
        metrics=metrics,
        samples={"source": samples.source, **drawn.to_dict()},
        reference={
            "source": reference.source,
            "statistics": "computed" if reference.statistics is None else "stored",
            "statistics_count": statistics.count,
            "images": None if real is None else real.to_dict(),
        },
        features={"name": extractor.name, "notes": dict(extractor.notes), **drawn.widths()},
        options=asdict(chosen),
        warnings=tuple(_warnings(drawn, real, statistics, metrics, chosen)),
    )
    return report, statistics


def _expect_fit(samples: Images, reference: Reference, extractor: Extractor, options: Options) -> None:
    """Refuse before the long passes what could only fail after them."""
    first = extractor(next(samples.batches(1)))
    width, statistics = first.pool.shape[1], reference.statistics
    widest = max(width, 0 if first.spatial is None else first.spatial.shape[1])
    counts = {"samples": samples.count}
    if reference.images is not None:
        other = extractor(next(reference.images.batches(1))).pool.shape[1]
        if other != width:
            remedy = f"give images of one size; they are {samples.shape} and {reference.images.shape}"
            raise ValueError(explain("features of one width", f"{width} and {other}", remedy))
        for name, count in (("samples", samples.count), ("reference images", reference.images.count)):
            if count <= options.k:
                raise ValueError(explain(f"more than k = {options.k} {name}", str(count), "give more, or a smaller k"))
    if statistics is None:
        counts["reference images"] = reference.images.count if reference.images is not None else 0
    else:
        if statistics.features not in (None, extractor.name):
            received = f"of {statistics.features} in {reference.source}"
            raise ValueError(explain(f"statistics of {extractor.name}", received, "use the features they are of"))
        if len(statistics.mu) != width:
            received = f"{len(statistics.mu)} in {reference.source}"
            raise ValueError(explain(f"statistics of {width} features", received, "use the features they are of"))
    for name, count in counts.items():
        if count < 2 or (count <= widest and not options.allow_small):
            remedy = "give more images, or measure a distance of singular Gaussians with --allow-small"
            raise ValueError(explain(f"more {name} than the {widest} features, for a covariance", str(count), remedy))


def _metrics(drawn: Gathered, real: Gathered | None, stored: Statistics, options: Options) -> dict[str, Measured]:
    own = Statistics.of(drawn.pool, drawn.spatial)
    count = float("inf") if stored.count is None else stored.count
    metrics = {"fid": Measured(own.fid(stored), bias=frechet_bias(stored.sigma, drawn.pool.count, count))}
    sfid = own.sfid(stored)
    if sfid is not None and stored.sigma_s is not None:
        metrics["sfid"] = Measured(sfid, bias=frechet_bias(stored.sigma_s, drawn.pool.count, count))
    else:
        side = "features" if own.mu_s is None else "reference statistics"
        metrics["sfid"] = Measured(absent=f"the {side} have no spatial part")
    if drawn.logits is None:
        metrics["inception_score"] = Measured(absent="the features have no logits")
    else:
        score, deviation = inception_score(drawn.logits, split=options.split, shuffle=options.shuffle)
        metrics["inception_score"] = Measured(score, deviation=deviation)
    if real is None or real.rows is None or drawn.rows is None:
        precision = recall = Measured(absent="the reference has no images")
    else:
        precision, recall = map(Measured, precision_recall(drawn.rows, real.rows, k=options.k))
    return metrics | {"precision": precision, "recall": recall}


def _warnings(
    drawn: Gathered, real: Gathered | None, stored: Statistics, metrics: dict[str, Measured], options: Options
) -> Iterator[str]:
    for name, count in (("samples", drawn.pool.count), ("reference", stored.count)):
        if count is not None and count < _FEW:
            yield f"{name}: {count} images; FID is biased upwards, and published ones are of 50,000 samples"
    fid = metrics["fid"]
    if fid.value is not None and fid.bias is not None and fid.bias > _SHARE * fid.value:
        yield f"FID {fid.value:.4g}: two Gaussian sets of these sizes would already have {fid.bias:.4g}"
    if drawn.logits is not None and drawn.pool.count < options.split:
        yield f"Inception score: one split of {drawn.pool.count} images, not of {options.split}"
    if stored.features is None:
        yield "the reference does not say which features its statistics are of"
    if real is not None and real.sha256 == drawn.sha256:
        yield "samples and reference are the same images"
    elif real is not None and real.shape != drawn.shape:
        yield f"samples are {drawn.shape} and reference images {real.shape}: the network resizes them differently"

"""What do the numbers of an evaluation cost at the size of a published one, in time and in memory?

Features are drawn, not computed: 50,000 rows of 2048 for FID's moments, one distance in 2048 dimensions, and precision
and recall of 10,000 rows against 10,000. Beside each is the usual way: numpy.cov of all rows, scipy.linalg.sqrtm as in
the published FIDs, and torch.cdist with kthvalue. Both ways must agree. Each case is a process of its own, twice by
turns, and the faster counts; "peak_mb" is the memory that it needs beyond what was there before, its input included
(Linux, which can forget an earlier peak).
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray
from record import arguments, record

from backbone.evaluate import Moments, gaussian_frechet_distance, precision_recall

Floats = NDArray[Any]


def rows(count: int, width: int, seed: int) -> Floats:
    """Return features like those behind a rectifier, in float32, correlated a little."""
    drawn = np.random.default_rng(seed).standard_normal((count, width), np.float32)
    drawn[:, 1:] += 0.5 * drawn[:, :-1]
    return np.abs(drawn, out=drawn)


def streamed(x: Floats) -> Floats:
    """Return the covariance, from batches of 64 rows."""
    moments = Moments(x.shape[1])
    for start in range(0, len(x), 64):
        moments.update(x[start : start + 64])
    return moments.covariance


def whole(x: Floats) -> Floats:
    """Return the covariance of all rows at once, in float64."""
    return np.cov(x.astype(np.float64), rowvar=False)


def ours(pair: tuple[Floats, Floats]) -> Floats:
    """Return the distance by the nuclear norm of the product of the roots."""
    zero = np.zeros(len(pair[0]))
    return np.array([gaussian_frechet_distance(zero, pair[0], zero, pair[1])])


def by_sqrtm(pair: tuple[Floats, Floats]) -> Floats:
    """Return the distance by the root of the product."""
    return np.array([np.trace(pair[0] + pair[1] - 2 * scipy.linalg.sqrtm(pair[0] @ pair[1]).real)])


def neighbours(pair: tuple[Floats, Floats]) -> Floats:
    """Return precision and recall."""
    return np.array(precision_recall(*pair))


def by_cdist(pair: tuple[Floats, Floats]) -> Floats:
    """Return precision and recall from all distances in float64, which torch takes from products of matrices too."""
    a, b = (torch.from_numpy(x).double() for x in pair)
    radii_a, radii_b = (torch.cdist(x, x).kthvalue(4).values for x in (a, b))
    between = torch.cdist(a, b)
    inside = ((between <= radii_b).any(1), (between <= radii_a[:, None]).any(0))
    return np.array([float(found.double().mean()) for found in inside])


def covariances(width: int) -> tuple[Floats, Floats]:
    """Return two covariances with full rank."""
    return whole(rows(4 * width, width, 0)), whole(1.1 * rows(4 * width, width, 1))


def one_set(count: int, width: int) -> Floats:
    """Return samples."""
    return rows(count, width, 0)


def sets(count: int, width: int) -> tuple[Floats, Floats]:
    """Return samples and references."""
    return rows(count, width, 0), rows(count, width, 1)


def run(function: Callable[[Any], Floats], make: Callable[..., Any], sizes: tuple[int, ...]) -> dict[str, Any]:
    """Time the function on its input and return seconds, peak and answer."""
    given = make(*sizes)
    Path("/proc/self/clear_refs").write_text("5")  # the peak becomes what is there now
    before = _kilobytes("VmRSS")
    began = time.perf_counter()
    answer = function(given)
    spent = time.perf_counter() - began
    return {"seconds": spent, "peak_mb": (_kilobytes("VmHWM") - before) / 1024, "answer": answer}


def _kilobytes(name: str) -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])


def main() -> None:
    """Run each way in a process of its own, compare the answers and record."""
    options = arguments(__doc__ or "")
    many, few, width = (4000, 500, 64) if options.smoke else (50_000, 10_000, 2048)
    cases: list[tuple[str, Callable[..., Any], tuple[int, ...], Callable[..., Floats], Callable[..., Floats]]] = [
        (f"moments of {many} x {width}", one_set, (many, width), streamed, whole),
        (f"distance, d = {width}", covariances, (width,), ours, by_sqrtm),
        (f"precision and recall, {few} x {width}", sets, (few, width), neighbours, by_cdist),
    ]
    lines = []
    for name, make, sizes, first, second in cases:
        found = []
        for function in (first, second) * (1 if options.smoke else 2):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found.append(pool.apply(run, (function, make, sizes)))
        for one, again in zip(found[:2], found[2:]):
            one["seconds"] = min(one["seconds"], again["seconds"])
        if not np.allclose(found[0]["answer"], found[1]["answer"], rtol=1e-6, atol=1e-8):
            raise RuntimeError(f"{name}: {found[0]['answer']} and {found[1]['answer']}")
        for function, one in zip((first, second), found):
            lines.append({"case": name, "way": function.__name__} | {key: one[key] for key in ("seconds", "peak_mb")})
    record("evaluate", lines, ("numpy", "scipy", "torch"), options.save)


if __name__ == "__main__":
    main()

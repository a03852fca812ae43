"""What is recorded of the digits: it agrees with itself, and what is quick to compute is computed again."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from backbone.data.digits import load_digits

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def rows():
    return json.loads((ROOT / "benchmarks/results/digits_likelihood.json").read_text())["rows"]


def part(rows, name, **wanted):
    return [row for row in rows if row["part"] == name and all(row[key] == value for key, value in wanted.items())]


def test_a_histogram_of_each_pixel_by_hand(rows):
    """The recorded bits are those of counts and a loop over levels, half a count being added to each."""
    data = load_digits()
    seen, held = (np.rint((images.numpy().reshape(-1, 64) + 1) * 8) for images in (data.images, data.held_out_images))
    total = 0.0
    for level in range(17):
        chance = ((seen == level).sum(0) + 0.5) / (len(seen) + 8.5)
        total -= float(((held == level) * np.log2(chance)).sum())
    (row,) = part(rows, "baseline", model="a histogram of each pixel")
    assert row["bits"] == pytest.approx(total / held.size, rel=1e-9)
    (row,) = part(rows, "baseline", model="all levels alike")
    assert row["bits"] == pytest.approx(math.log(17) / math.log(2))


def test_terms_add_up_and_the_bins_are_three_bits(rows):
    """Prior, change of variables and −log2(1/8) are the bits of every row."""
    for row in part(rows, "bits"):
        assert row["bins"] == 3
        assert row["prior"] + row["change of variables"] + row["bins"] == pytest.approx(row["bits"], abs=1e-5)


def test_the_estimate_agrees_with_the_exact_divergence(rows):
    """On the same digits with the same noise they differ by no more than five errors of the probes."""
    exact = part(rows, "bits", probes=0)
    assert len(exact) == 3
    for row in exact:
        same = {key: row[key] for key in ("network", "digits", "count")}
        (estimate,) = part(rows, "bits", probes=2, **same)
        assert 0 < estimate["probe error"] < 0.05
        assert abs(estimate["bits"] - row["bits"]) < 5 * estimate["probe error"]


def test_several_draws_tighten_the_bound(rows):
    """With one draw the bits are those of the exact row, within the errors of noise; with K they are fewer."""
    (row,) = part(rows, "draws")
    (exact,) = part(rows, "bits", network="dequantised", digits="held out", probes=0)
    assert abs(row["one"] - exact["bits"]) < 0.1
    assert row["gap"] == pytest.approx(row["one"] - row["several"], abs=1e-5)
    assert row["gap"] > 3 * row["standard error"]


def test_round_trips_have_their_orders(rows):
    """From 40 to 80 steps errors fall as n^-1, n^-3 and n^-5 there and back, and at least as n^-p one way."""
    for method, order, stages in (("Euler", 1, 1), ("Heun", 2, 2), ("RK4", 4, 4)):
        found = part(rows, "round trip", method=method)
        assert [row["nfe"] for row in found] == [2 * stages * n for n in (5, 10, 20, 40, 80)]
        both, one_way = (math.log2(found[3][key] / found[4][key]) for key in ("round trip", "encoding"))
        assert both == pytest.approx(order + (order % 2 == 0), abs=0.2)
        assert one_way > order - 0.2


@pytest.mark.slow
def test_the_benchmark_runs():
    """--smoke trains for two steps and goes through all parts."""
    script = ROOT / "benchmarks" / "digits_likelihood.py"
    run = subprocess.run([sys.executable, str(script), "--smoke"], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    for word in ("baseline", "round trip", "noise", "classes", "bits", "draws"):
        assert f"\n{word} " in f"\n{run.stdout}"

"""The page of costs and the record of a training step: what they say follows from what was counted and measured."""

import json
from pathlib import Path

import pytest
from test_generated import script

ROOT = Path(__file__).resolve().parents[2]


def test_costs_are_those_of_the_arithmetic():
    """SiT-XL/2 takes 711.7 GFLOP for an image, so that 173 images/s are 12 % of an H100; hours follow by division."""
    costs = script(ROOT / "docs/cost_tables.py")
    assert costs.per_image("sit-xl-2-256") == pytest.approx(711.7e9, rel=1e-3)
    # 400,000 · 256 / (173 · 8) seconds; 64 devices are 57.6 of one, by assumption.
    assert costs.hours("sit-xl-2-256", 400_000, 173, 8) == pytest.approx(102_400_000 / 1384 / 3600)
    assert costs.hours("sit-xl-2-256", 400_000, 173, 64) == pytest.approx(102_400_000 / (173 * 57.6) / 3600)
    small, large = (costs.hours(name, 1000, 173, 1) for name in ("sit-s-2-256", "sit-xl-2-256"))
    assert large / small == pytest.approx(118.6 / 6.06, rel=2e-3)
    ((text,),) = [[row.astext() for row in costs.PublicThroughput.build(None) if "REPA" in row.astext()]]
    assert "12%" in text


def test_a_step_spends_its_time_in_the_network():
    """Shares of a step are positive and add up; in the record of SiT-S/2 at most 3 % are outside of the network."""
    step = script(ROOT / "benchmarks/training_step.py")
    row = step.measure("digits", step.DIGITS, 4, 2)
    parts = [row[part] for part in (*step.PARTS, "loss and loop")]
    assert min(parts) > 0
    assert sum(parts) == pytest.approx(1.0)
    assert row["outside"] == pytest.approx(sum(row[part] for part in ("data", "draws", "log", "loss and loop")))
    rows = json.loads((ROOT / "benchmarks/results/training_step.json").read_text())["rows"]
    (measured,) = [row for row in rows if row["case"].startswith("SiT-S/2")]
    assert measured["outside"] <= 0.03

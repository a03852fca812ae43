"""The numbers that the page of founding systems says: counted, or computed from elsewhere."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from backbone import dit, sit
from backbone.flops import forward_flops
from backbone.sizes import SIZES

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "founding.md").read_text(encoding="utf-8")
COUNTS = json.loads((ROOT / "tests" / "facts" / "sit_parameter_counts.json").read_text(encoding="utf-8"))

LAST = ("Consistency models", "What summaries say otherwise")


@pytest.mark.parametrize("size", ["S/2", "B/2", "L/2", "XL/2"])
def test_parameters_are_those_of_the_published_networks(size):
    """SiT and DiT of a size, built without weights, have the published counts, and the page prints them."""
    for build, name in ((sit, f"SiT-{size}"), (dit, f"DiT-{size}")):
        with torch.device("meta"):
            parameters = list(build(name).parameters())
        counts = {
            "total": sum(p.numel() for p in parameters),
            "trainable": sum(p.numel() for p in parameters if p.requires_grad),
        }
        assert counts == COUNTS[f"SiT-{size}"]
    (line,) = re.findall(rf"^SiT-{size}\s+([\d,]+)\s+([\d,]+)\s", PAGE, re.MULTILINE)
    assert [int(number.replace(",", "")) for number in line] == [*counts.values()]


def test_the_smallest_network_has_33_million_parameters_by_hand():
    """Counted from the paper's shapes: 12 blocks of width 384, 1001 classes, patches of 2 × 2 × 4."""
    d, tokens, patch, out = 384, 256, 16, 32
    block = (3 * d * d + 3 * d) + (d * d + d) + (4 * d * d + 4 * d) + (4 * d * d + d) + (6 * d * d + 6 * d)
    embeddings = (patch * d + d) + (256 * d + d) + (d * d + d) + 1001 * d
    final = (2 * d * d + 2 * d) + (out * d + out)
    trained = 12 * block + embeddings + final
    assert (trained, trained + tokens * d) == (COUNTS["SiT-S/2"]["trainable"], COUNTS["SiT-S/2"]["total"])
    assert f"{trained + tokens * d:,}, of which {trained:,} are trained" in PAGE


@pytest.mark.parametrize(
    ("conditioning", "published"),
    [("adaln-zero", 118.6), ("adaln", 118.6), ("cross-attention", 137.6), ("in-context", 119.4)],
)
def test_conditionings_cost_what_dit_reports(conditioning, published):
    """Multiplications and additions of XL/2 are those of DiT's section 5 to its rounding and that of the norms."""
    counted = forward_flops(replace(SIZES["SiT-XL/2"], conditioning=conditioning)) / 2e9
    assert abs(counted - published) < 0.11
    assert f"published {published}" in PAGE


def test_seven_million_steps_are_1400_epochs():
    """7M steps of 256 images over ImageNet's 1,281,167 are 1400 passes to the hundred, not 300."""
    assert round(7e6 * 256 / 1_281_167, -2) == 1400
    assert re.search(r"300 epochs \| .*1400 \|", PAGE)


def test_the_page_has_the_published_table_of_the_recipes():
    """FIDs of SiT after 400,000 steps are those that the recipe of each size quotes."""
    for size, ode, sde in re.findall(r"^\| SiT-(\w+)/2 \| 400K \| ([\d.]+) \| ([\d.]+) \|", PAGE, re.MULTILINE):
        recipe = (ROOT / "configs" / "imagenet" / f"sit-{size.lower()}-2-256.toml").read_text(encoding="utf-8")
        assert ode in recipe
        assert sde in recipe


def test_every_system_has_a_section():
    """SiT twice, DiT, Edifice, both MeanFlows, consistency models, and what the summaries say otherwise."""
    heads = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    for wanted in ("SiT, the paper", "SiT, the code", "DiT", "Edifice", "MeanFlow and Improved MeanFlow", *LAST):
        assert wanted in heads


def test_every_recipe_that_the_page_names_exists():
    """Files of configs/ and benchmarks/ in commands are there."""
    files = set(re.findall(r"(?:configs|benchmarks)/[\w/.-]+\.(?:toml|py)", PAGE))
    assert len(files) >= 4
    assert [file for file in files if not (ROOT / file).exists()] == []

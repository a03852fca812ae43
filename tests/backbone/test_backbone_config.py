"""The network's shape as data."""

import dataclasses
import json
import re

import pytest
from training_support import PAPER

from backbone import SiTConfig, TrainConfig, sit
from backbone.sizes import SIZES, named_config


def test_a_config_survives_json():
    """from_dict(to_dict) through JSON text gives an equal config, and absent fields keep their defaults."""
    config = SiTConfig(input_size=8, hidden_size=64, num_heads=4, learn_sigma=False, class_dropout=0.25)
    assert SiTConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert SiTConfig.from_dict({}) == SiTConfig() == SIZES["SiT-XL/2"]


def test_an_unknown_key_is_refused_with_the_closest_field():
    """from_dict refuses a misspelt field and names the right one."""
    with pytest.raises(ValueError, match=r"expected fields.*received 'hiden_size'; remedy: closest: 'hidden_size'"):
        SiTConfig.from_dict({"hiden_size": 64})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"input_size": 33}, r"input_size divisible by patch_size; received input_size=33, patch_size=2; .*32 or 34"),
        ({"input_size": 2, "patch_size": 8}, r"input_size divisible by patch_size.*use input_size=8,"),
        ({"hidden_size": 100, "num_heads": 3}, r"hidden_size divisible by num_heads.*99 or 102"),
        ({"hidden_size": 18, "num_heads": 2}, r"hidden_size divisible by 4; received 18; .*use 20"),
        ({"depth": 0}, r"depth to be an integer ≥ 1; received 0"),
        ({"depth": True}, r"depth to be an integer ≥ 1; received True"),
        ({"patch_size": 2.0}, r"patch_size to be an integer ≥ 1; received 2\.0"),
        ({"num_classes": -1}, r"num_classes to be an integer ≥ 0; received -1"),
        ({"mlp_ratio": 0.0}, r"mlp_ratio > 0; received 0\.0"),
        ({"mlp_ratio": float("nan")}, r"mlp_ratio > 0; received nan"),
        ({"learn_sigma": 1}, r"learn_sigma True or False; received 1"),
        ({"class_dropout": 1.5}, r"class_dropout in \[0, 1\]; received 1\.5"),
        ({"class_dropout": "0.1"}, r"class_dropout in \[0, 1\]; received '0\.1'"),
    ],
)
def test_a_bad_shape_is_refused(fields, expected):
    """Every field out of range is refused with what was expected, what came and a remedy."""
    with pytest.raises(ValueError, match="expected .*" + expected) as caught:
        SiTConfig(**fields)
    assert "; remedy: " in str(caught.value)


def test_the_sizes_suggested_are_accepted():
    """A size that an error suggests is itself accepted."""
    for field in ("input_size", "hidden_size"):
        bad = {"input_size": 35, "patch_size": 8} if field == "input_size" else {"hidden_size": 150, "num_heads": 4}
        with pytest.raises(ValueError, match=field) as caught:
            SiTConfig(**bad)
        for size in re.search(rf"use {field}=(\d+) or (\d+)", str(caught.value)).groups():
            SiTConfig(**(bad | {field: int(size)}))


def test_an_unknown_size_lists_the_choices():
    """A misspelt name is refused with all twelve names and the closest one."""
    with pytest.raises(ValueError, match="closest: 'SiT-XL/2'") as caught:
        sit("sit-xl/2")
    assert all(name in str(caught.value) for name in SIZES)
    assert len(SIZES) == 12


@pytest.mark.parametrize(
    ("letter", "depth", "width", "heads"),
    [("S", 12, 384, 6), ("B", 12, 768, 12), ("L", 24, 1024, 16), ("XL", 28, 1152, 16)],
)
def test_the_sizes_are_those_of_the_table(letter, depth, width, heads):
    """Depth, width and heads are those of table 1 of DiT, whose heads no weight shows; the rest is published too."""
    for patch in (2, 4, 8):
        config = SIZES[f"SiT-{letter}/{patch}"]
        assert (config.depth, config.hidden_size, config.num_heads, config.patch_size) == (depth, width, heads, patch)
        assert (config.input_size, config.in_channels, config.mlp_ratio, config.num_classes) == (32, 4, 4.0, 1000)
        assert (config.learn_sigma, config.class_dropout) == (True, 0.1)


def test_an_override_that_is_no_field_is_a_type_error():
    """A misspelt override is refused as a misspelt argument is, with the closest field; a right one is applied."""
    with pytest.raises(TypeError, match=r"received 'num_clases'; remedy: closest: 'num_classes'"):
        named_config("SiT-S/2", num_clases=10)
    assert named_config("SiT-S/2", num_classes=10).num_classes == 10


def test_the_training_recipe_of_the_paper_is_the_default():
    """TrainConfig() is AdamW(1e-4, 0.9, 0.999), no decay, warm-up or clipping, batch 256, EMA 0.9999, 400K steps."""
    assert dataclasses.asdict(TrainConfig()) == {
        **PAPER,
        "steps": 400_000,
        "ema_widths": (),
        "micro_batch": None,
        "precision": "float32",
        "compile": False,
        "prefetch": True,
        "parallel": "ddp",
        "on_non_finite": "stop",
        "seed": 0,
        "log_every": 1,
    }
    assert json.loads(json.dumps(TrainConfig().to_dict())) == TrainConfig().to_dict()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"steps": 0}, "steps to be an integer ≥ 1; received 0"),
        ({"batch_size": 2.5}, r"batch_size to be an integer ≥ 1; received 2\.5"),
        ({"warmup_steps": -1}, "warmup_steps to be an integer ≥ 0; received -1"),
        ({"seed": -1}, "seed to be an integer ≥ 0"),
        ({"log_every": 0}, "log_every to be an integer ≥ 1"),
        ({"learning_rate": 0.0}, "learning_rate > 0"),
        ({"clip_norm": float("inf")}, "clip_norm > 0"),
        ({"weight_decay": -1.0}, "weight_decay ≥ 0"),
        ({"betas": (0.9, 1.0)}, r"two betas in \[0, 1\)"),
        ({"ema_decay": 1.0}, r"ema_decay in \[0, 1\)"),
        ({"decay": "linear"}, "decay to be one of constant, cosine; received 'linear'"),
        ({"precision": "bf16"}, "precision to be one of float32, .*bfloat16.*; received 'bf16'; .*closest: 'bfloat16'"),
        ({"parallel": "dp"}, "parallel to be one of ddp, fsdp"),
        ({"on_non_finite": "ignore"}, "on_non_finite to be one of stop, skip, rollback"),
        ({"steps": "many"}, "steps to be an integer ≥ 1; received 'many'"),
        ({"steps": True}, "steps to be an integer"),
        ({"micro_batch": 0}, "micro_batch to be an integer ≥ 1"),
        ({"learning_rate": "fast"}, "learning_rate > 0; received 'fast'"),
        ({"learning_rate": None}, "learning_rate > 0; received None"),
        ({"learning_rate": float("nan")}, "learning_rate > 0; received nan"),
        ({"clip_norm": "1"}, "clip_norm > 0; received '1'"),
        ({"weight_decay": None}, "weight_decay ≥ 0; received None"),
        ({"betas": 0.9}, r"a tuple of two betas in \[0, 1\); received 0\.9"),
        ({"betas": (0.9,)}, "two betas"),
        ({"ema_decay": "0.9"}, "ema_decay in .* or None; received '0.9'"),
        ({"compile": 1}, "compile True or False; received 1"),
        ({"seed": 2**64}, r"a seed below 2\*\*64"),
        ({"steps": 2**24, "batch_size": 257}, r"steps · batch_size ≤ 2\*\*32 samples.*at most 16711935 steps"),
    ],
)
def test_a_bad_recipe_is_refused(fields, expected):
    """Every field of the recipe out of range is refused with what was expected, what came and a remedy."""
    with pytest.raises(ValueError, match=expected) as caught:
        TrainConfig(**fields)
    assert "; remedy: " in str(caught.value)


def test_the_learning_rate_rises_and_falls():
    """Warm-up is linear and reaches the peak on its last step; the cosine is half way at half time."""
    config = TrainConfig(steps=100, learning_rate=2.0, warmup_steps=4)
    assert [config.learning_rate_at(step) for step in (0, 1, 3, 50)] == [0.5, 1.0, 2.0, 2.0]
    cosine = TrainConfig(steps=100, learning_rate=2.0, decay="cosine")
    assert cosine.learning_rate_at(0) == 2.0
    assert cosine.learning_rate_at(50) == pytest.approx(1.0, rel=1e-12)
    assert 0 < cosine.learning_rate_at(99) < 1e-3

"""Checkpoints that do not fit a config, or are no network: the message names the tensors and says why."""

import re
from dataclasses import replace

import pytest
import torch
from backbone_support import TINY
from published_files import CONFIG, weights

from backbone import SiT, load_checkpoint, save_checkpoint
from backbone.checkpoints import CheckpointError

MISFITS = {
    "resolution": (
        {"input_size": 64},
        {"input_size": 32},
        r"pos_embed is \(1, 1024, 64\): the checkpoint is for 512-pixel images \(64×64 latents\), the config "
        r"input_size=32; remedy",
    ),
    "pixels": ({"in_channels": 3, "input_size": 16}, {"in_channels": 3}, r"is for 16×16 inputs"),
    "patch": ({"patch_size": 4}, {}, r"x_embedder\.proj\.weight is \(64, 4, 4, 4\): the checkpoint has patch_size=4"),
    "classes": (
        {"num_classes": 7},
        {},
        r"table\.weight is \(8, 64\): the checkpoint has num_classes=7, the config num",
    ),
    "halves": (
        {"learn_sigma": False},
        {},
        r"final_layer\.linear\.weight is \(16, 64\): .*learn_sigma=False, the config",
    ),
    "depth": ({"depth": 3}, {}, r"unexpected blocks\.2\.\S+, .* and 5 more; of the blocks.* there are 3: .*depth=3"),
    "mlp": ({"mlp_ratio": 2.0}, {}, r"blocks\.0\.mlp\.fc1\.weight is \(128, 64\): the checkpoint has mlp_ratio=2\.0"),
    "width": ({"hidden_size": 32}, {}, r"misshapen pos_embed \(1, 16, 32\) for \(1, 16, 64\), .*has hidden_size=32"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_a_checkpoint_for_another_config_says_why(case, tmp_path):
    """Against a given config the tensors that differ are named, and what the checkpoint is for instead."""
    theirs, ours, message = MISFITS[case]
    file = tmp_path / "x.pt"
    torch.save(SiT(replace(CONFIG, **theirs)).state_dict(), file)
    with pytest.raises(CheckpointError, match=r"expected the tensors of the config; received .*" + message) as caught:
        load_checkpoint(file, config=replace(CONFIG, **ours))
    assert str(caught.value).count(": the checkpoint ") == len({**theirs} if case != "pixels" else {"input_size": 0})
    assert load_checkpoint(file, config=replace(CONFIG, **theirs, class_dropout=0.5)).model.config.class_dropout == 0.5


def test_a_config_and_the_file_must_agree(tmp_path):
    """A config or heads beside a file that carries another config are refused, with the fields."""
    file = tmp_path / "x.safetensors"
    save_checkpoint(file, SiT(TINY))
    assert load_checkpoint(file, config=TINY, num_heads=TINY.num_heads).model.config == TINY
    with pytest.raises(CheckpointError, match=r"received .* with num_heads=2 for 4; remedy: leave out config=, num_"):
        load_checkpoint(file, num_heads=4)
    with pytest.raises(CheckpointError, match=r"with class_dropout=0\.1 for 0\.3; remedy"):
        load_checkpoint(file, config=replace(TINY, class_dropout=0.3))


def test_heads_are_asked_for(tmp_path):
    """A width that is not in the table needs num_heads, and heads that do not divide it are refused."""
    file = tmp_path / "x.pt"
    torch.save(weights(), file)
    with pytest.raises(CheckpointError, match=r"1152 → 16.*received .* of width 64; remedy: pass num_heads="):
        load_checkpoint(file)
    with pytest.raises(CheckpointError, match=r"x\.pt: expected hidden_size divisible by num_heads"):
        load_checkpoint(file, num_heads=7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pos_embed": None}, r"expected pos_embed of shape \(1, side², width\); received .* with pos_embed missing"),
        ({"pos_embed": torch.zeros(1, 15, 64)}, r"with pos_embed \(1, 15, 64\); its tensors are .*remedy: .*config="),
        ({"final_layer.linear.weight": torch.zeros(20, 64)}, r"with final_layer\.linear\.weight \(20, 64\)"),
        (
            {"final_layer.linear.bias": torch.zeros(3)},
            r"misshapen final_layer\.linear\.bias \(3,\) for \(32,\); remedy",
        ),
        ({"blocks.1.attn.qkv.bias": None}, r"with missing blocks\.1\.attn\.qkv\.bias; remedy"),
        ({"blocks.1.attn.q_norm.weight": torch.zeros(16)}, r"with unexpected blocks\.1\.attn\.q_norm\.weight; remedy"),
        ({"pos_embed": torch.zeros(1, 16, 64, dtype=torch.int32)}, r"floating weights; .*pos_embed in torch\.int32"),
        ({"pos_embed": torch.full((1, 16, 64), torch.nan)}, r"finite weights; received .* in pos_embed; remedy"),
        ({"pos_embed": torch.zeros(1, 16, 64).to_sparse()}, r"dense tensors that the file holds; .*torch\.sparse_coo"),
        (
            {"pos_embed": torch.zeros(1).expand(1, 10**12, 64)},
            r"dense tensors that the file holds; .* 1000000000000, 64",
        ),
        ({"pos_embed": "cat"}, r"tensors by name; received .*'pos_embed' of type str"),
        ({3: torch.zeros(1)}, r"tensors by name; received .*with 3 of type Tensor"),
        ({"module.pos_embed": torch.zeros(1, 16, 64)}, r"one tensor of each name; .*pos_embed twice"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else re.sub(r"\W+", "-", value)[:40],
)
def test_tensors_that_are_no_network_are_named(change, message, tmp_path):
    """Missing, odd, non-floating, non-finite, sparse, impossible and doubled tensors are refused by name."""
    state = weights() | change
    file = tmp_path / "x.pt"
    torch.save({name: part for name, part in state.items() if part is not None}, file)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(file, num_heads=4)


def test_a_ratio_of_the_same_width_is_no_reason(tmp_path):
    """Ratios that round to the same hidden width fit, and are not named where something else does not."""
    file = tmp_path / "x.pt"
    torch.save(weights(), file)
    near = replace(CONFIG, mlp_ratio=4.01)
    assert load_checkpoint(file, config=near).model.config == near
    with pytest.raises(CheckpointError, match="has num_classes=10, the config") as caught:
        load_checkpoint(file, config=replace(near, num_classes=3))
    assert "mlp_ratio" not in str(caught.value)

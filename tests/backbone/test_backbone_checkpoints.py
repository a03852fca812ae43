"""Checkpoints: what is written is read back, and nothing else is accepted."""

import json
import os
import struct

import pytest
import safetensors
import safetensors.torch
import torch
from backbone_support import TINY, perturb

from backbone import SiT, load_checkpoint, save_checkpoint
from backbone.checkpoints import CheckpointError


@pytest.fixture
def path(tmp_path, model):
    file = tmp_path / "model.safetensors"
    save_checkpoint(file, model, extra={"schedule": {"name": "linear"}, "prediction": "Velocity", "step": 7})
    return file


def _rewrite(path, change):
    """Apply a change to the tensors and metadata of a checkpoint."""
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = safetensors.torch.load_file(path)
    change(tensors, metadata)
    safetensors.torch.save_file(tensors, path, metadata)


def test_a_checkpoint_comes_back_bit_for_bit(path, model, batch):
    """Weights, config, extra and outputs are the same after saving and loading; frozen weights stay frozen."""
    loaded = load_checkpoint(path)
    assert loaded.model.config == model.config
    assert loaded.extra == {"schedule": {"name": "linear"}, "prediction": "Velocity", "step": 7}
    state = loaded.model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(loaded.model(*batch), model(*batch))
    assert not loaded.model.training
    assert [p.requires_grad for p in loaded.model.parameters()] == [p.requires_grad for p in model.parameters()]


def test_the_dtype_of_the_weights_is_kept(tmp_path, model):
    """A bfloat16 network is stored and loaded in bfloat16."""
    save_checkpoint(tmp_path / "half", model.bfloat16())
    assert load_checkpoint(tmp_path / "half").model.final_layer.linear.weight.dtype == torch.bfloat16


def test_the_file_is_plain_safetensors(path):
    """Other tools read the file: published tensor names, JSON config in the metadata."""
    with safetensors.safe_open(path, "pt") as file:
        assert "blocks.1.adaLN_modulation.1.weight" in set(file.keys())
        assert json.loads(file.metadata()["sit_config"]) == TINY.to_dict()


def test_a_length_that_begins_as_a_pickle_does(tmp_path, model):
    """A header whose length ends in the byte 0x80, with which every pickle begins, is read as what it is."""
    for padding in range(0, 256, 8):
        file = tmp_path / f"{padding}.safetensors"
        save_checkpoint(file, model, extra={"padding": "x" * padding})
        if file.read_bytes()[0] == 0x80:
            break
    assert file.read_bytes()[0] == 0x80
    loaded = load_checkpoint(file)
    assert loaded.layout == "safetensors with its config"
    assert loaded.extra == {"padding": "x" * padding}


def test_a_failed_save_leaves_the_old_file(path, model, monkeypatch):
    """When writing stops half-way the old checkpoint is intact and no draft is left behind."""
    before = path.read_bytes()

    def fail(tensors, file, metadata):
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(safetensors.torch, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(path, model)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_file_that_cannot_be_written_is_an_os_error(tmp_path, model):
    """A folder that does not exist is an OSError that names the file and says what to do."""
    file = tmp_path / "missing" / "model.safetensors"
    with pytest.raises(
        OSError, match=f"expected a file that can be written; received {file}.*; remedy: make the folder"
    ):
        save_checkpoint(file, model)


def test_a_missing_file_is_named(tmp_path):
    """A path without a file, or of a folder, is FileNotFoundError with the path."""
    for missing in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(FileNotFoundError, match=f"expected a checkpoint file; received {missing}.*remedy"):
            load_checkpoint(missing)


@pytest.mark.parametrize("kept", [0, 5, 9, 200, -1])
def test_a_truncated_file_is_refused(path, kept):
    """A file cut anywhere, header or tensors, is refused with the bytes that are there."""
    whole = path.read_bytes()
    cut = whole[:kept]
    path.write_bytes(cut)
    with pytest.raises(
        CheckpointError, match=rf"expected a whole file of .* bytes; received .* of {len(cut)} bytes; remedy"
    ):
        load_checkpoint(path)


def test_a_file_with_a_tail_is_refused(path):
    """Bytes after the last tensor are refused as a damaged copy."""
    path.write_bytes(path.read_bytes() + b"tail")
    with pytest.raises(CheckpointError, match="expected a whole file of"):
        load_checkpoint(path)


@pytest.mark.parametrize("header", [b"{nonsense", b'{"a": 3}', b'{"a": {"data_offsets": []}}'])
def test_a_broken_header_is_refused(tmp_path, header):
    """A header that is no JSON or has no offsets is refused."""
    file = tmp_path / "broken.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(CheckpointError, match=r"expected (a safetensors header|a whole file)"):
        load_checkpoint(file)


def test_a_missing_config_shows_in_the_shapes(path):
    """A safetensors file that lost its config has it in its shapes, all but the heads, which are asked for."""
    _rewrite(path, lambda tensors, metadata: metadata.pop("sit_config"))
    with pytest.raises(CheckpointError, match=r"expected a published width .* of width 16; remedy: pass num_heads="):
        load_checkpoint(path)
    assert load_checkpoint(path, num_heads=2).model.config == TINY


def test_a_config_of_another_version_is_refused(path):
    """An unknown field in the config is refused and named, as is metadata that is no JSON."""
    _rewrite(path, lambda tensors, metadata: metadata.update(sit_config='{"deepth": 3}'))
    with pytest.raises(CheckpointError, match=r"expected readable metadata; .*'deepth'.*'depth'"):
        load_checkpoint(path)
    _rewrite(path, lambda tensors, metadata: metadata.update(sit_config="{"))
    with pytest.raises(CheckpointError, match=r"expected readable metadata; received .*remedy: save"):
        load_checkpoint(path)


def test_tensors_that_do_not_fit_are_named(path):
    """Missing, unexpected and misshapen tensors are named, with both shapes."""

    def change(tensors, metadata):
        del tensors["pos_embed"]
        tensors["stray"] = torch.zeros(1)
        tensors["final_layer.linear.bias"] = torch.zeros(3)

    _rewrite(path, change)
    wanted = r"missing pos_embed; unexpected stray; misshapen final_layer\.linear\.bias \(3,\) for \(24,\); remedy"
    with pytest.raises(CheckpointError, match=wanted):
        load_checkpoint(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(path, value):
    """NaN or infinity in a weight is refused by the tensor's name, unless asked for."""

    def change(tensors, metadata):
        tensors["blocks.0.mlp.fc1.bias"][3] = value

    _rewrite(path, change)
    with pytest.raises(CheckpointError, match=r"expected finite weights; .* in blocks\.0\.mlp\.fc1\.bias; remedy"):
        load_checkpoint(path)
    loaded = load_checkpoint(path, allow_non_finite=True)
    assert not torch.isfinite(loaded.model.blocks[0].mlp.fc1.bias).all()


def test_only_a_sit_and_json_are_saved(tmp_path):
    """A wrapped model and extras that JSON cannot hold are refused before a file exists."""
    model = perturb(SiT(TINY))
    with pytest.raises(TypeError, match=r"expected a SiT; received Sequential; remedy: unwrap"):
        save_checkpoint(tmp_path / "a", torch.nn.Sequential(model))
    with pytest.raises(TypeError, match="expected extra of plain JSON"):
        save_checkpoint(tmp_path / "a", model, extra={"x": torch.zeros(1)})
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_checkpoint(tmp_path / "a", model, extra={"x": float("nan")})
    assert not list(tmp_path.iterdir())

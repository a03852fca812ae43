"""Checkpoints of SiT, DiT and REPA: every layout loads, and the config shows in the shapes."""

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from backbone_support import perturb
from published_files import CONFIG, LAYOUTS, output, prefixed, projected, same, training, weights

from backbone import SiT, load_checkpoint, save_checkpoint
from backbone.checkpoints import CheckpointError
from backbone.sizes import named_config


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_loads(layout, legacy, tmp_path):
    """Each layout gives the tensors bit for bit, the config from the shapes, and the outputs of load_state_dict."""
    state, file = weights(), tmp_path / "last.pt"
    torch.save(LAYOUTS[layout](state), file, _use_new_zipfile_serialization=not legacy)
    found = load_checkpoint(file, num_heads=4)
    assert found.model.config == CONFIG
    assert same(found.model, state)
    reference = SiT(CONFIG).eval()
    reference.load_state_dict(state)
    assert torch.equal(output(found.model), output(reference))
    assert not found.model.training
    assert [p.requires_grad for p in found.model.parameters()] == [p.requires_grad for p in reference.parameters()]
    assert found.dropped == (("projectors.0.0.weight", "projectors.0.0.bias") if layout == "repa" else ())


def test_which_weights(tmp_path):
    """EMA weights are the default, the others come when asked for, and asking for what is not there is refused."""
    file, ema, model = tmp_path / "0050000.pt", weights(0), weights(1)
    torch.save(training(ema, model), file)
    for asked, state in ((None, ema), ("ema", ema), ("model", model)):
        found = load_checkpoint(file, weights=asked, num_heads=4)
        assert same(found.model, state)
        assert f"'{asked or 'ema'}'" in found.layout
    torch.save({"model": model, "ema": None}, file)
    assert same(load_checkpoint(file, num_heads=4).model, model)
    with pytest.raises(
        CheckpointError, match=r"expected weights 'ema'; received .* with model; remedy: weights='model'"
    ):
        load_checkpoint(file, weights="ema", num_heads=4)
    torch.save(model, file)
    with pytest.raises(
        CheckpointError, match=r"expected weights 'model'; received .*one set.*remedy: leave weights out"
    ):
        load_checkpoint(file, weights="model", num_heads=4)
    with pytest.raises(ValueError, match="received 'best'"):
        load_checkpoint(file, weights="best")


def test_the_command_line_of_the_training_is_kept(tmp_path):
    """args and steps arrive as JSON; what JSON cannot hold is left out."""
    file = tmp_path / "last.pt"
    torch.save(LAYOUTS["repa"](weights()), file)
    extra = load_checkpoint(file, num_heads=4).extra
    assert extra == {"args": {"model": "SiT-XL/2", "lr": 1e-4, "betas": [0.9, 0.999]}, "steps": 400000}


def test_safetensors_from_elsewhere(tmp_path):
    """Safetensors without our config are read like a state dict; with it, by it."""
    state, file = weights(), tmp_path / "model.safetensors"
    safetensors.torch.save_file(projected(prefixed("module.", state)), file)
    found = load_checkpoint(file, num_heads=4)
    assert same(found.model, state)
    assert found.model.config == CONFIG
    assert len(found.dropped) == 2
    save_checkpoint(file, found.model)
    assert load_checkpoint(file).model.config == CONFIG
    with pytest.raises(CheckpointError, match="leave weights out"):
        load_checkpoint(file, weights="ema")


@pytest.mark.parametrize(
    "config",
    [
        replace(CONFIG, input_size=16, patch_size=4),
        replace(CONFIG, in_channels=3, learn_sigma=False, num_classes=1),
        replace(CONFIG, hidden_size=384, num_heads=6, depth=1),
        replace(CONFIG, hidden_size=768, num_heads=12, depth=1, mlp_ratio=2.0),
        # hidden/width falls short of hidden by rounding, when it is multiplied by the width again.
        *(
            replace(CONFIG, hidden_size=width, mlp_ratio=math.nextafter(hidden / width, 9.0))
            for width, hidden in ((28, 61), (44, 60), (52, 120))
        ),
    ],
    ids=lambda config: f"{config.hidden_size}-{config.mlp_ratio:.3f}-{config.input_size}-{config.in_channels}",
)
def test_the_config_shows_in_the_shapes(config, tmp_path):
    """Every field but the heads comes from the shapes; the heads of a published width from its table."""
    file, state = tmp_path / "x.pt", SiT(config).state_dict()
    torch.save(state, file)
    found = load_checkpoint(file, num_heads=None if config.hidden_size >= 384 else 4).model.config
    for name in ("input_size", "patch_size", "in_channels", "hidden_size", "depth", "num_heads", "num_classes"):
        assert getattr(found, name) == getattr(config, name)
    assert found.learn_sigma == config.learn_sigma
    assert int(found.mlp_ratio * found.hidden_size) == state["blocks.0.mlp.fc1.weight"].shape[0]


@pytest.mark.parametrize("name", ["SiT-S/8", "SiT-B/4", "SiT-L/4", "SiT-XL/2"])
def test_published_sizes_need_no_argument(name, tmp_path):
    """A published size, one block deep, is recognised from its width alone."""
    config = named_config(name, depth=1)
    file = tmp_path / "x.pt"
    with torch.device("meta"):
        shapes = {key: part.shape for key, part in SiT(config).state_dict().items()}
    torch.save({key: torch.zeros(shape, dtype=torch.bfloat16) for key, shape in shapes.items()}, file)
    found = load_checkpoint(file)
    assert found.model.config == config
    assert next(found.model.parameters()).dtype == torch.bfloat16


def test_the_weights_do_not_depend_on_the_file(tmp_path):
    """A file that changes after loading changes no weight, and a weight that changes changes no file."""
    file = tmp_path / "x.pt"
    torch.save(training(weights()), file)
    found = load_checkpoint(file, num_heads=4)
    before = file.read_bytes()
    perturb(found.model)
    assert file.read_bytes() == before
    again = load_checkpoint(file, num_heads=4)
    with file.open("rb+") as stream:
        stream.write(bytes(len(before)))
    assert same(again.model, weights())


def test_the_network_is_built_once_and_never_drawn(tmp_path, monkeypatch):
    """Loading makes one network, without numbers of its own: the generator of torch is where it was."""
    file, made = tmp_path / "x.pt", []
    torch.save(training(weights()), file)
    create = SiT.__init__
    monkeypatch.setattr(SiT, "__init__", lambda self, config: made.append(config) or create(self, config))
    before = torch.get_rng_state()
    found = load_checkpoint(file, num_heads=4)
    assert made == [CONFIG]
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(part.is_meta for part in found.model.parameters())


MEASURE = """
import re, sys
from backbone import load_checkpoint

def peak():
    return 1024 * int(re.search(r"VmHWM:\\s*([0-9]+) kB", open("/proc/self/status").read())[1])

load_checkpoint(sys.argv[2])  # what is imported is not counted
before = peak()
model = load_checkpoint(sys.argv[1]).model
print((peak() - before) / sum(part.numel() * part.element_size() for part in model.parameters()))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pt", "safetensors"])
def test_loading_takes_the_memory_of_the_weights(kind, tmp_path):
    """A training checkpoint of four times the weights is read with twice their memory: the rest is never touched."""
    small, file = tmp_path / "small", tmp_path / "x"
    save_checkpoint(small, SiT(named_config("SiT-S/8", depth=1)))
    model = SiT(named_config("SiT-B/2", depth=6))
    if kind == "safetensors":
        save_checkpoint(file, model)
    else:
        state = model.state_dict()
        moments = {i: {"exp_avg": part.clone(), "exp_avg_sq": part.clone()} for i, part in enumerate(state.values())}
        torch.save({"model": {k: v.clone() for k, v in state.items()}, "ema": state, "opt": {"state": moments}}, file)
    command = [sys.executable, "-c", MEASURE, str(file), str(small)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 0.5 < float(done.stdout) < 2.3

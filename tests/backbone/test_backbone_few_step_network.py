"""A network that takes the start of an interval: its equations, refusals, files, and its use as an ordinary field."""

import dataclasses
import re

import numpy as np
import pytest
import torch
from backbone_support import TINY, perturb
from test_backbone_variants import VARIANTS, Written, build, inputs

from backbone import CheckpointError, SiT, SiTConfig, bind, dit, load_checkpoint, sample, save_checkpoint
from backbone.convert import turn_time
from backbone.few_step import as_flow_map, average_field
from interpolants import Linear
from solvers import Euler, uniform

MAPS = [name for name in VARIANTS if name.startswith("flow map")]


@pytest.fixture
def flow_map():
    torch.manual_seed(0)
    return perturb(SiT(dataclasses.replace(TINY, flow_map=True))).eval()


@torch.no_grad()
@pytest.mark.parametrize("name", MAPS)
def test_a_start_enters_as_in_the_equations(name):
    """With a start the output is that of the equations in numpy with the embedding of t − r, to 1e-11 in float64."""
    model = build(name).double()
    x, time, y = inputs(model.config)
    start, written = torch.tensor([0.1, -0.5], dtype=torch.float64), Written(model)
    out = model.both_halves(x.double(), time.double(), y, start=start).numpy()
    wanted = np.array([written(x[i].double().numpy(), float(time[i]), int(y[i]), float(start[i])) for i in range(2)])
    np.testing.assert_allclose(out, wanted, rtol=0, atol=1e-11 * np.abs(wanted).max())


@torch.no_grad()
def test_no_start_is_the_start_at_the_end(flow_map, batch):
    """start=None, the number t and the tensor t give the same bits; another start gives another output."""
    x, time, y = batch
    assert torch.equal(flow_map(x, time, y), flow_map(x, time, y, start=time))
    assert torch.equal(flow_map(x, 0.5, y), flow_map(x, 0.5, y, start=0.5))
    assert torch.equal(flow_map(x, time, y, start=0.25), flow_map(x, time, y, start=torch.full((4,), 0.25)))
    assert not torch.allclose(flow_map(x, time, y), flow_map(x, time, y, start=0.25), atol=1e-4)


def test_without_the_option_nothing_is_new(model, batch):
    """By default there is no new weight, and a start is refused with what to do."""
    assert not any("length" in name for name in model.state_dict())
    assert SiTConfig() == SiTConfig(flow_map=False)
    x, time, y = batch
    with pytest.raises(ValueError, match=r"expected a network that takes a start; .*remedy: .*flow_map=True"):
        model(x, time, y, start=0.0)


@pytest.mark.parametrize("start", [float("nan"), torch.zeros(3), torch.zeros(4, dtype=torch.int64), "0", True])
def test_a_bad_start_is_refused_as_a_bad_time_is(flow_map, batch, start):
    """A start that is not finite, of another length or of an integer dtype is refused, and named a start."""
    with pytest.raises(ValueError, match="expected start "):
        flow_map(*batch, start=start)


def test_intervals_need_continuous_time():
    """A flow map of timesteps is refused, as is turning its time; a DiT cannot be continued as one."""
    with pytest.raises(ValueError, match="expected timesteps=None with flow_map"):
        SiTConfig(flow_map=True, timesteps=1000)
    with pytest.raises(ValueError, match="expected flow_map True or False"):
        SiTConfig(flow_map=1)
    with pytest.raises(ValueError, match="expected a network of one time"):
        turn_time(SiT(dataclasses.replace(TINY, flow_map=True)), velocity=True)
    with pytest.raises(ValueError, match="expected timesteps=None"):
        as_flow_map(dit("DiT-S/8", depth=1, hidden_size=16, num_heads=2))


def test_a_file_keeps_the_option(flow_map, batch, tmp_path):
    """Saved and loaded it is the same; without its config the file shows it, and a config that differs is refused."""
    file = tmp_path / "map.safetensors"
    save_checkpoint(file, flow_map)
    again = load_checkpoint(file).model
    assert again.config == flow_map.config
    assert torch.equal(again(*batch, start=0.1), flow_map(*batch, start=0.1))
    torch.save(flow_map.state_dict(), tmp_path / "map.pt")
    bare = load_checkpoint(tmp_path / "map.pt", num_heads=TINY.num_heads).model
    assert bare.config.flow_map
    assert torch.equal(bare(*batch, start=0.1), flow_map(*batch, start=0.1))
    with pytest.raises(CheckpointError, match=re.escape("length_embedder.mlp.0.weight is (16, 256): the file has")):
        load_checkpoint(tmp_path / "map.pt", config=TINY)
    torch.save(SiT(TINY).state_dict(), tmp_path / "plain.pt")
    with pytest.raises(CheckpointError, match=r"length_embedder.mlp.0.weight is missing: the file has flow_map=False"):
        load_checkpoint(tmp_path / "plain.pt", config=flow_map.config)


@torch.no_grad()
def test_a_velocity_network_continues_as_it_is(model, batch):
    """as_flow_map gives the same output for every start, in the same mode; then training moves the starts apart."""
    x, time, y = batch
    found = as_flow_map(model)
    assert (found.config.flow_map, found.config.attention) == (True, "math")
    assert found.training == model.training
    for start in (0.0, 0.3):
        torch.testing.assert_close(found(x, time, y, start=start), model(x, time, y), rtol=1e-5, atol=1e-6)
    perturb(found)
    again = as_flow_map(found)
    assert torch.equal(again(x, time, y, start=0.1), found(x, time, y, start=0.1))
    double = as_flow_map(model.double())
    assert double.length_embedder.mlp[0].weight.dtype == torch.float64


@torch.no_grad()
def test_a_flow_map_is_an_ordinary_field(flow_map):
    """bind and sample see the velocity u(x, t, t), with guidance too: Euler's steps by hand."""
    schedule, labels = Linear(), torch.tensor([0, 3])
    found = sample(
        flow_map, labels, schedule=schedule, rng=torch.Generator().manual_seed(0), ts=uniform(3), method=Euler()
    ).x
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for t in (3, 2, 1):
        x = x - flow_map(x, t / 3, labels, start=t / 3) / 3
    torch.testing.assert_close(found, x, rtol=1e-4, atol=1e-5)
    guided = bind(flow_map, labels, 2.0)(0.4, x)
    null = torch.full_like(labels, TINY.null_class)
    both = [average_field(flow_map, part)(0.4, 0.4, x) for part in (labels, null)]
    torch.testing.assert_close(guided, 2 * both[0] - both[1], rtol=1e-4, atol=1e-5)

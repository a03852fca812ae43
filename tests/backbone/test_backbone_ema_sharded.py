"""Averages of sharded weights: each process moves its own part, and a snapshot holds the whole."""

import os
import subprocess
import sys

import pytest
import torch
from stored_averages import CONFIG
from torch import distributed

from backbone import EMA, Averages, PowerEMA, SiT
from backbone.ema import find_snapshots, post_hoc

PROGRAM = """
import sys, torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from stored_averages import *

folder, rank = sys.argv[1], int(sys.argv[2])
distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
torch.manual_seed(0)
model = SiT(CONFIG)
averages = Averages(PowerEMA(model, 0.05), EMA(model, 0.9), PowerEMA(model, 0.10))
mesh = init_device_mesh("cpu", (2,))
for network in (model, *(average.model for average in averages)):
    fully_shard(network, mesh=mesh)
for n in range(5):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * (n + 1)
    averages.update(model)
save_snapshot(f"{folder}/{rank}", averages)
distributed.barrier()
distributed.destroy_process_group()
"""


def whole():
    """The same averages in one process, of weights that are not sharded."""
    torch.manual_seed(0)
    model = SiT(CONFIG)
    averages = Averages(PowerEMA(model, 0.05), EMA(model, 0.9), PowerEMA(model, 0.10))
    for n in range(5):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1 * (n + 1)
        averages.update(model)
    return averages


@pytest.mark.slow
def test_two_processes_average_and_save_what_one_does(tmp_path):
    """With FSDP over two processes the first one writes, bit for bit, the snapshots of a single process."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([".", os.path.dirname(__file__)]),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    for rank in range(2):
        (tmp_path / str(rank)).mkdir()
    running = [subprocess.Popen([*command, str(rank)], env=environment) for rank in range(2)]
    assert [process.wait(timeout=300) for process in running] == [0, 0]
    averages = whole()
    assert len(find_snapshots(tmp_path / "0")) == 2
    assert os.listdir(tmp_path / "1") == []
    for average in (averages.all[0], averages.all[2]):
        state = post_hoc(tmp_path / "0", average.sigma_rel).state_dict()
        assert all(torch.equal(part, state[name]) for name, part in average.model.state_dict().items())


@pytest.fixture
def mesh(tmp_path):
    """A mesh of one process."""
    from torch.distributed.device_mesh import init_device_mesh

    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


def test_sharded_weights_are_averaged_as_whole_ones(mesh):
    """Averages of sharded tensors are bit for bit those of plain ones, and stay sharded."""
    from torch.distributed.tensor import DTensor, distribute_module

    plain, sharded = SiT(CONFIG), SiT(CONFIG)
    sharded.load_state_dict(plain.state_dict())
    distribute_module(sharded, mesh)
    for kind in (PowerEMA, EMA):
        wanted, average = kind(plain), kind(sharded)
        for _ in range(3):
            with torch.no_grad():
                for one, other in zip(plain.parameters(), sharded.parameters()):
                    one += 0.5
                    other += 0.5
            wanted.update(plain)
            average.update(sharded)
        for one, other in zip(wanted.model.parameters(), average.model.parameters()):
            assert isinstance(other, DTensor)
            assert torch.equal(one, other.full_tensor())


def test_an_average_sharded_otherwise_is_refused(mesh):
    """A network sharded after its average was made is refused before anything moves."""
    from torch.distributed.tensor import distribute_module

    model = SiT(CONFIG)
    average = PowerEMA(model)
    distribute_module(model, mesh)
    with pytest.raises(
        ValueError, match=r"expected an average that is sharded as its network is; .*remedy: shard both"
    ):
        average.update(model)

"""Trainings of two processes over gloo: the same as of one, to rounding, and bit for bit as of two."""

import os
import signal

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.parallel import DistributedDataParallel
from training_support import processes, toy_data, toy_train

from backbone import Record
from backbone.losses import Interpolation
from backbone.train.log import read_log
from backbone.train.probe import SampleProbe
from backbone.train.run_config import ProbeConfig
from backbone.train.world import World, world
from interpolants import Linear, Objective, Velocity
from interpolants.times import Importance, Stratified

TWO = Record(save_every=2)


def _followed():
    return Objective(Linear(), times=Stratified(Importance(bins=3, history=4)))


def _outcome(folder, loss, record, fields):
    """Train in the folder; return what the processes must agree on."""
    result = toy_train(folder, record, loss=loss, **fields)
    return result.losses, result.steps


def _train(folder, make, record, fields):
    """A training of processes of its own; a loss cannot be sent to them, but what makes it can."""
    return _outcome(folder, make and make(), record, fields)


def _tour(folder):
    """Several trainings of the same two processes, and what they say to each other."""
    alone, quiet = [], DistributedDataParallel.no_sync
    DistributedDataParallel.no_sync = lambda net: alone.append(net) or quiet(net)
    with world("cpu") as here:
        found = {
            "ddp": _outcome(folder / "ddp", None, TWO, {"clip_norm": 0.5}),
            "followed": _outcome(folder / "followed", _followed(), None, {"micro_batch": 4}),
            "words": _words(here),
        }
        for name, fields in (("odd", {"batch_size": 9}), ("taken", {})):
            try:
                toy_train(folder / name, TWO, **fields)
            except (ValueError, OSError) as error:
                found[name] = str(error)
    return found | {"parts without a word": len(alone)}


def _words(here):
    tensor = torch.full((2,), float(here.rank))
    here.spread([tensor])
    raised = []
    for failing in (0, 1):
        try:
            here.first_does(lambda at=failing: 1 / (here.rank + at))
        except (ZeroDivisionError, OSError) as error:
            raised.append(f"{type(error).__name__}: {error}")
    return {
        "mean": float(here.mean(torch.tensor(float(here.rank)))),
        "any": (here.any(here.rank == 1), here.any(False)),
        "gather": here.gather(torch.tensor([[here.rank, 5]])).tolist(),
        "agree": here.agree([here.rank + 7]),
        "spread": tensor.tolist(),
        "share": here.share(6),
        "first": here.first,
        "raised": raised,
    }


def _near(folder, other, tolerance=2e-4):
    """Whether the averaged networks of two folders are equal to rounding, under AdamW with a rate of 0.01."""
    one, two = (load_file(place / "averaged.safetensors") for place in (folder, other))
    assert one.keys() == two.keys()
    return max(float((one[name] - two[name]).abs().max()) for name in one) < tolerance


def test_two_processes_are_one(tmp_path):
    """Two processes of DDP have the losses, norms and weights of one; so have times that follow the losses."""
    (tmp_path / "taken").mkdir()
    import fcntl

    with (tmp_path / "taken" / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (code, first), (other, second) = processes(2, _tour, tmp_path)
    assert (code, other) == (0, 0), (first, second)
    for name in ("ddp", "followed"):
        assert first[name] == second[name]
    # Six samples in parts of 4 and 2, of which the gradients of the last are exchanged alone, in six steps.
    assert first["parts without a word"] == 6
    alone = toy_train(tmp_path / "alone", TWO, clip_norm=0.5)
    assert first["ddp"][0] == pytest.approx(alone.losses, rel=1e-4)
    assert _near(tmp_path / "ddp", tmp_path / "alone")
    ours, theirs = (read_log(tmp_path / name / "log.jsonl") for name in ("ddp", "alone"))
    assert [row["step"] for row in ours] == [row["step"] for row in theirs]
    assert [row["grad_norm"] for row in ours] == pytest.approx([row["grad_norm"] for row in theirs], rel=1e-3)
    assert first["followed"][0] == pytest.approx(toy_train(loss=_followed()).losses, rel=1e-4)
    for found, rank in ((first["words"], 0), (second["words"], 1)):
        assert (found["mean"], found["any"], found["agree"], found["spread"]) == (0.5, (True, False), [7], [0.0, 0.0])
        assert found["gather"] == [[0, 5], [1, 5]]
        assert found["share"] == slice(3 * rank, 3 * rank + 3)
        assert found["first"] is (rank == 0)
    assert first["words"]["raised"] == ["ZeroDivisionError: division by zero"]
    assert second["words"]["raised"] == ["OSError: in the first process: ZeroDivisionError: division by zero"]
    for found in (first, second):
        assert found["odd"].startswith("expected batch_size divisible by the 2 processes; received 9; remedy: use")
        assert "batch_size=8 or 10" in found["odd"]
        assert "it is in use by" in found["taken"]
    assert not (tmp_path / "odd").exists()


def test_alone_a_process_talks_to_itself():
    """Without other processes every exchange is the identity, and three divide a batch of 12 but not of 10."""
    here = World(0, 1, torch.device("cpu"))
    value = torch.tensor([1.0, 2.0])
    assert here.mean(value) is value
    assert here.gather(value) is value
    assert here.agree(["a"]) == ["a"]
    assert (here.any(True), here.any(False)) == (True, False)
    here.spread([value])
    here.wait()
    assert [World(rank, 3, here.device).share(12) for rank in range(3)] == [slice(0, 4), slice(4, 8), slice(8, 12)]
    with pytest.raises(
        ValueError, match="samples divisible by the 4 processes; received 3; remedy: use samples=4 or 4"
    ):
        World(0, 4, here.device).share(3, "samples")


@pytest.mark.slow
@pytest.mark.parametrize("fields", [{}, {"micro_batch": 2}, {"clip_norm": 0.1}, {"precision": "bfloat16"}])
def test_a_sharded_training_is_one_process(fields, tmp_path):
    """FSDP over two processes has the losses, norms and weights of one process, to rounding."""
    found = processes(2, _train, tmp_path / "two", None, TWO, {"parallel": "fsdp", **fields})
    assert [code for code, _ in found] == [0, 0], found
    alone = toy_train(tmp_path / "one", TWO, **fields)
    rough = fields.get("precision") == "bfloat16"
    assert found[0][1][0] == pytest.approx(alone.losses, rel=2e-2 if rough else 1e-4)
    assert rough or _near(tmp_path / "two", tmp_path / "one")
    norms = [[row["grad_norm"] for row in read_log(tmp_path / name / "log.jsonl")] for name in ("two", "one")]
    assert norms[0] == pytest.approx(norms[1], rel=5e-2 if rough else 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_run_goes_on_in_another_number_of_processes(parallel, tmp_path):
    """1 → 2 → 1 processes: losses and weights are those of an uninterrupted run, to rounding."""
    fields = {"parallel": parallel, "precision": "float32"}
    first = toy_train(tmp_path / "run", TWO, loss=_followed(), steps=3, **fields)
    middle = processes(2, _train, tmp_path / "run", _followed, TWO, {"steps": 6, **fields})
    assert [code for code, _ in middle] == [0, 0], middle
    last = toy_train(tmp_path / "run", TWO, loss=_followed(), steps=9, **fields)
    whole = toy_train(tmp_path / "whole", TWO, loss=_followed(), steps=9)
    losses = first.losses + middle[0][1][0] + last.losses
    assert losses == pytest.approx(whole.losses, rel=1e-4)
    assert _near(tmp_path / "run", tmp_path / "whole", 5e-4)
    assert [row["step"] for row in read_log(tmp_path / "run" / "log.jsonl")] == list(range(1, 10))


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_go_on_bit_for_bit(parallel, tmp_path):
    """3 and 3 steps of two processes are 6 steps of two processes: losses and tensors are equal, moments included."""
    for steps, name in ((3, "parts"), (6, "parts"), (6, "whole")):
        found = processes(2, _train, tmp_path / name, _followed, TWO, {"parallel": parallel, "steps": steps})
        assert [code for code, _ in found] == [0, 0], found
    one, two = (read_log(tmp_path / name / "log.jsonl") for name in ("parts", "whole"))
    assert [row["loss"] for row in one] == [row["loss"] for row in two]
    one, two = (load_file(tmp_path / name / "checkpoints" / "step-00000006.safetensors") for name in ("parts", "whole"))
    assert one.keys() == two.keys()
    assert all(torch.equal(part, two[name]) for name, part in one.items())


class Deadly(Interpolation):
    """A loss that kills its process at the last sample of the fourth step, if that is asked for."""

    def __call__(self, model, x_data, y, draws):
        if "LETHAL" in os.environ and int(draws.ids[-1]) == 4 * 12 - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(model, x_data, y, draws)


def _lethal(folder, fields):
    """Train until one of the processes, the second, is shot."""
    os.environ["LETHAL"] = "yes"
    return _outcome(folder, _deadly(), TWO, fields)


def _deadly():
    return Deadly(Objective(Linear()))


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_dead_peer_ends_the_others(parallel, tmp_path):
    """When one process is killed the other ends with an error, and the run goes on from its checkpoint."""
    (first, said), (second, _) = processes(2, _lethal, tmp_path / "run", {"parallel": parallel})
    assert second == -signal.SIGKILL
    assert first == 1
    assert "Error" in said
    assert [file.name for file in (tmp_path / "run" / "checkpoints").glob("*.json")] == ["step-00000002.json"]
    found = processes(2, _train, tmp_path / "run", _deadly, TWO, {"parallel": parallel})
    assert [code for code, _ in found] == [0, 0], found
    whole = processes(2, _train, tmp_path / "whole", _deadly, TWO, {"parallel": parallel})
    assert found[0][1][0] == whole[0][1][0][2:]


def _probed(folder):
    probe = SampleProbe(Linear(), Velocity, ProbeConfig(samples=6, steps=2), 0, toy_data().images, folder=folder / "s")
    fields = {"parallel": "fsdp"} if os.environ["WORLD_SIZE"] == "2" else {}
    return toy_train(folder, Record(probe_every=3), probe=probe, **fields).losses


@pytest.mark.slow
def test_samples_of_two_processes_are_those_of_one(tmp_path):
    """The probe draws the same images of a sharded network as of a whole one, to rounding, and one number is logged."""
    import numpy as np

    for size in (1, 2):
        found = processes(size, _probed, tmp_path / str(size))
        assert [code for code, _ in found] == [0] * size, found
    one, two = (np.load(tmp_path / size / "s" / "step-00000003.npz") for size in ("1", "2"))
    np.testing.assert_allclose(one["x"], two["x"], atol=1e-3)
    assert one["y"].tolist() == two["y"].tolist()
    distances = [
        [row["frechet"] for row in read_log(tmp_path / size / "log.jsonl") if "frechet" in row] for size in "12"
    ]
    assert len(distances[0]) == 2
    assert distances[0] == pytest.approx(distances[1], rel=1e-3)

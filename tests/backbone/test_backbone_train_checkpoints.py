"""What a training goes on from: bit for bit, whole or not at all, whatever ends the run."""

import errno
import json
import os
import re
import socket

import pytest
import torch
from training_support import plain, same, toy_config, toy_data, toy_model, toy_train, weights

from backbone import Record, load_checkpoint, train
from backbone.data.order import Order
from backbone.files import locked
from backbone.losses import Interpolation, as_loss
from backbone.train.loop import _gradients
from backbone.train.parallel import Spread
from backbone.train.resume import Checkpoints
from backbone.train.state import State
from backbone.train.world import World
from interpolants import GVP, Linear, Objective

ALONE = World(0, 1, torch.device("cpu"))
TWO = Record(save_every=2)


def _state(steps=0, **fields):
    """A state after some steps, made by its parts and not by the loop."""
    config, loss, data = toy_config(**fields), as_loss(Objective(Linear())), toy_data()
    state = State(toy_model(), loss, config, ALONE)
    net, order = Spread(state.model, loss, config, ALONE), Order(data.count, config.seed)
    for _ in range(steps):
        mean = _gradients(net, data, order, state)
        state.update(mean, state.gradient_norm())
        state.step += 1
    return state


def _everything(state):
    return {name: part.clone() for name, part in state.tensors().items()}, state.numbers()


@pytest.mark.covering(2)
@pytest.mark.parametrize(
    "fields", [{}, {"ema_decay": None}, {"ema_widths": (0.05, 0.1)}, {"precision": "float16"}, {"ema_warmup": True}]
)
def test_a_state_is_restored_bit_for_bit(fields, tmp_path):
    """Weights, average, moments, counts and scale of three steps are those that a new state gets from the file."""
    old, new = _state(3, **fields), _state(0, **fields)
    checkpoints = Checkpoints(tmp_path, ALONE, keep=2)
    checkpoints.save(old, {"a": [1, 2]})
    assert checkpoints.restore(new, {"a": (1, 2)}) == 3
    (tensors, numbers), (theirs, other) = _everything(old), _everything(new)
    assert same(tensors, theirs)
    assert numbers == other
    kinds = {re.split("[./]", name)[0] for name in tensors if not name.startswith("power")}
    assert kinds == {"model", "adam"} | ({"ema"} if fields.get("ema_decay", 0.9) else set())
    widths = {name.partition("/")[0] for name in tensors if name.startswith("power")}
    assert widths == {f"power{width}" for width in fields.get("ema_widths", ())}
    steps = [value for name, value in tensors.items() if name.startswith("adam.step.")]
    trained = [part for part in old.model.parameters() if part.requires_grad]
    assert len(steps) == len(trained)
    assert {float(step) for step in steps} <= {0.0, 1.0, 2.0, 3.0}
    if "precision" not in fields:
        assert {float(step) for step in steps} == {3.0}


def test_saving_changes_nothing(tmp_path):
    """A state that is saved before its first step, and after each, is that of a training that is not saved."""
    saved, other = _state(), _state()
    checkpoints = Checkpoints(tmp_path, ALONE, keep=0)
    checkpoints.save(saved, {})
    assert not saved.optimizer.state
    assert all(part.grad is None for part in saved.model.parameters())
    assert same(_everything(saved)[0], _everything(other)[0])
    often = toy_train(tmp_path / "often", Record(save_every=1))
    assert same(weights(often), weights(plain()))
    assert often.losses == plain().losses


def test_going_back_to_before_the_first_step(tmp_path):
    """The checkpoint of step 0 has no moments, and takes those away that a state has by then."""
    state = _state()
    checkpoints = Checkpoints(tmp_path, ALONE, keep=2)
    checkpoints.save(state, {})
    far = _state(3)
    checkpoints.restore(far, {})
    assert far.step == 0
    assert not far.optimizer.state
    assert same(_everything(far)[0], _everything(state)[0])


@pytest.mark.covering(2)
@pytest.mark.parametrize(
    "fields", [{}, {"micro_batch": 5}, {"log_every": 4}, {"precision": "bfloat16"}, {"precision": "float16"}]
)
def test_a_run_goes_on_bit_for_bit(fields, tmp_path):
    """Stopped after 4 of 9 steps and taken up again, losses, weights and average are those of 9 steps at once."""
    first = toy_train(tmp_path, TWO, steps=4, **fields)
    second = toy_train(tmp_path, TWO, steps=9, **fields)
    whole = plain(steps=9, **fields)
    assert first.losses + second.losses == whole.losses
    assert same(weights(second), weights(whole))
    assert second.steps == 9
    averaged = load_checkpoint(tmp_path / "averaged.safetensors")
    assert same(dict(averaged.model.state_dict()), dict(whole.averaged.state_dict()))
    assert averaged.extra == {"step": 9}
    assert toy_train(tmp_path, TWO, steps=9, **fields).losses == []


def test_a_folder_can_be_moved(tmp_path):
    """A run goes on in the folder under another name."""
    toy_train(tmp_path / "a", TWO, steps=4)
    (tmp_path / "a").rename(tmp_path / "b")
    assert same(weights(toy_train(tmp_path / "b", TWO)), weights(plain()))


@pytest.mark.parametrize(("keep", "left"), [(1, [6]), (2, [5, 6]), (0, [1, 2, 3, 4, 5, 6])])
def test_the_last_few_are_kept(keep, left, tmp_path):
    """keep=n leaves the last n, files and JSON, 0 leaves all; nothing else is in the folder."""
    toy_train(tmp_path, Record(save_every=1, keep=keep))
    names = sorted(file.name for file in (tmp_path / "checkpoints").iterdir())
    assert names == sorted(f"step-{step:08d}.{end}" for step in left for end in ("json", "safetensors"))
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        ".lock",
        "averaged.safetensors",
        "checkpoints",
        "config.json",
        "log.jsonl",
    ]


def test_other_files_in_the_folder_do_no_harm(tmp_path):
    """Files of other names, JSON without its tensors and tensors without their JSON are no checkpoints."""
    folder = tmp_path / "checkpoints"
    toy_train(tmp_path, TWO, steps=4)
    for name in ("step-foo.json", "step-00000099.json", "step-00000098.safetensors", "step-.json", "notes.json"):
        (folder / name).write_text("{}")
    assert len(toy_train(tmp_path, TWO).losses) == 2


def test_another_recipe_is_named(tmp_path):
    """A run does not go on with another seed, loss, network or data: the fields are named, and nothing is changed."""
    config = {"steps": 4, "batch_size": 12}
    toy_train(tmp_path, TWO, **config)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file() and file.name != ".lock"}
    for change, expected in (
        ({"seed": 1}, "training.seed=0 for 1"),
        ({"batch_size": 6, "learning_rate": 0.5}, "training.batch_size=12 for 6; training.learning_rate=0.01 for 0.5"),
        ({"decay": "cosine", "steps": 4}, "training.decay='constant' for 'cosine'; training.steps=None for 4"),
        ({"loss": Objective(GVP())}, "loss=.*linear.* for .*gvp.*"),
        ({"data": toy_data(24)}, "data.count=48 for 24"),
        ({"betas": (0.8, 0.9)}, r"training.betas=\[0.9, 0.999\] for \[0.8, 0.9\]"),
    ):
        with pytest.raises(ValueError, match=f"expected the recipe that the run was begun with; .*{expected}; remedy"):
            toy_train(tmp_path, TWO, **config | change)
    after = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file() and file.name != ".lock"}
    assert before == after


def test_what_is_no_mathematics_may_change(tmp_path):
    """More steps, smaller micro-batches, rarer readings and another guard are the same run."""
    toy_train(tmp_path, TWO, steps=4)
    other = toy_train(tmp_path, TWO, steps=8, log_every=3, on_non_finite="skip")
    assert same(weights(other), weights(plain(steps=8)))
    described = json.loads((tmp_path / "config.json").read_text())
    assert described["training"]["steps"] == 8
    assert described["record"]["save_every"] == 2
    assert toy_train(tmp_path, TWO, steps=9, micro_batch=4).losses == pytest.approx(plain(steps=9).losses[8:], 1e-4)


def test_a_loss_of_ones_own_goes_on(tmp_path):
    """A function has another address in every process, which is no part of the recipe."""

    def make():
        loss = Interpolation(Objective(Linear()))

        def own(model, x_data, y, draws):
            return loss(model, x_data, y, draws)

        return own

    one, two = make(), make()
    assert repr(one) != repr(two)
    toy_train(tmp_path, TWO, steps=4, loss=one)
    assert same(weights(toy_train(tmp_path, TWO, loss=two)), weights(plain()))


def test_two_runs_in_one_folder_are_refused(tmp_path):
    """The second says who has the folder, and leaves the first alone."""
    caught = []

    def meddle(step, loss):
        if step == 3:
            with pytest.raises(OSError, match="to itself; received it is in use by process ") as error:
                toy_train(tmp_path, TWO)
            caught.append(str(error.value))

    result = toy_train(tmp_path, TWO, on_step=meddle)
    assert f"process {os.getpid()} on " in caught[0]
    assert same(weights(result), weights(plain()))
    # The lock ends with the run.
    assert toy_train(tmp_path, TWO, steps=7).steps == 7


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_system_without_locks(number, tmp_path, monkeypatch):
    """Where nothing can be locked a folder is simply used; another error of the file system is one."""
    import fcntl

    def refuse(*args):
        raise OSError(number, "of the file system")

    monkeypatch.setattr(fcntl, "flock", refuse)
    if number == errno.EIO:
        with pytest.raises(OSError, match="of the file system"), locked(tmp_path):
            pytest.fail("it was locked")
    else:
        with locked(tmp_path):
            assert (tmp_path / ".lock").read_text() == f"process {os.getpid()} on {socket.gethostname()}"


def test_drafts_of_a_killed_run_are_removed(tmp_path):
    """What a killed run left half-written does not fill the disk."""
    toy_train(tmp_path, TWO, steps=2)
    for draft in (tmp_path / "checkpoints" / ".step-00000004.safetensors.99.part", tmp_path / ".config.json.99.part"):
        draft.write_text("half")
    toy_train(tmp_path, TWO, steps=3)
    assert not list(tmp_path.rglob(".*.part"))


def test_the_average_is_there_when_the_run_is(tmp_path, monkeypatch):
    """The averaged network is written before the checkpoint of its step: a run that is complete has it."""
    seen = []
    real = Checkpoints.save
    monkeypatch.setattr(
        Checkpoints,
        "save",
        lambda *args: (seen.append(load_checkpoint(tmp_path / "averaged.safetensors").extra["step"]), real(*args)),
    )
    toy_train(tmp_path, TWO)
    assert seen == [2, 4, 6]


def test_extra_that_is_no_json_is_refused_before_training(tmp_path):
    """What cannot be kept beside the network is refused at the first moment, not after the first hours."""
    with pytest.raises((TypeError, ValueError), match="JSON"):
        train(
            toy_model(),
            toy_data(),
            toy_config(),
            objective=Objective(Linear()),
            folder=tmp_path,
            extra={"a": object()},
            on_step=lambda step, loss: pytest.fail("a step was made"),
        )

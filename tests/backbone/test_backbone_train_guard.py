"""What a training does where a loss or a gradient is not finite: stop, skip, go back."""

import json
import math

import pytest
import torch
from training_support import plain, same, toy_config, toy_data, toy_model, toy_train, weights

from backbone import NonFiniteLossError, Record, train
from backbone.losses import Interpolation
from backbone.train.log import read_log
from interpolants import Linear, Objective

PLAIN = Interpolation(Objective(Linear()))


def broken(*steps, batch=12, value=math.nan):
    """A loss that is NaN, or another value, for the samples of some steps."""

    def loss(model, x_data, y, draws):
        factor = torch.tensor([value if number // batch in steps else 1.0 for number in draws.ids.tolist()])
        return PLAIN(model, x_data, y, draws) * factor

    return loss


def infinite_gradient(step, batch=12):
    """A loss that is finite everywhere, and its gradient infinite in one step."""

    def loss(model, x_data, y, draws):
        losses = PLAIN(model, x_data, y, draws)
        if int(draws.ids[0]) // batch == step:
            # The slope of a root at zero is infinite.
            losses = losses + (losses - losses.detach()).clamp(min=0).sqrt()
        return losses

    return loss


def rows(folder):
    """The rows of a log, read by a strict parser: NaN is no JSON."""

    def refuse(name):
        raise ValueError(name)

    lines = (folder / "log.jsonl").read_text().splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


def test_stop_leaves_the_weights_and_the_log(tmp_path):
    """ "stop" raises at the step, before the update; the log has the row with null, and the checkpoint is good."""
    with pytest.raises(NonFiniteLossError, match="at step 3") as caught:
        toy_train(tmp_path, Record(save_every=2), loss=broken(3))
    good = plain(steps=3)
    error = caught.value
    assert error.losses[:3] == good.losses
    assert same(error.state["model"], dict(good.model.state_dict()))
    assert [row["loss"] for row in rows(tmp_path)] == [*good.losses, None]
    assert rows(tmp_path)[-1]["not_finite"] is True
    assert all("not_finite" not in row for row in rows(tmp_path)[:-1])
    # The cause mended, the run goes on from step 2 to where it would have come.
    assert same(weights(toy_train(tmp_path, Record(save_every=2), loss=mended(3))), weights(plain(steps=6)))


def mended(*steps):
    """The loss without its fault, under the name of the broken one."""
    return broken(*steps, value=1.0)


def test_a_gradient_that_is_not_finite_stops_too():
    """A finite loss with an infinite gradient is an error of its own step, before the weights see it."""
    with pytest.raises(
        NonFiniteLossError, match="a finite gradient; received NaN or infinity in it at step 2"
    ) as caught:
        toy_train(loss=infinite_gradient(2))
    assert same(caught.value.state["model"], dict(plain(steps=2).model.state_dict()))


@pytest.mark.parametrize("loss", [broken(2), broken(2, value=math.inf), infinite_gradient(2)])
def test_skip_leaves_the_step_out(loss, tmp_path):
    """ "skip" keeps weights, moments and average of before the step, says so in the log, and goes on."""
    result = toy_train(tmp_path, loss=loss, on_non_finite="skip", steps=3)
    assert same(weights(result), weights(plain(steps=2)))
    assert [row.get("not_finite", False) for row in rows(tmp_path)] == [False, False, True]
    longer = toy_train(loss=loss, on_non_finite="skip", steps=5)
    assert all(bool(torch.isfinite(part).all()) for part in weights(longer).values())
    assert longer.losses[:2] == plain(steps=2).losses
    assert longer.ema.updates == 4


def test_skip_looks_at_the_loss_and_not_at_the_gradient_alone():
    """A loss that is NaN by a constant has a finite gradient; its step is left out all the same."""

    def loss(model, x_data, y, draws):
        return PLAIN(model, x_data, y, draws) + (math.nan if int(draws.ids[0]) == 24 else 0.0)

    assert same(weights(toy_train(loss=loss, on_non_finite="skip", steps=3)), weights(plain(steps=2)))


def test_rollback_goes_round_the_step(tmp_path):
    """ "rollback" trains as if the bad steps were not there: twice, also from step 0 and across a checkpoint."""
    loss = broken(1, 4)
    seen = []
    result = train(
        toy_model(),
        toy_data(),
        toy_config(steps=7, on_non_finite="rollback"),
        objective=loss,
        folder=tmp_path,
        record=Record(save_every=3),
        on_step=lambda step, value: seen.append(step),
    )
    assert len(result.losses) == 5
    assert all(math.isfinite(value) for value in result.losses)
    assert same(weights(result), weights(_without(7, (1, 4))))
    assert seen == [0, 0, 2, 3, 3, 5, 6]
    log = rows(tmp_path)
    assert [row["step"] for row in log if "loss" in row] == [1, 3, 4, 6, 7]
    assert [(row["step"], row["rolled_back_from"]) for row in log if "rolled_back_from" in row] == [(0, 2), (3, 5)]


def test_rollbacks_from_one_checkpoint_add_up(tmp_path):
    """Two bad steps between the same two checkpoints are both gone round, each after a rollback of its own."""
    result = toy_train(tmp_path, Record(save_every=6), loss=broken(1, 3), on_non_finite="rollback", steps=6)
    assert same(weights(result), weights(_without(6, (1, 3))))
    log = rows(tmp_path)
    assert [row["rolled_back_from"] for row in log if "rolled_back_from" in row] == [2, 4]
    assert [row["step"] for row in log if "loss" in row] == [1, 3, 5, 6]


def _without(steps, left_out):
    """A training of the given steps without some: a skip has the same effect, for its step teaches nothing."""
    return toy_train(steps=steps, loss=broken(*left_out), on_non_finite="skip")


@pytest.mark.covering(3)
@pytest.mark.parametrize("log_every", [2, 5, 100])
def test_rollback_with_late_readings(log_every, tmp_path):
    """A reading comes before every checkpoint, so that none is saved of weights that saw the bad gradient."""
    result = toy_train(
        tmp_path, Record(save_every=4), loss=broken(2, 9), on_non_finite="rollback", steps=10, log_every=log_every
    )
    assert same(weights(result), weights(_without(10, (2, 9))))
    assert result.steps == 10


def test_stop_with_late_readings_saves_nothing_bad(tmp_path):
    """With log_every=100 the checkpoint of step 4 is refused because of step 2; that of step 2 is there."""
    with pytest.raises(NonFiniteLossError, match="at step 2"):
        toy_train(tmp_path, Record(save_every=2), loss=broken(2), log_every=100)
    assert sorted(file.name for file in (tmp_path / "checkpoints").glob("*.json")) == ["step-00000002.json"]


def test_rollback_gives_up_where_nothing_goes_through(tmp_path):
    """Where two batches in a row fail right after a checkpoint, the weights are at fault: an error, not a loop."""
    with pytest.raises(NonFiniteLossError, match="at step 3"):
        toy_train(tmp_path, Record(save_every=2), loss=broken(2, 3, 4, 5), on_non_finite="rollback", steps=6)


def test_rollback_needs_checkpoints(tmp_path):
    """Without a folder or without save_every "rollback" is refused at once."""
    for folder, record in ((None, Record(save_every=1)), (tmp_path, None)):
        with pytest.raises(ValueError, match='expected checkpoints, for on_non_finite="rollback"; received none'):
            toy_train(folder, record, on_non_finite="rollback")


def test_skipped_steps_are_remembered(tmp_path):
    """A run that rolled back and was interrupted goes on as if it had not been."""
    loss, record = broken(1), Record(save_every=2)
    toy_train(tmp_path / "a", record, loss=loss, on_non_finite="rollback", steps=4)
    resumed = toy_train(tmp_path / "a", record, loss=loss, on_non_finite="rollback", steps=8)
    whole = toy_train(tmp_path / "b", record, loss=loss, on_non_finite="rollback", steps=8)
    assert same(weights(resumed), weights(whole))
    assert resumed.losses == whole.losses[3:]
    assert [row["step"] for row in read_log(tmp_path / "a" / "log.jsonl") if "loss" in row] == [1, 3, 4, 5, 6, 7, 8]

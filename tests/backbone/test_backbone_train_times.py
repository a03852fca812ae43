"""Times that a batch draws together, and times that follow the losses."""

import numpy as np
import pytest
import torch
from training_support import TOY, same, toy_data, toy_model, toy_train, weights

from backbone import Record, SiT
from backbone.draws import Draws
from backbone.losses import Interpolation, LearningLoss, Measured, as_loss
from interpolants import Linear, Noise, Objective
from interpolants.times import Antithetic, Importance, LogitNormal, LowDiscrepancy, Stratified, Uniform

B = 24


def _times(law, size, steps=2, seed=3):
    """The times of some steps of a batch of B, drawn in parts of so many samples."""
    draw = law.of(Linear()).draw
    parts = torch.split(torch.arange(steps * B), size)
    return torch.cat([Draws(seed, part, batch=B).together("time", draw) for part in parts])


@pytest.mark.parametrize("law", [Stratified(Uniform()), LowDiscrepancy(Uniform()), Antithetic(Uniform())], ids=repr)
def test_times_drawn_together_do_not_depend_on_the_parts(law):
    """In parts of 1, 6, 8 and 12, as of processes and micro-batches, the times are those of the whole batch."""
    whole = _times(law, B)
    for size in (1, 6, 8, 12, 2 * B):
        assert torch.equal(_times(law, size), whole)
    assert len(whole.unique()) == 2 * B
    assert not torch.equal(_times(law, B, seed=4), whole)


def test_times_are_spread_over_the_whole_batch():
    """Each of B strata has one time; a shifted grid has equal distances; pairs add up to one. In every step anew."""
    for step in _times(Stratified(Uniform()), 6).view(2, B):
        assert torch.equal((step * B).floor(), torch.arange(B, dtype=torch.float64))
    for step in _times(LowDiscrepancy(Uniform()), 8).view(2, B):
        torch.testing.assert_close(step.sort().values.diff(), torch.full((B - 1,), 1 / B, dtype=torch.float64))
    for step in _times(Antithetic(Uniform()), 1).view(2, B // 2, 2):
        torch.testing.assert_close(step.sum(1), torch.ones(B // 2, dtype=torch.float64))
    for law in (Stratified(Uniform()), LowDiscrepancy(Uniform()), Antithetic(Uniform())):
        one, two = _times(law, B).view(2, B)
        assert not torch.equal(one, two)


class _Spy(Interpolation):
    """Remembers the times that the network is asked at."""

    def __call__(self, model, x_data, y, draws):
        hook = model.register_forward_pre_hook(lambda module, args: SEEN.append(args[1].detach().clone()))
        losses = super().__call__(model, x_data, y, draws)
        hook.remove()
        return losses


SEEN = []


@pytest.mark.parametrize("micro_batch", [None, 5])
def test_a_training_has_stratified_times(micro_batch):
    """The network is asked at one time in each part of equal probability of LogitNormal, whatever the micro-batches."""
    from scipy.stats import norm

    SEEN.clear()
    toy_train(loss=_Spy(Objective(Linear(), times=Stratified(LogitNormal(0.5, 2)))), micro_batch=micro_batch, steps=3)
    for step in torch.cat(SEEN).double().view(3, 12).numpy():
        strata = norm.cdf((np.log(step / (1 - step)) - 0.5) / 2)
        assert np.array_equal(np.floor(strata * 12), np.arange(12))


def _importance(**fields):
    return Importance(**({"bins": 3, "history": 4} | fields))


def test_which_objectives_learn():
    """An Importance, alone or inside other times, makes a loss that learns; others do not."""
    for times in (_importance(), Stratified(_importance()), Antithetic(_importance())):
        loss = as_loss(Objective(Linear(), times=times))
        assert isinstance(loss, Measured)
        assert isinstance(loss, LearningLoss)
    for times in (Uniform(), Stratified(LogitNormal())):
        loss = as_loss(Objective(Linear(), times=times))
        assert type(loss) is Interpolation
        assert not isinstance(loss, LearningLoss)


def test_the_histogram_remembers_the_losses_of_the_step():
    """After three steps it is that of an object that was told every time and squared error by hand, in order."""
    times, expected, told = _importance(), _importance(), []
    objective = Objective(Linear(), Noise, times=times)

    class Watched(Measured):
        def __call__(self, model, x_data, y, draws):
            time = torch.cat([expected.of(Linear()).at(draws.uniform("time"), torch.float32)])
            noise = draws.normal("noise", (1, 4, 4))
            x_t = (1 - time.view(-1, 1, 1, 1)) * x_data + time.view(-1, 1, 1, 1) * noise
            with torch.no_grad():
                output = model(x_t, time, y, drop_labels=draws.below("drop", 0.1))
            told.append((time, (output - noise).square().flatten(1).mean(1)))
            return super().__call__(model, x_data, y, draws)

        def learn(self, gather):
            super().learn(gather)
            for time, losses in told:
                expected.update(time, losses)
            told.clear()

    toy_train(loss=Watched(objective), micro_batch=5, steps=3)
    assert times.warm
    assert times.state_dict()["counts"] == expected.state_dict()["counts"]
    np.testing.assert_allclose(times.state_dict()["losses"], expected.state_dict()["losses"], rtol=1e-4)
    assert len(set(times.probabilities.tolist())) == 3


def test_an_evaluation_teaches_nothing():
    """Losses without a gradient, and a step that is not finite, are not remembered."""
    times = _importance()
    loss, data = as_loss(Objective(Linear(), times=times)), toy_data()
    draws = Draws(0, torch.arange(8))
    x, y = data.batch(torch.arange(8), draws)
    with torch.no_grad():
        loss(toy_model(), x, y, draws)
    assert not loss._calls
    loss(toy_model(), torch.full_like(x, torch.nan), y, draws)
    loss.learn(lambda part: part)
    assert sum(times.state_dict()["counts"]) == 0
    assert not loss._calls
    loss(toy_model(), x, y, draws)
    loss.learn(lambda part: part)
    assert sum(times.state_dict()["counts"]) == 8


@pytest.mark.covering(2)
@pytest.mark.parametrize("times", [lambda: Stratified(_importance()), _importance])
def test_a_run_with_such_times_goes_on_bit_for_bit(times, tmp_path):
    """The histogram is part of the checkpoint: 3 and 4 steps are 7 steps, and micro-batches change rounding alone."""

    def loss():
        return Objective(Linear(), times=times())

    record = Record(save_every=1)
    first = toy_train(tmp_path, record, loss=loss(), steps=3)
    second = toy_train(tmp_path, record, loss=loss(), steps=7)
    whole = toy_train(loss=loss(), steps=7)
    assert first.losses + second.losses == whole.losses
    assert same(weights(second), weights(whole))
    assert toy_train(loss=loss(), steps=7, micro_batch=5).losses == pytest.approx(whole.losses, rel=1e-4)
    assert toy_train(loss=loss(), steps=7, ema_decay=None).losses == whole.losses


def test_a_rollback_takes_the_histogram_back(tmp_path):
    """After a rollback the histogram is that of the checkpoint, without the samples of the step that failed."""
    times = _importance()

    class Broken(Measured):
        def __call__(self, model, x_data, y, draws):
            losses = super().__call__(model, x_data, y, draws)
            return losses * torch.nan if int(draws.ids[0]) == 36 else losses

    toy_train(
        tmp_path, Record(save_every=2), loss=Broken(Objective(Linear(), times=times)), on_non_finite="rollback", steps=5
    )
    other = _importance()
    toy_train(loss=Broken(Objective(Linear(), times=other)), on_non_finite="skip", steps=5)
    # A skip still saw the times of the step, whose own losses are numbers; the rollback did not.
    assert sum(times.state_dict()["counts"]) == 4 * 12
    assert SiT(TOY).config == toy_model().config

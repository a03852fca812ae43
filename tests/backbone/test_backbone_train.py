"""The training loop: the objective, reproducibility, options and refusals."""

import math

import pytest
import torch
from backbone_support import perturb

from backbone import Arrays, NonFiniteLossError, SiT, SiTConfig, TrainConfig, train
from backbone.draws import Draws
from backbone.losses import Interpolation
from interpolants import Linear, Objective, Schedule
from interpolants import t as time_symbol

TOY = SiTConfig(
    input_size=4, patch_size=2, in_channels=1, hidden_size=16, depth=1, num_heads=2, num_classes=2, learn_sigma=False
)


@pytest.fixture
def data():
    """Two classes: images of -1 and of +1 with a little noise."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(64) % 2
    return (2.0 * y - 1).view(-1, 1, 1, 1) + 0.1 * torch.randn(64, 1, 4, 4, generator=generator), y


def _model():
    torch.manual_seed(0)
    return SiT(TOY)


def _run(data, **fields):
    config = TrainConfig(**({"steps": 5, "batch_size": 16, "learning_rate": 1e-3} | fields))
    return train(_model(), Arrays(*data), config, objective=Objective(Linear()))


@torch.no_grad()
def test_the_objective_is_the_mean_squared_error_of_the_velocity():
    """The loss of a sample is the mean of (v(α x + σ ε, t, y) - (α' x + σ' ε))², for its own time and noise."""
    model = perturb(_model()).eval()
    x, y = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(3)), torch.tensor([0, 1, 0])
    draws = Draws(5, torch.tensor([7, 8, 11]))
    schedule = Schedule("odd", 1 - time_symbol**2, time_symbol**2 * (2 - time_symbol))
    losses = Interpolation(Objective(schedule))(model, x, y, draws)
    noise, dropped = draws.normal("noise", (1, 4, 4)), draws.below("drop", 0.1)
    assert not dropped.any()
    for i, t in enumerate(draws.uniform("time").tolist()):
        x_t = (1 - t**2) * x[i] + t**2 * (2 - t) * noise[i]
        velocity = -2 * t * x[i] + (4 * t - 3 * t**2) * noise[i]
        mean = float((model(x_t[None], t, y[i : i + 1])[0] - velocity).square().mean())
        assert float(losses[i]) == pytest.approx(mean, rel=1e-5)


def test_a_new_network_has_the_loss_of_zero(data):
    """The first loss, of the zero output, is E|ε - x|² per pixel, within 5 standard errors."""
    result = _run(data, steps=1, batch_size=4096)
    pixels = data[0].flatten()
    mean, count = 1 + float(pixels.square().mean()), 4096 * 16
    spread = math.sqrt(2 + 4 * float(pixels.square().mean()) + float(pixels.square().var()))
    assert abs(result.losses[0] - mean) < 5 * spread / math.sqrt(count)


def test_training_lowers_the_loss(data):
    """150 steps on two classes more than halve the loss, of the model and of its average."""
    result = _run(data, steps=150, batch_size=32, learning_rate=5e-3, ema_decay=0.9)
    assert len(result.losses) == 150
    assert sum(result.losses[-20:]) / 20 < 0.5 * result.losses[0]
    assert result.seconds > 0
    assert result.averaged is result.ema.model
    x, y = data
    with torch.no_grad():
        losses = Interpolation(Objective(Linear()))(result.averaged, x, y, Draws(5, torch.arange(64)))
    assert float(losses.mean()) < 0.5 * result.losses[0]


def test_the_same_seed_gives_the_same_bits(data):
    """Losses, weights and average are equal bit for bit under one seed, whatever torch's global generator does."""
    first = _run(data, ema_decay=0.9)
    model = _model()
    torch.manual_seed(99)
    second = train(
        model,
        Arrays(*data),
        TrainConfig(steps=5, batch_size=16, learning_rate=1e-3, ema_decay=0.9),
        objective=Objective(Linear()),
    )
    assert first.losses == second.losses
    for one, two in ((first.model, second.model), (first.averaged, second.averaged)):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert _run(data, seed=1).losses != first.losses


def test_reading_the_loss_seldom_changes_nothing(data):
    """log_every groups the readings: the losses and the order of on_step stay the same."""
    seen = []
    config = TrainConfig(steps=7, batch_size=16, log_every=3)
    result = train(
        _model(),
        Arrays(*data),
        config,
        objective=Objective(Linear()),
        on_step=lambda step, loss: seen.append((step, loss)),
    )
    assert result.losses == _run(data, steps=7, learning_rate=1e-4).losses
    assert seen == list(enumerate(result.losses))


def test_options_take_effect(data):
    """No average without a decay; clipping, warm-up and cosine each change the weights; the mode is restored."""
    plain = _run(data, ema_decay=None)
    assert plain.ema is None
    assert plain.averaged is plain.model
    assert plain.model.training
    for option in ({"clip_norm": 1e-3}, {"warmup_steps": 5}, {"decay": "cosine"}, {"weight_decay": 1.0}):
        other = _run(data, **option).model
        assert not torch.equal(other.t_embedder.mlp[0].weight, plain.model.t_embedder.mlp[0].weight), option
    evaluating = _model().eval()
    train(evaluating, Arrays(*data), TrainConfig(steps=1, batch_size=4), objective=Objective(Linear()))
    assert not evaluating.training


def test_dropped_labels_train_the_null_class(data):
    """With class_dropout=1 only the null row of the table moves; with 0 it is the only one that does not."""
    for rate, moved in ((1.0, [False, False, True]), (0.0, [True, True, False])):
        torch.manual_seed(0)
        model = SiT(SiTConfig(**(TOY.to_dict() | {"class_dropout": rate})))
        before = model.y_embedder.embedding_table.weight.detach().clone()
        train(
            model, Arrays(*data), TrainConfig(steps=4, batch_size=16, learning_rate=1e-2), objective=Objective(Linear())
        )
        change = (model.y_embedder.embedding_table.weight - before).abs().sum(dim=1) > 0
        assert change.tolist() == moved


def test_a_loss_that_is_not_finite_is_an_error(data):
    """NaN in the data stops training at its step, before the update, with the weights and the losses in the error."""
    x, y = data
    broken = x.clone()
    broken[:] = float("nan")
    model = _model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(
        NonFiniteLossError, match="expected a finite loss; received nan at step 0; remedy: lower"
    ) as caught:
        train(model, Arrays(broken, y), TrainConfig(steps=5, batch_size=16), objective=Objective(Linear()))
    error = caught.value
    assert error.step == 0
    assert math.isnan(error.losses[-1])
    assert all(torch.equal(tensor, before[name]) for name, tensor in error.state["model"].items())
    assert set(error.state) == {"model", "ema", "optimizer"}


def test_a_late_reading_names_the_first_bad_step(data):
    """With log_every=4 a schedule that turns NaN at the third step is reported as step 2."""
    calls, plain = [], Interpolation(Objective(Linear()))

    def loss(model, x_data, y, draws):
        calls.append(1)
        return plain(model, x_data, y, draws) * (float("nan") if len(calls) == 3 else 1.0)

    with pytest.raises(NonFiniteLossError, match="at step 2") as caught:
        train(_model(), Arrays(*data), TrainConfig(steps=8, batch_size=16, log_every=4), objective=loss)
    assert len(caught.value.losses) == 3


def test_something_else_than_an_objective_is_refused(data):
    """A schedule in the place of an objective is refused with what to pass."""
    with pytest.raises(TypeError, match=r"expected an objective; received .*; remedy: pass interpolants.Objective"):
        train(_model(), Arrays(*data), TrainConfig(steps=1, batch_size=4), objective="linear")


def test_data_that_do_not_fit_are_refused(data):
    """Images of another size, and labels of another length or out of range, are refused before the first step."""
    x, y = data
    for images, labels, expected in [
        (x[:, :, :3], y, r"records of shape \(1, 4, 4\); received \(1, 3, 4\)"),
        (x, y[:3], r"shape \(64,\); received torch\.int64 of shape \(3,\)"),
        (x, y + 2, "data of 2 classes; received 4"),
        (x, y - 1, "training labels within 0 … .*; received labels from -1 to 0"),
        (x, y.float(), "y to be an int64 tensor"),
        (x[:0], y[:0], "at least one image"),
        (x, None, "data of 2 classes; received 0"),
    ]:
        with pytest.raises(ValueError, match=f"expected .*{expected}.*; remedy: "):
            train(_model(), Arrays(images, labels), TrainConfig(steps=1, batch_size=4), objective=Objective(Linear()))
    with pytest.raises(ValueError, match="within 0 … 1; received labels from 1 to 2; remedy: count labels from 0"):
        Arrays(x, y + 1, num_classes=2)


def test_progress_writes_to_stderr(data, capsys):
    """progress=True shows a bar on stderr and nothing on stdout; without it both are silent."""
    for progress in (True, False):
        train(
            _model(),
            Arrays(*data),
            TrainConfig(steps=2, batch_size=4),
            objective=Objective(Linear()),
            progress=progress,
        )
        out, err = capsys.readouterr()
        assert out == ""
        assert ("2/2" in err) is progress

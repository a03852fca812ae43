"""The training loop: the objective, reproducibility, options and refusals."""

import math
from types import SimpleNamespace

import pytest
import torch
from backbone_support import perturb

from backbone import NonFiniteLossError, SiT, SiTConfig, TrainConfig, train
from backbone.train import batches, velocity_loss

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


def _run(data, linear, **fields):
    config = TrainConfig(**({"steps": 5, "batch_size": 16, "learning_rate": 1e-3} | fields))
    return train(_model(), *data, config, schedule=linear)


@torch.no_grad()
def test_the_objective_is_the_mean_squared_error_of_the_velocity(linear):
    """The loss is the mean of (v(α x + σ ε, t, y) - (α' x + σ' ε))², for coefficients with no special values."""
    model = perturb(_model()).eval()
    generator = torch.Generator().manual_seed(3)
    x, noise = torch.randn(2, 3, 1, 4, 4, generator=generator)
    time, y, keep = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0, 1, 0]), torch.zeros(3, dtype=torch.bool)

    def schedule(t):
        return SimpleNamespace(alpha=1 + t, sigma=2 - t, d_alpha=3 * t, d_sigma=t - 5)

    total = 0.0
    for i, t in enumerate(time.tolist()):
        x_t = (1 + t) * x[i] + (2 - t) * noise[i]
        velocity = 3 * t * x[i] + (t - 5) * noise[i]
        total += float((model(x_t[None], t, y[i : i + 1])[0] - velocity).square().sum())
    loss = velocity_loss(model, schedule, x, y, time, noise, keep)
    assert float(loss) == pytest.approx(total / x.numel(), rel=1e-5)


def test_a_new_network_has_the_loss_of_zero(data, linear):
    """The first loss, of the zero output, is E|ε - x|² per pixel, within 5 standard errors."""
    result = _run(data, linear, steps=1, batch_size=4096)
    pixels = data[0].flatten()
    mean, count = 1 + float(pixels.square().mean()), 4096 * 16
    spread = math.sqrt(2 + 4 * float(pixels.square().mean()) + float(pixels.square().var()))
    assert abs(result.losses[0] - mean) < 5 * spread / math.sqrt(count)


def test_training_lowers_the_loss(data, linear):
    """150 steps on two classes more than halve the loss, of the model and of its average."""
    result = _run(data, linear, steps=150, batch_size=32, learning_rate=5e-3, ema_decay=0.9)
    assert len(result.losses) == 150
    assert sum(result.losses[-20:]) / 20 < 0.5 * result.losses[0]
    assert result.seconds > 0
    assert result.averaged is result.ema.model
    x, y = data
    generator = torch.Generator().manual_seed(5)
    time, noise = torch.rand(64, generator=generator), torch.randn(x.shape, generator=generator)
    with torch.no_grad():
        loss = velocity_loss(result.averaged, linear, x, y, time, noise, torch.zeros(64, dtype=torch.bool))
    assert float(loss) < 0.5 * result.losses[0]


def test_the_same_seed_gives_the_same_bits(data, linear):
    """Losses, weights and average are equal bit for bit under one seed, whatever torch's global generator does."""
    first = _run(data, linear, ema_decay=0.9)
    model = _model()
    torch.manual_seed(99)
    second = train(
        model, *data, TrainConfig(steps=5, batch_size=16, learning_rate=1e-3, ema_decay=0.9), schedule=linear
    )
    assert first.losses == second.losses
    for one, two in ((first.model, second.model), (first.averaged, second.averaged)):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert _run(data, linear, seed=1).losses != first.losses


def test_reading_the_loss_seldom_changes_nothing(data, linear):
    """log_every groups the readings: the losses and the order of on_step stay the same."""
    seen = []
    config = TrainConfig(steps=7, batch_size=16, log_every=3)
    result = train(_model(), *data, config, schedule=linear, on_step=lambda step, loss: seen.append((step, loss)))
    assert result.losses == _run(data, linear, steps=7, learning_rate=1e-4).losses
    assert seen == list(enumerate(result.losses))


def test_options_take_effect(data, linear):
    """No average without a decay; clipping, warm-up and cosine each change the weights; the mode is restored."""
    plain = _run(data, linear, ema_decay=None)
    assert plain.ema is None
    assert plain.averaged is plain.model
    assert plain.model.training
    for option in ({"clip_norm": 1e-3}, {"warmup_steps": 5}, {"decay": "cosine"}, {"weight_decay": 1.0}):
        other = _run(data, linear, **option).model
        assert not torch.equal(other.t_embedder.mlp[0].weight, plain.model.t_embedder.mlp[0].weight), option
    evaluating = _model().eval()
    train(evaluating, *data, TrainConfig(steps=1, batch_size=4), schedule=linear)
    assert not evaluating.training


def test_dropped_labels_train_the_null_class(data, linear):
    """With class_dropout=1 only the null row of the table moves; with 0 it is the only one that does not."""
    for rate, moved in ((1.0, [False, False, True]), (0.0, [True, True, False])):
        torch.manual_seed(0)
        model = SiT(SiTConfig(**(TOY.to_dict() | {"class_dropout": rate})))
        before = model.y_embedder.embedding_table.weight.detach().clone()
        train(model, *data, TrainConfig(steps=4, batch_size=16, learning_rate=1e-2), schedule=linear)
        change = (model.y_embedder.embedding_table.weight - before).abs().sum(dim=1) > 0
        assert change.tolist() == moved


def test_batches_visit_every_image_once_an_epoch():
    """Indices are permutations that follow one another, also when the batch does not divide or exceeds the data."""
    for count, size in ((10, 4), (3, 7)):
        index = batches(count, size, torch.Generator().manual_seed(0))
        flat = torch.cat([next(index) for _ in range(count)])
        epochs = flat.view(size, count).sort(dim=1).values
        assert torch.equal(epochs, torch.arange(count).expand(size, count))


def test_a_loss_that_is_not_finite_is_an_error(data, linear):
    """NaN in the data stops training at its step, before the update, with the weights and the losses in the error."""
    x, y = data
    broken = x.clone()
    broken[:] = float("nan")
    model = _model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(
        NonFiniteLossError, match="expected a finite loss; received nan at step 0; remedy: lower"
    ) as caught:
        train(model, broken, y, TrainConfig(steps=5, batch_size=16), schedule=linear)
    error = caught.value
    assert error.step == 0
    assert math.isnan(error.losses[-1])
    assert all(torch.equal(tensor, before[name]) for name, tensor in error.state["model"].items())
    assert set(error.state) == {"model", "ema", "optimizer"}


def test_a_late_reading_names_the_first_bad_step(data, linear):
    """With log_every=4 a schedule that turns NaN at the third step is reported as step 2."""
    calls = []

    def schedule(time):
        calls.append(1)
        at = linear(time)
        if len(calls) == 3:
            at.alpha = at.alpha * float("nan")
        return at

    with pytest.raises(NonFiniteLossError, match="at step 2") as caught:
        train(_model(), *data, TrainConfig(steps=8, batch_size=16, log_every=4), schedule=schedule)
    assert len(caught.value.losses) == 3


def test_data_that_do_not_fit_are_refused(data, linear):
    """Images of another size, and labels of another length or out of range, are refused before the first step."""
    x, y = data
    for images, labels, expected in [
        (x[:, :, :3], y, r"x to be a floating tensor of shape \(N, 1, 4, 4\)"),
        (x, y[:3], r"shape \(64,\); received torch\.int64 of shape \(3,\)"),
        (x, y + 2, "within 0 … 2 "),
        (x, y + 1, "training labels within 0 … 1; received the null class 2"),
        (x, y.float(), "y to be an int64 tensor"),
        (x[:0], y[:0], "at least one image"),
    ]:
        with pytest.raises(ValueError, match=f"expected .*{expected}.*; remedy: "):
            train(_model(), images, labels, TrainConfig(steps=1, batch_size=4), schedule=linear)


def test_progress_writes_to_stderr(data, linear, capsys):
    """progress=True shows a bar on stderr and nothing on stdout; without it both are silent."""
    for progress in (True, False):
        train(_model(), *data, TrainConfig(steps=2, batch_size=4), schedule=linear, progress=progress)
        out, err = capsys.readouterr()
        assert out == ""
        assert ("2/2" in err) is progress

"""A step of training against one written out by hand, accumulation, precision, compilation."""

import math
from itertools import chain

import pytest
import torch
from training_support import plain, same, toy_config, toy_data, toy_model, toy_train, weights

from backbone.data.order import Order
from backbone.draws import Draws
from backbone.losses import Interpolation
from backbone.train.log import read_log
from interpolants import Linear, Objective


def _by_hand(config, model, data):
    """The weights, their average, the losses and the norms after AdamW, warm-up, cosine and clipping written out."""
    loss, order = Interpolation(Objective(Linear())), Order(data.count, config.seed)
    parts = [part for part in model.parameters() if part.requires_grad]
    first, second = ([torch.zeros_like(part) for part in parts] for _ in range(2))
    average = [part.detach().clone() for part in parts]
    losses, norms = [], []
    for k in range(config.steps):
        ids = torch.arange(k * config.batch_size, (k + 1) * config.batch_size)
        draws = Draws(config.seed, ids)
        mean = loss(model, *data.batch(order(ids), draws), draws).mean()
        slopes = torch.autograd.grad(mean, parts)
        losses.append(float(mean.detach()))
        norms.append(math.sqrt(sum(float(slope.square().sum()) for slope in slopes)))
        factor = min(1.0, config.clip_norm / norms[-1])
        rate = config.learning_rate * min(1.0, (k + 1) / config.warmup_steps)
        rate *= (1 + math.cos(math.pi * k / config.steps)) / 2
        beta_1, beta_2 = config.betas
        with torch.no_grad():
            for part, slope, m, v, mean_part in zip(parts, slopes, first, second, average):
                slope = slope * factor
                m += (1 - beta_1) * (slope - m)
                v += (1 - beta_2) * (slope**2 - v)
                m_hat, v_hat = m / (1 - beta_1 ** (k + 1)), v / (1 - beta_2 ** (k + 1))
                part -= rate * config.weight_decay * part + rate * m_hat / (v_hat.sqrt() + 1e-8)
                mean_part += (1 - config.ema_decay) * (part - mean_part)
    return parts, average, losses, norms


def test_a_training_is_the_steps_written_out(tmp_path):
    """Losses, weights and average are those of AdamW (Loshchilov & Hutter), warm-up, cosine, clipping by the norm."""
    config = toy_config(
        steps=9, warmup_steps=4, decay="cosine", clip_norm=0.5, weight_decay=0.1, betas=(0.8, 0.95), seed=3
    )
    fields = {name: getattr(config, name) for name in config.__slots__}
    result = toy_train(tmp_path, **fields)
    parts, average, losses, norms = _by_hand(config, toy_model().train(), toy_data())
    assert result.losses == pytest.approx(losses, rel=1e-5)
    assert any(norm > 0.5 for norm in norms)
    trained = [part for part in result.model.parameters() if part.requires_grad]
    averaged = [part for part, own in zip(result.averaged.parameters(), result.model.parameters()) if own.requires_grad]
    for ours, theirs in ((trained, parts), (averaged, average)):
        for one, two in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one.detach(), two.detach(), rtol=1e-4, atol=2e-5)
    rows = read_log(tmp_path / "log.jsonl")
    assert [row["step"] for row in rows] == list(range(1, 10))
    assert [row["grad_norm"] for row in rows] == pytest.approx(norms, rel=1e-4)
    assert [row["lr"] for row in rows][:2] == pytest.approx([0.0025, 0.005 * (1 + math.cos(math.pi / 9)) / 2])


def test_a_large_limit_does_not_clip():
    """clip_norm above every norm leaves the weights as they are without it, bit for bit."""
    assert same(weights(toy_train(clip_norm=1e6)), weights(plain()))


def test_micro_batches_change_rounding_alone(tmp_path):
    """micro_batch 1, 5 and 12 see the same samples: losses and norms agree to rounding; more than all is all."""
    seen, fields = [], {"clip_norm": 0.5}

    class Watched:
        count, shape, num_classes = 48, (1, 4, 4), 2
        inner = toy_data()

        def batch(self, records, draws):
            seen.append(records.tolist())
            return self.inner.batch(records, draws)

    def norms(folder):
        return [row["grad_norm"] for row in read_log(folder / "log.jsonl")]

    whole, batches = toy_train(tmp_path / "whole", data=Watched(), **fields), list(seen)
    for size, calls in ((1, 12), (5, 3), (12, 1), (50, 1)):
        seen.clear()
        part = toy_train(tmp_path / str(size), data=Watched(), micro_batch=size, **fields)
        assert len(seen) == 6 * calls
        assert [*chain(*seen)] == [*chain(*batches)]
        assert part.losses == pytest.approx(whole.losses, rel=1e-4)
        assert norms(tmp_path / str(size)) == pytest.approx(norms(tmp_path / "whole"), rel=1e-3)
        assert (size < 12) or same(weights(part), weights(whole))


@pytest.mark.parametrize("precision", ["tf32", "bfloat16", "float16"])
def test_lower_precision_is_near_float32(precision, tmp_path):
    """The first losses are within 2% of those of float32, the weights stay float32, and settings are put back."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    seen = []

    class Spy(Interpolation):
        def __call__(self, model, x_data, y, draws):
            seen.append((torch.get_float32_matmul_precision(), torch.is_autocast_enabled("cpu")))
            return super().__call__(model, x_data, y, draws)

    lower = toy_train(tmp_path, precision=precision, loss=Spy(Objective(Linear())))
    assert lower.losses == pytest.approx(plain().losses, rel=2e-2)
    assert {part.dtype for part in weights(lower).values()} == {torch.float32}
    assert set(seen) == {("high", precision != "tf32")}
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before
    if precision != "tf32":
        assert lower.losses != plain().losses


def test_float32_computes_in_float32():
    """Without an option the network multiplies in full precision, whatever the process was set to before."""
    seen = []

    class Spy(Interpolation):
        def __call__(self, model, x_data, y, draws):
            seen.append((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))
            return super().__call__(model, x_data, y, draws)

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        toy_train(steps=1, loss=Spy(Objective(Linear())))
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
    assert seen == [("highest", False)]


def test_the_scaler_leaves_out_steps_that_overflow(tmp_path):
    """In float16 a loss of 1e4 overflows under the first scales: weights wait until it fits, and the log says so."""
    loss = Interpolation(Objective(Linear()))

    def large(model, x_data, y, draws):
        return 1e4 * loss(model, x_data, y, draws)

    result = toy_train(tmp_path, precision="float16", loss=large, steps=12)
    left_out = [row["step"] for row in read_log(tmp_path / "log.jsonl") if row.get("not_finite")]
    assert 3 <= len(left_out) < 11
    assert 2 in left_out
    one, two = (toy_train(precision="float16", loss=large, steps=steps, ema_decay=None) for steps in (1, 2))
    assert same(weights(one), weights(two))
    assert all(math.isfinite(loss) for loss in result.losses)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a .functools.lru_cache:UserWarning")
def test_a_compiled_network_learns_the_same(tmp_path):
    """torch.compile changes the losses by rounding alone, and the names of the weights not at all."""
    from backbone import Record, load_checkpoint

    compiled = toy_train(tmp_path, Record(save_every=3), compile=True)
    assert compiled.losses == pytest.approx(plain().losses, rel=1e-4)
    model = load_checkpoint(tmp_path / "averaged.safetensors").model
    assert same(dict(model.state_dict()), dict(compiled.averaged.state_dict()))
    # A run that was begun compiled goes on without, and the network was not changed in place.
    assert toy_train(tmp_path, steps=8).steps == 8
    assert type(compiled.model).__name__ == "SiT"
    assert compiled.model._compiled_call_impl is None


def test_the_same_samples_whatever_the_batch(tmp_path):
    """Eight steps of 6 and four of 12 train on the same records, times and noises."""
    seen = {}
    for size in (6, 12):
        rows = []

        class Spy(Interpolation):
            rows_of = rows

            def __call__(self, model, x_data, y, draws):
                self.rows_of.append(torch.cat([draws.uniform("time")[:, None], x_data.flatten(1)], 1))
                return super().__call__(model, x_data, y, draws)

        toy_train(batch_size=size, steps=48 // size, loss=Spy(Objective(Linear())))
        seen[size] = torch.cat(rows)
    assert torch.equal(seen[6], seen[12])

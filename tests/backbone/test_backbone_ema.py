"""The moving average against its closed form."""

import pytest
import torch
from backbone_support import TINY
from torch import nn

from backbone import EMA, SiT


class Counter(nn.Module):
    """One weight, one integer buffer, one frozen weight."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, dtype=torch.float64))
        self.frozen = nn.Parameter(torch.full((2,), 0.1), requires_grad=False)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))


def test_the_average_is_the_closed_form():
    """After n updates towards constant weights the average is θ (1 - d^n) from zero."""
    model = Counter()
    ema = EMA(model, decay=0.9)
    with torch.no_grad():
        model.weight.fill_(2.0)
    for n in range(1, 21):
        ema.update(model)
        torch.testing.assert_close(ema.model.weight, torch.full((3,), 2 * (1 - 0.9**n), dtype=torch.float64))
    assert ema.updates == 20


def test_the_warm_up_is_the_smaller_decay():
    """With warm-up the n-th decay is min(d, (1 + n)/(10 + n))."""
    model = Counter()
    ema = EMA(model, decay=0.5, warmup=True)
    with torch.no_grad():
        model.weight.fill_(1.0)
    missing = 1.0
    for n in range(1, 31):
        ema.update(model)
        missing *= min(0.5, (1 + n) / (10 + n))
        assert float(1 - ema.model.weight[0]) == pytest.approx(missing, abs=1e-12)


def test_buffers_and_frozen_weights_are_copied_exactly():
    """Buffers take the model's value and a frozen weight does not drift."""
    model = Counter()
    ema = EMA(model, decay=0.9)
    model.count += 7
    for _ in range(100):
        ema.update(model)
    assert int(ema.model.count) == 7
    assert torch.equal(ema.model.frozen, model.frozen)


def test_the_average_is_a_separate_network():
    """The average is in evaluation mode, needs no gradient, and shares no memory with the model."""
    model = SiT(TINY).train()
    ema = EMA(model, decay=0.5)
    assert not ema.model.training
    assert model.training
    assert not any(parameter.requires_grad for parameter in ema.model.parameters())
    before = ema.model.state_dict()["final_layer.linear.bias"].clone()
    with torch.no_grad():
        model.final_layer.linear.bias.add_(1.0)
    assert torch.equal(ema.model.final_layer.linear.bias, before)
    ema.update(model)
    assert torch.equal(ema.model.final_layer.linear.bias, before + 0.5)


def test_a_bfloat16_model_is_averaged_in_float32():
    """Small updates are not lost: the average of a bfloat16 model is float32 and moves by 1 - d."""
    model = nn.Linear(2, 2, bias=False).bfloat16()
    ema = EMA(model, decay=0.9999)
    assert ema.model.weight.dtype == torch.float32
    with torch.no_grad():
        ema.model.weight.fill_(1.0)
        model.weight.fill_(2.0)
    ema.update(model)
    assert torch.allclose(ema.model.weight, torch.tensor(1.0001), rtol=0, atol=1e-7)


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_bad_decay_is_refused(decay):
    """A decay outside [0, 1) is refused."""
    with pytest.raises(ValueError, match=r"expected a decay in \[0, 1\); received .*; remedy: "):
        EMA(nn.Linear(1, 1), decay)

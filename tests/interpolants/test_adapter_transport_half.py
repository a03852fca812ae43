"""SiT's interface with data and noise in half precision: what stays in single precision."""

import torch

from interpolants.adapters.transport import Sampler, create_transport
from tests.support.sit_published import network, wide


def test_half_precision_data_have_single_precision_times_and_losses():
    """4096 times of bfloat16 data are all but distinct (684 there); the model sees bfloat16 points."""
    torch.manual_seed(9)
    x1, seen = torch.randn(4096, 2).bfloat16(), []

    def model(x, t):
        seen.append(x.dtype)
        return x.float() * wide(t, x)

    transport = create_transport()
    torch.manual_seed(10)
    t, x0, _ = transport.sample(x1)
    assert t.dtype == torch.float32
    assert t.unique().numel() > 4090
    assert x0.dtype == torch.bfloat16
    torch.manual_seed(10)
    loss = transport.training_losses(model, x1)["loss"]
    point = wide(t, x1) * x1.float() + (1 - wide(t, x1)) * x0.float()
    wanted = ((model(point.bfloat16(), t) - x1.float() + x0.float()) ** 2).mean(1)
    assert loss.dtype == torch.float32
    assert set(seen) == {torch.bfloat16}
    # One rounding of the point may fall on the other side.
    assert (loss - wanted).abs().median() < 1e-6
    assert torch.allclose(loss, wanted, rtol=0.05, atol=0.05)


def test_half_precision_noise_is_solved_in_single_precision():
    """States come back in bfloat16, one rounding from those of float32 noise with the same rounded model."""
    x, seen = torch.randn(4, 3, generator=torch.Generator().manual_seed(11)).bfloat16(), []

    def model(x, t):
        seen.append((x.dtype, t.dtype))
        return network(x.bfloat16(), t).to(x.dtype)

    sampler = Sampler(create_transport())
    for sample in (
        sampler.sample_ode(sampling_method="heun2", num_steps=30),
        sampler.sample_sde(diffusion_form="sigma", num_steps=30),
    ):
        torch.manual_seed(12)
        half = sample(x, model)[-1]
        assert set(seen) == {(torch.bfloat16, torch.float32)}
        torch.manual_seed(12)
        single = sample(x.float(), model)[-1]
        seen.clear()
        assert half.dtype == torch.bfloat16
        assert torch.equal(half, single.bfloat16())

"""What a sampler draws: a function of the seed and the number of a sample, by the solve that was asked for."""

import dataclasses

import numpy as np
import pytest
import torch
from backbone_support import TINY
from sampling_support import EXTRA, quick, tiny

from backbone import SiT, SiTConfig, save_checkpoint
from backbone.sampling.pixels import to_bytes
from backbone.sampling.sampler import Sampler
from solvers import NonFiniteError, PoleError
from solvers.noise import PerSample

LATENT = SiTConfig(**TINY.to_dict() | {"in_channels": 4})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    file = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    return file, tiny(file)


def _normals(first, count, draws):
    """The noise to start from and the unit increments of these samples, by numpy."""
    source, like = PerSample(5, first=first), np.zeros((count, 3, 8, 8))
    noise = source.increments(like)
    return [torch.from_numpy(z).float() for z in (source.start(like), *(noise(0.0, 1.0) for _ in range(draws)))]


def _velocity(model, x, time, labels):
    with torch.no_grad():
        return model(x, torch.full((len(x),), time), labels)


def test_the_flow_is_heuns_from_the_noise_of_each_sample(checkpoint):
    """A loop of Heun's method, written here, from normals by numpy gives the latents; nfe is two for a step."""
    file, model = checkpoint
    drawn = Sampler(file, quick(seed=5, format="latents", grid="power(2)")).draw(4, 7)
    labels, (x,) = torch.tensor([4, 0, 1]), _normals(4, 3, 0)
    for now, then in ((1.0, 4 / 9), (4 / 9, 1 / 9), (1 / 9, 0.0)):
        first = _velocity(model, x, now, labels)
        second = _velocity(model, x + (then - now) * first, then, labels)
        x = x + 0.5 * (then - now) * (first + second)
    assert drawn.labels.tolist() == labels.tolist()
    assert (drawn.nfe, drawn.rows) == (6, 18)
    assert np.abs(drawn.samples - x.numpy()).max() < 1e-5
    assert drawn.samples.dtype == np.float32


def test_the_sde_is_euler_maruyamas_with_guidance_in_its_interval(checkpoint):
    """Drift v − ½ w s, noise √w, guidance where the log-SNR is above −2, and the mean alone in the last step."""
    file, model = checkpoint
    options = {"w": "0.5*sigma", "last_step": "mean", "last_step_size": 0.25, "labels": "2,3"}
    config = quick(seed=5, format="latents", guidance=3.0, guidance_low=-2.0, start=0.85, **options)
    drawn = Sampler(file, config).draw(0, 4)
    labels, (x, *increments) = torch.tensor([2, 3, 2, 3]), _normals(0, 4, 2)
    x = 0.85 * x
    # The log-SNR 2 log((1 − t)/t) is −3.5 at 0.85, −0.4 at 0.55 and 2.2 at 0.25.
    for k, (now, then) in enumerate(((0.85, 0.55), (0.55, 0.25), (0.25, 0.0))):
        velocity = _velocity(model, x, now, labels)
        if now < 0.8:
            free = _velocity(model, x, now, torch.full((4,), 5))
            velocity = free + 3.0 * (velocity - free)
        w, score = 0.5 * now, -(x + (1 - now) * velocity) / now
        x = x + (then - now) * (velocity - 0.5 * w * score)
        if k < 2:
            x = x + (w * (now - then)) ** 0.5 * increments[k]
    assert np.abs(drawn.samples - x.numpy()).max() < 1e-4
    assert (drawn.nfe, drawn.rows) == (3, 4 + 8 + 8)


@pytest.mark.parametrize(
    "options", [{}, {"w": "sigma"}, {"w": "kl", "method": "SDEDPMSolverPP(2)"}, {"method": "ddim"}], ids=str
)
def test_a_sample_does_not_depend_on_its_batch(checkpoint, options):
    """Samples in batches of another size are the same but for the rounding of the network's sums."""
    sampler = Sampler(checkpoint[0], quick(format="latents", **options))
    whole = sampler.draw(0, 6)
    parts = [sampler.draw(0, 1), sampler.draw(1, 3), sampler.draw(3, 6)]
    assert np.concatenate([part.labels for part in parts]).tolist() == whole.labels.tolist()
    samples = np.concatenate([part.samples for part in parts])
    assert np.abs(samples - whole.samples).max() < 1e-5 * np.abs(whole.samples).max()
    assert (sampler.draw(0, 6).samples == whole.samples).all()
    assert not np.allclose(Sampler(checkpoint[0], quick(format="latents", seed=1, **options)).draw(0, 6)[0], samples)


def test_steps_of_a_methods_own_choice(checkpoint):
    """Adaptive steps meet their tolerance, and their evaluations are counted."""
    fine = Sampler(checkpoint[0], quick(format="latents", steps=200)).draw(0, 3)
    config = dataclasses.replace(quick(format="latents", method="Adaptive(Dopri5(), rtol=1e-5)"), steps=None)
    chosen = Sampler(checkpoint[0], config).draw(0, 3)
    assert np.abs(chosen.samples - fine.samples).max() < 1e-3 * np.abs(fine.samples).max()
    assert chosen.rows == 3 * chosen.nfe > 0


def test_pixels_are_the_bytes_of_the_latents(checkpoint):
    """Without a VAE the network makes pixels, and they are its output by the rule of bytes."""
    latents, pixels = (Sampler(checkpoint[0], quick(format=name)).draw(0, 4).samples for name in ("latents", "npz"))
    assert (pixels == to_bytes(torch.from_numpy(latents))).all()


def test_the_precision_is_that_of_the_network(checkpoint):
    """bfloat16 changes the samples by its rounding and leaves them float32."""
    single, half = (
        Sampler(checkpoint[0], quick(format="latents", precision=name)).draw(0, 4).samples
        for name in ("float32", "bfloat16")
    )
    assert half.dtype == np.float32
    assert 0 < np.abs(half - single).max() < 0.05 * np.abs(single).max()
    assert not torch.is_autocast_enabled("cpu")


@pytest.fixture
def vae(tmp_path):
    """A small VAE, which is also in a folder, and networks of its latents: a of its own scale, b of another."""
    from diffusers import AutoencoderKL

    torch.manual_seed(1)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 8),
        norm_num_groups=4,
        latent_channels=4,
        scaling_factor=0.5,
        shift_factor=0.25,
    ).eval()
    vae.save_pretrained(tmp_path / "vae")
    tiny(tmp_path / "a.safetensors", LATENT)
    tiny(tmp_path / "b.safetensors", LATENT, EXTRA | {"latents": {"scale": 2.0, "shift": [0.0, 1.0, 0.0, -1.0]}})
    return vae


def test_a_vae_turns_latents_into_pixels(tmp_path, vae):
    """Latents / scale + shift are decoded, in batches of any size; its digest and scale are in the plan."""
    latents = torch.from_numpy(Sampler(tmp_path / "a.safetensors", quick(format="latents")).draw(0, 3).samples)
    spread = torch.tensor([0.0, 1.0, 0.0, -1.0]).view(1, 4, 1, 1)
    for name, options, moved in (
        ("a", {}, latents / 0.5 + 0.25),
        ("a", {"vae_scale": 4.0, "vae_batch": 2}, latents / 4.0 + 0.25),
        ("b", {"vae_batch": 1}, latents / 2.0 + spread),
        ("b", {"vae_shift": 0.5}, latents / 2.0 + 0.5),
    ):
        sampler = Sampler(tmp_path / f"{name}.safetensors", quick(format="npz", vae=tmp_path / "vae", **options))
        with torch.no_grad():
            wanted = to_bytes(vae.decode(moved).sample).astype(int)
        found = sampler.draw(0, 3).samples
        assert found.shape == (3, 16, 16, 3)
        # Rounding can move a value over the edge of a byte.
        assert np.abs(found.astype(int) - wanted).max() <= 1
        assert (found != wanted).mean() < 0.01
    assert sampler.plan["vae"]["scale"] == [2.0]
    assert len(sampler.plan["vae"]["sha256"]) == 64


def test_latents_are_decoded_by_the_vae_that_encoded_them(tmp_path, vae):
    """A decoder trained further on the same latents has another digest, and fits; another encoder is refused."""
    own = Sampler(tmp_path / "a.safetensors", quick(format="npz", vae=tmp_path / "vae")).plan["vae"]
    tiny(tmp_path / "c.safetensors", LATENT, EXTRA | {"latents": {"vae_sha256": own["encoder_sha256"]}})
    with torch.no_grad():
        vae.decoder.conv_out.bias += 0.5
    vae.save_pretrained(tmp_path / "further")
    further = Sampler(tmp_path / "c.safetensors", quick(format="npz", vae=tmp_path / "further")).plan["vae"]
    assert further["encoder_sha256"] == own["encoder_sha256"]
    assert further["sha256"] != own["sha256"]
    with torch.no_grad():
        vae.quant_conv.bias += 0.5
    vae.save_pretrained(tmp_path / "other")
    wanted = (
        rf"expected the VAE that the latents are of, .*{own['encoder_sha256']}; received .*other with [0-9a-f]{{64}}"
    )
    with pytest.raises(ValueError, match=wanted):
        Sampler(tmp_path / "c.safetensors", quick(format="npz", vae=tmp_path / "other"))


def test_a_vae_that_does_not_fit_is_refused(tmp_path, vae):
    """Latents without a VAE, a VAE of other channels, and a VAE that is not there."""
    with pytest.raises(ValueError, match=r"expected 1 or 3 channels, for pixels; received 4 channels; .*pass --vae"):
        Sampler(tmp_path / "a.safetensors", quick())
    tiny(tmp_path / "rgb.safetensors")
    with pytest.raises(ValueError, match=r"expected a VAE of 3 channels; received .* with 4 channels"):
        Sampler(tmp_path / "rgb.safetensors", quick(vae=tmp_path / "vae"))
    with pytest.raises(FileNotFoundError, match=r"expected a VAE; received .*nowhere, .*remedy: .*sd-vae-ft-ema"):
        Sampler(tmp_path / "a.safetensors", quick(vae=tmp_path / "nowhere"))


def test_what_cannot_be_sampled_is_refused_before_it_is_tried(tmp_path, checkpoint, monkeypatch):
    """Poles, missing noise, guidance without labels, vectors as pixels: no evaluation is made."""
    monkeypatch.setattr(SiT, "forward", None)
    file = checkpoint[0]
    with pytest.raises(
        PoleError, match=r"infinite at t = 1.*for sit sample: --method EulerMaruyama --start 0.999 --st"
    ):
        Sampler(file, quick(w="kl"))
    with pytest.raises(ValueError, match=r"a method that takes w; received DDIM\(\) with w = Sigma\(\)"):
        Sampler(file, quick(w="sigma", method="ddim"))
    with pytest.raises(ValueError, match="expected a w for EulerMaruyama; received none; remedy: choose a w"):
        Sampler(file, quick(method="EulerMaruyama"))
    with pytest.raises(ValueError, match="labels other than the null class, for guidance"):
        Sampler(file, quick(guidance=2.0, labels="null"))
    fields = TINY.to_dict()
    tiny(tmp_path / "free.safetensors", SiTConfig(**fields | {"num_classes": 0}))
    with pytest.raises(ValueError, match="for guidance; received null: the network has no labels"):
        Sampler(tmp_path / "free.safetensors", quick(guidance=2.0))
    save_checkpoint(tmp_path / "flat.safetensors", SiT.for_vectors(2), extra=EXTRA)
    with pytest.raises(ValueError, match=r"a network on images, for pixels.*pass --format latents"):
        Sampler(tmp_path / "flat.safetensors", quick())
    with pytest.raises(ValueError, match="a device such as cpu or cuda; received 'cpuu'"):
        Sampler(file, quick(device="cpuu"))


def test_samples_that_are_not_finite_are_not_written(checkpoint):
    """A network that overflows is named by the solve."""
    sampler = Sampler(checkpoint[0], quick())
    with torch.no_grad():
        sampler.model.final_layer.linear.bias.fill_(float("inf"))
    with pytest.raises(NonFiniteError, match="NaN or infinity"):
        sampler.draw(0, 2)

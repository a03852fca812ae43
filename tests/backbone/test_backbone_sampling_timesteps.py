"""``sit sample`` of networks of timesteps: DDPM and DDIM by DiT's published formulas, and other schedules."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from backbone_support import TINY, perturb
from published_files import CONFIG, training, weights
from sampling_support import arrays, quick, tiny

from backbone import SiT, load_checkpoint, reproduce, save_checkpoint, write_samples
from backbone.cli import main
from backbone.sampling.sampler import Sampler
from interpolants.schedules import DDPMLinear
from solvers.noise import PerSample

EXTRA = {"schedule": DDPMLinear().to_dict(), "prediction": "Noise"}
SHAPE = dataclasses.replace(TINY, in_channels=4, timesteps=1000)
BETAS = np.linspace(1e-4, 0.02, 1000)
BAR = np.cumprod(1 - BETAS)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    file = tmp_path_factory.mktemp("timesteps") / "a.safetensors"
    torch.manual_seed(0)
    model = perturb(SiT(SHAPE)).eval()
    with torch.no_grad():
        # Labels that matter, so that guidance does.
        model.y_embedder.embedding_table.weight *= 30
    save_checkpoint(file, model, extra=EXTRA)
    return file, model


def evenly(steps):
    """Indices of a respaced chain: 0, …, 999 in equal strides, rounded."""
    return [round(k * 999 / (steps - 1)) for k in range(steps)]


def answer(model, x, index, labels, guidance):
    """Prediction and v, with guidance on the first three channels of the prediction as in DiT's code."""
    timesteps = torch.full((len(x),), index)
    given = model.both_halves(x, timesteps, labels)
    free = model.both_halves(x, timesteps, torch.full_like(labels, SHAPE.num_classes))
    eps, v = given.chunk(2, dim=1)
    eps = torch.cat([free[:, :3] + guidance * (eps - free[:, :4])[:, :3], eps[:, 3:]], dim=1)
    return eps, v


def ddpm(model, labels, seed, steps, guidance, learned=True):
    """Ho et al., algorithm 2 over a respaced chain, with the variances of Nichol and Dhariwal, eq. 15."""
    rng = PerSample(seed)
    x = rng.start(torch.empty(len(labels), 4, 8, 8))
    draw, before = rng.increments(x), 1.0
    kept = evenly(steps)
    bars = [1.0, *BAR[kept]]
    for k in range(steps - 1, -1, -1):
        bar, before = bars[k + 1], bars[k]
        beta = 1 - bar / before
        # Guidance where the log-SNR is at least −2.
        eps, v = answer(model, x, kept[k], labels, guidance if np.log(bar / (1 - bar)) >= -2 else 1.0)
        mean = (x - beta / np.sqrt(1 - bar) * eps) / np.sqrt(1 - beta)
        low = beta * (1 - before) / (1 - bar) if k else beta * (1 - bars[1]) / (1 - bars[2])
        share = (v + 1) / 2 if learned else torch.zeros_like(v)
        deviation = torch.exp(0.5 * (share * np.log(beta) + (1 - share) * np.log(max(low, 1e-30))))
        x = mean + deviation * draw(k + 1.0, float(k)) if k else mean
    return x


@pytest.mark.parametrize(
    ("options", "learned"),
    [({}, True), ({"guidance": 2.5}, True), ({"method": "ReverseChain(variance='small')", "guidance": 2.5}, False)],
)
def test_ddpm_is_that_of_dit(checkpoint, options, learned):
    """Without a method it is DDPM with the learned variances; guidance leaves these and the fourth channel alone."""
    file, model = checkpoint
    guided = {"guidance_channels": 3, "guidance_low": -2.0} if "guidance" in options else {}
    sampler = Sampler(file, quick(format="latents", steps=6, seed=4, **options, **guided))
    drawn = sampler.draw(0, 3)
    with torch.no_grad():
        wanted = ddpm(model, torch.from_numpy(drawn.labels), 4, 6, options.get("guidance", 1.0), learned).numpy()
    assert np.abs(drawn.samples - wanted).max() < 2e-4 * np.abs(wanted).max()
    active = int((np.log(BAR / (1 - BAR))[evenly(6)] >= -2).sum())
    assert 0 < active < 6
    assert (drawn.nfe, drawn.rows) == (6, 3 * (6 + (active if guided else 0)))
    assert sampler.plan["sampler"]["times"] == [(index + 1) / 1000 for index in evenly(6)[::-1]] + [0.0]
    # Another sample alone is the same one.
    assert np.abs(sampler.draw(2, 3).samples[0] - drawn.samples[2]).max() < 1e-4 * np.abs(wanted).max()


def ddim(model, labels, seed, levels, indices, guidance):
    """Song et al., eq. 12 with η = 0, between levels (α, σ), of which the last is (1, 0), in α² + σ² = 1."""
    x = PerSample(seed).start(torch.empty(len(labels), 4, 8, 8)) * levels[0][1]
    for (alpha, sigma), (after, noise), index in zip(levels, levels[1:], indices):
        # Guidance where the log-SNR is at least −2.
        eps, _ = answer(model, x, index, labels, guidance if 2 * np.log(alpha / sigma) >= -2 else 1.0)
        x = after * (x - sigma * eps) / alpha + noise * eps
    return x


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_ddim_is_that_of_dit(checkpoint, guidance):
    """Solved in continuous time it is DDIM over the timesteps of the respaced chain, in whole strides too."""
    file, model = checkpoint
    guided = {} if guidance == 1.0 else {"guidance": guidance, "guidance_channels": 3, "guidance_low": -2.0}
    for grid, indices in ((None, evenly(5)), ("respaced('ddim8')", list(range(0, 1000, 125)))):
        drawn = Sampler(
            file, quick(format="latents", steps=5, seed=4, method="DDIM", **guided, **({"grid": grid} if grid else {}))
        ).draw(0, 3)
        levels = [(np.sqrt(BAR[i]), np.sqrt(1 - BAR[i])) for i in indices[::-1]] + [(1.0, 0.0)]
        with torch.no_grad():
            wanted = ddim(model, torch.from_numpy(drawn.labels), 4, levels, indices[::-1], guidance).numpy()
        assert np.abs(drawn.samples - wanted).max() < 2e-4 * np.abs(wanted).max()
        assert drawn.nfe == len(indices)


def test_under_another_schedule(checkpoint):
    """Under Linear, DDIM goes by the noise levels of Linear, and asks the network at the timesteps that have them."""
    file, model = checkpoint
    guided = {"guidance": 2.5, "guidance_channels": 3, "guidance_low": -2.0}
    sampler = Sampler(file, quick(format="latents", steps=4, seed=4, method="DDIM", transfer="linear", **guided))
    drawn = sampler.draw(0, 3)
    assert sampler.plan["sampler"]["schedule"]["name"] == "linear"
    assert sampler.plan["schedule"]["name"] == "ddpm-linear"
    times = np.array(sampler.times)
    # The last noise of the training has the first time; from there in equal steps.
    assert times[0] == pytest.approx(np.sqrt(1 - BAR[-1]) / (np.sqrt(BAR[-1]) + np.sqrt(1 - BAR[-1])), abs=1e-6)
    assert np.diff(times) == pytest.approx(np.full(4, -times[0] / 4))
    norm = np.sqrt((1 - times) ** 2 + times**2)
    levels = list(zip((1 - times) / norm, times / norm))
    ratio = np.log((1 - BAR) / BAR)
    # Where the noise is that of Linear, between two timesteps, by a line in log-SNR.
    indices = np.interp(2 * np.log(times[:-1] / (1 - times[:-1])), ratio, np.arange(1000))

    class Between:
        def both_halves(self, x, timesteps, labels):
            return model.both_halves(x, timesteps.float(), labels)

    with torch.no_grad():
        wanted = ddim(Between(), torch.from_numpy(drawn.labels), 4, levels, indices, 2.5).numpy()
    assert np.abs(drawn.samples - wanted).max() < 2e-3 * np.abs(wanted).max()


def test_flows_ask_no_timestep_below_the_first(checkpoint, monkeypatch):
    """Heun's method ends at the data, where the network was not trained: it is asked at its first timestep there."""
    asked, real = [], SiT.both_halves

    def both_halves(self, x, time, y=None, **options):
        asked.append(time.tolist())
        return real(self, x, time, y, **options)

    monkeypatch.setattr(SiT, "both_halves", both_halves)
    flow = Sampler(checkpoint[0], quick(format="latents", steps=4, transfer="linear", guidance=2.0)).draw(0, 2)
    assert (flow.nfe, flow.rows) == (8, 2 * 2 * 8)
    assert np.isfinite(flow.samples).all()
    assert asked[0] == pytest.approx([999.0] * 2, abs=1e-3)
    assert asked[-1] == [0.0] * 2
    assert all(0 <= number <= 999 for numbers in asked for number in numbers)


def test_a_network_of_continuous_time_under_another_schedule(tmp_path):
    """RK4 under GVP ends where RK4 under Linear does: both follow one flow, through the same noise at each level."""
    tiny(tmp_path / "a.safetensors")
    options = {"format": "latents", "method": "RK4", "steps": 12, "stop": 1e-3}
    own = Sampler(tmp_path / "a.safetensors", quick(**options)).draw(0, 2).samples
    moved = Sampler(tmp_path / "a.safetensors", quick(**options, transfer="gvp")).draw(0, 2).samples
    assert np.abs(moved - own).max() < 2e-2 * np.abs(own).max()
    assert not np.array_equal(moved, own)


def test_a_published_file_is_sampled_and_made_again(tmp_path, capsys):
    """A .pt of DiT needs its timesteps, schedule, prediction and heads; its manifest makes the same latents again."""
    file = tmp_path / "last.pt"
    torch.save(training(weights()), file)
    named = ["--timesteps", "1000", "--schedule", "ddpm-linear", "--prediction", "noise"]
    named += ["--num-heads", str(CONFIG.num_heads)]
    out = ["--out", str(tmp_path / "out"), "--device", "cpu", "--threads", "1", "--quiet", "--format", "latents"]
    assert main(["sample", str(file), *named, *out, "--num", "3", "--steps", "4", "--guidance", "4"]) == 0
    printed = capsys.readouterr().out
    assert "ReverseChain(variance='learned', eta=1.0, clip=None)" in printed
    assert "4 (respaced, 1 to 0)" in printed
    samples, _ = arrays(tmp_path / "out" / "latents.npz")
    assert samples.shape == (3, 4, 8, 8)
    assert np.isfinite(samples).all()
    again = reproduce(tmp_path / "out" / "manifest.json")
    assert again.identical
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["nfe"], manifest["network_evaluations_per_sample"]) == (4, 8)
    assert manifest["noise"].startswith("x = z;")
    # Converted, the file says all of it itself.
    converted = tmp_path / "dit.safetensors"
    assert main(["convert", str(file), str(converted), *named]) == 0
    assert load_checkpoint(converted).model.config.timesteps == 1000
    manifest = write_samples(converted, tmp_path / "b", quick(format="latents", num=3, steps=4, guidance=4.0))
    assert (arrays(tmp_path / "b" / "latents.npz")[0] == samples).all()
    assert manifest["config"]["grid"] == "respaced"


def test_what_does_not_go_together_is_refused(checkpoint, tmp_path):
    """Chains of continuous networks, grids of other times, variances that are not there, other schedules."""
    file, _ = checkpoint
    tiny(tmp_path / "flow.safetensors")
    tiny(tmp_path / "plain.safetensors", dataclasses.replace(SHAPE, learn_sigma=False), EXTRA)
    tiny(tmp_path / "bare.safetensors", SHAPE, {})
    learned = "ReverseChain(variance='learned')"
    cases = [
        ("flow", {"method": "ReverseChain"}, "a network of timesteps, for ReverseChain; received one of continuous"),
        ("flow", {"grid": "respaced"}, "a schedule of timesteps, for the grid respaced; received linear"),
        ("flow", {"timesteps": 1000}, r"the config that was given; received .* timesteps=None for 1000"),
        ("plain", {"method": learned}, "a network with variances; received learn_sigma=False"),
        ("a", {"method": "ReverseChain", "grid": "uniform", "steps": 7}, "a grid of timesteps, for ReverseChain"),
        ("a", {"method": "ReverseChain", "stop": 0.1}, "a grid of timesteps, for ReverseChain"),
        (
            "a",
            {"method": "ReverseChain", "transfer": "linear"},
            "the chain of the training .*received transfer",
        ),
        (
            "a",
            {"method": "ReverseChain", "last_step": "mean"},
            "the chain of the training .*received last_step",
        ),
        ("a", {"method": "ReverseChain", "w": "sigma"}, "a method that takes w; received ReverseChain"),
        ("a", {"method": "ReverseChain(eta=2)"}, r"eta: a number in \[0, 1\]; received 2"),
        ("a", {"method": "ReverseChain('tiny')"}, 'variance: "small", "large" or "learned"'),
        ("a", {"schedule": "linear"}, "the schedule of .*; remedy: leave out --schedule; --transfer linear moves"),
        ("a", {"transfer": "liner"}, "liner"),
        ("bare", {"prediction": "noise", "schedule": "linear"}, "a schedule of 1000 timesteps; .*ddpm-linear"),
        ("bare", {"prediction": "noise"}, "which does not; remedy: pass --schedule ddpm-linear"),
    ]
    for name, options, words in cases:
        path = file if name == "a" else tmp_path / f"{name}.safetensors"
        with pytest.raises((ValueError, TypeError), match=words):
            Sampler(path, quick(format="latents", **options))

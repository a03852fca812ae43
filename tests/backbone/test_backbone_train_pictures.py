"""Pictures of the samples of a training, true or in false colours, and the features that they are measured by."""

import dataclasses
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image

from backbone import Arrays, RunConfig, SampleConfig, SiTConfig, Store, TrainConfig, load_checkpoint
from backbone.sampling.sampler import Sampler
from backbone.train.log import Log
from backbone.train.pictures import View, features_of, page, view_of
from backbone.train.probe import SampleProbe
from backbone.train.record import Record
from backbone.train.run import run
from backbone.train.run_config import ProbeConfig
from interpolants import Linear, Velocity
from tests.support.imagenet_tree import write_vae
from tests.support.stores import latents, write_store

CPU = torch.device("cpu")
AS_IT_IS = View(lambda x: x)


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    return write_vae(tmp_path_factory.mktemp("vae") / "vae", scale=0.5)


def _store(folder, vae=None, **changes):
    """A store of latents (4, 4, 4), of the VAE if there is one."""
    from backbone.data.vae import load_vae

    known = {} if vae is None else {"vae": {"name": str(vae), "sha256": load_vae(str(vae)).sha256}}
    return write_store(folder, *latents(20, shape=(4, 4, 4)), **(known | changes))


def _pixels(folder):
    data = np.random.default_rng(0).integers(0, 256, (6, 1, 1, 3, 4, 4)).astype(np.uint8)
    known = {"scale": 1 / 127.5, "shift": 127.5, "vae": {"name": "identity", "sha256": None}}
    return write_store(folder, data, np.arange(6) % 2, **known)


def test_a_page_has_the_samples_in_rows_of_their_labels():
    """Grey 4 × 4 images, twelve times as large, two pixels apart: each in its place, in the bytes of its value."""
    images = torch.tensor([-1.0, 0.0, 0.5, 1.0]).view(4, 1, 1, 1).expand(4, 1, 4, 4)
    found = page(AS_IT_IS, images, torch.tensor([0, 1, 0, 1]))
    assert (found.shape, found.dtype) == ((102, 102), np.uint8)
    # 127.5 x + 128, cut off at the ends and to whole numbers.
    wanted = {(2, 2): 0, (2, 52): 191, (52, 2): 128, (52, 52): 255}
    for (top, left), value in wanted.items():
        assert (found[top : top + 48, left : left + 48] == value).all()
    assert (found[:2] == 255).all()
    # What is not finite is shown as zero, and what follows is drawn.
    assert (page(AS_IT_IS, images * torch.nan, torch.zeros(4)) == page(AS_IT_IS, 0 * images, torch.zeros(4))).all()


def test_what_is_shown_of_data():
    """Pixels of one or three channels as they are, and false colours of others; vectors are not shown."""
    x = torch.randn(5, 4, 2, 2)
    pixels = view_of(Arrays(x[:, :3]), ProbeConfig(), CPU)
    assert pixels.true
    assert torch.equal(pixels.pixels(x[:, :3]), x[:, :3])
    colours = view_of(Arrays(x), ProbeConfig(), CPU)
    assert not colours.true
    # Three standard deviations are as bright as it gets.
    assert torch.allclose(colours.pixels(x) * 3, x[:, :3])
    assert view_of(Arrays(x[:, :2]), ProbeConfig(), CPU).pixels(x[:, :2]).shape == (5, 1, 2, 2)
    assert view_of(Arrays(torch.randn(5, 3)), ProbeConfig(), CPU) is None


def test_what_is_shown_of_stores(tmp_path, vae):
    """Latents by their VAE with the scale of the store, or in false colours; another VAE, or one for pixels, no."""
    from diffusers import AutoencoderKL

    store = Store(_store(tmp_path / "s", vae, scale=1.25, shift=0.1))
    view = view_of(store, ProbeConfig(vae=str(vae)), CPU)
    x = torch.randn(3, 4, 4, 4)
    with torch.no_grad():
        wanted = AutoencoderKL.from_pretrained(vae).decode(x / 1.25 + 0.1).sample
    assert view.true
    assert torch.allclose(view.pixels(x), wanted, atol=1e-4)
    assert not view_of(store, ProbeConfig(), CPU).true
    three = Store(write_store(tmp_path / "three", *latents(20, shape=(3, 4, 4))))
    assert not view_of(three, ProbeConfig(), CPU).true
    assert view_of(Store(_pixels(tmp_path / "p")), ProbeConfig(), CPU).true
    with pytest.raises(
        ValueError, match=r"expected the VAE that the latents are of, .* hash 0{64}; received .*vae with"
    ):
        view_of(Store(_store(tmp_path / "other")), ProbeConfig(vae=str(vae)), CPU)
    with pytest.raises(ValueError, match=r"expected a store of latents, for probe.vae; received .*p, of pixels"):
        view_of(Store(tmp_path / "p"), ProbeConfig(vae=str(vae)), CPU)


def test_features_are_of_bytes(monkeypatch):
    """A function of a module sees uint8 (n, H, W, C), in parts; pixels are a 255th of them; latents have none."""
    seen, module = [], types.ModuleType("of_the_user")

    def corner(images):
        seen.append((images.shape, images.dtype))
        return images[:, 0, 0, :].astype(float)

    module.corner = corner
    monkeypatch.setitem(sys.modules, "of_the_user", module)
    x = torch.linspace(-1, 1, 70).view(70, 1, 1, 1).expand(70, 3, 2, 2)
    wanted = np.clip(np.floor(127.5 * np.linspace(-1, 1, 70) + 128), 0, 255)
    assert np.abs(features_of("of_the_user:corner", AS_IT_IS, CPU)(x) - wanted[:, None]).max() <= 1
    assert seen == [((64, 2, 2, 3), np.uint8), ((6, 2, 2, 3), np.uint8)]
    assert np.abs(features_of("pixels", AS_IT_IS, CPU)(x) * 255 - wanted[:, None]).max() <= 1
    with pytest.raises(ValueError, match=r"pixels, for probe.features pixels; received .*; remedy: pass probe.vae"):
        features_of("pixels", View(lambda x: x, true=False), CPU)
    with pytest.raises(ValueError, match=r"something to call at of_the_user:nothing"):
        features_of("of_the_user:nothing", AS_IT_IS, CPU)


def test_what_is_held_out_is_looked_at_once(monkeypatch):
    """Its features are computed by the first probe and kept; those of the samples anew each time."""
    counted = []

    def features(x):
        counted.append(len(x))
        return x.flatten(1)

    probe = SampleProbe(Linear(), Velocity, ProbeConfig(samples=4), 0, torch.randn(9, 1, 2, 2), features)
    monkeypatch.setattr(SampleProbe, "_draw", lambda self, state, labels, ids: torch.randn(4, 1, 2, 2))
    state = types.SimpleNamespace(step=1, averaged=types.SimpleNamespace(config=SiTConfig()))
    here = types.SimpleNamespace(share=lambda *_: slice(0, 4), gather=lambda x: x, first=True, device=CPU)
    first, second = probe(state, here), probe(state, here)
    assert sorted(counted) == [4, 4, 9]
    assert first != second


def test_pictures_go_where_they_can_be_shown(tmp_path, monkeypatch):
    """TensorBoard has the pixels of a grey and of a coloured picture, Weights & Biases an image; the row no array."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told, service = [], types.ModuleType("wandb")
    service.init = lambda **options: types.SimpleNamespace(log=lambda row, step: told.append(row), finish=lambda: None)
    service.Image = lambda picture: ("image", picture.shape)
    monkeypatch.setitem(sys.modules, "wandb", service)
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    log = Log(tmp_path, 0, tensorboard=True, wandb="project")
    log.write(7, {"frechet": 0.5, "grey": grey, "colour": np.stack([grey, grey + 1, grey + 2], axis=-1)})
    log.write(8, {"frechet": 0.25})
    log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for name in ("grey", "colour"):
        (event,) = events.Images(name)
        assert event.step == 7
        file = tmp_path / f"{name}.png"
        file.write_bytes(event.encoded_image_string)
        with Image.open(file) as picture:
            shown = np.asarray(picture.convert("RGB"))
        assert (shown[:, :, 0] == grey).all()
        assert (shown[:, :, 2] == grey + 2 * (name == "colour")).all()
    assert told == [{"frechet": 0.5, "grey": ("image", (3, 4)), "colour": ("image", (3, 4, 3))}, {"frechet": 0.25}]
    assert (tmp_path / "log.jsonl").read_text() == '{"step": 7, "frechet": 0.5}\n{"step": 8, "frechet": 0.25}\n'


def test_a_run_shows_its_samples(tmp_path, vae, monkeypatch):
    """A training on latents leaves a PNG of decoded samples and their distance, and a checkpoint that knows the VAE."""
    module = types.ModuleType("of_the_user")
    module.means = lambda images: images.mean(axis=(1, 2))
    monkeypatch.setitem(sys.modules, "of_the_user", module)
    model = SiTConfig(input_size=4, patch_size=2, in_channels=4, hidden_size=8, depth=1, num_heads=2, num_classes=5)
    probe = {"samples": 5, "steps": 1, "held_out": str(tmp_path / "s"), "features": "of_the_user:means"}
    config = RunConfig(
        out=tmp_path / "run",
        data=str(_store(tmp_path / "s", vae)),
        model=model,
        training=TrainConfig(steps=2, batch_size=4),
        record=Record(probe_every=2, tensorboard=True),
        probe=ProbeConfig(vae=str(vae), **probe),
        device="cpu",
    )
    run(config)
    (row,) = [line for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines() if "frechet" in line]
    assert '"step": 2' in row
    with Image.open(tmp_path / "run" / "samples" / "step-00000002.png") as picture:
        # Five labels in five rows; 32 pixels are not enlarged.
        assert (picture.mode, picture.size) == ("RGB", (36, 5 * 34 + 2))
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    file = tmp_path / "run" / "averaged.safetensors"
    known = load_checkpoint(file).extra["latents"]
    assert known == {"scale": 1.0, "shift": 0.0, "vae": str(vae), "vae_sha256": known["vae_sha256"]}
    assert Sampler(file, SampleConfig(vae=vae, device="cpu")).decoder.scale == [1.0]
    other = write_vae(tmp_path / "another", seed=1)
    with pytest.raises(ValueError, match=r"expected the VAE that the latents are of"):
        Sampler(file, SampleConfig(vae=other, device="cpu"))


def test_a_probe_that_cannot_be_made_is_refused_at_once(tmp_path):
    """Features of nothing held out, latents without a VAE, and held-out latents of another VAE or shape: no folder."""
    _store(tmp_path / "s")
    base = RunConfig(
        out=tmp_path / "run",
        data=str(tmp_path / "s"),
        model=SiTConfig(input_size=4, in_channels=4, hidden_size=8, depth=1, num_heads=2, num_classes=5),
        training=TrainConfig(steps=1, batch_size=4),
        record=Record(probe_every=1),
        device="cpu",
    )
    write_store(tmp_path / "foreign", *latents(20, shape=(4, 4, 4)), vae={"name": "b", "sha256": "1" * 64})
    write_store(tmp_path / "small", *latents(20, shape=(4, 4, 2)))
    cases = {
        r"images to measure features of; received none": ProbeConfig(features="pixels"),
        r"expected pixels, for probe.features pixels": ProbeConfig(features="pixels", held_out=str(tmp_path / "s")),
        r"latents of the VAE with hash 0{64}; received .*foreign of b": ProbeConfig(held_out=str(tmp_path / "foreign")),
        r"small with records of shape \(4, 4, 4\); received \(4, 4, 2\)": ProbeConfig(held_out=str(tmp_path / "small")),
    }
    for said, probe in cases.items():
        with pytest.raises(ValueError, match=said):
            run(dataclasses.replace(base, probe=probe))
        assert not (tmp_path / "run").exists()

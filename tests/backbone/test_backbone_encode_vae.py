"""Encoding with an AutoencoderKL: what is stored of each image, which VAE it was, the bytes of several processes."""

import json
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from backbone import EncodeConfig, Store, StoreError, encode, verify_store
from backbone.data.images import decode
from backbone.data.vae import Pixels, load_encoder
from backbone.draws import Draws
from tests.support.imagenet_tree import CLASSES, CORRUPT, bytes_of, write_tree, write_vae


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("images") / "train")


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    return write_vae(tmp_path_factory.mktemp("vae") / "tiny")


def config(tree, vae, out, **changes):
    fields = {"size": 32, "corrupt": "skip", "shard_records": 7, "batch_size": 4, "device": "cpu"} | changes
    return EncodeConfig(images=tree, vae=str(vae), out=out, **fields)


@pytest.fixture(scope="module")
def whole(tree, vae, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "store"
    encode(config(tree, vae, out))
    return out


def moments(vae, pixels):
    """Return mean and deviation from the network's own numbers, the mean and the log-variance, of one image."""
    from diffusers import AutoencoderKL

    network = AutoencoderKL.from_pretrained(vae, low_cpu_mem_usage=False).eval()
    x = torch.from_numpy(pixels.astype(np.float32).transpose(2, 0, 1)[None].copy() / 127.5 - 1)
    with torch.no_grad():
        mean, log_variance = network.quant_conv(network.encoder(x))[0].double().chunk(2)
    return mean.numpy(), np.exp(0.5 * log_variance.numpy())


def test_the_records_are_posteriors(tree, vae, whole):
    """A record is the mean and exp(½ log-variance) of an image, and of the image with its columns reversed, to fp16."""
    store = Store(whole)
    assert (store.count, store.shape, store.manifest.dtype) == (17, (4, 4, 4), "float16")
    for record, name in (
        (0, f"{CLASSES[0]}_0"),
        (2, f"{CLASSES[0]}_2"),
        (8, f"{CLASSES[1]}_2"),
        (16, f"{CLASSES[2]}_5"),
    ):
        pixels = decode((tree / name.partition("_")[0] / f"{name}.JPEG").read_bytes(), 32)
        for flip, seen in ((False, pixels), (True, pixels[:, ::-1])):
            found = store.read(np.array([record]), np.array([flip]))[0].astype(float)
            mean, std = moments(vae, seen)
            np.testing.assert_allclose(found[0], mean, rtol=2e-3, atol=2e-3)
            np.testing.assert_allclose(found[1], std, rtol=2e-3, atol=2e-3)
    assert verify_store(whole, vae_sha256=load_encoder(str(vae)).sha256) == []


def test_what_a_network_sees_has_unit_variance(vae, whole):
    """The scale is the VAE's, and samples have about unit variance by it; by channels their variance is one."""
    scale = json.loads((vae / "config.json").read_text())["scaling_factor"]
    store = Store(whole)
    assert store.manifest.scale == scale
    ids = torch.arange(17 * 40)
    x, _ = store.batch(ids % 17, Draws(0, ids))
    assert 0.6 < float(x.std()) < 1.6
    x, _ = Store(whole, normalise="channels").batch(ids % 17, Draws(0, ids))
    assert torch.allclose(x.std(dim=(0, 2, 3)), torch.ones(4), atol=0.05)


def test_another_vae_is_refused(tree, vae, whole, tmp_path):
    """A VAE with another encoder or scale is refused; one with another decoder has the same latents and is not."""
    wanted = load_encoder(str(vae)).sha256
    others = {}
    for name in ("encoder", "decoder", "scale", "bin"):
        folder = tmp_path / name
        folder.mkdir()
        fields = json.loads((vae / "config.json").read_text())
        state = load_file(vae / "diffusion_pytorch_model.safetensors")
        if name in ("encoder", "decoder"):
            state[f"{name}.conv_in.bias"] += 1e-3
        if name == "scale":
            fields["scaling_factor"] *= 1.001
        if name == "bin":
            torch.save(state, folder / "diffusion_pytorch_model.bin")
        else:
            save_file(state, folder / "diffusion_pytorch_model.safetensors")
        (folder / "config.json").write_text(json.dumps(fields))
        others[name] = load_encoder(str(folder)).sha256
    assert others["decoder"] == others["bin"] == wanted
    assert len({wanted, others["encoder"], others["scale"]}) == 3
    Store(whole, vae_sha256=others["decoder"])
    with pytest.raises(
        StoreError, match=r"latents of the VAE with hash .*; remedy: use the VAE that the store was made by"
    ):
        Store(whole, vae_sha256=others["encoder"])
    with pytest.raises(StoreError, match=r"vae sha256 .* there, .* here"):
        encode(config(tree, tmp_path / "encoder", whole))


def test_the_names_of_an_older_diffusers(vae, tmp_path):
    """A file with the attention of sd-vae-ft-ema's names is the same VAE; one without a tensor is refused."""
    state = load_file(vae / "diffusion_pytorch_model.safetensors")
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for place, drop in (("old", ""), ("lacking", "encoder.conv_in.weight")):
        renamed = {}
        for name, tensor in state.items():
            for new, earlier in old.items():
                name = name.replace(f"attentions.0.{new}.", f"attentions.0.{earlier}.")
            renamed[name] = tensor
        renamed.pop(drop, None)
        (tmp_path / place).mkdir()
        save_file(renamed, tmp_path / place / "diffusion_pytorch_model.safetensors")
        (tmp_path / place / "config.json").write_text((vae / "config.json").read_text())
    assert load_encoder(str(tmp_path / "old")).sha256 == load_encoder(str(vae)).sha256
    with pytest.raises(
        ValueError, match=r"every tensor of the VAE; received .* without encoder.conv_in.weight and 0 others"
    ):
        load_encoder(str(tmp_path / "lacking"))


@pytest.mark.filterwarnings("ignore:The `local_dir_use_symlinks` argument")
def test_a_vae_that_is_not_there(tmp_path, monkeypatch):
    """A folder that is missing or empty, an id without a network, and a missing diffusers say what to do."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for name in (str(tmp_path / "nowhere"), "vae", "./a", "nobody/sd-vae-ft-ema", str(tmp_path)):
        with pytest.raises(
            FileNotFoundError, match=r"expected a VAE; received .*remedy: pass a folder with config.json"
        ):
            load_encoder(name)
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ImportError, match=r"expected diffusers, for a VAE; .*interpolants\[imagenet,diffusers\]"):
        load_encoder("stabilityai/sd-vae-ft-ema")


def test_sizes_and_identity(vae):
    """Eight pixels are one of a latent, another size is refused; pixels are themselves."""
    encoder = load_encoder(str(vae))
    assert encoder.shape(256) == (4, 32, 32)
    with pytest.raises(ValueError, match=r"a size divisible by 8 for .*; received 36; remedy: use a size such as 32"):
        encoder.shape(36)
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    assert Pixels().shape(8) == (3, 8, 8)
    assert np.array_equal(load_encoder("identity").encode(images)[:, 0], images.numpy())


def test_latents_that_are_not_finite_are_refused(tree, vae, tmp_path):
    """A latent beyond half precision names the image it came from, and no shard is written."""
    state = load_file(vae / "diffusion_pytorch_model.safetensors")
    state["quant_conv.bias"][0] = 1e6
    save_file(state, tmp_path / "diffusion_pytorch_model.safetensors")
    (tmp_path / "config.json").write_text((vae / "config.json").read_text())
    with pytest.raises(ValueError, match=r"finite latents; received NaN or infinity of n01440764/n01440764_0.JPEG"):
        encode(config(tree, tmp_path, tmp_path / "s"))
    assert not list((tmp_path / "s").glob("shard*"))


def test_settings_of_torch_are_left_as_they_were(tree, vae, tmp_path):
    """After a call, also one that fails, the number of threads and the precision of products are what they were."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ValueError, match=CORRUPT):
            encode(config(tree, vae, tmp_path / "s", corrupt="fail"))
        assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == (2, "highest")
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_processes(tree, vae, tmp_path, whole, monkeypatch):
    """One process, three, two machines, and one with other numbers of threads write the same latents, bit for bit."""
    encode(config(tree, vae, tmp_path / "three", workers=3))
    assert bytes_of(tmp_path / "three") == bytes_of(whole)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        encode(config(tree, vae, tmp_path / "two", decoders=1))
    assert bytes_of(tmp_path / "two") == bytes_of(whole)
    torch.set_num_threads(2)
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.setenv("RANK", "0")
    encode(config(tree, vae, tmp_path / "threads", decoders=3))
    assert bytes_of(tmp_path / "threads") == bytes_of(whole)

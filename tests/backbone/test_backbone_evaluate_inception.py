"""Networks in files: TorchScript with the outputs of Inception's, torch-fidelity's network, and what is refused."""

import hashlib
import pickle
import sys
import zipfile
from types import ModuleType

import numpy as np
import pytest
import torch

from backbone.evaluate import Features, extractor, from_module, pixels
from backbone.evaluate.inception import _network, resize
from tests.support.fidelity import fidelity
from tests.support.inception import save, small


def pictures(n=3, height=40, width=56):
    return np.random.default_rng(1).integers(0, 256, (n, height, width, 3), np.uint8)


def expected(model, images):
    """Features of the network itself, in eager mode: what its forward says, and its convolution seen by a hook."""
    seen = []
    hook = model.layers.mixed_6.conv.register_forward_hook(lambda module, inputs, output: seen.append(output))
    batch = torch.as_tensor(images).permute(0, 3, 1, 2)
    with torch.no_grad():
        pool = model(batch, return_features=True).numpy()
        probabilities = model(batch, no_output_bias=True).numpy()
    hook.remove()
    spatial = np.stack([channel.numpy() for channel in seen[0][:, :7].unbind(1)], axis=-1)
    return pool, spatial.reshape(len(images), -1), probabilities


def shares(logits):
    p = np.exp(logits.astype(np.float64))
    return p / p.sum(axis=1, keepdims=True)


def test_torchscript_of_inceptions_layout_gives_all_three(tmp_path):
    """Pool, 7 channels in the order of lines, columns, channels, and logits without bias are those of the network."""
    model = small()
    file = save(model, tmp_path / "inception.pt")
    network = extractor(str(file))
    found = network(pictures())
    pool, spatial, probabilities = expected(model, pictures())
    assert found.spatial.shape == (3, 8 * 8 * 7)
    np.testing.assert_allclose(found.pool, pool, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.spatial, spatial, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(shares(found.logits), probabilities, rtol=1e-4)
    assert network.name == f"torchscript:sha256={hashlib.sha256(file.read_bytes()).hexdigest()}"
    assert network.notes["device"] == "cpu"
    assert network.notes["spatial"].startswith("first 7 channels of mixed_6/conv")


@pytest.mark.parametrize("options", [{"centre": 127.5}, {"mixed": "mixed_5"}], ids=str)
def test_layers_that_do_not_reproduce_the_file_are_not_used(options, tmp_path):
    """Another normalisation or another name: pool and logits as the file says, no spatial features, and the reason."""
    model = small(**options)
    network = extractor(str(save(model, tmp_path / "x.pt")))
    found = network(pictures())
    batch = torch.as_tensor(pictures()).permute(0, 3, 1, 2)
    with torch.no_grad():
        np.testing.assert_allclose(found.pool, model(batch, return_features=True).numpy(), rtol=1e-5)
        np.testing.assert_allclose(shares(found.logits), model(batch, no_output_bias=True).numpy(), rtol=1e-5)
    assert found.spatial is None
    assert network.notes["spatial"] == "none: the layers of this file do not reproduce its output"


class Doubled(torch.nn.Module):
    """A module without the arguments of Inception's."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2.0 * x.flatten(1)


def test_other_torchscript_is_a_module(tmp_path):
    """A script of (images) alone gives pool; it takes uint8 with channels first."""
    found = extractor(str(save(Doubled(), tmp_path / "x.pt")))(pictures())
    np.testing.assert_array_equal(found.pool, 2.0 * pictures().transpose(0, 3, 1, 2).reshape(3, -1))
    assert found.spatial is found.logits is None


@pytest.mark.parametrize("size", [(299, 299), (32, 32), (256, 300), (640, 17), (1, 1)], ids=str)
def test_resizing_is_that_of_tensorflow_1(size):
    """Against torch-fidelity's function, to 1e-3 of 255, and on a ramp, whose place i is i H/299, up to its end."""
    images = torch.as_tensor(pictures(2, *size)).permute(0, 3, 1, 2).float()
    peer = fidelity()["interpolate_compat_tensorflow"].interpolate_bilinear_2d_like_tensorflow1x
    torch.testing.assert_close(resize(images), peer(images, size=(299, 299), align_corners=False), atol=2e-3, rtol=0)
    ramp = torch.arange(float(size[0])).view(1, 1, -1, 1).expand(1, 1, size[0], size[1])
    line = torch.minimum(torch.arange(299.0) * size[0] / 299, torch.tensor(size[0] - 1.0))
    torch.testing.assert_close(resize(ramp)[0, 0], line[:, None].expand(299, 299), atol=1e-3, rtol=1e-5)


@pytest.mark.slow
def test_torch_fidelitys_network_takes_the_file_of_its_weights(tmp_path, monkeypatch):
    """Its pool and its logits without bias, and as spatial features the first 7 channels of its block Mixed_6d.

    The weights are random ones of the right shapes; the block joins its branches, of which mixed_6/conv is the first.
    """
    home = fidelity()["feature_extractor_inceptionv3"]
    torch.manual_seed(0)
    monkeypatch.setattr(home, "load_state_dict_from_url", lambda *arguments, **options: {})
    monkeypatch.setattr(home.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
    model = home.FeatureExtractorInceptionV3("peer", ["2048", "logits_unbiased"])
    monkeypatch.undo()
    file = tmp_path / "weights.pth"
    torch.save(model.state_dict(), file)
    network = extractor(str(file))
    assert "torch_fidelity" not in sys.modules
    seen = []
    model.Mixed_6d.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        pool, logits = model(torch.as_tensor(pictures(2)).permute(0, 3, 1, 2))
    for _ in range(2):
        found = network(pictures(2))
        assert (found.pool.shape, found.spatial.shape, found.logits.shape) == ((2, 2048), (2, 2023), (2, 1008))
        np.testing.assert_allclose(found.pool, pool.numpy(), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found.logits, logits.numpy(), rtol=1e-4, atol=1e-5)
        channels = seen[0][:, :7].numpy().transpose(0, 2, 3, 1)
        np.testing.assert_allclose(found.spatial, channels.reshape(2, -1), rtol=1e-4, atol=1e-5)
    assert network.name.startswith("torch-fidelity:sha256=")


def test_loading_the_network_leaves_modules_as_they_were(monkeypatch):
    """Of torch-fidelity nothing stays in sys.modules, and what somebody imported before is there again."""
    assert _network().FeatureExtractorInceptionV3
    assert not [name for name in sys.modules if name.startswith("torch_fidelity")]
    own = ModuleType("torch_fidelity")
    monkeypatch.setitem(sys.modules, "torch_fidelity", own)
    assert _network() is not own
    assert sys.modules["torch_fidelity"] is own
    assert [name for name in sys.modules if name.startswith("torch_fidelity")] == ["torch_fidelity"]


class Payload:
    """A pickle that creates a file when it is read by a reader that runs it."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return open, (str(self.target), "w")


def test_hostile_and_other_files_are_refused(tmp_path):
    """A pickle that would run something, text, an empty file, a list, other weights, half a TorchScript."""
    file, trap = tmp_path / "x.pt", tmp_path / "trap"
    torch.save({"Conv2d_1a_3x3.conv.weight": Payload(trap)}, file)
    with pytest.raises(ValueError, match=r"asks for \S+\.open; it was refused and nothing of it was run; remedy: "):
        extractor(str(file))
    file.write_bytes(pickle.dumps(Payload(trap)))
    with pytest.raises(ValueError, match=r"expected a file of torch\.save"):
        extractor(str(file))
    assert not trap.exists()
    for data in (b"<html>404</html>", b"", b"PK\x03\x04"):
        file.write_bytes(data)
        with pytest.raises(ValueError, match=r"expected .* more|expected a file of"):
            extractor(str(file))
    torch.save([torch.zeros(2)], file)
    with pytest.raises(ValueError, match=r"expected a dict of tensors; received .* with a list"):
        extractor(str(file))
    torch.save({"weight": torch.zeros(2)}, file)
    with pytest.raises(ValueError, match=r"expected weights of Inception; received .*Missing key"):
        extractor(str(file))
    whole, broken = save(Doubled(), tmp_path / "whole.pt"), tmp_path / "broken.pt"
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(broken, "w") as target:
        for name in source.namelist():
            if "/code/" not in name:
                target.writestr(name, source.read(name))
    with pytest.raises(ValueError, match=r"expected a TorchScript file; received .*broken\.pt"):
        extractor(str(broken))


def test_a_missing_torch_fidelity_is_asked_for(tmp_path, monkeypatch):
    """Weights of torch-fidelity without the package: an ImportError that says what to install, or to take instead."""
    torch.save({"weight": torch.zeros(2)}, tmp_path / "x.pth")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install --no-deps torch-fidelity, or give inception-2015-12-05\.pt"):
        extractor(str(tmp_path / "x.pth"))


def test_modules_of_your_own(tmp_path, monkeypatch):
    """module:attribute takes a function, an Extractor and a torch module, from the working folder; its name is kept."""
    code = """
import numpy as np, torch
from backbone.evaluate import Extractor, Features

def function(images):
    return images.mean(axis=(1, 2))

class Network(torch.nn.Module):
    def forward(self, x):
        return {"pool": x.float().mean((2, 3)), "logits": x[:, :, 0, 0].float()}

network, three, number = Network(), Extractor("mine", lambda images: Features(np.ones((len(images), 2)))), 3
"""
    (tmp_path / "own_features.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    images = pictures()
    before = list(sys.path)
    np.testing.assert_allclose(extractor("own_features:function")(images).pool, images.mean(axis=(1, 2)))
    found = extractor("own_features:network")(images)
    np.testing.assert_allclose(found.pool, images.mean(axis=(1, 2)), rtol=1e-6)
    np.testing.assert_array_equal(found.logits, images[:, 0, 0])
    assert extractor("own_features:network").name == "own_features:network"
    assert extractor("own_features:three").name == "mine"
    for wrong in ("number", "absent", "Network"):
        with pytest.raises(ValueError, match=f"expected something to call at own_features:{wrong}"):
            extractor(f"own_features:{wrong}")
    with pytest.raises(ImportError):
        extractor("no_such_module_here:x")
    assert sys.path == before


def test_no_weights_and_no_such_file_are_explained():
    """Without features, and with a file that is not there, the message says where weights are described."""
    for choice in (None, "", "inception-2015-12-05.pt", "no/file.pt"):
        with pytest.raises(ValueError, match=r"docs/evaluation\.md says where Inception's weights are"):
            extractor(choice)


def test_what_a_network_returns_is_checked():
    """Other numbers of rows, three axes, other names, and NaN by the number of the image."""
    images = pictures(2)
    nan = np.zeros((2, 3))
    nan[1, 2] = np.nan
    for function, expected_words in [
        (lambda x: np.zeros((3, 4)), r"pool of shape \(2, width\); received \(3, 4\)"),
        (lambda x: np.zeros((2, 4, 1)), r"pool of shape \(2, width\)"),
        (lambda x: Features(np.zeros((2, 3)), np.zeros((1, 3))), r"spatial of shape \(2, width\)"),
        (lambda x: {"features": x}, r"a dict with pool; received one with \['features'\]"),
        (lambda x: nan, "finite pool features, a row for each image; received 1 values that are not, from row 41"),
    ]:
        with pytest.raises(ValueError, match=f"expected {expected_words}"):
            type(pixels())("any", function)(images, 40)


def test_features_in_bfloat16_are_widened():
    """A module that answers in bfloat16, which numpy does not know: the same numbers in float32."""

    class Half(torch.nn.Module):
        def forward(self, x):
            return x.float().mean((2, 3)).bfloat16()

    found = from_module(Half(), "half")(pictures()).pool
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, pictures().mean(axis=(1, 2)), rtol=2**-8)


def test_pixels_and_modules_in_evaluation_mode():
    """pixels are images / 255; a module is called without gradient and without dropout."""
    images = pictures()
    np.testing.assert_array_equal(pixels()(images).pool * 255, images.reshape(3, -1))

    class Noisy(torch.nn.Module):
        def forward(self, x):
            assert not torch.is_grad_enabled()
            return torch.nn.functional.dropout(x.float().mean((2, 3)), training=self.training)

    found = from_module(Noisy().train(), "noisy")(images).pool
    np.testing.assert_allclose(found, images.mean(axis=(1, 2)), rtol=1e-5)

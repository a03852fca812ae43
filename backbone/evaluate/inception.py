r"""Inception from a file of the user: TorchScript, or the weights of torch-fidelity.

Both are translations of the network of FID and of the ADM suite, ``inception-2015-12-05``: pool_3 (2048 numbers), the
first 7 channels of ``mixed_6/conv`` after its rectifier (17 × 17 each, channels last), and logits of 1008 classes
without their bias, as the Inception score has them. They resize inside: bilinear as TensorFlow 1 does, place
:math:`i\,H/299` for line i, without half a pixel of shift and without antialiasing.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import sys
import warnings
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor, nn

from backbone.evaluate.features import Extractor, Features, from_module
from backbone.evaluate.tensors import on_device
from backbone.layouts import tensors
from solvers.errors import explain

__all__ = ["from_file", "resize"]

_SIDE, _CHANNELS = 299, 7
_NOTES = {"resize": "bilinear of TensorFlow 1 to 299 × 299, in the network", "logits": "without bias"}
_WALKED = _NOTES | {"spatial": "first 7 channels of mixed_6/conv, after ReLU, channels last"}


def from_file(file: Path, device: str = "cpu") -> Extractor:
    """Return the features of the network in a file.

    A TorchScript file with arguments ``return_features`` and ``no_output_bias`` is taken for the one of StyleGAN; where
    its layers are found by name and reproduce what it says itself, spatial features come from them, and otherwise there
    are none. Any other TorchScript is a module, see :func:`backbone.evaluate.from_module`. TorchScript is a program:
    load only files that you trust. Weights are read as tensors alone.

    Args:
        file: the file.
        device: where it runs.

    Raises:
        ValueError: neither TorchScript nor weights of this network, or a pickle that asks to run something.
        ImportError: weights of torch-fidelity without torch-fidelity, whose network they are for.
    """
    with file.open("rb") as stream:
        name = f"{{}}:sha256={hashlib.file_digest(stream, 'sha256').hexdigest()}"
    if _is_script(file):
        return _torchscript(file, name.format("torchscript"), device)
    return _torch_fidelity(file, name.format("torch-fidelity"), device)


def resize(images: Tensor) -> Tensor:
    """Return (n, C, 299, 299) of images (n, C, H, W), bilinear as TensorFlow 1."""
    for axis in (2, 3):
        length = images.shape[axis]
        place = torch.arange(_SIDE, dtype=images.dtype, device=images.device) * (length / _SIDE)
        low = place.long().clamp(max=length - 1)
        high = (low + 1).clamp(max=length - 1)
        weight = (place - low).view(-1, *(1,) * (3 - axis))
        first, second = images.index_select(axis, low), images.index_select(axis, high)
        images = first + (second - first) * weight
    return images


def _is_script(file: Path) -> bool:
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _torchscript(file: Path, name: str, device: str) -> Extractor:
    with warnings.catch_warnings():
        # TorchScript is deprecated, and what the published file is made of.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            model: Any = torch.jit.load(str(file), map_location=device).eval()  # type: ignore[no-untyped-call]
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ValueError(explain("a TorchScript file", f"{file} ({reason})", "download it again")) from error
    arguments = {argument.name for argument in model.forward.schema.arguments}
    if not {"return_features", "no_output_bias"} <= arguments:
        return from_module(model, name, device)
    where = {"device": device}
    if _walks(model, device):
        return Extractor(
            name, lambda images: on_device(lambda batch: _walk(model, batch), images, device), _WALKED | where
        )
    notes = _NOTES | where | {"spatial": "none: the layers of this file do not reproduce its output"}
    return Extractor(name, lambda images: on_device(lambda batch: _call(model, batch), images, device), notes)


def _call(model: Any, batch: Tensor) -> Features:
    """Ask the file twice: for features, and for probabilities without bias."""
    pool, probabilities = model(batch, return_features=True), model(batch, no_output_bias=True)
    return Features(_numpy(pool.flatten(1)), None, _numpy(probabilities.log()))


def _walk(model: Any, batch: Tensor) -> Features:
    """Go through the layers one by one, once for all three kinds of features."""
    x = (resize(batch.float()) - 128) / 128
    spatial = None
    for name, layer in model.layers.named_children():
        if name == "mixed_6":
            spatial = _spatial(layer.conv(x))
        x = layer(x)
    pool = x.reshape(len(batch), -1).float()
    return Features(_numpy(pool), spatial, _numpy(pool @ model.output.weight.float().T))


def _walks(model: Any, device: str) -> bool:
    """Whether the layers, taken one by one, give what the file says of two images of noise."""
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 48, 3), np.uint8)
    said = on_device(lambda batch: _call(model, batch), images, device)
    try:
        walked = on_device(lambda batch: _walk(model, batch), images, device)
    except (AttributeError, RuntimeError, TypeError):  # other names, other shapes
        return False
    shares = softmax(walked.logits, axis=1)
    return walked.spatial is not None and _near(walked.pool, said.pool) and _near(shares, np.exp(said.logits))


def _torch_fidelity(file: Path, name: str, device: str) -> Extractor:
    # The class reads its file itself, pickles and all; it gets tensors that were read without.
    buffer = io.BytesIO()
    torch.save(dict(tensors(file)), buffer)
    buffer.seek(0)
    try:
        model = _network().FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=buffer
        )
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        remedy = "give weights-inception-2015-12-05-6726825d.pth; docs/evaluation.md says where it is"
        raise ValueError(explain("weights of Inception", f"{file}: {reason}", remedy)) from error
    return Extractor(name, _Hooked(model.to(device), device), _WALKED | {"device": device})


class _Hooked:
    """The network of torch-fidelity, whose spatial features are taken on the way."""

    def __init__(self, model: nn.Module, device: str) -> None:
        self._model, self._device = model, device
        self._spatial: list[NDArray[Any]] = []
        # mixed_6 of TensorFlow is Mixed_6d here, and its "conv" the branch of one convolution.
        branch: nn.Module = model.Mixed_6d.branch1x1  # type: ignore[union-attr, assignment]
        branch.register_forward_hook(lambda module, inputs, output: self._spatial.append(_spatial(output)))

    def __call__(self, images: NDArray[np.uint8]) -> Features:
        self._spatial.clear()
        pool, logits = on_device(self._model, images, self._device)
        return Features(_numpy(pool), self._spatial.pop(), _numpy(logits))


def _network() -> ModuleType:
    """Return the module of torch-fidelity that has the network, without its package, which asks for torchvision."""
    before = _taken_out()
    try:
        spec = importlib.util.find_spec("torch_fidelity")
        if spec is None or spec.submodule_search_locations is None:
            remedy = "pip install --no-deps torch-fidelity, or give inception-2015-12-05.pt, which needs no package"
            raise ImportError(explain("torch-fidelity, whose network this is", "no package torch_fidelity", remedy))
        package = ModuleType("torch_fidelity")
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["torch_fidelity"] = package
        return importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    finally:
        _taken_out()
        sys.modules.update(before)


def _taken_out() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name.partition(".")[0] == "torch_fidelity"]
    return {name: sys.modules.pop(name) for name in names}


def _spatial(conv: Tensor) -> NDArray[Any]:
    """Return the first channels of (n, C, h, w) as (n, h · w · 7), in the order of TensorFlow."""
    return _numpy(conv[:, :_CHANNELS].permute(0, 2, 3, 1).flatten(1))


def _numpy(tensor: Tensor) -> NDArray[Any]:
    return tensor.float().cpu().numpy()


def _near(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-3, atol=1e-3 * float(np.abs(b).max())))

"""The whole network against the published equations in plain numpy, one image and one head at a time."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from backbone_support import TINY, perturb

from backbone import SiT


def _norm(x):
    return (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-6)


def _silu(x):
    return x / (1 + np.exp(-x))


def _gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def _linear(weights, name, x):
    return x @ weights[name + ".weight"].T + weights[name + ".bias"]


def _attention(weights, name, x, heads):
    """Rows of qkv: all of q, then k, then v; within each, head after head."""
    width = x.shape[1]
    size = width // heads
    q, k, v = np.split(_linear(weights, name + ".qkv", x), 3, axis=1)
    outs = []
    for head in range(heads):
        columns = slice(head * size, (head + 1) * size)
        scores = q[:, columns] @ k[:, columns].T / np.sqrt(size)
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        outs.append(scores / scores.sum(axis=1, keepdims=True) @ v[:, columns])
    return _linear(weights, name + ".proj", np.concatenate(outs, axis=1))


def _network(weights, config, x, time, label):
    """One image (C, S, S), its time and its label to all output channels."""
    p, side = config.patch_size, config.input_size // config.patch_size
    tokens = []
    for row in range(side):
        for column in range(side):
            patch = x[:, row * p : (row + 1) * p, column * p : (column + 1) * p]
            kernel = weights["x_embedder.proj.weight"]
            tokens.append((kernel * patch).sum(axis=(1, 2, 3)) + weights["x_embedder.proj.bias"])
    h = np.stack(tokens) + weights["pos_embed"][0]
    angles = time * np.exp(-np.log(10000) * np.arange(128) / 128)
    c = _linear(weights, "t_embedder.mlp.0", np.concatenate([np.cos(angles), np.sin(angles)]))
    c = _linear(weights, "t_embedder.mlp.2", _silu(c)) + weights["y_embedder.embedding_table.weight"][label]
    for i in range(config.depth):
        block = f"blocks.{i}"
        b1, s1, g1, b2, s2, g2 = np.split(_linear(weights, block + ".adaLN_modulation.1", _silu(c)), 6)
        h = h + g1 * _attention(weights, block + ".attn", _norm(h) * (1 + s1) + b1, config.num_heads)
        hidden = _gelu(_linear(weights, block + ".mlp.fc1", _norm(h) * (1 + s2) + b2))
        h = h + g2 * _linear(weights, block + ".mlp.fc2", hidden)
    shift, scale = np.split(_linear(weights, "final_layer.adaLN_modulation.1", _silu(c)), 2)
    out = _linear(weights, "final_layer.linear", _norm(h) * (1 + scale) + shift)
    image = np.zeros((config.out_channels, side * p, side * p))
    for token in range(side * side):
        row, column = divmod(token, side)
        patch = out[token].reshape(p, p, config.out_channels)
        image[:, row * p : (row + 1) * p, column * p : (column + 1) * p] = patch.transpose(2, 0, 1)
    return image


TIMES = {None: [0.0, 0.25, 0.5, 1.0], 1000: [0, 37, 640, 999]}


@torch.no_grad()
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("timesteps", TIMES, ids=["SiT", "DiT"])
def test_the_network_is_the_published_one(batch, timesteps, dtype, tolerance):
    """Both halves of SiT, and of DiT at whole timesteps, equal the published equations in numpy, the same weights."""
    torch.manual_seed(0)
    (x, _, y), time = batch, torch.tensor(TIMES[timesteps])
    model = perturb(SiT(replace(TINY, timesteps=timesteps))).eval()
    weights = {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}
    out = model.to(dtype).both_halves(x.to(dtype), time if timesteps else time.to(dtype), y)
    for i in range(len(x)):
        wanted = _network(weights, model.config, x[i].double().numpy(), float(time[i]), int(y[i]))
        np.testing.assert_allclose(out[i].numpy(), wanted, rtol=0, atol=tolerance * np.abs(wanted).max())

"""Every option of the network against its equations in plain numpy, one sample, head and token at a time."""

import itertools

import numpy as np
import pytest
import torch
from backbone_support import TINY, perturb

from backbone import SiT, SiTConfig

WIDE = TINY.to_dict() | {"hidden_size": 24, "num_heads": 3}
VARIANTS = {
    "adaln": {"conditioning": "adaln"},
    "cross-attention": {"conditioning": "cross-attention"},
    "in-context": {"conditioning": "in-context"},
    "concat": {"condition": "concat"},
    "adaln concat": {"conditioning": "adaln", "condition": "concat"},
    "learned": {"positions": "learned"},
    "rope": {"positions": "rope"},
    "rope in-context": {"positions": "rope", "conditioning": "in-context", "qk_norm": True, "norm": "rms"},
    "rms": {"norm": "rms"},
    "rms cross-attention": {"norm": "rms", "conditioning": "cross-attention", "qk_norm": True},
    "swiglu": {"mlp": "swiglu"},
    "qk": {"qk_norm": True},
    "time_scale": {"time_scale": 1000.0},
    "no labels": {"num_classes": 0},
    "no labels cross-attention": {"num_classes": 0, "conditioning": "cross-attention"},
    "no labels in-context": {"num_classes": 0, "conditioning": "in-context"},
    "not square": {"input_size": (4, 6)},
    "not square rope": {"input_size": (6, 4), "positions": "rope"},
    "sequence": {"input_size": (10,)},
    "sequence rope": {"input_size": (10,), "positions": "rope"},
    "vector": {"input_size": (), "patch_size": 1},
    "vector in-context": {"input_size": (), "patch_size": 1, "conditioning": "in-context"},
    "math": {"attention": "math"},
    "flow map": {"flow_map": True},
    "flow map concat": {"flow_map": True, "condition": "concat"},
    "flow map in-context": {"flow_map": True, "conditioning": "in-context", "time_scale": 10.0},
    "all": {"norm": "rms", "mlp": "swiglu", "qk_norm": True, "positions": "rope", "condition": "concat"},
}


class Written:
    """The equations, with the weights of a network as numpy arrays."""

    def __init__(self, model):
        self.config = model.config
        self.weights = {name: tensor.detach().double().numpy() for name, tensor in model.state_dict().items()}

    def linear(self, name, x):
        return x @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]

    def norm(self, name, x):
        """Layer or RMS norm of the last axis, with the gain and shift that the weights hold, if any."""
        x = np.asarray(x)
        if self.config.norm == "layer":
            x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-6)
        return x * self.weights.get(name + ".weight", 1.0) + self.weights.get(name + ".bias", 0.0)

    def head(self, q, k, v, places):
        """One head: each token reads every other; with RoPE a pair is a complex number that its place turns."""
        q, k = q.copy(), k.copy()
        if places is not None:
            for tokens in (q, k):
                for t, place in enumerate(places):
                    tokens[t] = self.turned(tokens[t], place)
        out = []
        for one in q:
            scores = np.exp([one @ other / np.sqrt(len(one)) for other in k])
            out.append(sum(score * value for score, value in zip(scores, v)) / scores.sum())
        return np.array(out)

    def turned(self, features, place):
        half, axes = len(features) // 2, len(place)
        turned = features.copy()
        for axis, i in itertools.product(range(axes), range(half // axes)):
            pair = axis * (half // axes) + i
            number = complex(features[pair], features[half + pair])
            number *= np.exp(1j * place[axis] * 10000.0 ** (-i / (half // axes)))
            turned[pair], turned[half + pair] = number.real, number.imag
        return turned

    def attention(self, name, q, k, v, places=None):
        """All heads and the map after them; the norms of queries and keys are per head."""
        size = self.config.hidden_size // self.config.num_heads
        outs = []
        for h in range(self.config.num_heads):
            columns = slice(h * size, (h + 1) * size)
            heads = q[:, columns], k[:, columns]
            if self.config.qk_norm:
                heads = self.norm(name + ".q_norm", heads[0]), self.norm(name + ".k_norm", heads[1])
            outs.append(self.head(*heads, v[:, columns], places))
        return self.linear(name + ".proj", np.concatenate(outs, axis=1))

    def mlp(self, name, x):
        if self.config.mlp == "swiglu":
            gate, value = np.split(self.linear(name + ".w12", x), 2, axis=1)
            return self.linear(name + ".w3", gate / (1 + np.exp(-gate)) * value)
        x = self.linear(name + ".fc1", x)
        return self.linear(name + ".fc2", 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))))

    def block(self, name, x, c, places):
        def attend(h):
            return self.attention(name + ".attn", *np.split(self.linear(name + ".attn.qkv", h), 3, axis=1), places)

        if self.config.conditioning in ("adaln-zero", "adaln"):
            m = self.linear(name + ".adaLN_modulation.1", silu(np.concatenate(c) if self.concat else sum(c)))
            if self.config.conditioning == "adaln-zero":
                b1, s1, g1, b2, s2, g2 = np.split(m, 6)
            else:
                (b1, s1, b2, s2), g1, g2 = np.split(m, 4), 1.0, 1.0
            x = x + g1 * attend(self.norm("", x) * (1 + s1) + b1)
            return x + g2 * self.mlp(name + ".mlp", self.norm("", x) * (1 + s2) + b2)
        x = x + attend(self.norm(name + ".norm1", x))
        if self.config.conditioning == "cross-attention":
            q = self.linear(name + ".cross.q", self.norm(name + ".norm_cross", x))
            k, v = np.split(self.linear(name + ".cross.kv", np.array(c)), 2, axis=1)
            x = x + self.attention(name + ".cross", q, k, v)
        return x + self.mlp(name + ".mlp", self.norm(name + ".norm2", x))

    @property
    def concat(self):
        return self.config.condition == "concat"

    def tokens(self, x):
        """Patches in row-major order, and the place of each."""
        p, kernel = self.config.patch_size, self.weights["x_embedder.proj.weight"]
        tokens, places = [], []
        for place in itertools.product(*(range(side // p) for side in x.shape[1:])):
            patch = x[(slice(None), *(slice(i * p, (i + 1) * p) for i in place))]
            tokens.append((kernel * patch).reshape(len(kernel), -1).sum(axis=1))
            places.append(place or (0,))
        tokens = np.array(tokens) + self.weights["x_embedder.proj.bias"]
        if self.config.positions == "learned":
            tokens = tokens + self.weights["pos_embed"][0]
        elif self.config.positions == "sincos":
            tokens = tokens + np.array([self.sincos(place) for place in places])
        return tokens, places

    def sincos(self, place):
        each = self.config.hidden_size // len(place)
        angles = [[c / 10000.0 ** (2 * i / each) for i in range(each // 2)] for c in reversed(place)]
        # The table is frozen in float32, whatever the weights become.
        return np.concatenate([wave(a) for a in angles for wave in (np.sin, np.cos)]).astype(np.float32)

    def embedded(self, name, number):
        angles = self.config.time_scale * number * 10000.0 ** (-np.arange(128) / 128)
        hidden = self.linear(name + ".mlp.0", np.concatenate([np.cos(angles), np.sin(angles)]))
        return self.linear(name + ".mlp.2", silu(hidden))

    def __call__(self, x, time, label, start=None):
        config = self.config
        c = [self.embedded("t_embedder", time)]
        if config.flow_map:
            c[0] = c[0] + self.embedded("length_embedder", 0.0 if start is None else time - start)
        if config.num_classes:
            c.append(self.weights["y_embedder.embedding_table.weight"][label])
        h, places = self.tokens(x)
        count = len(h)
        if config.conditioning == "in-context":
            h, places = np.concatenate([h, np.array(c)]), places + [(0,) * len(places[0])] * len(c)
        for i in range(config.depth):
            h = self.block(f"blocks.{i}", h, c, places if config.positions == "rope" else None)
        h = self.norm("final_layer.norm_final", h[:count])
        if config.conditioning in ("adaln-zero", "adaln"):
            m = self.linear("final_layer.adaLN_modulation.1", silu(np.concatenate(c) if self.concat else sum(c)))
            shift, scale = np.split(m, 2)
            h = h * (1 + scale) + shift
        out = self.linear("final_layer.linear", h)
        image = np.zeros((config.out_channels, *x.shape[1:]))
        p, axes = config.patch_size, x.ndim - 1
        for token, place in zip(out, places):
            where = (slice(None), *(slice(i * p, (i + 1) * p) for i in place[:axes]))
            image[where] = np.moveaxis(token.reshape(*[p] * axes, config.out_channels), -1, 0)
        return image


def silu(x):
    return x / (1 + np.exp(-x))


def build(name, **more):
    torch.manual_seed(0)
    return perturb(SiT(SiTConfig.from_dict(WIDE | VARIANTS[name] | more))).eval()


def inputs(config, count=2):
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(count, config.in_channels, *config.size, generator=generator)
    y = torch.tensor([0, 4, 5, 2])[:count] if config.num_classes else None
    return x, torch.tensor([0.25, 0.75, 0.0, 1.0])[:count], y


@torch.no_grad()
@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_its_equations(name):
    """All output channels of every variant equal the equations in numpy, to 1e-11 in float64 and 1e-5 in float32."""
    model = build(name)
    x, time, y = inputs(model.config)
    written = Written(model)
    labels = [0, 0] if y is None else y.tolist()
    wanted = np.array([written(x[i].double().numpy(), float(time[i]), labels[i]) for i in range(2)])
    scale = np.abs(wanted).max()
    # float32 resolves an angle of 1000 radians to 6e-5 alone, so a scaled time is compared in float64.
    if model.config.time_scale == 1:
        np.testing.assert_allclose(model.both_halves(x, time, y).numpy(), wanted, rtol=0, atol=1e-5 * scale)
    out = model.double().both_halves(x.double(), time.double(), y)
    np.testing.assert_allclose(out.numpy(), wanted, rtol=0, atol=1e-11 * scale)


@torch.no_grad()
@pytest.mark.parametrize("name", VARIANTS)
def test_a_new_variant_returns_zero_and_learns(name):
    """The output of every new variant is exactly zero; its gradients, once perturbed, reach every trainable weight."""
    fresh = SiT(SiTConfig.from_dict(WIDE | VARIANTS[name]))
    x, time, y = inputs(fresh.config)
    assert not fresh.both_halves(x, time, y).any()
    model = build(name)
    with torch.enable_grad():
        model.both_halves(x, time, y).square().sum().backward()
    # A softmax over one token is 1 whatever the queries are: their weights have no gradient there.
    idle = {"qk", "q_norm", "k_norm", ".q."} if model.config.tokens == 1 else set()
    idle |= {".cross.q", ".cross.q_norm", ".cross.k_norm"} if not model.config.num_classes else set()
    for name_, parameter in model.named_parameters():
        if parameter.requires_grad and not any(part in name_ for part in idle):
            assert parameter.grad is not None, name_
            assert torch.isfinite(parameter.grad).all(), name_
            assert parameter.grad.any(), name_


def per_block(d, heads, *, modulation=0, affine=0, cross=False, swiglu=0, qk=0):
    """Weights of a block by hand: maps with their biases, the norms' gains and shifts."""
    own = (3 * d * d + 3 * d) + (d * d + d)
    mlp = (d * 2 * swiglu + 2 * swiglu) + (swiglu * d + d) if swiglu else (d * 4 * d + 4 * d) + (4 * d * d + d)
    crossing = (d * d + d) + (d * 2 * d + 2 * d) + (d * d + d) + 2 * d if cross else 0
    return own + mlp + crossing + modulation + affine * 2 * d + qk * (d // heads)


D = 24
COUNTS = {
    "adaln": per_block(D, 3, modulation=D * 4 * D + 4 * D),
    "cross-attention": per_block(D, 3, affine=2, cross=True),
    "in-context": per_block(D, 3, affine=2),
    "concat": per_block(D, 3, modulation=2 * D * 6 * D + 6 * D),
    "swiglu": per_block(D, 3, modulation=D * 6 * D + 6 * D, swiglu=64),
    "qk": per_block(D, 3, modulation=D * 6 * D + 6 * D, qk=4),
    "all": per_block(D, 3, modulation=2 * D * 6 * D + 6 * D, swiglu=64, qk=2),
    "rope": per_block(D, 3, modulation=D * 6 * D + 6 * D),
}


@pytest.mark.parametrize("name", COUNTS)
def test_a_block_has_the_weights_counted_by_hand(name):
    """Each variant's block has as many weights as its layers counted by hand; RoPE has none of its own."""
    model = build(name)
    for block in model.blocks:
        assert sum(p.numel() for p in block.parameters()) == COUNTS[name]
    assert ("pos_embed" in model.state_dict()) == (model.config.positions != "rope")


@torch.no_grad()
def test_math_and_fused_attention_agree():
    """The two ways of computing attention agree to 1e-12 in float64, with the same weights and names."""
    math, fused = build("all", attention="math").double(), build("all", attention="fused").double()
    x, time, y = inputs(math.config)
    assert list(math.state_dict()) == list(fused.state_dict())
    assert float((math(x.double(), time, y) - fused(x.double(), time, y)).abs().max()) < 1e-12

"""Attention maps against attention written out in the tests, for every variant of the network."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from backbone_support import TINY, perturb

from backbone import SiT, attention_distance, attention_maps, uniform_distance

VARIANTS = {
    "published": {},
    "qk-norm": {"qk_norm": True},
    "rope": {"positions": "rope"},
    "in-context": {"conditioning": "in-context"},
    "in-context rope": {"conditioning": "in-context", "positions": "rope", "qk_norm": True, "norm": "rms"},
    "cross-attention": {"conditioning": "cross-attention"},
    "no labels": {"num_classes": 0},
    "rectangle": {"input_size": (4, 8)},
    "sequence": {"input_size": (8,)},
}
LABELS = torch.tensor([0, 4])


def built(**options):
    torch.manual_seed(0)
    return perturb(SiT(dataclasses.replace(TINY, **options)), scale=0.3)


def given(model):
    x = torch.randn(2, 3, *model.config.size, generator=torch.Generator().manual_seed(2))
    return x, torch.tensor([0.2, 0.7]), LABELS if model.config.num_classes else None


def kept(model, x, time, y):
    """The first argument and the output of every self-attention, and of its last linear map, seen from outside."""
    seen = []

    def note(module, inputs, output):
        seen.append((inputs[0], output))

    handles = [block.attn.register_forward_hook(note) for block in model.blocks]
    with torch.no_grad():
        out = model.eval()(x, time, y)
    for handle in handles:
        handle.remove()
    return seen, out


def turned(x, grid, extra):
    """RoPE, one number at a time: the pair (i, i + F) of the features at a place is turned by its angle."""
    x = x.clone().double()
    width = x.shape[-1]
    per_axis = width // (2 * len(grid))
    for token in range(math.prod(grid)):
        for i in range(width // 2):
            place = np.unravel_index(token, grid)[i // per_axis]
            angle = place * 10000.0 ** (-(i % per_axis) / per_axis)
            a, b = x[token, i].item(), x[token, i + width // 2].item()
            x[token, i] = a * math.cos(angle) - b * math.sin(angle)
            x[token, i + width // 2] = a * math.sin(angle) + b * math.cos(angle)
    assert x.shape[0] == math.prod(grid) + extra
    return x


def by_hand(model, tokens, layer, sample, head):
    """The weights of one head for one sample, and its values, in numpy float64."""
    config, attention = model.config, model.blocks[layer].attn
    width = config.head_size
    rows = (tokens[sample] @ attention.qkv.weight.T + attention.qkv.bias).detach()
    q, k, v = (rows[:, j * config.hidden_size + head * width :][:, :width] for j in range(3))
    if config.qk_norm:
        q, k = attention.q_norm(q).detach(), attention.k_norm(k).detach()
    if config.positions == "rope":
        extra = len(q) - config.tokens
        q, k = (turned(part, config.grid, extra) for part in (q, k))
    scores = q.double().numpy() @ k.double().numpy().T / np.sqrt(width)
    weights = np.exp(scores)
    return weights / weights.sum(1, keepdims=True), v.double().numpy()


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_maps_are_attention_written_out(options):
    """Every head's map is the softmax of its queries and keys; rows sum to one; times the values it is the output."""
    model = built(**options).double()
    x, time, y = given(model)
    seen, _ = kept(model, x.double(), time, y)
    maps = attention_maps(model, x.double(), time, y)
    extra = (1 + bool(model.config.num_classes)) * (model.config.conditioning == "in-context")
    size = model.config.tokens + extra
    assert maps.shape == (2, 2, 2, size, size)
    assert torch.allclose(maps.sum(-1), torch.ones((), dtype=torch.float64), atol=1e-12)
    for layer in range(2):
        for sample in range(2):
            read = []
            for head in range(2):
                weights, values = by_hand(model, seen[layer][0], layer, sample, head)
                np.testing.assert_allclose(maps[layer, sample, head], weights, rtol=0, atol=1e-12)
                read.append(maps[layer, sample, head].numpy() @ values)
            last = model.blocks[layer].attn.proj
            out = np.concatenate(read, axis=1) @ last.weight.detach().numpy().T + last.bias.detach().numpy()
            np.testing.assert_allclose(out, seen[layer][1][sample], rtol=0, atol=1e-10)


@pytest.mark.parametrize("options", [{}, {"positions": "rope", "qk_norm": True}], ids=["published", "rope"])
def test_fused_and_math_have_the_same_maps(options):
    """Both kinds of attention have the same maps, up to rounding in the layers before."""
    fused = built(**options)
    plain = SiT(dataclasses.replace(fused.config, attention="math"))
    plain.load_state_dict(fused.state_dict())
    x, time, y = given(fused)
    assert torch.allclose(attention_maps(fused, x, time, y), attention_maps(plain, x, time, y), atol=1e-6)


def test_maps_of_the_condition():
    """With cross-attention each token reads the tokens of time and label; the maps are those of its own weights."""
    model = built(conditioning="cross-attention")
    x, time, y = given(model)
    seen = []
    handle = model.blocks[1].cross.register_forward_hook(lambda module, inputs, output: seen.append((inputs, output)))
    maps = attention_maps(model, x, time, y, cross=True)
    handle.remove()
    assert maps.shape == (2, 2, 2, 16, 2)
    assert torch.allclose(maps.sum(-1), torch.ones(()), atol=1e-6)
    ((tokens, condition), output), part = seen[0], model.blocks[1].cross
    with torch.no_grad():
        q, kv = part.q(tokens[0]), part.kv(condition[0])
        k, v = kv[:, :16], kv[:, 16:]
        read = []
        for head in (slice(0, 8), slice(8, 16)):
            weights = np.exp((q[:, head] @ k[:, head].T).numpy() / np.sqrt(8))
            weights /= weights.sum(1, keepdims=True)
            np.testing.assert_allclose(maps[1, 0, head.start // 8], weights, rtol=0, atol=1e-6)
            read.append(torch.tensor(weights).float() @ v[:, head])
        np.testing.assert_allclose(part.proj(torch.cat(read, 1)), output[0].detach(), rtol=0, atol=1e-5)


def test_the_network_stays_as_it_was():
    """Reading leaves no hook, the mode, the weights and the answers; labels are not dropped in training mode."""
    model = built(class_dropout=1.0)
    x, time, y = given(model)
    before, state = kept(model, x, time, y)[1], {k: v.clone() for k, v in model.state_dict().items()}
    calm = attention_maps(model, x, time, y)
    model.train()
    maps = attention_maps(model, x, time, y)
    assert model.training
    assert torch.equal(calm, maps)
    assert not maps.requires_grad
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.equal(kept(model, x, time, y)[1], before)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    with pytest.raises(ValueError, match="labels within"):
        attention_maps(model, x, time, 9)
    assert not any(module._forward_hooks for module in model.modules())


def test_bfloat16_maps_are_float32():
    """Weights of half precision have maps whose rows sum to one in float32."""
    model = built().bfloat16()
    maps = attention_maps(model, given(model)[0], 0.5, 3)
    assert maps.dtype == torch.float32
    assert torch.allclose(maps.sum(-1), torch.ones(()), atol=1e-5)


def test_distances_of_known_maps():
    """A head that reads itself is at 0; its right neighbour, a patch away; all alike, the mean of a double loop."""
    config = dataclasses.replace(TINY, input_size=(4, 6))
    places = [(i, j) for i in range(2) for j in range(3)]
    mean = sum(2 * math.dist(a, b) for a in places for b in places) / 36
    alike = torch.full((6, 6), 1 / 6, dtype=torch.float64)
    assert float(attention_distance(torch.eye(6), config)) == 0
    assert float(attention_distance(alike, config)) == pytest.approx(mean, rel=1e-12)
    assert uniform_distance(config) == pytest.approx(mean, rel=1e-6)
    rows = [[0, 1, 2], [3, 4, 5]]
    right = torch.zeros(6, 6)
    for row in rows:
        for a, b in zip(row, [*row[1:], row[0]]):
            right[a, b] = 1
    assert float(attention_distance(right, config)) == pytest.approx(2 * (1 + 1 + 2) / 3, rel=1e-6)
    line = dataclasses.replace(TINY, input_size=(8,))
    assert float(attention_distance(torch.ones(4, 4) / 4, line)) == pytest.approx(2 * 1.25, rel=1e-6)


def test_tokens_without_a_place_are_left_out():
    """Half of a row on a token of the condition changes nothing: the rest counts as the whole, as a loop adds it up."""
    weights = torch.rand(16, 16, generator=torch.Generator().manual_seed(0))
    weights = weights / weights.sum(-1, keepdim=True)
    wider = torch.zeros(18, 18)
    wider[:16, :16], wider[:16, 16], wider[16:, 16] = 0.5 * weights, 0.5, 1.0
    places = [(i, j) for i in range(4) for j in range(4)]
    far = sum(2 * math.dist(a, b) * float(weights[i, j]) for i, a in enumerate(places) for j, b in enumerate(places))
    assert float(attention_distance(weights, TINY)) == pytest.approx(far / 16, rel=1e-5)
    assert float(attention_distance(wider, TINY)) == pytest.approx(far / 16, rel=1e-5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: attention_maps(built(), *given(built()), cross=True), "received conditioning='adaln-zero'"),
        (lambda: attention_distance(torch.ones(1, 1), SiT.for_vectors(2).config), "a network of vectors"),
        (lambda: attention_distance(torch.ones(4, 4), TINY), r"\(…, S, S\) with S at least 16"),
        (lambda: attention_distance(torch.ones(16, 2), TINY), "shape .16, 2"),
    ],
)
def test_refusals(call, words):
    """Cross-attention that is not there, networks without a grid and maps of another size are refused."""
    with pytest.raises(ValueError, match=words):
        call()

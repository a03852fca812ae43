"""The options of a network: their parts alone, forward-mode derivatives, checkpointing, precision, compilation."""

import re
from functools import partial

import mpmath
import numpy as np
import pytest
import torch
from backbone_support import TINY, perturb
from test_backbone_variants import VARIANTS, build, inputs
from torch.func import jvp

from backbone import SiT, SiTConfig
from backbone.draws import Draws
from backbone.embeddings import Float32Linear, position_embedding
from backbone.layers import RMSNorm, SwiGLU
from backbone.losses import Interpolation
from backbone.rotary import rotary_angles, rotate
from interpolants import Linear, Objective

# torch's first JVP scripts its decompositions.
JVP = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
OPTIONS = [name for name in VARIANTS if name not in ("math", "time_scale", "vector")]


@pytest.mark.parametrize("grid", [(7,), (5, 4)])
def test_rope_sees_differences_of_places_alone(grid):
    """The product of a turned query and key is the same for all pairs of places with one difference, and varies."""
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 8, dtype=torch.float64, generator=generator)
    angles = rotary_angles(grid, 8, like=q)
    tokens = len(angles)
    scores = rotate(q.expand(1, 1, tokens, 8), angles)[0, 0] @ rotate(k.expand(1, 1, tokens, 8), angles)[0, 0].T
    places = list(np.ndindex(*grid))
    found = {}
    for i, one in enumerate(places):
        for j, other in enumerate(places):
            found.setdefault(tuple(np.subtract(one, other)), []).append(float(scores[i, j]))
    assert max(max(same) - min(same) for same in found.values()) < 1e-12
    means = sorted(np.mean(same) for same in found.values())
    assert min(np.diff(means)) > 1e-9  # no two differences give one product
    assert found[(0,) * len(grid)][0] == pytest.approx(float(q @ k), abs=1e-12)


def test_tokens_without_a_place_are_not_turned():
    """The angles of the extra tokens are zero, and those of the others do not depend on them."""
    angles = rotary_angles((3, 2), 8, extra=2, like=torch.zeros(1))
    assert angles.shape == (8, 4)
    assert angles.dtype == torch.float32
    assert not angles[6:].any()
    assert torch.equal(angles[:6], rotary_angles((3, 2), 8, like=torch.zeros(1)))


def test_rms_norm_is_its_formula_in_float32():
    """x over the root of its mean square plus 1e-6, times the gain; bfloat16 is normed in float32."""
    x = torch.tensor([[3.0, -4.0, 0.0, 0.5], [1e-3, 2e-3, 0.0, 0.0]], dtype=torch.float64)
    norm = RMSNorm(4, affine=True).double()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0, -1.0, 0.5]))
    with mpmath.workdps(30):
        for row, out in zip(x.tolist(), norm(x).tolist()):
            root = mpmath.sqrt(sum(mpmath.mpf(v) ** 2 for v in row) / 4 + mpmath.mpf(10) ** -6)
            assert out == pytest.approx([float(v * g / root) for v, g in zip(row, (1, 2, -1, 0.5))], rel=1e-14)
    half = torch.randn(5, 64, generator=torch.Generator().manual_seed(0)).bfloat16()
    plain = RMSNorm(64, affine=False)
    assert torch.equal(plain(half), plain(half.float()).bfloat16())
    assert not list(plain.parameters())


def test_swiglu_is_its_formula():
    """w3 (silu(x W1) · x W2) with the first half of w12 gating the second, in numpy."""
    torch.manual_seed(0)
    layer, x = SwiGLU(3, 5).double(), torch.randn(2, 3, dtype=torch.float64)
    w = {name: tensor.detach().numpy() for name, tensor in layer.state_dict().items()}
    for row, out in zip(x.numpy(), layer(x).detach().numpy()):
        gate = w["w12.weight"][:5] @ row + w["w12.bias"][:5]
        value = w["w12.weight"][5:] @ row + w["w12.bias"][5:]
        np.testing.assert_allclose(
            out, w["w3.weight"] @ (gate / (1 + np.exp(-gate)) * value) + w["w3.bias"], rtol=1e-13
        )


def test_positions_of_a_sequence_are_the_formula():
    """Entry (token, i) in one dimension is the sine, then the cosine, of token / 10000^(2i/D)."""
    table = position_embedding(6, (4,))[0]
    with mpmath.workdps(30):
        for token in range(4):
            angles = [token / mpmath.mpf(10000) ** (mpmath.mpf(2 * i) / 6) for i in range(3)]
            wanted = [float(wave(angle)) for wave in (mpmath.sin, mpmath.cos) for angle in angles]
            assert table[token].tolist() == pytest.approx(wanted, abs=6e-8)


@JVP
@pytest.mark.parametrize("name", OPTIONS)
def test_forward_mode_derivatives_of_the_whole_network(name):
    """A JVP in x and t equals a central difference to 1e-7, and its contraction the reverse mode's to 1e-10."""
    model = build(name, attention="math").double()
    x, time, y = inputs(model.config)
    x, time = x.double(), time.double()
    generator = torch.Generator().manual_seed(5)
    dx, w = torch.randn(2, *x.shape, generator=generator, dtype=torch.float64)
    dt, h = torch.tensor([1.0, -0.5], dtype=torch.float64), 1e-5
    _, tangent = jvp(lambda x, t: model(x, t, y), (x, time), (dx, dt))
    with torch.no_grad():
        difference = (model(x + h * dx, time + h * dt, y) - model(x - h * dx, time - h * dt, y)) / (2 * h)
    assert float((tangent - difference).detach().abs().max()) < 1e-7 * float(difference.abs().max())
    x, time = x.requires_grad_(), time.requires_grad_()
    to_x, to_t = torch.autograd.grad((model(x, time, y) * w).sum(), (x, time))
    wanted = float((to_x * dx).sum() + (to_t * dt).sum())
    assert float((tangent * w).sum().detach()) == pytest.approx(wanted, rel=1e-10)


def gradients(model, loss):
    model.zero_grad()
    loss(model).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("every", "forwards"), [(1, [2, 2, 2]), (2, [2, 2, 2]), (0, [1, 1, 1]), (5, [2, 2, 2])])
def test_checkpointing_computes_again_and_changes_nothing(every, forwards):
    """Each block runs twice in training with checkpoints and once without; gradients are the same bit for bit."""
    fields = TINY.to_dict() | {"depth": 3, "class_dropout": 0.0}
    plain = perturb(SiT(SiTConfig.from_dict(fields))).train()
    model = SiT(SiTConfig.from_dict(fields | {"checkpoint_every": every})).train()
    model.load_state_dict(plain.state_dict())
    x, time, y = inputs(plain.config)
    ran = [0, 0, 0]
    for i, block in enumerate(model.blocks):
        block.norm1.register_forward_pre_hook(lambda *_, i=i: ran.__setitem__(i, ran[i] + 1))

    def loss(network):
        return network(x, time, y).square().sum()

    wanted, found = gradients(plain, loss), gradients(model, loss)
    assert ran == forwards
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)
    model.eval()(x, time, y)
    assert ran == [count + 1 for count in forwards]


def test_a_segment_of_checkpoints_is_n_blocks():
    """Between the passes only the tensors before every n-th block are kept: fewer with larger n."""
    x, time, y = inputs(TINY)
    kept = {}
    for every in (0, 1, 2, 4):
        model = SiT(SiTConfig.from_dict(TINY.to_dict() | {"depth": 4, "checkpoint_every": every})).train()
        shapes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, to=shapes: to.append(t.shape) or t, lambda t: t):
            model(x, time, y)
        kept[every] = len(shapes)
    assert kept[0] > kept[1] > kept[2] > kept[4]


@JVP
def test_a_gradient_of_a_derivative_survives_checkpointing():
    """The gradient of a loss of a JVP is the same with checkpoints, which a forward-mode derivative goes without."""
    plain = build("math", class_dropout=0.0).train()
    model = build("math", class_dropout=0.0, checkpoint_every=1).train()
    x, time, y = inputs(plain.config)
    for tangents in ((torch.ones_like(x), torch.zeros(2)), (torch.zeros_like(x), torch.ones(2))):

        def loss(network, tangents=tangents):
            return jvp(lambda x, t: network(x, t, y), (x, time), tangents)[1].square().sum()

        wanted, found = gradients(plain, loss), gradients(model, loss)
        assert all(torch.equal(wanted[name], found[name]) for name in wanted)


@pytest.mark.parametrize("name", OPTIONS)
def test_what_stays_in_float32_under_autocast(name):
    """Time, modulation, norms of the stream, the last layer and the loss are float32; the maps of tokens bfloat16."""
    model = build(name)
    x, time, y = inputs(model.config)
    wanted = model(x, time, y)
    seen, exact = {}, (Float32Linear, RMSNorm, torch.nn.LayerNorm)

    def note(label, module, args, out):
        # A map of tokens reads float32 and returns bfloat16; what must be float32 may not see bfloat16 either.
        inputs = (args[0],) if isinstance(module, exact) else ()
        seen[label] = {tensor.dtype for tensor in (*inputs, out)}

    for label, module in model.named_modules():
        if isinstance(module, (torch.nn.Linear, *exact)) and not re.search("[qk]_norm|x_embedder", label):
            module.register_forward_hook(partial(note, label))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(x, time, y)
        loss = Interpolation(Objective(Linear()))(model, x, y, Draws(0, torch.arange(2)))
    half = {label for label, dtypes in seen.items() if torch.bfloat16 in dtypes}
    assert half == {label for label in seen if re.search(r"attn\.|cross\.|mlp\.(fc|w)", label) and "t_emb" not in label}
    assert {"final_layer.linear", "final_layer.norm_final", "t_embedder.mlp.0", "blocks.1.norm2"} <= set(seen) - half
    assert out.dtype == loss.dtype == torch.float32
    assert float(((out - wanted).norm() / wanted.norm()).detach()) < 0.05


@torch.no_grad()
@pytest.mark.parametrize("name", OPTIONS)
def test_half_precision_weights_give_nearly_the_same(name):
    """With weights in bfloat16 every variant is within 5% of float32, and float32 for an x of float32."""
    model = build(name)
    x, time, y = inputs(model.config)
    wanted = model(x, time, y)
    out = model.bfloat16()(x, time, y)
    assert out.dtype == torch.float32
    assert float(((out - wanted).norm() / wanted.norm()).detach()) < 0.05


@pytest.mark.parametrize(
    "name",
    [name if name in ("all", "cross-attention") else pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS],
)
def test_variants_compile_to_one_graph(name):
    """Every variant is one graph without breaks, in evaluation, under autocast and in training with checkpoints."""
    model = build(name, depth=1, checkpoint_every=1, class_dropout=0.0)
    batch = inputs(model.config)

    def passed(network, training, dtype):
        model.train(training)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            return network(*batch)

    for training, dtype in ((False, torch.float32), (False, torch.bfloat16), (True, torch.float32)):
        torch._dynamo.reset()
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        assert torch.equal(passed(compiled, training, dtype), passed(model, training, dtype))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # of the compiler itself
@pytest.mark.parametrize("part", ["output", "autocast", "gradients"])
def test_compiled_kernels_agree(part):
    """Generated kernels of one graph agree with the eager network, under autocast too; so do checkpointed gradients."""
    torch._dynamo.reset()
    model = build("all", depth=1, checkpoint_every=1, class_dropout=0.0)
    batch = inputs(model.config)
    compiled = torch.compile(model, fullgraph=True)
    if part == "gradients":
        model.train()
        wanted = gradients(model, lambda network: network(*batch).square().mean())
        found = gradients(model, lambda _: compiled(*batch).square().mean())
        for name, gradient in wanted.items():
            assert float((found[name] - gradient).abs().max()) < 1e-5 * (1 + float(gradient.abs().max()))
    else:
        with torch.no_grad():
            wanted = model(*batch)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=part == "autocast"):
                out = compiled(*batch)
        assert float((out - wanted).norm() / wanted.norm()) < (0.05 if part == "autocast" else 1e-5)

"""The network: published names, counts and layout, its zero start, precision, and refusals."""

import json
from pathlib import Path

import pytest
import torch
from backbone_support import TINY, perturb

from backbone import SiT, SiTConfig, sit
from backbone.model import unpatchify
from backbone.sizes import SIZES

FACTS = Path(__file__).parents[1] / "facts"
COUNTS = json.loads((FACTS / "sit_parameter_counts.json").read_text())


@pytest.mark.parametrize("name", list(SIZES))
def test_parameter_counts_are_the_published_ones(name):
    """Total and trainable parameters of every size are those of the published definition."""
    with torch.device("meta"):
        model = sit(name)
    counts = {
        "total": sum(p.numel() for p in model.parameters()),
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }
    assert counts == COUNTS[name]


def test_every_published_size_is_here():
    """The table of names is exactly that of the published counts."""
    assert set(SIZES) == set(COUNTS)


def test_state_dict_has_the_published_names_and_shapes():
    """Names and shapes of the state dict are those of official checkpoints, none more."""
    fact = json.loads((FACTS / "sit_state_dict.json").read_text())
    state = SiT(SiTConfig.from_dict(fact["config"])).state_dict()
    assert {name: list(tensor.shape) for name, tensor in state.items()} == fact["state_dict"]


@torch.no_grad()
def test_a_new_network_returns_exactly_zero(batch):
    """Before training the output is 0.0 everywhere, both halves."""
    out = SiT(TINY).both_halves(*batch)
    assert out.shape == (4, 6, 8, 8)
    assert torch.equal(out, torch.zeros_like(out))


@torch.no_grad()
def test_initial_weights_have_the_published_distributions():
    """Linear weights are Xavier-uniform, label table and time MLP normal with std 0.02, modulation and output zero."""
    torch.manual_seed(0)
    model = SiT(SiTConfig(input_size=8, hidden_size=256, depth=1, num_heads=4))
    block = model.blocks[0]
    for weight in (block.attn.qkv.weight, block.mlp.fc1.weight, model.x_embedder.proj.weight.flatten(1)):
        bound = (6 / sum(weight.shape)) ** 0.5
        assert float(weight.abs().max()) <= bound
        assert float(weight.std()) == pytest.approx(bound / 3**0.5, rel=0.05)
    for weight in (
        model.y_embedder.embedding_table.weight,
        model.t_embedder.mlp[0].weight,
        model.t_embedder.mlp[2].weight,
    ):
        assert float(weight.std()) == pytest.approx(0.02, rel=0.03)
    zero = [
        block.adaLN_modulation[1].weight,
        model.final_layer.adaLN_modulation[1].weight,
        model.final_layer.linear.weight,
    ]
    zero += [parameter for name, parameter in model.named_parameters() if name.endswith("bias")]
    assert all(not tensor.any() for tensor in zero)
    assert not model.pos_embed.requires_grad


def test_patches_and_unpatchify_agree_on_the_layout():
    """Output (token h·w, index (p, q, c)) lands at channel c, row h·p + p, column w·p + q."""
    side, p, channels = 3, 2, 4
    patches = torch.arange(2 * side * side * p * p * channels, dtype=torch.float32).view(2, side * side, -1)
    image = unpatchify(patches, p, channels)
    assert image.shape == (2, channels, side * p, side * p)
    for n, c, row, column in [(0, 0, 0, 0), (0, 3, 1, 4), (1, 2, 5, 0), (1, 1, 3, 5), (0, 2, 4, 3)]:
        token = (row // p) * side + column // p
        index = ((row % p) * p + column % p) * channels + c
        assert image[n, c, row, column] == patches[n, token, index]


@torch.no_grad()
def test_tokens_are_row_major():
    """A change of one pixel of the input moves, without attention, only the patch at the same place of the output."""
    torch.manual_seed(0)
    model = perturb(SiT(SiTConfig(input_size=8, patch_size=2, in_channels=1, hidden_size=16, depth=1, num_heads=2)))
    with torch.no_grad():
        model.blocks[0].attn.proj.weight.zero_()
    x = torch.zeros(1, 1, 8, 8)
    moved = x.clone()
    moved[0, 0, 2, 5] = 1.0
    y = torch.tensor([0])
    change = (model.eval()(moved, 0.5, y) - model(x, 0.5, y))[0, 0].abs()
    assert float(change[2:4, 4:6].min()) > 0
    change[2:4, 4:6] = 0
    assert not change.any()


def test_gradients_reach_every_trainable_parameter(model, batch):
    """After the zero layers have moved, each trainable tensor has a finite gradient that is not zero."""
    model.train().both_halves(*batch).square().sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.any(), name
    assert model.pos_embed.grad is None


def test_forward_is_the_first_half(model, batch):
    """forward is the first C of the 2C channels with learn_sigma and all channels without."""
    both = model.both_halves(*batch)
    assert both.shape == (4, 6, 8, 8)
    assert torch.equal(model(*batch), both[:, :3])
    single = perturb(SiT(SiTConfig(**(TINY.to_dict() | {"learn_sigma": False})))).eval()
    assert single(*batch).shape == (4, 3, 8, 8)
    assert torch.equal(single(*batch), single.both_halves(*batch))


@torch.no_grad()
def test_time_and_label_and_null_class_matter(model, batch):
    """The output depends on time and on the label, the null class included."""
    x, _, y = batch
    outs = [model(x, 0.3, y), model(x, 0.6, y), model(x, 0.3, (y + 1) % 5), model(x, 0.3, torch.full((4,), 5))]
    for i, first in enumerate(outs):
        for second in outs[i + 1 :]:
            assert float((first - second).abs().max()) > 1e-3


def test_a_time_may_be_a_number_a_scalar_or_a_vector(model, batch):
    """0.25, a 0-d tensor and a tensor (N,) give the same output; so does a float64 time."""
    x, _, y = batch
    wanted = model(x, torch.full((4,), 0.25), y)
    for time in (0.25, torch.tensor(0.25), torch.full((4,), 0.25, dtype=torch.float64)):
        assert torch.equal(model(x, time, y), wanted)
    assert torch.equal(model(x, 1, y), model(x, 1.0, y))


def test_training_mode_drops_labels_and_a_mask_decides(batch):
    """With class_dropout=1 training equals the null class, and a mask of False keeps the labels."""
    x, time, y = batch
    model = perturb(SiT(SiTConfig(**(TINY.to_dict() | {"class_dropout": 1.0}))))
    kept = model.eval()(x, time, y)
    null = model(x, time, torch.full((4,), 5))
    assert torch.equal(model.train()(x, time, y), null)
    assert torch.equal(model(x, time, y, drop_labels=torch.zeros(4, dtype=torch.bool)), kept)


@torch.no_grad()
def test_the_output_has_the_dtype_of_x(model, batch):
    """float32 x gives float32 under bfloat16 weights and autocast, near the float32 answer; float64 stays float64."""
    x, time, y = batch
    wanted = model(x, time, y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model(x, time, y)
    half = model.bfloat16()(x, time, y)
    for out in (mixed, half):
        assert out.dtype == torch.float32
        assert float((out - wanted).norm() / wanted.norm()) < 0.05
    assert model.double()(x.double(), time, y).dtype == torch.float64


def test_bfloat16_weights_still_resolve_time(model, batch):
    """Times that bfloat16 cannot tell apart give different outputs of bfloat16 weights."""
    x, _, y = batch
    model = model.bfloat16()
    with torch.no_grad():
        model.t_embedder.mlp[2].weight.mul_(100)
    assert torch.tensor(0.698).bfloat16() == torch.tensor(0.701).bfloat16()
    assert not torch.equal(model(x, 0.698, y), model(x, 0.701, y))


def test_the_network_runs_on_the_meta_device():
    """Shapes can be computed without memory: SiT-XL/2 on the meta device."""
    with torch.device("meta"):
        out = sit("SiT-XL/2")(torch.empty(2, 4, 32, 32), 0.5, torch.empty(2, dtype=torch.int64))
    assert out.shape == (2, 4, 32, 32)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"x": torch.zeros(4, 3, 8, 9)}, r"shape \(N, 3, 8, 8\); received torch\.float32 of shape \(4, 3, 8, 9\)"),
        ({"x": torch.zeros(4, 3, 8, 8, dtype=torch.int64)}, "floating tensor .*; received torch.int64"),
        ({"x": torch.zeros(3, 8, 8)}, r"received torch\.float32 of shape \(3, 8, 8\)"),
        ({"time": torch.zeros(3)}, r"shape \(4,\); received torch\.float32 of shape \(3,\)"),
        ({"time": torch.zeros(4, 1)}, r"shape \(4,\); received torch\.float32 of shape \(4, 1\)"),
        ({"time": torch.zeros(4, dtype=torch.bfloat16)}, "float32 or float64; received torch.bfloat16.*684 distinct"),
        ({"time": torch.zeros(4, dtype=torch.float16)}, "float32 or float64; received torch.float16"),
        ({"time": torch.zeros(4, dtype=torch.int64)}, "float32 or float64; received torch.int64"),
        ({"time": float("nan")}, "finite number.*received nan"),
        ({"time": "0.5"}, r"finite number.*received '0\.5' \(str\)"),
        ({"y": torch.zeros(3, dtype=torch.int64)}, r"y .* of shape \(4,\); received torch\.int64 of shape \(3,\)"),
        ({"y": torch.zeros(4)}, "y to be an int64 tensor.*; received torch.float32"),
        ({"y": 3}, r"y to be an int64 tensor.*; received 3 \(int\)"),
        ({"y": torch.tensor([0, 1, 6, 2])}, "within 0 … 5 .*; received labels from 0 to 6"),
        ({"y": torch.tensor([0, 1, -1, 2])}, "within 0 … 5 .*; received labels from -1 to 2"),
    ],
)
def test_a_bad_input_is_refused(model, batch, change, expected):
    """Each input of the wrong shape, dtype or range is refused with expected, received and remedy."""
    inputs = dict(zip(("x", "time", "y"), batch)) | change
    with pytest.raises(ValueError, match="expected .*" + expected) as caught:
        model(**inputs)
    assert "; remedy: " in str(caught.value)


def test_bfloat16_really_loses_times():
    """4096 uniform draws keep only some hundreds of distinct values in bfloat16, which is why it is refused."""
    draws = torch.rand(4096, generator=torch.Generator().manual_seed(0))
    assert len(draws.bfloat16().unique()) < 1000 < 4000 < len(draws.unique())


def test_a_model_needs_a_config():
    """SiT of anything but a SiTConfig is a TypeError that says how to build one."""
    with pytest.raises(TypeError, match=r"expected a SiTConfig; received 'SiT-XL/2'; remedy: .*sit\("):
        SiT("SiT-XL/2")


def test_the_compiled_graph_has_no_breaks(model, batch):
    """The forward pass is one graph, and it computes what the eager one does."""
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    assert torch.equal(compiled(*batch), model(*batch))

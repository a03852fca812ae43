"""What makes the network fast, where it can be seen without a clock: kernels, layouts, and what is not imported."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from backbone_support import TINY, perturb
from test_backbone_variants import build, inputs
from torch.nn import functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode

from backbone import SiT
from backbone.layers import PatchEmbedding, patchify
from backbone.model import unpatchify

SHAPES = {"image": (8, 6), "sequence": (10,), "vector": ()}


class Calls(TorchFunctionMode):
    """Count the calls of one function of torch."""

    def __init__(self, function):
        super().__init__()
        self.function, self.count = function, 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.count += function is self.function
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("name", "fields", "calls"),
    [("qk", {}, 2), ("rope", {}, 2), ("cross-attention", {}, 4), ("math", {}, 0), ("all", {"attention": "math"}, 0)],
)
def test_attention_is_one_fused_call(name, fields, calls):
    """Each attention of a block is one call of torch's fused kernel, with "math" none."""
    model = build(name, **fields)
    with Calls(F.scaled_dot_product_attention) as fused:
        model(*inputs(model.config))
    assert fused.count == calls


@pytest.mark.parametrize("count", [2, 0])
@pytest.mark.parametrize("kind", SHAPES)
def test_the_patch_embedding_is_the_published_convolution(kind, count):
    """The product of matrices equals torch's convolution with the same weights, and so do all gradients, to 1e-13."""
    size = SHAPES[kind]
    config = replace(TINY, input_size=size, patch_size=2 if size else 1)
    torch.manual_seed(0)
    embedding = PatchEmbedding(config).double()
    x = torch.randn(count, config.in_channels, *size, dtype=torch.float64, requires_grad=True)
    tokens, published = embedding(x), embedding.proj(x)
    published = published.flatten(2).transpose(1, 2) if size else published.unsqueeze(1)
    assert tokens.shape == published.shape == (count, config.tokens, config.hidden_size)
    torch.testing.assert_close(tokens, published, rtol=0, atol=1e-13)
    leaves, factor = (x, *embedding.parameters()), torch.randn_like(tokens)
    ours, theirs = (torch.autograd.grad((out * factor).sum(), leaves) for out in (tokens, published))
    for found, wanted in zip(ours, theirs):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", SHAPES)
def test_patches_are_put_back(kind):
    """Cutting an input into patches and putting them together again gives the input, bit for bit."""
    size = SHAPES[kind]
    patch = 2 if size else 1
    x = torch.randn(3, 5, *size)
    patches = patchify(x, patch)
    # Patches are read channels first, as the weights of a convolution are, and written channels last.
    features = patches.unflatten(-1, (5, -1)).transpose(-2, -1).flatten(-2)
    grid = tuple(side // patch for side in size)
    assert torch.equal(unpatchify(features, patch, 5, grid), x)


def test_the_residual_stream_is_contiguous():
    """Tokens come to every norm with their features side by side, so that none copies them; images of any layout."""
    model = perturb(SiT(TINY)).eval()
    seen = []
    for block in model.blocks:
        for norm in (block.norm1, block.norm2):
            norm.register_forward_pre_hook(lambda module, args: seen.append(args[0].is_contiguous()))
    x = torch.randn(2, 3, 8, 8)
    for layout in (torch.contiguous_format, torch.channels_last):
        model(x.contiguous(memory_format=layout), 0.5, torch.tensor([0, 1]))
    assert seen == [True] * 8


BUILD = """
import sys, time
import torch
import backbone.model
began = time.process_time()
with torch.device("meta"):
    model = backbone.sit("SiT-XL/2")
spent = time.process_time() - began
assert model.pos_embed.is_meta and model.y_embedder.embedding_table.weight.is_meta
assert sum(part.numel() for part in model.parameters()) == 675_129_632
print(spent, "torch._dynamo" in sys.modules)
"""


def test_the_largest_network_is_built_on_the_meta_device_at_once():
    """The first XL/2 of a process takes less than a second there: torch's compiler is not loaded to draw nothing."""
    done = subprocess.run([sys.executable, "-c", BUILD], capture_output=True, text=True, check=True)
    seconds, loaded = done.stdout.split()
    assert loaded == "False"
    assert float(seconds) < 1


def test_initial_weights_are_drawn_everywhere_else():
    """On a device with numbers no weight is left undrawn: two seeds differ wherever the published start is random."""
    models = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        models.append(SiT(TINY))
    names = {name for name, part in models[0].named_parameters() if not part.equal(models[1].get_parameter(name))}
    drawn = {"x_embedder.proj.weight", "t_embedder.mlp.0.weight", "t_embedder.mlp.2.weight"}
    drawn |= {"y_embedder.embedding_table.weight"}
    drawn |= {f"blocks.{i}.{part}.weight" for i in range(2) for part in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")}
    assert names == drawn

"""Choosing a variant: configs through JSON and files, refusals, and networks on vectors and without labels."""

import json

import pytest
import torch
from backbone_support import TINY, perturb
from test_backbone_variants import VARIANTS, build, inputs

from backbone import Arrays, SiT, SiTConfig, TrainConfig, bind, dit, load_checkpoint, sample, save_checkpoint, train
from backbone.config import CHOICES
from interpolants import Linear, Objective


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_survives_json(name):
    """Fields are plain JSON, and a config with any option is equal after JSON text, its input size a tuple again."""
    config = build(name).config
    assert json.loads(json.dumps(config.to_dict())) == config.to_dict()
    assert SiTConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_a_checkpoint_from_before_the_options_loads(tmp_path):
    """A config with the ten fields of old checkpoints gives the published network; a new one keeps its options."""
    old = ("input_size", "patch_size", "in_channels", "hidden_size", "depth", "num_heads", "mlp_ratio", "num_classes")
    fields = {name: TINY.to_dict()[name] for name in (*old, "learn_sigma", "class_dropout")}
    assert SiTConfig.from_dict(fields) == TINY
    model = build("all")
    save_checkpoint(tmp_path / "all.safetensors", model)
    again = load_checkpoint(tmp_path / "all.safetensors").model
    batch = inputs(model.config)
    assert again.config == model.config
    assert torch.equal(again(*batch), model(*batch))


@pytest.mark.parametrize("field", CHOICES)
def test_an_unknown_choice_lists_the_choices(field):
    """A misspelt variant is refused with every choice and the closest; all listed ones are accepted."""
    with pytest.raises(ValueError, match=f"expected {field} to be one of ") as caught:
        SiTConfig(**{field: CHOICES[field][1] + "x"})
    assert all(choice in str(caught.value) for choice in CHOICES[field])
    assert f"closest: '{CHOICES[field][1]}'" in str(caught.value)
    for choice in CHOICES[field]:
        assert getattr(SiTConfig(**{field: choice}), field) == choice


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"input_size": (32, 33)}, r"input_size divisible by patch_size; received input_size=33"),
        ({"input_size": (4, 4, 4)}, r"input_size S, \(H, W\), \(L,\) or \(\); received \(4, 4, 4\)"),
        ({"input_size": [32, 32]}, r"input_size to be an integer ≥ 1; received \[32, 32\]"),
        ({"input_size": (32, 0)}, r"input_size to be an integer ≥ 1; received 0"),
        ({"input_size": ()}, r"patch_size=1 for vectors; received patch_size=2; remedy: use SiT\.for_vectors"),
        ({"hidden_size": 24, "num_heads": 4, "positions": "rope"}, r"divisible by 4; received 24 / 4"),
        ({"hidden_size": 9, "num_heads": 3, "input_size": (8,)}, r"hidden_size divisible by 2; received 9; .*use 10"),
        ({"condition": "concat", "num_classes": 0}, r'condition="concat" with labels and adaLN; .*num_classes=0'),
        ({"condition": "concat", "conditioning": "in-context"}, r"with labels and adaLN; .*'in-context'"),
        ({"time_scale": 0.0}, r"time_scale, not 0; received 0\.0"),
        ({"time_scale": float("inf")}, r"finite time_scale, not 0; received inf"),
        ({"timesteps": 0}, r"timesteps to be an integer ≥ 1; received 0"),
        ({"qk_norm": 1}, r"qk_norm True or False; received 1"),
        ({"checkpoint_every": -1}, r"checkpoint_every to be an integer ≥ 0; received -1"),
    ],
)
def test_a_bad_option_is_refused(fields, expected):
    """An option out of range, or one that would change nothing, is refused with what came and a remedy."""
    with pytest.raises(ValueError, match=expected) as caught:
        SiTConfig(**fields)
    assert "; remedy: " in str(caught.value)


def test_inputs_of_other_shapes_are_refused():
    """Turned sides, a missing label and a label for a network without labels are refused in words."""
    model = build("not square")
    x, time, y = inputs(model.config)
    with pytest.raises(ValueError, match=r"shape \(N, 3, 4, 6\); received torch\.float32 of shape \(2, 3, 6, 4\)"):
        model(x.transpose(2, 3), time, y)
    with pytest.raises(ValueError, match=r"y to be an int64 tensor of shape \(2,\); received None"):
        model(x, time)
    unlabelled = build("no labels")
    x, time, _ = inputs(unlabelled.config)
    with pytest.raises(ValueError, match=r"labels within 0 … 0 .*; received labels from 1 to 1"):
        unlabelled(x, time, torch.tensor([1, 1]))
    assert torch.equal(unlabelled(x, time, torch.tensor([0, 0])), unlabelled(x, time))


def test_vectors_have_a_network_from_training_to_samples():
    """A network on vectors learns two points from their labels and samples them: the nearer point is the label's."""
    torch.manual_seed(0)
    model = SiT.for_vectors(3, num_classes=2, hidden_size=32, depth=1, class_dropout=0.0)
    assert (model.config.size, model.config.tokens) == ((), 1)
    points = torch.tensor([[1.0, 1.0, 0.0], [-1.0, 0.0, 1.0]])
    labels = torch.arange(2).repeat(32)
    recipe = TrainConfig(steps=150, batch_size=32, learning_rate=5e-3, ema_decay=None)
    result = train(model, Arrays(points[labels], labels), recipe, objective=Objective(Linear()))
    assert result.losses[-1] < 0.3 * result.losses[0]
    drawn = sample(model, labels[:16], schedule=Linear(), rng=torch.Generator().manual_seed(0)).x
    assert drawn.shape == (16, 3)
    assert torch.equal(torch.cdist(drawn, points).argmin(dim=1), labels[:16])


def test_a_network_without_labels_trains_and_is_bound():
    """Without classes the labels are zeros or None; its field is the network; there is no label table."""
    torch.manual_seed(0)
    model = perturb(SiT.for_vectors(2, hidden_size=16, depth=1))
    assert not any(name.startswith("y_embedder") for name in model.state_dict())
    x = torch.randn(4, 2)
    assert torch.equal(bind(model)(0.5, x), model(x, 0.5))
    recipe = TrainConfig(steps=2, batch_size=2, ema_decay=None)
    assert len(train(model, Arrays(x), recipe, objective=Objective(Linear())).losses) == 2
    labelled = build("rms").eval()
    x, _, _ = inputs(labelled.config)
    assert torch.equal(bind(labelled)(0.5, x), labelled(x, 0.5, torch.tensor([5, 5])))


def test_an_unknown_override_of_a_builder_is_a_type_error():
    """SiT.for_vectors and dit refuse a misspelt field as sit does, and dit lists its own names."""
    for builder, first in ((SiT.for_vectors, 2), (dit, "DiT-S/8")):
        with pytest.raises(TypeError, match=r"received 'dept'; remedy: closest: 'depth'"):
            builder(first, dept=2)
    with pytest.raises(ValueError, match=r"expected one of DiT-S/2, .*DiT-XL/8; received 'SiT-XL/2'"):
        dit("SiT-XL/2")

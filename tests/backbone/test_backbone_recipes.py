"""The recipes in configs/: each can be begun, and those of the papers say what the papers say."""

from pathlib import Path

import pytest
import torch
from training_support import PAPER

from backbone import spelling
from backbone.config import SiTConfig
from backbone.losses import Interpolation
from backbone.model import SiT
from backbone.train.config import TrainConfig
from backbone.train.run import loss_of
from backbone.train.run_config import ObjectiveConfig, read_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
RECIPES = sorted(str(file.relative_to(CONFIGS)) for file in CONFIGS.rglob("*.toml"))
# The label dropout of the published training is a fact of the network.
PARITY = PAPER | {"precision": "tf32"}
# Of the published definition of the network, measured: depth, width, heads, parameters for patches of 2; and the
# FID-50K without guidance after 400,000 steps, by the ODE and the SDE.
PUBLISHED = {
    "s": ((12, 384, 6), 32_963_360, "58.97 by the ODE, 57.64 by the SDE"),
    "b": ((12, 768, 12), 130_512_416, "34.84 by the ODE, 33.02 by the SDE"),
    "l": ((24, 1024, 16), 458_102_816, "20.01 by the ODE, 18.79 by the SDE"),
    "xl": ((28, 1152, 16), 675_129_632, "18.04 by the ODE, 17.19 by the SDE"),
}


def _network(config):
    with torch.device("meta"):
        return SiT(config)


def _fields(config, names):
    return {name: getattr(config, name) for name in names}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_can_be_begun(name):
    """It loads, its loss is built and fits its network, and the network takes a batch, on a device without memory."""
    recipe = read_config(CONFIGS / name)
    spelt, config = recipe.objective, recipe.model
    loss = loss_of(spelt, spelling.schedule(spelt.schedule), spelling.prediction(spelt.prediction))
    if isinstance(loss, Interpolation):
        assert config.timesteps is None
        assert loss.objective.prediction is spelling.prediction(spelt.prediction)
    else:
        assert config.timesteps == len(loss.diffusion)
        assert config.learn_sigma is loss.learned
    x = torch.empty(2, config.in_channels, *config.size, device="meta")
    y = torch.zeros(2, dtype=torch.int64, device="meta")
    assert _network(config)(x, torch.zeros(2, device="meta"), y).shape == x.shape


@pytest.mark.parametrize("size", PUBLISHED)
def test_parity_recipes_are_the_published_training(size):
    """SiT-S to XL at 256: network, parameters, objective, optimiser and the published distances."""
    (depth, width, heads), parameters, distances = PUBLISHED[size]
    file = CONFIGS / f"imagenet/sit-{size}-2-256.toml"
    recipe = read_config(file)
    assert recipe.model == SiTConfig(
        input_size=32, patch_size=2, in_channels=4, hidden_size=width, depth=depth, num_heads=heads, num_classes=1000,
        learn_sigma=True, class_dropout=0.1, conditioning="adaln-zero", condition="sum", positions="sincos",
        norm="layer", mlp="gelu", qk_norm=False, time_scale=1.0,
    )  # fmt: skip
    assert sum(part.numel() for part in _network(recipe.model).parameters()) == parameters
    objective = {"schedule": "linear", "prediction": "velocity", "weight": "Uniform()", "times": "Uniform()"}
    assert recipe.objective == ObjectiveConfig(**objective, loss="Interpolation")
    assert _fields(recipe.training, PARITY) == PARITY
    assert recipe.training.steps == 400_000
    assert f"FID-50K after 400,000 steps: {distances}, without guidance" in file.read_text()


def test_the_recipe_of_512_pixels_differs_in_size_and_length_alone():
    """SiT-XL/2 at 512 is that at 256 with latents of 64 × 64 and 3,000,000 steps."""
    small, large = (read_config(CONFIGS / f"imagenet/sit-xl-2-{pixels}.toml").to_dict() for pixels in (256, 512))
    assert large["model"].pop("input_size") == 64
    assert large["training"].pop("steps") == 3_000_000
    for recipe in (small, large):
        recipe["model"].pop("input_size", None)
        recipe["training"].pop("steps", None)
    assert large | {"out": "", "data": ""} == small | {"out": "", "data": ""}


def test_the_ablation_takes_one_step_at_a_time():
    """From DiT to SiT each recipe changes what its step is about, and nothing else but the names of the folders."""
    names = ("1-dit", "2-continuous", "3-velocity", "4-gvp", "4-linear")
    recipes = {name: read_config(CONFIGS / f"ablation/{name}.toml").to_dict() for name in names}
    changed = {"model.timesteps", "objective.schedule", "objective.loss"}
    assert _changes(recipes["1-dit"], recipes["2-continuous"]) == changed
    # The target of the velocity under VP grows like 1/√t at the data.
    assert _changes(recipes["2-continuous"], recipes["3-velocity"]) == {"objective.prediction", "objective.times"}
    for name in ("4-gvp", "4-linear"):
        assert _changes(recipes["3-velocity"], recipes[name]) == {"objective.schedule", "objective.times"}
    assert [recipes[name]["objective"]["schedule"] for name in names] == ["ddpm-linear", "vp", "vp", "gvp", "linear"]
    assert [recipes[name]["objective"]["prediction"] for name in names[:3]] == ["noise", "noise", "velocity"]
    dit = read_config(CONFIGS / "ablation/1-dit.toml")
    assert (dit.model.hidden_size, dit.model.depth, dit.model.timesteps) == (768, 12, 1000)
    assert _fields(dit.training, PARITY) == PARITY


def _changes(first, second):
    pairs = ((f"{part}.{key}", part, key) for part in ("model", "objective", "training") for key in first[part])
    return {path for path, part, key in pairs if first[part][key] != second[part][key]}


def test_the_modern_recipe_is_the_one_of_the_ladder():
    """bfloat16, QK-norm, RMSNorm, SwiGLU, RoPE, logit-normal times, batch 1024, rate 2e-4, β₂ 0.95, 80 epochs."""
    recipe = read_config(CONFIGS / "imagenet/modern-xl-2-256.toml")
    model = {"qk_norm": True, "norm": "rms", "mlp": "swiglu", "positions": "rope", "hidden_size": 1152, "depth": 28}
    assert _fields(recipe.model, model) == model
    training = {"precision": "bfloat16", "batch_size": 1024, "learning_rate": 2e-4, "betas": (0.9, 0.95)}
    assert _fields(recipe.training, training) == training
    assert recipe.objective.times == "LogitNormal(0, 1)"
    epochs = recipe.training.steps * recipe.training.batch_size / 1_281_167
    assert epochs == pytest.approx(80, abs=0.1)


def test_the_pixel_recipe_has_the_shape_of_cifar():
    """Three channels of 32 × 32 pixels and ten classes, trained on a store that was encoded by the identity."""
    file = CONFIGS / "cifar.toml"
    recipe = read_config(file)
    assert (recipe.model.in_channels, recipe.model.size, recipe.model.num_classes) == (3, (32, 32), 10)
    assert "--vae identity" in file.read_text()


def test_the_defaults_are_the_published_training():
    """A training without a file is the published one, but for the precision."""
    defaults = {name: value for name, value in PARITY.items() if name != "precision"}
    assert _fields(TrainConfig(), defaults) == defaults

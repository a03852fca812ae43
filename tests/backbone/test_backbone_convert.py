"""`sit convert`: any layout to safetensors with its config, and a network of reversed time to this one's."""

import json

import pytest
import safetensors.torch
import torch
from published_files import ARGS, CONFIG, LAYOUTS, output, same, training, weights

from backbone import SiT, load_checkpoint, save_checkpoint
from backbone.cli import main
from backbone.convert import turn_time
from interpolants import Schedule
from interpolants.schedules import Linear


def test_convert_writes_what_it_found(tmp_path, capsys):
    """The file has the chosen tensors, config, schedule, prediction and command line; the report says all of it."""
    source, target = tmp_path / "last.pt", tmp_path / "new.safetensors"
    torch.save(LAYOUTS["repa"](weights()), source)
    command = ["convert", str(source), str(target), "--num-heads", "4"]
    assert main([*command, "--schedule", "linear", "--prediction", "velocity"]) == 0
    said = capsys.readouterr().out
    for words in (
        f"read      {source}: training checkpoint of torch.save, weights 'ema'",
        f"{sum(part.numel() for part in weights().values()):,} parameters in 32 tensors, float32",
        "hidden_size=64, depth=2, num_heads=4",
        "left out  2 tensors: projectors.0.0.weight, projectors.0.0.bias",
        "steps=400000, schedule=linear, prediction=Velocity",
        f"written   {target}: {target.stat().st_size:,} bytes",
    ):
        assert words in said
    found = load_checkpoint(target)
    assert same(found.model, weights())
    assert found.model.config == CONFIG
    assert Schedule.from_dict(found.extra["schedule"]) == Linear()
    assert (found.extra["prediction"], found.extra["args"]["model"]) == ("Velocity", ARGS.model)
    with safetensors.safe_open(target, "pt") as file:
        assert json.loads(file.metadata()["sit_config"]) == CONFIG.to_dict()


@pytest.mark.parametrize("layout", [*LAYOUTS, "safetensors", "own"])
def test_every_layout_is_converted(layout, tmp_path, capsys):
    """A file of each layout becomes one that loads without arguments, with the same tensors, config and outputs."""
    source, target, state = tmp_path / "x", tmp_path / "new.safetensors", weights()
    if layout == "safetensors":
        safetensors.torch.save_file(state, source)
    elif layout == "own":
        save_checkpoint(source, load(state), extra={"step": 3})
    else:
        torch.save(LAYOUTS[layout](state), source)
    assert main(["convert", str(source), str(target), *([] if layout == "own" else ["--num-heads", "4"])]) == 0
    assert "written" in capsys.readouterr().out
    found = load_checkpoint(target)
    assert same(found.model, state)
    assert found.model.config == CONFIG
    assert torch.equal(output(found.model), output(load(state)))
    assert (found.extra.get("step") == 3) == (layout == "own")


def load(state):
    model = SiT(CONFIG).eval()
    model.load_state_dict(state)
    return model


def test_convert_chooses_weights_and_overwrites_only_when_told(tmp_path, capsys):
    """--weights model takes those; a target that exists is left as it is unless --force; what was kept stays."""
    source, target = tmp_path / "last.pt", tmp_path / "new.safetensors"
    torch.save(training(weights(0), weights(1)), source)
    command = ["convert", str(source), str(target), "--num-heads", "4"]
    assert main([*command, "--weights", "model", "--prediction", "Noise"]) == 0
    assert same(load_checkpoint(target).model, weights(1))
    before = target.read_bytes()
    assert main(command) == 2
    error = capsys.readouterr().err
    assert f"expected a file that does not exist; received {target}, which does; remedy: pass --force" in error
    assert target.read_bytes() == before
    assert main(["convert", str(target), str(target), "--force", "--schedule", "ddpm-linear"]) == 0
    found = load_checkpoint(target)
    assert same(found.model, weights(1))
    assert (found.extra["prediction"], found.extra["schedule"]["name"]) == ("Noise", "ddpm-linear")
    assert main([*command, "--force"]) == 0
    assert same(load_checkpoint(target).model, weights(0))
    assert set(load_checkpoint(target).extra) == {"args"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--schedule", "lineer"], "did you mean 'linear'"),
        (["--prediction", "velocty"], "did you mean 'velocity'"),
        (["--reverse-time"], "expected a prediction with --reverse-time; received none"),
        (["--weights", "ema"], "expected weights 'ema'"),
        ([], "expected a published width"),
    ],
)
def test_convert_refuses_by_name_and_writes_nothing(options, words, tmp_path, capsys):
    """Bad options and files that do not load exit with 2, one line and no file."""
    source, target = tmp_path / "x.pt", tmp_path / "x.safetensors"
    torch.save(weights(), source)
    assert main(["convert", str(source), str(target), *options]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.strip().splitlines()) == 1
    assert not target.exists()


def test_reversed_time_is_that_of_the_weights(tmp_path):
    """After --reverse-time the network at t is minus the old one at 1 − t; a noise prediction keeps its sign."""
    source, target = tmp_path / "x.pt", tmp_path / "x.safetensors"
    torch.save(weights(), source)
    old = load_checkpoint(source, num_heads=4).model
    x, labels = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([1, 2, 10])
    times = torch.tensor([0.0, 0.3, 1.0])
    for prediction, sign in (("velocity", -1), ("noise", 1)):
        command = ["convert", str(source), str(target), "--num-heads", "4", "--reverse-time", "--force"]
        assert main([*command, "--prediction", prediction]) == 0
        found = load_checkpoint(target)
        assert found.extra["time_reversed"] is True
        with torch.no_grad():
            new, wanted = found.model(x, times, labels), old(x, 1 - times, labels)
            assert (new - sign * wanted).abs().max() < 1e-5 * wanted.abs().max()
            rest, kept = (
                part[:, 4:]
                for part in (found.model.both_halves(x, times, labels), old.both_halves(x, 1 - times, labels))
            )
        assert (rest - kept).abs().max() < 1e-5 * kept.abs().max()
    assert (wanted - old(x, times, labels)).abs().max() > 1e-3 * wanted.abs().max()


def test_turning_time_twice_changes_nothing():
    """In double precision two turns give the weights back to rounding, and the outputs with them."""
    model = SiT(CONFIG).double()
    model.load_state_dict(weights())
    before = {name: part.clone() for name, part in model.state_dict().items()}
    turn_time(model, velocity=True)
    assert (model.t_embedder.mlp[0].weight - before["t_embedder.mlp.0.weight"]).abs().max() > 0.1
    turn_time(model, velocity=True)
    assert all((part - before[name]).abs().max() < 1e-14 for name, part in model.state_dict().items())
    assert torch.isfinite(output(model.float())).all()

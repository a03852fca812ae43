"""The config of a whole training: file, flags and Python alike; objects spelt as text."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest

import backbone.train.run  # noqa: F401
from backbone import Record, RunConfig, SiTConfig, TrainConfig
from backbone.cli import main
from backbone.cli.plain import plain
from backbone.cli.train import command
from backbone.train.run_config import ObjectiveConfig, ProbeConfig, read_config

# Every field differs from its default.
ODD = RunConfig(
    out=Path("out/odd"),
    data="some/store",
    model=SiTConfig(input_size=(8, 4), patch_size=1, hidden_size=32, depth=3, num_heads=2, num_classes=7, qk_norm=True),
    objective=ObjectiveConfig("VP(beta_max=10)", "noise", "MinSNR(3)", "LogitNormal(0.5, 2)", "Chain(learned=False)"),
    training=TrainConfig(
        steps=7,
        batch_size=6,
        micro_batch=2,
        learning_rate=2e-3,
        betas=(0.8, 0.95),
        weight_decay=0.1,
        warmup_steps=3,
        decay="cosine",
        clip_norm=0.5,
        ema_decay=None,
        ema_warmup=True,
        ema_widths=(0.05, 0.1),
        precision="bfloat16",
        compile=True,
        parallel="fsdp",
        on_non_finite="skip",
        seed=5,
        log_every=2,
    ),
    record=Record(
        save_every=5, keep=3, snapshot_every=4, probe_every=2, tensorboard=True, wandb="project", peak_flops=1e12
    ),
    probe=ProbeConfig(samples=6, steps=4, guidance=2.0, held_out="other/store"),
    device="cpu",
    seed=3,
)

TOML = """
out = "out/odd"
data = "some/store"
device = "cpu"
seed = 3
[model]
input_size = [8, 4]
patch_size = 1
hidden_size = 32
depth = 3
num_heads = 2
num_classes = 7
qk_norm = true
[objective]
schedule = "VP(beta_max=10)"
prediction = "noise"
weight = "MinSNR(3)"
times = "LogitNormal(0.5, 2)"
loss = "Chain(learned=False)"
[training]
steps = 7
batch_size = 6
micro_batch = 2
learning_rate = 2e-3
betas = [0.8, 0.95]
weight_decay = 0.1
warmup_steps = 3
decay = "cosine"
clip_norm = 0.5
ema_warmup = true
ema_widths = [0.05, 0.1]
precision = "bfloat16"
compile = true
parallel = "fsdp"
on_non_finite = "skip"
seed = 5
log_every = 2
[record]
save_every = 5
keep = 3
snapshot_every = 4
probe_every = 2
tensorboard = true
wandb = "project"
peak_flops = 1e12
[probe]
samples = 6
steps = 4
guidance = 2.0
held_out = "other/store"
"""

FLAGS = """--out out/odd --data some/store --device cpu --seed 3 --model.input-size 8 4 --model.patch-size 1
--model.hidden-size 32 --model.depth 3 --model.num-heads 2 --model.num-classes 7 --model.qk-norm
--objective.schedule VP(beta_max=10) --objective.prediction noise --objective.weight MinSNR(3) --objective.times
LogitNormal(0.5,&2) --objective.loss Chain(learned=False) --training.steps 7 --training.batch-size 6
--training.micro-batch 2 --training.learning-rate 2e-3 --training.betas 0.8 0.95 --training.weight-decay 0.1
--training.warmup-steps 3 --training.decay cosine --training.clip-norm 0.5 --training.ema-decay None
--training.ema-warmup --training.ema-widths 0.05 0.1 --training.precision bfloat16 --training.compile
--training.parallel fsdp --training.on-non-finite skip --training.seed 5 --training.log-every 2
--record.save-every 5 --record.keep 3
--record.snapshot-every 4 --record.probe-every 2 --record.tensorboard --record.wandb project --record.peak-flops 1e12
--probe.samples 6 --probe.steps 4 --probe.guidance 2.0 --probe.held-out other/store"""


def _from_flags(flags, monkeypatch):
    """The config that `sit train` would start with these flags."""
    started = []
    monkeypatch.setattr(
        sys.modules["backbone.train.run"], "run", lambda config, progress: started.append(config) or _Done()
    )
    assert main(["train", *flags]) == 0
    return started[0]


class _Done:
    stopped, losses, steps = False, [], 0


def test_the_odd_config_is_odd_everywhere():
    """The round trips below would notice a field that is dropped: each has another value than its default."""
    for odd, default in (
        (ODD, RunConfig()),
        (ODD.objective, ObjectiveConfig()),
        (ODD.training, TrainConfig()),
        (ODD.record, Record()),
        (ODD.probe, ProbeConfig()),
    ):
        for field in dataclasses.fields(odd):
            assert getattr(odd, field.name) != getattr(default, field.name), field.name


def test_file_flags_and_python_are_alike(tmp_path, monkeypatch, capsys):
    """A TOML file, the JSON that a run leaves, flags, and the dataclasses spell the same config."""
    (tmp_path / "a.toml").write_text(TOML)
    # TOML has no null: the average is left out by a flag, or in JSON.
    toml = read_config(tmp_path / "a.toml")
    assert dataclasses.replace(toml, training=dataclasses.replace(toml.training, ema_decay=None)) == ODD
    (tmp_path / "a.json").write_text(json.dumps(ODD.to_dict()))
    assert read_config(tmp_path / "a.json") == ODD
    assert RunConfig.from_dict(ODD.to_dict()) == ODD
    assert _from_flags([part.replace("&", " ") for part in FLAGS.split()], monkeypatch) == ODD
    flags = ["--config", str(tmp_path / "a.toml"), "--training.ema-decay", "None"]
    assert _from_flags(flags, monkeypatch) == ODD
    changed = _from_flags([f"--config={tmp_path / 'a.json'}", "--training.steps", "9"], monkeypatch)
    assert changed == dataclasses.replace(ODD, training=dataclasses.replace(ODD.training, steps=9))
    assert _from_flags([], monkeypatch) == RunConfig()
    capsys.readouterr()


def test_recipes_are_readable():
    """Every file in configs/ is a config; that of the digits has the network of the demonstration."""
    files = sorted(Path(__file__).parents[2].joinpath("configs").rglob("*.toml"))
    configs = {file.stem: read_config(file) for file in files}
    assert configs["digits"].model == SiTConfig(
        input_size=8,
        patch_size=2,
        in_channels=1,
        hidden_size=96,
        depth=4,
        num_heads=4,
        num_classes=10,
        learn_sigma=False,
    )
    assert configs["digits"].training.steps == 1500
    for config in configs.values():
        assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_a_named_network_is_filled_in():
    """model.name takes the fields of a published size, which others replace; DiT's has timesteps."""
    config = RunConfig.from_dict({"model": {"name": "SiT-B/4", "num_classes": 10, "input_size": [16, 8]}})
    assert config.model == SiTConfig(
        patch_size=4, hidden_size=768, depth=12, num_heads=12, num_classes=10, input_size=(16, 8)
    )
    assert RunConfig.from_dict({"model": {"name": "DiT-S/8"}}).model.timesteps == 1000
    with pytest.raises(ValueError, match="closest: 'SiT-B/4'"):
        RunConfig.from_dict({"model": {"name": "SiT-B4"}})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"trainng": {}}, "received 'trainng'; remedy: did you mean 'training'"),
        ({"model": {"dept": 3}}, r"received 'model\.dept'; remedy: did you mean 'depth'"),
        ({"model": {"name": "SiT-S/8", "dept": 3}}, r"received 'model\.dept'; remedy: did you mean 'depth'"),
        ({"objective": {"wieght": "EDM()"}}, r"'objective\.wieght'; remedy: did you mean 'weight'"),
        ({"training": {"lerning_rate": 1}}, r"'training\.lerning_rate'; remedy: did you mean 'learning_rate'"),
        ({"record": {"save_evry": 1}}, r"'record\.save_evry'; remedy: did you mean 'save_every'"),
        ({"probe": {"sample": 1}}, r"'probe\.sample'; remedy: did you mean 'samples'"),
        ({"training": 3}, "a table for training; received 3"),
        ([], r"a table for the config; received \[\]"),
        ({"model": "SiT-XL/2"}, "a table for model; received 'SiT-XL/2'"),
        ({"training": {"steps": "many"}}, "steps to be an integer ≥ 1; received 'many'"),
        ({"training": {"steps": 1e3}}, r"steps to be an integer ≥ 1; received 1000\.0"),
        ({"training": {"betas": [0.9]}}, r"a tuple of two betas in \[0, 1\); received \(0\.9,\)"),
        ({"training": {"betas": "ab"}}, "a tuple of two betas"),
        ({"training": {"compile": "yes"}}, "compile True or False; received 'yes'"),
        ({"record": {"keep": -1}}, "keep to be an integer ≥ 0; received -1"),
        ({"record": {"wandb": 5}}, "wandb to be a text; received 5"),
        ({"record": {"tensorboard": 1}}, "tensorboard True or False; received 1"),
        ({"record": {"peak_flops": -1.0}}, r"peak_flops > 0; received -1\.0; remedy: 989e12"),
        ({"probe": {"samples": 1}}, "samples to be an integer ≥ 2; received 1"),
        ({"probe": {"steps": 0}}, "steps to be an integer ≥ 1; received 0"),
        ({"probe": {"guidance": "strong"}}, "a finite probe.guidance; received 'strong'"),
        ({"probe": {"held_out": 3}}, "held_out to be a text; received 3"),
        ({"objective": {"times": 3}}, "objective.times to be a text; received 3"),
        ({"out": 5}, "a folder out; received 5"),
        ({"data": ""}, "data to be a text; received ''"),
        ({"device": "gpu"}, "device to be one of cpu, cuda; received 'gpu'"),
        ({"device": 0}, "device to be a text; received 0"),
        ({"seed": -1}, "seed to be an integer ≥ 0; received -1"),
        ({"model": {"depth": "deep"}}, "depth to be an integer ≥ 1; received 'deep'"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(fields, expected, tmp_path, capsys):
    """Unknown keys at every level list the closest, wrong types say what was expected; the file is named."""
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps(fields))
    with pytest.raises(ValueError, match=expected) as caught:
        read_config(file)
    assert str(caught.value).startswith(f"{file}: expected ")
    assert main(["train", "--config", str(file)]) == 2
    assert capsys.readouterr().err == f"sit: {caught.value}\n"


def test_what_is_no_config_is_refused(tmp_path, capsys):
    """No such file, a folder, bytes, and broken TOML or JSON are errors of one line with the file in it."""
    for name, data in (("a.toml", b"steps = ["), ("a.json", b"{"), ("b.toml", b"\xff\xfe"), ("c.json", b"[1")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=f"expected a TOML or JSON file; received .*{name}: .*; remedy: see the"):
            read_config(tmp_path / name)
    for missing in (tmp_path / "none.toml", tmp_path):
        assert main(["train", "--config", str(missing)]) == 2
        assert str(missing) in capsys.readouterr().err


def test_the_help_of_train_is_plain(capsys):
    """`sit train --help` names every field and has no markup; the docstrings keep theirs."""
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = capsys.readouterr().out
    assert "`" not in text
    assert ":math:" not in text
    for where in ("model", "objective", "training", "record", "probe"):
        for field in dataclasses.fields(getattr(ODD, where)):
            assert f"--{where}.{field.name.replace('_', '-')}" in text
    assert ":math:`S`" in SiTConfig.__doc__
    assert plain(r"a :math:`S^2` and ``b`` of :class:`~x.Y`, :mod:`z`") == "a S^2 and b of x.Y, z"
    assert command([]).__name__ == "train"


def test_a_schedule_spelt_wrong_is_an_objective_refused_early(tmp_path, capsys):
    """`sit train` with an objective that cannot be trained says so in one line, before anything is written."""
    out = tmp_path / "run"
    flags = [
        "--objective.weight",
        "Velocity()",
        "--objective.prediction",
        "noise",
        "--model.input-size",
        "8",
        "--model.depth",
        "1",
    ]
    assert main(["train", "--out", str(out), "--device", "cpu", *flags]) == 2
    assert "sit: expected a finite mean loss under linear" in capsys.readouterr().err
    assert not out.exists()

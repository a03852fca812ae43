"""Samples in the middle of a training, and their distance from images that were held out."""

import json
import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from training_support import TOY, plain, same, toy_data, toy_model, toy_train, weights

from backbone import Record
from backbone.train.log import read_log
from backbone.train.probe import SampleProbe
from backbone.train.run_config import ProbeConfig
from backbone.train.world import World
from interpolants import GVP, Linear, Noise, Velocity

ALONE = World(0, 1, torch.device("cpu"))
STD = 0.3


class Exact(nn.Module):
    """The velocity of N(mean of the label, STD²) under Linear, in closed form: -x + … from the Gaussian posterior."""

    config = TOY
    training_seen = None

    def __init__(self, mean=1.0):
        super().__init__()
        self.size = mean

    def forward(self, x, time, y=None, drop_labels=None):
        t = time.view(-1, 1, 1, 1)
        centre = self.size * (2.0 * y - 1).view(-1, 1, 1, 1)
        variance = (1 - t) ** 2 * STD**2 + t**2
        slope = (t - (1 - t) * STD**2) / variance
        return slope * (x - (1 - t) * centre) - centre


class _State:
    step = 7

    def __init__(self, network):
        self.averaged = network


def _held_out(count):
    generator = torch.Generator().manual_seed(5)
    y = torch.arange(count) % 2
    return (2.0 * y - 1).view(-1, 1, 1, 1) + STD * torch.randn(count, 1, 4, 4, generator=generator)


def _probe(**fields):
    options = {"config": ProbeConfig(samples=400, steps=8), "seed": 1, "held_out": _held_out(400)}
    return SampleProbe(Linear(), Velocity, **(options | fields))


def test_the_distance_of_a_perfect_and_of_an_odd_network(tmp_path):
    """The exact velocity is within sampling error of the data; one whose means are 2 for 1 is as far as they say."""
    probe = _probe(folder=tmp_path)
    perfect = probe(_State(Exact()), ALONE)["frechet"]
    # Means ±m in 16 pixels: one direction with variance 16 m² + STD², all others STD².
    one, two = (math.sqrt(16 * m**2 + STD**2) for m in (1, 2))
    odd = probe(_State(Exact(2.0)), ALONE)["frechet"]
    assert 0 < perfect < 0.1
    assert odd == pytest.approx((two - one) ** 2, abs=0.2)
    with np.load(tmp_path / "step-00000007.npz") as kept:
        assert kept["x"].shape == (400, 1, 4, 4)
        assert kept["y"].tolist() == [0, 1] * 200
        means = kept["x"].reshape(200, 2, 16).mean(axis=(0, 2))
    assert means == pytest.approx([-2, 2], abs=0.05)


def test_the_samples_do_not_depend_on_the_processes(tmp_path):
    """The shares of two processes together are the samples of one, bit for bit; the same noise at every step."""
    probe = _probe(config=ProbeConfig(samples=8, steps=3))
    whole = probe._draw(_State(Exact()), torch.arange(8) % 2, torch.arange(8))
    halves = [
        probe._draw(_State(Exact()), torch.arange(8)[part] % 2, torch.arange(8)[part])
        for part in (World(0, 2, ALONE.device).share(8), World(1, 2, ALONE.device).share(8))
    ]
    assert torch.equal(torch.cat(halves), whole)
    assert not torch.equal(_probe(seed=2)._draw(_State(Exact()), torch.arange(8) % 2, torch.arange(8)), whole)


def test_features_are_what_is_compared():
    """The distance is that of the features: of their first pixel alone, hand-counted from the two sets."""
    found = {}

    def first(x):
        found[len(found)] = x[:, 0, 0, :1]
        return x[:, 0, 0, :1]

    distance = _probe(features=first)(_State(Exact(2.0)), ALONE)["frechet"]
    a, b = (part.double().numpy().ravel() for part in found.values())
    assert distance == pytest.approx((a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2, rel=1e-6)


def test_a_network_that_diverges_is_no_error(tmp_path):
    """Samples that are not finite give null in the log, and the training goes on."""

    class Infinite(Exact):
        def forward(self, x, time, y=None, drop_labels=None):
            return x * torch.inf

    assert math.isnan(_probe()(_State(Infinite()), ALONE)["frechet"])

    def probe(state, here):
        return {"frechet": math.nan}

    toy_train(tmp_path, Record(probe_every=3), probe=probe)
    lines = [json.loads(line, parse_constant=pytest.fail) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row for row in lines if "frechet" in row] == [{"step": 3, "frechet": None}, {"step": 6, "frechet": None}]


@pytest.mark.parametrize(("schedule", "prediction"), [(Linear(), Noise), (GVP(), Noise), (Linear(), Velocity)])
def test_every_objective_can_be_probed(schedule, prediction):
    """Where the flow is infinite at an end the probe goes round it; a network of zeros still has samples."""
    probe = SampleProbe(schedule, prediction, ProbeConfig(samples=4, steps=3), 0, _held_out(4))
    assert math.isfinite(probe(_State(toy_model()), ALONE)["frechet"])


def test_a_probe_changes_nothing(tmp_path):
    """Losses and weights are those of a training without it; it sees the average at the steps of the record."""
    seen = []

    def probe(state, here):
        inner = SampleProbe(Linear(), Velocity, ProbeConfig(samples=4, steps=2), 0, _held_out(8))
        seen.append((state.step, state.averaged is state.ema.model, here.size))
        return inner(state, here)

    probed = toy_train(tmp_path, Record(probe_every=2), probe=probe)
    assert same(weights(probed), weights(plain()))
    assert not probed.averaged.training
    assert seen == [(2, True, 1), (4, True, 1), (6, True, 1)]
    assert [row["step"] for row in read_log(tmp_path / "log.jsonl") if "frechet" in row] == [2, 4, 6]
    alone = toy_train(tmp_path / "none", Record(probe_every=2), probe=lambda state, here: {}, ema_decay=None)
    assert alone.averaged is alone.model
    assert alone.model.training


def test_a_probe_that_raises_leaves_the_run_in_order(tmp_path):
    """Its error is the user's; the checkpoint of that step is there, the log is whole, and the run can go on."""

    def raising(state, here):
        raise RuntimeError("of the user")

    record = Record(save_every=2, probe_every=4)
    with pytest.raises(RuntimeError, match="of the user"):
        toy_train(tmp_path, record, probe=raising)
    assert [row["step"] for row in read_log(tmp_path / "log.jsonl")] == [1, 2, 3, 4]
    resumed = toy_train(tmp_path, record)
    assert len(resumed.losses) == 2
    assert same(weights(resumed), weights(plain()))


def test_samples_that_cannot_be_written_are_a_warning(tmp_path):
    """A full disk costs the picture and not the number."""
    (tmp_path / "samples").write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="the samples of step 7 could not be written"):
        found = _probe(folder=tmp_path / "samples")(_State(Exact()), ALONE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert found == _probe()(_State(Exact()), ALONE)
    assert toy_data().count == 48

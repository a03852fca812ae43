"""The demonstration in a reduced form: every file is there, every number is a number that was measured."""

import json
import math

import numpy as np
import pytest
import torch

from backbone import load_checkpoint
from backbone.data.digits import fit_classifier, load_digits
from backbone.demo import digits, run
from interpolants import Linear, Schedule


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("demo")
    return out, run(out, seed=0, steps=12, samples=20)


def test_every_file_is_written(demo):
    """The folder holds the certificates, the figures, the checkpoint and the report."""
    out, _ = demo
    figures = {"transport_cost.png", "trajectories.png", "stochastic.png", "training.png", "digits.png"}
    tables = {"certificates.json", "certificates.txt", "transport_cost.csv", "report.json", "digits.safetensors"}
    assert {path.name for path in out.iterdir()} == figures | tables
    assert all((out / name).stat().st_size > 8000 for name in figures)


def test_the_report_counts_evaluations_and_judges_samples(demo):
    """NFE is 2 per Heun step and 1 per Euler–Maruyama step; accuracies and distances are finite and in range."""
    out, report = demo
    assert json.loads((out / "report.json").read_text()) == report
    rows = report["digits"]["samplers"]
    assert [row["nfe"] for row in rows] == [50, 100, 100, 100]
    assert all(0 <= row["accuracy"] <= 1 and math.isfinite(row["frechet_to_held_out"]) for row in rows)
    assert report["digits"]["classifier_accuracy_on_training_digits"] > 0.97
    assert 0 < report["digits"]["frechet_train_to_held_out"] < 1
    losses = [point["loss"] for point in report["digits"]["loss_curve"]]
    assert losses[-1] < losses[0]


def test_untrained_samples_are_not_recognised(demo):
    """Twelve steps teach nothing: an accuracy near 0.9 here would mean that the judge does not judge."""
    _, report = demo
    assert all(row["accuracy"] < 0.6 for row in report["digits"]["samplers"])


def test_certificates_replay(demo):
    """certificates.json rebuilds each schedule and all three are certified."""
    out, report = demo
    certificates = json.loads((out / "certificates.json").read_text())
    assert [Schedule.from_dict(item["schedule"]).name for item in certificates] == ["linear", "gvp", "vp"]
    assert all(item["ok"] for item in certificates)
    assert all(summary["ok"] for summary in report["certificates"].values())


def test_the_checkpoint_carries_what_sampling_needs(demo):
    """The checkpoint rebuilds the network, and its metadata the schedule."""
    out, _ = demo
    checkpoint = load_checkpoint(out / "digits.safetensors")
    assert checkpoint.model.config == digits.MODEL
    assert Schedule.from_dict(checkpoint.extra["schedule"]) == Linear()


def test_the_judge_knows_real_digits():
    """Fitted on held-out digits alone, the classifier recognises the training digits, and not shuffled labels."""
    data = load_digits()
    judge = fit_classifier(data.held_out_images, data.held_out_labels)
    seen = judge.predict(data.images)
    assert np.mean(seen == data.labels.numpy()) > 0.97
    assert np.mean(seen == np.roll(data.labels.numpy(), 1)) < 0.2

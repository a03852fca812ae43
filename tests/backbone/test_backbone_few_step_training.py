"""Few-step objectives trained on classes of two clusters each, where the naive step returns the middle."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from backbone import Arrays, SiT, TrainConfig, sample, train
from backbone.few_step import (
    Consistency,
    ImprovedMeanFlow,
    MeanFlow,
    Shortcut,
    as_flow_map,
    sample_consistency,
    sample_flow_map,
)
from interpolants import Linear, Objective
from interpolants.schedules import TrigFlow
from solvers import Euler, Heun, uniform

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
]
ROOT = Path(__file__).resolve().parents[2]
LABELS = torch.arange(2).repeat_interleave(500)
STEPS = {"steps": 600, "batch_size": 128, "learning_rate": 2e-3, "decay": "cosine", "ema_decay": 0.98, "clip_norm": 1.0}


@pytest.fixture(scope="module")
def data():
    """Class 0 is around (±1, 1), class 1 around (±1, −1)."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(4000) % 2
    side = 2.0 * torch.randint(2, (4000,), generator=generator) - 1
    centres = torch.stack([side, 1.0 - 2.0 * y], dim=1)
    return centres + 0.1 * torch.randn(4000, 2, generator=generator), y


@pytest.fixture(scope="module", params=["linear", "trigflow"])
def velocity(request, data):
    """A schedule and a network of its velocity."""
    schedule = Linear() if request.param == "linear" else TrigFlow(1.0)
    torch.manual_seed(0)
    model = SiT.for_vectors(2, num_classes=2, hidden_size=64, depth=2, num_heads=2, attention="math")
    config = TrainConfig(**(STEPS | {"steps": 1200, "learning_rate": 4e-3}))
    return schedule, train(model, Arrays(*data), config, objective=Objective(schedule)).averaged


def hits(x):
    """Return the share of samples within 0.5 of a cluster of their class, and of those the share on the right."""
    near = (x[:, 1] - (1.0 - 2.0 * LABELS)).hypot(x[:, 0].abs() - 1) < 0.5
    return float(near.float().mean()), float((x[near][:, 0] > 0).float().mean()) if near.any() else math.nan


def generator():
    return torch.Generator().manual_seed(1)


def test_the_naive_step_meets_no_cluster(velocity):
    """One step of Euler meets few clusters, 50 steps of Heun's method are in them, half in each."""
    schedule, model = velocity
    ts = schedule.domain[1] * uniform(1)
    naive = sample(model, LABELS, schedule=schedule, rng=generator(), ts=ts, method=Euler()).x
    assert hits(naive)[0] < 0.2
    solved = sample(
        model, LABELS, schedule=schedule, rng=generator(), ts=schedule.domain[1] * uniform(50), method=Heun()
    ).x
    assert hits(solved)[0] > 0.95
    assert abs(hits(solved)[1] - 0.5) < 0.1


@pytest.mark.parametrize("loss", [MeanFlow, ImprovedMeanFlow, Shortcut])
def test_one_step_along_a_trained_map_meets_the_clusters(loss, velocity, data):
    """Continued for 600 steps, the network meets a cluster of its class in one step, four in five at least."""
    schedule, model = velocity
    torch.manual_seed(0)
    options = {"levels": 4} if loss is Shortcut else {}
    trained = train(
        as_flow_map(model), Arrays(*data), TrainConfig(**STEPS), objective=loss(schedule, **options)
    ).averaged
    share, right = hits(sample_flow_map(trained, LABELS, schedule=schedule, rng=generator()).x)
    assert share > 0.8
    assert abs(right - 0.5) < 0.15


@pytest.mark.parametrize("taught", [True, False])
def test_one_step_of_a_consistency_model_meets_the_clusters(taught, velocity, data):
    """So does a consistency model, from a teacher or from data; a second step with new noise does no harm."""
    schedule, model = velocity
    network = SiT(model.config)
    network.load_state_dict(model.state_dict())
    loss = Consistency(schedule, teacher=model if taught else None, warmup=150 * STEPS["batch_size"])
    trained = train(network, Arrays(*data), TrainConfig(**STEPS), objective=loss).averaged
    for ts in (None, schedule.domain[1] * uniform(2)):
        share, right = hits(sample_consistency(trained, LABELS, schedule=schedule, rng=generator(), ts=ts).x)
        assert share > 0.8
        assert abs(right - 0.5) < 0.15


def test_the_study_runs():
    """benchmarks/few_step.py --smoke prints a row for the real digits and for every objective and number of steps."""
    script = ROOT / "benchmarks" / "few_step.py"
    run = subprocess.run([sys.executable, str(script), "--smoke"], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.splitlines()) == 1 + 4 + 6 * 3

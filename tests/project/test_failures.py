"""The messages that the page of failures lists, provoked, and its table of wrong models against closed forms."""

import re
from pathlib import Path as File

import numpy as np
import pytest
import torch

from backbone import Arrays, CheckpointError, NonFiniteLossError, SiT, TrainConfig, load_checkpoint, sample, train
from interpolants import GVP, VP, Gaussian, Linear, Objective, Path, Velocity, diffusion, probability_flow, reverse_sde
from solvers import ODE, DPMSolverPP, Euler, EulerMaruyama, Heun, Midpoint, solve, uniform

PAGE = (File(__file__).resolve().parents[2] / "docs" / "reference" / "failures.md").read_text(encoding="utf-8")
LISTED = re.findall(r"^\| `((?:\w+: )?expected [^`]*)` \|", PAGE, re.MULTILINE)
X, RNG = np.ones((4, 1)), np.random.default_rng(0)
PATH = Path(Linear(), Gaussian([1.0], 0.25))
SDE_SIGMA = reverse_sde(Linear(), PATH.velocity, diffusion.Sigma())
SDE_KL = reverse_sde(Linear(), PATH.velocity, diffusion.KL())


def network():
    return SiT.for_vectors(2, depth=1, hidden_size=16, num_heads=2)


def diverge():
    data = Arrays(torch.full((8, 2), float("nan")))
    train(network(), data, TrainConfig(steps=2, batch_size=4), objective=Objective(Linear()))


def misfit(folder):
    state = network().state_dict()
    del state["blocks.0.attn.qkv.weight"]
    torch.save(state, folder / "small.pt")
    load_checkpoint(folder / "small.pt", config=network().config)


def error_page(folder):
    (folder / "page.pt").write_text("<html>not found</html>")
    load_checkpoint(folder / "page.pt")


def half_precision():
    network()(torch.randn(2, 2), torch.tensor([0.5, 0.5], dtype=torch.bfloat16))


def ode_method_with_w():
    labels, rng = torch.zeros(2, dtype=torch.int64), torch.Generator()
    sample(network(), labels, schedule=Linear(), rng=rng, w=diffusion.Sigma(), method=Heun())


CALLS = [
    lambda folder: solve(SDE_KL, X, uniform(10), EulerMaruyama(), rng=RNG),
    lambda folder: solve(ODE(lambda time, x: x * np.nan), X, uniform(3), Euler()),
    lambda folder: solve(ODE(lambda time, x: x[:2]), X, uniform(3), Euler()),
    lambda folder: PATH.velocity(np.full(3, 0.5), X),
    lambda folder: half_precision(),
    lambda folder: solve(SDE_SIGMA, X, uniform(10), EulerMaruyama()),
    lambda folder: solve(probability_flow(Linear(), PATH.velocity), X, uniform(10), DPMSolverPP(2)),
    lambda folder: ode_method_with_w(),
    lambda folder: Objective(VP(), Velocity),
    lambda folder: diverge(),
    misfit,
    error_page,
]


@pytest.mark.parametrize(("listed", "call"), list(zip(LISTED, CALLS, strict=True)))
def test_a_listed_message_is_what_is_said(listed, call, tmp_path):
    """The error begins with the words of the page, and is of the class that they name."""
    with pytest.raises((TypeError, ValueError, CheckpointError, NonFiniteLossError)) as caught:
        call(tmp_path)
    kind, _, words = listed.rpartition(": ")
    assert str(caught.value).startswith(words.removesuffix(" …"))
    assert not kind or type(caught.value).__name__ == kind
    assert all(part in str(caught.value) for part in ("; received ", "; remedy: "))


def printed(name):
    """Return the mean and standard deviation that the page prints for a mistake."""
    (found,) = re.findall(rf"^{re.escape(name)} +(-?[\d.]+) +([\d.]+)$", PAGE, re.MULTILINE)
    return float(found[0]), float(found[1])


def test_the_page_prints_what_closed_forms_give():
    """Exact laws of eight of the rows, for data N(m, c), within what 20,000 samples leave open.

    The flow from t to s multiplies x − α m by ρ_s/ρ_t, ρ² = (1 − t)² c + t², and one Euler step from t = 1 ends at m.
    With the wrong sign the factor is the inverse; guidance by 3 cubes c. Of the start e^{−clock} is left, with clock
    ∫ t/ρ² dt: noise without its drift adds c · clock, drift without its noise multiplies by e^{−clock/2}.
    """
    mean, c = 1.0, 0.25
    times = np.linspace(0.0, 1.0, 20_001)
    rho2 = (1 - times) ** 2 * c + times**2
    clock = np.trapezoid(times / rho2, times)
    exact = {
        "nothing wrong": (mean, np.sqrt(c)),
        "sign of the velocity": (None, 1 / np.sqrt(c)),
        "prior of half the size": (mean, np.sqrt(c) / 2),
        "one Euler step": (mean, 0.0),
        "guidance of scale 3": (None, np.sqrt(c**3)),
        "SDE, noise without its drift": (mean, np.sqrt(c + c * clock)),
        "SDE, drift without its noise": (mean, np.sqrt(c) * np.exp(-clock / 2)),
        "SDE, factor 2 in the noise alone": (mean, np.sqrt(c * np.exp(-clock) + 2 * c * (1 - np.exp(-clock)))),
    }
    for name, (wanted, deviation) in exact.items():
        found = printed(name)
        assert wanted is None or abs(found[0] - wanted) < 0.02, name
        assert abs(found[1] - deviation) < 0.02, name


def test_the_ode_does_not_see_the_velocity_of_another_schedule():
    """The flow of GVP's velocity, integrated as any velocity, ends where GVP's exact flow does: at the data."""
    noise = np.random.default_rng(0).standard_normal((50, 1))
    path = Path(GVP(), Gaussian([1.0], 0.25))
    found = solve(ODE(path.velocity), noise, uniform(200), Midpoint()).x
    assert abs(found - (1.0 + 0.5 * noise)).max() < 1e-3
    assert printed("velocity of GVP") == (1.0, 0.5)

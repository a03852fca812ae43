"""Every figure function returns the Axes it was given and draws what it says."""

import math

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from interpolants import GVP, VP, Gaussian, Linear, Path, diffusion, kl_bound, plots
from tests.support.zoo import GAUSSIAN, MIXTURE_1D

SCHEDULES = [Linear(), GVP(), VP()]


@pytest.fixture
def ax():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


@pytest.mark.parametrize("quantity", ["alpha", "sigma", "log_snr", "kappa", "d_sigma"])
def test_schedule_curves(ax, quantity):
    """One finite line per schedule, labelled, on the Axes that was passed."""
    assert plots.schedule_curves(ax, SCHEDULES, quantity) is ax
    assert [line.get_label() for line in ax.lines] == ["Linear", "GVP", "VP"]
    assert all(np.isfinite(line.get_ydata()).all() for line in ax.lines)


def test_schedule_curves_are_alpha(ax):
    """The line of GVP's α is cos(πt/2)."""
    line = plots.schedule_curves(ax, [GVP()], "alpha").lines[0]
    np.testing.assert_allclose(line.get_ydata(), np.cos(np.pi * line.get_xdata() / 2), atol=1e-14)


def test_diffusion_curves(ax):
    """One line per choice of w, equal to its closed form."""
    choices = [diffusion.KL(), diffusion.Sigma(), diffusion.SinSquared()]
    assert plots.diffusion_curves(ax, Linear(), choices) is ax
    assert len(ax.lines) == 3
    time = ax.lines[0].get_xdata()
    for line, exact in zip(ax.lines, (2 * time / (1 - time), time, np.sin(np.pi * time) ** 2), strict=True):
        np.testing.assert_allclose(line.get_ydata(), exact, rtol=1e-11, atol=1e-14)


def test_transport_cost_curves(ax):
    """The curves of Linear and GVP are their closed forms, and the bound is (1 − s)²."""
    assert plots.transport_cost_curves(ax, SCHEDULES, points=7) is ax
    assert len(ax.lines) == 4
    s = ax.lines[0].get_xdata()
    np.testing.assert_allclose(ax.lines[0].get_ydata(), 1 + s**2 - math.pi / 2 * s, rtol=1e-8)
    np.testing.assert_allclose(ax.lines[1].get_ydata(), math.pi**2 / 8 * (1 - s) ** 2, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(ax.lines[3].get_ydata(), (1 - s) ** 2, rtol=1e-12)
    assert (ax.lines[2].get_ydata() > 0).all()


def test_path_length_curves(ax):
    """The curves are √(2/π) times the total variations, and GVP lies on the bound √(2/π)|1 − s|."""
    assert plots.path_length_curves(ax, SCHEDULES, points=7) is ax
    assert len(ax.lines) == 4
    s, factor = ax.lines[0].get_xdata(), math.sqrt(2 / math.pi)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), factor * (1 + s - 2 * s / np.sqrt(1 + s**2)), rtol=1e-9)
    np.testing.assert_allclose(ax.lines[1].get_ydata(), factor * np.abs(1 - s), rtol=1e-9)
    np.testing.assert_allclose(ax.lines[3].get_ydata(), factor * np.abs(1 - s), rtol=1e-12)


def test_numbers_are_those_of_the_lines(ax):
    """Every labelled or named line has its finite points in the table, decoration has none."""
    ax.plot([0.0, 1.0, 2.0], [1.0, np.inf, 3.0], label="a")
    ax.plot([5.0], [6.0], gid="b")
    ax.axvline(1.0)
    ax.set_gid("first")
    assert plots.numbers([ax]) == [
        {"panel": "first", "curve": "a", "x": 0.0, "y": 1.0},
        {"panel": "first", "curve": "a", "x": 2.0, "y": 3.0},
        {"panel": "first", "curve": "b", "x": 5.0, "y": 6.0},
    ]


def test_a_page_has_a_panel_for_every_schedule():
    """The pages of trajectories have one panel per schedule; an unknown name lists the choices."""
    assert len(plots.page("trajectories", SCHEDULES[:2]).axes) == 2
    assert len(plots.page("path-length", SCHEDULES).axes) == 1
    with pytest.raises(ValueError, match=r"expected one of schedules, .*; received 'paths'; remedy: "):
        plots.page("paths", SCHEDULES)


def test_transport_cost_table():
    """The table has a row per schedule and deviation with C and W2² of the closed form."""
    rows = plots.transport_cost_table([Linear()], [0.5, 2.0])
    assert [row["s"] for row in rows] == [0.5, 2.0]
    for row in rows:
        assert abs(row["cost"] - (1 + row["s"] ** 2 - math.pi / 2 * row["s"])) < 1e-9
        assert abs(row["W2_squared"] - (1 - row["s"]) ** 2) < 1e-12


def test_bounds(ax):
    """For N(0, 1) under VP(1, 1) the bound is (1 + c)²δ²/2c and a constant; the truth is below, and less at c = 2."""
    path = Path(VP(1, 1), Gaussian([0.0], 1.0))
    assert plots.bounds(ax, path, lambda s: 0.05, multiples=[0.5, 1.0, 2.0]) is ax
    c, bound, truth = (*ax.lines[0].get_data(), ax.lines[1].get_ydata())
    np.testing.assert_allclose(bound - bound[1], 0.05**2 * ((1 + c) ** 2 / (2 * c) - 2), rtol=1e-7, atol=1e-12)
    exact = [float(kl_bound(path, None, m * diffusion.KL(), excess_loss=lambda s: 0.05**2)) for m in (0.5, 2.0)]
    np.testing.assert_allclose(bound[[0, 2]], exact, rtol=1e-9)
    assert (truth < bound).all()
    assert truth[2] < truth[1]


@pytest.mark.parametrize("w", [None, diffusion.Sigma()], ids=repr)
def test_trajectories(ax, w):
    """As many finite lines as asked for, from the start to the stop, over one image of the density."""
    path = Path(Linear(), MIXTURE_1D)
    assert plots.trajectories(ax, path, lines=5, w=w, start=0.999, stop=0.001) is ax
    assert len(ax.lines) == 5
    assert len(ax.images) == 1
    for line in ax.lines:
        assert (line.get_xdata()[0], line.get_xdata()[-1]) == (0.999, 0.001)
        assert np.isfinite(line.get_ydata()).all()


def test_style_is_a_context():
    """The style holds inside the context and is gone outside."""
    before = mpl.rcParams["axes.grid"]
    with plots.style():
        assert mpl.rcParams["axes.grid"]
    assert mpl.rcParams["axes.grid"] == before
    assert GAUSSIAN.dimension == 2

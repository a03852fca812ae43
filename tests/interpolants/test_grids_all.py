"""Every grid there is, in one list: n steps are n + 1 falling times, for one step as for many."""

import inspect

import numpy as np
import pytest

import interpolants
import solvers
from interpolants import (
    GVP,
    Gaussian,
    Linear,
    Path,
    align_your_steps,
    cosine_optimal,
    karras,
    log_snr_uniform,
    optimal_grid,
    timestep_strides,
)
from interpolants.schedules import DDPMLinear
from solvers import ODE, Heun, equidistributed, local_errors, power, uniform

ROUGH = uniform(8)
MEASURED = local_errors(ODE(lambda time, x: np.cos(5 * time) * x), np.ones(3), ROUGH, Heun())
PATH = Path(Linear(), Gaussian([0.0], 0.5))
GRIDS = {
    "uniform": uniform,
    "power": power,
    "power, cubic": lambda n: power(n, 3.0),
    "log_snr_uniform": lambda n: log_snr_uniform(GVP(), n, 0.99, 0.01),
    "karras": lambda n: karras(Linear(), n),
    "cosine_optimal": lambda n: cosine_optimal(Linear(), n, 0.5),
    "optimal_grid": lambda n: optimal_grid(PATH, n, objective="w2"),
    "equidistributed, measured": lambda n: equidistributed(n, ROUGH, MEASURED, 2),
    "equidistributed, learned": lambda n: equidistributed(n, ROUGH, np.exp(-ROUGH[1:]), 1),
    **{
        f"timestep_strides, {kind}": lambda n, kind=kind: timestep_strides(DDPMLinear(), n, kind)
        for kind in ("trailing", "leading", "linspace", "quadratic")
    },
    "align_your_steps": lambda n: align_your_steps(Linear(), n),
}


@pytest.mark.parametrize("n", [1, 2, 10])
@pytest.mark.parametrize("grid", GRIDS)
def test_n_steps_are_n_plus_one_times(grid, n):
    """The times are float64 on the host, fall strictly, and the last is the end that was asked for."""
    ts = GRIDS[grid](n)
    assert isinstance(ts, np.ndarray)
    assert (ts.dtype, ts.shape) == (np.float64, (n + 1,))
    assert (np.diff(ts) < 0).all()
    assert ts[-1] == (0.01 if grid == "log_snr_uniform" else 0.0)


def test_the_quadratic_grid_is_the_default_of_power():
    """t_k = ((n − k)/n)²."""
    np.testing.assert_allclose(power(7), (np.arange(7, -1, -1) / 7) ** 2, rtol=1e-15)


def test_the_list_is_complete():
    """Every public function that is annotated to return a grid is in the list."""
    found = set()
    for package in (solvers, interpolants):
        for public in package.__all__:
            function = getattr(package, public)
            if inspect.isfunction(function) and inspect.signature(function).return_annotation == "Grid":
                found.add(public)
    assert found - {"local_errors"} == {grid.partition(",")[0] for grid in GRIDS}


@pytest.mark.slow
def test_published_tables():
    """The levels are those that diffusers ships for three of the models; its last is the data."""
    published = pytest.importorskip("diffusers.schedulers.scheduling_utils").AysSchedules
    models = {"StableDiffusion": "stable-diffusion-1.5", "StableDiffusionXL": "sdxl"}
    models["StableDiffusionVideo"] = "stable-video-diffusion"
    for theirs, ours in models.items():
        ts = align_your_steps(Linear(), 10, ours)[:-1]
        np.testing.assert_allclose(ts / (1 - ts), published[f"{theirs}Sigmas"][:-1], rtol=1e-9)

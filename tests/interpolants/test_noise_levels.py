"""Usual grids at the noise levels, log-SNRs and timesteps that define them."""

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from interpolants import GVP, VP, Linear, align_your_steps, karras, log_snr_uniform, timestep_strides
from interpolants.schedules import DDPMLinear, TrigFlow
from solvers import uniform
from tests.support.zoo import BUILT_INS

PARTS = ("expected ", "; received ", "; remedy: ")


def levels(case, ts):
    """σ/α at the times, by the oracle of the schedule."""
    with mpmath.workdps(30):
        return [float(case.sigma(mpf(time)) / case.alpha(mpf(time))) for time in ts]


@pytest.mark.parametrize("case", BUILT_INS, ids=repr)
@pytest.mark.parametrize("n", [1, 2, 18])
def test_karras_levels(case, n):
    """The n levels are those of EDM's eq. 5 in 30 digits, and the last time is the data."""
    ts = karras(case.schedule, n)
    assert len(ts) == n + 1
    assert ts[-1] == 0.0
    with mpmath.workdps(30):
        roots = [mpf(80) ** (mpf(1) / 7), mpf("0.002") ** (mpf(1) / 7)]
        exact = [float((roots[0] + (roots[1] - roots[0]) * k / max(1, n - 1)) ** 7) for k in range(n)]
    np.testing.assert_allclose(levels(case, ts[:-1].tolist()), exact, rtol=1e-11)


@pytest.mark.parametrize("model", ["stable-diffusion-1.5", "sdxl", "deepfloyd-if", "stable-video-diffusion"])
@pytest.mark.parametrize("case", BUILT_INS, ids=repr)
def test_published_levels(case, model):
    """Ten steps have the published levels, the last replaced by the data; five have every other of them."""
    first = {"sdxl": 6.315, "deepfloyd-if": 8.081, "stable-video-diffusion": 54.5}.get(model, 6.475)
    ts = align_your_steps(case.schedule, 10, model)
    assert (len(ts), ts[-1]) == (11, 0.0)
    np.testing.assert_allclose(levels(case, ts[1:2].tolist()), [first], rtol=1e-11)
    np.testing.assert_allclose(align_your_steps(case.schedule, 5, model), ts[::2], rtol=1e-12)
    assert len(align_your_steps(case.schedule, 1, model)) == 2


def test_interpolated_levels():
    """Twenty steps have the geometric means of neighbours between the published levels."""
    ten, twenty = (np.array(align_your_steps(Linear(), n, "sdxl"))[:-1] for n in (10, 20))
    ratio = {10: ten / (1 - ten), 20: twenty / (1 - twenty)}
    np.testing.assert_allclose(ratio[20][1:19:2], np.sqrt(ratio[10][:-1] * ratio[10][1:]), rtol=1e-12)
    np.testing.assert_allclose(ratio[20][::2], ratio[10], rtol=1e-12)


@pytest.mark.parametrize("case", BUILT_INS, ids=repr)
@pytest.mark.parametrize("n", [1, 9])
def test_log_snr_steps_are_equal(case, n):
    """The steps of log(α/σ) are equal, ends exact."""
    ts = log_snr_uniform(case.schedule, n, 0.95, 0.01)
    assert (len(ts), ts[0], ts[-1]) == (n + 1, 0.95, 0.01)
    steps = np.diff(np.log(levels(case, ts.tolist())))
    np.testing.assert_allclose(steps, steps.sum() / n, rtol=1e-10)


@pytest.mark.parametrize(
    ("spacing", "n", "indices"),
    [
        # Table 2 of arXiv 2305.08891 counts timesteps from 1 to 1000.
        ("trailing", 10, [99, 199, 299, 399, 499, 599, 699, 799, 899, 999]),
        ("leading", 10, [0, 100, 200, 300, 400, 500, 600, 700, 800, 900]),
        ("linspace", 10, [0, 111, 222, 333, 444, 555, 666, 777, 888, 999]),
        ("quadratic", 4, [0, 111, 444, 999]),
        ("trailing", 1, [999]),
        ("leading", 1, [0]),
        ("linspace", 1, [999]),
        ("quadratic", 1, [999]),
    ],
)
def test_strides(spacing, n, indices):
    """The timesteps are the published ones, and the data follows them."""
    schedule = DDPMLinear()
    ts = timestep_strides(schedule, n, spacing)
    assert (len(ts), ts[-1]) == (n + 1, 0.0)
    np.testing.assert_allclose(schedule.timestep_of_time(ts[-2::-1]), indices, rtol=0, atol=1e-9)


def test_all_timesteps():
    """T steps visit every timestep once, with every spacing that can."""
    schedule = DDPMLinear()
    for spacing in ("trailing", "leading", "linspace"):
        np.testing.assert_allclose(timestep_strides(schedule, 1000, spacing), uniform(1000), rtol=0, atol=1e-15)


def test_another_domain():
    """The data end is that of the schedule's own domain, and a level beyond the schedule is its noise end."""
    assert karras(TrigFlow(), 4)[-1] == TrigFlow().domain[0]
    assert karras(VP(), 2, sigma_max=1e6)[0] == 1.0


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: karras(Linear(), 0), ValueError, "at least 1"),
        (lambda: karras(Linear(), 5, rho=0.0), ValueError, "rho > 0"),
        (lambda: karras(Linear(), 5, sigma_min=90.0), ValueError, "sigma_min < sigma_max"),
        (lambda: karras(VP(), 3, sigma_min=1e5, sigma_max=1e6), ValueError, "strictly falling"),
        (lambda: align_your_steps(Linear(), 10, "sdlx"), ValueError, "remedy: 'sdxl'"),
        (lambda: log_snr_uniform(GVP(), 4, 1.0, 0.1), ValueError, "ends with a finite log-SNR"),
        (lambda: log_snr_uniform(GVP(), 4, 0.1, 0.9), ValueError, "a start after the stop"),
        (lambda: timestep_strides(Linear(), 4), TypeError, "a schedule with timesteps; received Linear"),
        (lambda: timestep_strides(DDPMLinear(), 1001), ValueError, "at most the 1000 timesteps"),
        (lambda: timestep_strides(DDPMLinear(), 10, "trialing"), ValueError, "remedy: 'trailing'"),
        (lambda: timestep_strides(DDPMLinear(), 200, "quadratic"), ValueError, "strictly rising or strictly falling"),
    ],
)
def test_refusals_of_grids(call, kind, words):
    """Impossible arguments are refused in three parts."""
    with pytest.raises(kind, match=words) as error:
        call()
    assert all(part in str(error.value) for part in PARTS)

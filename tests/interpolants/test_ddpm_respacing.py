"""Which timesteps a shorter chain keeps, and that it goes through the same states."""

import mpmath
import numpy as np
import pytest

from interpolants import DiscreteDiffusion, timestep_strides
from interpolants.ddpm import spaced
from interpolants.schedules import DDPMLinear
from tests.support.chains import products

PARTS = r"expected .*; received .*; remedy: "


def published(counts, total):
    """Nichol & Dhariwal's rule: sections as equal as can be, each with a stride of floats that are added up."""
    kept, start = [], 0
    for i, count in enumerate(counts):
        size = total // len(counts) + (1 if i < total % len(counts) else 0)
        stride, here = (size - 1) / (count - 1) if count > 1 else 1.0, 0.0
        for _ in range(count):
            kept.append(start + round(here))
            here += stride
        start += size
    return kept


@pytest.mark.parametrize("total", [1000, 4000])
def test_numbers_of_steps(total):
    """A number of steps keeps what the published rule keeps: 250, the halves of hundreds, and a prime."""
    for count in (1, 2, 7, 10, 20, 25, 50, 100, 250, 500, total):
        kept = spaced(count, total)
        assert kept.tolist() == published([count], total)
        assert kept[0] == 0
        assert kept[-1] == (total - 1 if count > 1 else 0)


def test_every_number_of_steps_differs_at_halves_only():
    """For all numbers of steps of 300 the indices are within half a step of the even spacing, and rise."""
    for count in range(2, 301):
        kept = spaced(count, 300)
        even = np.arange(count) * 299 / (count - 1)
        assert (np.abs(kept - even) <= 0.5 + 1e-12).all()
        assert (np.diff(kept) > 0).all()
        assert len(kept) == count
        away = np.abs(even % 1 - 0.5) > 1e-9
        assert (kept[away] == np.array(published([count], 300))[away]).all()


@pytest.mark.parametrize(("text", "counts", "total"), [("10,15,20", [10, 15, 20], 300), ("3, 1,4,5", [3, 1, 4, 5], 22)])
def test_sections(text, counts, total):
    """Sections are kept each on its own; the earlier ones are longer where they cannot be equal."""
    assert spaced(text, total).tolist() == published(counts, total)


def test_the_sections_of_the_published_example():
    """Of 300 timesteps "10,15,20" keeps 10 of the first hundred, 15 of the second and 20 of the third."""
    kept = spaced("10,15,20", 300)
    assert np.histogram(kept, [0, 100, 200, 300])[0].tolist() == [10, 15, 20]
    assert kept[[0, 9, 10, 24, 25, 44]].tolist() == [0, 99, 100, 199, 200, 299]


def test_whole_strides():
    """ddimN is 0, s, 2s, … for the first stride that leaves N; 250 of 1000 ends at 996."""
    assert spaced("ddim250", 1000).tolist() == list(range(0, 1000, 4))
    assert spaced("ddim100", 1000).tolist() == list(range(0, 1000, 10))
    assert spaced("ddim34", 100).tolist() == list(range(0, 100, 3))


@pytest.mark.parametrize(
    "steps", [250, "ddim50", "10,15,20", [3, 700, 999], np.array([0]), 1000, 1], ids=lambda steps: str(steps)[:12]
)
def test_the_same_states(steps):
    """ᾱ of a shorter chain is that of the long one at the timesteps kept, and its β their quotients, at 60 digits."""
    whole = DiscreteDiffusion(np.linspace(1e-4, 0.02, 1000))
    short = whole.respaced(steps)
    with mpmath.workdps(60):
        signal = products(whole.betas)
        before = mpmath.mpf(1)
        for k, index in enumerate(short.timesteps):
            now = signal[index + 1]
            exponent = abs(mpmath.log(now))
            assert abs(short.betas[k] / (1 - now / before) - 1) < 8 * 2.0**-53
            assert abs(short.alpha[k] ** 2 / now - 1) < (8 + 4 * exponent) * 2.0**-53
            before = now
    assert short.num_train_timesteps == 1000
    assert short.times.tolist() == [*((short.timesteps[::-1] + 1) / 1000).tolist(), 0.0]


def test_respaced_twice():
    """A chain of a chain keeps the network's own numbers, and the states; nothing computed before is kept."""
    whole = DiscreteDiffusion(DDPMLinear())
    used = whole.log_variances["large"], whole.backward(), whole.schedule
    assert len(used) == 3
    twice, once = whole.respaced(250).respaced([0, 100, 249]), whole.respaced([0, 401, 999])
    assert twice.timesteps.tolist() == once.timesteps.tolist() == [0, 401, 999]
    assert np.abs(twice.betas / once.betas - 1).max() < 1e-15
    assert twice.schedule is whole.schedule
    assert np.abs(twice.log_variances["large"] - np.log(once.betas)).max() < 1e-14
    assert twice.backward()[0].shape == (3,)


@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace"])
def test_the_grids_of_the_schedule(spacing):
    """Any grid of timesteps can be kept; its times are then those of the grid."""
    schedule = DDPMLinear()
    grid = timestep_strides(schedule, 40, spacing)
    indices = np.rint(schedule.timestep_of_time(grid[-2::-1])).astype(int)
    assert np.abs(DiscreteDiffusion(schedule).respaced(indices).times - grid).max() < 1e-15


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        (0, ValueError),
        (1001, ValueError),
        ("ddim251", ValueError),
        ("ddim0", ValueError),
        ("fast27", ValueError),
        ("400,1,1", ValueError),
        ("", ValueError),
        ([3, 3], ValueError),
        ([-1, 3], ValueError),
        ([3, 1000], ValueError),
        ([], TypeError),
        (2.5, TypeError),
        (True, TypeError),
        (None, TypeError),
    ],
    ids=repr,
)
def test_refused_steps(steps, error):
    """What names no timesteps is refused in three parts."""
    with pytest.raises(error, match=PARTS):
        DiscreteDiffusion(np.linspace(1e-4, 0.02, 1000)).respaced(steps)

"""Grids: n steps, n + 1 times, exact ends, and clear words for what is not a grid."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from solvers import uniform
from solvers.grid import check_grid


def three_parts(error):
    text = str(error.value)
    return all(part in text for part in ("expected ", "; received ", "; remedy: "))


@pytest.mark.parametrize("n", [1, 2, 3, 7, 50, 250, 1000])
def test_uniform_is_correctly_rounded(n):
    """Every time from 1 to 0 is the float next to (n − k)/n, the ends are exact, and there are n + 1 of them."""
    ts = uniform(n)
    assert ts.dtype == np.float64
    assert ts.tolist() == [float(Fraction(n - k, n)) for k in range(n + 1)]


@given(
    st.integers(1, 300),
    st.floats(-10.0, 10.0),
    st.floats(-10.0, 10.0),
)
def test_uniform_between_any_ends(n, start, stop):
    """Times are right to three ulp of the larger end, ends are the arguments, swapping the ends reverses the grid."""
    if abs(stop - start) < 1e-6:
        stop = start + 1.0
    ts = uniform(n, start, stop)
    assert (ts[0], ts[-1]) == (start, stop)
    assert ts.tolist() == uniform(n, stop, start)[::-1].tolist()
    unit = np.spacing(max(abs(start), abs(stop)))
    for k, time in enumerate(ts.tolist()):
        exact = Fraction(start) + (Fraction(stop) - Fraction(start)) * Fraction(k, n)
        assert abs(Fraction(time) - exact) <= 3 * Fraction(unit)


@pytest.mark.parametrize("n", [2.0, "5", None, True])
def test_number_of_steps_is_a_whole_number(n):
    """A count that is not an int is a TypeError in three parts."""
    with pytest.raises(TypeError, match="n: the number of steps") as error:
        uniform(n)
    assert three_parts(error)


@pytest.mark.parametrize("n", [0, -3])
def test_number_of_steps_is_positive(n):
    """A count below one is a ValueError in three parts."""
    with pytest.raises(ValueError, match="at least 1") as error:
        uniform(n)
    assert three_parts(error)


@pytest.mark.parametrize(("start", "stop"), [(1.0, 1.0), (0.0, float("inf")), (float("nan"), 0.0)])
def test_ends_make_an_interval(start, stop):
    """Equal or non-finite ends are a ValueError in three parts."""
    with pytest.raises(ValueError, match="strictly") as error:
        uniform(4, start, stop)
    assert three_parts(error)


@pytest.mark.parametrize(
    "ts",
    [
        [1.0, 0.5, 0.0],
        (1, 0.5, 0),
        np.array([1.0, 0.5, 0.0]),
        np.array([1.0, 0.5, 0.0], dtype=np.float32),
        torch.tensor([1.0, 0.5, 0.0]),
        torch.tensor([1.0, 0.5, 0.0], dtype=torch.bfloat16),
        torch.tensor([1.0, 0.5, 0.0], requires_grad=True),
    ],
    ids=["list", "tuple", "float64", "float32", "torch", "bfloat16", "with-gradient"],
)
def test_grids_may_come_as_lists_and_arrays(ts):
    """Every host form of the same times becomes the same float64 array."""
    grid = check_grid(ts)
    assert grid.dtype == np.float64
    assert grid.tolist() == [1.0, 0.5, 0.0]


def test_the_grid_is_a_copy():
    """Changing what was passed in does not change the grid."""
    ts = np.array([1.0, 0.0])
    grid = check_grid(ts)
    ts[0] = 7.0
    assert grid.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("ts", "words"),
    [
        ([1.0], "1 of them"),
        ([], "0 of them"),
        (np.zeros((2, 2)), r"shape \(2, 2\)"),
        (np.array(3.0), r"shape \(\)"),
        ([1.0, float("nan"), 0.0], "nan at index 1"),
        ([float("inf"), 0.0], "inf at index 0"),
        ([1.0, 0.5, 0.5, 0.0], "0.5 followed by 0.5 at index 2"),
        ([1.0, 0.2, 0.4, 0.0], "0.2 followed by 0.4 at index 2"),
        ([0.0, 0.4, 0.2, 1.0], "0.4 followed by 0.2 at index 2"),
        ([1.0, 0.5, 1.0], "0.5 followed by 1.0 at index 2|1.0 followed by 0.5 at index 1"),
    ],
)
def test_impossible_grids(ts, words):
    """A grid that cannot be walked is a ValueError that names the place, in three parts."""
    with pytest.raises(ValueError, match=words) as error:
        check_grid(ts)
    assert three_parts(error)


@pytest.mark.parametrize("ts", [None, "grid", 4.0, [0.0, "a"], [[1.0], [0.5, 0.0]], np.array([1.0, 0.0]) + 1j])
def test_things_that_are_no_grid(ts):
    """What is not a row of real numbers is an error in three parts."""
    with pytest.raises((TypeError, ValueError)) as error:
        check_grid(ts)
    assert three_parts(error)

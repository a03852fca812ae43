"""With a stream per sample a sample does not depend on its batch."""

import numpy as np
import pytest
import torch
from noise_sources import WAVY, Bent, each_library, equal, numbers, ones

from solvers import EulerMaruyama, StochasticHeun, solve, uniform
from solvers.noise import PerSample, increments

each_method = pytest.mark.parametrize(
    "method", [EulerMaruyama(), StochasticHeun(), Bent()], ids=lambda m: type(m).__name__
)


@each_library
@each_method
def test_rows_do_not_depend_on_their_batch(library, method):
    """Rows solved alone, by their first id or in another order by ids, are the rows of the whole, bit for bit."""
    x = ones(library, (11, 3)) * 0.3
    whole = solve(WAVY, x, uniform(5), method, rng=PerSample(8)).x
    assert equal(solve(WAVY, x[3:6], uniform(5), method, rng=PerSample(8, first=3)).x, whole[3:6])
    assert equal(solve(WAVY, x[:1], uniform(5), method, rng=PerSample(8, 10)).x, whole[10:])
    mixed = solve(WAVY, x[:3], uniform(5), method, rng=PerSample(8, ids=[7, 0, 7])).x
    assert equal(mixed[0], whole[7])
    assert equal(mixed[1], whole[0])
    assert equal(mixed[2], whole[7])


@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
def test_draws_differ_and_a_solve_repeats(library):
    """Steps, rows, entries and seeds have other noise; a source used again begins anew."""
    x, source = ones(library, (4, 2)), PerSample(3)
    noise = increments(source, x)
    drawn = [numbers(noise(1.0, 0.5)), numbers(noise(1.0, 0.5)), numbers(increments(PerSample(4), x)(1.0, 0.5))]
    assert len(np.unique(drawn)) == 3 * x.shape[0] * x.shape[1]
    assert equal(increments(source, x)(1.0, 0.5), drawn[0])
    assert equal(increments(PerSample(3, first=2), x[:2])(1.0, 0.5), drawn[0][2:])


@each_library
def test_the_step_scales_the_draw(library):
    """An increment is the draw times the root of |h|, in both directions of time."""
    x = ones(library, (4, 2))
    unit, rising, falling = (
        numbers(increments(PerSample(3), x)(*times)) for times in ((0, 1), (0.0, 0.25), (1.0, 0.75))
    )
    assert (rising == 0.5 * unit).all()
    assert (falling == rising).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_lower_precisions_are_rounded_from_double(dtype):
    """The draws of a state in lower precision are those in double precision, rounded."""
    double = increments(PerSample(3), torch.zeros(7, 5, dtype=torch.float64))(1.0, 0.7)
    low = increments(PerSample(3), torch.zeros(7, 5, dtype=getattr(torch, dtype)))(1.0, 0.7)
    assert torch.equal(low, double.to(low.dtype))


@each_library
@pytest.mark.parametrize("shape", [(), (3,), (3, 1), (2, 3, 5), (0, 4), (2, 0)])
def test_any_shape(library, shape):
    """A state without axes is one row, and none may be empty or odd."""
    x = ones(library, shape)
    drawn = increments(PerSample(3), x)(1.0, 0.5)
    assert (drawn.shape, drawn.dtype) == (x.shape, x.dtype)


@pytest.mark.parametrize(
    ("build", "kind", "words"),
    [
        (lambda: PerSample(-1), ValueError, r"seed: a whole number from 0 to 2\*\*64 - 1; received -1"),
        (lambda: PerSample(2**64), ValueError, "seed: a whole number"),
        (lambda: PerSample(1.0), TypeError, "seed: a whole number .* received float 1.0"),
        (lambda: PerSample(True), TypeError, "received bool True"),
        (lambda: PerSample(np.random.default_rng(0)), TypeError, "received Generator"),
        (lambda: PerSample(0, -1), ValueError, r"first: a whole number from 0 to 2\*\*32 - 1"),
        (lambda: PerSample(0, 1, ids=[2]), ValueError, "first or ids; received both"),
        (lambda: PerSample(0, ids=[0.5]), TypeError, "ids: whole numbers in one dimension"),
        (lambda: PerSample(0, ids=[[1]]), TypeError, "ids: whole numbers in one dimension"),
        (lambda: PerSample(0, ids=[-1, 3]), ValueError, "received -1 to 3"),
        (lambda: increments(PerSample(0, ids=[1, 2]), np.ones((3, 1))), ValueError, "ids: 3 of them, .* received 2"),
        (
            lambda: increments(PerSample(0, 2**32 - 2), np.ones((3, 1))),
            ValueError,
            r"ids below 2\*\*32; received first",
        ),
        (lambda: increments(PerSample, np.ones((3, 1))), TypeError, "received the class PerSample"),
    ],
    ids=range(13),
)
def test_what_is_refused(build, kind, words):
    """Seeds and ids that are none, in three parts."""
    with pytest.raises(kind, match=words) as error:
        build()
    assert all(part in str(error.value) for part in ("expected ", "; received ", "; remedy: "))


@each_library
def test_the_start_is_a_draw_of_its_own(library):
    """The noise to start from is that of the id in every batch, standard normal, and none of the draws of a solve."""
    x = ones(library, (5, 40))
    first = numbers(PerSample(3, first=2).start(x))
    assert (numbers(PerSample(3, first=4).start(x[2:])) == first[2:]).all()
    noise = increments(PerSample(3, first=2), x)
    drawn = [first, *(numbers(noise(0.0, 1.0)) for _ in range(3))]
    assert len(np.unique(drawn)) == 4 * x.shape[0] * x.shape[1]
    assert PerSample(3).start(x).dtype == x.dtype
    # 200 values: six standard errors of the mean and of the variance.
    assert abs(first.mean()) < 6 / 200**0.5
    assert abs(first.var() - 1) < 6 * (2 / 200) ** 0.5

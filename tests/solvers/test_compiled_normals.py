"""The noise of compiled ensembles: known bits, the normal law, independence, and numbers that know only their place."""

import math

import numpy as np
import pytest
from refusals import PARTS
from scipy import stats

from solvers.compiled import RowNoise
from solvers.compiled.jit import compiled
from solvers.compiled.normals import EDGES, HEIGHTS, LOW, TAIL, _settle, philox

Z = 6.0
ROWS, STEPS, D = 40_000, 5, 4
PI = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0)


@pytest.fixture(scope="module")
def drawn():
    """Normals of shape (steps, rows, d)."""
    return np.stack([RowNoise(11).normals(k, ROWS, D) for k in range(STEPS)])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((0,) * 6, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((2**32 - 1,) * 6, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (PI, (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_known_bits(words, expected):
    """Philox4x32-10 gives the bits that Random123 publishes for three counters and keys."""

    @compiled
    def bits(words):
        return philox(words[0], words[1], words[2], words[3], words[4], words[5])

    first, second = (int(word) for word in bits(np.array(words, np.uint64)))
    assert (first % 2**32, first >> 32, second % 2**32, second >> 32) == expected


def test_layers_have_one_area():
    """All 256 layers, the widest with its tail, have the same area, and the last ends at the peak."""
    tail = math.sqrt(2 * math.pi) * stats.norm.sf(TAIL)
    areas = EDGES[1:-1] * np.diff(HEIGHTS[1:])
    assert len(areas) == 255
    np.testing.assert_allclose(areas, TAIL * stats.norm.pdf(TAIL) * math.sqrt(2 * math.pi) + tail, rtol=1e-12)
    assert (EDGES[1], EDGES[-1], HEIGHTS[-1]) == (TAIL, 0.0, 1.0)


def test_normal_law(drawn):
    """800 000 numbers: Kolmogorov–Smirnov, four moments, 400 bins of equal probability, and tails beyond the layers."""
    z = drawn.ravel()
    assert stats.kstest(z, "norm").pvalue > 1e-6
    for power, (mean, square) in enumerate(((0, 1), (1, 3), (0, 15), (3, 105)), start=1):
        assert abs((z**power).mean() - mean) < Z * math.sqrt((square - mean**2) / z.size)
    counts = np.bincount((stats.norm.cdf(z) * 400).astype(int), minlength=400)
    assert stats.chisquare(counts).pvalue > 1e-6
    for edge in (TAIL, 4.2):
        expected = z.size * stats.norm.sf(edge)
        for side in (z, -z):
            assert abs((side > edge).sum() - expected) < Z * math.sqrt(expected) + 1
    beyond = abs(z)[abs(z) > TAIL]
    assert stats.kstest(beyond, lambda x: 1 - stats.norm.sf(x) / stats.norm.sf(TAIL)).pvalue > 1e-6


@compiled
def settled(word, count):
    found = np.empty(count)
    for row in range(count):
        found[row] = _settle(word, np.uint64(row % 2), (np.uint64(row), LOW, LOW, np.uint64(0)), np.uint64(7))
    return found


@pytest.mark.parametrize("layer", [0, 1, 5, 200])
def test_refused_points(layer):
    """The outermost point of the widest layer becomes a normal beyond it, of any other layer a normal like all."""

    z = settled(np.uint64(2**64 - 256 + layer), 200_000)
    if layer == 0:
        assert stats.kstest(z, lambda x: 1 - stats.norm.sf(x) / stats.norm.sf(TAIL)).pvalue > 1e-6
    else:
        assert stats.kstest(z, "norm").pvalue > 1e-6


def test_independence(drawn):
    """Entries, steps and neighbouring rows are uncorrelated, and so are their squares."""
    for values in (drawn, (drawn**2 - 1) / math.sqrt(2)):
        columns = values.transpose(1, 0, 2).reshape(ROWS, -1)
        correlation = columns.T @ columns / ROWS
        off = correlation - np.diag(np.diag(correlation))
        assert abs(off).max() * math.sqrt(ROWS) < Z
        for lag in (1, 2, 63, 64, 1024):
            product = (columns[lag:] * columns[:-lag]).ravel()
            assert abs(product.mean()) * math.sqrt(product.size) < Z


def test_no_two_places_share_a_number(drawn):
    """All numbers differ, also from those of seeds and rows that differ in their upper bits alone."""
    others = [RowNoise(12), RowNoise(11 + 2**32), RowNoise(11, first=2**32)]
    everything = np.concatenate([drawn.ravel(), *(noise.normals(0, ROWS, D).ravel() for noise in others)])
    # Of 1.3 million numbers of 52 bits a pair agrees by chance in one of five thousand seeds.
    assert np.unique(everything).size == everything.size
    for noise in others:
        product = noise.normals(0, ROWS, D) * drawn[0]
        assert abs(product.mean()) * math.sqrt(product.size) < Z


def test_a_number_knows_only_its_place(drawn):
    """A row has the same numbers in any batch, at any offset; an entry has them whatever the dimension."""
    for first, rows in ((0, 1), (1, 63), (77, 130), (ROWS - 1, 1)):
        part = RowNoise(11, first=first).normals(2, rows, D)
        np.testing.assert_array_equal(part, drawn[2, first : first + rows])
    for d in (1, 3):
        np.testing.assert_array_equal(RowNoise(11).normals(4, 100, d), drawn[4, :100, :d])


def test_increments():
    """As a source of increments every call is the next step, scaled by the root of its length, in the dtype of x."""
    x = np.zeros((6, 2, 2), np.float32)
    noise = RowNoise(11).increments(x)
    for step, (t0, t1) in enumerate(((1.0, 0.75), (0.25, 0.5))):
        found = noise(t0, t1)
        assert (found.shape, found.dtype) == (x.shape, np.float32)
        expected = 0.5 * RowNoise(11).normals(step, 6, 4).reshape(x.shape)
        np.testing.assert_array_equal(found, expected.astype(np.float32))


@pytest.mark.parametrize(
    ("kind", "words", "make"),
    [
        (TypeError, "seed: an integer", lambda: RowNoise(0.5)),
        (TypeError, "seed: an integer", lambda: RowNoise(True)),
        (ValueError, r"seed from 0 to 2\*\*64 - 1; received -1", lambda: RowNoise(-1)),
        (ValueError, r"seed from 0 to 2\*\*64 - 1", lambda: RowNoise(2**64)),
        (ValueError, r"first from 0 to 2\*\*62 - 1", lambda: RowNoise(0, first=2**62)),
        (ValueError, r"step from 0 to 2\*\*32 - 1", lambda: RowNoise(0).normals(2**32, 1, 1)),
        (TypeError, "numpy array.*float", lambda: RowNoise(0).increments(1.0)),
    ],
)
def test_refusals(kind, words, make):
    """Seeds, rows and steps that the counter has no room for, and states of other libraries, are refused."""
    with pytest.raises(kind, match=words) as error:
        make()
    assert all(part in str(error.value) for part in PARTS)

"""Philox gives the published words, and its normals are those of Box and Muller."""

import mpmath
import numpy as np
import pytest
import torch
from noise_sources import each_library, numbers, ones
from scipy import stats

from solvers.noise.philox import Philox
from solvers.noise.streams import PATH, SAMPLE, streams

FULL = 0xFFFFFFFF
# Known answers of the Random123 distribution for philox4x32, 10 rounds: counter, key, result.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((FULL,) * 4, (FULL,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
MAKERS = {
    "numpy": lambda values: np.asarray(values, dtype=np.uint64),
    "torch": lambda values: torch.asarray(values, dtype=torch.int64),
}


def words(c0, c1, c2, c3, key):
    """The ten rounds with Python's integers."""
    k0, k1 = key & FULL, key >> 32
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & FULL, (p0 >> 32) ^ c3 ^ k1, p0 & FULL
        k0, k1 = (k0 + 0x9E3779B9) & FULL, (k1 + 0xBB67AE85) & FULL
    return c0, c1, c2, c3


@pytest.mark.parametrize("library", MAKERS)
@pytest.mark.parametrize(("counter", "key", "known"), KNOWN, ids=["zeros", "ones", "pi"])
def test_known_answers(library, counter, key, known):
    """The published words come out, alone and in the middle of other counters, and the counters are left alone."""
    make = MAKERS[library]
    philox = Philox(key[0] + (key[1] << 32), make)
    even, odd = ([[[1, word, 2]] for word in counter[k::2]] for k in (0, 1))
    given = make(even), make(odd)
    high, low = philox(*given)
    found = [int(part[place, 0, 1]) for place in (0, 1) for part in (high, low)]
    assert tuple(found) == known
    assert words(*counter, key[0] + (key[1] << 32)) == known
    assert given[0].tolist() == even
    assert given[1].tolist() == odd


@pytest.mark.parametrize("library", MAKERS)
@pytest.mark.parametrize("use", [SAMPLE, PATH])
def test_normals_are_those_of_box_and_muller(library, use):
    """Place, id, number and use are the counter; 53 bits make each uniform; mpmath's cosines come before its sines."""
    seed, ids, x = 2**63 + 12345, [0, 9, 2**32 - 1], ones(library, (3, 5))
    found = numbers(streams(seed, use, 0, np.array(ids), x).single(7))

    def pair(place, row):
        w0, w1, w2, w3 = words(place, row, 7, use, seed)
        u1, u2 = ((mpmath.mpf(a >> 5) * 2**26 + (b >> 6)) / 2**53 for a, b in ((w0, w1), (w2, w3)))
        radius = mpmath.sqrt(-2 * mpmath.log(u1 + mpmath.mpf(2) ** -53))
        return radius * mpmath.cos(2 * mpmath.pi * u2), radius * mpmath.sin(2 * mpmath.pi * u2)

    with mpmath.workdps(40):
        pairs = [[pair(place, row) for place in range(3)] for row in ids]
        expected = [[float(z) for z in ([c for c, _ in row] + [s for _, s in row])[:5]] for row in pairs]
    # The angle is rounded once, which near a zero of the cosine is an absolute error.
    np.testing.assert_allclose(found, expected, rtol=1e-15, atol=4e-15)


def test_a_number_is_found_alone_and_among_others():
    """A draw does not depend on what it is drawn with: rows, numbers along a branch, the library."""
    x = np.ones((200, 3))
    whole = streams(5, PATH, 0, None, x)
    first, second = whole.branch(0b1011, 4)
    for place, number in enumerate((1, 2, 5, 11)):
        alone = whole.branch(number, 1)
        assert (alone[0][0] == first[place]).all()
        assert (alone[1][0] == second[place]).all()
    part = streams(5, PATH, 17, None, x[:3]).branch(0b1011, 4)
    assert (part[0] == first[:, 17:20]).all()
    other = streams(5, PATH, 0, None, torch.from_numpy(x)).branch(0b1011, 4)
    np.testing.assert_allclose(other[1].numpy(), second, rtol=1e-15, atol=4e-15)


@each_library
def test_draws_are_normal_and_independent(library):
    """Kolmogorov–Smirnov does not object; entries, rows, numbers, uses and seeds are uncorrelated, squares too."""
    x = ones(library, (20_000, 2))
    drawn = {
        "first": streams(1, SAMPLE, 0, None, x).single(1),
        "next": streams(1, SAMPLE, 0, None, x).single(2),
        "seed": streams(2, SAMPLE, 0, None, x).single(1),
        "high bits": streams(1 + 2**32, SAMPLE, 0, None, x).single(1),
        "use": streams(1, PATH, 0, None, x).single(1),
        "pair": streams(1, PATH, 0, None, x).branch(3, 1)[0][0],
        "pair's other": streams(1, PATH, 0, None, x).branch(3, 1)[1][0],
        "child": streams(1, PATH, 0, None, x).branch(6, 1)[0][0],
    }
    columns = np.concatenate([numbers(z).astype(float).T for z in drawn.values()])
    columns = np.concatenate([columns, np.roll(columns[:1], 1)])
    for column in columns[:-1]:
        assert stats.kstest(column, "norm").pvalue > 1e-6
    for power in (1, 2):
        correlation = np.corrcoef(columns**power) - np.eye(len(columns))
        assert abs(correlation).max() < 6 / np.sqrt(columns.shape[1])

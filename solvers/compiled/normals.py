r"""Normals that are a function of where they are used: of the seed, the row, the step and the entry of the state.

Philox4x32-10 turns a counter and a key into 128 random bits. The key is the seed; the counter is (row, step, pair of
entries, attempt), so no two places share bits, whatever the batch, the threads, or the order of the work. Each half of
the bits becomes a normal by the ziggurat method with 256 layers: 8 bits choose the layer, 52 others the point in it.
About one point in 90 is refused, and its normal takes the bits of further attempts.

References: Salmon, Moraes, Dror & Shaw (2011), Parallel random numbers: as easy as 1, 2, 3, SC '11; Marsaglia & Tsang
(2000), The ziggurat method for generating random variables, J. Stat. Softw. 5 (8); Doornik (2005), An improved ziggurat
method to generate normal random samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.compiled.jit import compiled, inlined

__all__ = ["fill_normals"]

LAYERS = 256
TAIL = 3.6541528853610088
"""Where the widest layer ends and the tail begins: with it all layers have the same area."""

ONE, TWO, ATTEMPTS, UNUSED, WORD = (np.uint64(bits) for bits in (1, 2, 8, 12, 32))
LOW, LAYER = np.uint64(2**32 - 1), np.uint64(LAYERS - 1)
MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)


def _edges() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where the layers end, from the widest to 0, and the height exp(−x²/2) there."""
    area = TAIL * math.exp(-0.5 * TAIL**2) + math.sqrt(math.pi / 2) * math.erfc(TAIL / math.sqrt(2))
    edges = [area * math.exp(0.5 * TAIL**2), TAIL]
    while len(edges) < LAYERS:
        edges.append(math.sqrt(-2.0 * math.log(area / edges[-1] + math.exp(-0.5 * edges[-1] ** 2))))
    x = np.array([*edges, 0.0])
    return x, np.exp(-0.5 * x * x)


EDGES, HEIGHTS = _edges()


@inlined
def philox(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> tuple[Any, Any]:
    """Return 128 bits for a counter and a key, 32-bit words held in 64 bits, as two words of 64."""
    for _ in range(10):
        first, second = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (second >> WORD) ^ c1 ^ k0, second & LOW, (first >> WORD) ^ c3 ^ k1, first & LOW
        k0, k1 = (k0 + WEYL[0]) & LOW, (k1 + WEYL[1]) & LOW
    return c0 | (c1 << WORD), c2 | (c3 << WORD)


@inlined
def _uniform(word: Any) -> float:
    """Return the middle of one of 2⁵² parts of (0, 1), which the upper bits choose."""
    return (np.float64(word >> UNUSED) + 0.5) * 2.0**-52


@inlined
def _point(word: Any) -> tuple[Any, float]:
    """Return the layer that a word chooses, by its lowest bits, and the point on its width."""
    layer = word & LAYER
    return layer, (2.0 * _uniform(word) - 1.0) * EDGES[layer]


@compiled
def _settle(word: Any, half: Any, place: Any, seed: Any) -> float:
    """Return the normal of a place whose first point lay outside its layer: from the tail, the wedge, or other points.

    Both halves of the first bits may be refused, so they take turns: attempts 1, 3, … and 2, 4, …
    """
    (layer, x), attempt = _point(word), half + ONE
    while True:
        first, second = philox(place[0], place[1], place[2], place[3] | attempt, seed & LOW, seed >> WORD)
        attempt += TWO
        if layer == 0:  # Marsaglia's tail
            beyond = -math.log(_uniform(first)) / TAIL
            if -2.0 * math.log(_uniform(second)) > beyond * beyond:
                return math.copysign(TAIL + beyond, x)
            continue
        low, high = HEIGHTS[layer], HEIGHTS[layer + ONE]
        if low + _uniform(first) * (high - low) < math.exp(-0.5 * x * x):
            return x
        layer, x = _point(second)
        if abs(x) < EDGES[layer + ONE]:
            return x


@lru_cache(maxsize=32)
def fill_normals(d: int, lanes: int) -> Callable[..., None]:
    """Compile the normals of successive rows at one step, written into z of shape (d, lanes).

    Most points lie inside their layer: one loop over all lanes finds them and counts the others, which are few.
    """

    def fill(z, words, row, step, seed):  # type: ignore[no-untyped-def]
        for pair in range((d + 1) // 2):
            last = np.uint64(pair) << ATTEMPTS
            for lane in range(lanes):
                index = row + np.uint64(lane)
                bits = philox(index & LOW, index >> WORD, step, last, seed & LOW, seed >> WORD)
                words[0, lane], words[1, lane] = bits[0], bits[1]
            for half in range(min(2, d - 2 * pair)):
                r, refused = 2 * pair + half, 0
                for lane in range(lanes):
                    layer, x = _point(words[half, lane])
                    z[r, lane] = x
                    refused += abs(x) >= EDGES[layer + ONE]
                for lane in range(lanes if refused else 0):
                    word = words[half, lane]
                    if abs(z[r, lane]) >= EDGES[(word & LAYER) + ONE]:
                        index = row + np.uint64(lane)
                        place = (index & LOW, index >> WORD, step, last)
                        z[r, lane] = _settle(word, np.uint64(half), place, seed)

    return inlined(fill)

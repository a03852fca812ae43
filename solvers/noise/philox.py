r"""Philox4x32-10: 128 random bits for each value of a counter of 128 bits, with array operations alone.

A round takes the words :math:`(c_0, c_1, c_2, c_3)` with a key :math:`(k_0, k_1)` to

.. math:: \bigl(\mathrm{hi}(M_1 c_2) \oplus c_1 \oplus k_0,\ \mathrm{lo}(M_1 c_2),\
          \mathrm{hi}(M_0 c_0) \oplus c_3 \oplus k_1,\ \mathrm{lo}(M_0 c_0)\bigr),

and the key grows by a constant between rounds. Nothing but products and bits of integers is used, so the answer is the
same in every library and on every device.

References: Salmon, Moraes, Dror & Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011, §3.3, table 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

ROUNDS = 10
WORD = 0xFFFFFFFF
_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_WEYL = 0x9E3779B9, 0xBB67AE85


def philox(counter: Sequence[Any], key: tuple[int, int]) -> tuple[Any, Any, Any, Any]:
    """Return four words of 32 random bits for each counter.

    Args:
        counter: four words, integers or arrays of them that broadcast; uint64 in numpy, int64 in torch, whose products
            wrap. The high half of each is 0.
        key: two words.

    Returns:
        Four words like those of the counter.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        # The shift of a negative int64 brings in ones, and the mask takes them off.
        c0, c1, c2, c3 = ((p1 >> 32) & WORD) ^ c1 ^ k0, p1 & WORD, ((p0 >> 32) & WORD) ^ c3 ^ k1, p0 & WORD
        k0, k1 = (k0 + _WEYL[0]) & WORD, (k1 + _WEYL[1]) & WORD
    return c0, c1, c2, c3

r"""Philox4x32-10: 128 random bits for each value of a counter of 128 bits, with array operations alone.

A round takes the words :math:`(c_0, c_1, c_2, c_3)` with a key :math:`(k_0, k_1)` to

.. math:: \bigl(\mathrm{hi}(M_1 c_2) \oplus c_1 \oplus k_0,\ \mathrm{lo}(M_1 c_2),\
          \mathrm{hi}(M_0 c_0) \oplus c_3 \oplus k_1,\ \mathrm{lo}(M_0 c_0)\bigr),

and the key grows by a constant between rounds. Nothing but products and bits of integers is used, so the answer is the
same in every library and on every device.

References: Salmon, Moraes, Dror & Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011, §3.3, table 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from solvers.arrays import Array, is_torch

ROUNDS = 10
WORD = 0xFFFFFFFF
_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_WEYL = 0x9E3779B9, 0xBB67AE85


class Philox:
    """The function of a key.

    Args:
        key: 64 bits, the low word first.
        integers: makes an array of nested lists: uint64 in numpy, int64 in torch, whose products wrap.
    """

    def __init__(self, key: int, integers: Callable[[Any], Array]) -> None:
        low, high = key & WORD, key >> 32
        keys = [[low + k * _WEYL[0] & WORD, high + k * _WEYL[1] & WORD] for k in range(ROUNDS)]
        # One array, for each that is made waits for a device.
        self.multipliers, *self.keys = integers([_MULTIPLIERS, *keys]).reshape(-1, 2, 1, 1)

    def __call__(self, even: Array, odd: Array) -> tuple[Array, Array]:
        """Return random words for counters.

        Args:
            even: the words c0 and c2 along a first axis, of three.
            odd: c1 and c3; they broadcast with ``even``.

        Returns:
            Words in the same two arrays; the given ones are left as they are.
        """
        for key in self.keys:
            product = even * self.multipliers
            low = product & WORD
            product >>= 32
            # The shift of a negative int64 brings in ones, and the mask takes them off.
            product &= WORD
            even = _swapped(product)
            even ^= odd
            even ^= key
            odd = _swapped(low)
        return even, odd


def _swapped(pair: Array) -> Array:
    return pair.flip(0) if is_torch(pair) else pair[::-1]

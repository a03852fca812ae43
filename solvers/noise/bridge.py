r"""A Brownian path between two times at which it is known: increment W and space–time Lévy area H of both parts.

For an interval of length h that is cut into parts of lengths ah and bh, a + b = 1, W and H of the whole are Gaussian
and independent, of variance h and h/12. With :math:`q = 1 - 3ab` and independent standard normals :math:`z_1, z_2`
the law of the parts given the whole is

.. math::
    R = \sqrt{h\,abq}\;z_1, \qquad W_1 = aW + 6abH + R, \quad W_2 = W - W_1,

    H_1 = a^2 H - \frac{a^2}{2q} R + \sqrt{\frac{h\,ab^3}{12q}}\;z_2, \quad
    H_2 = b^2 H - \frac{b^2}{2q} R - \sqrt{\frac{h\,a^3b}{12q}}\;z_2,

which is Gaussian conditioning with Chen's relation :math:`H = aH_1 + bH_2 + \tfrac12(bW_1 - aW_2)`.

References: Foster, Lyons & Oberhauser (2020), arXiv 1904.06998; Jelinčič, Foster & Kidger (2024), arXiv
2405.06464.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from solvers.arrays import Array


class Piece(NamedTuple):
    """What is known of a path over an interval: its increment, and the area about the chord by the length."""

    increment: Array
    area: Array

    def integral(self, h: float) -> Array:
        """Return ∫(W_u − W_start) du over the interval, whose length is h."""
        return h * (0.5 * self.increment + self.area)


def split(whole: Piece, h: float, a: float, first: Array, second: Array) -> tuple[Piece, Piece]:
    """Return both parts of an interval.

    Args:
        whole: the interval.
        h: its length.
        a: the fraction of it that is the first part, in (0, 1).
        first: standard normals.
        second: standard normals, too.
    """
    b = 1.0 - a
    q = 1.0 - 3.0 * a * b
    rest = math.sqrt(h * a * b * q) * first
    bent = (6.0 * a * b) * whole.area + rest
    turned = math.sqrt(h * a * b / (12.0 * q)) * second
    slanted = (-0.5 / q) * rest + whole.area
    left = Piece(a * whole.increment + bent, (a * a) * slanted + b * turned)
    return left, Piece(b * whole.increment - bent, (b * b) * slanted - a * turned)

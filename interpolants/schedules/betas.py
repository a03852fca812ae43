r"""From the noise rates of a discrete model to a function of continuous time.

A model trained with rates :math:`\beta_1, \dots, \beta_T` knows :math:`S_n = \sum_{k \le n}\log(1 - \beta_k)` alone, at
the times n/T. :func:`embed` finds polynomials with exact rational coefficients that go through all of them: of the
least degree, one where the rates are smooth, a few where they have corners. Nothing here is measured in floating point:
the polynomials are interpolated in fractions and compared with :math:`S_n` at every n in 192-bit integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

import mpmath
import numpy as np
from mpmath import mpf
from sympy import Expr, Rational

from interpolants.symbols import t
from solvers.errors import explain

__all__ = ["EXACT", "Pieces", "embed", "embed_floats", "ramp", "read"]

Pieces = tuple[tuple[Rational, Expr], ...]
"""The last time of each piece, and the formula that holds up to it."""

EXACT = Fraction(1, 2**64)
"""How far, relative to the logarithm of the signal, a polynomial may be from rates that are known exactly."""

DIGITS = 60
BITS = 192
PRECISION = 84
MAX_DEGREE = 20
MAX_PIECES = 4


@lru_cache(maxsize=64)
def ramp(count: int, start: mpf, end: mpf, power: int) -> Pieces:
    r"""Return the pieces for rates whose ``power``-th root goes from ``start`` to ``end`` in equal steps."""
    with mpmath.workdps(DIGITS):
        rise = (end - start) / max(count - 1, 1)
        return embed([(start + rise * k) ** power for k in range(count)], EXACT)


def read(betas: Any) -> tuple[tuple[float, ...], Fraction]:
    """Return the rates as floats, and what the rounding of their type leaves uncertain.

    Raises:
        TypeError: not an array of numbers.
        ValueError: not one row of numbers between 0 and 1.
    """
    try:
        array = np.asarray(betas)
        values = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(
            explain("a row of betas", type(betas).__name__, "pass a list or an array of numbers")
        ) from error
    if values.ndim != 1 or values.size == 0:
        raise ValueError(explain("betas of shape (T,), T >= 1", f"shape {values.shape}", "pass one rate per timestep"))
    if not ((values > 0) & (values < 1)).all():
        wrong = int(np.argmin((values > 0) & (values < 1)))
        remedy = "pass rates of noise, not products of signal, and clip them below 1 (0.999 is usual)"
        raise ValueError(explain("0 < beta < 1", f"{values[wrong]:g} at index {wrong}", remedy))
    kind = array.dtype if array.dtype.kind == "f" else np.dtype(np.float64)
    return tuple(values.tolist()), Fraction(float(np.finfo(kind).eps))


@lru_cache(maxsize=64)
def embed_floats(betas: tuple[float, ...], tolerance: Fraction) -> Pieces:
    """Return :func:`embed` of floats, once for every row of numbers."""
    return embed([mpf(beta) for beta in betas], tolerance)


def embed(betas: Sequence[mpf], tolerance: Fraction) -> Pieces:
    """Return polynomials S(t) with S(n/T) = S_n, from left to right, each as long as it can be.

    Raises:
        ValueError: more than four polynomials of degree 21 are needed.
    """
    sums, count, start = _sums(betas), len(betas), 0
    pieces: list[tuple[Rational, Expr]] = []
    while start < count:
        if len(pieces) == MAX_PIECES:
            expected = f"betas that {MAX_PIECES} polynomials of degree {MAX_DEGREE + 1} reproduce"
            remedy = "smooth them, pass them in float64, or keep every k-th product of (1 - beta)"
            raise ValueError(explain(expected, f"betas that are rough from index {start} on", remedy))
        stop, coefficients = _longest(sums, start, tolerance)
        formula = sum((Rational(c.numerator, c.denominator) * t**j for j, c in enumerate(coefficients)), Rational(0))
        pieces.append((Rational(stop, count), formula))
        start = stop
    return tuple(pieces)


def _sums(betas: Sequence[mpf]) -> np.ndarray[Any, Any]:
    """Return S_0 … S_T as integers, in units of 2**-BITS."""
    total, sums = mpf(0), [0]
    with mpmath.workdps(DIGITS):
        for beta in betas:
            total += mpmath.log1p(-beta)
            sums.append(int(mpmath.nint(mpmath.ldexp(total, BITS))))
    return np.array(sums, dtype=object)


def _longest(sums: np.ndarray[Any, Any], start: int, tolerance: Fraction) -> tuple[int, list[Fraction]]:
    """Return the last step that a polynomial from ``start`` on reaches, by bisection, and its coefficients."""
    reached, beyond = start, len(sums)
    found: list[Fraction] = []
    stop = beyond - 1
    while beyond - reached > 1:
        coefficients = _fit(sums, start, stop, tolerance)
        if coefficients is None:
            beyond = stop
        else:
            reached, found = stop, coefficients
        stop = (reached + beyond) // 2
    return reached, found


def _fit(sums: np.ndarray[Any, Any], start: int, stop: int, tolerance: Fraction) -> list[Fraction] | None:
    for degree in range(min(stop - start, MAX_DEGREE + 1)):
        coefficients = _interpolate(sums, start, stop, degree)
        if _reproduces(coefficients, sums, start, stop, tolerance):
            return coefficients
    return None


def _interpolate(sums: np.ndarray[Any, Any], start: int, stop: int, degree: int) -> list[Fraction]:
    """Return the coefficients of S(x) = S_start + (x − x_start) Q(x), Q through degree + 1 of the steps.

    The steps are those nearest to Chebyshev's points, both ends among them; the differences are Newton's.
    """
    count = len(sums) - 1
    spread = 0.5 - 0.5 * np.cos(np.pi * np.arange(degree + 1) / max(degree, 1)) if degree else np.ones(1)
    steps = sorted({start + 1 + round((stop - start - 1) * float(part)) for part in spread})
    first = Fraction(int(sums[start]), 2**BITS)
    times = [Fraction(n, count) for n in steps]
    slopes = [(Fraction(int(sums[n]), 2**BITS) - first) / Fraction(n - start, count) for n in steps]
    bits = PRECISION - min(slope.numerator.bit_length() - slope.denominator.bit_length() for slope in slopes)
    differences = list(slopes)
    for level in range(1, len(times)):
        for i in range(len(times) - 1, level - 1, -1):
            differences[i] = (differences[i] - differences[i - 1]) / (times[i] - times[i - level])
    coefficients: list[Fraction] = []
    for difference, time in zip(reversed(differences), reversed(times)):
        coefficients = _times(coefficients, time, difference)
    coefficients = _times(coefficients, Fraction(start, count), first)
    return [Fraction(round(c * 2**bits), 2**bits) for c in coefficients]


def _times(coefficients: list[Fraction], root: Fraction, constant: Fraction) -> list[Fraction]:
    """Return the coefficients of (x − root)·p(x) + constant."""
    raised = [Fraction(0), *coefficients]
    lowered = [*(root * c for c in coefficients), Fraction(0)]
    product = [a - b for a, b in zip(raised, lowered)]
    product[0] += constant
    return product


def _reproduces(
    coefficients: list[Fraction], sums: np.ndarray[Any, Any], start: int, stop: int, tolerance: Fraction
) -> bool:
    """Whether the polynomial meets S_n at every step and falls between them."""
    count = len(sums) - 1
    steps = np.array(range(start + 1, stop + 1), dtype=object)
    value = steps * 0
    for c in reversed(coefficients):
        value = value * steps // count + c.numerator * 2**BITS // c.denominator
    wanted = sums[start + 1 : stop + 1]
    allowed = -wanted * tolerance.numerator // tolerance.denominator
    if (abs(value - wanted) > allowed).any():
        return False
    between = np.linspace(start / count, stop / count, 257)
    slope = np.polyval(np.polyder([float(c) for c in reversed(coefficients)]), between)
    return bool((slope < 0).all())

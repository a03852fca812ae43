r"""Coefficients of explicit Runge–Kutta methods as exact fractions, and the polynomials of their dense output.

.. math::
    k_i = f\Bigl(t_0 + c_i h,\ x_0 + h\sum_{j<i} a_{ij} k_j\Bigr), \qquad x_1 = x_0 + h\sum_i b_i k_i, \qquad
    x(t_0 + \theta h) \approx x_0 + h\sum_i b_i(\theta)\,k_i

Behind the s stages of a step stands one more slope, :math:`k_{s+1} = f(t_1, x_1)`, for whoever needs it: an estimate of
the error and dense output do, a fixed grid does not. It is the first slope of the next step, so it is never evaluated
twice ("first same as last").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Row: TypeAlias = tuple[Fraction, ...]
Term: TypeAlias = tuple[float, int, tuple[int, ...]]
Stage: TypeAlias = tuple[float, tuple[Term, ...]]


def fractions(text: str) -> Row:
    """Return the numbers of a line, written as fractions or decimals; none is rounded."""
    return tuple(Fraction(word) for word in text.split())


def terms(row: Row) -> tuple[Term, ...]:
    """Return the weights of a row that are not zero, each as a float with the slopes that it multiplies.

    Slopes with equal weights are added before they are multiplied, which saves an operation on arrays for each.
    """
    groups: dict[float, list[int]] = {}
    for index, weight in enumerate(row):
        if weight:
            groups.setdefault(float(weight), []).append(index)
    return tuple((weight, first, tuple(others)) for weight, (first, *others) in groups.items())


@dataclass(frozen=True)
class Tableau:
    r"""A method in numbers.

    Args:
        a: a line of :math:`a_{i1}, a_{i2}, \dots` for each stage after the first.
        b: the weights of the step; their number is that of the stages.
        order: the order of the step.
        c: the nodes, where they are not to be the sums of the lines of ``a``: decimals do not add up exactly.
        errors: weights of an estimate of the error of a step over the slopes :math:`k_1, \dots, k_{s+1}`; of two
            lines the combination of DOP853 is made. None where the method has no estimate.
        error_order: the order of the formula that the step is compared with.
        extra: lines of ``a`` for slopes that dense output alone needs, after :math:`k_{s+1}`.
        extra_c: their nodes.
        dense: for each slope the coefficients of :math:`\theta, \theta^2, \dots` in :math:`b_i(\theta)`; without it the
            cubic Hermite polynomial through both states and slopes.
        dense_order: the order of the interpolation.
    """

    a: tuple[Row, ...]
    b: Row
    order: int
    c: Row = ()
    errors: tuple[Row, ...] = ()
    error_order: int = 0
    extra: tuple[Row, ...] = ()
    extra_c: Row = ()
    dense: tuple[Row, ...] = ()
    dense_order: int = 3
    stages: tuple[Stage, ...] = field(init=False, repr=False)
    extra_stages: tuple[Stage, ...] = field(init=False, repr=False)
    step: tuple[Term, ...] = field(init=False, repr=False)
    estimates: tuple[tuple[Term, ...], ...] = field(init=False, repr=False)
    nested: NDArray[np.float64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        nodes = self.c or (Fraction(0), *(sum(row, Fraction(0)) for row in self.a))
        dense = self.dense or hermite(self.b)
        derived = {
            "c": nodes,
            "dense": dense,
            "nested": np.array([[float(coefficient) for coefficient in nested(row)] for row in dense]),
            "stages": tuple((float(node), terms(row)) for node, row in zip(nodes[1:], self.a)),
            "extra_stages": tuple((float(node), terms(row)) for node, row in zip(self.extra_c, self.extra)),
            "step": terms(self.b),
            # The last slope stays in the sum where its weight is zero: a slope that is not finite makes the estimate
            # so, and the step is refused.
            "estimates": tuple((*terms(row[:-1]), (float(row[-1]), len(self.b), ())) for row in self.errors),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    @property
    def nodes(self) -> tuple[float, ...]:
        """The fractions of a step at which its stages are evaluated."""
        return tuple(float(node) for node in self.c)


def lower(text: str) -> tuple[Row, ...]:
    """Return the lines of a text, each as a row of exact numbers."""
    return tuple(fractions(line) for line in text.strip().splitlines())


def sparse(size: int, entries: dict[int, str]) -> Row:
    """Return a row of ``size`` exact numbers that are zero but for those given, counted from 1."""
    return tuple(Fraction(entries.get(index, "0")) for index in range(1, size + 1))


def multiply(p: Row, q: Row) -> Row:
    """Return the product of two polynomials, coefficients from the constant upwards."""
    product = [Fraction(0)] * (len(p) + len(q) - 1)
    for i, left in enumerate(p):
        for j, right in enumerate(q):
            product[i + j] += left * right
    return tuple(product)


def shapes(count: int) -> list[Row]:
    r"""Return θ, θ(1 − θ), θ²(1 − θ), θ²(1 − θ)², …: each the one before times 1 − θ and θ in turn."""
    polynomials: list[Row] = [(Fraction(0), Fraction(1))]
    for degree in range(1, count):
        factor = (Fraction(1), Fraction(-1)) if degree % 2 else (Fraction(0), Fraction(1))
        polynomials.append(multiply(polynomials[-1], factor))
    return polynomials


def nested(polynomial: Row) -> Row:
    """Return the coefficients of ``shapes`` in a polynomial given by those of θ, θ², …

    Powers of θ cancel for high degrees, shapes do not: all but the first are small, and vanish at both ends.
    """
    rest, found = list(polynomial), []
    for shape in reversed(shapes(len(polynomial))):
        coefficient = rest[-1] / shape[-1]
        found.append(coefficient)
        rest = [left - coefficient * part for left, part in zip(rest, shape[1:])][:-1]
    return tuple(reversed(found))


def hermite(b: Row, bumps: tuple[Row, ...] = (), size: int = 0) -> tuple[Row, ...]:
    r"""Return the polynomials of the interpolation that has both states and both slopes of a step.

    .. math:: b_i(\theta) = \theta b_i + \theta(1 - \theta)(\delta_{i1} - b_i)
              + \theta^2(1 - \theta)(2 b_i - \delta_{i1} - \delta_{i,s+1})
              + \theta^2(1 - \theta)^2\,(d_i + \theta(e_i + (1 - \theta)(f_i + \theta g_i)))

    Args:
        b: the weights of the step.
        bumps: the rows d, e, f, g, as many as there are: what vanishes at both ends together with its slope.
        size: the number of slopes; s + 1 if absent.
    """
    last = len(b)
    polynomials = []
    for i in range(max(size, last + 1)):
        weight = b[i] if i < last else Fraction(0)
        first, end = Fraction(i == 0), Fraction(i == last)
        factors = [weight, first - weight, 2 * weight - first - end, *(row[i] for row in bumps)]
        total = [Fraction(0)] * (len(factors) + 1)
        for factor, shape in zip(factors, shapes(len(factors))):
            for power, coefficient in enumerate(shape):
                total[power] += factor * coefficient
        polynomials.append(tuple(total[1:]))
    return tuple(polynomials)

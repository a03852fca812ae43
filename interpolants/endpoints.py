r"""Local expansions at an end of the domain, for removable singularities.

Near an end at distance :math:`h`, :math:`f = s^{m} P(s)` with :math:`s = h` or, where the expression has half-integer
powers, :math:`s = \sqrt h`. :math:`P` interpolates 200-digit values at Chebyshev nodes of the interval in which it is
used, so its error is known, not estimated from a series whose radius nobody computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import mpmath
from mpmath import mpf

from interpolants.measure import DIGITS, Exact

__all__ = ["Polynomial", "fit"]

MAX_DEGREE = 24


@dataclass(frozen=True)
class Polynomial:
    """``s**power * (c0 + c1 s + …)`` with ``s`` the distance to ``end`` or its square root; power < 0 at a pole."""

    end: float
    inward: int
    root: bool
    power: int
    coefficients: tuple[float, ...]

    def __str__(self) -> str:
        distance = f"|t - {self.end:g}|"
        distance = f"sqrt({distance})" if self.root else distance
        return f"polynomial of degree {len(self.coefficients) - 1} in {distance}"

    def statements(self, symbol: str, prefix: str) -> tuple[list[str], str]:
        """Return the assignments and the result of Horner's rule as text."""
        distance = f"{symbol} - {self.end!r}" if self.inward > 0 else f"{self.end!r} - {symbol}"
        s = f"{prefix}s"
        lines = [f"{s} = xp.sqrt({distance})" if self.root else f"{s} = {distance}"]
        text = repr(self.coefficients[-1])
        for coefficient in reversed(self.coefficients[:-1]):
            text = f"({coefficient!r} + {s} * {text})"
        if len(self.coefficients) == 1:
            text = f"({text} + 0.0 * {s})"
        if self.power < 0:
            return lines, " / ".join([text] + [s] * -self.power)
        return lines, " * ".join([s] * self.power + [text])


def fit(exact: Exact, which: int, width: float) -> Polynomial | None:
    """Interpolate ``exact`` on the last ``width`` before end ``which`` to 1e-17 relative, with the fewest terms.

    None where the expression is smooth neither in the distance to the end nor in its square root.
    """
    end = exact.ends[which]
    for root in (False, True):
        power = round(end.order * (2 if root else 1))
        if power != end.order * (2 if root else 1):
            continue
        for degree in range(1, MAX_DEGREE + 1, 2):
            error, polynomial = _interpolate(exact, which, width, root, power, degree)
            if error < 1e-17:
                return polynomial
    return None


def _interpolate(
    exact: Exact, which: int, width: float, root: bool, power: int, degree: int
) -> tuple[float, Polynomial]:
    end = exact.ends[which]
    inward = 1 - 2 * which
    with mpmath.workdps(DIGITS):
        reach = mpmath.sqrt(width) if root else mpf(width)

        def value(s: mpf) -> mpf:
            return exact.at(mpf(end.time) + inward * (s * s if root else s)) / s**power

        nodes = [reach * (1 - mpmath.cos(mpmath.pi * (2 * k + 1) / (2 * degree + 2))) / 2 for k in range(degree + 1)]
        unit = mpmath.lu_solve(
            mpmath.matrix([[(node / reach) ** j for j in range(degree + 1)] for node in nodes]),
            mpmath.matrix([value(node) for node in nodes]),
        )
        checks = [reach * mpf(k) / 17 for k in range(1, 18)]
        scale = max(abs(value(s)) for s in checks)
        error = max(
            abs(mpmath.polyval(list(reversed(unit)), s / reach) - value(s)) / max(abs(value(s)), scale * mpf("1e-30"))
            for s in checks
        )
        coefficients = tuple(float(unit[j] / reach**j) for j in range(degree + 1))
    return float(error), Polynomial(end.time, inward, root, power, coefficients)

"""What was measured of a sampler, in numbers and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from solvers.order.fitting import Fit

__all__ = ["EQUAL", "SHORTFALL", "Endpoint", "Marginal", "OrderReport"]

SHORTFALL = 0.25
"""How far the observed order may fall below the claimed one before the claim counts as not kept."""

EQUAL = "mixture, equal steps"
"""The fit that is added where the order on unequal steps is below the claim."""


@dataclass(frozen=True)
class Endpoint:
    """The sampler on its own schedule, from its first level to its last.

    Args:
        refused: why it would not run; empty where it did.
        finite: whether all its answers were.
        sigma: σ where it ends; 0 is the data itself.
        order: power of n in the distance to the exact flow between these levels; NaN where none was found.
        error: root mean square of that distance at the largest number of steps.
        steps: that number.
    """

    refused: str = ""
    finite: bool = False
    sigma: float = math.nan
    order: float = math.nan
    error: float = math.nan
    steps: int = 0


@dataclass(frozen=True)
class Marginal:
    """The law of the samples on Gaussian data against the exact marginal, on the interior interval.

    Args:
        steps: number of steps of the next two.
        mean: largest error of a mean, in standard deviations.
        variance: largest relative error of a variance.
        fit: order and constant of both together, the root of their mean square.
        affine: False where the sampler was not affine on Gaussian data, so that the rest means nothing.
    """

    steps: int
    mean: float
    variance: float
    fit: Fit
    affine: bool


@dataclass(frozen=True)
class OrderReport:
    """What :func:`measure_order` found.

    Args:
        name: the sampler.
        claimed: the order it states; None where it states none.
        observed: the order measured: the lowest over the problems, weak order where ``stochastic``; NaN where no order
            could be found.
        constant: error times the power of n, at the finest level that counts of the problem with the lowest order.
        stochastic: whether its own noise reaches its answer.
        fits: for each problem the steps, errors and levels behind the order.
        evaluations: calls of the model for n steps, (a, b) of a·n + b, counted.
        marginal: errors of mean and variance against the exact law.
        endpoint: its own schedule up to the end; None where it has none.
        roundoff: where rounding stops the error, in the precision of the release; None where it was not met.
        precision: dtype of the states.
    """

    name: str
    claimed: float | None
    observed: float
    constant: float
    stochastic: bool
    fits: Mapping[str, Fit]
    evaluations: tuple[float, float]
    marginal: Marginal
    endpoint: Endpoint | None
    roundoff: float | None
    precision: str

    @property
    def ok(self) -> bool:
        """Whether no claim is broken, because none to converge was made or the order is at most 0.25 below it."""
        if self.claimed is None or self.claimed == 0.0:
            return True
        return self.observed >= self.claimed - SHORTFALL  # False for NaN

    @property
    def verdict(self) -> str:
        """Return what the numbers say, in a sentence or a few."""
        return " ".join([_order(self), *_remarks(self)])

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON takes it; what is not finite is None."""
        found = _plain(asdict(self) | {"fits": {name: asdict(item) for name, item in self.fits.items()}})
        return {**found, "ok": self.ok, "verdict": self.verdict}

    def table(self) -> str:
        """Return the report as lines of text."""
        a, b = self.evaluations
        rows = [
            ("observed order", f"{self.observed:.2f}" + (" (weak)" if self.stochastic else "")),
            ("claimed order", "none" if self.claimed is None else f"{self.claimed:g}"),
            ("error constant", f"{self.constant:.3g}"),
            ("evaluations", f"{_multiple(a)}{b:+g}" if b else _multiple(a)),
        ]
        for name, item in self.fits.items():
            counted = f"{item.used[0]}..{item.used[-1]} of {item.steps[0]}..{item.steps[-1]}" if item.used else "none"
            rows.append((f"order, {name}", f"{item.order:.2f}, steps {counted}"))
        rows += _marginal_rows(self.marginal) + _endpoint_rows(self.endpoint)
        rows.append(("round-off", "not met" if self.roundoff is None else f"{self.roundoff:.1e}"))
        width = max(len(label) for label, _ in rows)
        lines = [f"  {label:<{width}}  {value}" for label, value in rows]
        return "\n".join([f"{self.name}: {self.verdict}", *lines])


def _multiple(a: float) -> str:
    return "n" if a == 1.0 else f"{a:g} n"


def _marginal_rows(found: Marginal) -> list[tuple[str, str]]:
    if not found.affine:
        return [("marginal", "not affine on Gaussian data")]
    at = f" at n = {found.steps}"
    return [("mean error", f"{found.mean:.1e}{at}"), ("variance error", f"{found.variance:.1e}{at}")]


def _endpoint_rows(found: Endpoint | None) -> list[tuple[str, str]]:
    if found is None:
        return []
    if found.refused:
        return [("at the end", found.refused)]
    if not found.finite:
        return [("at the end", "not finite")]
    end = "σ = 0" if found.sigma == 0.0 else f"σ = {found.sigma:.2g}"
    text = f"{end}, order {found.order:.2f}, error {found.error:.1e} at n = {found.steps}"
    return [("at the end", text)]


def _order(report: OrderReport) -> str:
    kind = "weak order" if report.stochastic else "order"
    if math.isnan(report.observed):
        exact = all(
            item.floor is not None and not any(math.isnan(e) for e in item.errors) for item in report.fits.values()
        )
        return "exact to rounding on these problems." if exact else "no order: too few finite errors above rounding."
    said = f"{kind} {report.observed:.2f}"
    if report.claimed is None:
        return f"{said}; no order is claimed."
    if report.claimed == 0.0:
        return f"{said}; to converge is not claimed."
    if not report.ok:
        return f"{said}, below the claimed {report.claimed:g}."
    if report.observed > report.claimed + 2 * SHORTFALL:
        return f"{said}, above the claimed {report.claimed:g}."
    return f"{said}, as claimed ({report.claimed:g})."


def _remarks(report: OrderReport) -> list[str]:
    """Return what else a reader should know."""
    found, end = [], report.endpoint
    if any(item.order == report.observed and not item.settled for item in report.fits.values()):
        found.append("The slopes have not settled at these numbers of steps.")
    if EQUAL in report.fits and report.fits[EQUAL].order > report.observed + 2 * SHORTFALL:
        found.append(f"Its coefficients are for equal steps: there the order is {report.fits[EQUAL].order:.2f}.")
    if not report.marginal.affine:
        found.append("It is not affine on Gaussian data: something is clipped or thresholded.")
    elif report.marginal.fit.order < SHORTFALL:
        found.append("Its marginals do not converge to the exact ones.")
    if end is not None and not end.refused:
        if not end.finite:
            found.append("Its own schedule ends in values that are not finite.")
        elif end.sigma > 0.0:
            found.append(f"Its own schedule stops at σ = {end.sigma:.2g}.")
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

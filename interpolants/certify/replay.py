"""Checking a certificate that somebody else wrote."""

from __future__ import annotations

import math
from typing import Any

import mpmath

from interpolants.certify.certificate import Certificate, Finding
from interpolants.certify.rounding import error_at
from interpolants.measure import Exact
from interpolants.schedule import Schedule
from interpolants.symbols import t
from solvers.errors import explain

__all__ = ["differences"]


def differences(certificate: Certificate) -> tuple[str, ...]:
    """Return how a certificate differs from what is found now; :meth:`Certificate.replay` says more."""
    from interpolants.certify import SECTIONS, certify

    schedule = Schedule.from_dict(certificate.schedule)
    names = {finding.name for finding in certificate.findings}
    sections = [name for name, (_, findings) in SECTIONS.items() if names & set(findings)]
    if not sections:
        remedy = "write it with Certificate.to_dict or sit certify --json-file"
        raise ValueError(explain("a certificate with findings", "none that is known", remedy))
    again = {finding.name: finding for finding in certify(schedule, sections=sections).findings}
    found = [f"{name}: missing from the certificate" for name in again if name not in names]
    for finding in certificate.findings:
        if finding.name in again:
            found += [f"{finding.name}: {text}" for text in _compare(schedule, finding, again[finding.name])]
        else:
            found.append(f"{finding.name}: no such property")
    return tuple(found)


def _compare(schedule: Schedule, stored: Finding, fresh: Finding) -> list[str]:
    found = []
    for attribute in ("statement", "required"):
        then, now = getattr(stored, attribute), getattr(fresh, attribute)
        if then != now:
            found.append(f"{attribute} was {then!r}, is {now!r}")
    # A proof that ran out of time elsewhere, or does so here, is a measurement of the same property.
    if stored.status != fresh.status and "fails" in (stored.status, fresh.status):
        found.append(f"status was {stored.status!r}, is {fresh.status!r} ({fresh.evidence})")
    elif stored.status == "proved" and fresh.status == "measured" and "no proof in" not in fresh.evidence:
        found.append(f"status was 'proved', is 'measured' ({fresh.evidence})")
    if (stored.witness is None) != (fresh.witness is None):
        found.append("its witness was added or removed")
    elif stored.witness is not None:
        found += _witness(schedule, stored.witness)
    if len(stored.details) != len(fresh.details):
        found.append(f"had {len(stored.details)} rows, has {len(fresh.details)}")
    for then, now in zip(stored.details, fresh.details):
        if not _same_row(then, now):
            found.append(f"row {then} is now {now}")
    return found


def _witness(schedule: Schedule, witness: dict[str, Any]) -> list[str]:
    """Compute the number again at its own time."""
    try:
        value = _value(schedule, witness)
        then = float(witness["value"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        return [f"its witness cannot be evaluated ({error})"]
    if witness["kind"] == "ulp":  # libraries differ in the last place
        same = abs(value - then) <= 1 + 0.25 * max(abs(value), abs(then))
    else:
        same = value == then or math.isclose(value, then, rel_tol=1e-12)
    return [] if same else [f"{witness['quantity']} at t = {witness['time']:g} was {then!r}, is {value!r}"]


def _value(schedule: Schedule, witness: dict[str, Any]) -> float:
    exact = Exact(schedule.expressions[witness["quantity"]], t, schedule.exact_domain)
    if witness["kind"] == "limit":
        return exact.ends[schedule.domain.index(witness["time"])].limit
    if witness["kind"] == "value":
        return float(mpmath.mpf(exact.at(witness["time"])))
    return error_at(schedule, witness["quantity"], witness["time"], witness["backend"], witness["dtype"])


def _same_row(then: dict[str, Any], now: dict[str, Any]) -> bool:
    """Compare two rows; what depends on the machine (ulp, and the time of the worst) only as far as it must agree."""
    if "ulp" in now:
        fixed: tuple[str, ...] = ("quantity", "backend", "dtype", "times")
        close = abs(then.get("ulp", math.inf) - now["ulp"]) <= 1 + 0.25 * now["ulp"]
        return close and all(then.get(key) == now[key] for key in fixed)
    if "residual" in now:
        fixed = ("source", "to", "residual")
        agree = (then.get("status") == "fails") == (now["status"] == "fails")
        return agree and all(then.get(key) == now[key] for key in fixed)
    return then == now

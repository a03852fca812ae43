"""What was found about one schedule: findings, their table and their JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from solvers.errors import closest, explain

__all__ = ["Certificate", "Finding"]

STATUSES = ("proved", "measured", "fails")


@dataclass(frozen=True)
class Finding:
    """One property of a schedule.

    Attributes:
        name: what :class:`Certificate` knows it by.
        statement: the property in words.
        status: "proved", "measured" or "fails".
        evidence: the proof, the bound, or the counter-example, for people.
        required: whether the library relies on it.
        witness: one number that a replay computes again: a ``kind`` ("value", "limit" or "ulp"), a ``quantity``, a
            ``time`` and the ``value`` found there.
        details: rows of the table behind a finding about many maps or quantities.
    """

    name: str
    statement: str
    status: str
    evidence: str
    required: bool = True
    witness: dict[str, Any] | None = None
    details: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Certificate:
    """Everything that was found about one schedule.

    ``certificate["continuity"]`` is the finding of that name; ``certificate.ok`` says that nothing required fails.
    """

    schedule: dict[str, Any]
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        return self.table()

    @property
    def ok(self) -> bool:
        """Whether no required property fails."""
        return all(finding.status != "fails" for finding in self.findings if finding.required)

    def __getitem__(self, name: str) -> Finding:
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(explain("a property", name, f"one of {', '.join(f.name for f in self.findings)}"))

    def failed(self, names: Iterable[str] = ()) -> tuple[Finding, ...]:
        """Return the findings that fail among ``names``, or among the required ones where no name is given.

        Raises:
            ValueError: a name that is not one of the findings.
        """
        wanted, known = tuple(names), [finding.name for finding in self.findings]
        for name in wanted:
            if name not in known:
                expected = f"a property, one of {', '.join(known)}"
                raise ValueError(explain(expected, repr(name), f"did you mean {closest(name, known)}?"))
        return tuple(f for f in self.findings if f.status == "fails" and (f.name in wanted if wanted else f.required))

    def to_dict(self) -> dict[str, Any]:
        """Return the certificate as JSON-ready data; the schedule in it rebuilds with ``Schedule.from_dict``."""
        return {"schedule": self.schedule, "ok": self.ok, "findings": [_plain(finding) for finding in self.findings]}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Certificate:
        """Rebuild what :meth:`to_dict` gave, believing none of it: :meth:`replay` checks it.

        Raises:
            ValueError: the data has not the shape of a certificate.
        """
        try:
            findings = tuple(
                Finding(**{**item, "details": tuple(item.get("details", ()))}) for item in data["findings"]
            )
            certificate = Certificate(dict(data["schedule"]), findings)
            sound = data["ok"] == certificate.ok and all(f.status in STATUSES for f in findings)
        except (KeyError, TypeError, AttributeError) as error:
            remedy = "write it with Certificate.to_dict or sit certify --json-file"
            raise ValueError(explain("a certificate as to_dict writes it", repr(error), remedy)) from error
        if not sound:
            received = f"ok = {data['ok']} and statuses {', '.join(sorted({str(f.status) for f in findings}))}"
            remedy = "certify the schedule again; this record was changed by hand"
            raise ValueError(explain("a certificate whose summary follows from its findings", received, remedy))
        return certificate

    def replay(self) -> tuple[str, ...]:
        """Rebuild the schedule, check every finding again, and return the differences; none means that it holds.

        What was proved is proved again (or, where time runs out, measured again); the number that each finding
        carries is computed again at its own time, with 60 digits.
        """
        from interpolants.certify.replay import differences

        return differences(self)

    def table(self) -> str:
        """Return the findings as an aligned text table."""
        rows = [
            (f.status if f.required or f.status != "fails" else "no", f.statement, f.evidence) for f in self.findings
        ]
        width = max(len(statement) for _, statement, _ in rows)
        head = f"{self.schedule['name']}: alpha = {self.schedule['alpha']}, sigma = {self.schedule['sigma']}"
        return "\n".join([head, *(f"  {status:<9} {statement:<{width}}  {why}" for status, statement, why in rows)])

    def details(self, name: str) -> str:
        """Return the rows behind a finding as an aligned text table, with the keys of the first as its head."""
        rows = self[name].details
        if not rows:
            return f"{name}: {self[name].evidence}"
        cells = [list(rows[0]), *([_short(value) for value in row.values()] for row in rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
        return "\n".join("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip() for row in cells)


def _plain(finding: Finding) -> dict[str, Any]:
    return {**asdict(finding), "details": [dict(row) for row in finding.details]}


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

"""``sit certify``: what holds of a schedule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import tyro

from backbone.cli.schedules import Names, schedules

__all__ = ["certify"]


def certify(
    names: Names = (),
    alpha: str | None = None,
    sigma: str | None = None,
    require: tuple[str, ...] = (),
    endpoints: bool = False,
    errors: bool = False,
    torch: bool = False,
    json_file: Annotated[Path | None, tyro.conf.arg(name="json", aliases=["--json-file"])] = None,
    replay: Path | None = None,
) -> int:
    """Prove or measure the properties of schedules, and print one table for each.

    Exits with status 1 where a required property fails, or where a replayed certificate does not hold.

    Args:
        names: built-in schedules; linear, gvp and vp when nothing is given.
        alpha: data coefficient of a schedule of your own, such as "1 - t**2".
        sigma: its noise coefficient, such as "t**2".
        require: the properties that must not fail, such as alpha_1; when absent, those the library relies on.
        endpoints: also print what every conversion and drift does at both ends.
        errors: also print the floating-point error of every quantity.
        torch: measure the errors in torch as well as in numpy.
        json_file: also write the certificates here.
        replay: check the certificates of this file again, instead of making new ones.
    """
    if replay is not None:
        return _replay(replay)
    from interpolants import certify as certify_schedule
    from interpolants.certify.ends import summary

    backends = ("numpy", "torch") if torch else ("numpy",)
    certificates = [certify_schedule(item, backends=backends) for item in schedules(names, alpha, sigma)]
    failed = [certificate.failed(require) for certificate in certificates]
    for certificate in certificates:
        print(certificate.table(), end="\n\n" if certificate is not certificates[-1] or endpoints or errors else "\n")
        if endpoints:
            print(summary(certificate["endpoints"].details), end="\n\n")
        if errors:
            print(certificate.details("rounding"), end="\n\n")
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps([certificate.to_dict() for certificate in certificates], indent=1) + "\n")
    return 1 if any(failed) else 0


def _replay(file: Path) -> int:
    """Check the certificates of a file; print what does not hold."""
    from interpolants.certify import Certificate
    from solvers.errors import explain

    data = json.loads(file.read_text())
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data) or not data:
        raise ValueError(
            explain("a list of certificates", type(data).__name__, "write it with sit certify --json FILE")
        )
    status = 0
    for item in data:
        certificate = Certificate.from_dict(item)
        differences = certificate.replay()
        print(f"{certificate.schedule['name']}: {len(differences) or 'no'} differences", *differences, sep="\n  ")
        status = 1 if differences else status
    return status

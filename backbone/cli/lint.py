"""``sit lint``: the true order of a sampler."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import tyro

__all__ = ["lint"]


def lint(
    name: Annotated[str | None, tyro.conf.Positional] = None,
    option: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    show: Annotated[bool, tyro.conf.arg(name="list")] = False,
    finest: int = 256,
    json_file: Annotated[Path | None, tyro.conf.arg(name="json", aliases=["--json-file"])] = None,
) -> int:
    """Measure the true order of a sampler, of this library or of another, and compare it with what it claims.

    Exits with status 1 where the order is more than 0.25 below the claim, or none could be measured.

    Args:
        name: source:name, such as diffusers:DPMSolverMultistepScheduler, k_diffusion:sample_dpmpp_2m or solvers:Heun.
        option: key=value for the sampler, such as solver_order=3; may be given again.
        show: list the samplers instead.
        finest: the largest number of steps.
        json_file: also write the report here.
    """
    from solvers.errors import explain
    from solvers.order import choices, find, measure_order

    if show:
        for source, names in choices().items():
            print(source, *names, sep="\n  ")
        return 0
    if name is None:
        remedy = "write sit lint diffusers:DDIMScheduler; sit lint --list shows all"
        raise ValueError(explain("the name of a sampler", "none", remedy))
    report = measure_order(find(name, option), finest=finest)
    print(report.table())
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(report.to_dict(), indent=1) + "\n")
    return 0 if report.ok else 1

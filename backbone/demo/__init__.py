"""The demonstration: certificates, transport costs, trajectories, and a SiT trained on handwritten digits."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

__all__ = ["run"]

STEPS = 1500
SAMPLES = 500


def run(out: Path, *, seed: int = 0, steps: int | None = None, samples: int | None = None) -> dict[str, Any]:
    """Run the demonstration and write everything under ``out``; return the report that ``report.json`` holds.

    Args:
        out: folder, made if absent.
        seed: of the training, the noise and the samples.
        steps: training steps, ≥ 1; 1500 when None.
        samples: images per sampler, a multiple of ten; 500 when None.
    """
    from interpolants import GVP, VP, Linear
    from solvers.errors import explain

    steps, samples = STEPS if steps is None else steps, SAMPLES if samples is None else samples
    if steps < 1 or samples < 10 or samples % 10:
        received = f"steps = {steps}, samples = {samples}"
        raise ValueError(explain("steps >= 1 and a multiple of ten as samples", received, "choose samples such as 500"))
    out.mkdir(parents=True, exist_ok=True)
    from backbone.demo import digits, theory

    started = time.perf_counter()
    schedules = (Linear(), GVP(), VP())
    report: dict[str, Any] = {"seed": seed, "certificates": theory.certificates(schedules, out)}
    print((out / "certificates.txt").read_text())
    report["transport"] = theory.transport_figure(schedules, out)
    report["trajectories"] = theory.trajectory_figures(schedules, out)
    report["digits"] = digits.run(out, seed=seed, steps=steps, samples=samples)
    report["seconds"] = round(time.perf_counter() - started, 1)
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    print(digits.table(report["digits"]))
    written = sorted(path.name for path in out.iterdir())
    print(f"\n{report['seconds']:.0f} s; {out}: {', '.join(written)}")
    return report

"""``sit demo``: everything once, on real input."""

from __future__ import annotations

from pathlib import Path

__all__ = ["demo"]


def demo(out: Path = Path("out/demo"), seed: int = 0, steps: int | None = None, samples: int | None = None) -> int:
    """Run everything once on real input: certificates, transport costs, trajectories, and a SiT trained on digits.

    Args:
        out: folder for the figures, certificates and report.json.
        seed: seed of every random draw.
        steps: training steps, instead of what the demonstration needs for its accuracy.
        samples: images to draw with each sampler, a multiple of ten.
    """
    from backbone.demo import run

    run(out, seed=seed, steps=steps, samples=samples)
    return 0

"""Tables of exact laws of samplers, computed while the documentation is built: ``sampler-laws``, ``sampler-grids``."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from docutils import nodes
from sphinx.application import Sphinx
from tables import Generated, code, table

from interpolants import Gaussian, Linear, Path, cosine_optimal, diffusion, optimal_grid, sampler_law
from solvers import (
    DDIM,
    Ancestral,
    Euler,
    EulerMaruyama,
    ExponentialEulerMaruyama,
    Heun,
    StochasticHeun,
    uniform,
)

ZERO, KL, SIGMA = diffusion.Zero(), diffusion.KL(), diffusion.Sigma()
SAMPLERS: tuple[tuple[Any, Any], ...] = (
    (Euler(), ZERO),
    (Heun(), ZERO),
    (DDIM(), ZERO),
    (EulerMaruyama(), SIGMA),
    (StochasticHeun(), SIGMA),
    (ExponentialEulerMaruyama(), SIGMA),
    (ExponentialEulerMaruyama(), KL),
    (Ancestral("small"), ZERO),
    (Ancestral("large"), ZERO),
)
VARIANCE = 0.25


class SamplerLaws(Generated):
    """Sampler by number of steps: W2 and KL from the exact law, on N(0, 1/4) under Linear, uniform steps."""

    sources: ClassVar[tuple[str, ...]] = ("interpolants/**/*.py", "solvers/**/*.py", "docs/sampler_tables.py")

    def build(self) -> list[nodes.Node]:
        path, counts, rows = Path(Linear(), Gaussian([0.0], VARIANCE)), (10, 50, 250), []
        for method, w in SAMPLERS:
            laws = [sampler_law(path, method, uniform(n), w) for n in counts]
            shown = [f"{law.wasserstein2():.1e}" for law in laws] + [f"{law.kl():.1e}" for law in laws]
            name = type(method).__name__ + (f"({method.variance!r})" if isinstance(method, Ancestral) else "()")
            rows.append((code(name), code(repr(w)) if w is not ZERO else "–", *shown))
        head = ("sampler", "w", *(f"W2, {n} steps" for n in counts), *(f"KL, {n} steps" for n in counts))
        return [table(head, rows)]


class SamplerGrids(Generated):
    """Grid by number of steps: KL of DDIM on two eigenvalues."""

    sources: ClassVar[tuple[str, ...]] = SamplerLaws.sources

    def build(self) -> list[nodes.Node]:
        small, large = 0.01, 1.0
        path = Path(Linear(), Gaussian(np.zeros(2), [small, large]))
        grids = {
            "uniform": uniform,
            "cosine, c = 0.01": lambda n: cosine_optimal(Linear(), n, small),
            "cosine, c = 0.1": lambda n: cosine_optimal(Linear(), n, 0.1),
            "cosine, c = 1": lambda n: cosine_optimal(Linear(), n, large),
            "optimal_grid": lambda n: optimal_grid(path, n),
        }
        counts = (5, 10, 20)
        rows = [
            (name, *(f"{sampler_law(path, DDIM(), make(n)).kl():.4f}" for n in counts)) for name, make in grids.items()
        ]
        return [table(("grid", *(f"{n} steps" for n in counts)), rows)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("sampler-laws", SamplerLaws)
    app.add_directive("sampler-grids", SamplerGrids)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Tables that are computed while the documentation is built, so that they cannot disagree with the code.

Directives without arguments: ``coefficients``, ``combinations``, ``conversions``, ``reverse-sdes``, ``weights``,
``methods`` and ``transport-costs``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import sympy
from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx
from sympy import Expr

import interpolants
import solvers
from interpolants import Noise, Score, Velocity, VPrediction, diffusion, reverse_sde, weights
from interpolants.dynamics import drift_combination
from interpolants.lowering import Lowered, lower
from interpolants.measure import Exact
from interpolants.prediction import PREDICTIONS, conversion
from interpolants.schedules import PAPER, by_name
from interpolants.symbols import t

ROOT = Path(__file__).resolve().parents[1]
SYMBOLS = {
    "alpha": r"\alpha",
    "sigma": r"\sigma",
    "d_alpha": r"\dot\alpha",
    "d_sigma": r"\dot\sigma",
    "ratio": r"\sigma/\alpha",
    "log_snr": r"\log(\alpha^2/\sigma^2)",
    "wronskian": "W",
    "lambda": r"\lambda",
    "kappa": r"\kappa",
}
CHOICES = (
    diffusion.Zero(),
    diffusion.KL(),
    diffusion.Sigma(),
    diffusion.SinSquared(),
    diffusion.Ramp(),
    diffusion.Decreasing(),
    diffusion.Constant(1),
)

Cell = nodes.Node | str


def code(text: str) -> nodes.literal:
    return nodes.literal(text, text)


def math(text: str) -> nodes.math:
    return nodes.math(text, text)


def table(head: Sequence[Cell], rows: Iterable[Sequence[Cell]]) -> nodes.table:
    """Return a table; a string is plain text, a node is itself."""
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    group += nodes.thead("", _row(head))
    body = nodes.tbody()
    body += [_row(row) for row in rows]
    group += body
    return nodes.table("", group)


def _row(cells: Sequence[Cell]) -> nodes.row:
    content = (nodes.Text(cell) if isinstance(cell, str) else cell for cell in cells)
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", item)) for item in content))


class Generated(Directive):
    """A directive whose page is read again when the code behind it changes."""

    sources: ClassVar[tuple[str, ...]] = ("interpolants/**/*.py",)

    def run(self) -> list[nodes.Node]:
        environment = self.state.document.settings.env
        for pattern in (*self.sources, "docs/tables.py"):
            for path in ROOT.glob(pattern):
                environment.note_dependency(str(path))
        return self.build()

    def build(self) -> list[nodes.Node]:
        raise NotImplementedError


def describe(lowered: Lowered) -> str:
    """Return the pieces of a lowered expression as text."""
    if len(lowered.forms) == 1:
        return lowered.forms[0][1]
    return "; ".join(f"{form} up to {stop:.4g}" for stop, form in lowered.forms)


def ends(times: Iterable[float]) -> str:
    """Return the ends at which something is infinite as text."""
    return ", ".join(f"t = {time:g}" for time in times) or "–"


def poles(expression: Expr, domain: tuple[Expr, Expr]) -> str:
    return ends(end.time for end in Exact(expression, t, domain).ends if end.is_pole)


class Coefficients(Generated):
    """Quantity by schedule: the form that is evaluated, its measured error and where it is infinite."""

    def build(self) -> list[nodes.Node]:
        schedules = [by_name(name) for name in PAPER]
        rows = []
        for quantity in schedules[0].expressions:
            for schedule in schedules:
                expression = schedule.expressions[quantity]
                lowered = schedule.quantity(quantity).lowered
                rows.append(
                    (
                        math(SYMBOLS.get(quantity, rf"\mathrm{{{quantity}}}")),
                        schedule.name,
                        code(describe(lowered)),
                        f"{lowered.error:.1f}",
                        poles(expression, schedule.exact_domain),
                    )
                )
        return [table(("quantity", "schedule", "form that is evaluated", "error, ulp", "infinite at"), rows)]


class Combinations(Generated):
    """The factors of x and of the prediction in conversions and drifts, each lowered as one expression."""

    def build(self) -> list[nodes.Node]:
        rows = []
        for schedule in (by_name(name) for name in PAPER):
            kl = diffusion.KL().of(schedule).expression
            cases = {
                f"{Velocity} to {to}": conversion(schedule, Velocity, to)
                for to in (Score, Noise, interpolants.Data, VPrediction)
            }
            cases |= {
                f"reverse drift, KL(), {given} model": drift_combination(schedule, given, kl, "the drift")
                for given in (Velocity, Noise)
            }
            for label, combination in cases.items():
                for name, expression in (("A", combination.A), ("B", combination.B)):
                    lowered = lower(expression, t, schedule.exact_domain)
                    where = poles(expression, schedule.exact_domain)
                    rows.append(
                        (schedule.name, label, name, code(describe(lowered)), f"{lowered.error:.1f}", where),
                    )
        return [table(("schedule", "combination", "factor", "form", "error, ulp", "infinite at"), rows)]


class Conversions(Generated):
    """From prediction to prediction: the ends at which the conversion is singular, per schedule."""

    def build(self) -> list[nodes.Node]:
        schedules = [by_name(name) for name in PAPER]
        rows = [
            (f"{source} → {to}", *(ends(conversion(schedule, source, to).poles) for schedule in schedules))
            for source in PREDICTIONS.values()
            for to in PREDICTIONS.values()
            if source is not to
        ]
        return [table(("conversion", *(schedule.name for schedule in schedules)), rows)]


class ReverseSDEs(Generated):
    """w by schedule: the ends at which the reverse SDE of a velocity or a noise model is infinite."""

    def build(self) -> list[nodes.Node]:
        schedules = [by_name(name) for name in PAPER]
        models = (Velocity, Noise)
        rows = []
        for choice in CHOICES:
            problems = (
                reverse_sde(schedule, lambda time, x: x, choice, prediction=model)
                for schedule in schedules
                for model in models
            )
            rows.append((code(repr(choice)), *(ends(pole.time for pole in problem.poles) for problem in problems)))
        head = [f"{schedule.name}, {model}" for schedule in schedules for model in models]
        return [table(("w", *head), rows)]


class Weights(Generated):
    """Weight by prediction: the factor of the prediction's own loss, simplified, for one schedule of the paper."""

    def build(self) -> list[nodes.Node]:
        choices = (weights.Velocity(), weights.Likelihood(), weights.Of(Noise), weights.Of(interpolants.Data))
        choices += (weights.EDM(1), weights.P2(1, 1))
        rows = []
        for schedule in (by_name("linear"), by_name("gvp")):
            for choice in choices:
                factors = (choice.expression(schedule, given) for given in PREDICTIONS.values())
                cells = (math(sympy.latex(sympy.factor(sympy.simplify(factor)))) for factor in factors)
                rows.append((schedule.name, code(repr(choice)), *cells))
        return [table(("schedule", "weight", *PREDICTIONS), rows)]


class Methods(Generated):
    """Every public method of solvers: what it solves, its order, and where it evaluates."""

    sources = ("solvers/**/*.py",)

    def build(self) -> list[nodes.Node]:
        public = [getattr(solvers, name) for name in solvers.__all__]
        # A wrapper, such as LastStep, has the facts of what is inside.
        methods = [item for item in public if hasattr(item, "order") and isinstance(item.solves, type)]
        rows = [
            (code(item.__name__), *self._facts(item())) for item in sorted(methods, key=lambda m: m.solves.__name__)
        ]
        return [table(("method", "solves", "order", "evaluations per step", "at fractions of the step"), rows)]

    @staticmethod
    def _facts(method: Any) -> tuple[str, str, str, str]:
        order = str(method.order)
        if method.stochastic:
            order = f"weak {method.weak_order}, strong {method.strong_order:g}"
        fractions = ", ".join(f"{node:g}" for node in method.nodes)
        return method.solves.__name__, order, str(method.evaluations), fractions


class TransportCosts(Generated):
    """The measures of N(0, c) for the paper's schedules, computed now."""

    def build(self) -> list[nodes.Node]:
        measures = (
            "transport_cost",
            "path_length",
            "straightness",
            "normalised_path_energy",
            "lipschitz",
            "wasserstein2",
        )
        rows = []
        for schedule in (by_name(name) for name in PAPER):
            for c in (0.01, 0.25, 4.0):
                path = interpolants.Path(schedule, interpolants.Gaussian([0.0], c))
                found = (getattr(interpolants, measure)(path) for measure in measures)
                rows.append((schedule.name, f"{c:g}", *(f"{value:.8g}" for value in found)))
        head = ("schedule", "c", "cost", "length", "defect", "path energy", "Lipschitz", math("W_2"))
        return [table(head, rows)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    for name, directive in (
        ("coefficients", Coefficients),
        ("combinations", Combinations),
        ("conversions", Conversions),
        ("reverse-sdes", ReverseSDEs),
        ("weights", Weights),
        ("methods", Methods),
        ("transport-costs", TransportCosts),
    ):
        app.add_directive(name, directive)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

r"""A schedule that is known by its values: α, σ, α̇ and σ̇ are four numbers at every time, not formulas.

They become opaque functions of t: sympy still works out conversions and dynamics and cancels what cancels, and four
measured numbers are put in. Limits at the ends are extrapolated; digits that a function loses stay lost.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from types import ModuleType
from typing import Any

import numpy as np
import sympy

from interpolants.autodiff import Floats
from interpolants.certify import Certificate, Finding
from interpolants.coefficient import Coefficient
from interpolants.measure import End
from interpolants.printing import PREAMBLE, statements
from interpolants.schedule import Schedule
from interpolants.symbols import t
from solvers.errors import explain

__all__ = ["MeasuredCoefficient", "MeasuredSchedule", "refuse"]

_NAMES = ("alpha", "sigma", "d_alpha", "d_sigma")
_ATOMS = (*sympy.symbols("a s", positive=True), *sympy.symbols("da ds", real=True))
_SHAKE = 1 + 1e-10 * np.asarray([[1.0], [-2.0], [3.0], [5.0]])
_LEGENDRE = np.polynomial.legendre.leggauss(6)


class MeasuredSchedule(Schedule):
    """A schedule of measured values.

    A subclass calls ``_open`` and gives the four numbers: ``_measure`` at float64 times of shape (n,), ``_arrays`` at
    torch tensors and traced jax arrays. ``derivatives`` says how α̇ and σ̇ are measured.
    """

    derivatives: str
    _measure: Callable[[Floats], tuple[Any, ...]]
    _arrays: Callable[[ModuleType, Any], tuple[Any, ...]]

    def _open(self, name: str, domain: Sequence[object]) -> None:
        def value(index: int, time: Any) -> float:
            times = np.asarray([float(time)])  # sympy tries the ends too, and takes an error for an answer
            refuse((times <= self.domain[0]) | (times >= self.domain[1]), times, "a time inside", "take the limit")
            return float(self._numbers(times)[index][0])

        def opaque(index: int, **more: Any) -> Any:
            about = {"nargs": 1, "_imp_": staticmethod(partial(value, index)), "is_real": True}
            return type(_NAMES[index], (sympy.Function,), about | more)

        rules: list[Any] = [lambda self, argindex=1, slope=f: slope(self.args[0]) for f in (opaque(2), opaque(3))]
        pair = [opaque(index, is_positive=True, fdiff=rule)(t) for index, rule in enumerate(rules)]
        Schedule.__init__(self, name, *pair, domain=domain, check=False)
        self._made = lru_cache(1024)(partial(MeasuredCoefficient, self))
        self._once = lru_cache(256)(lambda time, state: self._measure(np.full(1, time)))

    def _numbers(self, times: Floats) -> tuple[Any, ...]:
        """Return α, σ, α̇ and σ̇; a single time is kept, because one step of a solver has several coefficients."""
        return self._once(float(times[0]), self._state()) if len(times) == 1 else self._measure(times)

    def _state(self) -> tuple[float, ...]:
        """Return the numbers on which the functions depend, besides time."""
        return ()

    def coefficient(self, expression: sympy.Expr, label: str = "coefficient") -> Coefficient:
        """Return an expression of :data:`t` and this schedule's own functions as a coefficient."""
        return self._made(expression, label)

    def quantity(self, name: str) -> Coefficient:
        """Return one of ``expressions`` as a coefficient."""
        return self.coefficient(self.expressions[name], f"{name} of {self.name}")

    def to_dict(self) -> dict[str, Any]:
        """Refuse: a function has no text. A learned schedule travels by its ``state_dict``."""
        remedy = "write alpha and sigma with sympy, or save the state_dict() of a learned schedule"
        raise TypeError(explain("a schedule of expressions", f"{self.name}, made of functions", remedy))

    def _certificate(self) -> Certificate:
        described = {"name": self.name, "alpha": "a function", "sigma": "a function", "derivatives": self.derivatives}
        return Certificate(described, tuple(_findings(self)))


class MeasuredCoefficient(Coefficient):
    """An expression of t, α, σ, α̇ and σ̇ that is evaluated from the four numbers."""

    def __init__(self, schedule: MeasuredSchedule, expression: sympy.Expr, label: str):
        super().__init__(expression, t, schedule.exact_domain, label, 0.0)
        self._form = expression.xreplace({schedule.expressions[name]: atom for name, atom in zip(_NAMES, _ATOMS)})
        self.schedule = schedule
        self._formulas: dict[str, Any] = {}
        self._seen: tuple[tuple[float, ...], tuple[End, ...]] | None = None

    @property
    def lowered(self) -> Any:
        """Refuse: functions have no source."""
        remedy = "write alpha and sigma with sympy"
        raise TypeError(explain("a schedule of expressions", f"{self.schedule.name}, made of functions", remedy))

    @property
    def ends(self) -> tuple[End, ...]:
        """Limit and order at the two ends, read off 17 interior times on either side."""
        state = self.schedule._state()
        if self._seen is None or self._seen[0] != state:
            (lo, hi), both, steps = self.domain, np.asarray(self.domain), 2.0 ** -np.arange(6, 23)
            times = np.concatenate([lo + (hi - lo) * steps, hi - (hi - lo) * steps])
            with np.errstate(all="ignore"):
                near, at = np.asarray(self.schedule._numbers(times)), self.schedule._numbers(both)
                limits = [np.asarray([end.limit for end in _ends(both, *pair)]) for pair in zip(near, at)]
                values, shaken = (self._formula(np)(times, *numbers) for numbers in (near, near * _SHAKE))
                values = np.where(abs(shaken - values) > abs(values), 0.0, values)  # round-off of what cancels
                self._seen = state, tuple(_ends(both, values, self._formula(np)(both, *limits)))
        return self._seen[1]

    def _formula(self, module: ModuleType) -> Any:
        """Return the arithmetic as a function of t, α, σ, α̇ and σ̇, arrays of ``module``."""
        if module.__name__ not in self._formulas:
            lines, result = statements(self._form, t, "x")
            lines = ["def f(t, a, s, da, ds):", *lines, f"return {result} + xp.zeros_like(t)"]
            exec(PREAMBLE["array"] + "\n" + "\n    ".join(lines), scope := {"xp": module})  # our text, never a user's
            self._formulas[module.__name__] = scope["f"]
        return self._formulas[module.__name__]

    def _function(self, module: ModuleType) -> Callable[[Any], Any]:
        if module.__name__ in ("numpy", "math"):
            return self._on_host
        return partial(self._on_tensor if module.__name__ == "torch" else self._on_jax, module)

    def _on_host(self, time: Any) -> Any:
        wide = np.asarray(time).reshape(-1).astype(np.float64)
        at_lo, at_hi = (wide == end for end in self.domain)
        inside = np.where(at_lo | at_hi, 0.5 * sum(self.domain), wide)
        with np.errstate(all="ignore"):
            values = self._formula(np)(inside, *self.schedule._numbers(inside))
            if (at_lo | at_hi).any():
                values = np.where(at_lo, self.ends[0].limit, np.where(at_hi, self.ends[1].limit, values))
            return values.reshape(np.shape(time)).astype(np.asarray(time).dtype)[()]

    def _on_tensor(self, torch: ModuleType, time: Any) -> Any:
        return self._traced(torch, time.double()).to(time.dtype)

    def _on_jax(self, numpy: ModuleType, time: Any) -> Any:
        if isinstance(time, sys.modules["jax"].core.Tracer):
            return self._traced(numpy, time)
        return numpy.asarray(self._on_host(np.asarray(time)))

    def _traced(self, module: ModuleType, time: Any) -> Any:
        """Evaluate with derivatives; where the formula fails at an end its limit stands, a constant."""
        at_lo, at_hi = (time == end for end in self.domain)
        values = self._formula(module)(time, *self.schedule._arrays(module, time))
        if module.__name__ == "torch" and not bool((at_lo | at_hi).any()):
            return values
        first, last = (end.limit + module.zeros_like(time) for end in self.ends)
        limits = module.where(at_lo, first, last)
        fits = module.isfinite(limits) & module.isclose(values, limits, rtol=1e-6, atol=0.0)
        fails = (at_lo | at_hi) & ~fits
        inside = module.where(fails, 0.5 * sum(self.domain), time)
        return module.where(fails, limits, self._formula(module)(inside, *self.schedule._arrays(module, inside)))


def _ends(both: Floats, near: Floats, direct: Floats) -> Iterator[End]:
    """Classify both ends by values at halving distances; ``direct``, the value at the end, is taken where it fits."""
    for time, values, value in zip(both.tolist(), np.split(near, 2), direct):
        refuse(np.isnan(values), values, f"numbers, not NaN, near t = {time:g}", "look at the functions there")
        steps, sign = np.diff(values), float(np.sign(values[-1]))
        if not values.all() or not np.isfinite(values).all():
            yield End(time, float(values[-1]), 0.0)
        elif abs(steps[-1]) > 1e-6 * abs(values[-1]) and abs(steps[-1] / steps[-6] - 1) < 0.01:
            yield End(time, float(np.sign(steps[-1])) * np.inf, 0.0)  # a logarithm grows by equal steps
        elif abs(order := _extrapolate(np.log2(abs(values[:-1] / values[1:])))) > 0.02:
            order = round(12 * order) / 12 if abs(12 * order - round(12 * order)) < 0.02 else round(order, 4)
            yield End(time, 0.0 if order > 0 else sign * np.inf, order)
        else:
            fits = abs(value - (limit := _extrapolate(values))) <= 1e-3 * abs(limit)
            yield End(time, float(value) if fits else limit, 0.0)


def _extrapolate(values: Floats) -> float:
    """Apply Richardson's extrapolation in roots of the distance, and stop where neighbours agree best."""
    for power in (0.5, 1.0, 1.5, 2.0, 2.5, 3.0):
        values = values[1:] + np.diff(values) / (2**power - 1)
    return float(values[1:][abs(np.diff(values)).argmin()])


def refuse(bad: Any, times: Floats, expected: str, remedy: str) -> None:
    """Raise ValueError with the first of ``times`` at which ``bad`` holds."""
    if np.any(bad):
        raise ValueError(explain(expected, f"a violation at t = {times[np.argmax(bad)]:.4g}", remedy))


def _findings(schedule: MeasuredSchedule) -> Iterator[Finding]:
    """Measure what :func:`certify` proves; the transport equations hold identically where the derivatives are right."""

    def finding(name: str, statement: str, good: bool, evidence: str, required: bool = True) -> Finding:
        return Finding(name, statement, "measured" if good else "fails", evidence, required)

    for what, which, wanted in (("alpha", 0, 1), ("sigma", 0, 0), ("alpha", 1, 0), ("sigma", 1, 1)):
        limit, end = schedule.quantity(what).ends[which].limit, schedule.domain[which]
        good, evidence = abs(limit - wanted) < 1e-9, f"{what}({end:g}) = {limit:.6g}"
        yield finding(f"{what}_{which}", f"{what} = {wanted} at t = {end:g}", good, evidence, not which)
    times = np.linspace(*schedule.domain, 402)[1:-1]
    for what in ("alpha", "sigma", "kappa"):
        values = schedule.quantity(what)(times)
        evidence = f"smallest value {np.min(values):.3g} at t = {times[np.argmin(values)]:.3g}, {len(times)} times"
        yield finding(f"{what}_positive", f"{what} > 0 inside", bool(np.min(values) > 0), evidence)
    off = _slope_error(schedule)
    for what, statement in (("continuity", "continuity equation"), ("fokker_planck", "Fokker-Planck equation")):
        evidence = f"integrals of the derivatives off by {off:.2g}"
        yield finding(what, f"{statement}, through d_alpha and d_sigma", off < 1e-6, evidence)
    yield finding("rounding", "how d_alpha and d_sigma are found", True, schedule.derivatives, False)


def _slope_error(schedule: MeasuredSchedule) -> float:
    """Compare differences of α and σ over 400 intervals with integrals of α̇ and σ̇; the outermost 16 are left out."""
    (lo, hi), (nodes, weights) = schedule.domain, _LEGENDRE
    edges = lo + (hi - lo) * np.sin(0.5 * np.pi * np.linspace(0, 1, 401)[8:-8]) ** 2
    half, middle = 0.5 * np.diff(edges), 0.5 * (edges[1:] + edges[:-1])
    inner = schedule._numbers((middle + half * nodes[:, None]).ravel())[2:]
    worst = 0.0
    for values, slopes in zip(schedule._numbers(edges)[:2], inner):
        mean = 0.5 * weights @ np.reshape(slopes, (len(nodes), -1))
        worst = max(worst, float(np.max(abs(mean - np.diff(values) / (2 * half)) / (1 + abs(mean)))))
    return worst

r"""Schedules from functions of time: :math:`\alpha` and :math:`\sigma` are known by their values, not by a formula.

α, σ, α̇ and σ̇ become opaque functions of t: sympy still works out conversions and dynamics and cancels what cancels,
and four measured numbers are put in. Limits at the ends are extrapolated; digits that a function loses stay lost.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import sympy
from numpy.polynomial import chebyshev

from interpolants.certify import Certificate, Finding
from interpolants.coefficient import Coefficient
from interpolants.measure import End
from interpolants.printing import PREAMBLE, statements
from interpolants.schedule import Schedule
from interpolants.symbols import canonical, t
from solvers.errors import explain

__all__ = ["CallableSchedule", "MeasuredSchedule", "certify_callable", "from_callables"]

Call = Callable[[Any], Any]
Floats = np.ndarray[Any, np.dtype[np.float64]]
_NAMES = ("alpha", "sigma", "d_alpha", "d_sigma")
_ATOMS = (*sympy.symbols("a s", positive=True), *sympy.symbols("da ds", real=True))
_SHAKE = 1 + 1e-10 * np.asarray([[1.0], [-2.0], [3.0], [5.0]])
_NODES = np.cos(np.pi * (np.arange(9) + 0.5) / 9)
_SERIES = np.cos(np.outer(np.arange(9), np.arccos(_NODES))) * np.where(np.arange(9) > 0, 2, 1)[:, None] / 9


def from_callables(
    alpha: Call, sigma: Call, *, name: str = "callables", domain: tuple[Any, Any] = (0.0, 1.0), check: bool = True
) -> Schedule:
    r"""Return the schedule :math:`x_t = \alpha_t x_{\mathrm{data}} + \sigma_t\varepsilon` of two functions of time.

    Functions written with operators (and sympy's functions) are traced to an ordinary schedule. Others are measured,
    with derivatives by forward-mode autodiff (torch), a complex step, or finite differences within a stated error.

    Args:
        alpha: :math:`\alpha_t` of a number, a numpy array or a torch tensor, elementwise; 1 at the start.
        sigma: :math:`\sigma_t`, likewise; 0 at the start.
        name: what reports and figures call it.
        domain: the times on which it is defined, data first.
        check: refuse other values than 1 and 0 at the start, values ≤ 0 inside, and a log-SNR that does not decrease.

    Raises:
        TypeError, ValueError: not callable with any kind of number; NaN; not of the shape of the times; a failed check.
    """
    if not (callable(alpha) and callable(sigma)):
        raise TypeError(explain("two functions of time", f"{alpha!r} and {sigma!r}", "pass expressions to Schedule"))
    traced = [_trace(function, float(domain[0]), float(domain[1])) for function in (alpha, sigma)]
    if None not in traced:
        return Schedule(name, *traced, domain=domain, check=check)
    return CallableSchedule(alpha, sigma, name=name, domain=domain, check=check)


def _trace(function: Call, lo: float, hi: float) -> sympy.Expr | None:
    """Return the expression that ``function`` is, or None; the two must agree on numbers."""
    try:
        expression = canonical(function(t), "a traced function")
        gaps = [abs(float(expression.subs(t, x)) - float(function(x))) for x in np.linspace(lo, hi, 9)[1:-1].tolist()]
    except Exception:  # a function that was not written for a symbol may fail in any way
        return None
    return expression if max(gaps) < 1e-9 else None


class MeasuredSchedule(Schedule):
    """A schedule of measured values; a subclass calls ``_open`` and gives ``_numbers`` at arrays and ``_tensors``."""

    derivatives: str
    trainable = False
    _numbers: Callable[[Floats], tuple[Any, ...]]
    _tensors: Callable[[Any], tuple[Any, ...]]

    def _open(self, name: str, domain: tuple[object, object]) -> None:
        def value(index: int, time: Any) -> float:
            times = np.asarray([float(time)])  # sympy tries the ends too, and takes an error for an answer
            _refuse((times <= self.domain[0]) | (times >= self.domain[1]), times, "a time inside", "take the limit")
            return float(self._numbers(times)[index][0])

        def opaque(index: int, **more: Any) -> Any:
            about = {"nargs": 1, "_imp_": staticmethod(partial(value, index)), "is_real": True}
            return type(_NAMES[index], (sympy.Function,), about | more)

        rules: list[Any] = [lambda self, argindex=1, slope=f: slope(self.args[0]) for f in (opaque(2), opaque(3))]
        pair = [opaque(index, is_positive=True, fdiff=rule)(t) for index, rule in enumerate(rules)]
        Schedule.__init__(self, name, *pair, domain=domain, check=False)
        self._made = cache(partial(MeasuredCoefficient, self))

    def coefficient(self, expression: sympy.Expr, label: str = "coefficient") -> Coefficient:
        """Return an expression of :data:`t` and this schedule's own functions as a coefficient."""
        return self._made(expression, label)

    def quantity(self, name: str) -> Coefficient:
        """Return one of ``expressions`` as a coefficient."""
        return self.coefficient(self.expressions[name], f"{name} of {self.name}")


class MeasuredCoefficient(Coefficient):
    """An expression of t, α, σ, α̇ and σ̇ that is evaluated from the four numbers."""

    def __init__(self, schedule: MeasuredSchedule, expression: sympy.Expr, label: str):
        super().__init__(expression, t, schedule.exact_domain, label, 0.0)
        form = expression.xreplace({schedule.expressions[name]: atom for name, atom in zip(_NAMES, _ATOMS)})
        self._form = sympy.factor(sympy.together(form)) if form.is_rational_function(*_ATOMS) else form
        self.schedule, self._seen = schedule, tuple[End, ...]()
        self._formulas: dict[str, Any] = {}

    def formula(self, module: ModuleType) -> Any:
        """Return the arithmetic as a function of t, α, σ, α̇ and σ̇, arrays of ``module``."""
        if module.__name__ not in self._formulas:
            lines, result = statements(self._form, t, "x")
            lines = ["def f(t, a, s, da, ds):", *lines, f"return {result} + xp.zeros_like(t)"]
            exec(PREAMBLE["array"] + "\n" + "\n    ".join(lines), scope := {"xp": module})  # our text, never a user's
            self._formulas[module.__name__] = scope["f"]
        return self._formulas[module.__name__]

    @property
    def lowered(self) -> Any:
        """Refuse: functions have no source."""
        raise TypeError(explain("expressions", f"the functions of {self.schedule.name}", "write them with sympy"))

    @property
    def ends(self) -> tuple[End, ...]:
        """Limit and order at the two ends, read off 17 interior times on either side."""
        if self.schedule.trainable or not self._seen:
            (lo, hi), both, steps = self.domain, np.asarray(self.domain), 2.0 ** -np.arange(6, 23)
            times = np.concatenate([lo + (hi - lo) * steps, hi - (hi - lo) * steps])
            with np.errstate(all="ignore"):
                near, at = np.asarray(self.schedule._numbers(times)), self.schedule._numbers(both)
                limits = [np.asarray([end.limit for end in _ends(both, *pair)]) for pair in zip(near, at)]
                values, shaken = (self.formula(np)(times, *numbers) for numbers in (near, near * _SHAKE))
                values = np.where(abs(shaken - values) > abs(values), 0.0, values)  # round-off of what cancels
                self._seen = tuple(_ends(both, values, self.formula(np)(both, *limits)))
        return self._seen

    def _function(self, module: ModuleType) -> Call:
        if module.__name__ in ("numpy", "math"):
            return self._of_array
        if module.__name__ != "torch":
            return lambda time: module.asarray(self._of_array(np.asarray(time)))
        return partial(import_module("interpolants.learned").of_tensor, self)

    def _of_array(self, time: Any) -> Any:
        wide = np.asarray(time).reshape(-1).astype(np.float64)
        at_lo, at_hi = (wide == end for end in self.domain)
        inside = np.where(at_lo | at_hi, 0.5 * sum(self.domain), wide)
        with np.errstate(all="ignore"):
            values = self.formula(np)(inside, *self.schedule._numbers(inside))
            if (at_lo | at_hi).any():
                values = np.where(at_lo, self.ends[0].limit, np.where(at_hi, self.ends[1].limit, values))
            return values.reshape(np.shape(time)).astype(np.asarray(time).dtype)[()]


def _ends(both: Floats, near: Floats, direct: Floats) -> Iterator[End]:
    """Classify both ends by values at halving distances; ``direct``, the value at the end, is taken where it fits."""
    for time, values, value in zip(both.tolist(), np.split(near, 2), direct):
        _refuse(np.isnan(values), values, f"numbers, not NaN, near t = {time:g}", "look at the functions there")
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


def _refuse(bad: Any, times: Floats, expected: str, remedy: str) -> None:
    if bad.any():
        raise ValueError(explain(expected, f"a violation at t = {times[bad.argmax()]:.4g}", remedy))


class CallableSchedule(MeasuredSchedule):
    """A schedule of two functions, see :func:`from_callables`; ``derivatives`` says how α̇ and σ̇ are measured."""

    def __init__(self, alpha: Call, sigma: Call, *, name: str = "callables", domain: Any = (0, 1), check: bool = True):
        self._open(name, domain)
        self._parts = parts = [_Part(alpha, "alpha", self.domain), _Part(sigma, "sigma", self.domain)]
        self.derivatives = " and ".join(dict.fromkeys(part.how for part in parts))
        times = np.linspace(*self.domain, 130)
        alphas, sigmas = (part.value(times) for part in parts)
        for what, values, wanted in (("alpha", alphas, 1), ("sigma", sigmas, 0)) if check else ():
            start = f"{what} = {wanted}, not {values[0]:.6g}"
            _refuse(abs(values[:1] - wanted) > 1e-9, times, start, "normalise it, or pass check=False")
            _refuse(values[1:-1] <= 0, times[1:-1], f"{what} > 0 inside the domain", f"choose a positive {what}")
        bad = check & (np.diff(sigmas[1:-1] / alphas[1:-1]) <= 0)
        _refuse(bad, times[2:-1], "a decreasing log-SNR", "choose alpha/sigma strictly decreasing in t")

    def _numbers(self, times: Floats) -> tuple[Any, ...]:
        return *(part.value(times) for part in self._parts), *(part.slope(times) for part in self._parts)

    def _tensors(self, times: Any) -> tuple[Any, ...]:
        of_part = import_module("interpolants.learned")._of_part
        values, slopes = zip(*(of_part(part, times) for part in self._parts))
        return *values, *slopes


class _Part:
    """One function of time: with what it can be called, and how its slope is measured."""

    def __init__(self, function: Call, what: str, domain: tuple[float, float]):
        self.function, self.what, self.domain = function, what, domain
        times = domain[0] + np.asarray([0.23, 0.5, 0.71, 0.94]) * (domain[1] - domain[0])
        calls: list[Call] = [function, np.vectorize(function, otypes=[float])]
        ways: dict[str, Call] = {"a complex step": self._complex_step}
        if "torch" in sys.modules:
            learned = import_module("interpolants.learned")  # which needs torch: only where the caller has it already
            calls.append(partial(learned._call_with_tensor, function))
            ways["forward-mode autodiff"] = partial(learned._slope_of_tensor, function)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            got = [_attempt(call, times) for call in calls]
            fits = [not isinstance(value, str) and value.shape in ((), times.shape) for value in got]
            if all(fits[:2]) and not np.allclose(got[0], got[1], equal_nan=True):
                fits[0] = False  # it mixes the times, in a mean say
            if not any(fits):
                received = "; ".join(value if isinstance(value, str) else f"shape {value.shape}" for value in got)
                text = explain(f"{what} of shape (n,) at times (n,)", received, "make it elementwise")
                raise TypeError(text) if isinstance(got[0], str) else ValueError(text)
            self.call = calls[fits.index(True)]
            slopes, errors = _difference(self.value, times, domain)
            self.how = f"finite differences within {np.max(errors / (1 + abs(slopes))):.0e}"
            self.slope: Call = lambda times: _difference(self.value, times, domain)[0]
            for how, slope in ways.items():
                found = _attempt(slope, times)
                if not isinstance(found, str) and np.all(abs(found - slopes) <= 10 * errors + 1e-7):
                    self.how, self.slope = how, slope

    def value(self, times: Floats) -> Floats:
        """Return the values at times of shape (n,)."""
        with np.errstate(all="ignore"):
            values = np.broadcast_to(np.asarray(self.call(times), np.float64), times.shape)
        _refuse(np.isnan(values), times, f"numbers, not NaN, from {self.what}", "look at the function there")
        return values

    def _complex_step(self, times: Floats) -> Floats:
        step = 1e-20 * np.maximum(np.minimum(times - self.domain[0], self.domain[1] - times), 1e-200)
        return np.asarray(np.imag(self.function(times + 1j * step)) / step)


def _attempt(call: Call, times: Floats) -> Any:
    try:
        return np.asarray(call(times), np.float64)
    except Exception as error:  # not a function of such arguments
        return repr(error)


def _difference(value: Call, times: Floats, domain: tuple[float, float]) -> tuple[Floats, Floats]:
    """Differentiate Chebyshev interpolants of several widths inside the domain; keep the one with the least error."""
    (lo, hi), best, least = domain, np.nan * times, np.inf + 0 * times
    for h in (np.minimum(times - lo, hi - times) / 16, *(0 * times + (hi - lo) * 2.0**-k for k in (2, 4, 7, 10))):
        centre = np.clip(times, lo + h, hi - h)
        values = np.reshape(value((centre + h * _NODES[:, None]).ravel()), (9, -1))
        series, size = _SERIES @ values, abs(values).max(0)
        with np.errstate(all="ignore"):
            slope = chebyshev.chebval((times - centre) / h, chebyshev.chebder(series), tensor=False) / h
            last, before = abs(series[7:]).sum(0), abs(series[5:7]).sum(0)
            rough = np.where(last > 0.1 * before + 1e-14 * size, 1e6, 64.0)  # a singularity: the series tells little
            error = rough * (last + 2.3e-16 * size) / h
        best, least = np.where(error < least, slope, best), np.fmin(error, least)
    return best, least


def certify_callable(schedule: MeasuredSchedule) -> Certificate:
    """Measure what :func:`certify` proves; transport equations hold identically where the derivatives are right."""
    found: list[tuple[str, str, bool, str, bool]] = []
    for what, which, wanted in (("alpha", 0, 1), ("sigma", 0, 0), ("alpha", 1, 0), ("sigma", 1, 1)):
        end, statement = schedule.quantity(what).ends[which], f"{what} = {wanted} at t = {schedule.domain[which]:g}"
        found.append((f"{what}_{which}", statement, abs(end.limit - wanted) < 1e-9, f"{end.limit:.6g}", not which))
    times = np.linspace(*schedule.domain, 402)[1:-1]
    for what in ("alpha", "sigma", "kappa"):
        least = float(np.min(schedule.quantity(what)(times)))
        found.append((f"{what}_positive", f"{what} > 0 inside", least > 0, f"smallest value {least:.3g}", True))
    slopes = (_difference(schedule.quantity(what), times, schedule.domain)[0] for what in ("alpha", "sigma"))
    off = max(float(np.max(abs(a - b) / (1 + abs(b)))) for a, b in zip(schedule._numbers(times)[2:], slopes))
    for what in ("continuity", "fokker_planck"):
        found.append((what, f"{what} equation, by the derivatives", off < 1e-6, f"off differences by {off:.2g}", True))
    found.append(("rounding", "derivatives of alpha and sigma", True, schedule.derivatives, False))
    findings = (Finding(n, s, "measured" if good else "fails", why, needed) for n, s, good, why, needed in found)
    return Certificate(schedule.to_dict(), tuple(findings))

r"""Schedules from functions of time: traced to expressions where that can be, measured where it cannot."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import sympy
from numpy.polynomial import chebyshev

from interpolants.autodiff import Floats, Library, loaded
from interpolants.measured import MeasuredSchedule, refuse
from interpolants.schedule import Schedule
from interpolants.symbols import canonical, t
from solvers.errors import explain

__all__ = ["CallableSchedule", "from_callables"]

Call = Callable[[Any], Any]
_NODES = np.cos(np.pi * (np.arange(9) + 0.5) / 9)
_SERIES = np.cos(np.outer(np.arange(9), np.arccos(_NODES))) * np.where(np.arange(9) > 0, 2, 1)[:, None] / 9


def from_callables(alpha: Call, sigma: Call, *, name: str, domain: Sequence[Any], check: bool) -> Schedule:
    """Return the schedule of two functions of time, see :meth:`Schedule.from_callables`."""
    if not (callable(alpha) and callable(sigma)):
        raise TypeError(explain("two functions of time", f"{alpha!r} and {sigma!r}", "pass expressions to Schedule"))
    ends = [float(end) for end in domain]
    if len(ends) != 2 or not -np.inf < ends[0] < ends[1] < np.inf:
        raise ValueError(explain("a domain of two times, data first", repr(domain), "write domain=(0, 1)"))
    traced = [_trace(function, *ends) for function in (alpha, sigma)]
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


class CallableSchedule(MeasuredSchedule):
    """A schedule of two functions; ``derivatives`` says how α̇ and σ̇ are measured."""

    def __init__(self, alpha: Call, sigma: Call, *, name: str, domain: Sequence[Any] = (0, 1), check: bool = True):
        self._open(name, domain)
        self._parts = parts = [_Part(alpha, "alpha", self.domain), _Part(sigma, "sigma", self.domain)]
        self.derivatives = " and ".join(dict.fromkeys(part.how for part in parts))
        if check:
            times = np.linspace(*self.domain, 130)
            _check(parts[0].value(times), parts[1].value(times), times)

    def _measure(self, times: Floats) -> tuple[Any, ...]:
        return *(part.value(times) for part in self._parts), *(part.slope(times) for part in self._parts)

    def _arrays(self, module: ModuleType, times: Any) -> tuple[Any, ...]:
        values, slopes = zip(*(part.pair(module, times) for part in self._parts))
        return *values, *slopes


def _check(alphas: Floats, sigmas: Floats, times: Floats) -> None:
    """Refuse a pair that is not a path from data to noise."""
    for what, values, wanted in (("alpha", alphas, 1), ("sigma", sigmas, 0)):
        start = f"{what} = {wanted}, not {values[0]:.6g}"
        refuse(abs(values[:1] - wanted) > 1e-9, times, start, "normalise it, or pass check=False")
        refuse(values[1:-1] <= 0, times[1:-1], f"{what} > 0 inside the domain", f"choose a positive {what}")
    falls = np.diff(sigmas[1:-1] / alphas[1:-1]) > 0
    refuse(~falls, times[2:-1], "a decreasing log-SNR", "choose alpha/sigma strictly decreasing in t")


class _Part:
    """One function of time: with what it can be called, and how its slope is measured."""

    def __init__(self, function: Call, what: str, domain: tuple[float, float]):
        self.function, self.what, self.domain = function, what, domain
        self.library: Library | None = None
        times = domain[0] + np.asarray([0.23, 0.5, 0.71, 0.94]) * (domain[1] - domain[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.call = self._choose_call(times)
            self.slope, self.how = self._choose_slope(times)

    def value(self, times: Floats) -> Floats:
        """Return the values at times of shape (n,)."""
        with np.errstate(all="ignore"):
            values = np.broadcast_to(np.asarray(self.call(times), np.float64), times.shape)
        refuse(np.isnan(values), times, f"numbers, not NaN, from {self.what}", "look at the function there")
        return values

    def pair(self, module: ModuleType, times: Any) -> tuple[Any, Any]:
        """Return values and slopes at torch tensors or traced jax arrays."""
        if self.library is not None and module.__name__.startswith(self.library.name):
            return self.library.pair(self.function, times)
        if module.__name__ != "torch" or times.requires_grad:
            received = f"a function of numbers, differentiated by {self.how}"
            remedy = "write the function with that library, or pass times that are neither traced nor require gradients"
            raise ValueError(explain(f"{self.what} in {module.__name__}, to be differentiated", received, remedy))
        host = times.cpu().numpy().reshape(-1)
        value, slope = (times.new_tensor(call(host)).reshape(times.shape) for call in (self.value, self.slope))
        return value, slope

    def _choose_call(self, times: Floats) -> Call:
        """Prefer numpy's arrays, then one number at a time, then the arrays of a library."""

        def direct(time: Any) -> Any:
            values = self.function(time)
            if type(values).__module__.startswith("jax"):
                raise TypeError("jax would answer in single precision")
            return values

        calls: list[Call] = [direct, np.vectorize(direct, otypes=[float])]
        calls += [partial(library.value, self.function) for library in loaded()]
        got = [_attempt(call, times) for call in calls]
        fits = [not isinstance(value, str) and value.shape in ((), times.shape) for value in got]
        if all(fits[:2]) and not np.allclose(got[0], got[1], equal_nan=True):
            fits[0] = False  # it mixes the times, in a mean say
        if any(fits):
            return calls[fits.index(True)]
        received = "; ".join(value if isinstance(value, str) else f"shape {value.shape}" for value in got)
        text = explain(f"{self.what} of shape (n,) at times (n,)", received, "make it elementwise")
        raise TypeError(text) if isinstance(got[0], str) else ValueError(text)

    def _choose_slope(self, times: Floats) -> tuple[Call, str]:
        """Prefer autodiff, then a complex step, where they agree with finite differences within their error."""
        slopes, errors = _difference(self.value, times, self.domain)
        ways: list[tuple[Library | None, Call]] = [
            (library, partial(library.slope, self.function)) for library in loaded()
        ]
        for library, slope in (*ways, (None, self._complex_step)):
            found = _attempt(slope, times)
            if not isinstance(found, str) and np.all(abs(found - slopes) <= 10 * errors + 1e-7):
                self.library = library
                return slope, "a complex step" if library is None else "forward-mode autodiff"
        within = np.max(errors / (1 + abs(slopes)))
        return lambda times: _difference(self.value, times, self.domain)[0], f"finite differences within {within:.0e}"

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
        series = _SERIES @ values
        with np.errstate(all="ignore"):
            slope = chebyshev.chebval((times - centre) / h, chebyshev.chebder(series), tensor=False) / h
            error = 64 * (abs(series[7:]).sum(0) + 2.3e-16 * abs(values).max(0)) / h
        best, least = np.where(error < least, slope, best), np.fmin(error, least)
    return best, least

"""A function of time that is a sympy expression and, on demand, accurate code for the caller's own array type."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import cached_property, lru_cache
from types import ModuleType
from typing import Any

import numpy as np
from sympy import Basic, Expr, Symbol

from interpolants.lowering import Lowered, lower, perfect
from interpolants.measure import UNIT, Domain, End
from interpolants.symbols import t
from solvers.errors import PoleError, explain

__all__ = ["Array", "Coefficient", "coefficient", "namespace", "pad"]

Array = Any
"""A numpy array, torch tensor or jax array."""


def namespace(value: object) -> ModuleType | None:
    """Return the array library of ``value``, or None for a number; import nothing that is not imported already."""
    if isinstance(value, (float, int)):
        return None
    if isinstance(value, (np.ndarray, np.generic)):
        return np
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return torch
    if "jax" in sys.modules and isinstance(value, sys.modules["jax"].Array):
        return sys.modules["jax.numpy"]
    remedy = "pass a float, a numpy array, a torch tensor or a jax array"
    raise TypeError(explain("a number or an array", type(value).__name__, remedy))


class Coefficient:
    """An expression of one symbol on a domain; calling it evaluates it.

    A sympy argument gives sympy, a number gives a float, an array gives an array of the same library, dtype and
    device (half precision is computed and returned in float32, integers in the library's default float).

    Raises:
        PoleError: a number at which the coefficient is infinite (arrays get ±inf there).
        ValueError: a number or numpy array outside the domain.
    """

    def __init__(self, expression: Expr, symbol: Symbol, domain: Domain, label: str, floor: float):
        self.expression, self.symbol, self.label = expression, symbol, label
        self.domain = (float(domain[0]), float(domain[1]))
        self._exact_domain = domain
        self.floor = floor
        self._compiled: dict[str, Callable[[Any], Any]] = {}

    def __repr__(self) -> str:
        return f"Coefficient({self.label} = {self.expression})"

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without the compiled functions, which have no name and are made again."""
        return {**vars(self), "_compiled": {}}

    @cached_property
    def ends(self) -> tuple[End, ...]:
        """Limit and order at the two ends of the domain."""
        return self.lowered.ends

    @property
    def poles(self) -> tuple[float, ...]:
        """The ends at which the coefficient is infinite."""
        return tuple(end.time for end in self.ends if end.is_pole)

    @property
    def lowered(self) -> Lowered:
        """The code that is evaluated, its measured error, and the limits at the ends."""
        return lower(self.expression, self.symbol, self._exact_domain, self.floor)

    def perfect(self) -> Coefficient:
        """Search thoroughly for better code, once per machine, and use it from now on."""
        perfect(self.expression, self.symbol, self._exact_domain, self.floor)
        self._compiled.clear()
        return self

    def __call__(self, time: Any) -> Any:
        """Evaluate at ``time`` (or at a log-SNR, for an inverse)."""
        if isinstance(time, Basic):
            return self.expression.subs(self.symbol, time)
        module = namespace(time)
        if module is None:
            return self._at_number(float(time))
        if module is np:
            return self._at_numpy(np.asarray(time))
        return self._function(module)(_at_least_float32(time, module))

    def _function(self, module: ModuleType) -> Callable[[Any], Any]:
        compiled = self._compiled.get(module.__name__)
        if compiled is None:
            _expect_no_tracing(self.label, module)
            style = "scalar" if module is math else "array"
            compiled = self._compiled[module.__name__] = self.lowered.function(module, style)
        return compiled

    def _at_number(self, time: float) -> float:
        self._check_domain(time, self.domain[0] <= time <= self.domain[1])
        if time in self.domain and time in self.poles:
            remedy = "evaluate away from that end, or use a combination in which the infinity cancels"
            raise PoleError(explain(f"a time where {self.label} is finite", f"t = {time:g}", remedy))
        try:
            return float(self._function(math)(time))
        except (OverflowError, ZeroDivisionError):
            return float(self._at_numpy(np.asarray(time)))

    def _at_numpy(self, time: np.ndarray[Any, Any]) -> Any:
        if time.dtype == np.float16 or time.dtype.kind not in "f":
            time = time.astype(np.float32 if time.dtype == np.float16 else np.float64)
        inside = (time >= self.domain[0]) & (time <= self.domain[1])
        self._check_domain(time, bool(np.all(inside)))
        with np.errstate(all="ignore"):
            return self._function(np)(time)

    def _check_domain(self, time: Any, inside: bool) -> None:
        if not inside:
            lo, hi = self.domain
            received = f"{time:g}" if isinstance(time, float) else f"an array from {np.min(time):g} to {np.max(time):g}"
            raise ValueError(
                explain(f"{self.symbol} in [{lo:g}, {hi:g}] for {self.label}", received, "clip it to the domain")
            )


def _expect_no_tracing(label: str, module: ModuleType) -> None:
    """torch.compile follows the arithmetic of a coefficient, not the search for it."""
    if module.__name__ == "torch" and module.compiler.is_dynamo_compiling():
        remedy = f"evaluate {label} once with a tensor before compiling, for example schedule(torch.zeros(1))"
        raise RuntimeError(explain("generated code when torch.compile traces it", "the first use", remedy))


def _at_least_float32(time: Any, module: ModuleType) -> Any:
    """Half precision and integers become float32: a bf16 time in [½, 1) has only 128 values."""
    if module.__name__ == "torch":
        single_or_double = time.dtype in (module.float32, module.float64)
        return time if single_or_double else time.to(module.float32)
    return time if time.dtype.itemsize >= 4 and time.dtype.kind == "f" else time.astype(module.float32)


@lru_cache(maxsize=4096)
def coefficient(
    expression: Expr, label: str, symbol: Symbol = t, domain: Domain = UNIT, floor: float = 0.0
) -> Coefficient:
    """Return the coefficient of ``expression``; equal expressions share their compiled code."""
    return Coefficient(expression, symbol, domain, label, floor)


def pad(value: Any, x: Array) -> Any:
    """Give a per-sample value of shape (B,) trailing axes, to multiply ``x`` of shape (B, …).

    Raises:
        ValueError: the value is neither a scalar nor of shape (B,).
    """
    if isinstance(value, float) or value.ndim == 0:
        return value
    if value.ndim != 1 or x.ndim == 0 or value.shape[0] != x.shape[0]:
        expected = f"a scalar time or one of shape ({x.shape[0] if x.ndim else ''},) for x of shape {tuple(x.shape)}"
        remedy = "pass one time per sample, without trailing axes"
        raise ValueError(explain(expected, f"shape {tuple(value.shape)}", remedy))
    return value.reshape((-1,) + (1,) * (x.ndim - 1))

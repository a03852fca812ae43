"""Problems whose drift numba compiles, for one sample, and what is refused of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from inspect import isfunction
from typing import Any, ClassVar

import numpy as np

from solvers.compiled.jit import is_jitted, merged, typeof, types
from solvers.errors import explain
from solvers.problem import Pole, Problem, check_callable, check_limits

SIGNATURE = "drift(time, x, out, parameters)"


def _pass_on(time: float, parameters: Any) -> Any:
    """Give the drift the parameters themselves."""
    return parameters


@lru_cache(maxsize=256)
def jitted(function: Callable[..., Any]) -> Any:
    """Compile a plain function; one that is compiled already stays as it is."""
    return function if is_jitted(function) else merged(function)


class Compiled(Problem):
    """What compiled problems share: the functions of their drift, checked for every kind of state once."""

    evaluated: ClassVar[str] = "drift"
    drift: Callable[..., None]
    prepare: Callable[..., Any] | None
    _checked: set[Any]

    def __post_init__(self) -> None:
        _check_function("drift", self.drift, "(time, x, out, parameters)")
        if self.prepare is not None:
            _check_function("prepare", self.prepare, "(time, parameters)")
        check_limits(self)

    def functions(self, dtype: np.dtype[Any], parameters: Any, layout: str) -> tuple[Any, Any]:
        """Return the drift and ``prepare`` compiled for rows of a dtype and layout, checked the first time.

        Raises:
            TypeError: numba cannot compile them, the drift would change ``x``, or it returns something.
        """
        drift, prepare = jitted(self.drift), jitted(_pass_on if self.prepare is None else self.prepare)
        kind = _typeof(parameters)
        if (dtype, kind, layout) not in self._checked:
            given = _compile("prepare(time, parameters)", prepare, (types.float64, kind))
            number = types.float32 if dtype == np.float32 else types.float64
            row = types.Array(number, 1, layout)
            answer = _compile(SIGNATURE, drift, (types.float64, row.copy(readonly=True), row, given))
            if answer != types.none:
                remedy = "write into out: out[0] = ..., and return nothing"
                raise TypeError(explain(f"{SIGNATURE} that returns nothing", f"one that returns {answer}", remedy))
            self._checked.add((dtype, kind, layout))
        return drift, prepare


@dataclass(frozen=True)
class CompiledODE(Compiled):
    r"""An ordinary differential equation :math:`\dot x = f(t, x)` whose drift is compiled, for one sample at a time.

    Args:
        drift: ``drift(time, x, out, parameters)``: writes every entry of :math:`f(t, x)` into ``out`` and returns
            nothing. ``time`` is a float64, ``x`` and ``out`` are one row, shape (d,). Plain Python within what numba
            compiles; division by zero gives infinity. A function that numba has compiled is taken as it is, though a
            plain one can be built into the loop and is faster. Numbers written as literals are float64: with a float32
            state the drift is rounded to float32 where it is written into ``out``.
        prepare: ``prepare(time, parameters)``: what depends on time alone. Its result takes the place of
            ``parameters`` in the drift. On a fixed grid it is computed once for 64 samples. Arrays that it makes may
            serve the drift as scratch; ``parameters`` must not be written to.
        poles: times at which ``drift`` is not finite.
        domain: the lowest and highest time at which ``drift`` has a meaning.

    Values of global names are those at the first solve. Raises TypeError and ValueError as :class:`~solvers.ODE` does.
    """

    drift: Callable[..., None]
    prepare: Callable[..., Any] | None = None
    poles: tuple[Pole, ...] = ()
    domain: tuple[float, float] = (-math.inf, math.inf)
    _checked: set[Any] = field(default_factory=set, init=False, repr=False, compare=False)


@dataclass(frozen=True)
class CompiledSDE(Compiled):
    r"""A stochastic differential equation :math:`dX = f(t, X)\,dt + g(t)\,dW` whose drift is compiled.

    Args:
        drift: ``drift(time, x, out, parameters)``, as for :class:`CompiledODE`.
        diffusion: :math:`g(t) \ge 0`, a plain function of a float, as for :class:`~solvers.SDE`. It is not compiled:
            a solve calls it once for each time of the grid.
        prepare: as for :class:`CompiledODE`; computed once for 1024 samples.
        poles: times at which ``drift`` or ``diffusion`` is not finite.
        domain: the lowest and highest time at which both have a meaning.

    Raises TypeError and ValueError as :class:`~solvers.SDE` does.
    """

    drift: Callable[..., None]
    diffusion: Callable[[float], float]
    prepare: Callable[..., Any] | None = None
    poles: tuple[Pole, ...] = ()
    domain: tuple[float, float] = (-math.inf, math.inf)
    _checked: set[Any] = field(default_factory=set, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_callable("diffusion", self.diffusion, "(time: float) -> float")
        Compiled.__post_init__(self)


def _check_function(name: str, value: object, signature: str) -> None:
    """Refuse what numba cannot read: an object that can be called is no function."""
    if not (isfunction(value) or is_jitted(value)):
        remedy = "write it with def; what it needs from outside comes in parameters, or from the scope around it"
        raise TypeError(explain(f"{name}: a function {signature}", f"{type(value).__name__} {value!r:.40}", remedy))


def _typeof(parameters: Any) -> Any:
    try:
        return typeof(parameters)
    except ValueError as error:
        wanted = "parameters that numba knows: None, a number, an array, a tuple of these"
        remedy = "pass np.asarray(...) or a tuple"
        raise TypeError(explain(wanted, f"{type(parameters).__name__} {parameters!r:.60}", remedy)) from error


def _compile(name: str, function: Any, arguments: tuple[Any, ...]) -> Any:
    """Compile a function for types of arguments and return the type of its answer."""
    try:
        function.compile(arguments)
    except Exception as error:  # numba has its own kinds, and lets AttributeError, TypeError and others through
        remedy = "use what numba supports, and write every entry of out, none of x; numba's full reason is above"
        raise TypeError(explain(f"{name} that numba compiles", _reason(error), remedy)) from error
    return function.overloads[arguments].signature.return_type


def _reason(error: Exception) -> str:
    """Return what is specific in numba's many lines: the inner error where it names one, and the place."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    inner = [line for line in lines if line.startswith(("Numba", "Unknown attribute", "Untyped", "Cannot", "name "))]
    first = next((line for line in lines if not line.startswith("Failed in")), lines[0])
    place = next((line.rstrip(":") for line in lines if line.startswith("File ") and "numerous" not in line), "")
    return f"{(inner or [first])[0]}{f' ({place})' if place else ''}"

"""Functions written with torch or jax: their values in double precision on the host, and slopes by forward mode.

Nothing is imported here before a function of that library is met: ``loaded`` looks at what the caller has already.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import cache
from importlib import import_module
from typing import Any, Protocol

import numpy as np

__all__ = ["Jax", "Library", "Torch", "loaded"]

Call = Callable[[Any], Any]
Floats = np.ndarray[Any, np.dtype[np.float64]]


class Library(Protocol):
    """An array library with forward-mode autodiff."""

    name: str

    def value(self, function: Call, times: Floats) -> Floats:
        """Return the values at times of shape (n,) as float64."""

    def slope(self, function: Call, times: Floats) -> Floats:
        """Return the derivatives at times of shape (n,) as float64."""

    def pair(self, function: Call, times: Any) -> tuple[Any, Any]:
        """Return the values and the derivatives at an array of the library, differentiable once more."""


class Torch:
    """Tensors."""

    name = "torch"

    def value(self, function: Call, times: Floats) -> Floats:
        """Call the function with a tensor."""
        torch = import_module("torch")
        return np.asarray(torch.as_tensor(function(torch.from_numpy(times))).detach().numpy())

    def slope(self, function: Call, times: Floats) -> Floats:
        """Call the function with a dual tensor."""
        return np.asarray(self.pair(function, import_module("torch").from_numpy(times))[1].detach().numpy())

    def pair(self, function: Call, times: Any) -> tuple[Any, Any]:
        """Return (values, slopes), or pairs of tuples for a function that returns a tuple."""
        torch = _torch_with_jvp()
        value, slope = torch.func.jvp(function, (times,), (torch.ones_like(times),))
        return value, slope


class Jax:
    """Jax arrays; on the host, in double precision whatever the configuration, and inside of ``jit`` as well."""

    name = "jax"

    def value(self, function: Call, times: Floats) -> Floats:
        """Call the function with an array."""
        with _double():
            return np.asarray(function(import_module("jax.numpy").asarray(times)), np.float64)

    def slope(self, function: Call, times: Floats) -> Floats:
        """Push a unit tangent forward."""
        with _double():
            return np.asarray(self.pair(function, import_module("jax.numpy").asarray(times))[1], np.float64)

    def pair(self, function: Call, times: Any) -> tuple[Any, Any]:
        """Return (values, slopes); ``times`` may be traced."""
        value, slope = import_module("jax").jvp(function, (times,), (import_module("jax.numpy").ones_like(times),))
        return value, slope


def loaded() -> tuple[Library, ...]:
    """Return the libraries that are imported already."""
    return tuple(library for library in (Torch(), Jax()) if library.name in sys.modules)


@cache
def _torch_with_jvp() -> Any:
    """Import torch; its first forward derivative makes it script its own decompositions, which warns."""
    torch = import_module("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.func.jvp(torch.sin, (torch.zeros(1),), (torch.ones(1),))
    return torch


def _double() -> AbstractContextManager[Any]:
    jax = import_module("jax")
    enable = (jax if hasattr(jax, "enable_x64") else import_module("jax.experimental")).enable_x64
    stack = ExitStack()
    stack.enter_context(enable(True))
    stack.enter_context(jax.ensure_compile_time_eval())
    return stack

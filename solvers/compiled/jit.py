"""How functions are compiled here: the one module of solvers that imports numba.

Without fast-math the compiler neither reorders sums nor fuses multiplications into them, so a sample is the same to
the last bit in every lane of a vector register and in what is left over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from solvers.errors import explain

try:
    import numba
    from numba import extending
except ImportError as error:
    remedy = "install the extra: pip install 'interpolants[numba]'"
    raise ImportError(explain("numba, which compiles ensembles", "a Python without it", remedy)) from error

__all__ = ["compiled", "frozen", "inlined", "is_jitted", "merged", "typeof", "types", "whole_blocks"]

# Some releases of numba carry types, and those have no dispatchers as arguments; here it is untyped in all of them.
_njit: Any = numba.njit
types: Any = numba.types
typeof: Any = numba.typeof
is_jitted: Any = extending.is_jitted
_config: Any = numba.config

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile a loop; it runs without the lock of the interpreter, so threads can share the samples."""
    return _njit(error_model="numpy", nogil=True)(function)  # type: ignore[no-any-return]


def inlined(function: F) -> F:
    """Compile a part of a loop: sizes known to the loop are then known to the part, and its own loops unroll."""
    return _njit(error_model="numpy", nogil=True, forceinline=True)(function)  # type: ignore[no-any-return]


def merged(function: F) -> F:
    """Compile a function of the caller as if it were written out in the loop, where the dimension is a constant.

    Merely inlined, its own loops would have been optimised before, for any dimension, and be several times as slow.
    """
    return _njit(error_model="numpy", nogil=True, inline="always")(function)  # type: ignore[no-any-return]


def whole_blocks() -> bool:
    """Whether blocks must be full for equal bits: Intel's vector library rounds otherwise than its scalar one."""
    return bool(_config.USING_SVML)


def _frozen(context: Any, array: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        context.nrt.incref(builder, signature.return_type, values[0])
        return values[0]

    return array.copy(readonly=True)(array), codegen


frozen: Any = extending.intrinsic(_frozen)
"""Return the same array as one that cannot be written to: a drift that would change its argument does not compile."""

"""The few questions a solver asks of an array beyond ``+`` and ``*``, for numpy, torch and jax."""

from __future__ import annotations

import sys
from functools import reduce
from typing import Any, TypeAlias

import array_api_compat
import numpy as np

from solvers.errors import explain

# Arrays of three libraries share operators but no static type.
Array: TypeAlias = Any


def is_torch(x: Array) -> bool:
    """Whether ``x`` is a torch tensor; never imports torch, for whoever holds a tensor already has."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def is_numpy(x: Array) -> bool:
    """Whether ``x`` is a numpy array or scalar."""
    return isinstance(x, (np.ndarray, np.generic))


def describe(x: object) -> str:
    """Name an array by type, dtype and shape, and anything else by its type."""
    if hasattr(x, "dtype") and hasattr(x, "shape"):
        return f"{type(x).__name__} of dtype {x.dtype} and shape {tuple(x.shape)}"
    return f"{type(x).__name__} {x!r:.60}"


def _is_floating(x: Array) -> bool:
    if is_torch(x):
        return bool(x.dtype.is_floating_point)
    if is_numpy(x):
        return bool(np.issubdtype(x.dtype, np.floating))
    if array_api_compat.is_array_api_obj(x):
        return bool(array_api_compat.array_namespace(x).isdtype(x.dtype, "real floating"))
    return False


def check_state(x: Array, name: str = "x") -> None:
    """Refuse a state whose arithmetic would not be that of real floating-point arrays."""
    if not _is_floating(x):
        raise TypeError(
            explain(
                f"{name}: an array of numpy, torch or jax with a real floating dtype",
                describe(x),
                "convert it first, e.g. np.asarray(x, dtype=np.float64) or x.float()",
            )
        )


def all_finite(x: Array) -> bool:
    """Whether no entry is NaN or infinite. Waits for the device: the only function of a solve that does."""
    if is_torch(x):
        return bool(sys.modules["torch"].isfinite(x).all())
    if is_numpy(x):
        return bool(np.isfinite(x).all())
    namespace = array_api_compat.array_namespace(x)
    return bool(namespace.all(namespace.isfinite(x)))


def namespace(x: Array) -> Any:
    """Return the library of ``x`` under the names of the array API."""
    return np if is_numpy(x) else array_api_compat.array_namespace(x)


def detached(x: Array) -> Array:
    """Return the same numbers without their history of derivatives."""
    return x.detach() if is_torch(x) else x


def host(x: Array) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the numbers as float64 on the host. Waits for the device."""
    # numpy has no bfloat16.
    return np.asarray(x.detach().cpu().double() if is_torch(x) else x, dtype=np.float64)


def like(values: np.ndarray[Any, Any], x: Array, *, at_least_single: bool = False) -> Array:
    """Return numbers of the host as an array of the library, device and dtype of ``x``.

    With ``at_least_single`` half precision becomes single precision: eleven bits do not tell times apart.
    """
    library = namespace(x)
    dtype = library.float32 if at_least_single and x.dtype.itemsize < 4 else x.dtype
    if is_torch(x):
        return library.asarray(values, dtype=dtype, device=x.device)
    return library.asarray(values, dtype=dtype)


def cast(x: Array, dtype: Any) -> Array:
    """Return the numbers in another dtype of their library."""
    if x.dtype == dtype:
        return x
    return x.to(dtype) if is_torch(x) else x.astype(dtype)


def stack(states: list[Array]) -> Array:
    """Join states along a new first axis."""
    return namespace(states[0]).stack(states)


def concat(parts: list[Array], axis: int) -> Array:
    """Join arrays along an axis that they have."""
    # torch's own name, for torch.compile follows it and not the search for a namespace.
    return sys.modules["torch"].cat(parts, axis) if is_torch(parts[0]) else namespace(parts[0]).concat(parts, axis=axis)


def widest(arrays: list[Array]) -> Any:
    """Return the dtype in which the numbers of all arrays have a place."""
    dtypes = [x.dtype for x in arrays]
    if is_torch(arrays[0]):
        return reduce(sys.modules["torch"].promote_types, dtypes)
    return namespace(arrays[0]).result_type(*dtypes)


def looks_finite(x: Array) -> bool:
    """Whether no entry is seen to be NaN or infinite: none can be seen where ``torch.compile`` or jax traces."""
    if is_torch(x) and sys.modules["torch"].compiler.is_compiling():
        return True
    jax = sys.modules.get("jax")
    not_known = () if jax is None else jax.errors.TracerBoolConversionError
    try:
        return all_finite(x)
    except not_known:
        return True

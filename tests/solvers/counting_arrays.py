"""Arrays that count how often somebody looks at their numbers.

``Distant`` stands for an array on a device, of a library that the solvers have never heard of: it has the operators and
the functions of the array API, and every door through which numbers reach the host counts. ``Looks`` counts the same
for torch, where looking is an operation like any other.
"""

import types

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Distant:
    """An array whose numbers leave it through doors that count."""

    __array_ufunc__ = None  # numpy is to leave operators with it to this class
    __hash__ = None
    looks = 0

    def __init__(self, values):
        self.values = np.asarray(values)

    shape = property(lambda self: self.values.shape)
    dtype = property(lambda self: self.values.dtype)
    ndim = property(lambda self: self.values.ndim)

    def __array_namespace__(self, api_version=None):
        return NAMESPACE

    def reshape(self, *shape):
        return Distant(self.values.reshape(*shape))

    def mean(self, *axes):
        return Distant(self.values.mean(*axes))

    def __getitem__(self, index):
        return Distant(self.values[index])

    def __abs__(self):
        return Distant(abs(self.values))

    def __neg__(self):
        return Distant(-self.values)


def plain(value):
    """Return the numpy array behind a distant one; what is on the host already stays as it is."""
    return value.values if isinstance(value, Distant) else value


def _operator(name):
    def operate(self, other):
        # The host's float64 numbers must not promote the array, as they would not on a device.
        return Distant(getattr(self.values, name)(plain(other)))

    return operate


def _door(name):
    def look(self, *arguments, **options):
        Distant.looks += 1
        return getattr(self.values, name)(*arguments, **options)

    return look


for _name in (
    "add",
    "sub",
    "mul",
    "truediv",
    "pow",
    "radd",
    "rsub",
    "rmul",
    "rtruediv",
    "lt",
    "le",
    "gt",
    "ge",
    "eq",
    "ne",
):
    setattr(Distant, f"__{_name}__", _operator(f"__{_name}__"))
for _name in ("__bool__", "__float__", "__int__", "__index__", "__array__", "__len__", "__iter__", "item", "tolist"):
    setattr(Distant, _name, _door(_name))


def _function(name):
    return lambda *arguments: Distant(getattr(np, name)(*map(plain, arguments)))


def _several(name):
    return lambda arrays, **options: Distant(getattr(np, name)([plain(array) for array in arrays], **options))


NAMESPACE = types.SimpleNamespace(
    __name__="distant",
    float32=np.dtype(np.float32),
    result_type=np.result_type,
    asarray=lambda values, dtype=None: Distant(np.asarray(plain(values), dtype=dtype)),
    isdtype=lambda dtype, kind: kind == "real floating" and dtype.kind == "f",
    **{name: _function(name) for name in ("isfinite", "all", "maximum")},
    **{name: _several(name) for name in ("stack", "concat")},
)


def looks_during(run):
    """Return how often distant arrays were looked at while ``run`` ran, and what it returned."""
    before = Distant.looks
    result = run()
    return Distant.looks - before, result


class Looks(TorchDispatchMode):
    """Counts the operations for which the host waits: those that return a number, or whose shape depends on numbers."""

    WAITING = ("_local_scalar_dense", "is_nonzero", "nonzero", "equal", "masked_select", "unique", "_to_copy")

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        masked = name == "index" and any(index is not None and index.dtype == torch.bool for index in args[1])
        if masked or any(name.startswith(waiting) for waiting in self.WAITING):
            self.found.append(name)
        return function(*args, **(kwargs or {}))

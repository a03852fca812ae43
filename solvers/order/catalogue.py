"""Samplers by name, "source:name", with options as text: what ``sit lint`` takes."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import solvers
from solvers.errors import explain
from solvers.order.adapters.options import expect_name, parameters, typed
from solvers.order.adapters.ours import Ours
from solvers.order.sampler import Sampler

__all__ = ["choices", "find"]

_ADAPTERS = {
    "diffusers": ("diffusers", "Diffusers"),
    "k_diffusion": ("k_diffusion", "KDiffusion"),
    "torchdiffeq": ("torchdiffeq", "Torchdiffeq"),
    "flow_matching": ("torchdiffeq", "FlowMatching"),
    "scipy": ("scipy", "Scipy"),
    "diffrax": ("diffrax", "Diffrax"),
    "azula": ("azula", "Azula"),
}


def choices() -> dict[str, tuple[str, ...]]:
    """Return the names of every source; no other library is imported for that."""
    found = {"solvers": _ours()}
    for source, (module, kind) in _ADAPTERS.items():
        found[source] = tuple(getattr(_module(module), kind).names())
    return found


def find(name: str, options: Sequence[str] = ()) -> Sampler:
    """Return a sampler by its name.

    >>> from solvers.order import find
    >>> find("solvers:DPMSolverPP", ["order=3"]).claimed
    3.0

    Args:
        name: "source:name", such as "diffusers:UniPCMultistepScheduler", "k_diffusion:sample_dpmpp_2m",
            "torchdiffeq:rk4", "scipy:RK45" or "solvers:Heun".
        options: texts "key=value" for what makes the sampler.

    Raises:
        ImportError: the source is not installed.
        TypeError, ValueError: an unknown source, name or option, or a value of another type.
    """
    source, colon, rest = name.partition(":")
    sources = ("solvers", *_ADAPTERS)
    if not colon or source not in sources:
        wanted = f"a sampler source:name, with one of the sources {', '.join(sources)}"
        raise ValueError(explain(wanted, repr(name), "write diffusers:DDIMScheduler; sit lint --list shows all"))
    if source != "solvers":
        module, kind = _ADAPTERS[source]
        sampler: Sampler = getattr(_module(module), kind)(rest, options)
        return sampler
    expect_name(rest, _ours(), "solvers")
    made = getattr(solvers, rest)
    return Ours(made(**typed(options, parameters(made), rest)))


def _ours() -> tuple[str, ...]:
    kinds = ((name, getattr(solvers, name)) for name in solvers.__all__)
    return tuple(name for name, kind in kinds if hasattr(kind, "order") and isinstance(kind.solves, type))


def _module(name: str) -> object:
    return importlib.import_module(f"solvers.order.adapters.{name}")

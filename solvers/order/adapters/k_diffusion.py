"""Samplers of k-diffusion: functions (model, x, sigmas) on α = 1."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from solvers.errors import explain
from solvers.order.adapters.options import expect_name, parameters, typed
from solvers.order.adapters.torch_calls import on_tensors, through_torch
from solvers.order.draws import Draws
from solvers.order.levels import EDM, Level, grid
from solvers.order.sampler import Drive
from solvers.order.trials import Model

# The number in the name; None where the name has none.
_CLAIMS: dict[str, int | None] = {
    "sample_euler": 1,
    "sample_euler_ancestral": 1,
    "sample_heun": 2,
    "sample_dpm_2": 2,
    "sample_dpm_2_ancestral": 2,
    "sample_lms": 4,
    "sample_dpmpp_2s_ancestral": 2,
    "sample_dpmpp_sde": None,
    "sample_dpmpp_2m": 2,
    "sample_dpmpp_2m_sde": 2,
    "sample_dpmpp_3m_sde": 3,
}
_ABSENT = ("torchvision", "skimage", "clip", "kornia", "cleanfid", "dctorch", "accelerate", "jsonmerge", "PIL")


class KDiffusion:
    """A sampler of ``k_diffusion.sampling``.

    Args:
        name: such as "sample_dpmpp_2m".
        options: "eta=0.5" and the like, for the parameters of the function.

    Raises:
        ImportError: k-diffusion is not installed.
        TypeError, ValueError: an unknown name or option.
    """

    coarsest = 8
    takes_steps = True

    def __init__(self, name: str, options: Sequence[str] = ()) -> None:
        expect_name(name, self.names(), "k_diffusion.sampling")
        self._module = sampling()
        self._function = getattr(self._module, name)
        taken = ("model", "x", "sigmas", "extra_args", "callback", "disable", "noise_sampler")
        every = parameters(self._function)
        self._hooked = "noise_sampler" in every
        self.options = typed(options, {key: value for key, value in every.items() if key not in taken}, name)
        self.name = f"k_diffusion:{name}"
        claim = self.options.get("order", _CLAIMS[name])
        self.claimed = None if claim is None else float(claim)

    @staticmethod
    def names() -> tuple[str, ...]:
        """Return the functions that are driven."""
        return tuple(_CLAIMS)

    def interior(self, n: int, *, equal: bool = False) -> Drive:
        """Return n steps inside."""
        return self._drive([EDM.time(ratio) for ratio in grid(n, equal=equal)])

    def whole(self, n: int) -> Drive:
        """Return n steps of the grid of Karras et al. from σ = 80 to 0.002, and the step to 0 that it appends."""
        return self._drive(self._module.get_sigmas_karras(n, 0.002, 80.0).double().tolist())

    def _drive(self, sigmas: list[float]) -> Drive:
        def sample(model: Model, x: Any, draws: Draws) -> Any:
            predict = on_tensors(model)
            more = {"noise_sampler": _noise_sampler(draws, x)} if self._hooked else {}
            sequence = x.new_tensor(sigmas)
            return self._function(
                lambda x, sigma: predict(1.0, float(sigma[0]), x)[0], x, sequence, disable=True, **more, **self.options
            )

        return Drive(Level(1.0, sigmas[0]), Level(1.0, sigmas[-1]), through_torch(sample))


def _noise_sampler(draws: Draws, x: Any) -> Any:
    """Return increments of one Brownian path in σ, as the Brownian tree of k-diffusion gives them."""
    import torch

    def drawn(sigma: Any, sigma_next: Any) -> Any:
        return torch.from_numpy(draws.between(float(sigma), float(sigma_next), tuple(x.shape))).to(x.dtype)

    return drawn


class _Blank(ModuleType):
    """An empty module: any name in it is another, and nothing of it can be used."""

    __path__: list[str]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Blank(f"{self.__name__}.{name}")


class _Blanks(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """A finder, asked last, that makes empty modules for packages that are not installed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Return a specification for one of the packages that sampling does not need."""
        if name.partition(".")[0] not in _ABSENT:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """Return the empty module."""
        return _Blank(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Leave it empty."""


def sampling() -> ModuleType:
    """Return ``k_diffusion.sampling``, loaded without the rest of its package.

    The package imports networks, image transforms and metrics, with packages that sampling does not use. Where it
    cannot be imported as it is, the one module is loaded with empty modules in the place of packages that are absent;
    afterwards none of them, nor the package, is left in ``sys.modules``.

    Raises:
        ImportError: k-diffusion is not installed.
    """
    if "k_diffusion.sampling" in sys.modules:
        return sys.modules["k_diffusion.sampling"]
    spec = importlib.util.find_spec("k_diffusion")
    if spec is None or spec.submodule_search_locations is None:
        remedy = "pip install --no-deps k-diffusion, and torchsde and torchdiffeq beside it"
        raise ImportError(explain("k-diffusion, to measure its samplers", "no package k_diffusion", remedy))
    if not _LOADED:
        _LOADED.append(_load(list(spec.submodule_search_locations)))
    return _LOADED[0]


_LOADED: list[ModuleType] = []


def _load(locations: list[str]) -> ModuleType:
    before = set(sys.modules)
    package, finder = ModuleType("k_diffusion"), _Blanks()
    package.__path__ = locations
    sys.modules["k_diffusion"] = package
    sys.meta_path.append(finder)
    try:
        return importlib.import_module("k_diffusion.sampling")
    finally:
        sys.meta_path.remove(finder)
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == "k_diffusion" or isinstance(sys.modules[name], _Blank):
                del sys.modules[name]

"""What adapters to torch samplers share: the model on tensors, and draws in the place of torch's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from solvers.order.draws import Draws
from solvers.order.sampler import Run, States
from solvers.order.trials import Model


def on_tensors(model: Model) -> Callable[[float, float, Any], tuple[Any, Any]]:
    """Return the model as a function of (α, σ, tensor), with the two predictions as tensors."""
    import torch

    def predict(alpha: float, sigma: float, x: Any) -> tuple[Any, Any]:
        data, noise = model(alpha, sigma, x.detach().numpy())
        return torch.from_numpy(data), torch.from_numpy(noise)

    return predict


def through_torch(sample: Callable[[Model, Any, Draws], Any], *, raised: bool = False) -> Run:
    """Return a run on arrays from one on tensors: no gradients, and every normal from the draws.

    Args:
        sample: (model, tensor, draws) → tensor.
        raised: let the casts of states to float32 that a release has leave float64 alone, so that rounding does not
            hide the order.
    """

    def run(model: Model, x: States, draws: Draws) -> States:
        import torch

        with torch.no_grad(), _hooks(draws, raised):
            return np.asarray(sample(model, torch.from_numpy(np.array(x)), draws).detach().numpy())

    return run


def _hooks(draws: Draws, raised: bool) -> Any:
    """Return a context in which torch draws from ``draws``."""
    import torch
    from torch.overrides import TorchFunctionMode

    def drawn(shape: Any, dtype: Any) -> Any:
        return torch.from_numpy(draws.normal(tuple(shape))).to(dtype or torch.get_default_dtype())

    class Hooks(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if func is torch.randn_like:
                return drawn(args[0].shape, kwargs.get("dtype") or args[0].dtype)
            if func is torch.randn:
                shape = kwargs["size"] if "size" in kwargs else args[0] if not isinstance(args[0], int) else args
                return drawn(shape, torch.float64 if raised else kwargs.get("dtype"))
            if raised and func is torch.Tensor.to and _lowers(args, kwargs):
                return args[0]
            return func(*args, **kwargs)

    def _lowers(args: Any, kwargs: Any) -> bool:
        wanted = (*args[1:], *kwargs.values())
        return args[0].dtype == torch.float64 and args[0].ndim > 0 and torch.float32 in wanted

    return Hooks()

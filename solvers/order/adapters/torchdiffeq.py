"""Methods of torchdiffeq, and of flow_matching's ODESolver, which calls them, at steps that are given."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from typing import Any

from solvers.order.adapters.flows import Timed, drive, velocity
from solvers.order.adapters.options import expect_name, load, typed
from solvers.order.adapters.torch_calls import through_torch
from solvers.order.draws import Draws
from solvers.order.sampler import Drive
from solvers.order.trials import Model

_FIXED = ("euler", "midpoint", "heun2", "heun3", "rk4", "explicit_adams", "implicit_adams")
_ADAPTIVE = ("adaptive_heun", "fehlberg2", "bosh3", "dopri5", "dopri8")
_OPTIONS = {"max_order": inspect.Parameter("max_order", inspect.Parameter.KEYWORD_ONLY, default=4)}
# Any step is accepted, so that steps end at the times that are given and nowhere else.
_LOOSE = 1e200


class Torchdiffeq(Timed):
    """A method of ``torchdiffeq.odeint``; an adaptive one takes the steps that it is given.

    Args:
        name: such as "rk4".
        options: "max_order=3" for the Adams methods.

    Raises:
        ImportError: torchdiffeq is not installed.
        TypeError, ValueError: an unknown name or option.
    """

    takes_steps = True

    def __init__(self, name: str, options: Sequence[str] = ()) -> None:
        expect_name(name, self.names(), "torchdiffeq")
        self.method, self.name = name, f"torchdiffeq:{name}"
        self.options = typed(options, _OPTIONS if name.endswith("adams") else {}, self.name)
        self._odeint = load("torchdiffeq", "torchdiffeq").odeint
        order = load("torchdiffeq._impl.odeint", "torchdiffeq").SOLVERS[name].order
        self.claimed: float | None = float(self.options.get("max_order", order))
        self.coarsest = 8 if name.endswith("adams") else 4

    @staticmethod
    def names() -> tuple[str, ...]:
        """Return the methods that are driven."""
        return (*_FIXED, *_ADAPTIVE)

    def _drive(self, times: list[float]) -> Drive:
        def sample(model: Model, x: Any, draws: Draws) -> Any:
            grid = x.new_tensor(times)
            with warnings.catch_warnings():
                # Whether an iteration of the corrector converged shows in the error.
                warnings.simplefilter("ignore")
                return self._odeint(_field(model), x, grid, method=self.method, **self._settings(grid))[-1]

        return drive(times, through_torch(sample))

    def _settings(self, grid: Any) -> dict[str, Any]:
        if self.method in _ADAPTIVE:
            # Every step is tried longer than wanted, and cut at the next time of step_t.
            options = {"step_t": grid, "first_step": 1.0}
            return {"options": options, "rtol": _LOOSE, "atol": _LOOSE}
        if self.method.endswith("adams"):
            # The tolerance is that of the corrector's iteration.
            return {"options": dict(self.options), "rtol": 1e-12, "atol": 1e-13}
        return {}


class FlowMatching(Timed):
    """``flow_matching.solver.ODESolver`` with a method of torchdiffeq, on a time that rises from noise to data.

    Args:
        name: the method, such as "midpoint".
        options: none are taken.

    Raises:
        ImportError: flow_matching is not installed.
        TypeError, ValueError: an unknown name or option.
    """

    coarsest = 4
    takes_steps = True

    def __init__(self, name: str, options: Sequence[str] = ()) -> None:
        expect_name(name, self.names(), "ODESolver")
        self.method, self.name = name, f"flow_matching:{name}"
        typed(options, {}, self.name)
        self._solver = load("flow_matching.solver", "flow_matching").ODESolver
        self.claimed: float | None = float(load("torchdiffeq._impl.odeint", "torchdiffeq").SOLVERS[name].order)

    @staticmethod
    def names() -> tuple[str, ...]:
        """Return the methods that are driven."""
        return _FIXED[:5]

    def _drive(self, times: list[float]) -> Drive:
        def sample(model: Model, x: Any, draws: Draws) -> Any:
            field = _field(model)
            solver = self._solver(velocity_model=lambda x, t: -field(1.0 - t, x))
            grid = 1.0 - x.new_tensor(times)
            return solver.sample(x_init=x, step_size=None, method=self.method, time_grid=grid)

        return drive(times, through_torch(sample))


def _field(model: Model) -> Any:
    import torch

    return lambda time, x: torch.from_numpy(velocity(model, float(time), x.detach().numpy()))

"""What the words of a :class:`SampleConfig` mean: methods, grids, last steps, schedules and predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import solvers
from backbone.sampling.config import SampleConfig
from backbone.sampling.spelling import folded, spelled
from interpolants import cosine_optimal, noise_levels
from interpolants.prediction import PREDICTIONS, Prediction
from interpolants.schedule import Schedule
from interpolants.schedules import by_name
from solvers import Adaptive, EulerMaruyama, Heun, LastStep, Mean, Tweedie
from solvers.errors import closest, explain
from solvers.order import choices as samplers

if TYPE_CHECKING:
    from interpolants.diffusion import DiffusionCoefficient

__all__ = ["grid_of", "method_of", "prediction_of", "schedule_of", "steps_of"]

Times: TypeAlias = NDArray[np.float64]
MakeGrid: TypeAlias = Callable[[Schedule, int, float, float], Times]


def methods() -> dict[str, Callable[..., Any]]:
    """Return the methods of ``solvers`` by their names."""
    names = samplers()["solvers"]
    return {name: getattr(solvers, name) for name in names} | {"Adaptive": Adaptive}


def method_of(config: SampleConfig, w: DiffusionCoefficient | None) -> Any:
    """Return the method with its last step.

    Raises:
        TypeError, ValueError: an unknown name or option; a last step for a method without noise.
    """
    if config.method is None:
        method: Any = Heun() if w is None else EulerMaruyama()
    else:
        method = spelled(config.method, methods(), "a method")
    if isinstance(method, Adaptive) and (method.per_sample or method.method.stochastic):
        wanted = "Adaptive with a deterministic method and steps of the whole batch"
        remedy = "leave per_sample out, and take Adaptive(Dopri5()), or fixed steps with w"
        raise ValueError(explain(wanted, repr(method), remedy))
    if config.last_step is None:
        return method
    return LastStep(method, spelled(config.last_step, {"Mean": Mean, "Tweedie": Tweedie, **methods()}, "a last step"))


def steps_of(config: SampleConfig, w: DiffusionCoefficient | None) -> int:
    """Return the number of steps, of which stochastic methods need more."""
    if config.steps is not None:
        return config.steps
    return 50 if w is None else 250


def grid_of(config: SampleConfig, schedule: Schedule, method: Any, steps: int) -> Times:
    """Return the times of the solve, from noise to data.

    Raises:
        ValueError: an unknown grid or option; ends or a last step that the grid has of its own; what the grid refuses.
    """
    data, noise = schedule.domain
    start = noise if config.start is None else float(config.start)
    stop = data if config.stop is None else float(config.stop)
    if isinstance(method, Adaptive):
        return _ends(config, start, stop)
    make, free = spelled(config.grid, _GRIDS, "a grid")
    given = [name for name in ("start", "stop", "last_step_size") if getattr(config, name) is not None]
    if given and not free:
        remedy = f"leave out {' and '.join(given)}, or set the noise levels of the grid by its options"
        raise ValueError(explain(f"no {given[0]}: the grid {config.grid} has its own times", "one", remedy))
    if config.last_step_size is None:
        found: Times = make(schedule, steps, start, stop)
        return found
    size = config.last_step_size
    if steps < 2 or not 0.0 < size < start - stop:
        wanted = f"at least 2 steps and a last step of a length in (0, {start - stop:g})"
        raise ValueError(explain(wanted, f"{steps} and {size!r}", "SiT's published samples have 250 and 0.04"))
    return np.append(make(schedule, steps - 1, start, stop + size), stop)


def _ends(config: SampleConfig, start: float, stop: float) -> Times:
    """Return the ends alone, between which a method chooses its steps; refuse a choice of steps beside it."""
    given = [name for name in ("steps", "last_step_size") if getattr(config, name) is not None]
    given += ["grid"] if config.grid != "uniform" else []
    if given:
        remedy = "leave it out: the tolerances rtol and atol decide"
        raise ValueError(explain("no choice of steps beside Adaptive", ", ".join(given), remedy))
    return np.array([start, stop])


def _uniform() -> tuple[MakeGrid, bool]:
    return lambda schedule, n, start, stop: solvers.uniform(n, start, stop), True


def _power(exponent: float = 2.0) -> tuple[MakeGrid, bool]:
    return lambda schedule, n, start, stop: solvers.power(n, exponent, start, stop), True


def _log_snr() -> tuple[MakeGrid, bool]:
    return noise_levels.log_snr_uniform, True


def _cosine(variance: float = 1.0) -> tuple[MakeGrid, bool]:
    return lambda schedule, n, start, stop: cosine_optimal(schedule, n, variance, start=start, stop=stop), True


def _karras(rho: float = 7.0, sigma_min: float = 0.002, sigma_max: float = 80.0) -> tuple[MakeGrid, bool]:
    return lambda schedule, n, start, stop: noise_levels.karras(schedule, n, rho, sigma_min, sigma_max), False


def _align(model: str = "stable-diffusion-1.5") -> tuple[MakeGrid, bool]:
    return lambda schedule, n, start, stop: noise_levels.align_your_steps(schedule, n, model), False


def _strides(spacing: Any = "trailing") -> tuple[MakeGrid, bool]:
    return lambda schedule, n, start, stop: noise_levels.timestep_strides(schedule, n, spacing), False


# Whether the ends of a grid are the caller's is the second of each pair.
_GRIDS: Mapping[str, Callable[..., tuple[MakeGrid, bool]]] = {
    "uniform": _uniform,
    "power": _power,
    "log-snr": _log_snr,
    "cosine-optimal": _cosine,
    "karras": _karras,
    "align-your-steps": _align,
    "timestep-strides": _strides,
}


def schedule_of(name: str | None, kept: Any, file: object) -> Schedule:
    """Return the schedule of a checkpoint.

    Args:
        name: what the caller says it is, or None.
        kept: ``schedule.to_dict()`` as the checkpoint has it, or None.
        file: the checkpoint, for messages.

    Raises:
        ValueError: neither says, or they contradict each other.
    """
    named = None if name is None else by_name(name)
    if kept is None:
        if named is None:
            raise _unsaid("schedule", "linear", file)
        return named
    own = Schedule.from_dict(dict(kept))
    if named is None:
        return own
    if named != own:
        remedy = "leave out --schedule; interpolants.transfer moves a network to another schedule"
        raise ValueError(explain(f"the schedule of {file}, {own!r}", f"{named!r}", remedy))
    # Equal, and a discrete one knows its timesteps.
    return named


def prediction_of(name: str | None, kept: Any, file: object) -> Prediction:
    """Return what the network of a checkpoint predicts; as :func:`schedule_of`."""
    found = [_prediction(each) for each in (name, kept) if each is not None]
    if not found:
        raise _unsaid("prediction", "velocity", file)
    if found[0] != found[-1]:
        remedy = "leave out --prediction"
        raise ValueError(explain(f"the prediction of {file}, {found[-1]}", str(found[0]), remedy))
    return found[0]


def _prediction(name: object) -> Prediction:
    known: dict[str, Prediction] = {folded(each): prediction for each, prediction in PREDICTIONS.items()}
    if not isinstance(name, str) or folded(name) not in known:
        remedy = f"did you mean {closest(str(name), PREDICTIONS)}?"
        raise ValueError(explain(f"a prediction, one of {', '.join(PREDICTIONS)}", repr(name), remedy))
    return known[folded(name)]


def _unsaid(what: str, example: str, file: object) -> ValueError:
    remedy = f"pass --{what} {example}, or keep it in the file: sit convert --{what} {example}"
    return ValueError(explain(f"a checkpoint that says its {what}", f"{file}, which does not", remedy))

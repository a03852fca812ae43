"""Schedules, predictions, diffusion coefficients and methods as JSON, and back from JSON that nobody vouches for.

What is read is looked up in lists of names, and expressions are parsed; nothing is evaluated as code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import solvers
from interpolants import diffusion
from interpolants.adapters.diffusers.sampler import Sampler
from interpolants.prediction import PREDICTIONS, Prediction, expect_prediction
from interpolants.rate import DiffusionCoefficient, expect_diffusion
from interpolants.schedule import Schedule
from interpolants.schedules.discrete import Discrete
from interpolants.symbols import canonical
from solvers.check import expect_method
from solvers.errors import closest, explain
from solvers.method import Method

__all__ = ["read_method", "read_prediction", "read_schedule", "read_w", "write"]

_METHODS = {
    name: getattr(solvers, name)
    for name in solvers.__all__
    if isinstance(getattr(solvers, name), type) and hasattr(getattr(solvers, name), "step")
} | {"Mean": solvers.Mean}
_PLAIN = {
    str(make()): make
    for make in (
        *(diffusion.KL, diffusion.Sigma, diffusion.SinSquared, diffusion.SBDM),
        *(diffusion.Ramp, diffusion.Decreasing, diffusion.Zero),
    )
}


def write(sampler: Sampler) -> dict[str, Any]:
    """Return the four parts of a sampler as JSON."""
    return {
        "schedule": write_schedule(sampler.schedule),
        "prediction": sampler.prediction.name,
        "method": write_method(sampler.method),
        "w": None if sampler.w is None else write_w(sampler.w, sampler.schedule),
    }


def write_schedule(schedule: Schedule) -> dict[str, Any]:
    """Return the expressions of a schedule, and of a discrete one its timesteps; a measured one leaves its name."""
    try:
        written = schedule.to_dict()
    except TypeError:
        return {"name": schedule.name}
    if isinstance(schedule, Discrete):
        written["num_train_timesteps"] = schedule.num_train_timesteps
    return written


def read_schedule(value: Any) -> Schedule:
    """Return the schedule itself, or the one that was written."""
    if isinstance(value, Schedule):
        return value
    if not isinstance(value, Mapping):
        remedy = "pass Linear() or another schedule, or what schedule.to_dict() returns"
        raise TypeError(explain("a schedule", repr(value), remedy))
    schedule = Schedule.from_dict(dict(value))
    if "num_train_timesteps" not in value:
        return schedule
    ends = (schedule.expressions["alpha"], schedule.expressions["sigma"])
    return Discrete(schedule.name, *ends, int(value["num_train_timesteps"]))


def read_prediction(value: Any) -> Prediction:
    """Return the prediction itself, or the one with a name."""
    if isinstance(value, str):
        return PREDICTIONS[_known(value, PREDICTIONS, "a prediction")]
    return expect_prediction(value, "prediction")


def write_w(w: DiffusionCoefficient, schedule: Schedule) -> str | dict[str, str]:
    """Return the name where that says all, else the name and the expression under the schedule."""
    if w.name in _PLAIN:
        return w.name
    return {"name": w.name, "expression": str(w.expression(schedule))}


def read_w(value: Any) -> DiffusionCoefficient:
    """Return the coefficient itself, or the one that was written."""
    if isinstance(value, str):
        return _PLAIN[_known(value, _PLAIN, "w")]()
    if not isinstance(value, Mapping):
        return expect_diffusion(value)
    _expect_keys(value, {"name", "expression"}, "w")
    expression = canonical(str(value["expression"]), "w")
    return DiffusionCoefficient(str(value["name"]), lambda schedule: expression)


def write_method(method: Any) -> dict[str, Any]:
    """Return the name and the fields, of a method inside another likewise."""
    written: dict[str, Any] = {"name": type(method).__name__}
    for field in fields(method):
        value = getattr(method, field.name)
        if is_dataclass(value):
            value = write_method(value)
        elif not isinstance(value, (int, float, str, type(None))):
            wanted = f"{field.name} of {written['name']}: a number or a name, for it is written as JSON"
            raise TypeError(explain(wanted, type(value).__name__, "pass a Python number"))
        written[field.name] = value
    return written


def read_method(value: Any) -> Method:
    """Return the method itself, or the one that was written."""
    if isinstance(value, solvers.Adaptive):
        wanted = "a method with steps of fixed length, for the loop is the pipeline's"
        raise TypeError(explain(wanted, repr(value), "choose one with an order that suffices, such as RK4()"))
    if not isinstance(value, Mapping):
        return expect_method(value)  # type: ignore[no-any-return]
    return expect_method(_built(value))  # type: ignore[no-any-return]


def _built(value: Mapping[str, Any]) -> Any:
    kind = _METHODS[_known(value.get("name"), _METHODS, "a method")]
    given = {key: _built(part) if isinstance(part, Mapping) else part for key, part in value.items() if key != "name"}
    _expect_keys(given, {field.name for field in fields(kind)}, kind.__name__)
    return kind(**given)


def _known(name: Any, names: Mapping[str, Any], what: str) -> str:
    """Return a name that is in a list."""
    if isinstance(name, str) and name in names:
        return name
    wanted = f"the name of {what}: {', '.join(names)}"
    raise ValueError(explain(wanted, repr(name), f"did you mean {closest(str(name), names)}?"))


def _expect_keys(given: Mapping[str, Any], known: set[str], what: str) -> None:
    unknown = sorted(given.keys() - known)
    if unknown:
        received, wanted = ", ".join(unknown), ", ".join(sorted(known)) or "nothing"
        remedy = f"did you mean {closest(unknown[0], known)}?" if known else "leave it out"
        raise ValueError(explain(f"fields of {what}: {wanted}", received, remedy))

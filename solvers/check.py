"""What can be refused before the problem is evaluated: a method that does not fit, a time out of reach, a pole."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from solvers.denoising import Denoising
from solvers.errors import PoleError, explain
from solvers.grid import host_times
from solvers.method import Method, at_node, check_fits, evaluation_times
from solvers.noise.source import interval_of
from solvers.problem import Pole, Problem

_ROUNDING = 1e-9
_PARTS = ("order", "evaluations", "nodes", "stochastic", "solves", "init", "step")

_REMEDIES = {
    "CompiledODE": "call solvers.compiled.solve_ensemble, which has the loop for it",
    "CompiledSDE": "call solvers.compiled.solve_ensemble, which has the loop for it",
    "ODE": "choose a method for ODEs, such as Heun()",
    "SDE": "choose a method for SDEs, such as EulerMaruyama() or StochasticHeun()",
    "Denoising": "choose a method for denoising problems, such as DDIM() or ExponentialEulerMaruyama()",
}


def check_solve(problem: Any, ts: Any, method: Any) -> list[float]:
    """Refuse what can be seen to fail before the first evaluation, and return the times on the host."""
    check_method(method, problem)
    times = host_times(ts)
    check_within(problem, times)
    check_denoising(problem, times, method)
    check_fits(method, problem, times)
    check_poles(problem, times, method)
    return times


def check_adaptive(problem: Any, ts: Any, method: Any) -> list[float]:
    """Do the same for steps of their own length with a method, which may evaluate anywhere between the ends."""
    check_method(method, problem)
    times = host_times(ts)
    check_within(problem, times)
    check_interval(problem, times)
    return times


def expect_method(method: Any) -> Any:
    """Return ``method`` if it is one; a class, or anything else, is refused."""
    if isinstance(method, type):
        name = method.__name__
        raise TypeError(explain("a method such as Heun()", f"the class {name}", f"write {name}()"))
    missing = [part for part in _PARTS if not hasattr(method, part)]
    if missing:
        received = f"{type(method).__name__} without {', '.join(missing)}"
        remedy = "the order is solve(problem, x, ts, method)"
        if hasattr(method, "method"):
            remedy = "its steps are not those of a grid; pass the method inside it"
        raise TypeError(explain("a method such as Heun()", received, remedy))
    return method


def check_method(method: Any, problem: Any) -> None:
    """Refuse what is not a method, what is not a problem, and a method for another kind of problem."""
    expect_method(method)
    if not isinstance(problem, Problem):
        remedy = "wrap the function: ODE(drift)"
        raise TypeError(explain("a problem: ODE, SDE or Denoising", type(problem).__name__, remedy))
    if not isinstance(problem, method.solves):
        kind, wanted = type(problem).__name__, method.solves.__name__
        remedy = f"{_REMEDIES.get(kind, f'choose a method for {kind}')}; or make the problem {_one(wanted)}"
        raise TypeError(explain(f"{_one(wanted)} for {type(method).__name__}", _one(kind), remedy))


def _one(kind: str) -> str:
    """Return the name of a kind of problem with its article: an ODE, an SDE, a Denoising."""
    return f"{'an' if kind.isupper() else 'a'} {kind}"


def check_path(rng: Any, times: Sequence[float]) -> None:
    """Refuse a path as the source of noise that does not reach over the grid, or does not resolve its steps."""
    interval = interval_of(rng)
    if interval is None:
        return
    low, high = min(times[0], times[-1]), max(times[0], times[-1])
    if not interval[0] <= low <= high <= interval[1]:
        wanted = f"rng: a path over the grid, {times[0]!r} to {times[-1]!r}"
        remedy = f"pass rng=BrownianPath(seed, start={times[0]!r}, stop={times[-1]!r})"
        raise ValueError(explain(wanted, f"one over [{interval[0]!r}, {interval[1]!r}]", remedy))
    leaf, step = getattr(rng, "resolution", 0.0), min(abs(t1 - t0) for t0, t1 in pairwise(times))
    if step < (1.0 - _ROUNDING) * leaf:
        wanted = f"rng: a path that resolves the steps of the grid, of which the shortest is {step:.3g}"
        remedy = "pass BrownianPath(..., depth=30), or a grid without such steps"
        raise ValueError(explain(wanted, f"one whose leaves are {leaf:.3g} long", remedy))


def check_denoising(problem: Problem, times: Sequence[float], method: Method) -> None:
    """Refuse a denoising problem whose noise the method would not see, a start without noise, a direction it lacks."""
    if not isinstance(problem, Denoising):
        return
    name, (start, stop) = type(method).__name__, (times[0], times[-1])
    check_start(problem, start)
    if method.stochastic and stop > start and not getattr(method, "rising", False):
        remedy = "turn the grid round: uniform(n) goes from t = 1 to t = 0"
        raise ValueError(explain(f"falling times for {name}", f"{start!r} to {stop!r}", remedy))
    if not getattr(method, "reads_clock", False) and problem.clock(max(start, stop), min(start, stop)) != 0.0:
        remedy = "build the problem with w = 0, or choose ExponentialEulerMaruyama(), which takes any w"
        raise ValueError(explain(f"a denoising problem without w for {name}", "a w that is not zero", remedy))


def check_start(problem: Denoising, start: float) -> None:
    """Refuse to start a denoising problem where there is no noise."""
    if not problem.sigma(start) > 0.0:
        remedy = "start the grid where there is noise: t = 1 is noise and t = 0 is data"
        raise ValueError(explain("sigma > 0 at the first time", f"0 at time {start!r}", remedy))


def check_within(problem: Problem, times: Sequence[float]) -> None:
    """Refuse a grid that leaves the domain of the problem."""
    lowest, highest = problem.domain
    for end, time in (("starts", times[0]), ("ends", times[-1])):
        if not lowest <= time <= highest:
            wanted = f"times inside the domain [{lowest!r}, {highest!r}] of the problem"
            remedy = f"choose a grid that {end} inside the domain"
            raise ValueError(explain(wanted, f"a grid that {end} at {time!r}", remedy))


def check_poles(problem: Problem, times: Sequence[float], method: Method) -> None:
    """Refuse a solve in which the method would evaluate the problem at one of its poles."""
    _check_reach(problem, times)
    parts = method.parts(problem, list(times)) if hasattr(method, "parts") else [(problem, times, method)]
    for posed, part, taking in parts:
        poles = {float(pole.time): pole for pole in posed.poles}
        if not poles:
            continue
        for index, time in evaluation_times(taking, part, posed):
            if time in poles:
                raise PoleError(_describe(poles[time], part, index, taking))
        _check_noise(posed, part, taking, poles)


def _check_reach(problem: Problem, times: Sequence[float]) -> None:
    """Refuse a grid that begins or ends at a pole which no number of steps reaches."""
    for pole in problem.poles:
        if not pole.integrable and pole.time in (times[0], times[-1]):
            first = pole.time == times[0]
            wanted = "a grid that stays away from times up to which the noise has no finite integral"
            received = f"one that {'starts' if first else 'ends'} at {pole.time!r} ({pole.reason})"
            raise PoleError(
                explain(wanted, received, f"{pole.remedy}; or move its {'first' if first else 'last'} time")
            )


def _check_noise(problem: Problem, times: Sequence[float], method: Method, poles: dict[float, Pole]) -> None:
    """Refuse a pole where the method asks for the diffusion alone; one that is the drift's does no harm there."""
    for index, (t0, t1) in enumerate(pairwise(times)):
        for node in getattr(method, "noise_nodes", ()):
            time = at_node(node, t0, t1)
            if time in poles and not _is_finite(problem.diffusion, time):  # type: ignore[attr-defined]
                raise PoleError(_describe(poles[time], times, index, method))


def _is_finite(diffusion: Callable[[float], float], time: float) -> bool:
    try:
        return math.isfinite(diffusion(time))
    except (ValueError, ZeroDivisionError):
        return False


def check_interval(problem: Problem, times: Sequence[float]) -> None:
    """Refuse an interval with a pole in it: where steps choose their own ends, nobody knows which times they meet."""
    lowest, highest = min(times[0], times[-1]), max(times[0], times[-1])
    for pole in problem.poles:
        if lowest <= pole.time <= highest:
            at_end = "start" if pole.time == times[0] else "end" if pole.time == times[-1] else ""
            move = f"{at_end} the grid beside {pole.time!r}" if at_end else f"stay on one side of {pole.time!r}"
            raise PoleError(
                explain(
                    "a problem that is finite on the whole interval, ends included, for adaptive steps",
                    f"a pole at time {pole.time!r} ({pole.reason})",
                    f"{pole.remedy}; or {move}" if pole.remedy else move,
                )
            )


def _describe(pole: Pole, times: Sequence[float], index: int, method: Method) -> str:
    name = type(method).__name__
    if pole.time == times[0]:
        move = f"start the grid {'below' if times[1] < times[0] else 'above'} {pole.time!r} (move its first time)"
    elif pole.time == times[-1]:
        move = f"end the grid {'above' if times[-1] < times[0] else 'below'} {pole.time!r} (move its last time)"
        if 1.0 in method.nodes:
            move += ", or choose a method that does not evaluate at the end of a step"
    else:
        move = f"end or start the grid on one side of {pole.time!r}: the pole lies inside it"
    return explain(
        "a problem that is finite wherever the method evaluates it",
        f"a pole at time {pole.time!r} ({pole.reason}), where {name} evaluates in step {index + 1}",
        f"{pole.remedy}; or {move}" if pole.remedy else move,
    )

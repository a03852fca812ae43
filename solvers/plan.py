"""A solve written down before it is run, for one problem and one grid: all that the host computes is done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from solvers.arrays import Array
from solvers.check import check_solve
from solvers.errors import explain
from solvers.method import Holding, Method
from solvers.problem import Field, Problem
from solvers.written import Operation, Program, combined, drawn, written

__all__ = ["Plan", "plan"]


@dataclass(frozen=True, slots=True, eq=False)
class Plan(Holding):
    """A method for one problem and one grid, from ``method.plan(problem, ts)``; pass both to ``solve`` with it.

    Args:
        method: the method that was planned.
        problem: for which problem; one with another model and all else the same may follow the plan too.
        times: the grid.
        programs: the steps.
        constants: numbers and arrays that the method adds.
    """

    method: Method
    problem: Problem
    times: tuple[float, ...]
    programs: tuple[Program, ...]
    constants: tuple[Any, ...]

    def fits(self, problem: Problem, times: list[float]) -> None:
        """Refuse a grid or a problem for which the weights do not hold."""
        if tuple(times) != self.times:
            wanted = f"the grid that was planned, {len(self.times)} times from {self.times[0]!r} to {self.times[-1]!r}"
            received = f"{len(times)} times from {times[0]!r} to {times[-1]!r}"
            raise ValueError(explain(wanted, received, "plan the method again for this grid"))
        for name, part in vars(self.problem).items():
            if name not in (problem.evaluated, "relatives") and getattr(problem, name) != part:
                wanted = "the problem that was planned, or one with another model and all else the same"
                remedy = f"plan the method again, or make the problem by replace(problem, {problem.evaluated}=...)"
                raise ValueError(explain(wanted, f"one with another {name}", remedy))

    def visits(self, problem: Any, ts: list[float]) -> list[list[float]]:
        """Return the times at which each step evaluates."""
        return [[call.time for call in program.operations if isinstance(call, Operation)] for program in self.programs]

    def init(self, problem: Any, t0: float, x0: Array) -> tuple[int, tuple[Array, ...]]:
        """Carry the number of the step and nothing else."""
        return 0, ()

    def step(
        self, problem: Any, t0: float, t1: float, x: Array, state: tuple[int, tuple[Array, ...]], noise: Any
    ) -> tuple[Array, tuple[int, tuple[Array, ...]]]:
        """Go from ``x`` at t0 to t1: sums of arrays, with evaluations between them."""
        index, carried = state
        program = self.programs[index]
        evaluate = getattr(problem, problem.evaluated)
        values = [*self.constants, x, *carried]
        for each in program.operations:
            if isinstance(each, Operation):
                values.append(evaluate(each.time, combined(each.terms, values)))
            else:
                values.extend(drawn(each, noise))
        return combined(program.state, values), (index + 1, tuple(combined(terms, values) for terms in program.carried))


def plan(method: Method, problem: Problem, ts: Any) -> Plan:
    """Run a method on symbols over a grid, and write down what it does.

    Raises:
        TypeError: no problem of the kind that the method solves; a method that is not linear.
        ValueError: an impossible grid.
    """
    times = check_solve(problem, ts, method)
    spared = {"relatives": None} if hasattr(problem, "relatives") else {}

    def pose(evaluate: Field) -> Problem:
        return replace(problem, **spared, **{problem.evaluated: evaluate})  # type: ignore[type-var]

    return Plan(method, problem, tuple(times), *written(method, pose, times))

"""What a caller says about steps that choose their own length."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from solvers.arrays import Array
from solvers.check import expect_method
from solvers.errors import explain
from solvers.grid import check_count
from solvers.problem import SDE, check_callable


@dataclass(frozen=True, slots=True)
class Event:
    """A function of time and state whose zeros along the solution are looked for.

    A crossing is seen when the sign at the end of a step is not that at its start, so two crossings within one step
    are missed: ``max_step`` bounds the step. It is located by bisection of the dense output, to the last bits of the
    fraction of the step; no drift is evaluated for it. A function that is 0 at the start has not crossed.

    Args:
        function: (time, x) → a number, called with what the drift is called with; with ``per_sample=True`` one number
            for each row, shape (B,).
        terminal: stop at the first crossing; otherwise it is only recorded.
        direction: 1 for crossings from negative to positive in the order of the solve, −1 for the others, 0 for both.
    """

    function: Callable[[Any, Array], Any]
    terminal: bool = True
    direction: int = 0

    def __post_init__(self) -> None:
        check_callable("function of the event", self.function, "(time, x) -> number")
        if self.direction not in (-1, 0, 1):
            wanted = "direction: -1 (falling), 0 (both) or 1 (rising)"
            raise ValueError(explain(wanted, repr(self.direction), "pass one of the three"))


@dataclass(frozen=True, slots=True)
class Adaptive:
    r"""Steps as long as a tolerance allows, for ``solve(problem, x, ts, Adaptive(Dopri5()))``.

    The difference e between the step and its embedded formula is measured as

    .. math:: \epsilon = \sqrt{\frac1N \sum_i \Bigl(\frac{e_i}{\mathrm{atol} + \mathrm{rtol}\,
              \max(|x_{0,i}|, |x_{1,i}|)}\Bigr)^2},

    over the whole state, or with ``per_sample=True`` over each row. A step with :math:`\epsilon \le 1` is accepted,
    with the formula of higher order (local extrapolation). The next length is

    .. math:: h \cdot \min\Bigl(10, \max\Bigl(0.2,\ \Bigl(\frac{s}{\epsilon_n}\Bigr)^{0.7/k}
              \Bigl(\frac{\epsilon_{n-1}}{s}\Bigr)^{0.4/k}\Bigr)\Bigr), \qquad s = 0.9^k,

    k the power of h in e: a proportional-integral controller that aims at the error s. After a refused step it is
    :math:`(s/\epsilon)^{1/k} h`, with a factor between 0.2 and 1, and the step after a refusal does not grow. A trial
    step whose numbers overflow is refused like any other. The first length follows Hairer's rule, with one more
    evaluation.

    **SDEs.** A method with a strong order p, such as ``EulerMaruyama()``, is run along a path that can be refined:
    ``rng=BrownianPath(seed, start, stop)``. e is the difference between a step and two of half its length with the
    noise of the same path, k is p + ½, and the two are taken. A refused step does not change the path, so nothing is
    biased; the noise is additive, so the steps may depend on it. The first step is a hundredth of the interval if none
    is given. The grid's times between its ends are ends of steps.

    With ``per_sample=True`` each row of x has its own time and its own steps, so its result does not depend on the
    batch. The drift is then called with a time of shape (B',) and the B' ≤ B rows that have not finished; it must
    treat the rows one by one. Drifts made by ``interpolants`` accept such times.

    Times and lengths are float64 on the host, so each step waits once for the device. Gradients flow through the
    steps that were taken, their lengths being constants. It cannot be traced by ``torch.compile`` or ``jax.jit``.

    Args:
        method: ``Bosh3()``, ``Dopri5()``, ``Tsit5()`` or ``DOP853()``; for SDEs ``EulerMaruyama()``,
            ``StochasticHeun()`` or another with a ``strong_order`` of at least 1, without events and steps per sample.
        rtol: relative tolerance, positive.
        atol: absolute tolerance, positive.
        per_sample: a time and a step for each row.
        max_steps: how many steps may be tried, refused ones included.
        min_step: the shortest step that may be tried, but for the last; when the tolerance asks for a shorter one, the
            solve ends with the status "min-step". Along a path it is at least two leaves of its tree.
        max_step: the longest.
        first_step: the length to try first; found from the problem if absent.
        events: functions whose zeros are looked for.

    Raises:
        TypeError: a method that is none, events that are none.
        ValueError: a method without an estimate of its error; events or steps per sample along a path; a
            tolerance, length or number that is not positive.

    References: Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I (1993), II.4; Gustafsson, Control
    theoretic techniques for stepsize selection in explicit Runge-Kutta methods, ACM Trans. Math. Softw. 17 (1991);
    Söderlind, Automatic control and adaptive time-stepping, Numer. Algorithms 31 (2002). For SDEs: Gaines & Lyons,
    Variable step size control in the numerical solution of stochastic differential equations, SIAM J. Appl. Math. 57
    (1997).
    """

    method: Any
    rtol: float = 1e-5
    atol: float = 1e-7
    per_sample: bool = False
    max_steps: int = 10_000
    min_step: float = 0.0
    max_step: float = math.inf
    first_step: float | None = None
    events: tuple[Event, ...] = ()

    def __post_init__(self) -> None:
        tableau = getattr(expect_method(self.method), "tableau", None)
        if self.method.solves is SDE and hasattr(self.method, "strong_order"):
            self._check_path_steps()
        elif tableau is None or not tableau.errors:
            wanted = "a method with an estimate of its error, or one for SDEs with a strong order"
            remedy = "choose Bosh3(), Dopri5(), Tsit5() or DOP853(); for SDEs EulerMaruyama() or StochasticHeun()"
            raise ValueError(explain(wanted, type(self.method).__name__, remedy))
        tiny = "pass a positive number; a very small one switches that part of the tolerance off"
        _positive("rtol", self.rtol, tiny)
        _positive("atol", self.atol, tiny)
        _positive("max_step", self.max_step, "leave it out for no limit", infinite=True)
        if self.first_step is not None:
            _positive("first_step", self.first_step, "leave it out to have it found")
        if not (_is_number(self.min_step) and 0.0 <= self.min_step <= self.max_step):
            wanted = f"min_step: a number from 0 to max_step = {self.max_step!r}"
            raise ValueError(explain(wanted, repr(self.min_step), "leave it out for no limit"))
        check_count("max_steps: how many steps may be tried", self.max_steps)
        if not isinstance(self.events, tuple) or not all(isinstance(event, Event) for event in self.events):
            remedy = "write events=(Event(function),), with the comma"
            raise TypeError(explain("events: a tuple of Event", repr(self.events), remedy))

    def _check_path_steps(self) -> None:
        """Refuse what steps along a path have not."""
        name = type(self.method).__name__
        if self.per_sample:
            wanted, remedy = f"one step for the whole batch with {name}", "leave per_sample out, or solve row by row"
            raise ValueError(explain(wanted, "per_sample=True", remedy))
        if self.events:
            remedy = "look at the states at many times: save=True"
            raise ValueError(explain(f"no events with {name}, which has no dense output", "events", remedy))
        if self.method.strong_order < 1.0:
            wanted = "a method with a strong order of at least 1, whose step and its halves differ by its error"
            received = f"{name} with {self.method.strong_order}"
            raise ValueError(explain(wanted, received, "choose EulerMaruyama() or StochasticHeun()"))
        if hasattr(self.method, "on"):
            wanted = "a method whose steps do not depend on their place in a grid"
            raise ValueError(explain(wanted, name, "choose one without a last step of its own"))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _positive(name: str, value: object, remedy: str, *, infinite: bool = False) -> None:
    if not (isinstance(value, (int, float)) and _is_number(value) and value > 0.0 and (infinite or value < math.inf)):
        raise ValueError(explain(f"{name}: a positive number", repr(value), remedy))

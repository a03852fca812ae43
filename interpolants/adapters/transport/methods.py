"""The names under which torchdiffeq, and with it SiT's code, knows methods for ODEs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from interpolants.adapters.transport.kinds import named
from solvers import DOP853, Adaptive, Bosh3, Dopri5, Euler, Heun, Midpoint
from solvers.runge_kutta import RungeKutta
from solvers.runge_kutta.tableau import Tableau, fractions, lower

__all__ = ["Heun3", "ThreeEighths", "ode_method"]


@dataclass(frozen=True, slots=True)
class Heun3(RungeKutta):
    """Heun's method of order 3: three evaluations per step, none at its end.

    References: Heun, Neue Methoden zur approximativen Integration der Differentialgleichungen einer unabhängigen
    Veränderlichen, Z. Math. Phys. 45 (1900).
    """

    tableau: ClassVar[Tableau] = Tableau(a=lower("1/3\n0 2/3"), b=fractions("1/4 0 3/4"), order=3)


@dataclass(frozen=True, slots=True)
class ThreeEighths(RungeKutta):
    """Kutta's 3/8 rule, of order 4: what torchdiffeq calls ``rk4``; :class:`solvers.RK4` is the classical one.

    References: Kutta, Beitrag zur näherungsweisen Integration totaler Differentialgleichungen, Z. Math. Phys. 46
    (1901); Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I (1993), table II.1.2.
    """

    tableau: ClassVar[Tableau] = Tableau(a=lower("1/3\n-1/3 1\n1 -1 1"), b=fractions("1/8 3/8 3/8 1/8"), order=4)


_FIXED: dict[str, RungeKutta] = {
    "euler": Euler(),
    "midpoint": Midpoint(),
    "heun2": Heun(),
    "heun3": Heun3(),
    "rk4": ThreeEighths(),
}
_ADAPTIVE: dict[str, RungeKutta] = {"bosh3": Bosh3(), "dopri5": Dopri5(), "dopri8": DOP853()}


def ode_method(name: str, rtol: float, atol: float) -> RungeKutta | Adaptive:
    """Return the method of a name; tolerances belong to those that choose their steps.

    Raises:
        ValueError: an unknown name; tolerances that are not positive.
    """
    method = named("sampling_method", name, _FIXED | _ADAPTIVE)
    # Only a step limit that nobody meets: torchdiffeq has none.
    return Adaptive(method, rtol=rtol, atol=atol, max_steps=10**9) if name in _ADAPTIVE else method

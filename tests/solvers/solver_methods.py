"""Every method, so that a law is written once and met by all."""

from solvers import (
    DDIM,
    DEIS,
    DOP853,
    RES,
    RK4,
    SRA1,
    SRA3,
    SSPRK3,
    AdamsBashforth,
    Ancestral,
    Bosh3,
    Dopri5,
    DPMSolver,
    DPMSolverPP,
    EDMHeun,
    Euler,
    EulerMaruyama,
    ExponentialEulerMaruyama,
    Heun,
    LastStep,
    LeimkuhlerMatthews,
    Mean,
    Midpoint,
    Preconditioned,
    Ralston,
    ShARK,
    SiTHeun,
    StochasticHeun,
    Tsit5,
    UniPC,
)

ADAPTABLE = [Bosh3(), Dopri5(), Tsit5(), DOP853()]
TABLEAUS = [Euler(), Midpoint(), Heun(), Ralston(), RK4(), SSPRK3(), *ADAPTABLE]
DETERMINISTIC = [*TABLEAUS, *(AdamsBashforth(order) for order in (1, 2, 3, 4))]
PLAIN_STOCHASTIC = [
    EulerMaruyama(),
    StochasticHeun(),
    SRA1(),
    SRA3(),
    ShARK(),
    LeimkuhlerMatthews(),
    SiTHeun(),
]
STOCHASTIC = [*PLAIN_STOCHASTIC, LastStep(EulerMaruyama(), Mean())]
METHODS = [*DETERMINISTIC, *STOCHASTIC]
SINGLESTEP = [
    *(kind(order, "singlestep") for kind in (DPMSolver, DPMSolverPP) for order in (1, 2, 3)),
    RES(),
    EDMHeun(),
]
MULTISTEP = [
    *(kind(order, "multistep") for kind in (DPMSolver, DPMSolverPP) for order in (2, 3)),
    RES(2, "multistep"),
    *(DEIS(order) for order in (1, 2, 3)),
    *(UniPC(order) for order in (2, 3, 4)),
    *(UniPC(order, corrector=False) for order in (1, 2, 3)),
    UniPC(3, half=True),
]
PRECONDITIONED = [Preconditioned(inner, 0.3, 0.7) for inner in (DDIM(), DPMSolverPP(3), UniPC(3))]
EXPONENTIAL = [DDIM(), *SINGLESTEP, *MULTISTEP, *PRECONDITIONED]
DENOISING = [ExponentialEulerMaruyama(), Ancestral(), *EXPONENTIAL, LastStep(ExponentialEulerMaruyama(), DDIM())]


def name(method: object) -> str:
    """Return the class, and the order, variant or method inside where the class has several."""
    parts = [type(method).__name__]
    for part in ("order", "variant", "corrector", "half"):
        if part in getattr(method, "__dataclass_fields__", {}):
            parts.append(str(getattr(method, part)))
    if isinstance(method, (LastStep, Preconditioned)):
        parts.append(name(method.method))
    if isinstance(method, LastStep):
        parts.append(name(method.last))
    return "-".join(parts)

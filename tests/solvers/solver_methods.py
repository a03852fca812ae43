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
    EDMStochastic,
    Euler,
    EulerMaruyama,
    ExponentialEulerMaruyama,
    Heun,
    LastStep,
    LeimkuhlerMatthews,
    Mean,
    Midpoint,
    Preconditioned,
    PredictorCorrector,
    Ralston,
    Restart,
    SASolver,
    SDEDPMSolverPP,
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
ADAMS = [
    *(SDEDPMSolverPP(order) for order in (1, 2, 3)),
    *(SASolver(*orders) for orders in ((1, 2), (2, 0), (2, 3), (3, 4))),
]
RENOISING = [
    EDMStochastic(),
    Restart(low=0.3, high=0.8),
    Restart(DPMSolverPP(3), low=0.3, high=0.8, steps=3),
    PredictorCorrector(),
    PredictorCorrector(DPMSolverPP(2), steps=2, snr=0.3),
]
DENOISING = [ExponentialEulerMaruyama(), Ancestral(), *EXPONENTIAL, *ADAMS, *RENOISING]
DENOISING.append(LastStep(ExponentialEulerMaruyama(), DDIM()))


def name(method: object) -> str:
    """Return the class, and the order, variant or method inside where the class has several."""
    parts = [type(method).__name__]
    for part in ("order", "variant", "predictor", "corrector", "half", "steps"):
        if part in getattr(method, "__dataclass_fields__", {}):
            value = getattr(method, part)
            parts.append(name(value) if hasattr(value, "step") else str(value))
    if isinstance(method, (LastStep, Preconditioned, Restart)):
        parts.append(name(method.method))
    if isinstance(method, LastStep):
        parts.append(name(method.last))
    return "-".join(parts)

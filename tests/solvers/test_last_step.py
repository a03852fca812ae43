"""The last step of a stochastic solve: hand-written recursions, what is counted, what is refused."""

import math

import numpy as np
import pytest
from refusals import Recorder

from interpolants import (
    GVP,
    VP,
    Gaussian,
    Linear,
    Path,
    Score,
    Velocity,
    denoising,
    diffusion,
    reverse_sde,
    sampler_law,
)
from interpolants.published import sit_sde
from solvers import (
    DDIM,
    ODE,
    SDE,
    SRA1,
    Ancestral,
    DPMSolverPP,
    Euler,
    EulerMaruyama,
    ExponentialEulerMaruyama,
    Heun,
    LastStep,
    Mean,
    Pole,
    PoleError,
    StochasticHeun,
    Tweedie,
    solve,
    uniform,
)
from tests.support import recursions
from tests.support.zoo import BUILT_INS, CHOICES

EM, EEM = EulerMaruyama(), ExponentialEulerMaruyama()
SIGMA = next(choice for choice in CHOICES if repr(choice) == "Sigma()")
C, M = 0.3, 0.7
TS = [1.0, 0.8, 0.5, 0.15, 0.0]


def by_hand(case, last):
    """Mean and variance at t = 0: Euler–Maruyama's recursion to 0.15, then an affine map of x written out for each."""
    mean, variance, _ = recursions.euler_maruyama(case, SIGMA, TS[:-1], M, C)
    t = TS[-2]
    alpha, sigma, d_alpha, d_sigma = recursions.levels(case, t)
    rho = alpha * alpha * C + sigma * sigma
    growth = (alpha * d_alpha * C + sigma * d_sigma) / rho
    slope, shift = {
        "mean": (1 - t * (growth + 0.5 * sigma / rho), None),
        "ode": (1 - t * growth, None),
        "tweedie": (alpha * C / rho, M),
    }[last]
    centre = alpha * M - t * d_alpha * M if shift is None else shift
    return centre + slope * (mean - alpha * M), slope * slope * variance


@pytest.mark.parametrize("case", BUILT_INS, ids=repr)
@pytest.mark.parametrize(
    ("last", "method"), [("mean", Mean()), ("ode", Euler()), ("tweedie", Tweedie()), ("tweedie", DDIM())]
)
def test_laws(case, last, method):
    """After a last step of its mean, of the flow, of Tweedie's formula and of DDIM the law is the one by hand."""
    path = Path(case.schedule, Gaussian([M], C))
    found = sampler_law(path, LastStep(EM, method), TS, SIGMA.w)
    mean, variance = by_hand(case, last)
    assert abs(found.mean.item() - mean) < 1e-12
    assert abs(found.cov.item() - variance) < 1e-12
    assert found.nfe == 4


def test_exponential_methods_have_last_steps_too():
    """To σ > 0 the mean of an exponential step is the step without ξ, and DDIM's is the flow's."""
    path, ts = Path(Linear(), Gaussian([M], C)), [0.9, 0.5, 0.2]
    before = sampler_law(path, EEM, ts[:-1], diffusion.KL()).cov.item()
    pull = 0.5 * C / (0.25 * C + 0.25)
    for last, keep in ((Mean(), 0.4 * (0.2 * 0.5 / (0.5 * 0.8))), (DDIM(), 0.4)):
        found = sampler_law(path, LastStep(EEM, last), ts, diffusion.KL()).cov.item()
        assert abs(found - (keep + (0.8 - 0.5 * keep) * pull) ** 2 * before) < 1e-13


def test_a_last_step_may_evaluate_more_or_less():
    """Heun's last step evaluates twice, Tweedie's once, and the states before are those of the method alone."""
    path, x = Path(Linear(), Gaussian([M], C)), np.linspace(-1.0, 1.0, 5)[:, None]
    sde = reverse_sde(path.schedule, path.velocity, diffusion.Sigma())
    saved = [
        solve(sde, x, TS, method, rng=np.random.default_rng(0), save=True)
        for method in (SRA1(), LastStep(SRA1(), Heun()), LastStep(SRA1(), Tweedie()))
    ]
    assert [solution.nfe for solution in saved] == [8, 8, 7]
    for solution in saved[1:]:
        np.testing.assert_array_equal(solution.xs[:-1], saved[0].xs[:-1])
        assert not np.allclose(solution.x, saved[0].x)


def test_one_step_is_the_last():
    """On a grid of one step the method takes none."""
    path, x = Path(Linear(), Gaussian([M], C)), np.ones((3, 1))
    sde = reverse_sde(path.schedule, path.velocity, diffusion.Sigma())
    found = solve(sde, x, [0.5, 0.0], LastStep(EM, Tweedie()), rng=np.random.default_rng(0))
    np.testing.assert_array_equal(found.x, path.data(0.5, x))


def test_poles_belong_to_who_meets_them():
    """A score model's flow is finite at t = 0.3 where the SDE is asked; a last step by Heun meets the flow's pole."""
    path = Path(Linear(), Gaussian([M], C))
    sde = reverse_sde(path.schedule, path.score, diffusion.Constant(1.0), prediction=Score)
    x, rng = np.ones((2, 1)), np.random.default_rng(0)
    assert np.isfinite(solve(sde, x, TS[1:], LastStep(EM, Euler()), rng=rng).x).all()
    velocity = reverse_sde(path.schedule, path.velocity, diffusion.Constant(1.0), prediction=Velocity)
    assert {pole.time for pole in velocity.poles} == {0.0}
    # Stochastic Heun would evaluate the SDE's drift at its pole in the last step; Heun's method has the flow there.
    with pytest.raises(PoleError, match="StochasticHeun evaluates in step 4"):
        solve(velocity, x, TS, LastStep(StochasticHeun(), Mean()), rng=rng)
    assert np.isfinite(solve(velocity, x, TS, LastStep(StochasticHeun(), Heun()), rng=rng).x).all()


def test_a_pole_of_the_flow_is_seen():
    """The last step's own problem is searched for poles before the first evaluation."""
    field = Recorder()
    flow = ODE(field, poles=(Pole(0.2, "made so"),))
    sde = SDE(field, lambda time: 1.0, relatives=lambda kind: flow)
    with pytest.raises(PoleError, match=r"pole at time 0\.2 \(made so\), where Euler evaluates"):
        solve(sde, np.ones(2), [1.0, 0.2, 0.1], LastStep(EM, Euler()), rng=np.random.default_rng(0))
    assert field.calls == []


@pytest.mark.parametrize(
    ("method", "last", "words"),
    [
        (Euler(), Mean(), r"method: a stochastic one; received Euler\(\)"),
        (EulerMaruyama, Mean(), "method: a stochastic one"),
        (EM, Mean, "last: Mean"),
        (EM, EM, "last: Mean.*; received EulerMaruyama"),
        (EM, "Mean", "last: Mean.*; received 'Mean'"),
    ],
)
def test_what_is_no_last_step(method, last, words):
    """Deterministic methods have no last step, and noise, classes and names are none."""
    with pytest.raises(TypeError, match=words):
        LastStep(method, last)


def test_refusals_before_the_first_call():
    """An SDE without relatives, a Tweedie step that does not reach the data: said before the model is called."""
    field = Recorder()
    bare = SDE(field, lambda time: 1.0)
    with pytest.raises(TypeError, match=r"a problem that knows its ODE, .* received an SDE without relatives"):
        solve(bare, np.ones(2), TS, LastStep(EM, Euler()), rng=np.random.default_rng(0))
    sde = reverse_sde(Linear(), field, diffusion.Sigma())
    with pytest.raises(ValueError, match=r"ends at the data.*received sigma = 0\.1 at 0\.1"):
        solve(sde, np.ones(2), [1.0, 0.5, 0.1], LastStep(EM, Tweedie()), rng=np.random.default_rng(0))
    with pytest.raises(TypeError, match="a last step by Euler; received a Denoising"):
        solve(denoising(Linear(), field), np.ones(2), TS, LastStep(Ancestral(), Euler()), rng=np.random.default_rng(0))
    assert field.calls == []


def test_a_relative_answers_like_the_state():
    """What the last step's problem returns is compared with the state as every other answer is."""
    flow = ODE(lambda time, x: np.ones(3))
    sde = SDE(lambda time, x: -x, lambda time: 1.0, relatives=lambda kind: flow)
    with pytest.raises(ValueError, match=r"drift\(time, x\) like x: dtype float64 and shape \(2,\)"):
        solve(sde, np.ones(2), TS, LastStep(EM, Euler()), rng=np.random.default_rng(0))


def test_other_kinds_of_problem_are_named():
    """A reverse SDE knows its flow and its denoising problem and says so."""
    sde = reverse_sde(Linear(), lambda time, x: x, diffusion.Sigma())
    with pytest.raises(TypeError, match="ODE or Denoising; received SDE"):
        sde.relatives(SDE)


def test_multistep_last_step():
    """DPM-Solver++ as a last step starts anew there: its own start is one singlestep step of its order."""
    path, x = Path(GVP(), Gaussian([M], C)), np.linspace(-1.0, 1.0, 5)[:, None]
    problem = denoising(path.schedule, path.velocity, w=diffusion.KL())
    ts, rng = [0.9, 0.6, 0.3], np.random.default_rng
    middle = solve(problem, x, ts[:-1], EEM, rng=rng(0)).x
    found = solve(problem, x, ts, LastStep(EEM, DPMSolverPP(2)), rng=rng(0))
    alone = solve(denoising(path.schedule, path.velocity), middle, ts[1:], DPMSolverPP(2))
    np.testing.assert_allclose(found.x, alone.x, rtol=1e-14)
    assert found.nfe == 1 + 2


def test_the_published_setting():
    """SiT's 250 evaluations: 249 steps to 0.04, then ten strides at once; narrow directions are far too narrow."""
    setting = sit_sde()
    assert len(setting.ts) == 251
    assert abs(setting.ts[248] - setting.ts[249] - 0.96 / 249) < 1e-15
    assert setting.ts[249:].tolist() == [0.04, 0.0]
    for schedule, least in ((Linear(), 0.15), (GVP(), 0.25), (VP(), 0.45)):
        path = Path(schedule, Gaussian([0.0], 0.01))
        published = sampler_law(path, setting.method, setting.ts, setting.w)
        even = sampler_law(path, setting.method, uniform(250), setting.w)
        assert published.nfe == even.nfe == 250
        assert 1 - published.spreads[0] / 0.1 > least
        assert abs(even.spreads[0] / 0.1 - 1) < 0.03
    # By hand: what one step of the mean from 0.04 makes of the exact marginal there, under Linear.
    rho = 0.96**2 * 0.01 + 0.04**2
    factor = 1 - 0.04 * ((0.04 - 0.96 * 0.01) / rho + 0.5 * 0.04 / rho)
    assert abs(factor * math.sqrt(rho) / 0.1 - (1 - 0.153)) < 0.01


@pytest.mark.parametrize(
    ("arguments", "words"), [({"steps": 1}, "steps: at least 2"), ({"last": 1.0}, "last: a length")]
)
def test_published_settings_refuse(arguments, words):
    """One step, or a last step of the whole length, is refused."""
    with pytest.raises(ValueError, match=words):
        sit_sde(**arguments)

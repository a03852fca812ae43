r"""{schedule × prediction × w × method × last step × direction} on Gaussians: refused before the first call, or right.

Right means that mean, covariance and the covariance of both ends, all by the exact law of the sampler, approach those
of the process as the number of steps grows: :math:`\alpha m`, :math:`\rho^2` and
:math:`\rho\rho' e^{-\frac12\int w/\rho^2}`. A test has all methods, last steps and both directions. In the second
tier there is one for each schedule and w, the predictions in turn, and for each prediction under the built-in ones.
"""

import math
from itertools import product

import numpy as np
import pytest

from interpolants import VP, Data, Gaussian, Linear, Noise, Path, Velocity, diffusion, sampler_law
from interpolants.laws import Sampler
from solvers import (
    DDIM,
    SRA1,
    Denoising,
    Euler,
    EulerMaruyama,
    ExponentialEulerMaruyama,
    LastStep,
    Mean,
    PoleError,
    SASolver,
    SDEDPMSolverPP,
    StochasticHeun,
    Tweedie,
    uniform,
)
from tests.support.kinds import DENOISING_KINDS, SDE_KINDS
from tests.support.registered import ALL
from tests.support.zoo import BUILT_INS, CHOICES, PREDICTIONS

VARIANCES, MEAN = np.array([0.1, 0.8]), np.array([0.7, -0.4])
METHODS = [*SDE_KINDS, *DENOISING_KINDS]
LAST = ["none", "mean", "tweedie", "ode"]
FIRST = {("linear", "KL()", Velocity), ("gvp", "Sigma()", Velocity), ("vp", "Constant(0.5)", Noise)}

EEM = ExponentialEulerMaruyama()
BOUND, RATIO = 0.4, 0.85
"""Where w/ρ² is large or a coefficient has an integrable singularity at an end, no order is promised: only descent."""


def ended(method, last):
    if last == "none":
        return method
    flow = DDIM() if method.solves is Denoising else Euler()
    return LastStep(method, {"mean": Mean(), "tweedie": Tweedie(), "ode": flow}[last])


def correlation(schedule, w):
    """exp(−½∫w/ρ²) over the domain, by 24-point Gauss–Legendre panels that shrink towards both ends."""
    rate = w.of(schedule)
    if any(math.isinf(end.limit) for end in rate.ends):
        # wKL and its like forget: at α = 0 the integral does not converge.
        return np.zeros(2)
    lo, hi = schedule.domain
    near = np.concatenate([10.0 ** np.arange(-13.0, -1.0), [0.1, 0.2, 0.3, 0.4]])
    marks = lo + (hi - lo) * np.concatenate([near, [0.5], 1 - near[::-1]])
    nodes, weights = np.polynomial.legendre.leggauss(24)
    half = 0.5 * np.diff(marks)[:, None]
    times = (0.5 * (marks[1:] + marks[:-1])[:, None] + half * nodes).ravel()
    values, alpha, sigma = (
        np.broadcast_to(part(times), times.shape) for part in (rate, schedule.alpha, schedule.sigma)
    )
    measure = (half * weights).ravel() * values
    return np.exp([-0.5 * float((measure / (alpha**2 * c + sigma**2)).sum()) for c in VARIANCES])


def errors(sampler, case, exact, ends):
    schedule, found = case.schedule, []
    alphas, sigmas = ([float(part(time)) for time in ends] for part in (schedule.alpha, schedule.sigma))
    rho = [np.hypot(alpha * np.sqrt(VARIANCES), sigma) for alpha, sigma in zip(alphas, sigmas)]
    for n in (32, 128):
        law = sampler.law(uniform(n, *ends))
        cross = np.diag(law.cross) - rho[0] * rho[1] * exact
        moments = law.mean - alphas[1] * MEAN, np.diag(law.cov) - rho[1] ** 2, cross
        assert all(np.isfinite(part).all() for part in moments)
        found.append(max(float(np.abs(part).max()) for part in moments))
    return found


def rows():
    """Yield schedule, w and prediction: all predictions under the built-in schedules, one in turn under the others."""
    for number, (case, choice) in enumerate(product(ALL, CHOICES)):
        some = PREDICTIONS if case.name in {each.name for each in BUILT_INS} else [PREDICTIONS[number % 5]]
        for prediction in some:
            marks = [] if (case.name, repr(choice), prediction) in FIRST else pytest.mark.slow
            yield pytest.param(case, choice, prediction, id=f"{case}-{choice}-{prediction}", marks=marks)


@pytest.mark.covering(3)
@pytest.mark.parametrize(("case", "choice", "prediction"), list(rows()))
def test_refused_or_right(case, choice, prediction):
    """Each method, last step and direction is refused with a reason and a remedy, or has the moments of the process."""
    path = Path(case.schedule, Gaussian(MEAN, np.diag(VARIANCES)))
    (lo, hi), exact, wrong, ran = case.schedule.domain, correlation(case.schedule, choice.w), [], 0
    for method, last, rising in product(METHODS, LAST, (False, True)):
        sampler = Sampler(path, ended(method, last), choice.w, prediction)
        ends = (lo, hi) if rising else (hi, lo)
        try:
            found = errors(sampler, case, exact, ends)
        except PoleError as refusal:
            ok = all(word in str(refusal) for word in ("expected", "received", "remedy"))
        except ValueError as refusal:
            ok = rising and any(word in str(refusal) for word in ("sigma > 0", "falling times", "ends at the data"))
        else:
            ran += 1
            ok = found[1] < BOUND and found[1] < max(RATIO * found[0], 1e-9)
        if not ok:
            wrong.append((type(method).__name__, last, rising))
    assert wrong == []
    poles = {pole.time for pole in Sampler(path, EulerMaruyama(), choice.w, prediction)._problem(False).poles}
    assert ran >= (0 if poles else 8)


@pytest.mark.covering(10)
@pytest.mark.parametrize("w", [diffusion.Sigma(), diffusion.Constant(0.5)], ids=repr)
@pytest.mark.parametrize("method", [EulerMaruyama(), StochasticHeun(), SRA1()], ids=lambda m: type(m).__name__)
def test_reversal(w, method):
    """The forward SDE and its reversal have one two-time covariance: both solves approach it, from either side.

    Between 0.9 and 0.1 it is ρρ' exp(−½∫w/ρ²) whichever end is the start; the errors of both shrink with the order.
    """
    path = Path(VP(), Gaussian([0.3], 0.4))
    gaps = []
    for n in (100, 200):
        down, up = (sampler_law(path, method, uniform(n, *ends), w).cross.item() for ends in ((0.9, 0.1), (0.1, 0.9)))
        gaps.append(abs(down - up))
        assert gaps[-1] < 0.02
    assert gaps[1] < gaps[0] / 2 ** (method.order - 0.2)


def test_a_sampler_that_ignores_w_would_be_seen():
    """The flow has the right marginals and correlation one: the covariance of both ends is what tells them apart."""
    path = Path(Linear(), Gaussian([0.0], 0.5))
    flow, noisy = (
        sampler_law(path, method, uniform(400), w)
        for method, w in ((Euler(), diffusion.Zero()), (EulerMaruyama(), diffusion.Sigma()))
    )
    assert abs(flow.cov.item() - noisy.cov.item()) < 0.01
    assert flow.cross.item() > 1.5 * noisy.cross.item()


def test_data_models_have_noise_to_begin_with():
    """Under Linear a data model is refused at t = 0 by methods that end there, and wKL at t = 1 by those of the SDE."""
    path = Path(Linear(), Gaussian([0.0], 0.5))
    with pytest.raises(PoleError, match=r"a pole at time 0\.0"):
        sampler_law(path, StochasticHeun(), uniform(8), diffusion.Sigma(), Data)
    with pytest.raises(PoleError, match=r"one that starts at 1\.0"):
        sampler_law(path, EulerMaruyama(), uniform(8), diffusion.KL())


def test_no_number_of_steps_reaches_noise_without_end():
    """Forwards to t = 1 with wKL no step evaluates there, and the variance would still be wrong: it is refused."""
    path = Path(Linear(), Gaussian([0.0], 0.5))
    for method in (EulerMaruyama(), LastStep(EulerMaruyama(), Euler())):
        with pytest.raises(PoleError, match=r"no finite integral; received one that ends at 1\.0 .*remedy"):
            sampler_law(path, method, uniform(8, 0.0, 1.0), diffusion.KL())
        assert sampler_law(path, method, uniform(8, 0.0, 0.9), diffusion.KL()).cov.item() < 2.0


@pytest.mark.covering(5)
@pytest.mark.parametrize("method", [SDEDPMSolverPP(2), SDEDPMSolverPP(3), SASolver(2, 3)], ids=repr)
@pytest.mark.parametrize("w", [diffusion.Constant(1), 20 * diffusion.KL()], ids=repr)
def test_multistep_methods_do_not_add_up_noise(method, w):
    """Where late steps draw the state anew, differences of predictions are noise: no worse than order 1, and right."""
    path = Path(Linear(), Gaussian([0.0, 0.0], np.diag(VARIANCES)))
    exact, errors = np.sqrt(VARIANCES), []
    for n in (64, 256, 1024):
        plain, found = (sampler_law(path, each, uniform(n), w).spreads for each in (EEM, method))
        errors.append(np.abs(found / exact - 1).max())
        assert errors[-1] < 1.05 * np.abs(plain / exact - 1).max()
    assert errors[2] < 0.7 * errors[1] < 0.5 * errors[0]

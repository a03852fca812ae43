"""Property 21: the true KL divergence of a wrong model is below its bound, and wKL is the best w for the bound."""

import math

import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf

from interpolants import GVP, VP, Gaussian, Linear, Path, diffusion, kl_bound
from interpolants.divergence import exact_kl
from tests.support.ledger import within
from tests.support.precision import value
from tests.support.strategies import cases, coordinates, covariances, interior, law
from tests.support.zoo import kappa

SCHEDULES = [Linear(), GVP(), VP()]
FORMS = [diffusion.KL(), diffusion.Sigma(), diffusion.KL() + diffusion.Ramp()]
CHOICES = st.builds(lambda form, k: k / 4 * form, st.sampled_from(FORMS), st.sampled_from([1, 3, 4, 8, 15]))
ERRORS = st.floats(-0.5, 0.5, allow_subnormal=False)


@given(
    schedule=st.sampled_from(SCHEDULES),
    w=CHOICES,
    mean=st.tuples(coordinates, coordinates),
    cov=covariances(),
    gain=ERRORS,
    push=st.tuples(ERRORS, ERRORS),
)
@law(4)
def test_truth_is_below_the_bound(schedule, w, mean, cov, gain, push):
    """Property 21: KL(p₀‖p̂₀) ≤ bound for a score wrong by α(g(x − αm) + h): δv = ακ(…), and the bound is finite."""
    path, mean, push = Path(schedule, Gaussian(mean, cov)), np.array(mean), np.array(push)
    rate = schedule.quantity("kappa")

    def scale(s):
        return schedule.alpha(s) * rate(s)

    def loss(s):
        spread = schedule.alpha(s) ** 2 * np.trace(cov) + 2 * schedule.sigma(s) ** 2
        return scale(s) ** 2 * (gain**2 * spread + push @ push)

    bound = kl_bound(path, None, w, excess_loss=loss)
    true = exact_kl(path, lambda s: scale(s) * gain, lambda s: scale(s) * push, w)
    assert bound.reason == ""
    within(-true, 1e-11)
    within(true, float(bound) * (1 + 1e-9) + 1e-11)
    assert math.isfinite(float(bound))


@pytest.mark.slow
@given(case=cases, time=interior, loss=st.floats(0.01, 10.0))
@law(4)
def test_best_w_of_the_bound(case, time, loss):
    """Property 21: over c in w = c·wKL the bound's integrand is least at c = 1, where it is L/κ; κ is the zoo's."""
    path = Path(case.schedule, Gaussian([0.0], 1.0))
    found = kl_bound(path, None, diffusion.KL(), excess_loss=lambda s: loss * s).integrand(time)
    least = loss * time / float(value(lambda s: kappa(case, s), time))
    within(abs(found - least), 1e-12 * least)
    for w in (0.5 * diffusion.KL(), 0.99 * diffusion.KL(), 1.01 * diffusion.KL(), 2 * diffusion.KL()):
        assert kl_bound(path, None, w, excess_loss=lambda s: loss * s).integrand(time) > found


@given(schedule=st.sampled_from(SCHEDULES), m=coordinates, c=st.floats(0.05, 4.0), delta=ERRORS, shift=ERRORS)
@law(3)
def test_identity_of_the_flow(schedule, m, c, delta, shift):
    """Property 21: KL(p₀‖p̂₀) = KL(p₁‖p̂₁) − ∫E[(v − v̂)·(s − ŝ)]dt for the flow, ŝ the score of the model's own law."""
    path = Path(schedule, Gaussian([m], c))
    alpha_1, sigma_1 = schedule.alpha(1.0), schedule.sigma(1.0)

    def marginals(s):
        """Variance of p, and mean error and variance of p̂, from dz/dt = (g + δ)z + e with g = d log ρ/dt."""
        alpha, sigma = schedule.alpha(s), schedule.sigma(s)
        rho = math.sqrt(alpha**2 * c + sigma**2)
        rho_1 = math.sqrt(alpha_1**2 * c + sigma_1**2)
        growth = rho / rho_1 * math.exp(-delta * (1 - s))
        inner = scipy.integrate.quad(
            lambda u: math.exp(-delta * (u - s)) / math.sqrt(schedule.alpha(u) ** 2 * c + schedule.sigma(u) ** 2),
            s,
            1,
            epsabs=1e-13,
            epsrel=1e-12,
        )[0]
        return rho**2, -alpha_1 * m * growth - shift * rho * inner, (sigma_1 * growth) ** 2

    def product(s):
        variance, z, found = marginals(s)
        # v − v̂ = −(δz' + e), s − ŝ = −z'/ρ² + (z' − z)/V̂ with z' ~ N(0, ρ²)
        return -(delta * variance * (1 / found - 1 / variance) - shift * z / found)

    def divergence(s):
        variance, z, found = marginals(s)
        return 0.5 * ((variance + z * z) / found - 1 - math.log(variance / found))

    change = scipy.integrate.quad(product, 0, 1, epsabs=1e-11, epsrel=1e-10, points=[1e-3, 1e-2, 0.1])[0]
    exact = divergence(1.0) - change
    within(abs(exact_kl(path, delta, shift) - exact), 1e-7 * abs(exact) + 1e-9)


@pytest.mark.slow
def test_regularised_w_is_best_for_its_objective():
    """Property 21: among multiples and shifts of wKL,η none has a smaller bound + η∫w dt."""
    eta, loss, path = 0.3, "t*(2 - t)/5", Path(Linear(), Gaussian([0.5], 0.4))

    def objective(w):
        cost = scipy.integrate.quad(w.of(path.schedule), 0, 1 - 1e-12, points=[0.01, 0.99])[0]
        return float(kl_bound(path, None, w, excess_loss=loss)) + eta * cost

    best = diffusion.KLRegularized(eta, loss)
    others = [0.8 * best, 1.2 * best, best + 0.05 * diffusion.Ramp(), diffusion.Sigma()]
    others += [diffusion.KLRegularized(k * eta, loss) for k in (0.5, 2)]
    assert all(objective(best) < objective(other) for other in others)


@pytest.mark.parametrize("schedule", [Linear(), GVP()], ids=lambda s: s.name)
def test_infinite_for_every_w(schedule):
    """Property 21: where κ₀ = 0 the least integrand L/κ grows like 1/t: its integral grows by log 10/κ̇ per decade."""
    bound = kl_bound(Path(schedule, Gaussian([0.0], 1.0)), None, diffusion.KL(), excess_loss=1.0)
    assert math.isinf(bound.value)
    slope = {"linear": 1.0, "gvp": mpf(mpmath.pi) ** 2 / 4}[schedule.name]
    decade = scipy.integrate.quad(bound.integrand, 1e-6, 1e-5)[0]
    assert decade == pytest.approx(math.log(10) / float(slope), rel=1e-4)

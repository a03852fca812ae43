"""Properties 6, 7, 11 and 12: Tweedie of both orders, Stein, and the flow as a semigroup."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf
from scipy.integrate import quad

from interpolants import Gaussian, GaussianMixture, Path, Score
from tests.support.ledger import within
from tests.support.strategies import coordinates, covariances, every_case, law, middle
from tests.support.zoo import MIXTURE_1D, numbers

weights = st.floats(0.1, 0.9)
means = st.tuples(st.floats(-2.0, 2.0), st.floats(-2.0, 2.0))
spreads = st.tuples(st.floats(0.2, 1.5), st.floats(0.2, 1.5))
NODES, MASSES = np.polynomial.hermite_e.hermegauss(80)
MASSES = MASSES / np.sqrt(2 * np.pi)


def mixture_of(weight, centres, deviations):
    covs = [[[s * s]] for s in deviations]
    return GaussianMixture([weight, 1 - weight], [[m] for m in centres], covs)


def posterior(case, target, time, x, panels=6):
    """Return α, σ and the posterior mean and variance of x_data by quadrature at 20 digits."""
    with mpmath.workdps(20):
        alpha, sigma = case.alpha(mpf(time)), case.sigma(mpf(time))

        def weight(y):
            prior = sum(
                mpf(p) * mpmath.npdf(y, mpf(m), mpmath.sqrt(mpf(c)))
                for p, m, c in zip(target.weights, target.means[:, 0], target.covs[:, 0, 0])
            )
            return prior * mpmath.npdf(mpf(x), alpha * y, sigma)

        # The integrand is where both the prior and the likelihood are: split at the component posteriors.
        marks = set()
        for m, c in zip(target.means[:, 0], target.covs[:, 0, 0]):
            variance = 1 / (1 / mpf(c) + alpha**2 / sigma**2)
            centre, width = variance * (mpf(m) / mpf(c) + alpha * x / sigma**2), mpmath.sqrt(variance)
            marks |= {centre + k * width for k in (-10, -4, -1.5, 0, 1.5, 4, 10)}
        marks = sorted(marks)
        peak = max(map(weight, marks))  # quad is content with an absolute error
        moments = [mpmath.quad(lambda y, k=k: weight(y) / peak * y**k, marks, maxdegree=panels) for k in range(3)]
        mean = moments[1] / moments[0]
        return float(alpha), float(sigma), float(mean), float(moments[2] / moments[0] - mean**2)


@pytest.mark.covering(27)
@every_case
@given(fraction=middle, x=coordinates, weight=weights, centres=means, deviations=spreads)
@law(1)
def test_tweedie(case, fraction, x, weight, centres, deviations):
    """Property 6: the data prediction and (x + σ²s)/α are the posterior mean by quadrature, to 1e-10."""
    target, time = mixture_of(weight, centres, deviations), fraction * case.span
    path, point = Path(case.schedule, target), np.array([[x]])
    alpha, sigma, exact, _ = posterior(case, target, time, x)
    within(abs(path.data(time, point)[0, 0] - exact), 1e-10 * (1 + abs(exact)))
    tweedie = (x + sigma**2 * path.score(time, point)[0, 0]) / alpha
    within(abs(tweedie - exact), 1e-10 * (1 + abs(x)) / alpha)


@pytest.mark.covering(23)
@every_case
@given(fraction=st.floats(0.15, 0.9), x=coordinates, weight=weights, centres=means, deviations=spreads)
@law(1)
def test_second_order_tweedie(case, fraction, x, weight, centres, deviations):
    """Property 7: ∂s = −1/σ² + (α²/σ⁴) Var[x_data | x], the derivative by the library and by a difference."""
    target, time = mixture_of(weight, centres, deviations), fraction * case.span
    path = Path(case.schedule, target)
    alpha, sigma, _, variance = posterior(case, target, time, x)
    h = 1e-3 * sigma
    points = x + h * np.array([[-2.0], [-1.0], [1.0], [2.0]])
    scores = path.score(time, points)[:, 0]
    slope = (scores[0] - 8 * scores[1] + 8 * scores[2] - scores[3]) / (12 * h)
    exact = -1 / sigma**2 + alpha**2 / sigma**4 * variance
    within(abs(slope - exact), 1e-7 / sigma**2)
    within(abs(path.jacobian(time, np.array([[x]]), Score)[0, 0, 0] - exact), 1e-10 / sigma**2)


@every_case
@given(fraction=middle, mean=coordinates, deviation=st.floats(0.3, 2.0), a=coordinates, b=coordinates)
@law(4)
def test_stein(case, fraction, mean, deviation, a, b):
    """Property 11: E[s f + f'] = 0 for a cubic f and E s² = −E s', by Gauss–Hermite under p_t of a Gaussian."""
    time = fraction * case.span
    alpha, sigma = numbers(case, time)
    spread = np.hypot(alpha * deviation, sigma)
    z = NODES[MASSES > 1e-30]
    mass, x = MASSES[MASSES > 1e-30], alpha * mean + spread * z
    s = Path(case.schedule, Gaussian([mean], deviation**2)).score(time, x[:, None])[:, 0]
    f, slope = x**3 + a * x**2 + b * x, 3 * x**2 + 2 * a * x + b
    scale = float(mass @ np.abs(s * f)) + float(mass @ np.abs(slope))
    within(abs(float(mass @ (s * f + slope))), 1e-11 * scale)
    within(abs(float(mass @ s**2) * spread**2 - 1), 1e-11)


@pytest.mark.covering(5)
@every_case
@given(fraction=st.sampled_from([0.2, 0.5, 0.8]))
@law(1)
def test_stein_for_a_mixture(case, fraction):
    """Property 11: E[s] = 0 and E[s x] = −1 under the p_t of a mixture, by adaptive quadrature."""
    time = fraction * case.span
    alpha, sigma = numbers(case, time)
    path = Path(case.schedule, MIXTURE_1D)
    parts = [
        (p, alpha * m, np.sqrt(alpha**2 * c + sigma**2))
        for p, m, c in zip(MIXTURE_1D.weights, MIXTURE_1D.means[:, 0], MIXTURE_1D.covs[:, 0, 0])
    ]

    width = max(spread for *_, spread in parts)
    bounds = [centre + side * 9 * width for _, centre, _ in parts for side in (-1, 1)]

    def expectation(power):
        def integrand(x):
            density = sum(p * np.exp(-(((x - m) / k) ** 2) / 2) / (k * np.sqrt(2 * np.pi)) for p, m, k in parts)
            return density * path.score(time, np.array([[x]]))[0, 0] * x**power

        inside = [centre for _, centre, _ in parts]
        return quad(integrand, min(bounds), max(bounds), points=inside, epsabs=1e-11, limit=400)[0]

    within(abs(expectation(0)), 1e-9)
    within(abs(expectation(1) + 1), 1e-9)


@every_case
@given(
    fractions=st.tuples(middle, middle, middle),
    mean=st.tuples(coordinates, coordinates),
    cov=covariances(),
    x=st.tuples(coordinates, coordinates),
)
@law(3)
def test_semigroup(case, fractions, mean, cov, x):
    """Property 12: Ψ_{u→r} Ψ_{t→u} = Ψ_{t→r}, and Ψ_{u→t} is the inverse of Ψ_{t→u}."""
    path, x = Path(case.schedule, Gaussian(mean, cov)), np.array([x])
    first, between, last = (fraction * case.span for fraction in fractions)
    halfway = path.flow(first, between, x)
    scale = 1e-11 * (1 + np.abs(x).max() + np.abs(halfway).max() + np.abs(mean).max())
    direct = path.flow(first, last, x)
    within(np.abs(path.flow(between, last, halfway) - direct).max(), scale * (1 + np.abs(direct).max()))
    within(np.abs(path.flow(between, first, halfway) - x).max(), 10 * scale)


@every_case
@given(fraction=middle, mean=coordinates, cov=st.floats(0.1, 4.0), x=coordinates)
@law(2)
def test_the_flow_moves_with_the_velocity(case, fraction, mean, cov, x):
    """Property 12: d/du Ψ_{t→u}(x) at u = t is v(x, t), by a fourth-order difference."""
    path, time, point = Path(case.schedule, Gaussian([mean], cov)), fraction * case.span, np.array([[x]])
    h = 1e-3 * min(time, case.span - time)
    moved = [path.flow(time, time + k * h, point)[0, 0] for k in (-2, -1, 1, 2)]
    slope = (moved[0] - 8 * moved[1] + 8 * moved[2] - moved[3]) / (12 * h)
    velocity = path.velocity(time, point)[0, 0]
    within(abs(slope - velocity), 1e-6 * (1 + abs(velocity) + (abs(x) + abs(moved[0])) / time))

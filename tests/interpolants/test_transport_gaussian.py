"""Lengths, Lipschitz constants and infinite costs of Gaussian targets against closed forms and mpmath."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import ellipe, gammaln, hyp1f1
from sympy import sqrt

from interpolants import (
    GVP,
    VP,
    Empirical,
    Gaussian,
    Linear,
    Path,
    Schedule,
    kinetic_gap,
    lipschitz,
    normalised_path_energy,
    path_length,
    straightness,
    t,
    transport_cost,
    wasserstein2,
)
from interpolants.schedules import by_name
from interpolants.transport.gaussian import mean_norm
from tests.support.strategies import cases, coordinates, covariances, law
from tests.support.zoo import BUILT_INS, CASES

MARKED = [case if case in BUILT_INS else pytest.param(case, marks=pytest.mark.slow) for case in CASES]
VARIANCES = [1e-14, 1e-6, 1e-2, 0.25, 1.0, 4.0, 1e4]


def variation(name, c):
    """Return the total variation of ρ, written out by hand."""
    root = math.sqrt(c)
    end = math.sqrt(1 + math.exp(-10.05) * (c - 1))  # VP(0.1, 20): α₁² = exp(−(0.1 + 19.9/2))
    return {"linear": 1 + root - 2 * root / math.sqrt(1 + c), "gvp": abs(1 - root), "vp": abs(root - end)}[name]


@pytest.mark.covering(5)
@pytest.mark.parametrize("c", VARIANCES)
@pytest.mark.parametrize("name", ["linear", "gvp", "vp"])
@pytest.mark.parametrize("d", [1, 7, 1000])
def test_length_of_an_isotropic_gaussian(name, c, d):
    """E|v| = √2 Γ((d+1)/2)/Γ(d/2)·TV(ρ), whose total variation has a closed form."""
    exact = math.sqrt(2) * math.exp(gammaln((d + 1) / 2) - gammaln(d / 2)) * variation(name, c)
    assert abs(path_length(Path(by_name(name), Gaussian(np.zeros(d), c))) - exact) < 1e-11 * exact + 1e-14


@pytest.mark.parametrize("d", [1, 2, 3, 50])
@pytest.mark.parametrize("ratio", [1e-8, 1e-3, 0.7, 3.0, 40.0, 1e4])
def test_mean_norm_of_an_isotropic_gaussian(d, ratio):
    """E|N(μ, s²I)| = √2 s Γ((d+1)/2)/Γ(d/2)·₁F₁(−½; d/2; −|μ|²/2s²), by mpmath."""
    with mpmath.workdps(30):
        k = mpmath.mpf(d) / 2
        exact = (
            mpmath.sqrt(2) * mpmath.gammaprod([k + 0.5], [k]) * mpmath.hyp1f1(-0.5, k, -(mpmath.mpf(ratio) ** 2) / 2)
        )
    found = mean_norm(np.array([(3 * ratio) ** 2]), np.array([9.0]), np.array([float(d)]))
    assert abs(found / float(3 * exact) - 1) < 1e-12


@pytest.mark.parametrize("variances", [(1.0, 0.01), (0.3, 2.0)], ids=repr)
@pytest.mark.parametrize("mean", [(0.0, 0.0), (0.5, -1.5), (0.0, 3.0)], ids=repr)
def test_mean_norm_of_an_anisotropic_gaussian(variances, mean):
    """E|x| in two dimensions is its integral in polar coordinates around the zero of x, where it is smooth."""
    s, z = np.sqrt(variances), -np.asarray(mean) / np.sqrt(variances)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    edges = np.linspace(0, np.hypot(*z) + 10, 60)
    half = np.diff(edges)[:, None] / 2
    r, rule = (edges[:-1, None] + half * (1 + nodes)).ravel()[:, None], (half * weights).ravel()[:, None]
    angle = 2 * np.pi * np.arange(600) / 600
    density = np.exp(-((z[0] + r * np.cos(angle)) ** 2 + (z[1] + r * np.sin(angle)) ** 2) / 2) / (2 * np.pi)
    exact = (rule * r**2 * np.hypot(s[0] * np.cos(angle), s[1] * np.sin(angle)) * density).sum() * 2 * np.pi / 600
    assert abs(mean_norm(np.square(mean), np.asarray(variances), np.ones(2)) / exact - 1) < 1e-11


@pytest.mark.parametrize("b", [1e-4, 1e-2, 0.5])
def test_mean_norm_without_mean_is_an_elliptic_integral(b):
    """E|N(0, diag(1, b²))| = √(2/π)·E(1 − b²), the complete elliptic integral; and one variance may be 0."""
    exact = math.sqrt(2 / math.pi) * float(ellipe(1 - b * b))
    assert abs(mean_norm(np.zeros(2), np.array([1.0, b * b]), np.ones(2)) / exact - 1) < 1e-12
    exact = quad(
        lambda z: math.hypot(z, b) * math.exp(-z * z / 2), 0, 20, points=[b, 1, 5], epsabs=1e-14, epsrel=1e-13
    )[0]
    found = mean_norm(np.array([0.0, b * b]), np.array([1.0, 0.0]), np.ones(2))
    assert abs(found - 2 * exact / math.sqrt(2 * math.pi)) < 1e-11


def test_mean_norm_of_nothing():
    """A Gaussian without mean and variance has norm 0; without variance, that of its mean."""
    assert mean_norm(np.zeros(2), np.zeros(2), np.ones(2)) == 0.0
    assert abs(mean_norm(np.array([9.0, 16.0]), np.zeros(2), np.ones(2)) - 5.0) < 1e-11


@pytest.mark.parametrize("case", MARKED, ids=repr)
def test_length_with_a_mean(case):
    """∫E|v|dt of N(0.5, 0.3) in one dimension is mpmath's integral of the folded normal, to 1e-9."""
    c, m = mpmath.mpf("0.3"), mpmath.mpf("0.5")

    def speed(s):
        rho = mpmath.sqrt(case.alpha(s) ** 2 * c + case.sigma(s) ** 2)
        slope = abs(case.alpha(s) * case.d_alpha(s) * c + case.sigma(s) * case.d_sigma(s)) / rho
        mu = abs(case.d_alpha(s) * m)
        if slope == 0:
            return mu
        z = mu / slope
        return slope * mpmath.sqrt(2 / mpmath.pi) * mpmath.exp(-z * z / 2) + mu * mpmath.erf(z / mpmath.sqrt(2))

    with mpmath.workdps(20):
        panels = [0, mpmath.mpf("1e-6"), 0.003, 0.03, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1]
        exact = float(mpmath.quad(speed, panels, maxdegree=6))
    assert abs(path_length(Path(case.schedule, Gaussian([0.5], 0.3))) / exact - 1) < 1e-9


@pytest.mark.parametrize("c", VARIANCES[1:])
def test_lipschitz_of_the_paper_schedules(c):
    """Linear (1 + c)/2√c, inside the interval; GVP (π/4)|1 − c|/√c; the optimal schedule ½|log c|."""
    target = Gaussian([0.3], c)
    assert abs(lipschitz(Path(Linear(), target)) / ((1 + c) / 2 / math.sqrt(c)) - 1) < 1e-12
    exact = math.pi / 4 * abs(1 - c) / math.sqrt(c)
    assert abs(lipschitz(Path(GVP(), target)) - exact) <= 1e-12 * exact + 1e-15


@pytest.mark.parametrize("c", [0.04, pytest.param(9.0, marks=pytest.mark.slow)])
def test_lipschitz_optimal(c):
    """ρ = c^((1−t)/2) has the constant slope ½ log c, less than that of the paper's schedules."""
    from interpolants.schedules.gaussian_optimal import LipschitzOptimal

    found = lipschitz(Path(LipschitzOptimal(c), Gaussian([0.0], c)))
    assert abs(found - abs(math.log(c)) / 2) < 1e-10
    assert all(found < lipschitz(Path(schedule, Gaussian([0.0], c))) for schedule in (Linear(), GVP(), VP()))


@pytest.mark.parametrize("case", MARKED, ids=repr)
@pytest.mark.parametrize("c", [1e-3, pytest.param(30.0, marks=pytest.mark.slow)])
def test_lipschitz_is_a_supremum(case, c):
    """No time has a larger slope, by the oracle on a fine grid, and one comes within a few percent."""
    times = [mpmath.mpf(k) / 4000 for k in range(1, 4000)] + [
        mpmath.mpf(10) ** (-k / mpmath.mpf(8)) for k in range(20, 80)
    ]
    slopes = [
        abs(case.alpha(s) * case.d_alpha(s) * c + case.sigma(s) * case.d_sigma(s))
        / (case.alpha(s) ** 2 * c + case.sigma(s) ** 2)
        for s in times
    ]
    found = lipschitz(Path(case.schedule, Gaussian([0.0], c)))
    assert float(max(slopes)) <= found * (1 + 1e-12)
    assert found <= float(max(slopes)) * (1 + 0.03)


def test_lipschitz_takes_the_worst_direction():
    """In several dimensions the spectral norm is that of the worst eigenvalue."""
    found = lipschitz(Path(Linear(), Gaussian([0.0, 0.0], [[1.01, 0.99], [0.99, 1.01]])))  # eigenvalues 2 and 0.02
    assert abs(found - 1.02 / 2 / math.sqrt(0.02)) < 1e-9


def test_infinite_costs_are_answers():
    """A point under VP costs infinitely much, and its velocity has no Lipschitz constant; its length is finite."""
    path = Path(VP(), Empirical([[0.5, 1.0]]))
    line = Path(VP(), Empirical([[0.0]]))
    for found in (transport_cost(path), transport_cost(line), straightness(path), kinetic_gap(line), lipschitz(line)):
        assert found == math.inf
    assert normalised_path_energy(line) == math.inf
    assert abs(path_length(line) - math.sqrt(2 / math.pi) * math.sqrt(1 - math.exp(-10.05))) < 1e-9


def test_costs_near_the_infinite_one():
    """Under VP the cost grows like −(β₀/4)... log c: two costs differ by the same step from decade to decade."""
    costs = [transport_cost(Path(VP(), Gaussian([0.0], 10.0**-k))) for k in (10, 12, 14, 16, 58, 150, 242)]
    steps = np.diff(costs)
    # σ² = βt and ρ̇² = β²/4(c + βt) near t = 0, so a factor 100 in c adds (β/4) log 100 with β = 0.1.
    np.testing.assert_allclose(steps[1:3], 0.025 * math.log(100), rtol=1e-4)
    np.testing.assert_allclose(steps[4:], 0.025 * math.log(1e92), rtol=1e-9)


def test_poles_that_make_the_cost_infinite():
    """∫α̇² of α = √(1 − t) diverges for a mean that moves, and not for one at 0; then ρ̇ is what counts."""
    schedule = Schedule("root", alpha=sqrt(1 - t), sigma=t)
    assert transport_cost(Path(schedule, Gaussian([1.0], 1.0))) == math.inf
    c = 0.5  # ρ² = c(1 − t) + t², ρρ̇ = t − c/2
    exact = mpmath.quad(lambda s: (s - c / 2) ** 2 / (c * (1 - s) + s * s), [0, 0.25, 1])
    assert abs(transport_cost(Path(schedule, Gaussian([0.0], c))) / float(exact) - 1) < 1e-9


def test_poles_that_cancel():
    """σ² = √t, α² = 1 − √t: ρ is 1 for c = 1, which costs nothing, and infinitely much for another c."""
    schedule = Schedule("quartic", alpha=sqrt(1 - sqrt(t)), sigma=sqrt(sqrt(t)))
    assert transport_cost(Path(schedule, Gaussian([0.0], 1.0))) < 1e-12
    assert transport_cost(Path(schedule, Gaussian([0.0], 2.0))) == math.inf


@given(case=cases, mean=st.tuples(coordinates, coordinates), cov=covariances())
@law(8)
def test_order_of_the_measures(case, mean, cov):
    """W₂² ≤ C, (∫E|v|)² ≤ C, E|X_1 − X_0| ≤ ∫E|v|, and gap = defect = C − W₂² ≥ 0."""
    path = Path(case.schedule, Gaussian(mean, cov))
    cost, length, distance = transport_cost(path), path_length(path), wasserstein2(path)
    assert distance**2 <= cost + 1e-11
    assert length**2 <= cost + 1e-9 * cost + 1e-25
    alpha, c = float(case.alpha(mpmath.mpf(1))), np.linalg.eigvalsh(cov)
    spread = np.sqrt(alpha**2 * c + float(case.sigma(mpmath.mpf(1))) ** 2)
    _, basis = np.linalg.eigh(cov)
    shift = ((1 - alpha) * (np.asarray(mean) @ basis)) ** 2
    assert mean_norm(shift, (np.sqrt(c) - spread) ** 2, np.ones(2)) <= length + 1e-9 * (1 + length)
    assert kinetic_gap(path) == straightness(path) >= 0
    assert abs(kinetic_gap(path) - (cost - distance**2)) < 1e-11 * (1 + cost)


@pytest.mark.parametrize("c", [0.01, 0.3, 5.0])
def test_normalised_path_energy(c):
    """GVP: π²/8 − 1 for every Gaussian; Linear: (1 + c − (π/2)√c)/(1 − √c)² − 1."""
    assert abs(normalised_path_energy(Path(GVP(), Gaussian([0.4], c))) - (math.pi**2 / 8 - 1)) < 1e-9
    root = math.sqrt(c)
    exact = (1 + c - math.pi / 2 * root) / (1 - root) ** 2 - 1
    assert abs(normalised_path_energy(Path(Linear(), Gaussian([0.0], c))) / exact - 1) < 1e-9


def test_normalised_path_energy_needs_a_distance():
    """Equal ends are refused."""
    with pytest.raises(ValueError, match=r"expected two different end marginals; received W2 = 0; remedy: "):
        normalised_path_energy(Path(GVP(), Gaussian([0.0], 1.0)))


def test_scipy_has_the_same_mean_norm():
    """The oracle of the isotropic norm agrees with scipy's, so that mpmath is not trusted alone."""
    found = mean_norm(np.array([2.0]), np.array([1.0]), np.array([4.0]))
    assert abs(found - math.sqrt(2) * math.gamma(2.5) / math.gamma(2) * hyp1f1(-0.5, 2, -1.0)) < 1e-12

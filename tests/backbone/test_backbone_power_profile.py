"""Power-function profiles and their fit, against quadrature in 60 digits and least squares on quadrature nodes."""

import itertools
import math

import mpmath
import numpy as np
import pytest

from backbone.ema import Profile, fit, gamma_of, inner_products, sigma_rel_of

WIDTHS = (0.01, 0.05, 0.1, 0.2, 1 / math.sqrt(12))


def density(gamma, step):
    """The definition: zero after ``step``, and (γ + 1) τ^γ / t^(γ + 1) before."""
    gamma, step = mpmath.mpf(gamma), mpmath.mpf(step)
    return lambda tau: (gamma + 1) * tau**gamma / step ** (gamma + 1) if tau <= step else mpmath.mpf(0)


def quadrature(function, end):
    """∫ from 0 to ``end``, in pieces that crowd at the end, where the integrand is largest.

    It is divided by its value there, because mpmath stops at an absolute error.
    """
    ends = [end * (1 - mpmath.mpf(2) ** -k) for k in (0, 2, 5)] + [mpmath.mpf(end)]
    scale = function(mpmath.mpf(end))
    return scale * mpmath.quad(lambda tau: function(tau) / scale, ends)


def stored(number, widths=(0.05, 0.1), total=64_000):
    """Snapshots at equal distances."""
    return [Profile(gamma_of(width), total * k // number) for k in range(1, number + 1) for width in widths]


def on_nodes(profiles, total):
    """Profiles times √weights at Gauss–Legendre nodes between all snapshots, so that sums of squares are integrals."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    ends = np.unique([0, *(p.step for p in profiles), total])
    # The first piece, in which fractional powers of τ begin, is cut finer towards zero.
    ends = np.unique([0, *(ends[1] * 2.0**-k for k in range(40)), *ends[1:]])
    low, width = ends[:-1, None], np.diff(ends)[:, None]
    tau, mass = (low + width * (nodes + 1) / 2).ravel(), (width * weights / 2).ravel()
    rows = [(p.gamma + 1) / p.step * np.where(tau <= p.step, tau / p.step, 0) ** p.gamma for p in profiles]
    return np.stack(rows, 1) * np.sqrt(mass)[:, None]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_width_is_the_standard_deviation_of_the_profile(width):
    """The profile of γ(σ_rel) has mass one and standard deviation σ_rel t, to 14 digits."""
    with mpmath.workdps(60):
        p = density(gamma_of(width), 1)
        mass, first, second = (quadrature(lambda tau, k=k: p(tau) * tau**k, 1) for k in range(3))
        assert abs(mass - 1) < 1e-30
        assert abs(mpmath.sqrt(second - first**2) / width - 1) < 1e-14


def test_width_and_exponent_are_inverse():
    """From σ_rel to γ and back, and the other way, to rounding; the plain mean is γ = 0; γ falls as σ_rel grows."""
    for width in np.geomspace(1e-6, 1 / math.sqrt(12), 200):
        assert sigma_rel_of(gamma_of(float(width))) == pytest.approx(width, rel=4e-16)
    for gamma in (0.0, 1e-3, 0.5, 1.0, 6.94, 16.97, 1e3, 1e6):
        assert gamma_of(sigma_rel_of(gamma)) == pytest.approx(gamma, rel=1e-13, abs=1e-13)
    assert np.all(np.diff([gamma_of(width) for width in WIDTHS]) < 0)


def test_inner_products_are_integrals():
    """⟨p, q⟩ is the integral of the product, for exponents and steps in every order, to 13 digits."""
    profiles = [Profile(gamma_of(w), step) for w, step in zip(WIDTHS, (900, 1000, 17, 64_000, 999))]
    ours = inner_products(profiles, profiles[::-1])[:, ::-1]
    with mpmath.workdps(60):
        for i, j in itertools.combinations_with_replacement(range(5), 2):
            p, q = (density(profiles[k].gamma, profiles[k].step) for k in (i, j))
            wanted = quadrature(lambda tau: p(tau) * q(tau), min(profiles[i].step, profiles[j].step))  # noqa: B023
            assert abs(ours[i, j] / wanted - 1) < 1e-13, (i, j)
            assert abs(ours[j, i] / wanted - 1) < 1e-13, (j, i)
    assert inner_products(profiles[:2], profiles).shape == (2, 5)


def test_nothing_overflows():
    """A narrow profile after 10⁷ updates has ‖p‖² = (γ + 1)²/((2γ + 1) t), and is orthogonal to an early one."""
    late, early = Profile(gamma_of(1e-4), 10**7), Profile(gamma_of(1e-4), 10)
    wanted = (late.gamma + 1) ** 2 / (2 * late.gamma + 1) / late.step
    assert inner_products([late], [late])[0, 0] == pytest.approx(wanted, rel=1e-13)
    assert inner_products([late], [early])[0, 0] == 0


@pytest.mark.parametrize("number", [8, 32])
@pytest.mark.parametrize(("width", "share"), [(0.03, 1), (0.075, 1), (0.075, 0.5), (0.2, 1), (0.05, 0.8)])
def test_the_fit_is_the_least_squares_solution(number, width, share):
    """Weights, residual and condition number are those of a constrained least-squares solve on quadrature nodes.

    There the condition Σw = 1 is met by a basis of the differences of weights, and the profiles are never multiplied.
    """
    profiles, target = stored(number), Profile(gamma_of(width), int(64_000 * share))
    found = fit(profiles, target)
    matrix, wanted = on_nodes(profiles, 64_000), on_nodes([*profiles, target], 64_000)
    wanted, fine = wanted[:, -1], wanted[:, :-1]
    steps = np.vstack([np.eye(len(profiles) - 1), -np.ones(len(profiles) - 1)])
    z = np.linalg.lstsq(fine @ steps, wanted - fine[:, -1], rcond=None)[0]
    weights = steps @ z + np.eye(len(profiles))[-1]
    np.testing.assert_allclose(found.weights, weights, rtol=0, atol=1e-9 * abs(weights).max())
    residual = np.linalg.norm(fine @ weights - wanted) / np.linalg.norm(wanted)
    assert found.residual == pytest.approx(residual, rel=1e-6)
    singular = np.linalg.svd(matrix / np.linalg.norm(matrix, axis=0), compute_uv=False)
    assert found.condition == pytest.approx(singular[0] / singular[-1], rel=1e-6)
    assert sum(found.weights) == pytest.approx(1, abs=1e-13)
    assert found.rounding == pytest.approx(2**-24 * abs(weights).sum(), rel=1e-8)
    assert found.error == found.residual + found.rounding


def test_a_stored_profile_is_taken_as_it_is():
    """For a stored profile the weights are a unit vector; a billionth beside it they are one to eight digits."""
    profiles = stored(16)
    for k in (0, 7, 31):
        found = fit(profiles, profiles[k])
        assert found.weights == tuple(float(i == k) for i in range(32))
        assert found.residual == 0
        near = fit(profiles, Profile(profiles[k].gamma * (1 + 1e-9), profiles[k].step))
        np.testing.assert_allclose(near.weights, found.weights, rtol=0, atol=1e-7)
        assert near.residual < 1e-7


def test_more_snapshots_and_nearer_targets_fit_better():
    """The residual falls as 1/n² or faster in the number of snapshots, and rises away from the stored widths."""
    errors = [fit(stored(n), Profile(gamma_of(0.075), 64_000)).residual for n in (8, 16, 32, 64)]
    assert all(later < earlier / 3 for earlier, later in itertools.pairwise(errors))
    narrow = [fit(stored(32), Profile(gamma_of(w), 64_000)).residual for w in (0.04, 0.03, 0.02, 0.01)]
    wide = [fit(stored(32), Profile(gamma_of(w), 64_000)).residual for w in (0.12, 0.15, 0.2, 0.28)]
    assert narrow == sorted(narrow)
    assert wide == sorted(wide)
    assert narrow[-1] > 0.1


@pytest.mark.parametrize("total", [10**6, 10**9])
def test_what_cannot_be_told_apart_gets_small_weights(total):
    """Snapshots an update in 10⁶, or in 10⁹, apart raise the condition number and leave weights and residual alone."""
    apart = stored(16, total=total)
    close = [*apart, *(Profile(p.gamma, p.step - 1) for p in apart)]
    target = Profile(gamma_of(0.075), total)
    few, many = fit(apart, target), fit(close, target)
    assert many.condition > 1e4 * few.condition
    assert sum(map(abs, many.weights)) < 3 * sum(map(abs, few.weights)) + 1
    assert many.residual < 1.01 * few.residual
    assert "condition number" in str(many)


def test_a_single_snapshot_is_all_there_is():
    """One stored profile has weight one, and the residual is the distance of the two profiles."""
    only, target = Profile(1.0, 100), Profile(2.0, 100)
    found = fit([only], target)
    # ∫(2τ − 3τ²)² dτ = 4/3 − 3 + 9/5 = 2/15 on [0, 1], and ∫9τ⁴ = 9/5.
    assert found.weights == pytest.approx((1.0,), rel=1e-15)
    assert found.residual == pytest.approx(math.sqrt(2 / 27), rel=1e-12)
    assert found.condition == 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: gamma_of(0.0), r"sigma_rel in \(0, 0.2887\]; received 0.0; remedy"),
        (lambda: gamma_of(0.29), r"received 0.29; remedy"),
        (lambda: gamma_of(math.nan), "received nan"),
        (lambda: sigma_rel_of(-0.1), "gamma ≥ 0; received -0.1; remedy"),
        (lambda: sigma_rel_of(math.inf), "received inf"),
        (lambda: Profile(-1.0, 5), "gamma ≥ 0"),
        (lambda: Profile(1.0, 0), "expected at least one update; received 0; remedy"),
        (lambda: fit([], Profile(1.0, 5)), "expected stored profiles; received none; remedy"),
    ],
)
def test_numbers_out_of_range_are_refused(call, words):
    """Widths, exponents and steps outside their range say which range and what to do."""
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize("step", [1.5, True, "3"])
def test_a_step_is_a_whole_number(step):
    """Anything but an integer is a TypeError."""
    with pytest.raises(TypeError, match="expected a whole number of updates"):
        Profile(1.0, step)

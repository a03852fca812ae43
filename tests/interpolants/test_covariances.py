"""Covariances in every form: the same law however they are written, zero eigenvalues, limits at σ = 0, memory."""

import math
import tracemalloc

import mpmath
import numpy as np
import pytest
import torch
from mpmath import mpf
from scipy import stats

from interpolants import VP, Data, Gaussian, GaussianMixture, Linear, LowRank, Noise, Path, Score, Velocity
from interpolants.targets.covariance import covariances

QUANTITIES = ("velocity", "score", "noise", "data", "v_prediction", "log_density", "jacobian", "divergence")
RNG = np.random.default_rng(3)
K, D = 3, 4
WEIGHTS = np.array([0.2, 0.5, 0.3])
MEANS = RNG.standard_normal((K, D))
VARIANCES = RNG.uniform(0.1, 2.0, (K, D))
FACTORS = RNG.standard_normal((K, D, 2))
ROTATION = np.linalg.qr(RNG.standard_normal((D, D)))[0]
X = RNG.standard_normal((6, D))
LOW = FACTORS @ FACTORS.swapaxes(1, 2)
# The same laws twice: a compact form, and matrices in a rotated space in which nothing is along the axes.
FORMS = {
    "one": (0.7, 0.7 * np.broadcast_to(np.eye(D), (K, D, D))),
    "isotropic": (np.array([0.3, 1.0, 2.0]), np.array([0.3, 1.0, 2.0])[:, None, None] * np.eye(D)),
    "diagonal": (VARIANCES, VARIANCES[:, :, None] * np.eye(D)),
    "low-rank": (LowRank(FACTORS, 0.25), LOW + 0.25 * np.eye(D)),
    "floors": (
        LowRank(FACTORS, [0.1, 0.5, 2.0]),
        LOW + np.array([0.1, 0.5, 2.0])[:, None, None] * np.eye(D),
    ),
    "point": (0.0, np.zeros((K, D, D))),
    "flat": (VARIANCES * [1, 0, 1, 0], (VARIANCES * [1, 0, 1, 0])[:, :, None] * np.eye(D)),
    "ranks": (
        VARIANCES * [[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 1]],
        (VARIANCES * [[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 1]])[:, :, None] * np.eye(D),
    ),
    "thin": (LowRank(FACTORS), LOW),
}
every_form = pytest.mark.parametrize("form", FORMS)


@every_form
@pytest.mark.parametrize(
    "time", [0.02, pytest.param(0.6, marks=pytest.mark.slow), pytest.param(1.0, marks=pytest.mark.slow)]
)
def test_forms_agree(form, time):
    """Each compact form gives what its matrices give in rotated coordinates, every quantity to 1e-11 of its size."""
    compact, matrices = FORMS[form]
    own = Path(VP(), GaussianMixture(WEIGHTS, MEANS, compact))
    turned = Path(VP(), GaussianMixture(WEIGHTS, MEANS @ ROTATION.T, ROTATION @ matrices @ ROTATION.T + 0.0))
    for name in QUANTITIES:
        found, other = getattr(own, name)(time, X), getattr(turned, name)(time, X @ ROTATION.T)
        back = {2: lambda a: a @ ROTATION, 3: lambda a: ROTATION.T @ a @ ROTATION}.get(found.ndim, lambda a: a)
        np.testing.assert_allclose(found, back(other), rtol=1e-11, atol=1e-11 * np.abs(found).max(), err_msg=name)
        by_torch = getattr(own, name)(time, torch.from_numpy(X)).numpy()
        np.testing.assert_allclose(by_torch, found, rtol=1e-11, atol=1e-12 * np.abs(found).max(), err_msg=name)


@every_form
@pytest.mark.parametrize("time", [1e-3, 0.4])
def test_against_scipy_and_linear_algebra(form, time):
    """log p_t is scipy's mixed normal density, and the predictions are numpy's solves with S = α²C + σ²I."""
    compact, matrices = FORMS[form]
    path = Path(Linear(), GaussianMixture(WEIGHTS, MEANS, compact))
    alpha, sigma = 1 - time, time
    whole = alpha**2 * matrices + sigma**2 * np.eye(D)
    logs = np.stack(
        [math.log(w) + stats.multivariate_normal(alpha * m, s).logpdf(X) for w, m, s in zip(WEIGHTS, MEANS, whole)]
    )
    exact = np.logaddexp.reduce(logs)
    np.testing.assert_allclose(path.log_density(time, X), exact, rtol=1e-8)  # scipy's own error: S has condition 1e7
    gamma = np.exp(logs - exact)[:, :, None]
    pulled = np.stack([np.linalg.solve(s, (X - alpha * m).T).T for m, s in zip(MEANS, whole)])
    data = MEANS[:, None] + alpha * pulled @ matrices
    for name, parts in {
        "score": -pulled,
        "noise": sigma * pulled,
        "data": data,
        "velocity": sigma * pulled - data,
    }.items():
        exact = (gamma * parts).sum(0)
        tolerance = 1e-8 * np.abs(exact).max()
        np.testing.assert_allclose(getattr(path, name)(time, X), exact, rtol=1e-8, atol=tolerance, err_msg=name)


@every_form
def test_jacobian_is_what_autograd_finds(form):
    """The Jacobian of velocity, score and data is torch's, the divergence its trace, the score the density's slope."""
    path, x = Path(Linear(), GaussianMixture(WEIGHTS, MEANS, FORMS[form][0])), torch.from_numpy(X)
    for prediction in (Velocity, Score, Data):
        one = torch.func.jacrev(lambda p: path.predict(prediction, 0.4, p).sum(0))(x).permute(1, 0, 2)  # noqa: B023
        torch.testing.assert_close(path.jacobian(0.4, x, prediction), one, rtol=1e-10, atol=1e-10)
        trace = one.diagonal(dim1=1, dim2=2).sum(1)
        torch.testing.assert_close(path.divergence(0.4, x, prediction), trace, rtol=1e-10, atol=1e-10)
    point = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(path.log_density(0.4, point).sum(), point)
    torch.testing.assert_close(slope, path.score(0.4, x), rtol=1e-10, atol=1e-10)


@every_form
def test_blocks_change_nothing(form):
    """Point by point or all at once, with one time or a time for each, every quantity agrees to 1e-13."""
    wide, narrow = (Path(Linear(), GaussianMixture(WEIGHTS, MEANS, FORMS[form][0], block=n)) for n in (2**22, 1))
    times = np.linspace(0.2, 0.9, len(X))
    for name in QUANTITIES:
        exact = getattr(wide, name)(times, X)
        np.testing.assert_allclose(getattr(narrow, name)(times, X), exact, rtol=1e-12, atol=1e-13, err_msg=name)
        np.testing.assert_allclose(getattr(narrow, name)(0.2, X)[0], exact[0], rtol=1e-12, atol=1e-13, err_msg=name)


@every_form
@pytest.mark.parametrize(
    "make", [np.random.default_rng, lambda s: torch.Generator().manual_seed(s)], ids=["np", "torch"]
)
def test_samples_have_the_right_moments(form, make):
    """20 000 samples have the mixture's mean and covariance within 6 standard errors."""
    n, matrices = 20_000, FORMS[form][1]
    x = np.asarray(GaussianMixture(WEIGHTS, MEANS, FORMS[form][0]).sample(n, make(5)))
    mean = WEIGHTS @ MEANS
    second = sum(w * (c + np.outer(m, m)) for w, m, c in zip(WEIGHTS, MEANS, matrices))
    cov = second - np.outer(mean, mean)
    assert (np.abs(x.mean(0) - mean) < 6 * np.sqrt(np.diag(cov) / n)).all()
    products = (x - mean)[:, :, None] * (x - mean)[:, None, :]
    assert (np.abs(products.mean(0) - cov) < 6 * products.std(0) / math.sqrt(n)).all()


@every_form
def test_spectrum(form):
    """Eigenvalues and eigenvectors, in one order, put the matrices together again; ``covs`` are the matrices."""
    compact, matrices = FORMS[form]
    for covs in (compact, ROTATION.T @ matrices @ ROTATION + 0.0):
        target = GaussianMixture(WEIGHTS, MEANS, covs)
        exact = matrices if covs is compact else covs
        again = (target.eigenvectors * target.eigenvalues[:, None, :]) @ target.eigenvectors.swapaxes(1, 2)
        np.testing.assert_allclose(again, exact, rtol=0, atol=1e-13)
        np.testing.assert_allclose(target.covs, exact, rtol=0, atol=1e-13)
        gram = target.eigenvectors.swapaxes(1, 2) @ target.eigenvectors
        np.testing.assert_allclose(gram, np.broadcast_to(np.eye(D), gram.shape), rtol=0, atol=1e-13)


@pytest.mark.covering(2)
@pytest.mark.parametrize(
    "form", ["thin", *(pytest.param(f, marks=pytest.mark.slow) for f in ("isotropic", "low-rank")), "diagonal"]
)
def test_many_components_in_many_dimensions(form):
    """300 components in 3,072 dimensions: finite, right against mpmath for one point, within the stated memory."""
    k, d, block = 300, 3072, 2**21
    rng = np.random.default_rng(1)
    means, factors = rng.standard_normal((k, d)), rng.standard_normal((k, d, 2)) / 50
    variances = rng.uniform(0.5, 1.5, (k, d))
    covs = {
        "isotropic": variances[:, 0],
        "diagonal": variances,
        "low-rank": LowRank(factors, 0.01),
        "thin": LowRank(factors),
    }[form]
    target = GaussianMixture(np.full(k, 1 / k), means, covs, block=block)
    path = Path(Linear(), target)
    x = 0.5 * means[:8] + 0.5 * rng.standard_normal((8, d))
    path.velocity(0.5, x[:1])
    tracemalloc.start()
    found = {name: getattr(path, name)(0.5, x) for name in ("velocity", "score", "data", "log_density", "divergence")}
    peak = tracemalloc.get_traced_memory()[1] / 8
    tracemalloc.stop()
    assert peak < 8 * max(block, k * d)  # numbers of float64, where K·d² is 2.8e9
    assert all(np.isfinite(value).all() for value in found.values())
    np.testing.assert_allclose(0.5 * found["data"] + 0.5 * (found["velocity"] + found["data"]), x, rtol=0, atol=1e-11)
    if form in ("isotropic", "diagonal"):
        values = np.broadcast_to(np.reshape(covs, (k, -1)), (k, d))
        with mpmath.workdps(40):
            s = [[mpf(v) / 4 + mpf(1) / 4 for v in row] for row in values[:2].tolist()]
            quadratic = [
                sum(mpmath.log(2 * mpmath.pi * v) + (mpf(a) - mpf(m) / 2) ** 2 / v for a, m, v in zip(x[0], row, own))
                for row, own in zip(means[:2].tolist(), s)
            ]
            # The other components are further by hundreds of nats: the first has the point.
            exact = -mpmath.log(k) - quadratic[0] / 2
            assert quadratic[1] - quadratic[0] > 200
        assert abs(found["log_density"][0] - float(exact)) < 1e-12 * abs(float(exact))


@pytest.mark.parametrize(
    ("covs", "said"),
    [
        (-0.5, "the eigenvalue -0.5"),
        ([1.0, -1e-3], "the eigenvalue -0.001"),
        ([[1.0, 1.0], [1.0, -2.0]], "the eigenvalue -2"),
        ([[[1.0, 2.0], [2.0, 1.0]]] * 2, "the eigenvalue -1"),
        ([np.eye(2), [[1.0, 0.5], [0.4, 1.0]]], "an asymmetry of 0.1"),
        ([1e9 * np.eye(2), [[1.0, 0.5], [0.4, 1.0]]], "an asymmetry of 0.1"),
        ([1.0, math.nan], "NaN or infinity"),
        (math.inf, "NaN or infinity"),
        ([1.0, 2.0, 3.0], r"shape \(3,\)"),
        (np.ones((2, 3)), r"shape \(2, 3\)"),
        (np.ones((2, 2, 2, 1)), "shape"),
        (LowRank(np.ones((2, 3, 1))), r"shape \(2, 3, 1\)"),
        (LowRank(np.ones((3, 2, 1))), r"shape \(3, 2, 1\)"),
        (LowRank(np.ones((2, 1))), r"shape \(2, 1\)"),
    ],
)
def test_bad_covariances(covs, said):
    """What is no covariance of two components in two dimensions is refused with what was received."""
    with pytest.raises(ValueError, match=rf"expected .*; received .*{said}.*; remedy: "):
        GaussianMixture([0.5, 0.5], np.zeros((2, 2)), covs)


@pytest.mark.parametrize(
    ("factors", "floor"),
    [
        (np.ones(3), 0.0),
        (np.ones((2, 0)), 0.0),
        (np.ones((2, 1)), [0.1, 0.1]),
        (np.ones((2, 2, 1)), [0.1] * 3),
        (np.ones((2, 1)), -0.1),
        (np.full((2, 1), math.nan), 0.0),
        (np.ones((2, 1)), math.inf),
    ],
)
def test_bad_factors(factors, floor):
    """Factors and floors that make no covariance are a ValueError in three parts."""
    with pytest.raises(ValueError, match=r"expected .*; received .*; remedy: "):
        LowRank(factors, floor)


def test_bad_mixtures():
    """Means of another rank, labels of another length and empty blocks are refused; so are integer points."""
    refused = {
        r"weights \(K,\) and means \(K, d\)": lambda: GaussianMixture([1.0], [0.0], 1.0),
        r"labels of shape \(1,\)": lambda: GaussianMixture([1.0], [[0.0]], 1.0, labels=[1, 2]),
        "block >= 1": lambda: GaussianMixture([1.0], [[0.0]], 1.0, block=0),
    }
    for expected, call in refused.items():
        with pytest.raises(ValueError, match=rf"expected {expected}; received .*; remedy: "):
            call()
    with pytest.raises(TypeError, match="expected x of a floating type; received int64"):
        Path(Linear(), Gaussian([0.5], 1.0)).velocity(0.5, np.ones((1, 1), np.int64))


def test_rank_is_decided_by_rounding():
    """An eigenvalue within rounding of the largest is zero; one along the axes is kept, however small it is."""
    vector = np.array([1.0, 1 / 3, -0.7])
    assert covariances(np.outer(vector, vector)[None], 1, 3).zeros.tolist() == [2]
    assert covariances(np.diag([1.0, 1e-30, 0.0])[None], 1, 3).zeros.tolist() == [1]
    assert covariances(LowRank(np.stack([vector, 2 * vector], 1)), 1, 3).zeros.tolist() == [2]
    assert covariances(LowRank(np.eye(3)), 1, 3).zeros.tolist() == [0]
    assert Noise is not Data

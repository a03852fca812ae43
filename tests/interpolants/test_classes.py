"""Classes: conditional targets, p(label | x) and the identities of guidance, exact."""

import numpy as np
import pytest
import torch
from scipy import stats

from interpolants import VP, Empirical, Gaussian, GaussianMixture, Linear, LowRank, Path, Product
from tests.support.zoo import BUILT_INS, MIXTURE

every_case = pytest.mark.parametrize("case", BUILT_INS, ids=repr)
RNG = np.random.default_rng(9)
WEIGHTS = np.array([0.1, 0.25, 0.2, 0.15, 0.3])
MEANS = RNG.standard_normal((5, 3))
LABELS = ["cat", "dog", "cat", "owl", "dog"]
ROOTS = RNG.standard_normal((5, 3, 3))
TARGETS = {
    "full": GaussianMixture(WEIGHTS, MEANS, ROOTS @ ROOTS.swapaxes(1, 2) / 3, LABELS),
    "diagonal": GaussianMixture(WEIGHTS, MEANS, RNG.uniform(0.1, 1, (5, 3)), LABELS),
    "thin": GaussianMixture(WEIGHTS, MEANS, LowRank(ROOTS[:, :, :1]), LABELS),
    "points": Empirical(MEANS, WEIGHTS, LABELS),
    "points-blocked": Empirical(MEANS, WEIGHTS, LABELS, block=8),
}
every_target = pytest.mark.parametrize("name", TARGETS)
X = RNG.standard_normal((6, 3))


@every_case
@every_target
@pytest.mark.parametrize(
    "time", [0.15, pytest.param(0.6, marks=pytest.mark.slow), pytest.param(1.0, marks=pytest.mark.slow)]
)
def test_the_classes_compose_the_whole(case, name, time):
    """Σ_y p(y|x) v_y(x) = v(x), and likewise score, noise and data, to 1e-12; the probabilities sum to one."""
    path = Path(case.schedule, TARGETS[name])
    for x in (X, torch.from_numpy(X)):
        shares = path.class_probabilities(time, x)
        assert isinstance(shares, type(x))
        np.testing.assert_allclose(np.asarray(shares).sum(1), 1.0, rtol=1e-14)
        for quantity in ("velocity", "score", "noise", "data"):
            whole = np.asarray(getattr(path, quantity)(time, x))
            parts = [np.asarray(getattr(path.given(y), quantity)(time, x)) for y in path.target.classes]
            mixed = np.einsum("by,ybd->bd", np.asarray(shares), np.stack(parts))
            np.testing.assert_allclose(mixed, whole, rtol=1e-12, atol=1e-12 * (1 + np.abs(whole).max()))


@every_target
def test_probabilities_are_bayes_rule(name):
    """p(y|x) is the share of scipy's densities of one class, and what the conditional densities say."""
    path = Path(Linear(), TARGETS[name])
    covs = path.target.covs if hasattr(path.target, "covs") else np.zeros((5, 3, 3))
    parts = [
        w * stats.multivariate_normal(0.6 * m, 0.36 * c + 0.16 * np.eye(3)).pdf(X)
        for w, m, c in zip(WEIGHTS, MEANS, covs)
    ]
    parts = np.stack(parts, 1)
    exact = np.stack([parts[:, [0, 2]].sum(1), parts[:, [1, 4]].sum(1), parts[:, 3]], 1)
    exact = exact / exact.sum(1, keepdims=True)
    np.testing.assert_allclose(path.class_probabilities(0.4, X), exact, rtol=1e-11)
    np.testing.assert_allclose(path.class_probabilities(np.full(6, 0.4), X), exact, rtol=1e-11)
    own = [path.given(y).log_density(0.4, X) - path.log_density(0.4, X) for y in ("cat", "dog", "owl")]
    np.testing.assert_allclose(np.exp(own).T * [0.3, 0.55, 0.15], exact, rtol=1e-11)
    assert path.class_probabilities(0.4, X.astype(np.float32)).dtype == np.float32


@every_target
def test_classifier_guidance(name):
    """∇log p(y|x) = s_y − s for every class, the gradient by torch."""
    path, x = Path(VP(), TARGETS[name]), torch.from_numpy(X).requires_grad_()
    for index, label in enumerate(path.target.classes):
        (slope,) = torch.autograd.grad(path.class_probabilities(0.5, x)[:, index].log().sum(), x)
        exact = path.given(label).score(0.5, x) - path.score(0.5, x)
        torch.testing.assert_close(slope, exact.detach(), rtol=1e-10, atol=1e-10)


@every_target
def test_the_data_end(name):
    """At σ = 0 the class is that of the nearest support: certain on the points and lines of a class."""
    path = Path(Linear(), TARGETS[name])
    shares = path.class_probabilities(0.0, MEANS)
    assert not np.isnan(shares).any()
    np.testing.assert_allclose(shares.sum(1), 1.0, rtol=1e-14)
    if name not in ("full", "diagonal"):
        np.testing.assert_array_equal(path.target.classes[shares.argmax(1)], LABELS)
        assert (shares.max(1) == 1).all()


def test_given():
    """given(label) keeps the components of one class, their weights divided by their sum, without labels."""
    target = TARGETS["full"]
    assert target.classes.tolist() == ["cat", "dog", "owl"]
    cats = target.given("cat")
    np.testing.assert_array_equal(cats.means, MEANS[[0, 2]])
    np.testing.assert_allclose(cats.weights, [1 / 3, 2 / 3], rtol=1e-15)
    np.testing.assert_allclose(cats.covs, target.covs[[0, 2]], rtol=1e-14)
    assert cats.classes.tolist() == []
    assert repr(target) == "GaussianMixture(K=5, d=3, 3 classes)"
    points = TARGETS["points"].given("owl")
    np.testing.assert_array_equal(points.points, MEANS[[3]])


@pytest.mark.parametrize("target", [MIXTURE, Empirical([[0.0, 1.0]])], ids=["mixture", "points"])
def test_without_labels(target):
    """A target without labels, a label that does not occur, or a target that has none at all, are refused."""
    path, x = Path(Linear(), target), np.ones((2, 2))
    with pytest.raises(ValueError, match=r"expected a target with labels; received .*; remedy: pass labels"):
        path.class_probabilities(0.5, x)
    with pytest.raises(ValueError, match=r"none: the data have none; received 'cat'; remedy: pass labels"):
        path.given("cat")
    with pytest.raises(ValueError, match=r"a label, one of 'cat', 'dog', 'owl'; received 'cow'; remedy: choose"):
        Path(Linear(), TARGETS["full"]).given("cow")
    product = Path(Linear(), Product([Gaussian([0.0], 1.0)]))
    for call in (lambda: product.given("cat"), lambda: product.class_probabilities(0.5, np.ones((2, 1)))):
        with pytest.raises(TypeError, match=r"expected a target with labels; received Product; remedy: "):
            call()

"""What stands behind the page on w: moments without steps, densities on the line, and the record of the benchmark."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from interpolants import (
    VP,
    Gaussian,
    GaussianMixture,
    Linear,
    Noise,
    Velocity,
    denoising,
    diffusion,
    reverse_sde,
    sampler_law,
)
from interpolants import Path as Interpolation
from interpolants.divergence import exact_kl, exact_moments
from solvers import EulerMaruyama, ExponentialEulerMaruyama, solve, uniform
from tests.support.zoo import COVARIANCE, MEAN

ROOT = Path(__file__).resolve().parents[2]
EXPONENTIAL = ExponentialEulerMaruyama()
X = np.linspace(-7.0, 7.0, 501)


@pytest.fixture(scope="module")
def densities():
    """The module of the benchmark that carries densities along."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import line_densities
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    return line_densities


def off(path, size):
    """A velocity that is wrong by size·t·(x − αm + ½)."""
    mean = path.target.mean

    def model(time, x):
        return path.velocity(time, x) + size * time * (x - float(path.schedule.alpha(time)) * mean + 0.5)

    return model


@pytest.mark.parametrize("w", [diffusion.Zero(), diffusion.Sigma()], ids=repr)
def test_moments_are_the_limit_of_small_steps(w):
    """Mean and covariance, in two dimensions, are where the exact laws of samplers with ever more steps go."""
    path = Interpolation(Linear(), Gaussian(MEAN, COVARIANCE))
    mean, cov = exact_moments(path, lambda time: 0.3 * time, lambda time: 0.15 * time, w)
    laws = [
        sampler_law(path, EXPONENTIAL, uniform(n) ** 2, w, model=off(path, 0.3), from_prior=True) for n in (100, 200)
    ]
    for found, coarse, fine in ((mean, *(law.mean for law in laws)), (cov, *(law.cov for law in laws))):
        # Of first order: twice the finer result less the coarser one is right to second order.
        assert abs(fine - found).max() > 20 * abs(2 * fine - coarse - found).max()
        assert abs(2 * fine - coarse - found).max() < 5e-4
    assert np.linalg.norm(cov - COVARIANCE) > 0.05


def test_moments_and_divergence_agree():
    """The divergence of the Gaussian with these moments, as in a textbook, is ``exact_kl``; no error gives the data."""
    path = Interpolation(VP(), Gaussian(MEAN, COVARIANCE))
    arguments = (lambda time: 0.3 * time, [0.2, -0.1], diffusion.KL())
    mean, cov = exact_moments(path, *arguments)
    inverse, gap = np.linalg.inv(cov), mean - MEAN
    logs = np.linalg.slogdet(cov)[1] - np.linalg.slogdet(COVARIANCE)[1]
    expected = 0.5 * (np.trace(inverse @ COVARIANCE) + gap @ inverse @ gap - 2 + logs)
    assert abs(exact_kl(path, *arguments) - expected) < 1e-11
    # In three dimensions the eigenbasis is no symmetric matrix.
    axes, _ = np.linalg.qr(np.array([[1.0, 2.0, 0.5], [-1.0, 1.0, 3.0], [0.3, -2.0, 1.0]]))
    target = Gaussian([0.4, -0.3, 1.0], axes @ np.diag([0.1, 0.6, 2.0]) @ axes.T)
    mean, cov = exact_moments(Interpolation(Linear(), target), 0.0, 0.0, diffusion.Sigma())
    np.testing.assert_allclose(mean, target.mean, rtol=0, atol=1e-10)
    np.testing.assert_allclose(cov, axes @ np.diag([0.1, 0.6, 2.0]) @ axes.T, rtol=0, atol=1e-10)


def test_moments_that_do_not_exist():
    """An error of the drift that is not integrable at the data is refused, with a remedy."""
    path = Interpolation(Linear(), Gaussian([0.0], 1.0))
    with pytest.raises(ValueError, match=r"expected .*integrable.*; received .*; remedy: "):
        exact_moments(path, 0.1, 0.0, diffusion.Constant(1.0))


@pytest.mark.parametrize(
    ("schedule", "w", "n"),
    [
        (Linear(), diffusion.Zero(), 20),
        (Linear(), diffusion.KL(), 20),
        pytest.param(VP(), diffusion.Sigma(), 60, marks=pytest.mark.slow),
        pytest.param(VP(), diffusion.KL(), 20, marks=pytest.mark.slow),
    ],
    ids=lambda value: getattr(value, "name", repr(value)),
)
def test_densities_on_a_gaussian(densities, schedule, w, n):
    """Carried along step by step the density is the exact law of the sampler, with its KL and its W2."""
    path, ts = Interpolation(schedule, Gaussian([0.5], 0.25)), uniform(n, 0.98, 0.0)
    alpha, sigma = float(schedule.alpha(0.98)), float(schedule.sigma(0.98))
    start = stats.norm.logpdf(X, 0.5 * alpha, math.hypot(0.5 * alpha, sigma))
    found = densities.propagate(denoising(schedule, off(path, 0.3), w=w), EXPONENTIAL, ts, X, start)
    law = sampler_law(path, EXPONENTIAL, ts, w, model=off(path, 0.3))
    exact = stats.norm.logpdf(X, law.mean.item(), math.sqrt(law.cov.item()))
    inside = exact > -15.0
    np.testing.assert_allclose(found[inside], exact[inside], rtol=0, atol=1e-5)
    truth = stats.norm.logpdf(X, 0.5, 0.5)
    assert abs(densities.kl(X, truth, found) - law.kl()) < 1e-8
    assert abs(densities.wasserstein2(X, truth, found) - law.wasserstein2()) < 1e-6


@pytest.mark.parametrize("method", [EXPONENTIAL, EulerMaruyama()], ids=lambda method: type(method).__name__)
def test_densities_on_a_mixture(densities, method):
    """With a wrong model on a mixture, 40 000 samples fall into 60 bins as the density says."""
    target = GaussianMixture([0.35, 0.65], [[-1.2], [0.8]], [[[0.09]], [[0.25]]])
    path, ts, n = Interpolation(Linear(), target), uniform(25, 0.95, 0.0), 40_000

    def model(time, x):
        return path.velocity(time, x) + 0.3 * np.cos(2.0 * x)

    make = denoising if method is EXPONENTIAL else reverse_sde
    problem = make(Linear(), model, prediction=Velocity, w=diffusion.Sigma())
    log_p = densities.propagate(problem, method, ts, X, path.log_density(0.95, X[:, None]))
    rng = np.random.default_rng(4)
    samples = solve(problem, path.sample(0.95, n, rng), ts, method, rng=rng).x[:, 0]
    below = np.cumsum(np.exp(log_p)) * (X[1] - X[0])
    edges = np.interp(np.linspace(0.0, 1.0, 61)[1:-1], below - 0.5 * np.exp(log_p) * (X[1] - X[0]), X)
    counts = np.bincount(np.searchsorted(edges, samples), minlength=60)
    assert stats.chisquare(counts).pvalue > 1e-6
    assert densities.kl(X, path.log_density(0.0, X[:, None]), log_p) > 0.01


class Kicked:
    """A method whose noise is multiplied by the state."""

    def init(self, problem, t0, x0):
        return None

    def step(self, problem, t0, t1, x, state, noise):
        return x * (1.0 + noise(t0, t1)), None


def test_densities_refuse_what_they_cannot_follow(densities):
    """A map that folds, noise that meets the state, and details finer than the points are refused."""
    path = Interpolation(Linear(), Gaussian([0.0], 0.25))
    start, ts = path.log_density(0.9, X[:, None]), np.array([0.9, 0.5])

    def folded(time, x):
        return path.predict(Noise, time, x) + 3.0 * np.cos(9.0 * x)

    with pytest.raises(ValueError, match="folds"):
        densities.propagate(denoising(Linear(), folded, Noise), EXPONENTIAL, ts, X, start)
    problem, kicked = reverse_sde(Linear(), path.velocity, diffusion.Sigma()), Kicked()
    with pytest.raises(ValueError, match="noise of a step depends on the state"):
        densities.propagate(problem, kicked, ts, X, start)


@pytest.mark.slow
def test_the_record_is_fresh():
    """The benchmark's short run ends well, and what it computes exactly is what the record has for the same cases."""
    script = ROOT / "benchmarks" / "what_w_does.py"
    run = subprocess.run([sys.executable, str(script), "--smoke"], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    rows = json.loads((ROOT / "benchmarks/results/what_w_does.json").read_text())["rows"]
    assert {row["part"] for row in rows} == {"continuous", "steps", "crossing", "line", "plane"}
    keys = ("part", "schedule", "error", "w", "c", "n")
    stored = {tuple(str(row.get(key)) for key in keys): row for row in rows}
    compared = 0
    for line in run.stdout.splitlines():
        words = line.split("  ")
        if words[0] == "continuous":
            found = dict(word.rsplit(" ", 1) for word in words if " " in word)
            key = ("continuous", "linear", words[2], words[3], words[4].removeprefix("c "), "None")
            key = (*key[:4], str(float(found["c"])), "None")
            assert abs(stored[key]["kl"] - float(found["kl"])) < 1e-3 * stored[key]["kl"]
            compared += 1
    assert compared > 10


def test_the_story_of_the_page():
    """What the page says in words holds in the record: where noise helps, where it hurts, and that 2 wKL may win."""
    rows = json.loads((ROOT / "benchmarks/results/what_w_does.json").read_text())["rows"]
    kl = {(r["schedule"], r["error"], r["w"], r["c"]): r["kl"] for r in rows if r["part"] == "continuous"}
    bound = {
        (r["schedule"], r["error"], r["c"]): r["bound"] for r in rows if r["part"] == "continuous" and r["w"] == "KL"
    }
    for schedule in ("linear", "gvp", "vp"):
        for base in ("KL", "sigma", "sin^2", "KL, eta"):
            early = [kl[schedule, "near the noise", base, c] for c in (0.25, 0.5, 1.0, 2.0, 4.0)]
            assert early == sorted(early, reverse=True)
            assert early[0] < kl[schedule, "near the noise", "", 0.0]
        assert kl[schedule, "near the data", "KL", 1.0] > kl[schedule, "near the data", "", 0.0]
        for (name, error, c), value in bound.items():
            if name == schedule and value is not None:
                assert value > kl[schedule, error, "KL", c]
        assert bound[schedule, "near the noise", 1.0] == min(
            bound[schedule, "near the noise", c] for c in (0.25, 0.5, 1.0, 2.0, 4.0)
        )
    assert kl["vp", "everywhere", "KL", 2.0] < kl["vp", "everywhere", "KL", 1.0]
    line = {(r["schedule"], r["error"], r["w"], r["n"]): r["kl"] for r in rows if r["part"] == "line"}
    for schedule in ("linear", "gvp", "vp"):
        other = [line[schedule, "another law", base, 250] for base in ("", "KL", "sigma", "sin^2", "KL, eta")]
        assert max(other) < 1.2 * min(other)
        exact = [line[schedule, "", base, 50] for base in ("", "KL", "sigma", "sin^2", "KL, eta")]
        assert exact[0] == min(exact)
        assert line[schedule, "noise, everywhere", "KL", 250] == min(
            line[schedule, "noise, everywhere", base, 250] for base in ("", "KL", "sigma", "sin^2", "KL, eta")
        )
    for schedule in ("gvp", "vp"):
        found = {base: line[schedule, "everywhere", base, 250] for base in ("KL", "sigma", "sin^2", "KL, eta")}
        assert min(found, key=found.get) == "KL"
    for schedule in ("linear", "gvp"):
        least = min(
            (value, w) for (name, error, w, _), value in kl.items() if (name, error) == (schedule, "everywhere")
        )
        assert least[1] == "sin^2"
    plane = [r for r in rows if r["part"] == "plane" and r["error"] == "half of another"]
    for schedule in ("linear", "gvp", "vp"):
        found = [row for row in plane if row["schedule"] == schedule]
        spread = max(row["sliced"] for row in found) - min(row["sliced"] for row in found)
        assert spread < max(row["standard error"] for row in found)

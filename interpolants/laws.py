r"""The exact law of a sampler on a Gaussian: of the numbers it returns, its steps included.

With a Gaussian target every prediction is affine in x, a sampler is an affine map of its start and its noise
(:mod:`interpolants.response`), and its result is Gaussian. Mean and covariance then need no samples:

.. math:: m = b + M m_1, \qquad \Sigma = M\Sigma_1 M^\top + \sum_k N_k N_k^\top, \qquad
          \mathrm{Cov}(x_{\mathrm{end}}, x_{\mathrm{start}}) = M\Sigma_1.

They hold for any grid, any w and any method that only adds, scales and evaluates. All is computed in the eigenbasis of
the target, where its coordinates do not mix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interpolants.coefficient import Array
from interpolants.combination import expect_model
from interpolants.diffusion import DiffusionCoefficient, Zero, expect_diffusion
from interpolants.divergence import gap
from interpolants.dynamics import Model, pose
from interpolants.path import Path
from interpolants.prediction import Prediction, Velocity, expect_prediction
from interpolants.response import Response, respond
from interpolants.transport import expect_gaussian
from solvers import ODE
from solvers.check import expect_method
from solvers.errors import explain
from solvers.grid import check_grid
from solvers.method import Method
from solvers.problem import Problem

__all__ = ["Law", "Sampler", "sampler_law"]

Floats = NDArray[np.float64]
_ZERO = Zero()


@dataclass(frozen=True, eq=False)
class Law:
    r"""A sampler's Gaussian law at a time of its grid, beside the exact marginal :math:`p_t` of the path.

    Attributes:
        path: the path.
        time: the time.
        nfe: evaluations of the model in the whole solve.
        history: the laws at all times of the grid, the start included, where they were asked for; else empty.
    """

    path: Path
    time: float
    nfe: int
    _mean: Floats = field(repr=False)
    _cov: Floats = field(repr=False)
    _cross: Floats = field(repr=False)
    _transfer: Floats = field(repr=False)
    _noise: Floats = field(repr=False)
    history: tuple[Law, ...] = field(default=(), repr=False)

    @property
    def mean(self) -> Floats:
        """The mean, shape (d,)."""
        return np.asarray(self._basis @ self._mean)

    @property
    def cov(self) -> Floats:
        """The covariance, shape (d, d)."""
        return self._rotated(self._cov)

    @property
    def cross(self) -> Floats:
        r"""The cross-covariance :math:`\mathrm{Cov}(x_{\mathrm{end}}, x_{\mathrm{start}})`, shape (d, d)."""
        return self._rotated(self._cross)

    @property
    def transfer(self) -> Floats:
        r""":math:`M`, by which the end depends on the start, shape (d, d)."""
        return self._rotated(self._transfer)

    @property
    def noise(self) -> Floats:
        r""":math:`\sum_k N_k N_k^\top`, the part of the covariance that the sampler's own noise makes, shape (d, d)."""
        return self._rotated(self._noise)

    @property
    def spreads(self) -> Floats:
        """Standard deviations along the eigenvectors of the target, by ascending eigenvalue, shape (d,)."""
        return np.sqrt(np.diag(self._cov))

    @property
    def exact_spreads(self) -> Floats:
        r"""Those of the exact marginal, :math:`\rho_t = \sqrt{\alpha_t^2 c + \sigma_t^2}`, shape (d,)."""
        return _marginal(self.path, self.time)[1]

    def wasserstein2(self) -> float:
        r"""Return :math:`W_2` (not squared) between this law and the exact marginal at this time.

        .. math:: W_2^2 = |m - m'|^2 + \min_O \|\Sigma^{1/2} O - \Sigma'^{1/2}\|_F^2

        over orthogonal O, which is the Bures distance in a form that keeps its digits where the two agree.

        References: Bhatia, Jain & Lim (2019), On the Bures–Wasserstein distance between positive definite matrices,
        arXiv 1712.01504, theorem 1.
        """
        mean, spread = _marginal(self.path, self.time)
        values, vectors = np.linalg.eigh(self._cov)
        root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
        left, _, right = np.linalg.svd(root * spread)
        return float(
            np.hypot(np.linalg.norm(self._mean - mean), np.linalg.norm(root @ (left @ right) - np.diag(spread)))
        )

    def kl(self) -> float:
        r"""Return :math:`\mathrm{KL}(p_t\|\hat p_t)` from the exact marginal to this law; inf where this is degenerate.

        With :math:`R` the covariance and :math:`\delta` the error of the mean, in coordinates that whiten :math:`p_t`,
        it is :math:`\tfrac12[\operatorname{tr}R^{-1} - d + \log\det R + \delta^\top R^{-1}\delta]`.
        """
        mean, spread = _marginal(self.path, self.time)
        scales, axes = np.linalg.eigh(self._cov / spread / spread[:, None])
        if not scales[0] > 0.0:
            return float("inf")
        shift = axes.T @ ((self._mean - mean) / spread)
        return gap((1.0 - scales) / scales, float(np.sum(shift**2 / scales)))

    @property
    def _basis(self) -> Floats:
        return np.asarray(expect_gaussian(self.path).eigenvectors[0])

    def _rotated(self, matrix: Floats) -> Floats:
        return np.asarray(self._basis @ matrix @ self._basis.T)


def sampler_law(
    path: Path,
    method: Method,
    ts: Any,
    w: DiffusionCoefficient = _ZERO,
    prediction: Prediction = Velocity,
    *,
    model: Model | None = None,
    from_prior: bool = False,
    save: bool = False,
) -> Law:
    r"""Return the exact law of what ``solve`` returns on a Gaussian path: no Monte Carlo, no small steps.

    The method decides the problem: the probability flow for a method for ODEs, the reverse SDE with ``w`` for one for
    SDEs (the forward one where the times of the grid rise), :func:`denoising` with ``w`` for an exponential one.

    >>> import numpy as np
    >>> from interpolants import Gaussian, Linear, Path, diffusion, sampler_law
    >>> from solvers import DDIM, EulerMaruyama, uniform
    >>> path = Path(Linear(), Gaussian([0.0], 1.0))
    >>> round(sampler_law(path, DDIM(), [1.0, 0.5, 0.0]).cov.item(), 12)
    0.25
    >>> law = sampler_law(path, EulerMaruyama(), uniform(250), diffusion.Sigma())
    >>> law.nfe, 0 < law.wasserstein2() < 0.01, 0 < law.kl() < 1e-4
    (250, True, True)

    Args:
        path: a path with a Gaussian target of dimension d.
        method: any method of ``solvers`` that adds, scales and evaluates.
        ts: the grid, as in ``solve``.
        w: the diffusion coefficient; w = 0 for a deterministic method and for those that bring their own noise.
        prediction: what the model predicts; the law does not depend on it, the poles do.
        model: ``model(time, x)`` → prediction, affine in x, shapes (B, d), in place of the exact one.
        from_prior: start from the prior :math:`N(0, \sigma_1^2 I)`, not from the exact marginal at the first time.
        save: keep the laws at all times of the grid in ``history``.

    Raises:
        TypeError: not a path with a Gaussian target.
        ValueError: a method or a model that is not affine; a w for a method that does not use it.
        PoleError: the method would evaluate the problem at a pole.
    """
    return Sampler(path, method, w, prediction, model).law(ts, from_prior=from_prior, save=save)


class Sampler:
    """A method on a Gaussian path, prepared once for the laws on many grids; arguments as for :func:`sampler_law`."""

    def __init__(
        self,
        path: Path,
        method: Method,
        w: DiffusionCoefficient = _ZERO,
        prediction: Prediction = Velocity,
        model: Model | None = None,
    ) -> None:
        self.path, self.method, self.dimension = path, method, expect_gaussian(path).dimension
        source = expect_prediction(prediction, "prediction")
        self._rows: Floats = np.ones((1, 1))
        self._diagonal = model is None
        if model is None:
            exact = _coordinates(path, source)
            predict: Model = lambda time, x: exact(time, x, self._rows)  # noqa: E731
        else:
            expect_model(model)
            predict = _in_eigenbasis(path, model)
        self._problem = lru_cache(lambda rising: _problem(path, method, w, source, predict, rising))
        self._problem(False)

    def law(self, ts: Any, *, from_prior: bool = False, save: bool = False) -> Law:
        """Return the law on a grid."""
        times = check_grid(ts)
        problem = self._problem(bool(times[-1] > times[0]))

        def built(rows: Floats) -> Problem:
            self._rows = rows
            return problem

        response = respond(built, self.method, times, self.dimension, diagonal=self._diagonal, save=save)
        if from_prior:
            start = np.zeros(self.dimension), np.full(self.dimension, self.path.schedule.prior_scale)
        else:
            start = _marginal(self.path, float(times[0]))
        kept = enumerate(times if save else times[-1:])
        laws = [_law(self.path, float(time), k, response, start) for k, time in kept]
        return replace(laws[-1], history=tuple(laws)) if save else laws[-1]


def _law(path: Path, time: float, k: int, response: Response, start: tuple[Floats, Floats]) -> Law:
    mean, spread = start
    transfer, noise = response.transfer[k], response.noise[k]
    cross = transfer * spread**2
    spreading = transfer * spread
    cov = spreading @ spreading.T + noise
    return Law(path, time, response.nfe, response.offset[k] + transfer @ mean, cov, cross, transfer, noise)


def _marginal(path: Path, time: float) -> tuple[Floats, Floats]:
    """Return mean and standard deviations of p_t in the eigenbasis of the target."""
    target, schedule = expect_gaussian(path), path.schedule
    alpha, sigma = float(schedule.alpha(time)), float(schedule.sigma(time))
    values, basis = target.eigenvalues[0], target.eigenvectors[0]
    return alpha * (basis.T @ target.mean), np.hypot(alpha * np.sqrt(values), sigma)


def _problem(
    path: Path, method: Method, w: DiffusionCoefficient, prediction: Prediction, model: Model, rising: bool
) -> Problem:
    """Return the problem that the method solves, from noise to data or, where times rise, from data to noise."""
    schedule, kind = path.schedule, expect_method(method).solves
    if issubclass(ODE, kind) and expect_diffusion(w).expression(schedule) != 0:
        remedy = "leave w out, or choose a stochastic method"
        raise ValueError(explain(f"w = 0 for {type(method).__name__}, a method for ODEs", f"w = {w}", remedy))
    return pose(kind, schedule, model, prediction, w, rising=rising)


def _coordinates(path: Path, prediction: Prediction) -> Callable[[float, Array, Floats], Array]:
    """Return the exact prediction in the eigenbasis, elementwise; rows choose whether the target's mean counts."""
    target = expect_gaussian(path)
    values, mean = target.eigenvalues[0], target.eigenvectors[0].T @ target.mean
    row = prediction.row(path.schedule)
    alpha, sigma = (path.schedule.expressions[name] for name in ("alpha", "sigma"))
    products = {name: path.schedule.coefficient(e) for name, e in target.products(*row, alpha, sigma).items()}

    def predict(time: float, x: Array, rows: Floats) -> Array:
        at = {name: product(time) for name, product in products.items()}
        gain = (at["c_alpha"] * values + at["d_sigma"]) / (at["alpha"] ** 2 * values + at["sigma"] ** 2)
        return rows * ((at["c"] - gain * at["alpha"]) * mean) + gain * x

    return predict


def _in_eigenbasis(path: Path, model: Model) -> Model:
    basis = expect_gaussian(path).eigenvectors[0]
    return lambda time, x: np.asarray(model(time, x @ basis.T)) @ basis

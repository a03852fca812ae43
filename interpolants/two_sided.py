r"""Interpolants between two data sets, with noise that vanishes at both.

.. math::
   x_t = \alpha_t x_0 + \beta_t x_1 + \gamma_t z, \quad z \sim N(0, I), \qquad
   b(t, x) = \mathbb E[\dot\alpha x_0 + \dot\beta x_1 + \dot\gamma z\,|\,x_t = x], \qquad
   s = \nabla\log p_t = -\mathbb E[z\,|\,x_t = x]/\gamma.

t = 0 is the first data set, t = 1 the second. For :math:`\gamma = \sqrt{at(1-t)}`, :math:`\dot\gamma` is infinite at
both ends; :math:`\gamma\dot\gamma`, half the derivative of :math:`\gamma^2`, is not. With it,

.. math::
   b = \mathbb E[\dot\alpha x_0 + \dot\beta x_1|x] - \gamma\dot\gamma\,s, \qquad
   \dot X = b, \qquad dX = (b + \tfrac12 w s)\,dt + \sqrt w\,dW, \qquad dX = (b - \tfrac12 w s)\,dt + \sqrt w\,d\bar W,

of which the flow, the SDE from 0 to 1 and the SDE from 1 to 0 have the marginals :math:`p_t` for every w ≥ 0.

References: Albergo, Boffi & Vanden-Eijnden (2023), arXiv 2303.08797, Theorems 6–8 (transport equation, b, s).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from sympy import Expr, Piecewise, Rational, cos, pi, sin, sqrt

from interpolants.coefficient import Array, Coefficient, coefficient, namespace, pad
from interpolants.diffusion import DiffusionCoefficient
from interpolants.measure import UNIT
from interpolants.prior import standard_normal
from interpolants.schedule import Schedule
from interpolants.symbols import canonical, derivative, t
from interpolants.targets import Gaussian
from solvers import ODE, SDE, Pole
from solvers.errors import explain

__all__ = ["TwoSided", "TwoSidedPath", "bridge", "encode_decode", "forward_sde_two_sided", "linear_two_sided", "mirror"]
__all__ += ["mirror_velocity", "parabola", "probability_flow_two_sided", "reverse_sde_two_sided", "sine_squared"]
__all__ += ["trigonometric_two_sided"]

Field = Callable[[Any, Array], Array]


def bridge(a: float = 1.0) -> Expr:
    r"""Return :math:`\gamma^2 = a\,t(1-t)`, the variance of a Brownian bridge."""
    return canonical(a, "a") * t * (1 - t)


def parabola() -> Expr:
    r"""Return :math:`\gamma^2` of :math:`\gamma = t(1-t)`."""
    return t**2 * (1 - t) ** 2


def sine_squared() -> Expr:
    r"""Return :math:`\gamma^2` of :math:`\gamma = \sin^2\pi t`."""
    return sin(pi * t) ** 4


class TwoSided:
    r"""The interpolant :math:`x_t = \alpha_t x_0 + \beta_t x_1 + \gamma_t z`.

    Args:
        name: what reports call it.
        alpha: :math:`\alpha_t`, sympy (or text) in one symbol: 1 at t = 0 and 0 at t = 1.
        beta: :math:`\beta_t`: 0 at t = 0 and 1 at t = 1.
        gamma_squared: :math:`\gamma_t^2`: 0 at both ends, positive inside; ``bridge()``, ``parabola()``,
            ``sine_squared()`` or any other expression.

    ``alpha``, ``beta``, ``gamma``, ``gamma_squared``, ``d_alpha``, ``d_beta``, ``gamma_d_gamma`` (γγ̇) are functions of
    time like a schedule's; so is ``d_gamma``, with poles where γ begins like a root. With ``alpha = 0`` it is a mirror,
    :math:`x_t = \beta_t x_1 + \gamma_t z` from a data set to itself, and β is 1 at both ends. Raises TypeError or
    ValueError for what is no real expression of one symbol, other boundary values, γ² not positive inside.
    """

    domain, exact_domain = (0.0, 1.0), UNIT

    def __init__(self, name: str, alpha: object, beta: object, gamma_squared: object):
        self.name = name
        a, b, square = canonical(alpha, "alpha"), canonical(beta, "beta"), canonical(gamma_squared, "gamma_squared")
        gamma, rate = sqrt(square), derivative(square) / 2
        self.alpha, self.beta, self.gamma, self.gamma_squared = map(self.coefficient, (a, b, gamma, square))
        rates, labels = (derivative(a), derivative(b), rate, rate / gamma), ("d_alpha", "d_beta", "rate", "d_gamma")
        self.d_alpha, self.d_beta, self.gamma_d_gamma, self.d_gamma = map(self.coefficient, rates, labels)
        self.is_mirror, self.expressions = bool(a == 0), {"alpha": a, "beta": b, "gamma": gamma}
        _check(self)

    def __repr__(self) -> str:
        parts = (self.alpha.expression, self.beta.expression, self.gamma_squared.expression)
        return "{}: alpha = {}, beta = {}, gamma^2 = {}".format(self.name, *parts)

    def coefficient(self, expression: Expr, label: str = "coefficient") -> Coefficient:
        """Return ``expression`` of :data:`~interpolants.t` as a function of time."""
        return coefficient(expression, label, t, self.exact_domain)

    def interpolate(self, time: Any, x_0: Array, x_1: Array, z: Array) -> Array:
        r"""Return :math:`x_t`, shape (B, …); ``time`` is a number or has shape (B,)."""
        a, b, c = (pad(part(time), x_1) for part in (self.alpha, self.beta, self.gamma))
        return a * x_0 + b * x_1 + c * z

    def velocity_target(self, time: Any, x_0: Array, x_1: Array, z: Array | None = None) -> Array:
        r"""Return :math:`\dot\alpha x_0 + \dot\beta x_1 + \dot\gamma z`, whose mean given :math:`x_t` is b.

        Without ``z``, the regular part: its mean given :math:`x_t`, less :math:`\gamma\dot\gamma\,s`, is b, at both
        ends too. With ``z``, PoleError for a number as time at which :math:`\dot\gamma` is infinite.
        """
        regular = pad(self.d_alpha(time), x_1) * x_0 + pad(self.d_beta(time), x_1) * x_1
        return regular if z is None else regular + pad(self.d_gamma(time), x_1) * z


def _check(interpolant: TwoSided) -> None:
    wanted = {"alpha": (0, 0), "beta": (1, 1)} if interpolant.is_mirror else {"alpha": (1, 0), "beta": (0, 1)}
    for name, values in {**wanted, "gamma_squared": (0, 0)}.items():
        for end, value in zip(getattr(interpolant, name).ends, values):
            if not abs(end.limit - value) < 1e-12:
                what = f"{name} = {value} at t = {end.time:g}{' of a mirror' * interpolant.is_mirror}"
                remedy = "let alpha go from 1 to 0, beta from 0 to 1 and gamma^2 from 0 to 0; a mirror has beta 1 and 1"
                raise ValueError(explain(what, f"{end.limit:.6g}", remedy))
    for time in np.linspace(0, 1, 66)[1:-1].tolist():
        if not interpolant.gamma_squared(time) > 0:
            received = f"{interpolant.gamma_squared(time):.4g} at t = {time:.4g}"
            raise ValueError(explain("gamma^2 > 0 between the ends", received, "pass a positive variance gamma^2"))


def linear_two_sided(gamma_squared: object = None) -> TwoSided:
    r"""Return :math:`\alpha = 1 - t`, :math:`\beta = t`; γ² is ``bridge()`` unless given."""
    return TwoSided("linear-two-sided", 1 - t, t, bridge() if gamma_squared is None else gamma_squared)


def trigonometric_two_sided(gamma_squared: object = None) -> TwoSided:
    r"""Return :math:`\alpha = \cos(\pi t/2)`, :math:`\beta = \sin(\pi t/2)`; γ² is ``bridge()`` unless given."""
    square = bridge() if gamma_squared is None else gamma_squared
    return TwoSided("trigonometric-two-sided", cos(pi * t / 2), sin(pi * t / 2), square)


def encode_decode(gamma_squared: object = None) -> TwoSided:
    r"""Return :math:`\alpha = \cos^2\pi t` up to t = ½ and β the same from there on, each 0 elsewhere.

    In the middle all is noise; γ² is ``sine_squared()`` unless given, and the noise then N(0, I).
    """
    square, early, wave = sine_squared() if gamma_squared is None else gamma_squared, t <= Rational(1, 2), cos(pi * t)
    alpha, beta = Piecewise((wave**2, early), (0, True)), Piecewise((0, early), (wave**2, True))
    return TwoSided("encode-decode", alpha, beta, square)


def mirror(gamma_squared: object = None) -> TwoSided:
    r"""Return :math:`x_t = x_1 + \gamma_t z`, from a data set to itself; γ² is ``bridge()`` unless given."""
    return TwoSided("mirror", 0, 1, bridge() if gamma_squared is None else gamma_squared)


def mirror_velocity(interpolant: TwoSided, score: Field) -> Field:
    r"""Return a mirror's velocity, :math:`(\dot\beta/\beta)(x + \gamma^2 s) - \gamma\dot\gamma\,s`, from its score.

    For β = 1, :math:`b = -\gamma\dot\gamma\,s`: then :math:`-\nabla\cdot(b\,p) = \gamma\dot\gamma\,\Delta p`, as noise
    of variance γ² spreads a density, and the drifts of the SDEs hold the same b. Published code exists whose flow has
    the other sign. Raises ValueError where α is not 0.
    """
    if not interpolant.is_mirror:
        raise ValueError(explain("a mirror (alpha = 0)", repr(interpolant), "learn the velocity beside the score"))
    growth = interpolant.d_beta.expression / interpolant.beta.expression
    at_s = growth * interpolant.gamma_squared.expression - interpolant.gamma_d_gamma.expression
    factors = interpolant.coefficient(growth), interpolant.coefficient(at_s)
    return lambda time, x: pad(factors[0](time), x) * x + pad(factors[1](time), x) * score(time, x)


@dataclass(frozen=True)
class TwoSidedPath:
    r"""The exact law of an interpolant between independent Gaussians :math:`N(m_0, C_0)` and :math:`N(m_1, C_1)`.

    .. math:: \mu = \alpha m_0 + \beta m_1, \quad \Sigma = \alpha^2 C_0 + \beta^2 C_1 + \gamma^2 I, \qquad
       b = \dot\mu + \tfrac12\dot\Sigma\,\Sigma^{-1}(x - \mu), \quad s = -\Sigma^{-1}(x - \mu).

    ``time`` is a number or has shape (B,), ``x`` has shape (B, d). A mirror takes the same Gaussian twice.
    """

    interpolant: TwoSided
    gaussian0: Gaussian
    gaussian1: Gaussian

    def __post_init__(self) -> None:
        for value, kind in zip((self.interpolant, self.gaussian0, self.gaussian1), (TwoSided, Gaussian, Gaussian)):
            if not isinstance(value, kind):
                raise TypeError(explain(f"a {kind.__name__}", repr(value), "pass TwoSidedPath(interpolant, g0, g1)"))
        ours, theirs = ((g.mean, g.cov) for g in (self.gaussian0, self.gaussian1))
        if ours[0].shape != theirs[0].shape:
            raise ValueError(explain("Gaussians of one dimension", f"{ours[0]}, {theirs[0]}", "match their dimensions"))
        if self.interpolant.is_mirror and not all(map(np.array_equal, ours, theirs)):
            raise ValueError(explain("one Gaussian twice for a mirror", "two that differ", "pass the same one twice"))

    def _moments(self, time: Any, x: Array, order: int = 0) -> tuple[Array, Array]:
        """Return μ and Σ, or with order 1 μ̇ and ½Σ̇, of x's library and type; the products are lowered as such."""
        i, d = self.interpolant, self.gaussian0.dimension
        if x.ndim != 2 or x.shape[1] != d:
            raise ValueError(explain(f"x of shape (B, {d})", f"shape {tuple(x.shape)}", "pass a batch of points"))
        a, b = (part.expression for part in ((i.d_alpha, i.d_beta) if order else (i.alpha, i.beta)))
        square = (i.gamma_d_gamma if order else i.gamma_squared).expression
        weights = (a, b, a * i.alpha.expression, b * i.beta.expression, square)
        at = [pad(i.coefficient(weight)(time), x) for weight in weights]
        g, h = self.gaussian0, self.gaussian1
        m0, m1, *matrices = _like(x, g.mean, h.mean, g.cov, h.cov, np.eye(d))
        factors = [value if isinstance(value, float) or not value.ndim else value[..., None] for value in at[2:]]
        return at[0] * m0 + at[1] * m1, sum(factor * matrix for factor, matrix in zip(factors, matrices))

    def _whitened(self, time: Any, x: Array) -> tuple[Array, Array, Array]:
        """Return x − μ, Σ⁻¹(x − μ) and Σ."""
        mean, cov = self._moments(time, x)
        xp: Any = namespace(x)
        return x - mean, xp.linalg.solve(cov, (x - mean)[..., None])[..., 0], cov

    def velocity(self, time: Any, x: Array) -> Array:
        """Return b, shape (B, d)."""
        mean_rate, half_rate = self._moments(time, x, order=1)
        return mean_rate + (half_rate @ self._whitened(time, x)[1][..., None])[..., 0]

    def score(self, time: Any, x: Array) -> Array:
        """Return s, shape (B, d)."""
        return -self._whitened(time, x)[1]

    def denoiser(self, time: Any, x: Array) -> Array:
        r"""Return :math:`\mathbb E[z|x_t = x] = -\gamma s`, shape (B, d)."""
        return pad(self.interpolant.gamma(time), x) * self._whitened(time, x)[1]

    def log_density(self, time: Any, x: Array) -> Array:
        r"""Return :math:`\log p_t(x)`, shape (B,)."""
        centred, white, cov = self._whitened(time, x)
        xp: Any = namespace(x)
        return -0.5 * ((centred * white).sum(-1) + xp.linalg.slogdet(cov)[1] + x.shape[1] * math.log(2 * math.pi))

    def sample_joint(self, time: float, n: int, rng: Any) -> tuple[Array, Array, Array, Array]:
        """Draw n independent (x_t, x_0, x_1, z), each of shape (n, d); a mirror has x_0 = x_1."""
        x_1 = self.gaussian1.sample(n, rng)
        x_0 = x_1 if self.interpolant.is_mirror else self.gaussian0.sample(n, rng)
        z = standard_normal((n, self.gaussian0.dimension), rng)
        z = z if z.dtype == x_1.dtype else z.to(x_1.dtype)
        return self.interpolant.interpolate(float(time), x_0, x_1, z), x_0, x_1, z

    def flow(self, start: float, stop: float, x: Array) -> Array:
        r"""Move points along :math:`\dot X = b`: :math:`\mu_u + \Sigma_u^{1/2}\Sigma_t^{-1/2}(x - \mu_t)`.

        Raises ValueError where :math:`C_0` and :math:`C_1` do not commute: the flow then has no such form.
        """
        product = self.gaussian0.cov @ self.gaussian1.cov
        if np.abs(product - product.T).max() > 1e-12 * np.abs(product).max():
            remedy = "solve(probability_flow_two_sided(interpolant, path.velocity), x, ts, RK4())"
            raise ValueError(explain("covariances that commute", "two that do not", remedy))
        laws = [self._moments(float(time), np.zeros((1, self.gaussian0.dimension))) for time in (start, stop)]
        spectra = [np.linalg.eigh(cov) for _, cov in laws]
        roots = [(vectors * np.sqrt(values)) @ vectors.T for values, vectors in spectra]
        mean_0, mean_1, matrix = _like(x, laws[0][0], laws[1][0], np.linalg.solve(*roots))
        return mean_1 + (x - mean_0) @ matrix


def probability_flow_two_sided(interpolant: TwoSided, velocity: Field) -> ODE:
    """Return the flow of ``velocity(time, x)`` → b, of use in both directions of time."""
    return ODE(velocity, domain=interpolant.domain)


def forward_sde_two_sided(interpolant: TwoSided, velocity: Field, score: Field, w: DiffusionCoefficient) -> SDE:
    r"""Return :math:`dX = (b + \tfrac12 w s)\,dt + \sqrt w\,dW`, to be integrated from t = 0 to t = 1.

    Args:
        interpolant: whose name and domain the problem has.
        velocity: ``velocity(time, x)`` → b.
        score: ``score(time, x)`` → s; of a model of E[z|x], its output divided by −γ.
        w: a function of time alone, such as ``diffusion.Constant(1)``, ``diffusion.Ramp()``, ``diffusion.Custom(...)``.

    Raises TypeError or ValueError for a w of the wrong kind, negative, or tied to a schedule's σ or κ.
    """
    return _sde(interpolant, velocity, score, w, 0.5)


def reverse_sde_two_sided(interpolant: TwoSided, velocity: Field, score: Field, w: DiffusionCoefficient) -> SDE:
    r"""Return :math:`dX = (b - \tfrac12 w s)\,dt + \sqrt w\,d\bar W`, from t = 1 to t = 0; arguments as forwards."""
    return _sde(interpolant, velocity, score, w, -0.5)


def _sde(interpolant: TwoSided, velocity: Field, score: Field, w: object, half: float) -> SDE:
    if not isinstance(w, DiffusionCoefficient):
        raise TypeError(explain("a diffusion coefficient w", repr(w), "pass a choice such as diffusion.Constant(1)"))
    try:
        rate = w.of(cast(Schedule, interpolant))
    except KeyError as error:
        remedy = "pass diffusion.Custom(expression)"
        raise ValueError(explain("a w of time alone, not of sigma or kappa", repr(w), remedy)) from error
    noise = interpolant.coefficient(sqrt(rate.expression), f"the noise of w = {w}")
    poles = tuple(Pole(time, f"w = {w} is infinite at t = {time:g}", "choose a bounded w") for time in rate.poles)

    def drift(time: Any, x: Array) -> Array:
        return velocity(time, x) + half * pad(rate(time), x) * score(time, x)

    return SDE(drift, noise, poles=poles, domain=interpolant.domain)


def _like(x: Array, *arrays: Array) -> list[Array]:
    """Return the arrays in x's library, type and device."""
    xp: Any = namespace(x)
    device = {} if xp is np else {"device": x.device}
    return [xp.asarray(array, dtype=x.dtype, **device) for array in arrays]

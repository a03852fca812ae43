r"""The diffusion coefficient :math:`w_t` of the reverse SDE.

It is the paper's: noise :math:`\sqrt{w_t}`, drift :math:`v - \tfrac12 w_t s`.

Every choice is a formula in the schedule; :meth:`DiffusionCoefficient.of` evaluates it. Multiples and sums are choices
too: ``2 * w.Sigma()``. SiT's published code calls :math:`w_t/2` "diffusion" (its noise is the root of twice that), so
that its named forms are twice ours; that quantity does not appear here.

The tables say what each does at the ends, under ``VP()`` for β from 0.1 to 20: the limits of w; where the drift
:math:`v - \tfrac12 w s` of a velocity model is infinite; and whether the integral in the KL bound of
:func:`interpolants.kl_bound` is finite, for an excess loss L that is 1 and for one that vanishes at both ends.
"""

from __future__ import annotations

from sympy import Expr, Integer, pi, sin, sqrt, sympify

from interpolants.rate import DiffusionCoefficient, expect_diffusion, expect_non_negative
from interpolants.schedule import Schedule
from interpolants.symbols import canonical, t
from solvers.errors import explain

__all__ = [
    "KL",
    "SBDM",
    "Constant",
    "Custom",
    "Decreasing",
    "DiffusionCoefficient",
    "KLRegularized",
    "Ramp",
    "Sigma",
    "SinSquared",
    "Zero",
    "expect_diffusion",
]


def _unit(schedule: Schedule) -> Expr:
    """Return time as a fraction of the schedule's domain; t itself on [0, 1]."""
    lo, hi = schedule.exact_domain
    return (t - lo) / (hi - lo)


def KL() -> DiffusionCoefficient:  # noqa: N802
    r"""Return :math:`w^{KL}_t = 2\kappa_t`, the minimiser of the KL bound.

    :math:`\kappa = \sigma\dot\sigma - \dot\alpha\sigma^2/\alpha`.
    Linear: 2t/(1−t). GVP: π tan(πt/2). VP: β_t. It is the squared diffusion :math:`g^2` of the SDE that has the
    schedule as its marginals, so that this is the reverse SDE of Song et al. (eq. 6).

    =================  ========  ========  =======
    ..                 Linear    GVP       VP()
    =================  ========  ========  =======
    w at t = 0         0         0         1/10
    w at t = 1         oo        oo        20
    drift infinite at  t = 1     t = 1     no time
    bound, L = 1       infinite  infinite  finite
    bound, L = t(1-t)  finite    finite    finite
    =================  ========  ========  =======

    Elsewhere: SiT's ``"SBDM"`` with ``diffusion_norm`` n is ``n * KL()``, for its κ is half of w.

    References: Ma et al. (2024), arXiv 2401.08740, §2.4 (wKL in the main text's normalisation); Song et al. (2021),
    arXiv 2011.13456.
    """
    return DiffusionCoefficient("KL()", lambda schedule: 2 * schedule.expressions["kappa"])


def KLRegularized(eta: float, excess_loss: object) -> DiffusionCoefficient:  # noqa: N802
    r"""Return the w that is best for the KL bound plus :math:`\eta\int w_t\,dt`, finite at t = 1.

    .. math:: w^{KL,\eta} = w^{KL}\sqrt{\frac{L_t}{L_t + 2\eta\,(w^{KL})^2}}
              = 2\sigma W\sqrt{\frac{L_t}{\alpha^2 L_t + 8\eta\,\sigma^2 W^2}}

    minimises :math:`\tfrac12 w^{-1}(1 + w/2\kappa)^2 L_t + \eta w` at every time: the derivative
    :math:`-L_t/2w^2 + L_t/8\kappa^2 + \eta` vanishes at :math:`w^{-2} = (2\kappa)^{-2} + 2\eta/L_t`. Where α₁ = 0 it
    ends at :math:`\sqrt{L_1/2\eta}`; where :math:`L_t = 0` it is 0. The appendix of the paper has 4η under the root.
    With η = ½ and L = 1:

    =================  ========  ========  ============
    ..                 Linear    GVP       VP()
    =================  ========  ========  ============
    w at t = 0         0         0         1/sqrt(101)
    w at t = 1         1         1         20/sqrt(401)
    drift infinite at  no time   no time   no time
    bound, L = 1       infinite  infinite  finite
    bound, L = t(1-t)  finite    finite    finite
    =================  ========  ========  ============

    Args:
        eta: :math:`\eta > 0`, the price of noise; ``KL()`` is the limit η → 0.
        excess_loss: :math:`L_t = \mathbb E|v - v_\theta|^2 \ge 0`: a number, an expression of time or its text, or a
            function of time made of operators and sympy's functions, which is called with ``t`` once. Values that
            were measured at some times are to be fitted by a short expression first.

    Raises:
        TypeError: no expression, or a function that does not accept a symbol.
        ValueError: η is not a number > 0; :math:`L_t < 0` somewhere (when it meets a schedule).

    References: Ma et al. (2024), arXiv 2401.08740, §2.4.
    """
    price, loss = canonical(eta, "eta"), _excess_loss(excess_loss)
    if price.free_symbols or not price > 0:
        raise ValueError(explain("a number eta > 0", str(eta), "use KL() for no penalty on w"))

    def expression(schedule: Schedule) -> Expr:
        expect_non_negative(loss, schedule, "the excess loss")
        alpha, sigma, wronskian = (schedule.expressions[name] for name in ("alpha", "sigma", "wronskian"))
        if loss == 0:
            return Integer(0)
        return 2 * sigma * wronskian * sqrt(loss / (alpha**2 * loss + 8 * price * sigma**2 * wronskian**2))

    return DiffusionCoefficient(f"KLRegularized({eta}, {loss})", expression)


def _excess_loss(value: object) -> Expr:
    """Return a loss as an expression of time; a function is followed with the symbol."""
    if callable(value) and not isinstance(value, Expr):
        try:
            value = value(t)
        except Exception as error:  # a function that was not written for a symbol may fail in any way
            remedy = "write it with operators and sympy's functions, or fit its values by a short expression of t"
            raise TypeError(explain("an excess loss that accepts a symbol", repr(value), remedy)) from error
    return canonical(value, "the excess loss")


def Sigma() -> DiffusionCoefficient:  # noqa: N802
    r"""Return :math:`w_t = \sigma_t`: zero at the data, finite at the noise.

    =================  ========  ========  ======================
    ..                 Linear    GVP       VP()
    =================  ========  ========  ======================
    w at t = 0         0         0         0
    w at t = 1         1         1         sqrt(1 - exp(-201/20))
    drift infinite at  no time   no time   no time
    bound, L = 1       infinite  infinite  finite
    bound, L = t(1-t)  finite    finite    finite
    =================  ========  ========  ======================

    Elsewhere: SiT's ``"sigma"`` with ``diffusion_norm`` n is ``2 * n * Sigma()``.
    """
    return DiffusionCoefficient("Sigma()", lambda schedule: schedule.expressions["sigma"])


def SinSquared() -> DiffusionCoefficient:  # noqa: N802
    r"""Return :math:`w_t = \sin^2(\pi t)`: zero at both ends, where the KL bound has 1/w and diverges.

    On a domain other than [0, 1], t is the fraction of the domain that has passed, here as in ``Ramp`` and
    ``Decreasing``.

    =================  ========  ========  ========
    ..                 Linear    GVP       VP()
    =================  ========  ========  ========
    w at t = 0         0         0         0
    w at t = 1         0         0         0
    drift infinite at  no time   no time   no time
    bound, L = 1       infinite  infinite  infinite
    bound, L = t(1-t)  infinite  infinite  infinite
    =================  ========  ========  ========

    Elsewhere: SiT's ``"inccreasing-decreasing"`` (spelt so) with ``diffusion_norm`` n is ``2 * n * SinSquared()``.
    """
    return DiffusionCoefficient("SinSquared()", lambda schedule: sin(pi * _unit(schedule)) ** 2)


def SBDM(beta: object = None) -> DiffusionCoefficient:  # noqa: N802
    r"""Return :math:`w_t = \beta_t`, the noise rate of the score SDE.

    Without a rate it is :math:`2\kappa_t`, which equals :math:`\beta_t` for VP; then

    =================  ========  ========  =======
    ..                 Linear    GVP       VP()
    =================  ========  ========  =======
    w at t = 0         0         0         1/10
    w at t = 1         oo        oo        20
    drift infinite at  t = 1     t = 1     no time
    bound, L = 1       infinite  infinite  finite
    bound, L = t(1-t)  finite    finite    finite
    =================  ========  ========  =======

    Elsewhere: SiT's ``"SBDM"`` with ``diffusion_norm`` n is ``n * SBDM()`` under every schedule; score_sde's
    :math:`g^2` of its VP SDE is β_t.

    References: Song et al. (2021), arXiv 2011.13456, eq. 6 and 11.
    """
    if beta is None:
        return DiffusionCoefficient("SBDM()", KL().expression)
    rate = canonical(beta, "beta")
    return DiffusionCoefficient(f"SBDM({rate})", lambda schedule: rate)


def Constant(value: float) -> DiffusionCoefficient:  # noqa: N802
    r"""Return :math:`w_t = c \ge 0`. Where κ₀ = 0 (Linear, GVP) the drift is then infinite at t = 0.

    With c = 1:

    =================  ========  ========  =======
    ..                 Linear    GVP       VP()
    =================  ========  ========  =======
    w at t = 0         1         1         1
    w at t = 1         1         1         1
    drift infinite at  t = 0     t = 0     no time
    bound, L = 1       infinite  infinite  finite
    bound, L = t(1-t)  infinite  infinite  finite
    =================  ========  ========  =======

    Elsewhere: SiT's ``"constant"`` with ``diffusion_norm`` n is ``Constant(2 * n)``.
    """
    number = canonical(value, "a constant w")
    if number.free_symbols or number < 0:
        raise ValueError(explain("a number >= 0", str(value), "w is a variance rate: keep it non-negative"))
    return DiffusionCoefficient(f"Constant({value})", lambda schedule: number)


def Ramp() -> DiffusionCoefficient:  # noqa: N802
    r"""Return :math:`w_t = t`.

    =================  ========  ========  ========
    ..                 Linear    GVP       VP()
    =================  ========  ========  ========
    w at t = 0         0         0         0
    w at t = 1         1         1         1
    drift infinite at  no time   no time   no time
    bound, L = 1       infinite  infinite  infinite
    bound, L = t(1-t)  finite    finite    finite
    =================  ========  ========  ========

    Elsewhere: SiT's ``"linear"`` with ``diffusion_norm`` n is ``2 * n * Ramp()``; REPA's sampler has ``2 * Ramp()``
    under every schedule.
    """
    return DiffusionCoefficient("Ramp()", _unit)


def Decreasing() -> DiffusionCoefficient:  # noqa: N802
    r"""Return :math:`w_t = \tfrac14(1 - \cos\pi t)^2 = \sin^4(\pi t/2)`, decreasing towards the data.

    =================  ========  ========  ========
    ..                 Linear    GVP       VP()
    =================  ========  ========  ========
    w at t = 0         0         0         0
    w at t = 1         1         1         1
    drift infinite at  no time   no time   no time
    bound, L = 1       infinite  infinite  infinite
    bound, L = t(1-t)  infinite  infinite  infinite
    =================  ========  ========  ========

    Elsewhere: SiT's ``"decreasing"``, ¼(n cos πt' + 1)² in its own time t' = 1 − t, is ``2 * Decreasing()`` for
    ``diffusion_norm`` n = 1; another n multiplies the cosine and not the whole.
    """
    return DiffusionCoefficient("Decreasing()", lambda schedule: sin(pi * _unit(schedule) / 2) ** 4)


def Zero() -> DiffusionCoefficient:  # noqa: N802
    r"""Return :math:`w_t = 0`: the reverse SDE becomes the probability-flow ODE.

    =================  ========  ========  ========
    ..                 Linear    GVP       VP()
    =================  ========  ========  ========
    w at t = 0         0         0         0
    w at t = 1         0         0         0
    drift infinite at  no time   no time   no time
    bound, L = 1       infinite  infinite  infinite
    bound, L = t(1-t)  infinite  infinite  infinite
    =================  ========  ========  ========
    """
    return DiffusionCoefficient("Zero()", lambda schedule: Integer(0))


def Custom(expression: object) -> DiffusionCoefficient:  # noqa: N802
    r"""Return any non-negative expression of time as w_t; what it does at the ends is up to the expression.

    Elsewhere: EDM's rate of Langevin noise β(t) (Karras et al. 2022, arXiv 2206.00364, eq. 6) is the expression
    :math:`2\beta\sigma^2` under a schedule with α = 1, its σ being ours.
    """
    formula = canonical(expression, "w")
    return DiffusionCoefficient(f"Custom({sympify(formula)})", lambda schedule: formula)

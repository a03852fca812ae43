r"""A schedule is two expressions, :math:`\alpha_t` and :math:`\sigma_t`; everything else follows from them.

.. math::
   x_t = \alpha_t x_{\mathrm{data}} + \sigma_t \varepsilon, \qquad
   W = \alpha\dot\sigma - \dot\alpha\sigma, \qquad \lambda = W/\alpha, \qquad \kappa = \sigma W/\alpha, \qquad
   \log\mathrm{SNR} = 2\log(\alpha/\sigma)

with t = 0 data and t = 1 noise (Ma et al. 2024, arXiv 2401.08740, §2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from sympy import Expr, log, oo

from interpolants import inverse as inverses
from interpolants import reparametrise
from interpolants.admissible import check_path
from interpolants.coefficient import Array, Coefficient, coefficient
from interpolants.latex import latex
from interpolants.modules import module_source
from interpolants.prior import standard_normal
from interpolants.symbols import L, canonical, derivative, t
from solvers.errors import explain

if TYPE_CHECKING:
    from interpolants.certify import Certificate

__all__ = ["Coefficients", "Schedule"]


class Coefficients(NamedTuple):
    """The four numbers of an interpolant at a time."""

    alpha: Any
    sigma: Any
    d_alpha: Any
    d_sigma: Any


class Schedule:
    r"""An interpolant :math:`x_t = \alpha_t x_{\mathrm{data}} + \sigma_t \varepsilon`.

    Args:
        name: what reports and figures call it.
        alpha: :math:`\alpha_t`, a sympy expression of one symbol (or its text), 1 at the start of the domain.
        sigma: :math:`\sigma_t`, likewise, 0 at the start of the domain.
        domain: the times on which it is defined, data first.
        time_of_log_snr: the inverse of the log-SNR as an expression of ``symbols.L``; found numerically if absent.
        check: refuse a pair that breaks the boundary conditions. ``False`` leaves the finding to :func:`certify`.

    Every quantity takes a time: sympy in, sympy out; a float, numpy array, torch tensor or jax array in, the same
    out, accurate to a few ulp at every time of the domain, both ends included.

    Raises:
        TypeError, ValueError: not real expressions of one symbol; α or σ not positive inside the domain; a log-SNR
            that does not decrease; α ≠ 1 or σ ≠ 0 at the start.

    References:
        Ma, Goldstein, Albergo, Boffi, Vanden-Eijnden & Xie (2024), SiT, arXiv 2401.08740, §2.
        Albergo, Boffi & Vanden-Eijnden (2023), Stochastic Interpolants, arXiv 2303.08797.
    """

    def __init__(
        self,
        name: str,
        alpha: object,
        sigma: object,
        *,
        domain: Sequence[object] = (0, 1),
        time_of_log_snr: object = None,
        check: bool = True,
    ):
        self.name = name
        if len(domain) != 2:
            remedy = "write domain=(0, 1), data first"
            raise ValueError(explain("a domain of two times", repr(domain), remedy))
        self.exact_domain = (canonical(domain[0], "domain"), canonical(domain[1], "domain"))
        self.domain = (float(self.exact_domain[0]), float(self.exact_domain[1]))
        alpha_t, sigma_t = canonical(alpha, "alpha"), canonical(sigma, "sigma")
        for what, expression in (("alpha", alpha_t), ("sigma", sigma_t)):
            if expression == 0:
                raise ValueError(explain(f"{what} > 0 inside the domain", "0", f"choose {what} positive"))
        wronskian = alpha_t * derivative(sigma_t) - derivative(alpha_t) * sigma_t
        self.expressions: dict[str, Expr] = {
            "alpha": alpha_t,
            "sigma": sigma_t,
            "d_alpha": derivative(alpha_t),
            "d_sigma": derivative(sigma_t),
            "ratio": sigma_t / alpha_t,
            "log_snr": 2 * (log(alpha_t) - log(sigma_t)),
            "wronskian": wronskian,
            "lambda": wronskian / alpha_t,
            "kappa": sigma_t * wronskian / alpha_t,
        }
        self._quantities: dict[str, Coefficient] = {}
        self.closed_inverse = None if time_of_log_snr is None else canonical(time_of_log_snr, "time_of_log_snr", L)
        if check:
            check_path(self)

    def __repr__(self) -> str:
        return f"{self.name}: alpha = {self.expressions['alpha']}, sigma = {self.expressions['sigma']}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[object, ...]:
        return self.expressions["alpha"], self.expressions["sigma"], self.exact_domain

    def coefficient(self, expression: Expr, label: str = "coefficient") -> Coefficient:
        """Return ``expression`` of :data:`t` as a coefficient on this schedule's domain."""
        return coefficient(expression, label, t, self.exact_domain)

    def quantity(self, name: str) -> Coefficient:
        """Return one of ``expressions`` (alpha, sigma, d_alpha, d_sigma, ratio, log_snr, …, kappa)."""
        found = self._quantities.get(name)
        if found is None:
            floor = 1.0 if name == "log_snr" else 0.0
            found = coefficient(self.expressions[name], f"{name} of {self.name}", t, self.exact_domain, floor)
            self._quantities[name] = found
        return found

    def alpha(self, time: Any) -> Any:
        r"""Return :math:`\alpha_t`."""
        return self.quantity("alpha")(time)

    def sigma(self, time: Any) -> Any:
        r"""Return :math:`\sigma_t`."""
        return self.quantity("sigma")(time)

    def d_alpha(self, time: Any) -> Any:
        r"""Return :math:`\dot\alpha_t`."""
        return self.quantity("d_alpha")(time)

    def d_sigma(self, time: Any) -> Any:
        r"""Return :math:`\dot\sigma_t`."""
        return self.quantity("d_sigma")(time)

    def log_snr(self, time: Any) -> Any:
        r"""Return :math:`\log(\alpha_t^2/\sigma_t^2)`, decreasing; infinite where σ or α vanishes."""
        return self.quantity("log_snr")(time)

    def time_of_log_snr(self, log_snr: Any) -> Any:
        """Return the time at which the log-SNR has the given value; beyond the range, the nearer end."""
        closed = None
        if self.closed_inverse is not None:
            closed = coefficient(self.closed_inverse, f"time_of_log_snr of {self.name}", L, (-oo, oo))
        return inverses.time_of_log_snr(self, log_snr, closed)

    def __call__(self, time: Any) -> Coefficients:
        """Return α, σ and their derivatives at ``time``."""
        return Coefficients(self.alpha(time), self.sigma(time), self.d_alpha(time), self.d_sigma(time))

    def warp(
        self, phi: object, inverse: object = None, name: str | None = None, *, domain: Sequence[object] | None = None
    ) -> Schedule:
        r"""Return the schedule with another clock, :math:`\alpha(\varphi(t)), \sigma(\varphi(t))`.

        Args:
            phi: φ, an increasing expression of time from ``domain`` onto this schedule's domain, e.g.
                ``time_shift(3)``.
            inverse: φ⁻¹, likewise; found where φ is a chain of elementary functions, and only needed for speed.
            name: what reports call it.
            domain: the new domain, this schedule's own if absent.

        Raises:
            TypeError, ValueError: φ does not increase from end to end, or the inverse does not undo it.
        """
        return Schedule(**reparametrise.warped(self, phi, inverse, name, domain), check=False)

    def rescale(self, k: object, name: str | None = None) -> Schedule:
        r"""Return :math:`(k\alpha, k\sigma)`, the path of :math:`k(t)\,x_t`, for a positive number or expression k.

        ``VP().rescale(1 / VP().alpha(t))`` is variance exploding. The log-SNR stays; :math:`\bar\kappa = k^2\kappa`.

        Raises:
            TypeError, ValueError: k is not positive and finite on the whole domain.
        """
        return Schedule(**reparametrise.rescaled(self, k, name), check=False)

    def source(self, backend: str) -> str:
        """Return a module with this schedule's functions for ``numpy``, ``torch``, ``jax`` or ``numba``.

        It imports that library and nothing of this one: paste it anywhere.
        """
        return module_source(self, backend)

    def latex(self) -> str:
        r"""Return α, σ and what follows from them, with limits, as an ``aligned`` block of LaTeX."""
        return latex(self)

    @cached_property
    def prior_scale(self) -> float:
        """The standard deviation σ at the noise end, with which sampling starts."""
        return float(self.sigma(self.domain[1]))

    def prior(self, shape: tuple[int, ...], rng: Any) -> Array:
        """Draw σ₁·N(0, I): numpy for a ``numpy.random.Generator``, torch for a ``torch.Generator``."""
        return self.prior_scale * standard_normal(shape, rng)

    def to_dict(self) -> dict[str, Any]:
        """Return what :meth:`from_dict` needs: names, expressions as text, domain. It is JSON."""
        return {
            "name": self.name,
            "alpha": str(self.expressions["alpha"]),
            "sigma": str(self.expressions["sigma"]),
            "domain": [str(end) for end in self.exact_domain],
            "time_of_log_snr": None if self.closed_inverse is None else str(self.closed_inverse),
        }

    def _certificate(self) -> Certificate | None:
        """Return what a schedule without expressions measures itself; None leaves the proofs to :func:`certify`."""
        return None

    @staticmethod
    def from_callables(
        alpha: Callable[[Any], Any],
        sigma: Callable[[Any], Any],
        *,
        name: str = "callables",
        domain: Sequence[Any] = (0, 1),
        check: bool = True,
    ) -> Schedule:
        r"""Return the schedule :math:`x_t = \alpha_t x_{\mathrm{data}} + \sigma_t\varepsilon` of two functions of time.

        Functions of operators and sympy's functions are traced to an ordinary schedule. Others are measured: the
        derivatives by forward-mode autodiff (torch, jax), a complex step, or finite differences, whichever agrees with
        the functions; limits at the ends by extrapolation. :func:`certify` then says "measured" and never "proved".

        Args:
            alpha: :math:`\alpha_t`, elementwise in a number or an array (numpy, torch or jax): shape (n,) → (n,).
            sigma: :math:`\sigma_t`, likewise.
            name: what reports and figures call it.
            domain: the times on which it is defined, data first.
            check: refuse α ≠ 1 or σ ≠ 0 at the start, values ≤ 0 inside, and a log-SNR that does not decrease.

        Raises:
            TypeError: not functions, or not of numbers; ``to_dict`` and ``source`` of functions that were not traced.
            ValueError: NaN, another shape than that of the times, a failed check.

        References: Squire & Trapp (1998), SIAM Review 40, 110-112, for the complex step.
        """
        from interpolants.callables import from_callables

        return from_callables(alpha, sigma, name=name, domain=domain, check=check)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Schedule:
        """Rebuild a schedule; the expressions are parsed, never evaluated as code."""
        missing = sorted({"name", "alpha", "sigma"} - data.keys())
        if missing:
            raise ValueError(explain("name, alpha and sigma", f"nothing for {', '.join(missing)}", "use to_dict"))
        return Schedule(
            data["name"],
            str(data["alpha"]),
            str(data["sigma"]),
            domain=tuple(data.get("domain", (0, 1))),
            time_of_log_snr=data.get("time_of_log_snr"),
            check=False,
        )

r"""What is proved about a schedule, what is only measured, and what fails.

A proof is a sympy identity or a sign that sympy decides on the whole open interval. Where sympy does not decide within
its time budget, the property is measured at 60 to 200 digits on many times, and the certificate says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from interpolants.certify.boundaries import boundaries, signs
from interpolants.certify.certificate import Certificate, Finding
from interpolants.certify.conversions import conversions
from interpolants.certify.ends import endpoints
from interpolants.certify.equations import equations
from interpolants.certify.rounding import BACKENDS, rounding
from interpolants.schedule import Schedule
from solvers.errors import closest, explain

__all__ = ["SECTIONS", "Certificate", "Finding", "certify"]

Section = Callable[[Schedule, dict[str, Finding], tuple[str, ...]], Iterable[Finding]]

SECTIONS: dict[str, tuple[Section, tuple[str, ...]]] = {
    "boundaries": (
        lambda schedule, known, backends: boundaries(schedule),
        ("alpha_0", "sigma_0", "alpha_1", "sigma_1"),
    ),
    "signs": (
        lambda schedule, known, backends: known.values(),
        ("alpha_positive", "sigma_positive", "kappa_positive"),
    ),
    "equations": (lambda schedule, known, backends: equations(schedule), ("continuity", "fokker_planck")),
    "conversions": (lambda schedule, known, backends: [conversions(schedule, known)], ("conversions",)),
    "endpoints": (lambda schedule, known, backends: [endpoints(schedule)], ("endpoints",)),
    "rounding": (lambda schedule, known, backends: [rounding(schedule, backends)], ("rounding",)),
}
"""The parts of a certificate, and the properties that each is about."""


def certify(
    schedule: Schedule, *, sections: Sequence[str] = tuple(SECTIONS), backends: Sequence[str] = ("numpy",)
) -> Certificate:
    r"""Prove or measure the properties on which the library relies.

    - *boundaries*: α and σ at the two ends.
    - *signs*: :math:`\alpha, \sigma > 0` and :math:`\kappa > 0` inside (equivalent to :math:`W > 0` and to a decreasing
      log-SNR).
    - *equations*: the continuity equation of :math:`v` and the Fokker–Planck equation of the reverse SDE with an
      *undefined* :math:`w(t)`, both for a Gaussian target with symbolic mean and variance.
    - *conversions*: of the five predictions, from each to each and back, is the identity.
    - *endpoints*: what each conversion and each drift does at both ends: regular, removable, or a pole of some order.
    - *rounding*: the floating-point error of the generated coefficients. Forms that a search finds for a schedule of
      your own are kept on disk (``interpolants.disk``).

    A schedule of functions gives its own certificate, of measurements, and the arguments are not used.

    Args:
        schedule: what to certify.
        sections: the parts wanted, out of the six names above.
        backends: the libraries whose results are measured, ``"numpy"`` and ``"torch"``.

    Raises:
        TypeError: ``schedule`` is not a Schedule.
        ValueError: an unknown section or library.

    References: Ma et al. (2024), arXiv 2401.08740, eq. 2–4; Albergo et al. (2023), arXiv 2303.08797, Theorem 2.6.
    """
    if not isinstance(schedule, Schedule):
        raise TypeError(explain("a Schedule", repr(schedule), "pass Linear() or Schedule(name, alpha, sigma)"))
    for given, known in ((sections, tuple(SECTIONS)), (backends, BACKENDS)):
        for name in given:
            if name not in known:
                expected = f"names out of {', '.join(known)}"
                raise ValueError(explain(expected, repr(name), f"did you mean {closest(str(name), known)}?"))
    if (measured := schedule._certificate()) is not None:
        return measured
    positive = {f.name: f for f in signs(schedule)} if {"signs", "conversions"} & set(sections) else {}
    findings: list[Finding] = []
    for name, (section, _) in SECTIONS.items():
        if name in sections:
            findings += section(schedule, positive, tuple(backends))
    return Certificate(schedule.to_dict(), tuple(findings))

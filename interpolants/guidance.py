r"""Guidance: a combination of predictions that is integrated in place of one.

Every prediction is affine in every other with the same coefficients, so a mix of velocities with weights that sum to
one is the same mix of scores, of noises and of data.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from interpolants.coefficient import Array
from interpolants.combination import expect_model
from solvers.errors import explain

__all__ = ["classifier_free"]

Model = Callable[[Any, Array], Array]


def classifier_free(conditional: Model, unconditional: Model, scale: float) -> Model:
    r"""Return :math:`v^\zeta = v_u + \zeta(v_c - v_u)` as a model of the same prediction.

    A scale of 1 is the conditional model and 0 the unconditional one, each without a call of the other. The marginals
    of the guided flow are not the tempered densities :math:`p_c^\zeta p_u^{1-\zeta}`: for zero-mean Gaussians with
    variances :math:`c_c, c_u` the flow ends at variance :math:`c_c^\zeta c_u^{1-\zeta}`, the tempered one has
    :math:`1/(\zeta/c_c + (1-\zeta)/c_u)`.

    Args:
        conditional: ``model(time, x)``, any of the five predictions.
        unconditional: the same prediction without the condition.
        scale: :math:`\zeta`, a finite number.

    Raises:
        TypeError: a model that cannot be called.
        ValueError: a scale that is not a finite number.

    References: Ho & Salimans (2022), arXiv 2207.12598, eq. 6; Ma et al. (2024), arXiv 2401.08740, §2.5.
    """
    expect_model(conditional)
    expect_model(unconditional)
    if not isinstance(scale, (int, float)) or not math.isfinite(scale):
        raise ValueError(explain("a finite number as scale", repr(scale), "1 is no guidance, 1.5 to 4 are common"))
    if scale == 1:
        return conditional
    if scale == 0:
        return unconditional

    def guided(time: Any, x: Array) -> Array:
        base = unconditional(time, x)
        return base + scale * (conditional(time, x) - base)

    return guided

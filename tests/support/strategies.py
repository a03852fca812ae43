"""Hypothesis strategies for times, log-SNRs, covariances and choices, and the settings that the laws share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from tests.support.registered import ALL, SLOW
from tests.support.zoo import BUILT_INS, CASES, CHOICES, FIRST, PREDICTIONS

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


DEEP = settings.get_current_profile_name() == "deep"


def law(examples: int) -> settings:
    """Return settings for a law: no deadline, the same examples in every run, and no shrinking.

    Main is then green or is not; a first use of a coefficient takes a second, which shrinking would repeat for minutes.
    Under ``--hypothesis-profile=deep`` there are twenty times as many examples, and others in every run. The first
    example is always the simplest, with zeros for all numbers, and is not counted.
    """
    count, phases = 1 + examples * (20 if DEEP else 1), (Phase.explicit, Phase.generate)
    return settings(max_examples=count, deadline=None, derandomize=not DEEP, suppress_health_check=QUIET, phases=phases)


SPECIAL_TIMES = (0.0, 1.0, 1e-30, 1e-20, 1e-8, 1e-5, 0.5, 0.25, 1 - 1e-4, 1 - 2.0**-24, 1 - 2.0**-53)

unit = st.floats(0.0, 1.0, allow_subnormal=False)
towards_data = st.floats(0.0, 29.0).map(lambda power: 10.0**-power)
towards_noise = st.floats(0.0, 15.9).map(lambda power: 1.0 - 10.0**-power)
near_half = st.floats(-1e-3, 1e-3, allow_subnormal=False).map(lambda shift: 0.5 + shift)
times = st.one_of(st.sampled_from(SPECIAL_TIMES), unit, towards_data, towards_noise, near_half).filter(
    lambda time: time == 0.0 or time >= 1e-30
)
interior = st.floats(1e-3, 1.0 - 1e-3)
middle = st.floats(0.05, 0.95)


def many(strategy: st.SearchStrategy[float], size: int = 16) -> st.SearchStrategy[list[float]]:
    """Return lists of times, long enough to spread the cost of a call."""
    return st.lists(strategy, min_size=size // 2, max_size=size)


cases = st.sampled_from(CASES)
predictions = st.sampled_from(PREDICTIONS)
every_case = pytest.mark.parametrize("case", ALL, ids=repr)
shipped = pytest.mark.parametrize("case", [case for case in ALL if DEEP or case.name not in SLOW], ids=repr)
models = st.sampled_from([(case, p) for case in CASES for p in PREDICTIONS])
choices = st.sampled_from(CHOICES)
# Pairs whose drift is quick to lower; the endpoint matrix has all of them in its second tier.
sdes = st.sampled_from([(case, w) for case in CASES for w in CHOICES if case.name != "exp-log" and repr(w) in FIRST])
# Every schedule with the choices of w whose drifts ship.
EVERY_SDE = [
    (case, w)
    for case in ALL
    for w in CHOICES
    if repr(w) in (FIRST if case in BUILT_INS else {"KL()", "Sigma()"}) and (DEEP or case.name not in SLOW)
]
variances = st.floats(-4.0, 3.0).map(lambda power: 10.0**power)
mild_variances = st.floats(-1.5, 1.0).map(lambda power: 10.0**power)
coordinates = st.floats(-3.0, 3.0, allow_subnormal=False)


@st.composite
def covariances(draw: st.DrawFn, dimension: int = 2) -> np.ndarray:
    """Draw a symmetric positive definite matrix Q diag(c) Qᵀ with a random rotation."""
    values = np.array([draw(mild_variances) for _ in range(dimension)])
    entries = [draw(st.floats(-1.0, 1.0, allow_subnormal=False)) for _ in range(dimension * dimension)]
    basis, _ = np.linalg.qr(np.array(entries).reshape(dimension, dimension) + 2.0 * np.eye(dimension))
    matrix = (basis * values) @ basis.T
    return (matrix + matrix.T) / 2

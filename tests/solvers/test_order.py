"""The meter, on samplers whose order is known from textbooks, right ones and wrong ones."""

import json
import math

import numpy as np
import pytest
import textbook_samplers as textbook

from solvers import DDIM, RK4, SSPRK3, DPMSolverPP, Heun
from solvers.order import find, measure_order
from solvers.order.report import EQUAL

DATA = {"prediction": "data"}
KNOWN = [
    (textbook.euler, 1, {}),
    (textbook.midpoint, 2, {}),
    (textbook.classical, 4, {}),
    (textbook.perturbed, 2, {}),
    (textbook.adams_for_equal_steps, 2, {}),
    (textbook.third_order, 3, DATA),
    (textbook.half_the_curvature, 2, DATA),
    (textbook.euler_maruyama, 1, {"prediction": "noise", "stochastic": True}),
]


@pytest.mark.parametrize(("sampler", "order", "how"), KNOWN, ids=[row[0].__name__ for row in KNOWN])
def test_a_known_order_is_measured(sampler, order, how):
    """Euler 1, midpoint 2, RK4 4; one coefficient of RK4 changed: 2; half of D2 in DPM-Solver++(3M): 2 and not 3."""
    report = measure_order(sampler, claimed=order, **how)
    assert abs(report.observed - order) < 0.15, report.table()
    assert report.ok
    assert report.stochastic is (sampler is textbook.euler_maruyama)


@pytest.mark.parametrize(("method", "order"), [(RK4(), 4), (DPMSolverPP(3), 3), (Heun(), 2), (DDIM(), 1)])
def test_our_labels_hold(method, order):
    """Methods of this library have the order on their label (all of them in test_order_labels)."""
    report = measure_order(method)
    assert report.claimed == order
    assert abs(report.observed - order) < 0.15, report.table()


def test_weights_for_equal_steps_are_told_from_weights_that_are_wrong():
    """AB3 with the weights of equal steps is order 3 on them, and the report says both."""
    report = measure_order(textbook.adams_for_equal_steps, claimed=3)
    assert not report.ok
    assert abs(report.fits[EQUAL].order - 3) < 0.15
    assert "for equal steps" in report.verdict


def test_the_claim_may_be_missed_by_a_quarter():
    """The claim is broken where the order is more than 0.25 below it, and without a claim nothing is."""
    assert measure_order(textbook.midpoint, claimed=2.2, finest=64).ok
    report = measure_order(textbook.midpoint, claimed=2.3, finest=64)
    assert not report.ok
    assert "below the claimed 2.3" in report.verdict
    assert measure_order(textbook.midpoint, finest=64).ok


def test_rounding_is_told_from_order():
    """In float32 the error stops near 1e-7; the order comes from the levels above, and the floor is reported."""
    report = measure_order(SSPRK3(), dtype="float32")
    assert abs(report.observed - 3) < 0.15, report.table()
    assert 1e-8 < report.roundoff < 1e-5
    assert all(max(item.used) < 256 for item in report.fits.values())
    assert measure_order(SSPRK3()).roundoff is None  # in float64 256 steps are not yet there


def test_evaluations_are_counted():
    """Not assumed: 2 n for Heun, n + 1 for one that evaluates once before it starts."""

    def one_more(model, x, times):
        model(times[0], x)
        return textbook.euler(model, x, times)

    assert measure_order(Heun(), finest=64).evaluations == (2.0, 0.0)
    assert measure_order(one_more, finest=64).evaluations == (1.0, 1.0)


def test_the_error_constant_is_that_of_the_leading_term():
    """Of Euler on dy/dλ = x̂ − y the constant is lim n·error: twice the steps, half the error, the same constant."""
    coarse, fine = (measure_order(textbook.euler, finest=finest) for finest in (128, 256))
    assert abs(coarse.constant / fine.constant - 1) < 0.02
    item = fine.fits["mixture"]
    assert math.isclose(item.constant, item.errors[-1] * item.steps[-1])


def test_an_end_that_is_not_finite_is_reported():
    """A sampler that divides by σ at the end is no crash: the order inside stands, the end is named."""

    def divides(model, x, times):
        x = textbook.euler(model, x, times)
        return x * (times[-1] / times[-1]) if times[-1] else x * np.inf

    report = measure_order(divides, claimed=1)
    assert abs(report.observed - 1) < 0.1
    assert not report.endpoint.finite
    assert "not finite" in report.verdict
    assert "NaN" not in json.dumps(report.to_dict())


def test_a_sampler_without_finite_answers_has_no_order():
    """NaN everywhere is no order and breaks any claim."""
    report = measure_order(lambda model, x, times: x * np.nan, claimed=1)
    assert math.isnan(report.observed)
    assert not report.ok
    assert report.verdict.startswith("no order")
    assert report.to_dict()["observed"] is None


def test_one_problem_without_finite_answers_is_enough():
    """The mixture has six states: NaN there leaves no order, whatever the other problem shows."""

    def fails_on_six(model, x, times):
        return textbook.euler(model, x, times) * (np.nan if len(x) == 6 else 1.0)

    report = measure_order(fails_on_six, claimed=1, finest=64)
    assert abs(report.fits["manufactured"].order - 1) < 0.2
    assert math.isnan(report.observed)
    assert not report.ok


def test_the_end_of_a_schedule():
    """DDIM goes to σ = 0 with order 1; on the schedule of EDM the last time is 0 as well."""
    for report in (measure_order(DDIM()), measure_order(textbook.euler, schedule="edm")):
        assert report.endpoint.finite
        assert report.endpoint.sigma == 0.0
        assert abs(report.endpoint.order - 1) < 0.15


def test_a_sampler_that_changes_the_marginals_is_named():
    """Noise that is added and not taken out again: the weak order is 0."""

    def noisy(model, x, times, noise):
        x = textbook.euler(model, x, times)
        return x + 0.5 * times[-1] * noise(x)

    report = measure_order(noisy, claimed=1, stochastic=True)
    assert abs(report.observed) < 0.1
    assert "do not converge" in report.verdict
    assert not report.ok


def test_clipping_is_named():
    """A sampler that clips is not affine on Gaussian data, and the report says so."""

    def clips(model, x, times):
        return np.clip(textbook.euler(model, x, times), -1, 1)

    assert "not affine" in measure_order(clips, finest=64).verdict


def test_reports_do_not_change_from_run_to_run():
    """Nothing is random."""
    first, second = (measure_order(find("solvers:EulerMaruyama"), finest=64).to_dict() for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        ([3], {}, TypeError, "int"),
        ([Heun], {}, TypeError, "Heun()"),
        ([Heun()], {"claimed": 2}, ValueError, "brings its own"),
        ([textbook.euler], {"prediction": "score"}, ValueError, "'velocity' or 'data'"),
        ([textbook.euler], {"schedule": "vp"}, ValueError, "'linear' or 'edm'"),
        ([textbook.euler], {"dtype": "half"}, ValueError, "float32"),
        ([textbook.euler], {"finest": 16}, ValueError, "at least 32"),
        ([lambda model, x, times: x[0]], {}, TypeError, "shape"),
        ([lambda model, x, times: model(-0.1, x)], {}, ValueError, "inside the interval"),
    ],
)
def test_bad_input_is_refused(arguments, options, error, words):
    """With what was expected, what came, and what to do."""
    with pytest.raises(error, match=r"expected .*; remedy: ") as raised:
        measure_order(*arguments, **options)
    assert words in str(raised.value)

"""Weights: one loss whatever is predicted, and the formulas of the papers."""

import mpmath
import numpy as np
import pytest
import sympy
from mpmath import mpf
from sympy import Rational

from interpolants import GVP, VP, Data, Linear, Noise, Objective, Schedule, Score, Velocity, VPrediction, t, times
from interpolants import weights as w
from interpolants.measure import Exact
from tests.support.zoo import BUILT_INS, CASES, PREDICTIONS, QUADRATIC, kappa, row, solve_two, wronskian

THREE_PARTS = r"expected .*; received .*; remedy: "
INSIDE = times.Uniform(0.02, 0.98)


def snr(case, s):
    return (case.alpha(s) / case.sigma(s)) ** 2


def to_noise(prediction, case, s):
    """L_noise / L_prediction, by hand: how an error of one moves the other on a fixed x_t."""
    alpha, sigma = case.alpha(s), case.sigma(s)
    return {
        "Velocity": (alpha / wronskian(case, s)) ** 2,
        "Score": mpf(1),
        "Noise": mpf(1),
        "Data": snr(case, s),
        "VPrediction": (alpha / (alpha**2 + sigma**2)) ** 2,
    }[prediction.name]


FORMULAS = {  # the factor of the noise loss
    "Velocity": (w.Velocity(), lambda case, s: (wronskian(case, s) / case.alpha(s)) ** 2),
    "LambdaSquared": (w.LambdaSquared(), lambda case, s: (wronskian(case, s) / case.alpha(s)) ** 2),
    "Likelihood": (w.Likelihood(), lambda case, s: kappa(case, s) / case.sigma(s) ** 2),
    "Noise": (w.Of(Noise), lambda case, s: mpf(1)),
    "Score": (w.Of(Score), lambda case, s: mpf(1)),
    "Data": (w.Of(Data), lambda case, s: 1 / snr(case, s)),
    "MinSNR": (w.MinSNR(5), lambda case, s: min(snr(case, s), mpf(5)) / snr(case, s)),
    "EDM": (w.EDM(0.5), lambda case, s: 1 + 4 / snr(case, s)),
    "P2": (w.P2(0.5, 2), lambda case, s: (2 + snr(case, s)) ** mpf("-0.5")),
    "Custom": (w.Custom("1 + t", of=Noise), lambda case, s: 1 + s),
    "multiple": (3 * w.Of(Noise) * "t**2", lambda case, s: 3 * s * s),
    "sum": (w.Of(Noise) + 2 * w.Of(Data), lambda case, s: 1 + 2 / snr(case, s)),
}


def formulas():
    """Yield every schedule and weight; all of Linear and some of the others are in the first tier."""
    for case in (*BUILT_INS, QUADRATIC):
        for name in FORMULAS:
            first = case.name == "linear" or (case in BUILT_INS and name in ("Likelihood", "MinSNR"))
            yield pytest.param(case, name, marks=[] if first else pytest.mark.slow, id=f"{case}-{name}")


@pytest.mark.covering(3)
@pytest.mark.parametrize(("case", "name"), list(formulas()))
def test_every_weight_is_its_formula(case, name):
    """For every prediction the expression is the hand-written factor to 40 digits, on both sides of every kink."""
    weight, formula = FORMULAS[name]
    for prediction in PREDICTIONS:
        expression = weight.expression(case.schedule, prediction)
        for time in (Rational(1, 50), Rational(1, 3), Rational(4, 5)):
            with mpmath.workdps(50):
                s = mpf(time.p) / time.q
                exact = formula(case, s) * to_noise(prediction, case, s)
                found = mpf(str(sympy.N(expression.subs(t, time), 50)))
                assert abs(found - exact) < mpf(10) ** -40 * abs(exact)


RELATIVE = ("Velocity", "Likelihood", "MinSNR", "EDM", "P2", "Custom")
FAST = {("linear", name) for name in RELATIVE} | {("gvp", "Velocity"), ("vp", "MinSNR")}


@pytest.mark.covering(5)
@pytest.mark.parametrize(
    ("case", "name"),
    [
        pytest.param(case, name, marks=[] if (case.name, name) in FAST else pytest.mark.slow, id=f"{case}-{name}")
        for case in CASES
        for name in RELATIVE
        if case.name != "exp-log"  # its code takes minutes to find
    ],
)
def test_one_loss_for_all_predictions(case, name):
    """Outputs that are conversions of one another have equal losses to 1e-12, under every weight but the plain one."""
    rng = np.random.default_rng(0)
    x_data, noise, wrong = rng.standard_normal((3, 6, 2, 3))
    clock = np.array([0.03, 0.2, 0.4, 0.6, 0.8, 0.95])
    found = []
    for prediction in PREDICTIONS:
        objective = Objective(case.schedule, prediction, FORMULAS[name][0], INSIDE)
        batch = objective.at(x_data, noise, clock)
        factors = []
        for time in clock:
            a, b = (row("Noise", case, mpf(time)), row(prediction.name, case, mpf(time)))
            factors.append([float(part) for part in solve_two(case, mpf(time), a, b)])
        a, b = (np.array(part)[:, None, None] for part in zip(*factors, strict=True))
        output = a * batch.x_t + b * (noise + wrong)  # the conversion of a noise model that is wrong
        found.append(objective.integrand(output, batch.target, batch.time))
    expected = [FORMULAS[name][1](case, mpf(time)) for time in clock] * (wrong**2).mean((1, 2))
    for losses in found:
        np.testing.assert_allclose(losses, np.array(expected, float), rtol=1e-12 if case.exact_end else 1e-11)


@pytest.mark.parametrize("schedule", [Linear(), GVP(), Schedule("quadratic", 1 - t**2, t**2)], ids=lambda s: s.name)
def test_identities_of_the_losses(schedule):
    """By sympy: λ² of the score is the velocity's loss; the likelihood's is −½ d log SNR/dt and the least KL bound."""
    e = schedule.expressions
    rate = -sympy.diff(sympy.log((e["alpha"] / e["sigma"]) ** 2), t) / 2
    assert sympy.simplify(w.Likelihood().expression(schedule, Noise) - rate) == 0
    choice = 2 * e["kappa"]  # the w at which the bound's integrand is least
    bound = (1 + choice / (2 * e["kappa"])) ** 2 / (2 * choice)
    assert sympy.simplify(w.Likelihood().expression(schedule, Velocity) - bound) == 0
    for prediction in PREDICTIONS:
        difference = w.LambdaSquared().expression(schedule, prediction) - w.Velocity().expression(schedule, prediction)
        assert sympy.simplify(difference) == 0
        assert w.Uniform().expression(schedule, prediction) == 1
    assert w.Velocity().expression(schedule, Velocity) == 1


def test_min_snr_of_the_paper():
    """VP: min(SNR, γ) for data, /SNR for noise, /(SNR + 1) for the v-prediction; no jump at SNR = γ."""
    schedule, gamma = VP(), 5.0
    clock = np.linspace(0.01, 0.99, 99)
    ratio = (schedule.alpha(clock) / schedule.sigma(clock)) ** 2
    smaller = np.minimum(ratio, gamma)
    for prediction, exact in ((Data, smaller), (Noise, smaller / ratio), (VPrediction, smaller / (ratio + 1))):
        np.testing.assert_allclose(w.MinSNR(gamma).of(schedule, prediction)(clock), exact, rtol=1e-11)
    kink = schedule.time_of_log_snr(np.log(gamma))
    around = w.MinSNR(gamma).of(schedule, Data)(kink + np.array([-1e-9, 1e-9]))
    np.testing.assert_allclose(around, gamma, rtol=1e-6)
    flat = w.MinSNR(1e-6).of(schedule, Data)(clock)  # smaller than any SNR of VP
    np.testing.assert_allclose(flat, 1e-6, rtol=1e-12)


def test_edm_cancels_its_preconditioning():
    """EDM's weight is 1/c_out², so that the loss of its raw network has weight 1 (Karras et al., eq. 8 and table 1)."""
    r = np.array([0.002, 0.1, 1.0, 30.0, 80.0])
    schedule = Linear()
    found = w.EDM(0.5).of(schedule, Data)(r / (1 + r))
    c_out = r * 0.5 / np.hypot(r, 0.5)
    np.testing.assert_allclose(found, 1 / c_out**2, rtol=1e-12)
    Objective(schedule, Data, w.EDM(), times.LogNormalSigma())


ENDS = [  # schedule, weight, prediction, the ends at which the docstring says that it is infinite
    *[(s, w.Velocity(), Noise, {1.0}) for s in (Linear(), GVP())],
    (VP(), w.Velocity(), Noise, {0.0}),
    *[(s, w.Velocity(), Data, {0.0}) for s in (Linear(), GVP(), VP())],
    *[(s, w.Likelihood(), Velocity, {0.0}) for s in (Linear(), GVP())],
    (VP(), w.Likelihood(), Velocity, set()),
    *[(s, w.Likelihood(), Noise, {0.0, 1.0}) for s in (Linear(), GVP())],
    (VP(), w.Likelihood(), Noise, {0.0}),
    *[(s, w.MinSNR(5), p, set()) for s in (Linear(), GVP(), VP()) for p in (Data, Noise, VPrediction)],
    *[(s, w.MinSNR(5), Velocity, set()) for s in (Linear(), GVP())],
    *[(s, w.EDM(), Data, {0.0}) for s in (Linear(), GVP(), VP())],
    *[(s, w.EDM(), Noise, {1.0}) for s in (Linear(), GVP())],
    (VP(), w.EDM(), Noise, set()),
    *[(s, w.P2(), Noise, set()) for s in (Linear(), GVP(), VP())],
]


@pytest.mark.parametrize(
    ("schedule", "weight", "prediction", "ends"), ENDS, ids=[f"{s.name}-{weight}-{p}" for s, weight, p, _ in ENDS]
)
def test_where_weights_are_infinite(schedule, weight, prediction, ends):
    """A weight has poles at the ends that its docstring names, and nowhere else."""
    exact = Exact(weight.expression(schedule, prediction), t, schedule.exact_domain)
    assert {end.time for end in exact.ends if end.is_pole} == ends


@pytest.mark.parametrize(
    ("error", "make"),
    [
        (ValueError, lambda: w.Custom(t - Rational(1, 2)).of(Linear(), Noise)),
        (ValueError, lambda: (-1 * w.Uniform()).of(Linear(), Noise)),
        (ValueError, lambda: w.MinSNR(0)),
        (ValueError, lambda: w.EDM(-1)),
        (ValueError, lambda: w.P2(1, t)),
        (TypeError, lambda: w.Of("noise")),
        (TypeError, lambda: w.Custom(None)),
        (TypeError, lambda: w.Uniform() + 1),
        (TypeError, lambda: Objective(Linear(), weight="min-snr")),
    ],
)
def test_refusals(error, make):
    """Weights that are negative somewhere, and arguments that are none, are refused in three parts."""
    with pytest.raises(error, match=THREE_PARTS):
        make()


def test_a_negative_weight_is_refused_with_where():
    """The refusal names the weight, the value and the time."""
    with pytest.raises(ValueError, match=r"the weight Custom\(t - 1/2\) >= 0 .*; received -0\.4.* at t = 0\.0"):
        Objective(Linear(), weight=w.Custom("t - 1/2"))


def test_names_say_what_they_are():
    """A multiple and a sum are printed as such."""
    assert repr(2 * w.MinSNR(5) + w.Of(Data)) == "2 * MinSNR(5) + Of(Data)"

"""What suggest proposes is accepted, spends what it was given, and is what a refusal prints."""

from itertools import product

import numpy as np
import pytest

from interpolants import Linear, Noise, Path, Velocity, diffusion, probability_flow, reverse_sde, suggest
from interpolants.schedules import EDM, TrigFlow
from solvers import Heun, PoleError, StochasticHeun, solve, uniform
from tests.support.zoo import BUILT_INS, CHOICES, FIRST, GAUSSIAN, PREDICTIONS

SOME = [choice.w for choice in CHOICES if repr(choice) in FIRST] + [diffusion.Zero()]
ROWS = [*product([case.schedule for case in BUILT_INS], PREDICTIONS, SOME)]
ROWS += product([TrigFlow(), EDM()], [Velocity, Noise], [diffusion.KL(), diffusion.SinSquared(), diffusion.Zero()])


def problem_of(schedule, prediction, w):
    path = Path(schedule, GAUSSIAN)

    def model(time, x):
        return path.predict(prediction, time, x)

    if repr(w) == "Zero()":
        return probability_flow(schedule, model, prediction)
    return reverse_sde(schedule, model, w, prediction)


@pytest.mark.covering(11)
@pytest.mark.parametrize(("schedule", "prediction", "w"), ROWS, ids=lambda part: getattr(part, "name", repr(part)))
def test_the_suggestion_is_not_refused(schedule, prediction, w):
    """The exact model is integrated to finite samples with at most the evaluations that were offered."""
    choice = suggest(schedule, prediction, w, nfe=40)
    x = schedule.prior((64, 2), np.random.default_rng(0))
    solution = solve(problem_of(schedule, prediction, w), x, choice.ts, choice.method, rng=np.random.default_rng(1))
    assert np.isfinite(solution.x).all()
    assert solution.nfe <= 40
    assert choice.ts[-1] == schedule.domain[0]


def test_second_order_where_nothing_is_infinite():
    """VP with its wKL, and Linear with w = σ, get the method of second order and the whole domain."""
    for schedule, w in ((BUILT_INS[2].schedule, diffusion.KL()), (Linear(), diffusion.Sigma())):
        choice = suggest(schedule, w=w)
        assert (type(choice.method), choice.ts[0], len(choice.ts)) == (StochasticHeun, 1.0, 26)
    assert type(suggest(Linear(), w=diffusion.Zero()).method) is Heun


@pytest.mark.parametrize(("w", "method"), [(diffusion.KL(), StochasticHeun()), (diffusion.Zero(), Heun())])
def test_a_refusal_prints_it(w, method):
    """The error of a refused solve names the suggested method and grid."""
    prediction = Noise
    expected = str(suggest(Linear(), prediction, w))
    with pytest.raises(PoleError) as error:
        solve(problem_of(Linear(), prediction, w), np.ones((2, 2)), uniform(5), method, rng=np.random.default_rng(0))
    assert expected in str(error.value)


@pytest.mark.parametrize("nfe", [0, 1, 2.5, True])
def test_too_few_evaluations(nfe):
    """A count of evaluations that no method can spend is refused in three parts."""
    with pytest.raises(ValueError, match=r"expected nfe: .*; received .*; remedy: "):
        suggest(Linear(), nfe=nfe)


def test_a_string_is_no_w():
    """w is a choice of interpolants.diffusion."""
    with pytest.raises(TypeError, match=r"expected a diffusion coefficient w; received 'sigma'; remedy: "):
        suggest(Linear(), w="sigma")

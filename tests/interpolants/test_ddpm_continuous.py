"""The reverse chain is the exponential integrators of continuous time: the same samples from the same noise."""

import numpy as np
import pytest
import torch

from interpolants import Data, DiscreteDiffusion, Noise, ReverseChain, Score, Velocity, VPrediction, denoising
from interpolants.schedules import DDPMLinear
from solvers import DDIM, Ancestral, solve
from tests.support.chains import network

PARTS = r"expected .*; received .*; remedy: "
WHOLE = DiscreteDiffusion(DDPMLinear())


METHODS = {
    "small": (Ancestral(), {}),
    "large": (Ancestral("large"), {"variance": "large"}),
    "eta": (Ancestral(eta=0.3), {"eta": 0.3}),
    "ddim": (DDIM(), {"eta": 0.0}),
}


@pytest.mark.covering(5)
@pytest.mark.parametrize(
    "prediction", [Noise, Data, VPrediction, Score, pytest.param(Velocity, marks=pytest.mark.slow)], ids=repr
)
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("steps", [250, "ddim50", "3,1,6"])
def test_the_exponential_integrators_of_continuous_time(steps, name, prediction):
    """DDPM and DDIM over discrete rates are Ancestral and DDIM on the continuous problem: the same samples."""
    method, options = METHODS[name]
    short = WHOLE.respaced(steps)
    x = np.random.default_rng(0).standard_normal((3, 2))
    # The velocity and the score are large where the others are not; x̂ is to stay near the data for all of them.
    small = 0.05 if prediction in (Velocity, Score) else 1.0

    def model(timesteps, state):
        return small * network(timesteps, state)

    chain = ReverseChain(short, model, prediction, **options)
    discrete = chain.sample(x, np.random.default_rng(7))
    problem = denoising(short.schedule, short.model_of_time(model), prediction)
    continuous = solve(problem, x, short.times, method, rng=np.random.default_rng(7))
    largest = max(np.abs(step.x).max() for step in chain.steps(x, np.random.default_rng(7)))
    assert np.abs(discrete.x - continuous.x).max() < 1e-12 * largest
    assert (discrete.ts == continuous.ts).all()
    assert discrete.nfe == continuous.nfe


def test_all_thousand_steps_are_those_of_continuous_time():
    """The whole chain of 1000 steps too, and the network is asked the same whole numbers in both."""
    asked = []

    def listening(timesteps, state):
        asked.append(timesteps.copy())
        return network(timesteps, state)

    x = np.random.default_rng(0).standard_normal((3, 2))
    discrete = ReverseChain(WHOLE, listening).sample(x, np.random.default_rng(7)).x
    problem = denoising(WHOLE.schedule, WHOLE.model_of_time(listening), Noise)
    continuous = solve(problem, x, WHOLE.times, Ancestral(), rng=np.random.default_rng(7)).x
    assert np.abs(discrete - continuous).max() < 1e-11
    assert all(rows.dtype == np.int64 for rows in asked)
    assert np.array_equal(asked[:1000], asked[1000:])
    assert [int(rows[0]) for rows in asked[:1000]] == list(range(999, -1, -1))


def test_model_of_time():
    """Times become whole timesteps, or any with ``fractional``; arrays one per sample; variances are left out."""
    seen = []

    def model(timesteps, x):
        seen.append(timesteps)
        return torch.cat([x, x], 1)

    x = torch.zeros(2, 3, 1, dtype=torch.bfloat16)
    of_time = WHOLE.model_of_time(model)
    assert of_time(0.7, x).shape == x.shape
    assert of_time(torch.tensor([0.001, 1.0]), x).shape == x.shape
    fractional = WHOLE.model_of_time(model, fractional=True)
    fractional(0.70025, x)
    fractional(0.7, x)
    fractional(torch.tensor([0.5, 0.25]), x)
    assert [part.tolist() for part in seen[:2]] == [[699, 699], [0, 999]]
    assert [part.dtype for part in seen] == [torch.int64, torch.int64, *[torch.float32] * 3]
    assert (seen[2] - 699.25).abs().max() < 1e-3
    assert seen[3].tolist() == [699.0, 699.0]
    assert (seen[4] - torch.tensor([499.0, 249.0])).abs().max() < 1e-3
    for time in (0.70025, 0.0):
        with pytest.raises(ValueError, match=PARTS):
            of_time(time, x)
    with pytest.raises(ValueError, match=PARTS):
        WHOLE.model_of_time(lambda timesteps, x: x[:, :1])(0.7, x)


def test_an_array_of_rates_has_a_schedule():
    """Rates given as numbers are interpolated in continuous time, as they were when they were given."""
    betas = np.linspace(1e-4, 0.02, 1000)
    chain = DiscreteDiffusion(betas)
    betas[:] = 0.5
    assert chain.schedule.num_train_timesteps == 1000
    assert np.abs(chain.schedule.alpha(chain.times[:-1]) / chain.alpha[::-1] - 1).max() < 1e-12
    assert chain.respaced(10).schedule.num_train_timesteps == 1000

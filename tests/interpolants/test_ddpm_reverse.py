"""The reverse chain: each step at 60 digits, beside diffusers, and as the exponential integrators of continuous time."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from mpmath import mpf

from interpolants import (
    Data,
    DiscreteDiffusion,
    Noise,
    ReverseChain,
    Score,
    Velocity,
    VPrediction,
    denoising,
    zero_terminal_snr,
)
from interpolants.schedules import DDPMLinear
from solvers import DDIM, Ancestral, NonFiniteError, solve
from tests.support.chains import Known, ddim, posterior, products

PARTS = r"expected .*; received .*; remedy: "
WHOLE = DiscreteDiffusion(DDPMLinear())
BETAS = np.linspace(1e-4, 0.02, 1000)


def network(timesteps, x):
    """Something that depends on the timestep and is not linear in x; with v as well where x has channels."""
    shape = (-1,) + (1,) * (x.ndim - 1)
    scaled = 0 * x + timesteps.reshape(shape)
    scaled = scaled.astype(x.dtype) / 1000 if isinstance(x, np.ndarray) else scaled / 1000
    return 0.8 * x / (1 + 0.1 * x * x) + 0.1 * scaled


def network_with_variances(timesteps, x):
    v = torch.sin(3.0 * x) * (0.2 + timesteps.reshape(-1, 1, 1, 1) / 1000)
    return torch.cat([network(timesteps, x), v], dim=1)


def torch_rng():
    return torch.Generator().manual_seed(3)


STEPS = [("small", 1.0), ("large", 1.0), ("learned", 1.0), ("small", 0.0), ("small", 0.6)]


@pytest.mark.parametrize(("variance", "eta"), STEPS, ids=str)
def test_a_step_at_60_digits(variance, eta):
    """x_{i−1} from x_i, ε̂, v and ξ is what Ho et al. eq. 7 and 12, Song et al. eq. 12 and Nichol eq. 15 say."""
    betas = np.array([1e-4, 0.02, 0.3, 0.05, 0.7])
    x, noise, v = 0.37, -1.21, 0.4
    rows = {i: np.full((1, 1), noise) for i in range(5)}
    model = lambda timesteps, state: np.hstack([0.9 * state + 0.1, 0.0 * state + v])  # noqa: E731
    chain = ReverseChain(DiscreteDiffusion(betas), model, variance=variance, eta=eta)
    with mpmath.workdps(60):
        signal = products(betas)
        for index in range(5):
            guess = mpf(0.9) * mpf(x) + mpf(0.1)
            data = (mpf(x) - mpmath.sqrt(1 - signal[index + 1]) * guess) / mpmath.sqrt(signal[index + 1])
            own, others, spread = ddim(signal, index, eta)
            if eta == 1.0:
                own, others, small = posterior(signal, betas[index], index)
                fraction = {"small": mpf(0), "large": mpf(1), "learned": (mpf(v) + 1) / 2}[variance]
                spread = mpmath.sqrt(mpf(betas[index]) ** fraction * small ** (1 - fraction)) if index else 0
            exact = own * mpf(x) + others * data + spread * mpf(noise)
            step = next(chain.steps(np.full((1, 1), x), Known(rows), start=index))
            assert (step.index, step.x.shape) == (index, (1, 1))
            assert abs(step.x[0, 0] - exact) < 1e-13 * max(1, abs(data))
            assert abs(step.data[0, 0] - data) < 1e-13 * max(1, abs(data))


KINDS = {"epsilon": Noise, "sample": Data, "v_prediction": VPrediction}
FIXED = {"fixed_small": "small", "fixed_large": "large", "learned_range": "learned"}


def driven(scheduler, model, x, rng, **options):
    """Run a scheduler of diffusers with its table of ᾱ in double precision; return its states and the last x̂.

    The last step leads to x̂. Its DDPM adds noise to it unless the timestep is 0, as algorithm 2 does not.
    """
    scheduler.alphas_cumprod = torch.cumprod(1 - torch.from_numpy(BETAS), 0)
    scheduler.one = torch.tensor(1.0, dtype=torch.float64)
    scheduler.final_alpha_cumprod = scheduler.one
    states = []
    for timestep in scheduler.timesteps:
        made = scheduler.step(model(timestep.expand(len(x)), x), timestep, x, generator=rng, **options)
        x = made.prev_sample
        states.append(x)
    return torch.stack([*states[:-1], made.pred_original_sample])


def taken(chain):
    """Return the states of our chain from the same start and noise."""
    return torch.stack([step.x for step in chain.steps(start(), torch_rng())])


def start():
    return torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("clip", [None, 0.7], ids=["free", "clipped"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("variance", FIXED)
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_ddpm_of_diffusers(spacing, variance, kind, clip):
    """DDPMScheduler's states of 20 steps, variances learned or not, to 1e-12, from the same noise."""
    scheduler = DDPMScheduler(
        trained_betas=BETAS.tolist(),
        variance_type=variance,
        prediction_type=kind,
        timestep_spacing=spacing,
        clip_sample=clip is not None,
        clip_sample_range=clip or 1.0,
    )
    scheduler.set_timesteps(20)
    model = network_with_variances if variance == "learned_range" else network
    theirs = driven(scheduler, model, start(), torch_rng())
    short = WHOLE.respaced(scheduler.timesteps.flip(0).numpy())
    chain = ReverseChain(short, model, KINDS[kind], FIXED[variance], clip=clip)
    assert float((taken(chain) - theirs).abs().max()) < 1e-12 * float(theirs.abs().max())


@pytest.mark.parametrize("clip", [None, 0.7], ids=["free", "clipped"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_ddim_of_diffusers(spacing, eta, kind, clip):
    """DDIMScheduler's states of 20 steps, to 1e-12, from the same noise; where it clips, ε̂ is had from x̂ again."""
    scheduler = DDIMScheduler(
        trained_betas=BETAS.tolist(),
        prediction_type=kind,
        timestep_spacing=spacing,
        clip_sample=clip is not None,
        clip_sample_range=clip or 1.0,
    )
    scheduler.set_timesteps(20)
    theirs = driven(scheduler, network, start(), torch_rng(), eta=eta, use_clipped_model_output=True)
    short = WHOLE.respaced(scheduler.timesteps.flip(0).numpy())
    ours = taken(ReverseChain(short, network, KINDS[kind], eta=eta, clip=clip))
    assert float((ours - theirs).abs().max()) < 1e-12 * float(theirs.abs().max())


METHODS = {
    "small": (Ancestral(), {}),
    "large": (Ancestral("large"), {"variance": "large"}),
    "eta": (Ancestral(eta=0.3), {"eta": 0.3}),
    "ddim": (DDIM(), {"eta": 0.0}),
}


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


def test_steps_can_be_left_and_gone_on_with():
    """A run left at any step and begun there anew, with the same generator, ends where the whole run does."""
    chain = ReverseChain(WHOLE.respaced(12), network)
    x = np.random.default_rng(0).standard_normal((3, 2))
    whole = [step.x for step in chain.steps(x, np.random.default_rng(5))]
    assert len(whole) == 12
    assert (chain.sample(x, np.random.default_rng(5)).x == whole[-1]).all()
    rng = np.random.default_rng(5)
    for step in chain.steps(x, rng):
        if step.index == 4:
            break
    rest = [later.x for later in chain.steps(step.x, rng, step.index - 1)]
    assert np.array_equal(rest, whole[-4:])


def test_noise_is_drawn_in_unit_steps_and_not_for_the_data():
    """A source is asked for increments over [i + 1, i] for each index but 0; with η = 0 it is not asked at all."""
    x, source = np.ones((2, 1)), Known({})
    ReverseChain(WHOLE.respaced(5), network).sample(x, source)
    assert source.drawn == [(4, 1.0), (3, 1.0), (2, 1.0), (1, 1.0)]
    ReverseChain(WHOLE.respaced(5), network, eta=0.0).sample(x)
    with pytest.raises(TypeError, match=PARTS):
        ReverseChain(WHOLE.respaced(5), network).steps(x)


def test_three_libraries():
    """The same samples from numpy, torch and jax, in the caller's precision, whatever the variance."""
    x = np.random.default_rng(0).standard_normal((2, 2, 3)).astype(np.float32)
    rows = {i: np.random.default_rng(i).standard_normal(x.shape).astype(np.float32) for i in range(8)}

    class As:
        def __init__(self, make):
            self.make = make

        def increments(self, state):
            return lambda t0, t1: self.make(rows[round(t0) - 1])

    def model(timesteps, state):
        join = {np.ndarray: np.concatenate, torch.Tensor: torch.cat}.get(type(state), jnp.concatenate)
        return join([network(timesteps, state), 0.3 * state], 1)

    for variance in ("small", "large", "learned"):
        chain = ReverseChain(WHOLE.respaced(8), model, variance=variance, clip=1.0)
        found = {make: chain.sample(make(x), As(make)).x for make in (np.asarray, torch.as_tensor, jnp.asarray)}
        first, *others = found.values()
        assert first.dtype == np.float32
        assert first.shape == x.shape
        assert str(others[0].dtype) == "torch.float32"
        assert others[1].dtype == jnp.float32
        for other in others:
            assert np.abs(np.asarray(other) - first).max() < 1e-4
    key = jax.random.key(0)
    assert (chain.sample(jnp.asarray(x), key).x == chain.sample(jnp.asarray(x), key).x).all()


def test_no_signal_at_the_start():
    """With zero terminal SNR the v-prediction samples from the last timestep; the noise prediction is refused."""
    chain = DiscreteDiffusion(zero_terminal_snr(DDPMLinear())).respaced(10)
    x = np.random.default_rng(0).standard_normal((3, 2))
    assert np.isfinite(ReverseChain(chain, network, VPrediction, eta=0.0).sample(x).x).all()
    with pytest.raises(ValueError, match=PARTS):
        ReverseChain(chain, network, Noise)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"variance": "medium"}, ValueError),
        ({"eta": 1.5}, ValueError),
        ({"variance": "large", "eta": 0.5}, ValueError),
        ({"variance": "learned", "eta": 0.0}, ValueError),
        ({"clip": 0.0}, ValueError),
        ({"prediction": "epsilon"}, TypeError),
        ({"model": None}, TypeError),
        ({"diffusion": DDPMLinear}, TypeError),
    ],
    ids=str,
)
def test_refused_options(options, error):
    """What is no reverse chain is refused when it is made, in three parts."""
    options = {"diffusion": WHOLE, "model": network} | options
    with pytest.raises(error, match=PARTS):
        ReverseChain(**options)


def test_refused_answers():
    """One prediction where variances are to be learned, other shapes, a start out of range, and NaN are refused."""
    x = np.zeros((2, 3))
    for model, options in ((network, {"variance": "learned"}), (lambda timesteps, x: x[:1], {})):
        with pytest.raises(ValueError, match=PARTS):
            ReverseChain(WHOLE, model, **options).sample(x, np.random.default_rng(0))
    with pytest.raises(ValueError, match=PARTS):
        ReverseChain(WHOLE, network).steps(x, np.random.default_rng(0), start=1000)
    with pytest.raises(TypeError, match=PARTS):
        ReverseChain(WHOLE, lambda timesteps, x: x * np.float32(1.0)).sample(x.astype(np.float16), Known({}))
    with pytest.raises(NonFiniteError, match=PARTS) as caught:
        ReverseChain(WHOLE.respaced(3), lambda timesteps, x: x + np.nan, eta=0.0).sample(x)
    assert caught.value.solution.status == "non-finite"

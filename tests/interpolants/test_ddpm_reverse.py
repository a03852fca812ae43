"""The reverse chain: each step at 60 digits, runs that are left and gone on with, libraries, refusals."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import torch
from mpmath import mpf

from interpolants import DiscreteDiffusion, Noise, ReverseChain, VPrediction, training_losses, zero_terminal_snr
from interpolants.schedules import DDPMLinear
from solvers import NonFiniteError
from tests.support.chains import Known, ddim, network, posterior, products

PARTS = r"expected .*; received .*; remedy: "
WHOLE = DiscreteDiffusion(DDPMLinear())


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


@pytest.mark.parametrize("variance", ["small", "large", "learned"])
def test_no_step_looks_at_a_number(variance):
    """Torch's meta device, whose tensors have no numbers, carries the chain and the loss, which then wait for none."""
    x = torch.empty(2, 3, 4, 4, device="meta")
    noise = type("Noise", (), {"increments": lambda self, x: lambda t0, t1: torch.empty_like(x)})()
    model = lambda timesteps, state: torch.cat([network(timesteps, state), state], 1)  # noqa: E731
    last = list(ReverseChain(WHOLE.respaced(3), model, variance=variance, clip=1.0).steps(x, noise))[-1]
    assert (last.x.device, last.x.shape, last.x.dtype) == (x.device, x.shape, x.dtype)
    index = torch.empty(2, dtype=torch.int64, device="meta")
    losses = training_losses(WHOLE, model, x, index, torch.empty_like(x))
    assert (losses.loss.device, losses.loss.shape) == (x.device, (2,))


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

"""SiT's samplers through its interface: states against plain loops and torchdiffeq, densities against closed forms."""

import math
from itertools import product

import pytest
import torch

from interpolants.adapters.transport import Sampler, create_transport
from tests.support import sit_published as published
from tests.support.sit_published import FORMS, LAST_STEPS, PATHS, PREDICTIONS, Gaussian, network

FIXED = ("euler", "midpoint", "heun2", "heun3", "rk4")
ADAPTIVE = ("bosh3", "dopri5", "dopri8")
# What the published code has no finite answer for, and this interface does or refuses; test_adapter_transport_defects.
WRONG = {("Linear", "velocity", "SBDM"), ("GVP", "velocity", "SBDM")}
COMBINATIONS = [each for each in product(PATHS, PREDICTIONS, FORMS) if each not in WRONG]


def start(dtype=torch.float64):
    """Noise of four points."""
    return torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(6), dtype=dtype)


def interval(path, prediction, *, last=None):
    """Return the published sampling interval at the default eps, for a flow or for an SDE with a last step."""
    if path == "VP":
        return 0.0, 1 - (last or 1e-3)
    if prediction == "velocity":
        return 0.0, 1.0 - (last or 0.0)
    return 1e-3, 1 - (last or 1e-3)


def assert_near(value, wanted, tolerance):
    """The largest error is below the tolerance times the largest entry, or 1."""
    assert value.dtype == wanted.dtype
    assert value.shape == wanted.shape
    assert torch.isfinite(wanted).all()
    assert (value - wanted).abs().max() <= tolerance * max(1.0, float(wanted.abs().max()))


@pytest.mark.covering(2)
@pytest.mark.parametrize(("path", "prediction"), list(product(PATHS, PREDICTIONS)))
@pytest.mark.parametrize("method", FIXED)
def test_fixed_steps_are_those_of_torchdiffeq(path, prediction, method):
    """All states of 7 times, in double and in single precision, forwards."""
    sampler = Sampler(create_transport(path, prediction)).sample_ode(sampling_method=method, num_steps=7)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        x = start(dtype)
        wanted = published.ode(path, prediction, network, x, interval(path, prediction), 7, method)
        assert_near(sampler(x, network), wanted, tolerance)


@pytest.mark.parametrize(("path", "prediction"), list(product(("Linear", "GVP"), PREDICTIONS)))
def test_reverse_goes_from_data_to_noise(path, prediction):
    """Where the published interval is right, all states of the reverse solve agree."""
    sampler = Sampler(create_transport(path, prediction)).sample_ode(sampling_method="rk4", num_steps=7, reverse=True)
    wanted = published.ode(path, prediction, network, start(), interval(path, prediction)[::-1], 7, "rk4")
    assert_near(sampler(start(), network), wanted, 1e-12)


@pytest.mark.parametrize(("method", "path"), [*product(ADAPTIVE, ("Linear",)), ("dopri5", "VP")])
def test_adaptive_states_agree_to_the_tolerance(method, path):
    """All states are within 10 tolerances of torchdiffeq's finest solve, the end near that at the same tolerances."""
    near = 30 if method == "dopri5" else 1000  # its own errors at these: 22 tolerances of dopri5, 430 of bosh3
    x, bounds = start(), interval(path, "velocity")
    fine = published.ode(path, "velocity", network, x, bounds, 5, "dopri8", rtol=1e-12, atol=1e-12)
    for tolerance in (1e-4, 1e-7):
        options = {"rtol": tolerance, "atol": tolerance}
        found = Sampler(create_transport(path)).sample_ode(sampling_method=method, num_steps=5, **options)(x, network)
        assert_near(found, fine, 10 * tolerance)
        theirs = published.ode(path, "velocity", network, x, bounds, 5, method, **options)
        assert_near(found[-1], theirs[-1], near * tolerance)
        assert (found - fine).abs().max() > 1e-3 * tolerance


@pytest.mark.covering(49)
@pytest.mark.parametrize(("path", "prediction", "form"), COMBINATIONS)
def test_sde_is_the_published_loop(path, prediction, form):
    """All states of 9, for both methods and every last step, from the same seed: to 1e-12 in double precision."""
    transport, x = create_transport(path, prediction), start()
    for method, last in product(("Euler", "Heun"), LAST_STEPS):
        if method == "Heun" and last is None and path != "VP" and prediction == "velocity":
            continue
        size = None if last is None else 0.1
        options = {"last_step": last, "last_step_size": 0.1, "num_steps": 9, "diffusion_norm": 0.7}
        sampler = Sampler(transport).sample_sde(sampling_method=method, diffusion_form=form, **options)
        bounds = interval(path, prediction, last=size)
        given = {"form": form, "norm": 0.7, "method": method, "last": last, "size": 0.1}
        torch.manual_seed(7)
        wanted = published.sde(path, prediction, network, x, bounds, 9, **given)
        torch.manual_seed(7)
        found = sampler(x, network)
        assert len(found) == len(wanted) == 9
        for one, other in zip(found, wanted):
            assert_near(one, other, 1e-11 if prediction != "velocity" else 2e-12)


@pytest.mark.covering(15)
@pytest.mark.parametrize(("path", "method", "last"), list(product(PATHS, ("Euler", "Heun"), ("Mean", "Tweedie"))))
def test_sde_in_single_precision(path, method, last):
    """At the published defaults of 250 states and a last step of 0.04 with the form sigma, to 2e-5."""
    x = start(torch.float32)
    sampler = Sampler(create_transport(path)).sample_sde(sampling_method=method, diffusion_form="sigma", last_step=last)
    torch.manual_seed(8)
    given = {"form": "sigma", "method": method, "last": last}
    wanted = published.sde(path, "velocity", network, x, interval(path, "velocity", last=0.04), 250, **given)
    torch.manual_seed(8)
    found = sampler(x, network)
    assert len(found) == 250
    assert_near(torch.stack(found), torch.stack(wanted), 2e-5)


@pytest.mark.parametrize("path", PATHS)
def test_flow_of_a_gaussian(path):
    """The end of the flow is the exact optimal map, forwards and backwards, from where the interval starts."""
    model, x = Gaussian(path, 0.5, 0.3), start()
    first, last = interval(path, "velocity")
    for begin, end, reverse in ((first, last, False), (last, first, True)):
        centres = [published.levels(path, torch.tensor(time).double())[0] * 0.5 for time in (begin, end)]
        wanted = centres[1] + model.spread(end) / model.spread(begin) * (x - centres[0])
        sampler = Sampler(create_transport(path)).sample_ode(rtol=1e-9, atol=1e-9, reverse=reverse)
        assert_near(sampler(x, model.velocity)[-1], wanted, 1e-7)


@pytest.mark.covering(3)
@pytest.mark.parametrize(("path", "method"), [*product(PATHS, ("dopri5", "rk4")), ("GVP", "dopri8")])
def test_likelihood_of_an_isotropic_gaussian_is_exact(path, method):
    """One probe is exact where the drift is a multiple of x: log p is N(z; 0, I) and the log ratio of spreads."""
    model = Gaussian(path, 0.5, 0.3)
    x = 0.5 + math.sqrt(0.3) * start()
    density = Sampler(create_transport(path)).sample_ode_likelihood(
        sampling_method=method, num_steps=300, rtol=1e-9, atol=1e-9
    )
    found, z = density(x, model.velocity)
    first, last = interval(path, "velocity")[::-1]
    ends = [published.levels(path, torch.tensor(time).double())[0] * 0.5 for time in (first, last)]
    ratio = model.spread(last) / model.spread(first)
    noise = ends[1] + ratio * (x - ends[0])
    standard = torch.distributions.Normal(0.0, 1.0).log_prob(noise).flatten(1).sum(1)
    assert_near(z, noise, 1e-6)
    assert_near(found, standard + 6 * torch.log(ratio), 1e-6)


@pytest.mark.parametrize("path", PATHS)
def test_likelihood_of_a_turned_gaussian_within_its_standard_error(path):
    """The divergence is that of one probe, drawn once; its mean over points is the exact one to z = 6."""
    torch.manual_seed(9)
    turn, _ = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))
    model = Gaussian(path, torch.zeros(5), torch.tensor([0.1, 0.4, 1.0, 2.0, 5.0]), turn)
    x = torch.randn(500, 5, dtype=torch.float64) * model.var.sqrt() @ turn.T
    first, last = interval(path, "velocity")[::-1]
    growth = model.spread(last) / model.spread(first)
    standard = torch.distributions.Normal(0.0, 1.0).log_prob(x @ turn * growth).sum(1)
    torch.manual_seed(10)
    signs = 2.0 * torch.randint(2, x.shape) - 1
    estimates = ((signs.double() @ turn) ** 2 * growth.log()).sum(1)
    torch.manual_seed(10)
    found, _ = Sampler(create_transport(path)).sample_ode_likelihood(rtol=1e-8, atol=1e-8)(x, model.velocity)
    assert_near(found, standard + estimates, 1e-5)
    errors = found - standard - growth.log().sum()
    assert 0.1 < errors.std() < 6
    assert abs(errors.mean()) < 6 * errors.std() / math.sqrt(500)


@pytest.mark.parametrize("method", ["euler", "dopri5"])
def test_states_are_at_equidistant_times_and_the_first_is_the_noise(method):
    """dx/dt' = 2t' has x + t'² at the times k/4."""
    sampler = Sampler(create_transport()).sample_ode(sampling_method=method, num_steps=5)
    states = sampler(start(), lambda x, t: 2 * t.reshape(-1, 1, 1) + 0 * x)
    times = torch.linspace(0, 1, 5).double()
    wanted = times**2 if method == "dopri5" else torch.tensor([0.0, 0.0, 0.125, 0.375, 0.75]).double()
    assert_near(states, start() + wanted.reshape(-1, 1, 1, 1), 1e-12)


def test_model_keywords_times_and_dtypes():
    """The model gets times of shape (B,) in the precision of the state, and its keywords, from all three samplers."""
    seen = []

    def model(x, t, *, y, scale=1.0):
        seen.append((t.shape, t.dtype, x.dtype, y, float(t[0])))
        return scale * x

    sampler, x = Sampler(create_transport()), start(torch.float32)
    sampler.sample_ode(sampling_method="euler", num_steps=3)(x, model, y="label", scale=2.0)
    sampler.sample_sde(diffusion_form="sigma", num_steps=3, last_step_size=0.5)(x, model, y="label")
    sampler.sample_ode_likelihood(sampling_method="euler", num_steps=3)(x, model, y="label")
    assert {each[:4] for each in seen} == {((4,), torch.float32, torch.float32, "label")}
    assert [each[4] for each in seen] == [0.0, 0.5, 0.0, 0.25, 0.5, 1.0, 0.5]


def test_generator_in_place_of_the_global_one():
    """The same generator gives the same losses, samples and densities, and torch's own is left alone."""
    transport, x = create_transport(), start()
    calls = [
        lambda g: transport.sample(x, generator=g),
        lambda g: transport.training_losses(network, x, generator=g)["loss"],
        lambda g: Sampler(transport).sample_sde(diffusion_form="sigma", num_steps=5, generator=g)(x, network)[-1],
        lambda g: Sampler(transport).sample_ode_likelihood(generator=g)(x, network)[0],
    ]
    for call in calls:
        before = torch.get_rng_state()
        one, two, other = (call(torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
        assert torch.equal(torch.get_rng_state(), before)
        assert all(torch.equal(a, b) for a, b in zip(one, two))
        assert not all(torch.equal(a, b) for a, b in zip(one, other))


def test_gradients_flow_through_the_flow_and_not_through_the_sde():
    """A parameter of the model has the derivative of Euler's product in it; SDE states have none."""
    rate = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    sampler, x = Sampler(create_transport()), start()
    end = sampler.sample_ode(sampling_method="euler", num_steps=5)(x, lambda x, t: rate * x)[-1]
    (found,) = torch.autograd.grad(end.sum(), rate)
    assert float(found) == pytest.approx(float(x.sum()) * 1.125**3, rel=1e-12)
    assert not sampler.sample_sde(diffusion_form="sigma")(x, lambda x, t: rate * x)[-1].requires_grad

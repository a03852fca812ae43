"""Where SiT's interface over this library differs from the published one, and what the published one does there."""

import math
from itertools import pairwise

import pytest
import torch

from interpolants.adapters.transport import Sampler, create_transport
from solvers import NonFiniteError, PoleError
from tests.support import sit_published as published
from tests.support.sit_published import Gaussian, network

POINT = 0.25


def rates(path, form, t, var=POINT):
    """Return (v − half of w times score)'s slope −a of a reverse SDE at a Gaussian, in t', and w, by closed form."""
    time = torch.tensor(t, dtype=torch.float64)
    alpha, d_alpha, sigma, d_sigma = published.levels(path, time)
    variance = alpha**2 * var + sigma**2
    half = float(published.diffusion(path, form, 1.0, time))
    return float((alpha * d_alpha * var + sigma * d_sigma) / variance) - half / float(variance), 2 * half


def law(path, monkeypatch, var=POINT, **options):
    """Return the factor of the start and the variance of the noise in a sampler's result, read off unit vectors.

    Row 0 starts at 1 without noise; row k draws 1 in the k-th draw and 0 in all others.
    """
    steps, drawn = options["num_steps"], 0

    def unit(shape, **_):
        nonlocal drawn
        drawn += 1
        row = torch.zeros(shape, dtype=torch.float64)
        row[drawn] = 1.0
        return row

    x = torch.zeros(steps + 1, 1, dtype=torch.float64)
    x[0] = 1.0
    sampler = Sampler(create_transport(path)).sample_sde(**options)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "randn", unit)
        end = sampler(x, Gaussian(path, 0.0, var).velocity)[-1]
    return float(end[0]), float((end[1:] ** 2).sum())


def euler_maruyama(path, form, steps, last, *, anew, var=POINT):
    """Return the same by the recursion V⁺ = (1 + ha)²V + hw; with ``anew`` the first step draws σ_s ξ about α_s x̂."""
    stop, factor, variance = 1.0 - last, 1.0, 0.0
    h, first = stop / (steps - 1), 0
    if anew:
        # v = (α̇/σ̇ …) at α = 0 is blind to the data but for its mean, so x̂ = m = 0 and the start is forgotten.
        sigma = published.levels(path, torch.tensor(h).double())[2]
        factor, variance, first = 0.0, float(sigma) ** 2, 1
    for k in range(first, steps - 1):
        a, w = rates(path, form, k * h, var)
        factor, variance = (1 + h * a) * factor, (1 + h * a) ** 2 * variance + h * w
    if last:
        a, _ = rates(path, form, stop, var)
        factor, variance = (1 + last * a) * factor, (1 + last * a) ** 2 * variance
    return factor, variance


@pytest.mark.parametrize("path", ["Linear", "GVP"])
@pytest.mark.parametrize("method", ["Euler", "Heun"])
def test_sbdm_of_a_velocity_model_is_finite(path, method):
    """The published loop ends in NaN, for κ is infinite at t' = 0; here the first step draws the noise anew."""
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    given = {"form": "SBDM", "method": method, "last": "Mean"}
    assert published.sde(path, "velocity", network, x, (0.0, 0.96), 20, **given)[-1].isnan().all()
    found = Sampler(create_transport(path)).sample_sde(sampling_method=method, num_steps=20)(x, network)
    assert len(found) == 20
    assert torch.isfinite(torch.stack(found)).all()


@pytest.mark.parametrize("norm", [0.5, 1.0, 3.0])
def test_the_first_step_of_sbdm_is_exact(norm):
    """Linear, any norm: x_s = α_s x̂ + σ_s ξ with x̂ = x + v(x, 0), then the published steps from there."""
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    sampler = Sampler(create_transport()).sample_sde(num_steps=5, last_step_size=0.2, diffusion_norm=norm)
    torch.manual_seed(3)
    found = sampler(x, network)
    torch.manual_seed(3)
    noise = torch.randn(4, 3).double()
    first = 0.2 * (x + network(x, torch.zeros(4).double())) + 0.8 * noise
    given = {"form": "SBDM", "norm": norm, "last": "Mean", "size": 0.2}
    wanted = [first, *published.sde("Linear", "velocity", network, first, (0.2, 0.8), 4, **given)]
    assert torch.allclose(torch.stack(found), torch.stack(wanted), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("path", ["Linear", "GVP"])
def test_the_law_of_sbdm(path, monkeypatch):
    """On N(0, 1/4) the sampler has the law of the recursion, and its variance converges at least with order 1."""
    errors = []
    for steps in (60, 120, 240):
        options = {"num_steps": steps, "last_step": None}
        factor, variance = law(path, monkeypatch, **options)
        assert (factor, variance) == pytest.approx(euler_maruyama(path, "SBDM", steps, 0.0, anew=True), rel=1e-10)
        errors.append(variance / POINT - 1)
    assert 0 < errors[2] < 0.02
    assert errors[0] > 1.9 * errors[1] > 1.9**2 * errors[2]


@pytest.mark.covering(5)
@pytest.mark.parametrize(
    ("path", "var", "published_bias", "one_stride"),
    [
        ("Linear", 0.25, -2.2, -0.3),
        ("GVP", 0.25, -3.0, 0.0),
        ("VP", 0.25, -8.3, -0.2),
        ("Linear", 0.01, -40.1, -0.5),
        ("GVP", 0.01, -58.9, -1.3),
        ("VP", 0.01, -85.2, -4.0),
    ],
)
def test_bias_of_the_published_setting(path, var, published_bias, one_stride, monkeypatch):
    """The percentages of docs/adapters.md: the sampler's variance with form sigma is that of the recursion by hand."""
    for size, percent in ((0.04, published_bias), (0.004, one_stride)):
        given = {"num_steps": 250, "diffusion_form": "sigma", "last_step_size": size}
        factor, noise = law(path, monkeypatch, var, **given)
        assert (factor, noise) == pytest.approx(euler_maruyama(path, "sigma", 250, size, anew=False, var=var), rel=1e-9)
        start = float(Gaussian(path, 0.0, var).spread(0.0)) ** 2
        assert 100 * ((factor**2 * start + noise) / var - 1) == pytest.approx(percent, abs=0.06)


@pytest.mark.covering(9)
@pytest.mark.parametrize("path", ["Linear", "GVP"])
@pytest.mark.parametrize("form", ["sigma", "SBDM", "linear", "decreasing", "increasing-decreasing"])
def test_heun_without_a_last_step_is_finite(path, form):
    """The published loop divides 0 by 0 at t' = 1 of Linear; here the drift has its limit, that of the closed form."""
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    options = {"sampling_method": "Heun", "diffusion_form": form, "last_step": None, "num_steps": 12}
    # SBDM is kept from t' = 0, where it is infinite, by an eps that the published code sets to zero.
    model, begin = Gaussian(path, 0.0, POINT).velocity, 0.1 if form == "SBDM" else 0.0
    bounds = (begin, 1.0 - begin)
    given = {"form": form, "method": "Heun", "last": None}
    if (path, form) in {("Linear", "sigma"), ("Linear", "linear"), ("Linear", "increasing-decreasing")}:
        assert published.sde(path, "velocity", model, x, bounds, 12, **given)[-1].isnan().any()
    torch.manual_seed(5)
    found = Sampler(create_transport(path, sample_eps=begin)).sample_sde(**options)(x, model)
    torch.manual_seed(5)
    times, state = torch.linspace(*bounds, 12, dtype=torch.float64).tolist(), x
    for t0, t1 in pairwise(times):
        (a0, w0), (a1, _) = rates(path, form, t0), rates(path, form, t1)
        kicked = state + math.sqrt(w0 * (t1 - t0)) * torch.randn(4, 3).double()
        state = kicked + 0.5 * (t1 - t0) * (a0 * kicked + a1 * (kicked + (t1 - t0) * a0 * kicked))
    assert torch.allclose(found[-1], state, rtol=1e-11, atol=1e-11)


def test_what_is_infinite_is_refused_with_the_remedy():
    """A constant diffusion at the data, a noise model at both ends: named, before the model is called."""
    x = torch.zeros(2, 3)
    heun = {"sampling_method": "Heun", "diffusion_form": "constant", "last_step": None}
    calls = [
        (create_transport(), "sample_sde", heun),
        (create_transport("Linear", "noise", sample_eps=0.0), "sample_ode", {}),
        (create_transport("GVP", "score", sample_eps=0.0), "sample_ode_likelihood", {}),
        (create_transport("Linear", "noise", sample_eps=0.0), "sample_sde", {}),
    ]
    for transport, name, options in calls:
        with pytest.raises(PoleError, match=r"a pole at time .*create_transport\(..., sample_eps=1e-3\)"):
            getattr(Sampler(transport), name)(**options)(x, lambda x, t: pytest.fail("called"))


def test_both_spellings():
    """The published code knows "inccreasing-decreasing" alone, its command line the other alone: here both."""
    x, ends = torch.ones(2, 3), []
    for form in ("inccreasing-decreasing", "increasing-decreasing"):
        torch.manual_seed(6)
        ends.append(Sampler(create_transport()).sample_sde(diffusion_form=form, num_steps=9)(x, network)[-1])
    assert torch.equal(*ends)


def test_a_velocity_model_is_called_once_per_step():
    """num_steps counts times: 49 evaluations of Euler for 50, and 250 of the SDE, not 499; 2 per step of Heun."""
    calls = []

    def model(x, t):
        calls.append(t)
        return -x

    def count(sample):
        calls.clear()
        sample(torch.ones(2, 3), model)
        return len(calls)

    sampler = Sampler(create_transport())
    assert count(sampler.sample_ode(sampling_method="euler", num_steps=50)) == 49
    assert count(sampler.sample_sde(diffusion_form="sigma")) == 250
    assert count(sampler.sample_sde()) == 250
    assert count(sampler.sample_sde(diffusion_form="sigma", last_step=None)) == 249
    assert count(sampler.sample_sde(diffusion_form="sigma", sampling_method="Heun", last_step="Tweedie")) == 499


def test_a_likelihood_has_one_probe_and_few_evaluations():
    """Probes drawn anew at every evaluation make an integrand of noise; the published count here was 856."""
    turn, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(7)))
    exact, calls = Gaussian("Linear", torch.zeros(4), torch.tensor([0.1, 0.5, 1.0, 3.0]), turn), []

    def model(x, t):
        calls.append(t)
        return exact.velocity(x, t)

    x = torch.randn(8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(8))
    Sampler(create_transport()).sample_ode_likelihood()(x, model)
    assert len(calls) < 80


@pytest.mark.parametrize("prediction", ["velocity", "noise"])
def test_the_reverse_interval_of_vp(prediction):
    """From 1 − eps to 0, not from 1 to eps: a noise model divides by σ = 0 there, and noise is at 0."""
    exact, x = Gaussian("VP", 0.0, 0.3), torch.ones(2, 3, dtype=torch.float64)
    model = getattr(exact, prediction)
    ends = published.ode("VP", prediction, model, x, (1.0, 1e-3), 20, "euler")
    assert prediction == "velocity" or ends[-1].isnan().all()
    sampler = Sampler(create_transport("VP", prediction))
    options = {"rtol": 1e-9, "atol": 1e-9}
    wanted = x * exact.spread(0.0) / exact.spread(1 - 1e-3)
    assert torch.allclose(sampler.sample_ode(reverse=True, **options)(x, model)[-1], wanted, rtol=1e-6)
    assert torch.allclose(sampler.sample_ode_likelihood(**options)(x, model)[1], wanted, rtol=1e-6)


def test_each_eps_has_its_own_default_and_none_is_lost():
    """One given alone leaves the other at its default; a velocity model keeps what it is given."""
    one = create_transport("VP", train_eps=1e-4)
    other = create_transport("GVP", "noise", sample_eps=1e-2)
    assert (one.train_eps, one.sample_eps) == (1e-4, 1e-3)
    assert (other.train_eps, other.sample_eps) == (1e-3, 1e-2)
    kept = create_transport(train_eps=1e-4, sample_eps=1e-2)
    assert (kept.train_eps, kept.sample_eps) == (1e-4, 1e-2)
    assert kept.check_interval(1e-4, 1e-2, sde=True, eval=True) == (1e-2, 1 - 1e-2)


def test_the_level_of_noise_keeps_its_digits_near_the_data():
    """σ of VP at t' = 1 − 1e-4 in single precision: 1 − exp loses three digits, this none."""
    t = torch.tensor([1 - 1e-4])
    exact = published.levels("VP", t.double())[2]
    naive = torch.sqrt(1 - torch.exp(2 * (-0.25 * (1 - t) ** 2 * 19.9 - 0.05 * (1 - t))))
    assert abs(naive / exact - 1) > 1e-4
    assert abs(create_transport("VP").path_sampler.compute_sigma_t(t)[0] / exact - 1) < 1e-6


def test_an_infinite_expected_loss_is_refused():
    """A weight that is infinite at an end, without an eps; the published loss is then ruled by single draws."""
    for arguments in (("Linear", "noise", "velocity"), ("GVP", "score", "likelihood"), ("VP", "velocity")):
        transport = create_transport(*arguments, train_eps=0.0)
        with pytest.raises(ValueError, match="expected a finite mean loss"):
            transport.training_losses(network, torch.zeros(4, 2))


def test_nan_is_not_returned():
    """A model that turns to NaN ends the solve with an error that says where."""
    sampler, x = Sampler(create_transport()), torch.ones(2, 3)
    for sample in (sampler.sample_ode(sampling_method="euler"), sampler.sample_sde(diffusion_form="sigma")):
        with pytest.raises(NonFiniteError, match="first in step"):
            sample(x, lambda x, t: x / (t[0] < 0.5))

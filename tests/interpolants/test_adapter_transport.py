"""SiT's transport interface: losses, drifts, scores, coefficients, intervals and names against the published ones."""

import pickle
from itertools import product
from types import SimpleNamespace

import pytest
import torch

from interpolants.adapters.transport import ModelType, PathType, Sampler, Transport, WeightType, create_transport
from tests.support import sit_published as published
from tests.support.sit_published import FORMS, PATHS, PREDICTIONS, network

DIGITS = {torch.float32: 2e-6, torch.float64: 1e-12}
COMBINATIONS = [
    (path, prediction, weight)
    for path, prediction, weight in product(PATHS, PREDICTIONS, (None, "velocity", "likelihood"))
    if prediction != "velocity" or weight is None
]


def assert_near(value, wanted, tolerance):
    """The largest error is below the tolerance times the largest entry, or 1."""
    assert value.dtype == wanted.dtype
    assert value.shape == wanted.shape
    assert torch.isfinite(wanted).all()
    assert (value - wanted).abs().max() <= tolerance * max(1.0, float(wanted.abs().max()))


def interval_of(path, prediction):
    """Return the published training interval at the default eps."""
    if path == "VP":
        return 0, 1 - 1e-5
    return (0, 1) if prediction == "velocity" else (1e-3, 1 - 1e-3)


@pytest.mark.covering(5)
@pytest.mark.parametrize(("path", "prediction", "weight"), COMBINATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_training_losses_are_the_published_ones(path, prediction, weight, dtype):
    """Times, noise, prediction and every sample's loss agree, from the same state of torch's generator."""
    x1 = torch.randn(64, 2, 3, generator=torch.Generator().manual_seed(1), dtype=dtype)
    transport = create_transport(path, prediction, weight)
    torch.manual_seed(5)
    t, x0, output, loss = published.loss(
        path, prediction, weight, network, x1, interval_of(path, prediction), scale=1.5
    )
    torch.manual_seed(5)
    drawn = transport.sample(x1)
    torch.manual_seed(5)
    terms = transport.training_losses(network, x1, {"scale": 1.5})
    assert torch.equal(drawn[1], x0)
    assert torch.equal(drawn[2], x1)
    # The published float32 forms themselves lose digits where a level is a difference: 1 − t of a time near 1.
    tolerance = 2e-5 if dtype == torch.float32 else 1e-12
    assert_near(drawn[0], t, tolerance)
    assert_near(terms["pred"], output, tolerance)
    assert_near(terms["loss"] / loss, torch.ones_like(loss), 20 * tolerance)


@pytest.mark.covering(5)
@pytest.mark.parametrize(("path", "prediction"), list(product(PATHS, PREDICTIONS)))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_drift_and_score_are_the_published_ones(path, prediction, dtype):
    """At times of each sample's own, inside the interval, with the model's keywords."""
    t = torch.linspace(0.02, 0.98, 13, dtype=dtype)
    x = torch.randn(13, 2, 3, generator=torch.Generator().manual_seed(2), dtype=dtype)
    transport = create_transport(path, prediction)
    for own, theirs in ((transport.get_drift(), published.drift), (transport.get_score(), published.score)):
        assert_near(own(x, t, network, scale=0.7), theirs(path, prediction, network, x, t, scale=0.7), DIGITS[dtype])
    sampler = Sampler(transport)
    assert torch.equal(sampler.drift(x, t, network), transport.get_drift()(x, t, network))
    assert torch.equal(sampler.score(x, t, network), transport.get_score()(x, t, network))


@pytest.mark.covering(2)
@pytest.mark.parametrize("path", PATHS)
def test_path_sampler_has_the_published_coefficients(path):
    """α, σ, their derivatives, drift, diffusions, conversions, points and targets."""
    plan = create_transport(path).path_sampler
    t = torch.linspace(0.02, 0.98, 13, dtype=torch.float64)
    x0, x1 = torch.randn(2, 13, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    alpha, d_alpha, sigma, d_sigma = published.levels(path, t)
    for value, wanted in zip((*plan.compute_alpha_t(t), *plan.compute_sigma_t(t)), (alpha, d_alpha, sigma, d_sigma)):
        assert_near(value, wanted, 1e-12)
    assert_near(plan.compute_d_alpha_alpha_ratio_t(t), d_alpha / alpha, 1e-12)
    mean, rate = plan.compute_drift(x1, t)
    assert_near(mean, -(d_alpha / alpha)[:, None] * x1, 1e-12)
    assert_near(rate, published.kappa(path, t)[:, None], 1e-12)
    for form in FORMS:
        wanted = published.diffusion(path, form, 0.6, t)[:, None]
        assert_near(plan.compute_diffusion(x1, t, form=form, norm=0.6), wanted, 1e-12)
    same, x_t, target = plan.plan(t, x0, x1)
    assert same is t
    assert_near(x_t, alpha[:, None] * x1 + sigma[:, None] * x0, 1e-12)
    assert_near(target, d_alpha[:, None] * x1 + d_sigma[:, None] * x0, 1e-12)
    assert torch.equal(plan.compute_xt(t, x0, x1), x_t)
    assert torch.equal(plan.compute_ut(t, x0, x1, x_t), target)
    assert_near(plan.get_noise_from_velocity(target, x_t, t), x0, 1e-11)
    found = plan.get_score_from_velocity(target, x_t, t)
    assert_near(found, -x0 / sigma[:, None], 1e-11)
    assert_near(plan.get_velocity_from_score(found, x_t, t), target, 1e-11)


@pytest.mark.parametrize(
    ("path", "prediction", "options", "wanted"),
    [
        ("Linear", "velocity", {}, (0, 1)),
        ("Linear", "velocity", {"sde": True, "eval": True}, (0.2, 0.8)),
        ("Linear", "velocity", {"sde": True, "eval": True, "diffusion_form": "sigma"}, (0, 0.8)),
        ("Linear", "velocity", {"sde": True, "eval": True, "last_step_size": 0.3}, (0.2, 0.7)),
        ("GVP", "velocity", {"eval": True, "reverse": True}, (1, 0)),
        ("GVP", "noise", {}, (0.1, 0.9)),
        ("GVP", "noise", {"eval": True}, (0.2, 0.8)),
        ("Linear", "score", {"sde": True, "eval": True, "diffusion_form": "sigma"}, (0.2, 0.8)),
        ("Linear", "score", {"sde": True, "eval": True, "last_step_size": 0.3}, (0.2, 0.7)),
        ("Linear", "noise", {"eval": True, "reverse": True}, (0.8, 0.2)),
        ("Linear", "noise", {"last_step_size": 0.3}, (0.1, 0.9)),
        ("VP", "velocity", {}, (0, 0.9)),
        ("VP", "score", {"eval": True}, (0, 0.8)),
        ("VP", "noise", {"sde": True, "eval": True}, (0, 0.8)),
        ("VP", "noise", {"sde": True, "eval": True, "last_step_size": 0.3}, (0, 0.7)),
    ],
)
def test_intervals(path, prediction, options, wanted):
    """The interval of each use, by hand from the published rules, with train_eps 0.1 and sample_eps 0.2."""
    transport = create_transport(path, prediction, train_eps=0.1, sample_eps=0.2)
    assert transport.check_interval(0.1, 0.2, **options) == pytest.approx(wanted, abs=1e-15)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("Linear",), (0, 0)),
        (("GVP", "noise"), (1e-3, 1e-3)),
        (("Linear", "score"), (1e-3, 1e-3)),
        (("VP",), (1e-5, 1e-3)),
        (("VP", "noise"), (1e-5, 1e-3)),
    ],
)
def test_defaults_of_eps(arguments, wanted):
    """The published defaults of train_eps and sample_eps."""
    transport = create_transport(*arguments)
    assert (transport.train_eps, transport.sample_eps) == wanted


def test_attributes_have_the_published_names():
    """Kinds are members of the published enumerations, and the class takes the published keywords."""
    transport = create_transport("GVP", "noise", "likelihood")
    assert (transport.model_type, transport.loss_type) == (ModelType.NOISE, WeightType.LIKELIHOOD)
    kinds = {"model_type": ModelType.SCORE, "path_type": PathType.VP, "loss_type": WeightType.NONE}
    made = Transport(**kinds, train_eps=0.0, sample_eps=0.0)
    assert made.path_sampler.schedule.name == "vp"
    assert Sampler(made).transport is made


def test_prior_is_the_standard_normal():
    """log N(z; 0, I) of each row, against torch's own density."""
    z = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    wanted = torch.distributions.Normal(0.0, 1.0).log_prob(z).flatten(1).sum(1)
    assert_near(create_transport().prior_logp(z), wanted, 1e-14)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: create_transport("linear"), "one of 'Linear', 'GVP', 'VP'; received 'linear'; remedy: pass 'Linear'"),
        (lambda: create_transport(prediction="velocty"), "pass 'velocity'"),
        (lambda: create_transport(prediction="v"), "'noise', 'score', 'velocity'"),
        (lambda: create_transport("GVP", "noise", "velocty"), "None.: one of 'velocity', 'likelihood'"),
        (lambda: create_transport(loss_weight="likelihood"), "no such weight for a velocity model"),
        (lambda: create_transport(train_eps=-1e-3), r"train_eps: a number in \[0, 0.5\)"),
        (lambda: create_transport("VP", sample_eps="1e-3"), "sample_eps: a number"),
        (lambda: Sampler(create_transport()).sample_ode(sampling_method="heun"), "'heun2', 'heun3', 'rk4', 'bosh3'"),
        (lambda: Sampler(create_transport()).sample_ode(num_steps=1), "a number of times, at least 2"),
        (lambda: Sampler(create_transport()).sample_sde(sampling_method="euler"), "pass 'Euler'"),
        (lambda: Sampler(create_transport()).sample_sde(diffusion_form="sigm"), "pass 'sigma'"),
        (lambda: Sampler(create_transport()).sample_sde(diffusion_form="sigma", diffusion_norm=-1.0), "multiple >= 0"),
        (lambda: Sampler(create_transport()).sample_sde(last_step="mean"), "pass 'Mean'"),
        (lambda: Sampler(create_transport()).sample_sde(last_step_size=0.0), r"a length in \(0, 1\)"),
        (lambda: Sampler(create_transport()).sample_sde(num_steps=1), "a number of times, at least 2"),
        (lambda: Sampler(create_transport()).sample_ode_likelihood(num_steps=0), "at least 1"),
    ],
)
def test_unknown_names_and_numbers_are_refused(make, words):
    """What was expected, what came and what to do, when the function is made and not when it runs."""
    with pytest.raises(ValueError, match=words):
        make()


def test_a_model_of_another_shape_is_refused():
    """In training, drift and sampling alike."""
    transport, x = create_transport(), torch.zeros(3, 2)
    calls = [
        lambda model: transport.training_losses(model, x),
        lambda model: transport.get_drift()(x, torch.full((3,), 0.5), model),
        lambda model: Sampler(transport).sample_ode()(x, model),
        lambda model: Sampler(transport).sample_sde(diffusion_form="sigma")(x, model),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"of shape \(3, 2\); received \(?(shape )?\(?3, 4\)"):
            call(lambda x, t: torch.zeros(3, 4))


def test_a_model_that_returns_more_than_its_prediction_is_refused():
    """A tuple, or an object that holds the prediction, is a TypeError with the remedy in training and in sampling."""
    transport, x = create_transport(), torch.zeros(3, 2)
    for answer in ((x, None), SimpleNamespace(sample=x)):
        for call in (
            lambda model: transport.training_losses(model, x),
            lambda model: transport.get_drift()(x, torch.full((3,), 0.5), model),
            lambda model: Sampler(transport).sample_ode()(x, model),
            lambda model: Sampler(transport).sample_sde()(x, model),
            lambda model: Sampler(transport).sample_ode_likelihood()(x, model),
        ):
            with pytest.raises(TypeError, match=r"an array from the model; received a \w+; remedy: .*output\[0\]"):
                call(lambda x, t, answer=answer: answer)


def test_a_transport_that_was_used_can_be_pickled():
    """It gives the same loss afterwards, from the same seed."""
    transport, x = create_transport("VP", "noise", "velocity"), torch.ones(3, 2)

    def losses(which):
        return which.training_losses(lambda x, t: x, x, generator=torch.Generator().manual_seed(0))["loss"]

    before = losses(transport)
    assert torch.equal(losses(pickle.loads(pickle.dumps(transport))), before)

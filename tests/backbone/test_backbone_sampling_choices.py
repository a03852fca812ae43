"""Words and numbers of a sampling config: what they mean, and how they are refused."""

import math

import numpy as np
import pytest
import torch

from backbone import SampleConfig
from backbone.sampling.choices import grid_of, method_of, prediction_of, schedule_of, steps_of
from backbone.sampling.coefficients import guidance_of, w_of
from backbone.sampling.labels import Labels
from interpolants import GVP, Linear, Noise, Velocity
from interpolants.guidance import APG, CFGZeroStar, ClassifierFree, Interval, Rescale
from interpolants.published import sit_sde
from interpolants.schedules import DDPMLinear
from solvers import (
    DDIM,
    Adaptive,
    Dopri5,
    DPMSolverPP,
    EDMStochastic,
    Euler,
    EulerMaruyama,
    Heun,
    LastStep,
    Mean,
    PredictorCorrector,
    Tweedie,
)

SIGMA = w_of("sigma")


@pytest.mark.parametrize(
    ("text", "method"),
    [
        ("heun", Heun()),
        ("Euler-Maruyama", EulerMaruyama()),
        ("DPMSolverPP(order=3, variant='singlestep')", DPMSolverPP(3, "singlestep")),
        ("dpm_solver_pp(2)", DPMSolverPP(2)),
        ("EDMStochastic(churn=10, s_max=inf)", EDMStochastic(10, s_max=math.inf)),
        ("PredictorCorrector(predictor=DDIM, steps=2)", PredictorCorrector(DDIM(), 2)),
        ("Adaptive(Dopri5(), rtol=1e-3, first_step=None)", Adaptive(Dopri5(), rtol=1e-3)),
    ],
)
def test_methods_are_spelt_as_in_python(text, method):
    """A name in any case with options, methods inside methods included, is that object, and so is what it prints."""
    assert method_of(SampleConfig(method=text), SIGMA) == method
    assert method_of(SampleConfig(method=repr(method)), SIGMA) == method


def test_what_is_not_said():
    """Without a name it is Heun with 50 steps, and with w Euler–Maruyama with 250; a last step wraps either."""
    assert (method_of(SampleConfig(), None), steps_of(SampleConfig(), None)) == (Heun(), 50)
    assert (method_of(SampleConfig(), SIGMA), steps_of(SampleConfig(), SIGMA)) == (EulerMaruyama(), 250)
    assert steps_of(SampleConfig(steps=7), SIGMA) == 7
    for text, last in (("mean", Mean()), ("Tweedie()", Tweedie()), ("euler", Euler())):
        assert method_of(SampleConfig(last_step=text), SIGMA) == LastStep(EulerMaruyama(), last)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("heum", "expected a method: one of DDIM, .*received 'heum'; remedy: did you mean 'Heun'"),
        ("heun(", "expected a method: a name with or without options, such as DDIM; received"),
        ("__import__('os')", "expected a method: a name"),
        ("DPMSolverPP(ordr=3)", "expected options of DPMSolverPP: order, variant; received .*'ordr'"),
        ("DPMSolverPP(order=9)", "expected order: one of 1, 2, 3 for DPMSolverPP"),
        ("Adaptive(Dopri5(), rtol=1+1)", "expected a value of an option of a method; received 1 \\+ 1"),
        ("Restart(method=os)", "received 'os'"),
        ("Adaptive(EulerMaruyama())", "Adaptive with a deterministic method and steps of the whole batch"),
        ("Adaptive(Dopri5(), per_sample=True)", "Adaptive with a deterministic method and steps of the whole batch"),
    ],
)
def test_methods_that_are_none_are_refused(text, words):
    """Unknown names, options and forms are refused with what there is; nothing is evaluated."""
    with pytest.raises(ValueError, match=words):
        method_of(SampleConfig(method=text), SIGMA)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("sigma", 0.3),
        ("KL", 0.6 / 0.7),
        ("sin-squared", math.sin(0.3 * math.pi) ** 2),
        ("Constant(0.25)", 0.25),
        ("0.5*sigma", 0.15),
        ("sigma/2 + 2*ramp", 0.75),
        ("2/3*sin-squared + constant(0.1)", 2 / 3 * math.sin(0.3 * math.pi) ** 2 + 0.1),
        ("t*(1-t)", 0.21),
        ("t", 0.3),
        ("0.5", 0.5),
        ("sin(pi*t)**2", math.sin(0.3 * math.pi) ** 2),
    ],
)
def test_w_by_name_multiple_sum_and_expression(text, value):
    """Under α = 1 − t, σ = t, at t = 0.3, w has the value that its formula has by hand."""
    assert w_of(text).of(Linear())(0.3) == pytest.approx(value, rel=1e-12)


def test_no_w():
    """No text is no w."""
    assert w_of(None) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kll", "one of KL, .*or an expression of t; received 'kll'; remedy: did you mean 'KL'"),
        ("sigma*ramp", "expected w as a sum of multiples of names"),
        ("sigma - ramp", "expected w as a sum of multiples of names"),
        ("t*sigma", "received 't'"),
        ("a*t", "expected an expression such as"),
        ("constant(-1)", "expected a number >= 0"),
        ("-1*sigma", "expected"),
    ],
)
def test_w_that_is_none_is_refused(text, words):
    """Misspelt names, products of coefficients and negative numbers are refused."""
    with pytest.raises(ValueError, match=words):
        w_of(text)


@pytest.mark.parametrize(
    ("options", "times"),
    [
        ({}, [1.0, 0.75, 0.5, 0.25, 0.0]),
        ({"start": 0.8, "stop": 0.4}, [0.8, 0.7, 0.6, 0.5, 0.4]),
        ({"grid": "power(exponent=2)"}, [1.0, 0.5625, 0.25, 0.0625, 0.0]),
        ({"grid": "power(1)", "last_step_size": 0.04}, [1.0, 0.68, 0.36, 0.04, 0.0]),
        # σ/α = t/(1 − t), and the log-SNR is −2 times its logarithm.
        ({"grid": "log-snr", "start": 16 / 17, "stop": 1 / 2}, [16 / 17, 8 / 9, 4 / 5, 2 / 3, 1 / 2]),
        ({"grid": "log-snr", "start": 4 / 5, "last_step_size": 1 / 2}, [4 / 5, 1 / (1 + 4 ** (-2 / 3)), None, 0.5, 0]),
        ({"grid": "karras(rho=1, sigma_min=1, sigma_max=4)"}, [4 / 5, 3 / 4, 2 / 3, 1 / 2, 0.0]),
        ({"grid": "cosine-optimal(variance=1)"}, [1 / (1 + math.tan(k * math.pi / 8)) for k in range(5)]),
    ],
)
def test_grids_by_name(options, times):
    """Under the linear schedule the times are those of the definition, from noise to data."""
    found = grid_of(SampleConfig(**options), Linear(), Heun(), 4)
    assert len(found) == 5
    for time, wanted in zip(found, times):
        assert wanted is None or time == pytest.approx(wanted, abs=1e-12)


def test_grids_of_others():
    """The published sampler of SiT is its options, timesteps need a discrete schedule, published levels have a name."""
    config = SampleConfig(w="sigma", last_step="mean", last_step_size=0.04)
    assert (grid_of(config, Linear(), EulerMaruyama(), 250) == sit_sde().ts).all()
    found = grid_of(SampleConfig(grid="timestep-strides(spacing='leading')"), DDPMLinear(), Heun(), 4)
    assert found.tolist() == pytest.approx([0.751, 0.501, 0.251, 0.001, 0.0])
    found = grid_of(SampleConfig(grid="align-your-steps(model='sdxl')"), Linear(), Heun(), 10)
    assert found[:2].tolist() == pytest.approx([14.615 / 15.615, 6.315 / 7.315])
    adaptive = Adaptive(Dopri5())
    assert grid_of(SampleConfig(start=0.9), Linear(), adaptive, 50).tolist() == [0.9, 0.0]


@pytest.mark.parametrize(
    ("options", "method", "words"),
    [
        ({"grid": "unifrom"}, Heun(), "a grid: one of uniform, power, .*did you mean 'uniform'"),
        ({"grid": "karras", "start": 0.9}, Heun(), "expected no start: the grid karras has its own times"),
        ({"grid": "log-snr"}, Heun(), "expected ends with a finite log-SNR"),
        ({"last_step_size": 1.5}, Heun(), r"a last step of a length in \(0, 1\)"),
        ({"last_step_size": 0.0}, Heun(), r"a last step of a length in \(0, 1\)"),
        ({"steps": 5}, Adaptive(Dopri5()), "no choice of steps beside Adaptive; received steps"),
        ({"grid": "power"}, Adaptive(Dopri5()), "no choice of steps beside Adaptive; received grid"),
    ],
)
def test_grids_that_cannot_be_are_refused(options, method, words):
    """A grid that does not exist, has other ends, or would not be looked at is refused."""
    with pytest.raises(ValueError, match=words):
        grid_of(SampleConfig(**options), Linear(), method, 4)


def test_schedule_and_prediction_are_those_of_the_file():
    """The checkpoint says both; a name says them where it does not, and may say the same again."""
    kept = Linear().to_dict()
    assert schedule_of(None, kept, "f") == schedule_of("linear", None, "f") == schedule_of("linear", kept, "f")
    assert schedule_of("ddpm-linear", DDPMLinear().to_dict(), "f").num_train_timesteps == 1000
    assert prediction_of(None, "Noise", "f") is prediction_of("noise", None, "f") is Noise
    assert prediction_of("velocity", "Velocity", "f") is Velocity
    with pytest.raises(ValueError, match=r"a checkpoint that says its schedule; received f, .*pass --schedule linear"):
        schedule_of(None, None, "f")
    with pytest.raises(ValueError, match=r"a checkpoint that says its prediction; received f.*--prediction velocity"):
        prediction_of(None, None, "f")
    with pytest.raises(ValueError, match=r"expected the schedule of f, linear: .*received gvp.*leave out --schedule"):
        schedule_of("gvp", kept, "f")
    with pytest.raises(ValueError, match="expected the prediction of f, Velocity; received Noise"):
        prediction_of("noise", "Velocity", "f")
    with pytest.raises(ValueError, match=r"a prediction, one of Velocity, .*did you mean 'Noise'"):
        prediction_of("noize", None, "f")


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({}, None),
        ({"guidance": 1.5}, ClassifierFree(1.5)),
        ({"guidance": 4.0, "guidance_channels": 3}, ClassifierFree(4.0, 3)),
        ({"guidance": 2.0, "guidance_rule": "cfg-zero(still=0.98)"}, CFGZeroStar(2.0, 0.98)),
        ({"guidance": 2.0, "guidance_rule": "APG(eta=0.5, threshold=3)"}, APG(2.0, GVP(), Velocity, 0.5, 3)),
        ({"guidance": 3.0, "guidance_rescale": 0.7}, Rescale(ClassifierFree(3.0), GVP(), 0.7)),
        ({"guidance": 3.0, "guidance_low": -2.0}, Interval(ClassifierFree(3.0), GVP(), -2.0, math.inf)),
        (
            {"guidance": 3.0, "guidance_high": 4.0, "guidance_rescale": 0.5},
            Interval(Rescale(ClassifierFree(3.0), GVP(), 0.5), GVP(), -math.inf, 4.0),
        ),
    ],
)
def test_guidance_is_built_from_its_options(options, rule):
    """Scale, rule, rescale and interval make the guidance of the library, the interval outermost."""
    assert guidance_of(SampleConfig(**options), GVP(), Velocity) == rule


@pytest.mark.parametrize(
    ("options", "prediction", "words"),
    [
        ({"guidance_low": -1.0}, Velocity, "a guidance scale other than 1 with its options; received guidance_low"),
        ({"guidance_rule": "apg"}, Velocity, "received guidance_rule"),
        ({"guidance": 2.0, "guidance_rule": "cgf"}, Velocity, "one of cfg, cfg-zero, apg; received 'cgf'"),
        ({"guidance": 2.0, "guidance_rule": "cfg-zero"}, Noise, "a network that predicts velocities, for cfg-zero"),
        ({"guidance": 2.0, "guidance_rule": "apg", "guidance_channels": 3}, Velocity, "all channels with this rule"),
        ({"guidance": 2.0, "guidance_low": 3.0, "guidance_high": 1.0}, Velocity, "two log-SNR with low < high"),
    ],
)
def test_guidance_that_cannot_be_is_refused(options, prediction, words):
    """Options without a scale, and rules that do not take them, are refused."""
    with pytest.raises(ValueError, match=words):
        guidance_of(SampleConfig(**options), GVP(), prediction)


def test_labels_by_name():
    """Balanced labels count round, a list does so over its entries, the null class is num_classes."""
    ids = torch.arange(3, 13)
    assert Labels("balanced", 4, 0).of(ids).tolist() == [3, 0, 1, 2, 3, 0, 1, 2, 3, 0]
    assert Labels("5, 2,7,7", 10, 0).of(ids).tolist() == [7, 5, 2, 7, 7, 5, 2, 7, 7, 5]
    assert Labels("null", 4, 0).of(ids).tolist() == [4] * 10
    assert Labels("balanced", 0, 0).of(ids).tolist() == [0] * 10
    assert [Labels(*case, 0).unconditional for case in (("null", 4), ("balanced", 0), ("4", 4), ("4,1", 4))] == [
        *(True, True, True, False)
    ]


def test_random_labels_depend_on_seed_and_number_alone():
    """A part of the samples has the labels of the whole, seeds differ, and each of 7 classes has its share."""
    whole = Labels("random", 7, 3).of(torch.arange(7000))
    assert torch.equal(Labels("random", 7, 3).of(torch.arange(50, 90)), whole[50:90])
    assert not torch.equal(Labels("random", 7, 4).of(torch.arange(7000)), whole)
    counts = np.bincount(whole.numpy(), minlength=7)
    assert len(counts) == 7
    # Binomial, 1000 ± 29: six standard errors.
    assert abs(counts - 1000).max() < 6 * math.sqrt(7000 / 7 * 6 / 7)


@pytest.mark.parametrize(
    ("text", "classes", "words"),
    [
        ("balansed", 4, "labels: balanced, random, null, or classes .*did you mean 'balanced'"),
        ("1,-2", 4, "or classes such as 207,360"),
        ("1,5", 4, r"classes within 0 … 4 \(4 is the null class\); received 5"),
        ("1", 0, "pass --labels null: the network has no labels"),
    ],
)
def test_labels_that_are_none_are_refused(text, classes, words):
    """Other words, negative numbers and classes that the network has not are refused."""
    with pytest.raises(ValueError, match=words):
        Labels(text, classes, 0)


def test_a_config_is_json_and_back():
    """to_dict is JSON from which from_dict makes the same config; a misspelt key is named."""
    config = SampleConfig(num=7, w="kl", vae="folder", format="npz", guidance_low=-1.5)
    assert SampleConfig.from_dict(config.to_dict()) == config
    assert config.to_dict()["vae"] == "folder"
    with pytest.raises(ValueError, match="fields of SampleConfig; received 'stps'; remedy: closest: 'steps'"):
        SampleConfig.from_dict({"stps": 3})


@pytest.mark.parametrize(
    "options",
    [
        *({"num": 0}, {"num": 2**32 + 1}, {"seed": -1}, {"seed": 2**64}, {"steps": 0}, {"batch_size": 0}),
        *({"threads": 0}, {"guidance": math.nan}, {"start": math.inf}, {"vae_scale": 0.0}, {"format": "jpg"}),
        *({"precision": "half"}, {"format": "latents", "vae": "folder"}, {"guidance_channels": 0}, {"num": 2.5}),
    ],
)
def test_a_config_out_of_range_is_refused(options):
    """Each field is checked when the config is made."""
    with pytest.raises(ValueError, match=r"expected .*; received .*; remedy: "):
        SampleConfig(**options)

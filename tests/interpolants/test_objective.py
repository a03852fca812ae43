"""Training objectives: points, targets and losses of the five predictions, in three libraries."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import torch
from mpmath import mpf

from interpolants import (
    GVP,
    VP,
    Data,
    Gaussian,
    Linear,
    Noise,
    Objective,
    Path,
    Schedule,
    Score,
    Velocity,
    VPrediction,
    couple,
    times,
    weights,
)
from interpolants.learned import LearnedPolar
from tests.support.zoo import BUILT_INS, CASES, PREDICTIONS, row, wronskian

THREE_PARTS = r"expected .*; received .*; remedy: "
INSIDE = times.Uniform(0.01, 0.99)


@pytest.mark.parametrize("case", [c for c in CASES if c.name != "exp-log"], ids=repr)
@pytest.mark.parametrize("prediction", PREDICTIONS, ids=repr)
def test_points_and_targets(case, prediction):
    """x_t and the target are α x + σ ε and a x + b ε at 60 digits; the score's target is σ times it, −ε."""
    clock, x_data, noise = np.array([0.02, 0.37, 0.91]), np.array([0.7, -1.3, 2.0]), np.array([-0.4, 0.9, 1.5])
    batch = Objective(case.schedule, prediction, times=INSIDE).at(x_data, noise, clock)
    with mpmath.workdps(60):
        for index, (time, x, e) in enumerate(zip(clock, x_data, noise, strict=True)):
            s = mpf(time)
            a, b = row(prediction.name, case, s)
            target = (a * mpf(x) + b * mpf(e)) * (case.sigma(s) if prediction is Score else 1)
            size = abs(a * mpf(x)) + abs(b * mpf(e))
            assert abs(batch.x_t[index] - (case.alpha(s) * mpf(x) + case.sigma(s) * mpf(e))) < 1e-14
            assert abs(batch.target[index] - target) < 1e-13 * (1 + size)


@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("shape", [(3,), (3, 3), (3, 2, 4, 4)], ids=str)
@pytest.mark.parametrize("prediction", [Velocity, Score], ids=repr)
def test_shapes_and_losses(library, shape, prediction):
    """Per sample the loss is the weighted mean over its own axes, and the loss the mean of those; types are kept."""
    rng = np.random.default_rng(0)
    make = {"numpy": np.asarray, "torch": torch.as_tensor, "jax": jnp.asarray}[library]
    x_data, noise, output = (make(part.astype(np.float32)) for part in rng.standard_normal((3, *shape)))
    clock = make(np.array([0.25, 0.5, 0.75], np.float32))
    objective = Objective(Linear(), prediction, weights.Custom("1 + t"))
    batch = objective.at(x_data, noise, clock)
    assert all(type(part) is type(x_data) for part in batch)
    assert all(part.dtype == x_data.dtype for part in batch)
    assert tuple(batch.x_t.shape) == tuple(batch.target.shape) == shape
    losses = objective.integrand(output, batch.target, clock)
    o, x, e = (np.asarray(part, np.float64) for part in (output, x_data, noise))
    by_hand = []
    for index, time in enumerate((0.25, 0.5, 0.75)):
        error = o[index] - (e[index] - x[index]) if prediction is Velocity else time * o[index] + e[index]
        by_hand.append((1 + time) * np.mean(error**2))
    np.testing.assert_allclose(np.asarray(losses), by_hand, rtol=1e-6)
    assert float(objective.loss(output, batch.target, clock)) == pytest.approx(np.mean(by_hand), rel=1e-6)


def test_draws():
    """Each library draws from its generator: fresh times and noise of the type of the data, the same for a seed."""
    objective = Objective(Linear())
    for x_data, make in (
        (np.ones((400, 2), np.float32), lambda: np.random.default_rng(5)),
        (torch.ones(400, 2, dtype=torch.float64), lambda: torch.Generator().manual_seed(5)),
        (jnp.ones((400, 2)), lambda: jax.random.key(5)),
    ):
        batch, again = objective.sample(x_data, make()), objective.sample(x_data, make())
        assert all(part.dtype == x_data.dtype for part in batch)
        assert all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(batch, again, strict=True))
        noise, clock = np.asarray(batch.noise, float), np.asarray(batch.time, float)
        assert abs(noise.mean()) < 6 / np.sqrt(800)
        assert abs(np.corrcoef(noise[:, 0], clock)[0, 1]) < 0.3
        np.testing.assert_allclose(np.asarray(batch.target), noise - 1, atol=1e-6)


@pytest.mark.parametrize("case", BUILT_INS, ids=repr)
def test_the_exact_prediction_leaves_the_floor(case):
    """For data N(m, c) the exact prediction has the conditional variance as its loss: cW²/ρ² for the velocity, …"""
    c, time, s = 0.3, 0.4, mpf("0.4")
    path, rng = Path(case.schedule, Gaussian([0.7], c)), np.random.default_rng(0)
    rho = float(case.alpha(s) ** 2 * c + case.sigma(s) ** 2)
    floors = {
        Velocity: c * float(wronskian(case, s)) ** 2 / rho,
        Score: c * float(case.alpha(s)) ** 2 / rho,
        Noise: c * float(case.alpha(s)) ** 2 / rho,
        Data: c * float(case.sigma(s)) ** 2 / rho,
        VPrediction: c * float(case.alpha(s) ** 2 + case.sigma(s) ** 2) ** 2 / rho,
    }
    _, x_data, noise = path.sample_joint(time, 40000, rng)
    for prediction, floor in floors.items():
        objective = Objective(case.schedule, prediction, times=INSIDE)
        batch = objective.at(x_data, noise, np.full(40000, time))
        for factor, share in ((1.0, 0.0), (1.1, 0.01)):
            output = factor * path.predict(prediction, time, batch.x_t)
            losses = objective.integrand(output, batch.target, batch.time)
            size = float(case.sigma(s)) if prediction is Score else 1.0
            excess = share * np.mean((size * path.predict(prediction, time, batch.x_t)) ** 2)
            assert abs(losses.mean() - floor - excess) < 6 * losses.std() / 200


def test_score_loss_at_the_data():
    """At t = 0 and next to it the score's loss and its gradient are finite: |σ s + ε|², with no division by σ."""
    clock = torch.tensor([0.0, 1e-30, 1e-8])
    x, noise = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    for schedule in (Linear(), GVP(), VP()):
        for weight in (weights.Uniform(), weights.Velocity()):
            objective = Objective(schedule, Score, weight, INSIDE)
            batch = objective.at(x, noise, clock)
            output = torch.randn(3, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
            losses = objective.integrand(output, batch.target, clock)
            if schedule.name != "vp" or weight.name == "Uniform()":
                assert torch.isfinite(losses).all()
                losses.sum().backward()
                assert torch.isfinite(output.grad).all()
                factor = (np.pi / 2) ** 2 if weight.name == "Velocity()" and schedule.name == "gvp" else 1.0
                assert losses[0].item() == pytest.approx(factor * noise[0].square().mean().item(), rel=1e-5)


def test_half_precision():
    """Under autocast and with bfloat16 data, times, points and losses are float32, and the loss is that of float32."""
    generator = torch.Generator().manual_seed(0)
    x_data = torch.randn(8, 4, generator=generator).bfloat16()
    for prediction in PREDICTIONS:
        objective, losses = Objective(Linear(), prediction, weights.MinSNR(5), INSIDE), []
        for enabled in (True, False):
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                batch = objective.sample(x_data, torch.Generator().manual_seed(1))
                assert all(part.dtype == torch.float32 for part in batch)
                output = batch.x_t.bfloat16() if prediction is not Score else -batch.x_t.bfloat16()
                losses.append(objective.loss(output, batch.target, batch.time))
                assert losses[-1].dtype == torch.float32
        assert len(batch.time.unique()) == 8
        assert torch.equal(*losses)
    batch = Objective(Linear()).at(x_data, x_data, torch.full((8,), 0.3, dtype=torch.bfloat16))
    assert batch.time.dtype == torch.float32


def test_gradients():
    """The gradient of the loss is 2 w (output − target)/n, and it reaches the data and a learned schedule."""
    generator = torch.Generator().manual_seed(0)
    x_data, noise, output = torch.randn(3, 4, 3, generator=generator, dtype=torch.float64)
    clock = torch.tensor([0.1, 0.2, 0.6, 0.9], dtype=torch.float64)
    objective = Objective(Linear(), Velocity, weights.Custom("1 + t"))
    output.requires_grad_()
    x_data.requires_grad_()
    batch = objective.at(x_data, noise, clock)
    objective.loss(output, batch.target, clock).backward()
    expected = 2 * (1 + clock)[:, None] * (output - batch.target) / 12
    torch.testing.assert_close(output.grad, expected.detach())
    torch.testing.assert_close(x_data.grad, expected.detach())  # the target is ε − x
    schedule = LearnedPolar(1.0, 3)
    learned = Objective(schedule, times=INSIDE)
    batch = learned.at(x_data.detach(), noise, clock)
    learned.loss(output.detach(), batch.target, clock).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in schedule.parameters())


def test_schedules_of_functions():
    """A schedule of two functions that are measured trains as its expressions do."""
    measured = Schedule.from_callables(lambda s: np.cos(np.pi * s / 2), lambda s: np.sin(np.pi * s / 2))
    x_data, noise, clock = np.ones((3, 2)), np.arange(6.0).reshape(3, 2), np.array([0.2, 0.5, 0.8])
    for prediction, weight in ((Velocity, weights.Uniform()), (Noise, weights.MinSNR(2)), (Score, weights.Velocity())):
        found = []
        for schedule in (measured, GVP()):
            objective = Objective(schedule, prediction, weight, INSIDE)
            batch = objective.at(x_data, noise, clock)
            found.append(objective.integrand(batch.x_t, batch.target, clock))
        np.testing.assert_allclose(*found, rtol=1e-9)


def test_the_measure_does_not_depend_on_the_times():
    """Averaged over uniform times, the loss of ½ is ∫(½ + 1 − t)²-like quadrature whatever density drew the times."""
    schedule, rng = Linear(), np.random.default_rng(0)
    x_data = np.full((20000, 1), 2.0)

    def model(time, x):
        return (x - (1 - time[:, None]) * 2.0) / time[:, None] - 2.0 + time[:, None]  # off by t from ε − x

    sampler = times.Importance(8, 5)
    exact = 1 / 3  # ∫ t² dt
    drawn = [times.LogitNormal(0, 1, 0.02, 0.98), times.Stratified(sampler), sampler, times.CosMap()]
    for choice in drawn:
        inside = getattr(choice, "lo", None) is not None
        measure = None if choice.measure else times.Uniform(choice.lo, choice.hi)
        objective = Objective(schedule, times=choice, measure=measure)
        batch = objective.sample(x_data, rng)
        output = model(batch.time, batch.x_t)
        integrand = objective.integrand(output, batch.target, batch.time)
        np.testing.assert_allclose(integrand, batch.time**2, rtol=1e-6, atol=1e-9)
        ratio = integrand / choice.of(schedule).pdf(batch.time) / (0.96 if inside else 1)
        found = objective.loss(output, batch.target, batch.time)
        assert found == pytest.approx(ratio.mean(), rel=1e-12)
        wanted = (0.98**3 - 0.02**3) / 3 / 0.96 if inside else exact
        assert abs(found - wanted) < 6 * ratio.std() / np.sqrt(20000)
        if choice is sampler or isinstance(choice, times.Stratified):
            sampler.update(batch.time, integrand)
    assert sampler.warm
    plain = Objective(schedule, times=times.LogitNormal())
    batch = plain.sample(x_data, rng)
    losses = plain.integrand(model(batch.time, batch.x_t), batch.target, batch.time)
    assert plain.loss(model(batch.time, batch.x_t), batch.target, batch.time) == losses.mean()


def test_a_step_of_training():
    """Called with a model it samples and returns the loss; coupled noise goes in by ``at``."""
    x_data, rng = torch.ones(16, 2), torch.Generator().manual_seed(0)
    objective = Objective(Linear())
    seen = []
    loss = objective(lambda time, x: seen.append((time, x)) or torch.zeros_like(x), x_data, rng)
    batch = objective.sample(x_data, torch.Generator().manual_seed(0))
    assert torch.equal(seen[0][0], batch.time)
    assert torch.equal(seen[0][1], batch.x_t)
    assert loss.item() == pytest.approx(torch.nn.functional.mse_loss(torch.zeros(16, 2), batch.target).item(), rel=1e-6)
    pairs = couple(torch.randn(16, 2, generator=rng), batch.noise, torch.arange(16))
    coupled = objective.at(pairs.x_data, pairs.noise, batch.time)
    assert torch.equal(coupled.target, pairs.noise - pairs.x_data)


@pytest.mark.parametrize(
    ("schedule", "prediction", "weight"),
    [
        (VP(), Velocity, weights.Uniform()),
        (Linear(), Noise, weights.Velocity()),
        (Linear(), Data, weights.Velocity()),
        (GVP(), Velocity, weights.Likelihood()),
        (Linear(), Data, weights.EDM()),
    ],
    ids=["vp-velocity", "noise-velocity", "data-velocity", "likelihood", "edm"],
)
def test_infinite_mean_losses_are_refused(schedule, prediction, weight):
    """A loss whose mean is infinite under uniform times is refused; the times of the remedy are accepted."""
    with pytest.raises(ValueError, match=THREE_PARTS + "leave the end out, say times=") as caught:
        Objective(schedule, prediction, weight)
    for _ in range(2):  # an end at a time
        remedy = str(caught.value).partition("times=")[2].partition(", or")[0]
        lo, hi = (float(part) for part in remedy.removeprefix("Uniform(").removesuffix(")").split(", "))
    assert Objective(schedule, prediction, weight, times.Uniform(lo, hi)).times == times.Uniform(lo, hi)


def example(**options):
    return Objective(Linear(), **options)


X = np.ones((3, 2))


@pytest.mark.parametrize(
    ("error", "make"),
    [
        (TypeError, lambda: Objective("linear")),
        (TypeError, lambda: example(prediction="velocity")),
        (TypeError, lambda: example(times="uniform")),
        (TypeError, lambda: example(measure=0.5)),
        (ValueError, lambda: example(times=times.Uniform(0.2, 0.9), measure=times.Uniform())),
        (ValueError, lambda: example().at(X, X[:, :1], 0.5)),
        (ValueError, lambda: example().at(X, X, np.ones(2) / 2)),
        (ValueError, lambda: example().at(X, X, np.ones((3, 1)) / 2)),
        (ValueError, lambda: example().at(X, X, np.array([0.1, 0.2, 1.5]))),
        (ValueError, lambda: example().at(X, X, 1.5)),
        (ValueError, lambda: example(check=True).at(*[torch.ones(3, 2)] * 2, torch.tensor([0.1, 0.2, 1.5]))),
        (ValueError, lambda: example(check=True).sample(X * np.nan, np.random.default_rng(0))),
        (ValueError, lambda: example().sample(X[:0], np.random.default_rng(0))),
        (ValueError, lambda: example().sample(np.array(1.0), np.random.default_rng(0))),
        (ValueError, lambda: example().sample(1.0, np.random.default_rng(0))),
        (TypeError, lambda: example().sample(X, torch.Generator())),
        (TypeError, lambda: example().sample(torch.ones(3, 2), np.random.default_rng(0))),
        (TypeError, lambda: example().sample(X, None)),
        (ValueError, lambda: example().loss(X[:, :1], X, np.ones(3) / 2)),
        (ValueError, lambda: example(weight=weights.Custom("1 + t")).loss(X, X, np.array([0.1, 0.2, 1.5]))),
    ],
)
def test_refusals(error, make):
    """What does not fit is refused in three parts; NaN and tensors of times outside the domain with check=True."""
    with pytest.raises(error, match=THREE_PARTS):
        make()


def test_nothing_is_read_without_check():
    """Without check NaN passes through to the loss, where a training loop sees it."""
    batch = example().sample(X * np.nan, np.random.default_rng(0))
    assert np.isnan(example().loss(X, batch.target, batch.time))

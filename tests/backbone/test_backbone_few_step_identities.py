"""Few-step losses on exact Gaussian flows, in float64 under four schedules: identities to 1e-9 and fixed points."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from gaussian_flows import FLOWS, MEAN, VARIANCE, batch, over_samples

from backbone.few_step import (
    FlowMap,
    ImprovedMeanFlow,
    Jump,
    MeanFlow,
    compound_velocity,
    consistency_problem,
    consistency_tangent,
    guided_velocity,
    meanflow_target,
    two_steps,
)
from backbone.few_step.intervals import adaptively_weighted
from interpolants import Gaussian, Linear, Path
from interpolants.flow_map import average_velocity, consistency_function
from solvers import ExponentialEulerMaruyama, solve

JVP = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
pytestmark = JVP
schedules = pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.schedule.name)


def largest(x):
    return float(x.detach().abs().max())


@schedules
def test_the_flows_of_these_tests_are_those_of_the_library(flow):
    """Velocity, average velocity and consistency function equal those of the exact path, to 1e-12."""
    path = Path(flow.schedule, Gaussian(MEAN.numpy(), VARIANCE.numpy()))
    start, time, x = batch(flow, 8)
    for r, t, point in zip(start, time, x):
        point = point[None]
        assert largest(flow.velocity(t[None], point) - path.velocity(float(t), point)) < 1e-12
        theirs = average_velocity(path, float(r), float(t), point)
        assert largest(flow.average(r[None], t[None], point) - theirs) < 1e-11 * (1 + largest(theirs))
        assert largest(flow.end(t[None], point) - consistency_function(path, float(t), point)) < 1e-12


@schedules
def test_meanflow_identity(flow):
    """u = v − (t − r)(∂_t + v·∇)u for the exact average velocity, and not for one that is 1% off."""
    start, time, x = batch(flow)
    value, target = meanflow_target(flow.average, start, time, x, flow.velocity(time, x))
    assert torch.equal(value, flow.average(start, time, x))
    assert largest(value - target) < 1e-9
    value, target = meanflow_target(lambda *at: 1.01 * flow.average(*at), start, time, x, flow.velocity(time, x))
    assert largest(value - target) > 1e-3


@schedules
def test_improved_meanflow_identity(flow):
    """V is the velocity for the exact average velocity, whose tangent it finds itself; a given tangent is taken."""
    start, time, x = batch(flow)
    assert largest(compound_velocity(flow.average, start, time, x) - flow.velocity(time, x)) < 1e-9
    other = compound_velocity(flow.average, start, time, x, torch.zeros_like(x))
    assert largest(other - flow.velocity(time, x)) > 1e-3


@schedules
def test_shortcut_identity(flow):
    """Two steps of d are one of 2d; where the finest is marked, two Euler steps along the velocity."""
    start, time, x = batch(flow)
    found = two_steps(flow.average, start, time, x)
    assert largest(found - flow.average(start, time, x)) < 1e-9
    finest = torch.arange(64) % 2 == 0
    mixed = two_steps(flow.average, start, time, x, finest)
    half = ((time - start) / 2)[:, None]
    first = flow.velocity(time, x)
    second = flow.velocity((time + start) / 2, x - half * first)
    assert largest((mixed - (first + second) / 2)[finest]) < 1e-12
    assert torch.equal(mixed[~finest], found[~finest])


@schedules
def test_consistency_identity(flow):
    """The tangent of the exact consistency function vanishes along the flow, and not along another direction."""
    _, time, x = batch(flow)
    value, tangent = consistency_tangent(flow.schedule, flow.predicting, time, x, flow.velocity(time, x))
    assert largest(value - flow.predicting(time, x)) < 1e-12
    assert largest(tangent) < 1e-9
    _, other = consistency_tangent(flow.schedule, flow.predicting, time, x, 1.01 * flow.velocity(time, x))
    assert largest(other) > 1e-3


@schedules
@pytest.mark.parametrize("warm", [0.0, 0.3, 1.0])
def test_the_tangent_is_the_weighted_derivative(flow, warm):
    """α/W df/dt by central differences along a line, of which the warm-up scales all but (α/W) A (ẋ − F)."""
    _, time, x = batch(flow, 16)
    predicted = lambda t, z: torch.sin(z) * t[:, None] + z.flip(1)  # noqa: E731
    direction = torch.cos(3 * x)
    a, s, da, ds = (flow.column(part, time) for part in ("alpha", "sigma", "d_alpha", "d_sigma"))
    w = a * ds - da * s

    def data(t, z):
        alpha, sigma, d_alpha, d_sigma = (flow.column(part, t) for part in ("alpha", "sigma", "d_alpha", "d_sigma"))
        return (d_sigma * z - sigma * predicted(t, z)) / (alpha * d_sigma - d_alpha * sigma)

    h = 1e-5
    slope = (data(time + h, x + h * direction) - data(time - h, x - h * direction)) / (2 * h)
    flat = ds / w * (direction - predicted(time, x))
    wanted = a / w * (flat + warm * (slope - flat))
    ramp = torch.full((16,), warm, dtype=torch.float64)
    for given in (warm, ramp):
        _, tangent = consistency_tangent(flow.schedule, predicted, time, x, direction, given)
        assert largest(tangent - wanted) < 1e-7 * (1 + largest(wanted))


def test_the_tangent_of_trigflow_is_the_published_one():
    """−cos²t (F − ẋ) − ρ cos t sin t (x + dF/dt), over σ_d, with dF/dt worked out by hand for F = x² sin t."""
    flow = FLOWS[2]
    _, time, x = batch(flow)
    t, direction = time[:, None], torch.cos(x)
    derivative = x**2 * torch.cos(t) + 2 * x * torch.sin(t) * direction
    value, tangent = consistency_tangent(
        flow.schedule, lambda s, z: z**2 * torch.sin(s)[:, None], time, x, direction, 0.4
    )
    wanted = -(torch.cos(t) ** 2) * (value - direction) - 0.4 * torch.cos(t) * torch.sin(t) * (x + derivative)
    assert largest(tangent - wanted / 0.5) < 1e-12


PERTURBATIONS = [
    lambda t, x: torch.ones_like(x),
    lambda t, x: x,
    lambda t, x: t[:, None] * x.square(),
    lambda t, x: x**3 - 1,
]


@schedules
@pytest.mark.parametrize("loss", [MeanFlow, ImprovedMeanFlow])
def test_the_exact_average_is_a_fixed_point_of_the_conditional_loss(flow, loss):
    """In expectation over data and noise, exactly, the gradient at the exact u is zero in every direction tried."""
    made = loss(flow.schedule)
    for t, r in ((0.9, 0.0), (0.6, 0.4), (0.5, 0.5)):
        time, x, velocity, weights = over_samples(flow, t * flow.span)
        start = torch.full_like(time, r * flow.span)
        gradients = []
        for size in (1.0, 1.1):
            for direction in PERTURBATIONS:
                theta = torch.zeros((), dtype=torch.float64, requires_grad=True)

                def average(r, t, x, size=size, direction=direction, theta=theta):
                    return size * flow.average(r, t, x) + theta * direction(t, x)

                expected = (weights * made.squares(average, start, time, x, velocity)).sum()
                (gradient,) = torch.autograd.grad(expected, theta)
                gradients.append(abs(float(gradient)))
        assert max(gradients[:4]) < 1e-9
        assert max(gradients[4:]) > 1e-3


@pytest.mark.parametrize("loss", [MeanFlow, ImprovedMeanFlow])
def test_derivatives_and_weights_carry_no_gradient(loss):
    """The gradient in θ of u = θ x (1 + t r) is 2⟨error, ∂u/∂θ⟩, the derivative along v being held; so is a weight."""
    flow = FLOWS[0]
    start, time, x = batch(flow, 8)
    theta, velocity = torch.tensor(0.7, dtype=torch.float64, requires_grad=True), torch.cos(x)
    r, t = start[:, None], time[:, None]
    squares = loss(flow.schedule).squares(lambda r, t, x: theta * x * (1 + t * r)[:, None], start, time, x, velocity)
    tangent = velocity if loss is MeanFlow else 0.7 * x * (1 + t * t)
    error = 0.7 * x * (1 + t * r) + (t - r) * 0.7 * (tangent * (1 + t * r) + x * r) - velocity
    wanted = 2 * (error * x * (1 + t * r)).sum(1)
    torch.testing.assert_close(squares.detach(), error.square().sum(1))
    for i in range(8):
        (gradient,) = torch.autograd.grad(squares[i], theta, retain_graph=True)
        assert float(gradient) == pytest.approx(float(wanted[i]), rel=1e-9)
        weighted = adaptively_weighted(squares[i], 0.5, 0.01)
        (gradient,) = torch.autograd.grad(weighted, theta, retain_graph=True)
        assert float(gradient) == pytest.approx(float(wanted[i] / (squares[i].detach() + 0.01) ** 0.5), rel=1e-9)


@schedules
def test_the_exact_function_is_a_fixed_point_of_consistency_training(flow):
    """With velocities of samples the tangent is zero on average: E φ(x)·g = 0, exactly, for every φ tried."""
    for t in (0.9, 0.5, 0.1):
        time, x, velocity, weights = over_samples(flow, t * flow.span)
        _, tangent = consistency_tangent(flow.schedule, flow.predicting, time, x, velocity)
        _, wrong = consistency_tangent(flow.schedule, lambda t, x: 1.1 * flow.predicting(t, x), time, x, velocity)
        for direction in PERTURBATIONS:
            assert abs(float((weights[:, None] * direction(time, x) * tangent).sum())) < 1e-9
        assert abs(float((weights[:, None] * x * wrong).sum())) > 1e-4


@pytest.mark.parametrize(("omega", "kappa"), [(1.0, 0.0), (2.0, 0.0), (1.5, 0.5), (1.0, 0.75)])
def test_guidance_has_the_published_fixed_point(omega, kappa):
    """With u_c = ω' v_c + (1 − ω') v_∅ and ω' = ω/(1 − κ) the guided velocity of v_c is u_c again."""
    generator = torch.Generator().manual_seed(0)
    conditional, unconditional = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    scale = omega / (1 - kappa)
    fixed = scale * conditional + (1 - scale) * unconditional
    assert largest(guided_velocity(conditional, fixed, unconditional, omega, kappa) - fixed) < 1e-12


@schedules
@pytest.mark.parametrize("parts", [[1.0, 0.0], [1.0, 0.5, 0.0], [1.0, 0.7, 0.2, 0.1, 0.0]])
def test_any_number_of_steps_is_the_exact_flow(flow, parts):
    """Steps along the exact map end where the flow does, to 1e-12, and evaluate it once each."""
    path = Path(flow.schedule, Gaussian(MEAN.numpy(), VARIANCE.numpy()))
    problem = FlowMap(
        lambda interval, x: average_velocity(path, interval[1], interval[0], x), domain=path.schedule.domain
    )
    x = np.random.default_rng(0).normal(size=(5, 3))
    ts = [flow.schedule.domain[1] * part for part in parts]
    solution = solve(problem, x, ts, Jump(), save=True)
    assert np.abs(solution.x - path.flow(ts[0], 0.0, x)).max() < 1e-12
    assert solution.nfe == len(parts) - 1
    for time, state in zip(ts, solution.xs):
        assert np.abs(state - path.flow(ts[0], time, x)).max() < 1e-12


@schedules
def test_consistency_sampling_renews_the_noise(flow):
    """Each step is α_s f(x_t, t) + σ_s ξ with the noise given, the last is f; the law stays exact for an exact f."""
    first = flow.schedule.domain[1]
    ts = [first, 0.6 * first, 0.25 * first, 0.0]
    noises = torch.randn(3, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    class Given:
        def increments(self, x):
            left = iter(noises[1:])
            return lambda t0, t1: next(left) * abs(t1 - t0) ** 0.5

    def velocity(time, x):
        return flow.predicting(torch.full((len(x),), time, dtype=torch.float64), x)

    x = float(flow.sigma(torch.tensor(first))) * noises[0]
    solution = solve(consistency_problem(flow.schedule, velocity), x, ts, ExponentialEulerMaruyama(), rng=Given())
    assert solution.nfe == 3
    for time, stop, noise in zip(ts, ts[1:], [*noises[1:], None]):
        both = torch.full((6,), time, dtype=torch.float64), torch.full((6,), stop, dtype=torch.float64)
        x = flow.end(both[0], x)
        if noise is not None:
            x = flow.column("alpha", both[1]) * x + flow.column("sigma", both[1]) * noise
    assert largest(solution.x - x) < 1e-10


def test_a_jump_along_a_velocity_is_eulers():
    """Where the average is the velocity at t, whatever r, the method is Euler's, of order one."""
    path = Path(Linear(), Gaussian([0.5], 0.25))
    errors = []
    for n in (64, 128):
        ts, x = np.linspace(1, 0, n + 1), np.ones((1, 1))
        found = solve(FlowMap(lambda interval, x: path.velocity(interval[0], x)), x, ts, Jump()).x
        for t0, t1 in pairwise(ts):
            x = x + (t1 - t0) * path.velocity(t0, x)
        assert np.array_equal(found, x)
        errors.append(abs(float(x[0, 0] - path.flow(1.0, 0.0, np.ones((1, 1)))[0, 0])))
    assert errors[0] / errors[1] == pytest.approx(2.0, abs=0.05)

"""The parts of the meter: its problems, its fit, its law, and options as text."""

import inspect
import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from solver_methods import DENOISING, DETERMINISTIC, STOCHASTIC, name

from solvers import DDIM, EulerMaruyama, Preconditioned
from solvers.order import choices, find, measure_order
from solvers.order.adapters.options import typed
from solvers.order.adapters.ours import Ours
from solvers.order.draws import basis
from solvers.order.fitting import fit
from solvers.order.law import law
from solvers.order.levels import FIRST, LAST, LINEAR, Level, grid
from solvers.order.trials import Gaussians, Manufactured, Mixture, Model

STEPS = (8, 16, 32, 64, 128, 256)
UNIT = 4.4e-16


def integrated(trial, start, stop):
    """scipy's solution of d(x/α)/dλ = x̂ − x/α, from the exact state of the trial at the start."""
    first = trial.exact(Level(math.exp(start), 1.0))

    def field(value, y):
        ratio = math.exp(value)
        return (trial.predict(1.0, 1.0 / ratio, y.reshape(first.shape)).data - y.reshape(first.shape)).ravel()

    found = solve_ivp(field, (start, stop), (first / math.exp(start)).ravel(), method="DOP853", rtol=1e-13, atol=1e-14)
    return found.y[:, -1].reshape(first.shape)


@pytest.mark.parametrize("trial", [Manufactured(), Mixture()], ids=lambda trial: trial.name)
def test_exact_states_solve_the_flow(trial):
    """Against scipy on the equation of x/α in λ, which neither trial uses, to 1e-12."""
    exact = trial.exact(Level(1.0, math.exp(-LAST)))
    assert abs(exact - integrated(trial, FIRST, LAST)).max() < 1e-12


@pytest.mark.parametrize("trial", [Manufactured(), Mixture(), Gaussians()], ids=lambda trial: trial.name)
def test_predictions_add_up_to_the_state(trial):
    """α x̂ + σ ε̂ = x, and x̂ does not depend on the scale of the schedule."""
    x = np.array([[0.3, -1.2]] * 3) if trial.name != "gaussians" else np.array([[0.3, -1.2, 0.5, 2.0]])
    data, noise = trial.predict(0.7, 0.4, x)
    assert abs(0.7 * data + 0.4 * noise - x).max() < 1e-15 * 8
    assert abs(trial.predict(1.0, 0.4 / 0.7, x / 0.7).data - data).max() < 1e-15 * 8


def test_the_posterior_mean_of_the_mixture_is_that_of_quadrature():
    """x̂ = ∫ y p(y) N(x; αy, σ²) dy over the same with y left out, by sums on a grid of the plane."""
    trial, alpha, sigma, x = Mixture(), 0.6, 0.5, np.array([[0.4, -0.7]])
    axis = np.linspace(-7.0, 7.0, 701)
    y = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1)
    density = sum(
        weight * np.exp(-((y - mean) ** 2).sum(-1) / (2 * c)) / c
        for weight, mean, c in zip(trial._weights, trial._means, trial._variances)
    )
    joint = density * np.exp(-((x[0] - alpha * y) ** 2).sum(-1) / (2 * sigma**2))
    mean = (joint[..., None] * y).sum((0, 1)) / joint.sum()
    assert abs(trial.predict(alpha, sigma, x).data[0] - mean).max() < 1e-10


def test_interior_grids():
    """n steps from σ/α = e^1.4 to e^−1.4, three times as long at the end as at the start; more go on beyond."""
    assert (len(grid(16)), grid(16)[0], grid(16)[-1]) == (17, FIRST, LAST)
    lengths = np.diff(grid(400))
    assert abs(lengths[-1] / lengths[0] - 3) < 0.02
    assert np.allclose(np.diff(grid(16, equal=True)), (LAST - FIRST) / 16, rtol=1e-12)
    assert grid(16, beyond=2)[:17] == grid(16)
    times = LINEAR.interior(16, equal=True)
    assert np.allclose(np.diff(times), (times[-1] - times[0]) / 16, rtol=1e-12)
    assert math.isclose(LINEAR.log_ratio(times[0]), FIRST)


@pytest.mark.parametrize("order", [1, 2, 3, 5, 8])
def test_fit_finds_the_slope_above_rounding(order):
    """error = h^p + 1e-14: the levels at the floor are left out, the floor is reported."""
    rng = np.random.default_rng(order)
    errors = [(1 / n) ** order * (1 + 0.5 / n) + 1e-14 * rng.uniform(0.5, 1.5) for n in STEPS]
    found = fit(STEPS, errors, UNIT)
    assert abs(found.order - order) < 0.06 * order
    assert (found.floor is None) is (order <= 5 and (1 / 256) ** order > 1e-13)
    if found.floor is not None:
        assert 0.4e-14 < found.floor < 1e-12


def test_fit_knows_the_rounding_of_single_precision_inside():
    """Errors of float64 states that stop at 1e-6 stop by rounding; those that stop at 1e-2 do not converge."""
    steps = (*STEPS, 512, 1024)
    found = fit(steps, [(2 / n) ** 3 + 1e-6 for n in steps], UNIT)
    assert abs(found.floor - 1e-6) < 1e-7
    assert abs(found.order - 3) < 0.1
    found = fit(steps, [(2 / n) ** 3 + 1e-2 for n in steps], UNIT)
    assert found.floor is None
    assert found.order < 0.1


def test_fit_leaves_out_coarse_steps():
    """A term of first order that is small at coarse steps decides in the end; while slopes move they are no order."""
    errors = [(4 / n) ** 3 + 0.01 / n for n in STEPS]
    found = fit(STEPS, errors, UNIT)
    assert not found.settled
    many = tuple(8 * 2**k for k in range(12))
    found = fit(many, [(4 / n) ** 3 + 0.01 / n for n in many], UNIT)
    assert found.settled
    assert abs(found.order - 1) < 0.05


def test_fit_without_enough_levels():
    """No finite errors: no order and no floor. Zeros: no order, but a floor, for that is exact."""
    assert math.isnan(fit(STEPS, [math.nan] * 6, UNIT).order)
    assert fit(STEPS, [math.nan] * 6, UNIT).floor is None
    assert fit(STEPS, [0.0] * 6, UNIT).floor == 0.0


def test_draws_on_one_path_are_correlated_as_brownian_motion():
    """Increments over [0, 2], [0, 1], [1, 2], scaled to variance 1, and a normal of its own."""
    shares = basis([(0.0, 2.0), (0.0, 1.0), None, (1.0, 2.0)])
    half = math.sqrt(0.5)
    wanted = [[1, half, 0, half], [half, 1, 0, 0], [0, 0, 1, 0], [half, 0, 0, 1]]
    assert abs(shares @ shares.T - np.array(wanted)).max() < 1e-15


def test_the_law_of_ddim_is_the_product_of_cosines():
    """DDIM on N(m, c): the ratio of deviations is Π cos(φ_k − φ_{k+1}), tan φ = σ/(α√c), and the mean is exact."""
    found = law(Ours(DDIM()).interior(16), np.float64)
    ratios = [math.exp(-value) for value in grid(16)]
    variances = []
    for c in Gaussians.variances:
        angles = [math.atan(ratio / math.sqrt(c)) for ratio in ratios]
        variances.append(math.prod(math.cos(a - b) for a, b in pairwise(angles)) ** 2 - 1.0)
    assert math.isclose(found.variance, max(map(abs, variances)), rel_tol=1e-10)
    assert found.mean < 1e-14
    assert not found.noise
    assert found.evaluations == 16


def test_the_law_of_euler_maruyama_is_its_recursion():
    """V⁺ = (1 − h a)² V + h w with a = ρ̇/ρ + w/2ρ², ρ² = α²c + σ², w = σ = t."""
    found = law(Ours(EulerMaruyama()).interior(16), np.float64)
    times = [LINEAR.time(value) for value in grid(16)]
    relative = []
    for c in Gaussians.variances:
        spread = [(1 - t) ** 2 * c + t * t for t in times]
        variance = spread[0]
        for t, s, rho in zip(times, times[1:], spread):
            h, a = t - s, (t - (1 - t) * c) / rho + t / (2 * rho)
            variance = (1 - h * a) ** 2 * variance + h * t
        relative.append(variance / spread[-1] - 1)
    assert math.isclose(found.variance, max(map(abs, relative)), rel_tol=1e-10)
    assert found.noise
    assert found.affine


def test_the_law_knows_what_is_not_affine():
    """A sampler that clips."""
    drive = Ours(DDIM()).interior(8)
    clipped = type(drive)(drive.start, drive.stop, lambda model, x, draws: np.clip(drive.run(model, x, draws), -1, 1))
    assert not law(clipped, np.float64).affine


def test_the_model_counts_and_keeps_the_dtype():
    """One call is one evaluation, whatever is used of it."""
    model = Model(Mixture())
    assert model(0.5, 0.5, np.zeros((2, 2), dtype=np.float32)).data.dtype == np.float32
    assert model.evaluations == 1


@pytest.mark.slow
@pytest.mark.parametrize("method", [*DETERMINISTIC, *STOCHASTIC, *DENOISING], ids=name)
def test_every_label_of_this_library_holds(method):
    """The measured order of every method is that on its label."""
    report = measure_order(method)
    # Order 0 says that a bias stays: on the way to it the error may grow.
    gap = report.observed - report.claimed if report.claimed else max(report.observed, 0.0)
    assert abs(gap) < max(0.2, 0.05 * report.claimed), report.table()
    assert report.ok or not report.claimed
    evaluates_at_end = isinstance(method, Preconditioned) and report.endpoint.refused
    assert report.endpoint.finite or evaluates_at_end
    assert report.marginal.affine


TAKES = inspect.signature(lambda order=2, eta=1.0, karras=False, kind="bh1", free=None: None).parameters


def test_options_have_the_type_of_the_default():
    """Numbers, truth values and words; anything where the default is None."""
    given = typed(["order=3", "eta=1", "karras=true", "kind=bh2", "free=[1, 2]"], TAKES, "it")
    assert given == {"order": 3, "eta": 1, "karras": True, "kind": "bh2", "free": [1, 2]}


@pytest.mark.parametrize(
    ("option", "error", "words"),
    [
        ("order", ValueError, "key=value"),
        ("oder=3", ValueError, "did you mean 'order'"),
        ("order=three", TypeError, "order: int"),
        ("order=true", TypeError, "order: int"),
        ("order=2.5", TypeError, "order: int"),
        ("karras=1", TypeError, "karras: bool"),
        ("eta=much", TypeError, "eta: float"),
    ],
)
def test_options_that_do_not_fit_are_refused(option, error, words):
    """An unknown name lists the names, a value of another type names the type."""
    with pytest.raises(error, match=r"expected .*; remedy: ") as raised:
        typed([option], TAKES, "it")
    assert words in str(raised.value)
    with pytest.raises(ValueError, match="once"):
        typed(["order=1", "order=2"], TAKES, "it")


def test_samplers_are_found_by_name():
    """Every method of this library can be named; an unknown source, name or option lists what there is."""
    assert {"Heun", "DPMSolverPP", "UniPC"} <= set(choices()["solvers"])
    assert find("solvers:UniPC", ["order=3", "corrector=false"]).claimed == 3.0
    for wrong, words in [("Heun", "source:name"), ("diffuser:DDIM", "diffusers"), ("solvers:Huen", "did you mean")]:
        with pytest.raises(ValueError, match=words):
            find(wrong)

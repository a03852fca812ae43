"""Which arrays a coefficient takes and gives, its gradients, its errors, and the inverse of the log-SNR."""

import mpmath
import numpy as np
import pytest
import sympy
import torch
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf

from interpolants import GVP, VP, Linear, Schedule, t
from interpolants.coefficient import coefficient
from solvers import PoleError
from tests.support.precision import DPS, value
from tests.support.strategies import interior, law, many
from tests.support.zoo import BUILT_INS, CASES

every_case = pytest.mark.parametrize("case", CASES, ids=repr)
built_in = pytest.mark.parametrize("case", BUILT_INS, ids=repr)


@every_case
def test_sympy_in_sympy_out(case):
    """A sympy argument gives the sympy expression, also at a rational time and in another symbol."""
    u, schedule = sympy.Symbol("u", positive=True), case.schedule
    assert schedule.alpha(t) == schedule.expressions["alpha"]
    assert schedule.d_sigma(u) == sympy.diff(schedule.expressions["sigma"].subs(t, u), u)
    exact = sympy.N(schedule.sigma(sympy.Rational(1, 3)), 40)
    with mpmath.workdps(60):
        assert abs(mpf(str(exact)) - case.sigma(mpf(1) / 3)) < mpf(10) ** -35


@every_case
@pytest.mark.parametrize("name", ["alpha", "sigma", "d_alpha", "d_sigma"])
def test_arrays_keep_library_dtype_and_shape(case, name):
    """numpy and torch, float32 and float64, come back as they went in, of any shape, empty and 0-d included."""
    method = getattr(case.schedule, name)
    for shape in ((), (0,), (5,), (2, 3)):
        for dtype in (np.float32, np.float64):
            array = np.full(shape, 0.25, dtype)
            assert method(array).dtype == dtype
            assert method(array).shape == shape
            tensor = method(torch.from_numpy(array))
            assert isinstance(tensor, torch.Tensor)
            assert (tensor.dtype, tuple(tensor.shape)) == (torch.from_numpy(array).dtype, shape)
    assert type(method(0.25)) is float


@pytest.mark.covering(7)
@every_case
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(case, dtype):
    """A half-precision time gives the float32 result of the same number, never a half-precision one."""
    tensor = torch.tensor([0.0, 0.3, 0.9, 1.0], dtype=dtype)
    for method in (case.schedule.alpha, case.schedule.sigma, case.schedule.log_snr):
        assert method(tensor).dtype == torch.float32
        assert torch.equal(method(tensor), method(tensor.float()))
    half = np.array([0.0, 0.3, 1.0], np.float16)
    assert case.schedule.sigma(half).dtype == np.float32
    np.testing.assert_array_equal(case.schedule.sigma(half), case.schedule.sigma(half.astype(np.float32)))


@every_case
def test_integer_arrays_are_times(case):
    """The integers 0 and 1 are the ends, in numpy, torch and plain Python."""
    alpha, sigma = (float(value(f, 1.0)) for f in (case.alpha, case.sigma))
    for ends in (np.array([0, 1]), torch.tensor([0, 1])):
        np.testing.assert_allclose(np.asarray(case.schedule.alpha(ends)), [1.0, alpha], rtol=2e-6)
        np.testing.assert_allclose(np.asarray(case.schedule.sigma(ends)), [0.0, sigma], rtol=2e-6)
    assert case.schedule.sigma(0) == 0.0


@every_case
@pytest.mark.parametrize("name", ["alpha", "sigma"])
def test_torch_gradients(case, name):
    """autograd of α, σ is α̇, σ̇ inside, and finite at an end (never NaN) where the derivative is finite there."""
    slope = {"alpha": case.d_alpha, "sigma": case.d_sigma}[name]
    limits = {end: value(slope, end) for end in (0.0, 1.0)}
    finite_ends = [end for end, limit in limits.items() if not mpmath.isinf(limit)]
    points = [1e-8, 1e-3, 0.02, 0.3, 0.5, 0.77, 0.999, 1 - 1e-9, *finite_ends]
    tensor = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(getattr(case.schedule, name)(tensor).sum(), tensor)
    exact = [float(value(slope, point)) for point in points]
    np.testing.assert_allclose(gradient.numpy(), exact, rtol=1e-9, atol=1e-14)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@every_case
def test_torch_transforms(case):
    """torch.func.vmap, jvp and grad work through the generated code, and gradcheck passes inside."""
    schedule, points = case.schedule, torch.tensor([0.1, 0.4, 0.8], dtype=torch.float64)
    assert torch.equal(torch.func.vmap(schedule.sigma)(points), schedule.sigma(points))
    _, tangent = torch.func.jvp(schedule.alpha, (points,), (torch.ones_like(points),))
    torch.testing.assert_close(tangent, schedule.d_alpha(points), rtol=1e-12, atol=1e-14)
    slopes = torch.func.vmap(torch.func.grad(schedule.sigma))(points)
    torch.testing.assert_close(slopes, schedule.d_sigma(points), rtol=1e-12, atol=1e-14)
    assert torch.autograd.gradcheck(schedule.log_snr, (points.clone().requires_grad_(),))


@pytest.mark.parametrize("time", [-1e-300, -0.1, 1.0 + 2**-52, 2.0, float("nan"), float("inf")])
def test_times_outside_are_refused(time):
    """A number or a numpy array outside [0, 1], NaN included, is a ValueError in three parts."""
    for argument in (time, np.array([0.5, time])):
        with pytest.raises(ValueError, match=r"expected t in \[0, 1\] for alpha of gvp; received .*; remedy: "):
            GVP().alpha(argument)


@pytest.mark.parametrize("argument", ["0.5", None, 1j, [0.5], object()])
def test_what_is_no_time(argument):
    """Anything but a number, an array or sympy is a TypeError in three parts."""
    with pytest.raises(TypeError, match=r"expected a number or an array; received .*; remedy: "):
        Linear().alpha(argument)


def test_pole_error_names_the_quantity():
    """A host number at a pole is a PoleError (a ValueError) that names the quantity and the time."""
    with pytest.raises(PoleError, match="log_snr of linear is finite; received t = 1; remedy: ") as error:
        Linear().log_snr(1.0)
    assert isinstance(error.value, ValueError)
    with pytest.raises(PoleError, match="d_sigma of vp"):
        VP().d_sigma(0.0)


def test_equal_schedules_share_compiled_code():
    """Two schedules with the same expressions use one lowered form and one coefficient."""
    first, second = Schedule("one", 1 - t**2, t**2), Schedule("one", 1 - t**2, t**2)
    assert first.quantity("alpha") is second.quantity("alpha")
    assert first.quantity("kappa").lowered is Schedule("two", 1 - t**2, t**2).quantity("kappa").lowered
    assert coefficient(1 - t, "a") is coefficient(1 - t, "a")


def bisected(case, target):
    """Return the time at which the oracle's log-SNR has a value, by bisection at 60 digits in log t or log(1 − t)."""

    def log_snr(s):
        return 2 * mpmath.log(case.alpha(s) / case.sigma(s))

    with mpmath.workdps(DPS):
        low, high = mpf(10) ** -60, 1 - mpf(10) ** -60
        for _ in range(260):
            split = mpmath.sqrt(low * high) if high < mpf("0.5") else (low + high) / 2
            low, high = (split, high) if log_snr(split) > mpf(target) else (low, split)
        return low


@pytest.mark.covering(8)
@every_case
@given(targets=many(st.floats(-8.0, 40.0), 6))
@law(3)
def test_time_of_log_snr(case, targets):
    """The inverse is within 32 ulp of 60-digit bisection, for numbers, numpy and torch alike."""
    exact = [float(bisected(case, target)) for target in targets]
    kept = [(target, time) for target, time in zip(targets, exact) if time < 0.9999] or [(40.0, exact[0])]
    exact = [float(bisected(case, target)) for target, _ in kept]
    targets = [target for target, _ in kept]
    tolerance = 40 * 2.0**-52 * (1 + np.abs(targets))
    by_numpy = case.schedule.time_of_log_snr(np.array(targets))
    by_torch = case.schedule.time_of_log_snr(torch.tensor(targets, dtype=torch.float64)).numpy()
    by_number = [case.schedule.time_of_log_snr(target) for target in targets]
    for found in (by_numpy, by_torch, by_number):
        assert (np.abs(np.asarray(found) / exact - 1) <= tolerance).all(), (targets, found, exact)


@pytest.mark.covering(3)
@every_case
@given(times=many(interior, 8))
@law(4)
def test_time_of_log_snr_inverts(case, times):
    """time_of_log_snr(log_snr(t)) is t to what a rounding of the log-SNR moves it."""
    times = np.array(times)
    found = case.schedule.time_of_log_snr(case.schedule.log_snr(times))
    np.testing.assert_allclose(found, times, rtol=1e-12)


@pytest.mark.covering(3)
@every_case
def test_gradient_of_the_inverse(case):
    """torch's gradient of the inverse is 1 / (d log-SNR / dt) = −σ²/2κ at that time."""
    targets = torch.tensor([0.6, 3.0, 9.0], dtype=torch.float64, requires_grad=True)
    times = case.schedule.time_of_log_snr(targets)
    (gradient,) = torch.autograd.grad(times.sum(), targets)
    for target, found in zip(targets.tolist(), gradient.tolist(), strict=True):
        with mpmath.workdps(50):
            s = bisected(case, target)
            slope = 2 * (case.d_alpha(s) / case.alpha(s) - case.d_sigma(s) / case.sigma(s))
        assert abs(found * float(slope) - 1) < 1e-9


@pytest.mark.covering(3)
@pytest.mark.parametrize(("case", "target"), [(case, x) for case in CASES for x in (-1e5, -np.inf, 1e5, np.inf)])
def test_log_snr_beyond_the_range(case, target):
    """Beyond the range of the log-SNR the time is that of the nearer end: 1 below, 0 (or the smallest number) above."""
    end = 1.0 if target < 0 else 0.0
    for found in (case.schedule.time_of_log_snr(target), case.schedule.time_of_log_snr(np.array([target]))[0]):
        assert abs(found - end) <= 1e-300

"""The modules that schedule.source writes: they stand alone and are right where it matters."""

import subprocess
import sys

import mpmath
import numpy as np
import pytest

from interpolants import GVP, VP, Linear, Schedule, t
from interpolants.modules import BACKENDS
from interpolants.schedules import TrigFlow

TIMES = [1e-6, 0.1, 0.5, 0.9, 1 - 2.0**-20]
SCHEDULES = [Linear(), GVP(), VP(), TrigFlow(), Schedule("quadratic", 1 - t**2, t**2)]

RUN = """
import sys
class Nobody:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("interpolants", "solvers", "backbone", "sympy"):
            raise ImportError(name + " is out of reach here")
sys.meta_path.insert(0, Nobody())
source, backend, times = sys.argv[1], sys.argv[2], eval(sys.argv[3])
space = {}
exec(open(source).read(), space)
if backend == "numba":
    call = lambda f: [f(x) for x in times]
elif backend == "torch":
    import torch
    call = lambda f: f(torch.tensor(times, dtype=torch.float64)).tolist()
elif backend == "jax":
    import jax
    jax.config.update("jax_enable_x64", True)
    call = lambda f: jax.jit(f)(jax.numpy.asarray(times, dtype="float64")).tolist()
else:
    import numpy
    call = lambda f: f(numpy.asarray(times)).tolist()
names = ["alpha", "sigma", "d_alpha", "d_sigma", "ratio", "log_snr", "wronskian", "lambda_", "kappa"]
print({name: call(space[name]) for name in names})
"""


def exact(schedule, name, time):
    """60 digits by mpmath from α and σ alone, derivatives numerically."""
    alpha, sigma = (mpmath_function(schedule, what) for what in ("alpha", "sigma"))
    d_alpha, d_sigma = (lambda x, f=f: mpmath.diff(f, x, h=mpmath.mpf(10) ** -25) for f in (alpha, sigma))
    w = alpha(time) * d_sigma(time) - d_alpha(time) * sigma(time)
    return {
        "alpha": lambda: alpha(time),
        "sigma": lambda: sigma(time),
        "d_alpha": lambda: d_alpha(time),
        "d_sigma": lambda: d_sigma(time),
        "log_snr": lambda: 2 * mpmath.log(alpha(time) / sigma(time)),
        "ratio": lambda: sigma(time) / alpha(time),
        "wronskian": lambda: w,
        "lambda_": lambda: w / alpha(time),
        "kappa": lambda: sigma(time) * w / alpha(time),
    }[name]()


def mpmath_function(schedule, what):
    closed = {
        "linear": {"alpha": lambda x: 1 - x, "sigma": lambda x: x},
        "gvp": {"alpha": lambda x: mpmath.cos(mpmath.pi * x / 2), "sigma": lambda x: mpmath.sin(mpmath.pi * x / 2)},
        "vp": {
            "alpha": lambda x: mpmath.exp(-(x / 10 + mpmath.mpf("9.95") * x**2) / 2),
            "sigma": lambda x: mpmath.sqrt(-mpmath.expm1(-(x / 10 + mpmath.mpf("9.95") * x**2))),
        },
        "trigflow": {"alpha": mpmath.cos, "sigma": lambda x: mpmath.sin(x) / 2},
        "quadratic": {"alpha": lambda x: 1 - x**2, "sigma": lambda x: x**2},
    }
    return closed[schedule.name][what]


@pytest.mark.covering(19)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.name)
def test_the_module_stands_alone_and_is_right(schedule, backend, tmp_path):
    """In a process without this library and sympy, every function agrees with mpmath to 1e-14 relative."""
    pytest.importorskip(backend)
    file = tmp_path / "schedule.py"
    file.write_text(schedule.source(backend))
    arguments = [sys.executable, "-c", RUN, str(file), backend, repr(TIMES)]
    run = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    with mpmath.workdps(60):
        for name, values in eval(run.stdout).items():
            for time, value in zip(TIMES, values, strict=True):
                truth = exact(schedule, name, mpmath.mpf(time))
                assert abs(value - truth) <= 1e-14 * max(abs(truth), 1 if name == "log_snr" else 0), (name, time)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.name)
def test_torch_module_compiles_differentiates_and_maps(schedule):
    """torch.compile(fullgraph=True) takes the functions; jvp and grad are the derivatives, also through vmap."""
    torch = pytest.importorskip("torch")
    space = {}
    exec(schedule.source("torch"), space)
    times = torch.tensor(TIMES, dtype=torch.float64)
    compiled = torch.compile(lambda x: (space["alpha"](x), space["kappa"](x)), fullgraph=True, backend="eager")
    assert torch.equal(compiled(times)[0], space["alpha"](times))
    for name in ("alpha", "sigma"):
        _, forward = torch.func.jvp(space[name], (times,), (torch.ones_like(times),))
        backward = torch.func.vmap(torch.func.grad(space[name]))(times)
        expected = space[f"d_{name}"](times)
        assert torch.allclose(forward, expected, rtol=1e-9)
        assert torch.allclose(backward, expected, rtol=1e-9)


def test_jax_module_jits_and_differentiates():
    """jax.jit and jax.grad go through the module."""
    jax = pytest.importorskip("jax")
    space = {}
    exec(VP().source("jax"), space)
    times = jax.numpy.asarray([0.1, 0.5, 0.9])
    slopes = jax.jit(jax.vmap(jax.grad(space["sigma"])))(times)
    assert np.allclose(slopes, space["d_sigma"](times), rtol=1e-4)


def test_unknown_backend_lists_the_choices():
    """A backend that does not exist is answered with those that do."""
    with pytest.raises(ValueError, match=r"numpy, torch, jax, numba.*did you mean 'torch'"):
        Linear().source("troch")

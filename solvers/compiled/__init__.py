r"""Ensembles of small problems, solved by numba in one compiled loop.

Each row of x is a sample, and a drift is written for one sample; what it computes goes into ``out``:

>>> import numpy as np
>>> from solvers import RK4, Adaptive, Dopri5, uniform
>>> from solvers.compiled import CompiledODE, solve_ensemble
>>> def pendulum(time, x, out, parameters):
...     out[0] = x[1]
...     out[1] = -parameters * np.sin(x[0])
>>> ode = CompiledODE(pendulum)
>>> x = np.random.default_rng(0).standard_normal((1000, 2))
>>> solution = solve_ensemble(ode, x, uniform(100, 0.0, 1.0), RK4(), parameters=2.0)
>>> own = Adaptive(Dopri5(), rtol=1e-8, atol=1e-8, per_sample=True)
>>> adaptive = solve_ensemble(ode, x, [0.0, 1.0], own, parameters=2.0)
>>> adaptive.status, bool(abs(solution.x - adaptive.x).max() < 1e-6)
('success', True)

A :class:`CompiledSDE` has noise as well, whose numbers depend on the seed, the row and the step alone:

>>> from solvers import EulerMaruyama
>>> from solvers.compiled import CompiledSDE, RowNoise
>>> def decay(time, x, out, parameters):
...     for r in range(x.size):
...         out[r] = -x[r]
>>> sde, grid = CompiledSDE(decay, lambda time: 1.0), uniform(50, 0.0, 4.0)
>>> noisy = solve_ensemble(sde, x, grid, EulerMaruyama(), rng=RowNoise(seed=0))
>>> bool(0.4 < noisy.x.var() < 0.6)
True

The first solve with a drift compiles it, which takes about a second. Needs the extra ``numba``; importing
:mod:`solvers` does not import this module.
"""

from solvers.compiled.problem import CompiledODE, CompiledSDE
from solvers.compiled.row_noise import RowNoise
from solvers.compiled.run import solve_ensemble
from solvers.compiled.solution import EnsembleSolution

__all__ = ["CompiledODE", "CompiledSDE", "EnsembleSolution", "RowNoise", "solve_ensemble"]

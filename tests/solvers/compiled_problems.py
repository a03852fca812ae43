"""What the tests of compiled ensembles share: one drift with several fields, so that little has to be compiled."""

import math

import numpy as np

from solvers.compiled import CompiledODE

WAVE, CLOSED, NARROW, CLOCK, FORGETFUL = 0.0, 1.0, 2.0, 3.0, 4.0
"""Which field: that of ``adaptive_problems``; two equations with a closed form; a front as narrow as x[1]; nanoseconds
after 1; one that writes out[0] alone."""


def field(time, x, out, parameters):
    """Write the field that parameters[0] names; from time parameters[1] on it is NaN."""
    if parameters[0] == 0.0:
        size = x[0] ** 2 + x[1] ** 2
        c = math.cos(3.0 * time)
        out[0] = -(1.0 + size) * x[1] + c * x[0] / (1.0 + size)
        out[1] = (1.0 + size) * x[0] + c * x[1] / (1.0 + size)
    elif parameters[0] == 1.0:
        out[0] = -2.0 * time * x[0] ** 2
        out[1] = math.exp(time) * x[1] * (1.0 - x[1])
    elif parameters[0] == 2.0:
        u = (time - 0.5) / x[1]
        out[0] = 1.0 / (x[1] * (1.0 + u * u))
        out[1] = 0.0
    elif parameters[0] == 3.0:
        out[0] = 1e9 * ((time - 1.0) * 1e9)
        out[1] = 0.0
    else:
        out[0] = 1.0
    if time >= parameters[1]:
        out[0] = math.nan


ODES = CompiledODE(field)


def given(kind=WAVE, until=math.inf):
    """Return the parameters of a field that is finite before the time ``until``."""
    return np.array([kind, until])


def closed(x, start, stop):
    """Return the exact solution of CLOSED: of x' = -2tx² and of y' = eᵗy(1 - y)."""
    growth = math.exp(math.exp(stop) - math.exp(start))
    first = 1.0 / (1.0 / x[:, 0] + stop**2 - start**2)
    return np.stack([first, x[:, 1] * growth / (1.0 - x[:, 1] + x[:, 1] * growth)], axis=1)


def fronts(widths):
    """Return one row for each width of a front, which starts at 0."""
    return np.stack([np.zeros(len(widths)), np.asarray(widths)], axis=1)


def passed(widths, start, stop):
    """Return by how much a front of each width rises between two times: the integral of a Lorentz curve."""
    widths = np.asarray(widths)
    return np.arctan((stop - 0.5) / widths) - np.arctan((start - 0.5) / widths)

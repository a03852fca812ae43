"""The tableaus satisfy the conditions of order in exact arithmetic, and are those that others use."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.integrate._ivp import dop853_coefficients, rk
from solver_methods import ADAPTABLE, TABLEAUS, name

import solvers
from solvers.runge_kutta.tableau import hermite, multiply, terms
from tests.support.trees import Weights, density, residuals, trees

# Fractions are exact; Tsitouras' coefficients have 16 digits, Hairer's 30, and conditions sum products of up to 8.
ALLOWED = {"Tsit5": 2e-14, "DOP853": 1e-25}

each_method = pytest.mark.parametrize("method", TABLEAUS, ids=name)
each_pair = pytest.mark.parametrize("method", ADAPTABLE, ids=name)


def rows(tableau, slopes=None):
    """Return the rows of all slopes: stages, end of the step, those of dense output."""
    return [(), *tableau.a, tableau.b, *tableau.extra][:slopes]


def worst(numbers):
    return max(abs(float(number)) for number in numbers)


def test_the_trees_are_all_there():
    """There are 1, 1, 2, 4, 9, 20, 48, 115 rooted trees, and the densities of a chain and a bush are n! and n."""
    assert [len(trees(order)) for order in range(1, 9)] == [1, 1, 2, 4, 9, 20, 48, 115]
    assert density(((((),),),)) == 24
    assert density(((), (), (), ())) == 5


@each_method
def test_conditions_of_order(method):
    """Every rooted tree up to the stated order has its condition satisfied, and one of the next order has not."""
    tableau = method.tableau
    for order in range(1, method.order + 1):
        found = worst(residuals(rows(tableau, len(tableau.b)), tableau.b, order))
        assert found <= ALLOWED.get(name(method), 0.0), order
    assert worst(residuals(rows(tableau, len(tableau.b)), tableau.b, method.order + 1)) > 1e-6


@each_method
def test_nodes_are_sums_of_rows(method):
    """c_i = Σ_j a_ij, exactly where the tableau is made of fractions, and the methods' floats are the nearest."""
    tableau = method.tableau
    for node, row in zip((*tableau.c, Fraction(1), *tableau.extra_c), rows(tableau)):
        assert abs(float(sum(row, Fraction(0)) - node)) <= ALLOWED.get(name(method), 0.0) / 10
    assert method.nodes == tuple(float(node) for node in tableau.c)
    assert method.nodes[0] == 0.0


@pytest.mark.parametrize("method", [m for m in ADAPTABLE if name(m) != "DOP853"], ids=name)
def test_embedded_order(method):
    """b minus the estimate is a formula of the stated lower order and no more."""
    tableau = method.tableau
    (error,) = tableau.errors
    embedded = [b - e for b, e in zip((*tableau.b, Fraction(0)), error)]
    slopes = rows(tableau, len(embedded))
    for order in range(1, tableau.error_order + 1):
        assert worst(residuals(slopes, embedded, order)) <= ALLOWED.get(name(method), 0.0), order
    assert worst(residuals(slopes, embedded, tableau.error_order + 1)) > 1e-6


def test_the_estimates_of_dop853():
    """Both estimates vanish for all trees up to order 5 and 3, not beyond: h⁶ and h⁴ make h⁸ of 2·6 − 4."""
    tableau = solvers.DOP853.tableau
    phi = Weights(rows(tableau, 13))
    for error, order in zip(tableau.errors, (5, 3)):
        sums = {
            vertices: worst(sum(e * value for e, value in zip(error, phi(tree))) for tree in trees(vertices))
            for vertices in range(1, order + 2)
        }
        assert max(sums[vertices] for vertices in range(1, order + 1)) < 1e-24
        assert sums[order + 1] > 1e-6
    assert tableau.error_order + 1 == 2 * 6 - 4


@each_pair
def test_order_of_dense_output(method):
    """Σ b_i(θ) Φ_i = θ^|τ|/γ as polynomials in θ for every tree up to the stated order, which is the degree."""
    tableau = method.tableau
    phi = Weights(rows(tableau))

    def misfit(order):
        values = []
        for tree in trees(order):
            sums = [sum(c * value for c, value in zip(column, phi(tree))) for column in zip(*tableau.dense)]
            sums[order - 1] -= Fraction(1, density(tree))
            values.append(worst(sums))
        return max(values)

    for order in range(1, tableau.dense_order + 1):
        assert misfit(order) <= 20 * ALLOWED.get(name(method), 0.0), order
    assert {len(polynomial) for polynomial in tableau.dense} == {tableau.dense_order}


@each_pair
def test_dense_output_joins_smoothly(method):
    """At θ = 0 and 1 the interpolation has the states and the slopes of the step."""
    tableau = method.tableau
    allowed = ALLOWED.get(name(method), 0.0)
    b = (*tableau.b, *[Fraction(0)] * (len(tableau.dense) - len(tableau.b)))
    for index, (polynomial, weight) in enumerate(zip(tableau.dense, b)):
        assert abs(float(sum(polynomial) - weight)) <= allowed
        assert abs(float(polynomial[0] - (index == 0))) <= allowed
        slope = sum(power * coefficient for power, coefficient in enumerate(polynomial, start=1))
        assert abs(float(slope - (index == len(tableau.b)))) <= 10 * allowed


@pytest.mark.parametrize(
    ("method", "theirs"), [(solvers.Bosh3(), rk.RK23), (solvers.Dopri5(), rk.RK45)], ids=["3", "5"]
)
def test_the_pairs_are_those_of_scipy(method, theirs):
    """Stages, weights, estimates and dense output are those of scipy's RK23 and RK45, to the last bit."""
    tableau, size = method.tableau, len(method.tableau.b)
    for index, row in enumerate(tableau.a, start=1):
        np.testing.assert_array_equal(theirs.A[index, :index], np.array(row, dtype=float))
    np.testing.assert_array_equal(theirs.B, np.array(tableau.b, dtype=float))
    np.testing.assert_array_equal(theirs.C[:size], method.nodes)
    np.testing.assert_allclose(-theirs.E, np.array(tableau.errors[0], dtype=float), rtol=1e-15, atol=0)
    np.testing.assert_allclose(theirs.P, np.array(tableau.dense, dtype=float), rtol=1e-15, atol=1e-17)


def test_dop853_is_that_of_scipy():
    """Every coefficient of DOP853, those of the estimates and of dense output too, is scipy's."""
    tableau, theirs = solvers.DOP853.tableau, dop853_coefficients
    for index, row in enumerate(rows(tableau)):
        np.testing.assert_array_equal(theirs.A[index, : len(row)], np.array(row, dtype=float))
    np.testing.assert_array_equal(theirs.C[:12], solvers.DOP853().nodes)
    np.testing.assert_array_equal(theirs.C[13:], np.array(tableau.extra_c, dtype=float))
    np.testing.assert_allclose([theirs.E5, theirs.E3], np.array(tableau.errors, dtype=float), rtol=1e-13, atol=1e-17)
    bumps = [tuple(Fraction(float(entry)) for entry in row) for row in theirs.D]
    expected = hermite(tableau.b, tuple(bumps), size=16)
    np.testing.assert_allclose(np.array(tableau.dense, float), np.array(expected, float), rtol=1e-12, atol=1e-12)


def test_equal_weights_share_a_multiplication():
    """Weights of zero are left out; equal ones are listed once with all their slopes."""
    row = tuple(Fraction(n, 6) for n in (1, 0, 2, 1, 2))
    assert terms(row) == ((1 / 6, 0, (3,)), (1 / 3, 2, (4,)))


def test_polynomials_are_multiplied():
    """(1 − θ)(1 + 2θ) = 1 + θ − 2θ²."""
    assert multiply((Fraction(1), Fraction(-1)), (Fraction(1), Fraction(2))) == (1, 1, -2)


def test_the_line_of_euler_is_the_shared_step():
    """The step that Euler writes out is the one that the tableau gives, to the last bit."""
    ode = solvers.ODE(lambda time, x: np.sin(time + x))
    x, euler = np.linspace(-1.0, 1.0, 7), solvers.Euler()
    shared, _ = solvers.runge_kutta.RungeKutta.step(euler, ode, 0.3, 0.1, x, None, None)
    np.testing.assert_array_equal(shared, euler.step(ode, 0.3, 0.1, x, None, None)[0])

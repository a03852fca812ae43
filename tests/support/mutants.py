"""Faults, one for each property, that the property's test must notice: a place in the source, and what to write there.

``test`` names the test that has to fail, and ``case`` the parameter that is enough.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """Replace ``old``, which occurs once in ``file``, by ``new``; ``test`` then fails."""

    property: int
    file: str
    old: str
    new: str
    test: str
    case: str = ""

    def __repr__(self) -> str:
        return f"property-{self.property}"


PREDICTION, COMPONENTS = "interpolants/prediction.py", "interpolants/targets/components.py"

MUTANTS = [
    Mutant(
        1,
        "interpolants/schedules/linear.py",
        'super().__init__("linear", alpha=1 - t,',
        'super().__init__("linear", alpha=1 - t / 2,',
        "schedules.py::test_boundaries_and_monotone_ratio",
        "linear",
    ),
    Mutant(
        2,
        "interpolants/schedule.py",
        '"d_alpha": derivative(alpha_t),',
        '"d_alpha": derivative(alpha_t) * (1 + t / 10**12),',
        "schedules.py::test_derivatives",
        "gvp",
    ),
    Mutant(
        3,
        "interpolants/schedule.py",
        '"kappa": sigma_t * wronskian / alpha_t,',
        '"kappa": sigma_t * wronskian,',
        "schedules.py::test_wronskian_identities",
        "gvp",
    ),
    Mutant(
        4,
        "interpolants/combination.py",
        "(b * c - a * d) / determinant",
        "(b * c + a * d) / determinant",
        "schedules.py::test_round_trips",
        "gvp",
    ),
    Mutant(
        5,
        "interpolants/combination.py",
        "(alpha * d - sigma * c) / determinant",
        "(alpha * d + sigma * c) / determinant",
        "schedules.py::test_reconstruction",
        "gvp",
    ),
    Mutant(
        6,
        COMPONENTS,
        "(c_alpha * part.values + d_sigma) / part.variance",
        "(c_alpha * part.values - d_sigma) / part.variance",
        "targets.py::test_tweedie",
        "linear",
    ),
    Mutant(
        7,
        COMPONENTS,
        "return unnormalised / unnormalised.sum(0)",
        "return unnormalised / len(unnormalised)",
        "targets.py::test_second_order_tweedie",
        "linear",
    ),
    Mutant(
        8,
        PREDICTION,
        '(s.expressions["d_alpha"], s.expressions["d_sigma"])',
        '(s.expressions["d_alpha"], -s.expressions["d_sigma"])',
        "dynamics.py::test_continuity_equation",
        "linear",
    ),
    Mutant(
        9,
        "interpolants/dynamics.py",
        "w / (2 * sigma)",
        "w / sigma",
        "dynamics.py::test_fokker_planck_equation",
        "linear",
    ),
    Mutant(
        10,
        "interpolants/dynamics.py",
        "noise = schedule.coefficient(sqrt(variance.expression)",
        "noise = schedule.coefficient(sqrt(2 * variance.expression)",
        "dynamics.py::test_marginals_do_not_depend_on_w",
        "linear",
    ),
    Mutant(
        11,
        PREDICTION,
        '(Integer(0), -1 / s.expressions["sigma"])',
        '(Integer(0), -1 / s.expressions["sigma"] ** 2)',
        "targets.py::test_stein",
        "linear",
    ),
    Mutant(
        12,
        "interpolants/targets/gaussian.py",
        "z = x - alpha_0 * means",
        "z = x - alpha_1 * means",
        "targets.py::test_semigroup",
        "linear",
    ),
    Mutant(
        13,
        "solvers/runge_kutta/heun.py",
        'Tableau(a=lower("1"), b=fractions("1/2 1/2"), order=2)',
        'Tableau(a=lower("1"), b=fractions("9/20 11/20"), order=2)',
        "steps.py::test_order_of_solvers",
        "Heun-linear",
    ),
    Mutant(
        14,
        "solvers/runge_kutta/heun.py",
        'Tableau(a=lower("1"), b=fractions("1/2 1/2"), order=2)',
        'Tableau(a=lower("1/2"), b=fractions("0 1"), order=2)',
        "steps.py::test_error_constant_of_heun",
        "linear",
    ),
    Mutant(
        15,
        "solvers/stochastic/euler_maruyama.py",
        "kick = problem.diffusion(t0) * noise(t0, t1)",
        "kick = problem.diffusion(t1) * noise(t0, t1)",
        "steps.py::test_exact_law_of_euler_maruyama",
    ),
    Mutant(
        16,
        "solvers/exponential/ddim.py",
        "return keep * x + gain * problem.data(t0, x), None",
        "return keep * x + 0.9 * gain * problem.data(t0, x), None",
        "samplers.py::test_one_step_to_a_point",
    ),
    Mutant(
        17,
        "solvers/exponential/ddim.py",
        "return keep * x + gain * problem.data(t0, x), None",
        "return keep * x + gain * (1 + 1e-13) * problem.data(t0, x), None",
        "samplers.py::test_the_names_of_ddim",
    ),
    Mutant(
        18,
        "solvers/exponential/ancestral.py",
        'scale = step.sigma_t if self.variance == "large"',
        'scale = step.sigma_t if self.variance == "small"',
        "samplers.py::test_ancestral_sampling_is_an_sde_solver",
    ),
    Mutant(
        19,
        "interpolants/grids.py",
        "_Chart(schedule, math.sqrt(variance), first, last)",
        "_Chart(schedule, variance, first, last)",
        "samplers.py::test_the_cosine_grid_is_best",
    ),
    Mutant(
        20,
        "interpolants/guidance/linear.py",
        "unconditional + scale * (conditional - unconditional)",
        "unconditional + (scale - 1) * (conditional - unconditional)",
        "flows.py::test_guided_variance_is_geometric",
        "linear",
    ),
    Mutant(
        21,
        "interpolants/bounds.py",
        "error**2 / (2 * variance)",
        "error**2 / (4 * variance)",
        "bounds.py::test_best_w_of_the_bound",
    ),
    Mutant(
        22,
        "interpolants/transport/gaussian.py",
        "return lambda time: float(clock.spread(time, variance)[1][0]) ** 2",
        "return lambda time: 0.5 * float(clock.spread(time, variance)[1][0]) ** 2",
        "transport.py::test_ratio_of_gvp",
    ),
    Mutant(
        23,
        "solvers/likelihood/density.py",
        "_result(log_prior(moved), integrals",
        "_result(log_prior(moved), -integrals",
        "flows.py::test_likelihood_of_a_gaussian_flow",
        "linear",
    ),
    Mutant(
        24,
        "interpolants/dynamics.py",
        "return _sde(schedule, model, w, prediction, sign=-1)",
        "return _sde(schedule, model, w, prediction, sign=1)",
        "dynamics.py::test_time_reversal",
    ),
    Mutant(
        25,
        "interpolants/flow_map.py",
        "return path.flow(time, path.schedule.domain[0], x)",
        "return path.flow(time, path.schedule.domain[1], x)",
        "flows.py::test_consistency_function",
        "linear",
    ),
]

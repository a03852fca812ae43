"""The meter on the schedulers of diffusers, against their papers and the defects that were found by hand."""

import math
from itertools import pairwise

import numpy as np
import pytest

from solvers.order import choices, find, measure_order
from solvers.order.law import law
from solvers.order.levels import grid
from solvers.order.trials import Gaussians

pytest.importorskip("diffusers")

MULTISTEP = "DPMSolverMultistepScheduler"
FLOW = ("use_flow_sigmas=true", "prediction_type=flow_prediction")
# (scheduler, options, order, whether the claim holds). arXiv 2211.01095 for DPM-Solver++, 2302.04867 for UniPC, whose
# corrector adds one, 2206.00364 for Heun, 2202.09778 for PNDM; a third-order start from lower orders costs the order.
FAST = [
    (MULTISTEP, ("solver_order=3",), 2, False),
    (MULTISTEP, ("solver_order=3", "algorithm_type=sde-dpmsolver++"), 1, False),
    ("FlowMatchEulerDiscreteScheduler", ("stochastic_sampling=true",), 0, False),
    ("DDIMScheduler", (), 1, True),
    ("EDMEulerScheduler", (), 1, True),
]
SLOW = [
    (MULTISTEP, (), 2, True),
    (MULTISTEP, FLOW, 2, True),
    (MULTISTEP, ("algorithm_type=sde-dpmsolver++",), 2, True),
    (MULTISTEP, ("algorithm_type=dpmsolver", "final_sigmas_type=sigma_min"), 2, True),
    ("DDIMScheduler", ("eta=1.0", "prediction_type=v_prediction"), 1, True),
    ("DDPMScheduler", ("prediction_type=sample",), 1, True),
    ("PNDMScheduler", (), 2, True),
    ("PNDMScheduler", ("skip_prk_steps=true",), 2, True),
    ("EulerDiscreteScheduler", ("use_karras_sigmas=true",), 1, True),
    ("EulerAncestralDiscreteScheduler", (), 1, True),
    ("HeunDiscreteScheduler", (), 2, True),
    ("KDPM2DiscreteScheduler", (), 2, True),
    ("LMSDiscreteScheduler", ("order=2",), 2, True),
    ("DPMSolverSinglestepScheduler", ("solver_order=3",), 3, True),
    ("DEISMultistepScheduler", (), 2, True),
    ("UniPCMultistepScheduler", (), 3, True),
    ("UniPCMultistepScheduler", ("solver_order=1",), 2, True),
    ("FlowMatchEulerDiscreteScheduler", (), 1, True),
    ("FlowMatchHeunDiscreteScheduler", (), 2, True),
    ("EDMDPMSolverMultistepScheduler", (), 2, True),
    ("CosineDPMSolverMultistepScheduler", (), 2, True),
]


def rows():
    for kind, marks in ((FAST, ()), (SLOW, (pytest.mark.slow,))):
        for row in kind:
            yield pytest.param(*row, id="-".join([row[0], *row[1]]), marks=marks)


@pytest.mark.covering(5)
@pytest.mark.parametrize(("name", "options", "order", "kept"), list(rows()))
def test_a_scheduler_has_its_known_order(name, options, order, kept):
    """Third-order multistep is order 2, its SDE order 1, stochastic flow matching does not converge; others hold."""
    report = measure_order(find(f"diffusers:{name}", options), finest=192)
    assert abs(report.observed - order) < 0.3, report.table()
    assert report.ok is kept


def test_the_law_of_ddim_is_the_product_of_cosines():
    """The scheduler's own code on its own table: ratio of deviations Π cos(φ_k − φ_{k+1}), tan φ = σ/(α√c)."""
    found = law(find("diffusers:DDIMScheduler").interior(16), np.float64)
    worst = 0.0
    for c in Gaussians.variances:
        angles = [math.atan(math.exp(-value) / math.sqrt(c)) for value in grid(16)]
        ratio = math.prod(math.cos(a - b) for a, b in pairwise(angles))
        worst = max(worst, abs(ratio**2 - 1.0))
    assert math.isclose(found.variance, worst, rel_tol=1e-4)  # the table is rounded to float32


def test_rounding_of_the_release_is_reported_beside_the_order():
    """States that the release casts to float32 are measured in float64; what the cast costs is the round-off."""
    report = measure_order(find(f"diffusers:{MULTISTEP}"), finest=128)
    assert 1e-8 < report.roundoff < 1e-4
    assert report.fits["mixture"].floor is None


def test_its_own_schedule_ends_at_the_data():
    """DDIM's last step goes to σ = 0; with set_alpha_to_one=false it stops at the first noise level of the model."""
    assert find("diffusers:DDIMScheduler").whole(20).stop.sigma == 0.0
    stop = find("diffusers:DDIMScheduler", ["set_alpha_to_one=false"]).whole(20).stop
    assert math.isclose(stop.sigma, math.sqrt(1e-4), rel_tol=1e-3)


def test_unknown_names_and_options_are_refused():
    """A scheduler without an order, an option of another scheduler, a value of another type."""
    assert "LCMScheduler" not in choices()["diffusers"]
    for name, options, error, words in [
        ("LCMScheduler", (), ValueError, "UniPCMultistepScheduler"),
        ("DDIMScheduler", ("solver_order=3",), ValueError, "clip_sample"),
        (MULTISTEP, ("solver_order=three",), TypeError, "solver_order: int"),
    ]:
        with pytest.raises(error, match=r"expected .*; remedy: ") as raised:
            find(f"diffusers:{name}", options)
        assert words in str(raised.value)

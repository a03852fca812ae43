"""The meter on samplers of other libraries: published orders, and the defects that were found by hand."""

import importlib.util
import sys

import numpy as np
import pytest

from solvers.order import find, measure_order
from solvers.order.draws import Draws
from solvers.order.trials import Gaussians, Mixture, Model

# (name, options, order, whether the claim holds). Sources: the textbooks for Runge–Kutta; arXiv 2211.01095 for
# DPM-Solver++(2M), 2206.00364 for Heun in σ. A multistep method of order 3 that starts with orders 1 and 2 has order 2.
FAST = [
    ("scipy:RK23", (), 3, True),
    ("scipy:RK45", (), 5, True),
    ("torchdiffeq:rk4", (), 4, True),
    ("torchdiffeq:fehlberg2", (), 2, True),
    ("flow_matching:midpoint", (), 2, True),
    ("diffrax:Euler", (), 1, True),
    ("k_diffusion:sample_dpmpp_2m", (), 2, True),
    ("k_diffusion:sample_dpmpp_3m_sde", ("eta=0.0",), 2, False),
    ("azula:HeunSampler", (), 2, True),
    ("azula:DDPMSampler", (), 1, True),
    ("azula:REABSampler", ("order=3",), 1, False),
]
SLOW = [
    ("scipy:DOP853", (), 8, True),
    ("torchdiffeq:euler", (), 1, True),
    ("torchdiffeq:midpoint", (), 2, True),
    ("torchdiffeq:heun3", (), 3, True),
    ("torchdiffeq:dopri5", (), 5, True),
    ("torchdiffeq:bosh3", (), 3, True),
    ("diffrax:Heun", (), 2, True),
    ("diffrax:Bosh3", (), 3, True),
    ("diffrax:LeapfrogMidpoint", (), 2, True),
    ("k_diffusion:sample_euler", (), 1, True),
    ("k_diffusion:sample_heun", (), 2, True),
    ("k_diffusion:sample_dpm_2", (), 2, True),
    ("k_diffusion:sample_dpmpp_2m_sde", (), 2, True),
    ("k_diffusion:sample_dpmpp_3m_sde", (), 2, False),
    ("k_diffusion:sample_euler_ancestral", (), 1, True),
    ("azula:EulerSampler", (), 1, True),
    ("azula:zABSampler", (), 2, True),
]


def rows():
    for kind, marks in ((FAST, ()), (SLOW, (pytest.mark.slow,))):
        for row in kind:
            yield pytest.param(*row, id="-".join([row[0], *row[1]]), marks=marks)


def installed(name):
    """Skip where the package is absent; k-diffusion cannot be imported as a whole."""
    source = name.partition(":")[0]
    if importlib.util.find_spec(source) is None:
        pytest.skip(f"{source} is not installed")


@pytest.mark.covering(11)
@pytest.mark.parametrize(("name", "options", "order", "kept"), list(rows()))
def test_a_peer_has_its_known_order(name, options, order, kept):
    """Within 0.3 at few steps; whether the claim holds is what `sit lint` exits with."""
    installed(name)
    report = measure_order(find(name, options), finest=128)
    assert abs(report.observed - order) < 0.3, report.table()
    assert report.ok is kept


@pytest.mark.parametrize(("name", "noisy"), [("sample_euler", False), ("sample_euler_ancestral", True)])
def test_noise_that_is_drawn_but_not_used_is_no_noise(name, noisy):
    """k-diffusion's Euler draws normals that it multiplies by nothing; its ancestral one uses them."""
    installed("k_diffusion")
    assert measure_order(find(f"k_diffusion:{name}"), finest=64).stochastic is noisy


def test_loading_k_diffusion_leaves_nothing_behind():
    """Its sampling module is loaded without its networks; no empty module stays where a package would be looked for."""
    installed("k_diffusion")
    from solvers.order.adapters.k_diffusion import sampling

    assert callable(sampling().sample_heun)
    assert sampling() is sampling()
    left = [sys.modules[name] for name in ("torchvision", "skimage", "kornia") if name in sys.modules]
    assert all(module.__file__ for module in left)


def test_overlapping_draws_of_k_diffusion_come_from_one_path():
    """A step of DPM-Solver++ (SDE) draws over its first half and over the whole: from one Brownian path in σ."""
    installed("k_diffusion")
    drive, draws = find("k_diffusion:sample_dpmpp_sde").interior(8), Draws()
    drive.run(Model(Gaussians()), np.zeros((1, 4)), draws)
    assert len(draws.asked) == 16
    half, whole = draws.asked[:2]
    assert half[1] == pytest.approx(whole[1], rel=1e-12)
    assert half[0] == pytest.approx((whole[0] * whole[1]) ** 0.5, rel=1e-12)


@pytest.mark.parametrize("before", [False, True])
def test_diffrax_leaves_the_precision_of_jax_alone(before):
    """Measuring runs in float64; afterwards jax is as it was."""
    pytest.importorskip("diffrax")
    import jax

    found = jax.config.jax_enable_x64
    try:
        jax.config.update("jax_enable_x64", before)
        sampler = find("diffrax:Euler")
        sampler.interior(4).run(Model(Mixture()), np.zeros((6, 2)), Draws())
        assert jax.config.jax_enable_x64 is before
    finally:
        jax.config.update("jax_enable_x64", found)


def test_a_source_that_is_not_installed_says_what_to_install(monkeypatch):
    """An ImportError with the remedy."""
    monkeypatch.setitem(sys.modules, "torchdiffeq", None)
    with pytest.raises(ImportError, match="remedy: pip install torchdiffeq"):
        find("torchdiffeq:rk4")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("solvers.order.adapters.k_diffusion._LOADED", [])
    monkeypatch.delitem(sys.modules, "k_diffusion.sampling", raising=False)
    with pytest.raises(ImportError, match="no-deps k-diffusion"):
        find("k_diffusion:sample_euler")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("scipy:Radau", (), "RK23, RK45, DOP853"),
        ("scipy:RK45", ("order=4",), "none"),
        ("torchdiffeq:rk5", (), "did you mean 'rk4'"),
        ("torchdiffeq:rk4", ("max_order=3",), "none"),
        ("flow_matching:dopri5", (), "midpoint"),
        ("diffrax:Kvaerno3", (), "Dopri5"),
        ("k_diffusion:sample_dpm_adaptive", (), "sample_dpm_2"),
        ("k_diffusion:sample_euler", ("eta=1.0",), "s_churn"),
        ("azula:zABSampler", ("schedule=Linear",), "RectifiedSchedule"),
    ],
)
def test_an_unknown_name_or_option_lists_the_known_ones(name, options, words):
    """Before anything is run."""
    installed(name)
    with pytest.raises(ValueError, match=r"expected .*; remedy: ") as raised:
        find(name, options)
    assert words in str(raised.value)

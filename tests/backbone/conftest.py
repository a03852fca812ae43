"""A small network, a batch, and a schedule written out by hand, shared by the tests of backbone/."""

from types import SimpleNamespace

import pytest
import torch
from backbone_support import TINY, perturb

from backbone import SiT


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Networks this small run faster on one thread, and several workers share the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return perturb(SiT(TINY)).eval()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(4, 3, 8, 8, generator=generator)
    return x, torch.tensor([0.0, 0.25, 0.5, 1.0]), torch.tensor([0, 4, 5, 2])


@pytest.fixture
def linear():
    """The linear schedule, alpha = 1 - t and sigma = t, by hand: these tests need no other package."""

    def coefficients(time):
        one = torch.ones_like(time)
        return SimpleNamespace(alpha=1 - time, sigma=time, d_alpha=-one, d_sigma=one)

    return coefficients

"""A small network and a batch, shared by the tests of backbone/."""

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

"""The collector rests within a budget: a callback of somebody's object would swallow what interrupts the work."""

import gc
from itertools import count

import pytest

from interpolants.budget import within


@pytest.fixture
def collections():
    """The collections that start, with the collector as it was put back afterwards."""
    started, was = [], gc.isenabled()

    def seen(phase, info):
        if phase == "start":
            started.append(info["generation"])

    gc.callbacks.append(seen)
    yield started
    gc.callbacks.remove(seen)
    (gc.enable if was else gc.disable)()


def litter(collections):
    """Make garbage that only the collector finds, and return how often it came meanwhile."""
    collections.clear()
    for _ in range(20_000):
        loop = []
        loop.append(loop)
    return len(collections)


@pytest.mark.parametrize("enabled", [True, False])
def test_none_within_and_as_before_afterwards(collections, enabled):
    (gc.enable if enabled else gc.disable)()
    assert within(60.0, lambda: litter(collections)) == 0
    assert gc.isenabled() == enabled
    assert within(60.0, lambda: [within(60.0, lambda: litter(collections)), litter(collections)]) == [0, 0]
    with pytest.raises(TimeoutError):
        within(0.05, lambda: [litter(collections) for _ in count()])
    assert gc.isenabled() == enabled
    assert (litter(collections) > 0) == enabled

"""Batches made ahead by a thread: the same, one ahead and no more, and errors where they belong."""

import threading

import pytest
import torch
from training_support import plain, same, toy_config, toy_data, toy_train, weights

from backbone import Store
from backbone.data.order import Order
from backbone.draws import Draws
from backbone.train.batches import Batches
from backbone.train.world import World
from tests.support.stores import latents, write_store

ALONE = World(0, 1, torch.device("cpu"))


class Watched:
    """The toy data, which remember who asked for how many records, and fail at a call."""

    def __init__(self, fails=None):
        self.inner, self.fails, self.asked = toy_data(), fails, []
        self.count, self.shape, self.num_classes = self.inner.count, self.inner.shape, self.inner.num_classes
        self.asked_for = [threading.Event() for _ in range(20)]

    def batch(self, records, draws):
        self.asked.append(threading.current_thread())
        self.asked_for[len(self.asked) - 1].set()
        if len(self.asked) == self.fails:
            raise OSError("a disk that went away")
        return self.inner.batch(records, draws)


@pytest.mark.parametrize("prefetch", [True, False])
@pytest.mark.parametrize(("rank", "size"), [(0, 1), (1, 2)])
def test_parts_are_those_of_a_plain_loop(tmp_path, prefetch, rank, size):
    """Of steps in any order, as rollbacks ask for them: records, posterior draws and labels are of their numbers."""
    store = Store(write_store(tmp_path / "s", *latents(30)))
    config = toy_config(batch_size=8, micro_batch=3, steps=9, prefetch=prefetch)
    batches = Batches(store, config, World(rank, size, ALONE.device))
    for step in (0, 1, 2, 7, 3, 3, 8, 0):
        mine = list(range(8 * step, 8 * step + 8))[rank * 8 // size : (rank + 1) * 8 // size]
        wanted = [mine[k : k + 3] for k in range(0, len(mine), 3)]
        for found, ids in zip(batches.of(step), wanted, strict=True):
            x, y = store.batch(Order(30, 0)(torch.tensor(ids)), Draws(0, torch.tensor(ids)))
            assert torch.equal(found.x_data, x)
            assert torch.equal(found.y, y)
            assert found.draws.ids.tolist() == ids
            assert found.draws.batch == 8
            assert found.last == (ids is wanted[-1])
    batches.close()


@pytest.mark.parametrize("fields", [{}, {"micro_batch": 5}])
def test_a_training_is_the_same_without_it(fields):
    """Losses and weights are equal bit for bit, whoever makes the batches."""
    without = toy_train(prefetch=False, **fields)
    assert same(weights(without), weights(plain(**fields)))
    assert without.losses == plain(**fields).losses


def test_one_part_ahead_in_one_thread():
    """While a part is in use the next is made by the thread, and no other; after the last step none."""
    data = Watched()
    batches = Batches(data, toy_config(steps=3, batch_size=12), ALONE)
    for step in range(3):
        for _ in batches.of(step):
            assert data.asked_for[min(step + 1, 2)].wait(10)
            assert not data.asked_for[step + 2].wait(0.02)
    batches.close()
    assert len(data.asked) == 3
    assert len(set(data.asked)) == 1
    assert threading.main_thread() not in data.asked
    assert not data.asked[0].is_alive()


def test_an_error_of_reading_is_that_of_its_step(tmp_path):
    """It is raised when its batch is wanted, after the steps before; the thread ends and the run can go on."""
    data, done = Watched(fails=4), []
    with pytest.raises(OSError, match="a disk that went away"):
        toy_train(tmp_path, data=data, on_step=lambda step, loss: done.append(step))
    assert done == [0, 1, 2]
    assert not data.asked[0].is_alive()
    assert same(weights(toy_train(tmp_path)), weights(plain()))

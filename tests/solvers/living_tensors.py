"""How many bytes of tensors are alive, now and at most, while torch computes."""

import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Living(TorchDispatchMode):
    """Follows every storage that an operation returns until it is freed; ``now`` and ``peak`` are in bytes."""

    def __init__(self):
        super().__init__()
        self.known = set()
        self.now = 0
        self.peak = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if isinstance(leaf, torch.Tensor):
                self._follow(leaf.untyped_storage())
        return found

    def _follow(self, storage):
        key, size = storage._cdata, storage.nbytes()
        if key not in self.known:
            self.known.add(key)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._freed, key, size)

    def _freed(self, key, size):
        self.known.discard(key)
        self.now -= size

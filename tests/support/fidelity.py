"""The functions of torch-fidelity, whose package asks for torchvision, which they do not use."""

import functools
import importlib
import sys
from types import ModuleType
from unittest import mock

NAMES = ("metric_fid", "metric_isc", "metric_prc", "interpolate_compat_tensorflow", "feature_extractor_inceptionv3")


class Blank(ModuleType):
    """A module in which every name is a class."""

    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


@functools.cache
def fidelity():
    """Return the modules of torch-fidelity by name; nothing of it, or of the blanks, stays in sys.modules."""
    blanks = {name: Blank(name) for name in ("torchvision", "torchvision.datasets", "torchvision.transforms")}
    blanks["torchvision"].datasets, blanks["torchvision"].transforms = list(blanks.values())[1:]
    blanks["torchvision.transforms.functional"] = blanks["torchvision.transforms"].functional = Blank("functional")
    with mock.patch.dict(sys.modules, blanks):
        return {name: importlib.import_module(f"torch_fidelity.{name}") for name in NAMES}

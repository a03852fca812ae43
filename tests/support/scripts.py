"""Scripts of docs and benchmarks as modules."""

import importlib.util
import sys


def script(path):
    """Import a script by its path, with its folder importable for its neighbours."""
    specification = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(specification)
    sys.path.insert(0, str(path.parent))
    try:
        specification.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module

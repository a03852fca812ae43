"""What `import backbone` costs and which names it offers."""

import subprocess
import sys

import pytest

import backbone


def _run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_import_needs_no_torch():
    """`import backbone`, its configs and its named sizes work where torch cannot be imported."""
    code = (
        "import sys; sys.modules['torch'] = None; import backbone; from backbone.sizes import named_config; "
        "print(backbone.SiTConfig().depth, backbone.TrainConfig().batch_size, named_config('SiT-S/8').depth)"
    )
    assert _run(code).stdout.split() == ["28", "256", "12"]


def test_import_loads_no_torch():
    """`import backbone` leaves torch, sklearn and safetensors unloaded where they are installed."""
    code = "import sys, backbone; print([m for m in ('torch', 'sklearn', 'safetensors', 'sympy') if m in sys.modules])"
    assert _run(code).stdout.strip() == "[]"


def test_every_public_name_exists():
    """Each name of __all__ can be taken from the package and is listed by dir()."""
    for name in backbone.__all__:
        assert getattr(backbone, name) is not None
        assert name in dir(backbone)
    assert sorted(backbone.__all__) == sorted(backbone._HOME)


@pytest.mark.covering(2)
@pytest.mark.parametrize("name", ["train", "sample"])
def test_a_function_keeps_its_name_after_its_module_is_imported(name):
    """`from backbone import train` is the function although backbone.train, imported first, is a module too."""
    code = (
        f"from backbone.{name} import {name} as direct; import backbone.{name}; from backbone import {name}; "
        f"print({name} is direct, callable({name}))"
    )
    assert _run(code).stdout.split() == ["True", "True"]


def test_an_unknown_name_is_an_attribute_error():
    """A misspelt public name is refused with the closest one."""
    with pytest.raises(AttributeError, match="closest: 'SiTConfig'"):
        _ = backbone.SiTConfg

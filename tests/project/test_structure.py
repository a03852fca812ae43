"""The shape of the repository: short files, short functions, three packages that look one way, a light core."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import interpolants

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path
    for folder in ("interpolants", "solvers", "backbone", "tests", "benchmarks", "docs")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def test_no_file_is_longer_than_300_lines():
    """Every Python file has at most 300 lines."""
    long = {str(path.relative_to(ROOT)): n for path in SOURCES if (n := len(path.read_text().splitlines())) > 300}
    assert not long


def test_no_function_is_longer_than_50_lines():
    """Every function has at most 50 lines of code, its docstring not counted."""
    long = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                docstring = node.body[0] if ast.get_docstring(node) else None
                size = node.end_lineno - node.lineno + 1
                size -= docstring.end_lineno - docstring.lineno + 1 if docstring else 0
                if size > 50:
                    long[f"{path.relative_to(ROOT)}:{node.name}"] = size
    assert not long


def test_packages_are_all_listed():
    """Every folder with an __init__.py under the three packages is in pyproject's list of packages."""
    import tomllib

    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {
        ".".join(init.parent.relative_to(ROOT).parts)
        for package in ("interpolants", "solvers", "backbone")
        for init in (ROOT / package).rglob("__init__.py")
    }
    assert listed == found


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("solvers", ["torch", "sympy", "scipy", "numba", "matplotlib", "tqdm", "interpolants", "backbone"]),
        ("interpolants", ["torch", "numba", "matplotlib", "tqdm", "sklearn", "backbone", "jax"]),
        ("backbone", ["torch", "sympy", "matplotlib", "sklearn"]),
        ("backbone.cli", ["torch", "sympy", "matplotlib", "sklearn"]),
    ],
)
def test_import_is_light(package, forbidden):
    """Importing a package loads none of the libraries that only some of its uses need."""
    code = f"import sys, {package}; print([m for m in {forbidden!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.strip() == "[]"


def test_what_is_imported_later():
    """The names that type checkers see are those that are imported when asked for, and all are public."""
    tree = ast.parse((ROOT / "interpolants" / "__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {(node.module.rpartition(".")[2], alias.name) for node in block.body for alias in node.names}
    table = {(module, name) for module, names in interpolants._LATER.items() for name in names}
    modules = {("interpolants", module) for module, names in interpolants._LATER.items() if not names}
    assert seen == table | modules
    for name in interpolants.__all__:
        assert getattr(interpolants, name) is not None
    assert set(interpolants.__all__) <= set(dir(interpolants))
    with pytest.raises(AttributeError, match="has no attribute 'lipshitz'"):
        interpolants.lipshitz  # noqa: B018
    code = "import sys, interpolants; print([m for m in sys.modules if m.startswith('interpolants.transport')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT).stdout == "[]\n"


def test_quick_start_needs_the_core_alone():
    """The quick start runs without importing torch, matplotlib or tqdm."""
    script = ROOT / "tests" / "support" / "quick_start.py"
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.startswith("cost ")


def test_constraints_pin_exact_versions():
    """Every constraint is an exact version, and PyTorch's is the small CPU build's."""
    lines = (ROOT / "constraints.txt").read_text().split()
    assert all("==" in line for line in lines)
    assert "torch==2.13.0" in lines

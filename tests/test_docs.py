"""The documentation builds without a warning, names everything public, and its examples run."""

import os
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

import backbone
import backbone.evaluate
import backbone.few_step
import interpolants
import solvers
from backbone import plots as backbone_plots
from interpolants import diffusion, guidance, plots, times, weights
from interpolants.adapters import diffusers as diffusers_adapter
from interpolants.adapters import transport
from solvers import compiled, inverted, likelihood, noise, order
from tests.support.scripts import script

ROOT = Path(__file__).resolve().parents[1]
PUBLIC = {
    f"{module.__name__}.{name}"
    for module in (
        *(interpolants, diffusion, guidance, weights, times, plots, diffusers_adapter, transport),
        *(solvers, compiled, inverted, likelihood, noise, order),
        *(backbone, backbone.evaluate, backbone.few_step, backbone_plots),
    )
    for name in module.__all__
}
PAGES = ("index", "conventions", "consistency", "endpoints", "examples/diffusion", "reference/solvers", "genindex")
"""What is opened in a browser, where there is one."""
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def build(builder, out):
    """Run sphinx-build with warnings as errors and return what it said, with its exit code."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", builder, "-d", out / "doctrees"]
    done = subprocess.run([*command, ROOT / "docs", out / builder], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def documented(inventory):
    """Return the Python names of an inventory: four lines of header, then "name py:role …" lines, compressed."""
    lines = zlib.decompress(inventory.read_bytes().split(b"\n", 4)[4]).decode().splitlines()
    return {line.split()[0] for line in lines if line.split()[1].startswith("py:")}


@pytest.mark.slow
def test_docs_build_strictly_name_everything_public_and_run_their_examples(tmp_path):
    """No warning, no public name without an entry, no example with another outcome. One test, to read pages once.

    Where there is a Chromium it opens some pages, wide and narrow, and searches.
    """
    code, said = build("html", tmp_path)
    assert code == 0, said
    assert (tmp_path / "html" / "_static" / "tex-svg.js").stat().st_size > 10**6
    for page in (tmp_path / "html").glob("*.html"):
        assert not re.search(r"<script[^>]*https?://", page.read_text(encoding="utf-8")), "a script from the network"
    assert PUBLIC - documented(tmp_path / "html" / "objects.inv") == set()
    browser = script(ROOT / "docs" / "browser.py")
    if browser.find() is not None:
        site = tmp_path / "html"
        assert browser.problems(browser.find(), site, [site / f"{page}.html" for page in PAGES], "Wronskian") == []
    code, said = build("doctest", tmp_path)
    assert code == 0, said
    summary = (tmp_path / "doctest" / "output.txt").read_text()
    assert re.search(r"^ *[1-9]\d* tests$", summary, re.MULTILINE), summary


@pytest.mark.skipif(not (ROOT / "README.md").exists(), reason="this checkout has no README.md")
def test_readme_blocks_run_in_order_in_one_namespace(tmp_path):
    """Every python block of README.md runs as printed, one after another, in an empty folder."""
    blocks = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert blocks
    script = tmp_path / "readme.py"
    script.write_text("\n".join(blocks), encoding="utf-8")
    environment = os.environ | {"MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, "-W", "error", script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr

"""Sphinx configuration: strict, offline, and with tables computed from the library's own objects."""

import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "interpolants"
author = "the authors of interpolants"
copyright = author
release = version = installed("interpolants")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "tables",
]
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "interpolants"
html_show_copyright = False
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False

# Roles that point nowhere are errors. Only annotations may name things outside these packages: without a network there
# is no inventory of numpy, torch or sympy to link them to.
nitpicky = True
nitpick_ignore_regex = [("py:class", r".*"), ("py:obj", r".*")]

doctest_global_setup = "import numpy as np"

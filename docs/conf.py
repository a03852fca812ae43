"""Sphinx configuration: strict, offline, and with tables computed from the library's own objects."""

import doctest
import shutil
import sys
from importlib.metadata import files
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "interpolants"
author = "the authors of interpolants"
copyright = author
release = version = installed("interpolants")

extensions = [
    "benchmark_tables",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "cost_tables",
    "digits_tables",
    "evidence",
    "sampler_tables",
    "stochastic_tables",
    "stored_tables",
    "studies_tables",
    "tables",
    "w_tables",
]
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "gallery"]

# Scripts of gallery are run by the build and become pages of examples; any failure is an error.
sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "examples",
    "filename_pattern": ".*",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
}

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = "interpolants"
html_show_copyright = False
html_copy_source = False
html_show_search_summary = False  # summaries are fetched, which browsers refuse to a page opened from disk
html_static_path = ["_static"]
html_css_files = ["site.css"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}
autodoc_default_options = {"members": True}
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False

# Names that point nowhere are errors, but for those of other projects: without a network there is no inventory of them.
nitpicky = True
nitpick_ignore_regex = [
    ("py:class", r"(collections|contextlib|fractions|np|numpy|os|pathlib|sympy|torch)\..*"),
    ("py:class", r"Array|ArrayLike|Axes|Field|Figure|Floats|Grid|NDArray|Tensor|Terms"),
    ("py:class", r"interpolants\.equivalence\._Change"),  # in the signatures of what transfer makes
    ("py:(class|obj)", r"backbone\.ema(\.\w+)?\.M|Loss|Probe"),  # a type variable and protocols, in signatures only
]

doctest_global_setup = "import numpy as np"
doctest_default_flags = doctest.ELLIPSIS  # and not IGNORE_EXCEPTION_DETAIL: messages are part of the contract

# The renderer of formulas comes with the build, which opens from disk without a network.
mathjax_path = "tex-svg.js"


def copy_renderer(app, exception):
    """Put MathJax beside the other static files."""
    if exception is None and app.builder.format == "html":
        (source,) = (file.locate() for file in files("sphinx-mathjax-offline") if file.name == mathjax_path)
        shutil.copy(source, Path(app.outdir) / "_static" / mathjax_path)


def setup(app):
    """Connect the copy."""
    app.connect("build-finished", copy_renderer)

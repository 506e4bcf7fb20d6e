"""How Sphinx builds the pages: from packages alone, and with warnings as errors (`make docs`)."""

import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")
sys.path.insert(0, str(Path(__file__).parent))  # For pictures.py, which the pages draw with.

from rex_core import __version__

project = "rex-schedules"
author = "the authors of rex-schedules"
copyright = "2026, the authors of rex-schedules"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx-mathjax-offline",
    "matplotlib.sphinxext.plot_directive",
]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "none"
add_module_names = False
napoleon_use_ivar = True
default_role = "py:obj"
plot_formats = [("png", 120)]
plot_html_show_formats = False
plot_html_show_source_link = False
plot_include_source = False

html_theme = "furo"
html_title = f"rex-schedules {version}"
exclude_patterns = ["_build"]

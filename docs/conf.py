"""How Sphinx builds the pages: from packages alone, and with warnings as errors (`make docs`)."""

import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")

from rex_core import __version__

# The pages draw with pictures.py, in processes of their own.
paths = str(Path(__file__).parent), os.environ.get("PYTHONPATH")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))

project = "rex-schedules"
author = "the authors of rex-schedules"
copyright = "2026, the authors of rex-schedules"
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx-mathjax-offline",
]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "none"
add_module_names = False
napoleon_use_ivar = True
default_role = "py:obj"
nb_execution_mode = "force"
nb_execution_raise_on_error = True

html_theme = "furo"
html_title = f"rex-schedules {version}"
exclude_patterns = ["_build"]

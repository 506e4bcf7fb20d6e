"""Settings that must stand before a framework is imported, and the command `rex` on the PATH."""

import os
import shlex
import sys

import hypothesis
import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")
# Each core has a worker. More threads of PyTorch and NumPy would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

hypothesis.settings.register_profile("default", deadline=None, derandomize=True)
hypothesis.settings.load_profile("default")


@pytest.fixture(scope="session")
def shell(tmp_path_factory):
    """The environment of a shell in which `rex` is this checkout's, and which has no display."""
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "rex"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m rex_cli "$@"\n')
    script.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if "DISPLAY" not in name}
    environment.pop("MPLBACKEND", None)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return environment | {"PATH": path, "COLUMNS": "80", "PYTHONUTF8": "1"}

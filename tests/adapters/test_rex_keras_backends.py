"""Tests of rex_keras on Keras's other backends, each in a process of its own.

TensorFlow has an environment of its own too: `make test-tensorflow`.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

HERE = Path(__file__).parent
TESTS = [HERE / "test_rex_keras.py", HERE / "test_rex_keras_fits.py"]
OTHERS = [name for name in ("jax", "torch") if name != os.environ["KERAS_BACKEND"]]


@pytest.mark.parametrize("backend", OTHERS)
def test_on_another_backend(backend):
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed; pip install 'rex-schedules[{backend}]'")
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *TESTS],
        env={**os.environ, "KERAS_BACKEND": backend},
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr

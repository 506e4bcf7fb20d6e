"""test_rex_keras.py on Keras's other backends, each in a process of its own.

TensorFlow has an environment of its own too: `make test-tensorflow`.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

TESTS = Path(__file__).with_name("test_rex_keras.py")
OTHERS = [name for name in ("jax", "torch") if name != os.environ["KERAS_BACKEND"]]


@pytest.mark.parametrize("backend", OTHERS)
def test_on_another_backend(backend):
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed; pip install 'rex-schedules[{backend}]'")
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, TESTS],
        env={**os.environ, "KERAS_BACKEND": backend},
        cwd=TESTS.parents[2],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr

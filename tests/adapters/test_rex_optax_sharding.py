"""Tests in a process of its own: only a new one can make eight devices of one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
# LLVM's optimizations, of which no collective is part, would take half of the time.
FLAGS = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"


@pytest.mark.parametrize("tests", ["eight_devices.py", "eight_devices_bfloat16.py"])
def test_on_eight_devices(tests):
    flags = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}"
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, Path(__file__).with_name(tests)],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr

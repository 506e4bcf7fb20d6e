"""What mypy and pyright see of the public names."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CASES = ROOT / "tests" / "typing" / "what_checkers_see.py"


def run(*command):
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True
    )


@pytest.mark.long
def test_mypy():
    """With the cache of `make lint`, which has checked all but the cases."""
    done = run("mypy", "--strict", str(CASES))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
def test_pyright():
    if run("pyright", "--version").returncode:
        pytest.skip("pyright fetches itself from npm when it first runs, and could not")
    done = run("pyright", "--pythonpath", sys.executable, str(CASES))
    assert done.returncode == 0, done.stdout + done.stderr

"""The complete programs of examples/, each in a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

FOLDER = Path(__file__).parent.parent / "examples"
ARGUMENTS = {
    "digits_keras.py": ["--epochs", "4"],
    "digits_optax.py": ["--steps", "100", "200"],
    "digits_torch.py": ["--steps", "200"],
}


def test_all_examples_are_run():
    assert {path.name for path in FOLDER.glob("*.py")} == set(ARGUMENTS)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_example(name):
    run = subprocess.run(
        [sys.executable, str(FOLDER / name), *ARGUMENTS[name]],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"KERAS_BACKEND": "jax"},
    )
    accuracies = [float(found) for found in re.findall(r"updates: ([\d.]+)%", run.stdout)]
    assert accuracies
    assert min(accuracies) > 90

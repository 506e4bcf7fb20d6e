"""What an import of rex_core brings with it."""

import json
import subprocess
import sys

import pytest

FRAMEWORKS = {
    *("jax", "jaxlib", "torch", "keras", "tensorflow", "optax", "flax", "optuna", "cupy", "dask"),
}


def modules_after(program):
    """The modules that a fresh interpreter has imported in the end."""
    program += "\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    out = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True
    )
    assert out.returncode == 0, out.stderr
    return set(json.loads(out.stdout))


def packages(modules):
    return {module.partition(".")[0] for module in modules}


USE = """
import numpy as np
import rex_core as rc
for function in (rc.rex, rc.cosine, rc.bind(rc.every_fraction, fraction=0.05)):
    function(3, 10), function(np.arange(5), 10)
for value in (rc.Schedule(warmup_ratio=0.1), rc.Restarts(rc.Schedule(), 3), *rc.one_cycle()):
    value(3, 10), value(np.arange(5), np.array(10)), rc.from_dict(rc.to_dict(value))
"""


@pytest.mark.parametrize("program", ["import rex_core", USE], ids=["import", "use"])
def test_no_framework_is_imported(program):
    imported = packages(modules_after(program))
    assert "rex_core" in imported
    assert not imported & FRAMEWORKS


@pytest.mark.long
@pytest.mark.parametrize(
    ("framework", "program", "others"),
    [
        ("jax", "import jax.numpy as jnp; x = jnp.arange(3)", {"torch", "keras", "optax"}),
        ("torch", "import torch; x = torch.arange(3)", {"jax", "keras", "optax"}),
    ],
)
def test_one_framework_does_not_bring_another(framework, program, others):
    program += "\nimport rex_core as rc; rc.Schedule(rc.cosine, warmup_steps=1)(x, 10)"
    imported = packages(modules_after(program))
    assert framework in imported
    assert not imported & others


def test_the_import_is_light():
    """After NumPy, nothing but the package itself, array_api_compat and the standard library."""
    before = modules_after("import numpy")
    new = modules_after("import numpy, rex_core") - before
    outside = packages(new) - set(sys.stdlib_module_names)
    assert outside == {"rex_core", "array_api_compat"}

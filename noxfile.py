"""The versions that are supported, each in an environment of its own: ``make test-versions``.

``nox --list`` names the sessions, and ``nox -s "torch(version='2.8.0')"`` runs one. An interpreter
that is not on the machine is skipped by name.

PyPI's wheels of PyTorch bring several GB of CUDA. They are taken only where PyTorch's own index,
which has wheels for the CPU, cannot be reached.
"""

from pathlib import Path

import nox
from nox.command import CommandFailed

nox.options.default_venv_backend = "uv|virtualenv"

ADAPTERS = "tests/adapters/test_rex_"
CORE = [
    f"tests/core/test_{name}.py" for name in ("schedule", "profiles", "values", "spec", "budget")
]
COMPOSER = ["coolname", "importlib-metadata", "mosaicml-cli<0.8", "py-cpuinfo", "tabulate"]
COMPOSER += ["torch-optimizer", "torchmetrics"]
TESTS = ["pytest", "hypothesis", "mpmath", "scikit-learn", "flax"]


def install(session: nox.Session, *packages: str) -> None:
    """Install packages, with PyTorch's wheels for the CPU if their own index can be reached."""
    session.env["UV_COMPILE_BYTECODE"] = "1"  # Else the tests see the warnings of compilation.
    try:
        session.install("--torch-backend=cpu", *packages)
    except CommandFailed:
        session.install(*packages)


def install_dev(session: nox.Session, *packages: str) -> None:
    """Install what the Makefile does."""
    install(session, "-e", ".[dev]", *packages)
    session.install("--no-deps", "timm")


def run(session: nox.Session, *arguments: str) -> None:
    """Run pytest in the environment of a session, with the arguments after ``--``."""
    session.run(
        "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments, *session.posargs
    )


@nox.session(python=["3.12", "3.13", "3.14"])
def python(session: nox.Session) -> None:
    """All tests of the core and of the adapters, with the newest of everything."""
    install_dev(session)
    # PyTorch compiles on Python 3.13.0, but warns of it.
    known = "-W", "ignore:Guards may run slower:RuntimeWarning"
    run(session, *known, "tests/core", "tests/conformance", "tests/adapters")


@nox.session(python="3.10")
def oldest_python(session: nox.Session) -> None:
    """What JAX 0.6, the last for Python 3.10, can run of the tests."""
    install(session, "-e", ".[cli,jax,torch]", *TESTS)
    run(session, *CORE, f"{ADAPTERS}torch.py", f"{ADAPTERS}cli.py", f"{ADAPTERS}cli_code.py")


@nox.session(python="3.11")
@nox.parametrize("version", ["2.8.0", "2.9.1", "2.10.0", "2.12.0", "2.14.0", "2.15.0"])
def torch(session: nox.Session, version: str) -> None:
    """The PyTorch adapter."""
    install_dev(session, f"torch=={version}")
    parts = ["_by_name", "_clock", "_loops", "_marks", "_norms", "_replan", "_wishes"]
    run(session, f"{ADAPTERS}torch.py", *(f"{ADAPTERS}torch{part}.py" for part in parts))


@nox.session(python="3.11")
@nox.parametrize("version", ["3.9.2", "3.10.0"])
def keras(session: nox.Session, version: str) -> None:
    """The Keras adapter on PyTorch: Keras 3.9 asks for an older JAX than the tests do."""
    install_dev(session, f"keras=={version}")
    session.env["KERAS_BACKEND"] = "torch"
    run(session, f"{ADAPTERS}keras.py", f"{ADAPTERS}keras_fits.py")


@nox.session(python="3.11", venv_backend="uv")
def trainers(session: nox.Session) -> None:
    """The trainers of the guide that ask for a torchvision or for other versions."""
    levanter = ["levanter>=1.2.dev0", "chex", "gitpython"]
    packages = ["torch==2.8.0", "torchvision", "ultralytics", *levanter, *COMPOSER, *TESTS]
    install(session, "-e", ".[jax,torch]", *packages)
    session.install("--no-deps", "mosaicml")  # It asks for torch below 2.7.1.
    names = "composer or levanter or ultralytics"
    files = "tests/trainers/test_trainers.py", "tests/trainers/test_guide.py"
    run(session, "-rs", "-k", names, *files)


@nox.session(python="3.11", venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """The lower bounds in pyproject.toml, as uv resolves them."""
    install(session, "--resolution", "lowest-direct", "-e", ".[jax,torch]")
    # The packages of the tests must not raise them.
    resolved = Path(session.create_tmp()) / "resolved.txt"
    frozen = session.run("uv", "pip", "freeze", "-q", "--exclude-editable", silent=True)
    resolved.write_text(str(frozen), encoding="utf-8")
    install(session, "-c", str(resolved), *TESTS)
    run(session, *CORE, f"{ADAPTERS}optax.py", f"{ADAPTERS}torch.py")

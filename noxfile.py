"""The versions that are supported, each in an environment of its own: ``make test-versions``.

``nox --list`` names the sessions, and ``nox -s "torch(version='2.8.0')"`` runs one. An interpreter
that is not on the machine is skipped by name. The wheels of PyTorch take several GB.
"""

import nox

nox.options.default_venv_backend = "uv|virtualenv"

ADAPTERS = "tests/adapters/test_rex_"
CORE = [
    f"tests/core/test_{name}.py" for name in ("schedule", "profiles", "values", "spec", "budget")
]
TESTS = ["pytest", "hypothesis", "mpmath", "scikit-learn", "flax"]


def run(session: nox.Session, *arguments: str) -> None:
    """Run pytest in the environment of a session."""
    session.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments)


@nox.session(python=["3.12", "3.13", "3.14"])
def python(session: nox.Session) -> None:
    """All tests of the core and of the adapters, with the newest of everything."""
    session.install("-e", ".[dev]")
    run(session, "tests/core", "tests/conformance", "tests/adapters")


@nox.session(python="3.10")
def oldest_python(session: nox.Session) -> None:
    """What JAX 0.6, the last for Python 3.10, can run of the tests."""
    session.install("-e", ".[cli,jax,torch]", *TESTS)
    run(session, *CORE, f"{ADAPTERS}torch.py", f"{ADAPTERS}cli.py", f"{ADAPTERS}cli_code.py")


@nox.session(python="3.11")
@nox.parametrize("version", ["2.8.0", "2.9.1", "2.10.0", "2.12.0", "2.14.0"])
def torch(session: nox.Session, version: str) -> None:
    """The PyTorch adapter."""
    session.install("-e", ".[dev]", f"torch=={version}")
    parts = ("", "_marks", "_wishes", "_by_name", "_replan", "_loops", "_clock", "_norms")
    run(session, *(f"{ADAPTERS}torch{part}.py" for part in parts))


@nox.session(python="3.11")
@nox.parametrize("version", ["3.9.2", "3.10.0"])
def keras(session: nox.Session, version: str) -> None:
    """The Keras adapter on PyTorch: Keras 3.9 asks for an older JAX than the tests do."""
    session.install("-e", ".[dev]", f"keras=={version}")
    session.env["KERAS_BACKEND"] = "torch"
    run(session, f"{ADAPTERS}keras.py", f"{ADAPTERS}keras_fits.py")


@nox.session(python="3.11", venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """The lower bounds in pyproject.toml, as uv resolves them."""
    session.install("--resolution", "lowest-direct", "-e", ".[jax,torch]")
    session.install(*TESTS)
    run(session, *CORE, f"{ADAPTERS}optax.py", f"{ADAPTERS}torch.py")

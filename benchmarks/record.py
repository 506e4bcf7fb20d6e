"""What a file of results says beside its numbers: the command, the machine and the versions."""

import contextlib
import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax

RESULTS = Path(__file__).parent / "results"
# The packages that what is trained depends on.
TRAINING = "rex-schedules", "numpy", "scipy", "jax", "jaxlib", "optax", "flax", "scikit-learn"


def write(path: Path, command: str, packages: Iterable[str], results: Mapping[str, Any]) -> None:
    """Write results as JSON, with the command that gives them and what it ran on.

    Args:
        path: The file; its folder is made if it does not exist.
        command: The command line that gives the results again.
        packages: Names of the distributions whose versions matter.
        results: Plain JSON types; NaN and infinities are refused.
    """
    content = {
        "command": command,
        "machine": machine(),
        "versions": versions(packages),
        **results,
    }
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


def read(path: Path) -> Any:
    """The content of a file of results."""
    return json.loads(path.read_text(encoding="utf-8"))


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Append one line of JSON, by one write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(line, ensure_ascii=False, allow_nan=False)
    with path.open("ab", buffering=0) as file:
        # What a killed run may have left begins the line that then cannot be read.
        begun = file.tell() > 0 and not _ends_with_newline(path)
        file.write(("\n" * begun + text + "\n").encode())


def lines(path: Path, start: int = 0) -> Iterator[dict[str, Any]]:
    """The lines of JSON after that many bytes, but none that was cut off; of no file, none."""
    with contextlib.suppress(FileNotFoundError):
        # A line that was cut off may end within a character.
        for text in path.read_bytes()[start:].decode(errors="replace").split("\n"):
            with contextlib.suppress(json.JSONDecodeError):
                yield json.loads(text)


def about(path: Path) -> str:
    """The machines and the versions that the lines of a file were made on, for its report."""
    runs = [line for line in lines(path) if "machine" in line]
    machines = {f"{run['machine']['cpu']}, {run['machine']['cores']} cores" for run in runs}
    packages = {f"{name} {version}" for run in runs for name, version in run["versions"].items()}
    return f"{'; '.join(sorted(machines))}, with {', '.join(sorted(packages))}"


def machine() -> dict[str, Any]:
    """The processor, the number of its cores, and JAX's device; nothing that names the host."""
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "device": jax.devices()[0].device_kind,
    }


def versions(packages: Iterable[str]) -> dict[str, str | None]:
    """The versions of Python and of the distributions; None for those that are not installed."""
    return {"python": platform.python_version()} | {name: _version(name) for name in packages}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"

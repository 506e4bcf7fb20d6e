"""Wheel, sdist and editable install make the same packages importable, and nothing else."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
# Found by looking, not read from pyproject.toml: a package forgotten there must fail here.
SOURCES = [ROOT / "rex_core", *(init.parent for init in ROOT.glob("adapters/*/__init__.py"))]
PACKAGES = {source.name: source for source in SOURCES}
FOLDERS = ["adapters", "benchmarks", "tests"]

# All on one worker, so that the build is paid for once.


class Built(NamedTuple):
    sdist: Path
    wheel_of_sdist: Path
    wheel_of_tree: Path
    target: Path  # where the wheel of the sdist is installed


def python(*args: str | Path, cwd: Path = ROOT) -> str:
    run = subprocess.run([sys.executable, "-I", *args], cwd=cwd, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    out = tmp_path_factory.mktemp("built")
    build = ["-m", "build", "--no-isolation", "--outdir"]
    # Told nothing more, `build` makes the sdist and then the wheel from what the sdist holds.
    python(*build, out)
    python(*build, out / "tree", "--wheel")
    (sdist,), (wheel,), (wheel_of_tree,) = (
        out.glob(p) for p in ("*.tar.gz", "*.whl", "tree/*.whl")
    )
    python("-m", "pip", "install", "-q", "--no-deps", "--target", out / "target", wheel)
    return Built(sdist, wheel, wheel_of_tree, out / "target")


def test_wheel_holds_the_packages_and_nothing_else(built: Built) -> None:
    expected = {
        path.relative_to(source.parent).as_posix()
        for source in SOURCES
        for path in source.rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }
    assert expected >= {f"{package}/py.typed" for package in PACKAGES}
    names = zipfile.ZipFile(built.wheel_of_sdist).namelist()
    assert {name for name in names if ".dist-info/" not in name} == expected


def test_wheel_of_sdist_is_wheel_of_tree(built: Built) -> None:
    wheels = built.wheel_of_sdist, built.wheel_of_tree
    of_sdist, of_tree = (sorted(zipfile.ZipFile(wheel).namelist()) for wheel in wheels)
    assert of_sdist == of_tree


def test_sdist_holds_what_a_reader_needs_and_no_caches(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        parts = [Path(name).parts[1:] for name in archive.getnames()]
    texts = {"CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md"}
    texts |= {"constraints.txt", "noxfile.py"}
    added = {".gitignore", "PKG-INFO", "pyproject.toml"}
    folders = {name for name in ["rex_core", *FOLDERS] if any((ROOT / name).rglob("*.py"))}
    assert {part[0] for part in parts} == texts | added | folders | {"docs", "examples"}
    assert {Path(part[-1]).suffix for part in parts}.isdisjoint({".pyc", ".whl", ".stamp"})


@pytest.mark.long
@pytest.mark.parametrize("package", PACKAGES)
def test_wheel_alone_is_importable(built: Built, tmp_path: Path, package: str) -> None:
    code = f"import sys; sys.path.insert(0, {str(built.target)!r}); import {package} as package"
    origin = python("-c", f"{code}; print(package.__file__)", cwd=tmp_path).strip()
    assert Path(origin) == built.target / package / "__init__.py"


def test_the_wheel_has_the_command(built: Built, tmp_path: Path) -> None:
    command = [built.target / "bin" / "rex", "values", "--profile", "linear", "-T", "2"]
    environment = os.environ | {"PYTHONPATH": str(built.target)}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("t  value\n0  1.0\n1  0.5\n2  0.0\n", "")


@pytest.mark.parametrize("name", [*PACKAGES, *FOLDERS])
def test_editable_install_exposes_the_packages_alone(tmp_path: Path, name: str) -> None:
    url = metadata.distribution("rex-schedules").read_text("direct_url.json")
    if not json.loads(url or "{}").get("dir_info", {}).get("editable"):
        pytest.skip("rex-schedules is not an editable install; `pip install -e .` makes it one")
    # Not the spec's origin: that is None for a folder without __init__.py, importable all the same.
    code = f"from importlib.util import find_spec; spec = find_spec({name!r})"
    where = "*(spec.submodule_search_locations if spec else [])"
    found = python("-c", f"{code}; print({where})", cwd=tmp_path).strip()
    assert found == str(PACKAGES.get(name, ""))


def test_metadata(built: Built) -> None:
    (distribution,) = metadata.distributions(path=[str(built.target)])
    fields = distribution.metadata
    assert (fields["Name"], fields["License-Expression"]) == ("rex-schedules", "Apache-2.0")
    extras = {"bench", "cli", "dev", "dev-trainers", "docs", "jax", "keras", "optuna", "peers"}
    extras |= {"ray", "torch"}
    assert set(fields.get_all("Provides-Extra") or ()) == extras
    requirements = [Requirement(line) for line in distribution.requires or ()]
    runtime = {requirement.name for requirement in requirements if not requirement.marker}
    assert runtime == {"array-api-compat", "numpy"}


def test_no_file_of_the_core_is_long() -> None:
    lengths = {
        path.name: len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / "rex_core").glob("*.py")
    }
    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}

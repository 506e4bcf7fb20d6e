"""The README and each page in docs/: the Python in them, and the commands in their consoles."""

import doctest
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
TRAIN = "choose-on-a-tenth.md", "jax.md", "keras.md", "sixteen-bits.md", "which-peak.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def named(page):
    """A page as a parameter, under its path."""
    marks = pytest.mark.long if page.name in TRAIN else ()
    return pytest.param(page, marks=marks, id=page.relative_to(ROOT).as_posix())


# Keras hands NumPy arrays of JAX and PyTorch to NumPy in the old way.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
@pytest.mark.parametrize("page", [*map(named, PAGES)])
def test_code_blocks(page):
    text = page.read_text(encoding="utf-8")
    namespace = {"__name__": page.stem}
    blocks = list(PYTHON.finditer(text))
    assert len(blocks) == text.count("```python")
    for block in blocks:
        code, line = block[1], text[: block.start(1)].count("\n")
        if ">>>" not in code:
            exec(compile("\n" * line + code, str(page), "exec"), namespace)
            continue
        test = doctest.DocTestParser().get_doctest(code, namespace, page.name, str(page), line)
        test.globs = namespace
        results = doctest.DocTestRunner().run(test, clear_globs=False)
        assert results.attempted > 0
        assert results.failed == 0


def run(command, folder, shell):
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=shell,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def consoles(text, folder, shell):
    """Each console as it is written, and as it is when its commands run one after the other.

    A block of data whose first line is a comment with the name of a file is that file.
    """
    for kind, content in BLOCK.findall(text):
        first, _, rest = content.partition("\n")
        if kind in ("toml", "yaml", "text") and first.startswith("# "):
            (folder / first.removeprefix("# ")).write_text(rest)
        if kind == "console":
            seen, status = "", 0
            for command in re.findall(r"^\$ (.*)\n", content, re.MULTILINE):
                done = run(f"(exit {status})\n{command}", folder, shell)  # For what $? shows.
                status = done.returncode
                seen += f"$ {command}\n{done.stdout}"
            yield content, seen


CONSOLES = [page for page in PAGES if "```console" in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", [*map(named, CONSOLES)])
def test_consoles(page, tmp_path, shell):
    text = page.read_text(encoding="utf-8")
    found = [*consoles(text, tmp_path, shell)]
    assert len(found) == text.count("```console")
    for written, seen in found:
        assert written == seen


def test_the_commands_of_the_readme_run(tmp_path, shell):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = [line for line in text.splitlines() if line.startswith("rex ")]
    assert len(commands) >= 2
    for command in commands:
        done = run(command, tmp_path, shell)
        assert done.returncode == 0, done.stdout

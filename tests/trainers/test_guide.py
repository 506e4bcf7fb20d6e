"""The blocks of the guide that need a trainer; tests/test_readme.py runs the others."""

import re
from pathlib import Path

import pytest

from tests.trainers.extra import trainers_warn

PAGE = Path(__file__).parents[2] / "docs/guides/trainers.md"
BLOCKS = re.compile(r"^## ([^\n]*)\n(?:(?!^## ).)*?^```py\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(("heading", "code"), BLOCKS.findall(PAGE.read_text(encoding="utf-8")))
@trainers_warn
def test_block(heading, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SILENT", "true")
    try:
        exec(compile(code, heading, "exec"), {"__name__": "guide"})
    except ImportError as error:
        pytest.skip(f"{error}: `make test-trainers` has most of the trainers")

"""The Python of the README and of each page in docs/, block after block in one namespace."""

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


# Keras hands NumPy arrays of JAX and PyTorch to NumPy in the old way.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
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

"""The README's Python, block after block in one namespace, as a reader would type it."""

import doctest
import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def test_code_blocks():
    text = README.read_text(encoding="utf-8")
    namespace = {"__name__": "readme"}
    blocks = list(PYTHON.finditer(text))
    assert len(blocks) == text.count("```python")
    for block in blocks:
        code, line = block[1], text[: block.start(1)].count("\n")
        if ">>>" not in code:
            exec(compile("\n" * line + code, str(README), "exec"), namespace)
            continue
        test = doctest.DocTestParser().get_doctest(code, namespace, "README", str(README), line)
        test.globs = namespace
        results = doctest.DocTestRunner().run(test, clear_globs=False)
        assert results.attempted > 0
        assert results.failed == 0

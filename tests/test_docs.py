"""The pages: they build without a warning, and ask no other host for anything."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOADED = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=\"((?:https?:)?//[^\"]*)")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The pages, built."""
    pytest.importorskip("sphinx", reason="the extra [docs] is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(ROOT / "docs")]
    run = subprocess.run([*command, str(folder)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return folder


@pytest.mark.long
def test_every_page_is_in_the_contents(site):
    pages = {path.relative_to(ROOT / "docs").with_suffix("") for path in ROOT.glob("docs/**/*.md")}
    assert pages <= {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")}
    contents = (site / "index.html").read_text(encoding="utf-8")
    missing = [page for page in pages if page.name != "index" and f"{page}.html" not in contents]
    assert missing == []


@pytest.mark.long
def test_no_page_loads_from_another_host(site):
    loaded = {
        page.name: LOADED.findall(page.read_text(encoding="utf-8")) for page in site.rglob("*.html")
    }
    assert {name: found for name, found in loaded.items() if found} == {}


@pytest.mark.long
def test_pictures_are_drawn(site):
    text = (site / "profiles.html").read_text(encoding="utf-8")
    pictures = re.findall(r"<img [^>]*src=\"(_images/[^\"]*)", text)
    assert len(pictures) >= 6
    assert all((site / picture).stat().st_size > 1000 for picture in pictures)


def test_the_readme_is_short_and_its_links_hold():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    links = re.findall(r"\]\((?!https?:)([^)#]*)", text)
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []

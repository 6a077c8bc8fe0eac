"""The site of the docs: it builds without a network, in two languages, and what it says of the code is in the code."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
QUOTED = re.compile(r'```py title="([^"]+)"\n(.*?)```', re.DOTALL)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder], cwd=ROOT, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_every_page_is_there_in_both_languages(site: Path) -> None:
    for page in (path for path in DOCS.glob("*.md") if ".zh." not in path.name):
        for folder in (site, site / "zh"):
            assert (folder / f"{page.stem}.html").is_file()
    assert "开始使用" in (site / "zh" / "index.html").read_text(encoding="utf-8")


def test_no_page_needs_a_network(site: Path) -> None:
    loaded = re.compile(r'<(?:script|img|iframe)[^>]+src="(https?:[^"]+)"|<link[^>]+rel="stylesheet"[^>]+href="(https?:[^"]+)"')
    for page in site.rglob("*.html"):
        assert loaded.findall(page.read_text(encoding="utf-8")) == [], page.name


@pytest.mark.parametrize("page", ["concepts.md", "concepts.zh.md"])
def test_quoted_lines_are_in_the_code(page: str) -> None:
    quoted = QUOTED.findall((DOCS / page).read_text(encoding="utf-8"))
    assert len(quoted) > 10
    for file, lines in quoted:
        code = (ROOT / "src" / "braid" / file).read_text(encoding="utf-8")
        assert all(line in code for line in lines.splitlines()), f"{file}: {lines}"


def test_both_pages_of_concepts_quote_the_same_lines() -> None:
    english, chinese = (QUOTED.findall((DOCS / page).read_text(encoding="utf-8")) for page in ("concepts.md", "concepts.zh.md"))
    assert english == chinese

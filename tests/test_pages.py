"""Every page that Braid writes: what people and models say stays text, and nothing is loaded from elsewhere."""

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from braid.index import Hit
from braid.metrics.statistics import Difference, over_seeds
from braid.reports import Compared, ComparedCell, Finding, write_compared
from braid.search import results_page
from conftest import Ran

HOSTILE = "<img src=x onerror=alert(1)>"
POLICY = re.compile(
    r"default-src 'none'; img-src data:; (media-src data:; )?style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)


class Tags(HTMLParser):
    """The tags of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def check(text: str) -> None:
    assert POLICY.search(text)
    for tag, attributes in Tags(text).found:
        assert tag != "script"
        assert not any(name.startswith("on") for name in attributes), attributes
        assert (attributes.get("src") or "data:").startswith("data:"), attributes
        assert not (attributes.get("href") or "").lower().startswith("javascript"), attributes


@pytest.fixture
def hostile(photos: Path) -> Path:
    """A folder of images and a table in which names and captions are markup."""
    folder = photos.parent / HOSTILE
    folder.mkdir()
    rows = []
    for number in range(2):
        shutil.copy(photos / f"{number}.png", folder / f"{number}{HOSTILE}.png")
        rows.append({"image": f"{number}{HOSTILE}.png", "caption": f"a ball {HOSTILE}"})
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_pages_of_the_command_line(braid: Callable[..., Ran], captioner: Path, hostile: Path, tmp_path: Path) -> None:
    page, rows = tmp_path / "page.html", ["--data", hostile / "data.jsonl"]
    for words in (
        ["evaluate", "-m", captioner, *rows, "--html", page],
        ["demo", hostile, "-m", captioner, "-o", page],
        ["explain", hostile / f"0{HOSTILE}.png", "-m", captioner, "-o", page],
    ):
        ran = braid(*words)
        assert ran.code == 0, ran.err
        check(page.read_text())
        assert words[0] == "explain" or "&lt;img src=x onerror" in page.read_text()  # it is shown


def test_page_of_a_search(hostile: Path) -> None:
    check(results_page(hostile, [Hit(str(hostile / f"0{HOSTILE}.png"), 0.5, {"path": HOSTILE})], HOSTILE))


def test_page_of_a_comparison(tmp_path: Path) -> None:
    one = over_seeds([0.5, 0.6])
    cell = ComparedCell(HOSTILE, False, {"accuracy": one}, 1, 1.0, 1.0, 1, None, {HOSTILE: Difference(0.1, 0.0, 0.2, 0.5)})
    said = (Finding(HOSTILE, HOSTILE, True, (HOSTILE,)),)
    failed = {HOSTILE: HOSTILE}
    rest = (HOSTILE, HOSTILE, 2, (0, 1), "accuracy", "higher", HOSTILE, (HOSTILE,), (cell,), failed, said, (HOSTILE,))
    write_compared(Compared(HOSTILE, HOSTILE, *rest), tmp_path / "page.html")
    check((tmp_path / "page.html").read_text())

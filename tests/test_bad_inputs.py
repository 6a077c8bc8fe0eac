"""docs/bad-inputs.md says what Braid says, word for word."""

import shutil
from pathlib import Path

import pytest

from bad.case import CASES, Case, make_home
from bad_inputs import HEADINGS, PAGE, row


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("bad") / "template"
    make_home(home)
    return home


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{case.kind}: {case.what}"[:80]) for case in CASES])
def test_the_page_says_what_braid_says(case: Case, template: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(template, home)
    assert row(case, case.says(home)) in PAGE.read_text(encoding="utf-8").splitlines()


def test_the_page_has_no_row_more() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert len(rows) == len(CASES) + len(HEADINGS)

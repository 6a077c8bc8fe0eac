"""The floors are written once, in pyproject.toml; the docs hold what is made from it."""

from pathlib import Path

import pytest

from floors_table import PACKAGE, PAGES, floors, with_floors


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_docs_hold_the_floors(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == with_floors(text, PAGES[page]()), f"{page.name} is out of date; run: python tests/floors_table.py"


def test_every_module_has_a_floor() -> None:
    modules = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert {name for names in floors() for name in names} == modules - {"__init__", "__main__"}

"""The reference of settings: complete, current, and found by name."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from braid import cli
from braid.cli.settings_reference import find_parts, markdown
from braid.errors import UserError

PAGE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"


def test_every_setting_has_a_meaning() -> None:
    parts = find_parts("")
    assert len(parts) > 50
    without = [f"{part.path}.{setting.name}" for part in parts for setting in part.settings if not setting.meaning]
    assert without == [], "write a line in the Args: section of the class"
    assert [part.path for part in parts if not part.about] == []


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == markdown(), "run: braid settings --markdown > docs/settings.md"


def test_a_part_is_found_by_its_group_or_its_path() -> None:
    assert {part.path for part in find_parts("fusions")} == {part.path for part in find_parts("fusion")}
    assert [part.path for part in find_parts("modalities")] == [part.path for part in find_parts("modality")]
    (part,) = find_parts("fusion.attention")
    settings = {setting.name: setting for setting in part.settings}
    assert (settings["depth"].type, settings["depth"].default) == ("whole number", "1")
    assert settings["depth"].meaning


@pytest.mark.parametrize(
    ("wanted", "message"), [("fusoin", "(did you mean 'fusion'?)"), ("fusion.atention", "(did you mean 'fusion.attention'?)")]
)
def test_an_unknown_part_names_the_closest(wanted: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        find_parts(wanted)
    assert f"there are no settings of {wanted!r}; choose from " in str(caught.value)
    assert message in str(caught.value)


def test_the_terminal_shows_a_part() -> None:
    shown = CliRunner().invoke(cli.app, ["settings", "optimizer"], env={"COLUMNS": "120"})
    assert shown.exit_code == 0
    assert "learning_rate" in shown.output
    assert "0.0005" in shown.output

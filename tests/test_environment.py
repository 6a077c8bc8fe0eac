"""What the surroundings of a process say: numbers in environment variables, the terminal, the home, the current folder."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from braid.environment import drop_odd_widths, place_in_group, threads
from braid.errors import UserError
from braid.training.features import cache_folder
from braid.training.sections import AUTO
from conftest import Ran

Braid = Callable[..., Ran]


def ran(arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command in a shell, in which ``braid`` is the command."""
    command = f'braid() {{ "{sys.executable}" -m braid "$@"; }}; {arguments}'
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("value", "number"),
    [("2,2", 2), ("4", 4), (" 3 , 1", 3), ("auto", 0), ("0", 0), ("-1", 0), ("", 0), ("1.5", 0), ("²", 0), ("9" * 5000, 0)],
)
def test_omp_num_threads(value: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert threads() == number


def test_omp_num_threads_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads() == 0


@pytest.mark.parametrize("value", ["2,2", "auto", "-1", ""])
def test_a_model_runs_with_any_number_of_threads(value: str, braid: Braid, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    result = braid("caption", photos / "0.png")
    assert (result.code, result.err) == (0, "")


def test_a_rank_that_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(UserError) as message:
        place_in_group("WORLD_SIZE", 1)
    assert str(message.value) == (
        "the environment variable WORLD_SIZE is 'two', not a whole number; start Braid with torchrun, or unset it"
    )
    monkeypatch.setenv("WORLD_SIZE", "")
    assert place_in_group("WORLD_SIZE", 1) == 1


def test_widths_that_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("0", "x", "-3", "", "²", "99999999"):
        monkeypatch.setenv("COLUMNS", value)
        drop_odd_widths()
        assert "COLUMNS" not in os.environ
    monkeypatch.setenv("COLUMNS", "120")
    drop_odd_widths()
    assert os.environ["COLUMNS"] == "120"


def test_a_terminal_without_width_colour_or_unicode(photos: Path) -> None:
    expected = ran("braid caption .", photos).stdout
    for variables in ({"COLUMNS": "0"}, {"COLUMNS": "x"}, {"TERM": "dumb"}, {"TERMINAL_WIDTH": "x"}, {"LINES": "0"}):
        result = ran("braid caption . && braid --help | head -3", photos, **variables)
        assert (result.returncode, result.stderr) == (0, "")
        assert expected.split() == result.stdout.split()[: len(expected.split())]


def test_a_reader_that_closes_the_pipe(photos: Path) -> None:
    """``| head -1`` shows one line, and no traceback."""
    for command in ("braid caption .", "braid caption . --json", "braid settings", "braid --help", "braid inspect --json"):
        result = ran(f"set -o pipefail; {command} | true; echo $?; {command} | head -1", photos)
        assert result.stderr == "", command
        assert result.stdout.splitlines()[0] in ("0", "1"), command


def test_a_closed_output(photos: Path) -> None:
    result = ran("braid caption 0.png >&-; echo $?; braid caption 0.png --json >&- 2>&-; echo $?", photos)
    assert result.stderr == ""
    assert result.stdout.split() == ["0", "0"]


def test_without_a_home(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = ran("env -u HOME braid caption 0.png; unset HOME; braid caption 0.png", photos)
    assert result.returncode == 0
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("BRAID_CACHE", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # no such user
    assert cache_folder(AUTO).is_absolute()


def test_a_current_folder_that_was_removed(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    result = ran("cd gone; rmdir ../gone; braid caption dog.jpg; echo $?; braid train a.csv", tmp_path)
    assert result.stdout == "1\n"
    assert result.stderr == 2 * "error: the folder that you are in was removed; change to another one\n"

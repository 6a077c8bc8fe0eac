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


def test_without_a_home(photos: Path) -> None:
    assert ran("env -u HOME braid caption 0.png; unset HOME; braid caption 0.png", photos).returncode == 0


def test_the_folder_of_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CACHE_HOME", "BRAID_CACHE"):
        monkeypatch.setenv(name, "")
    assert cache_folder(AUTO) == tmp_path / ".cache" / "braid" / "features"
    monkeypatch.setenv("BRAID_CACHE", "~/mine")
    assert cache_folder(AUTO) == cache_folder("~/mine") == tmp_path / "mine"
    (tmp_path / "file").touch()
    for none in (tmp_path / "file", "/proc/none", "~no-such-user/x"):
        monkeypatch.setenv("BRAID_CACHE", str(none))
        assert cache_folder(AUTO) is None
    monkeypatch.setenv("BRAID_CACHE", "")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # a process without a home
    assert cache_folder(AUTO) is None


def test_a_current_folder_that_was_removed(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    result = ran("cd gone; rmdir ../gone; braid caption dog.jpg; echo $?; braid train a.csv", tmp_path)
    assert result.stdout == "1\n"
    assert result.stderr == 2 * "error: the folder that you are in was removed; change to another one\n"


FORKED = """
import multiprocessing, sys
import braid
model = braid.load(runtime=sys.argv[1])
expected = model.caption("0.png")
def answer(queue):
    queue.put(model.caption("0.png"))
context = multiprocessing.get_context("fork")
queue = context.Queue()
child = context.Process(target=answer, args=(queue,), daemon=True)
child.start()
print(queue.get(timeout=60) == expected)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("runtime", ["torch", "onnx"])
def test_a_forked_process_answers_with_a_model_that_was_used(runtime: str, photos: Path) -> None:
    """Of the threads that computed before, the child has none."""
    result = subprocess.run(
        [sys.executable, "-c", FORKED, runtime],
        cwd=photos,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.stdout, result.stderr) == ("True\n", "")

"""The command line before any model is loaded: help, version, exit codes, one-line errors."""

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from typer.testing import CliRunner

import braid
from braid import cli
from braid.errors import UserError, install_command

VERBS = [
    "caption",
    "ask",
    "classify",
    "complete",
    "predict",
    "demo",
    "embed",
    "index",
    "search",
    "serve",
    "settings",
    "train",
    "calibrate",
    "average",
    "export",
    "evaluate",
    "audit",
    "compare",
    "inspect",
    "report",
    "score captions",
    "data check",
    "data shard",
    "data clips",
]


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(cli.app, list(arguments), env={"COLUMNS": "120", "TERM": "dumb", "NO_COLOR": "1"})
    assert result.exit_code == 0, result.output
    return result.output


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "braid", *arguments], capture_output=True, text=True)


def test_help_lists_every_verb() -> None:
    listed = set(re.findall(r"^\W*(\w+)  ", shown("--help"), re.MULTILINE))
    assert {verb.split()[0] for verb in VERBS} <= listed


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_what_it_does_with_an_example(verb: str) -> None:
    text = shown(*verb.split(), "--help")
    assert f"braid {verb} " in text.partition("Example")[2]
    assert "--json" in text


def test_version() -> None:
    assert shown("--version") == f"braid {braid.__version__}\n"


def test_an_unknown_verb_or_option_is_wrong_usage() -> None:
    for arguments in (["draw"], ["inspect", "--colour"]):
        result = run(*arguments)
        assert result.returncode == 2
        assert "No such" in result.stderr


def test_an_error_of_the_user_is_one_line_with_json_too() -> None:
    result = run("inspect", "no-such-model", "--json")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: there is no model 'no-such-model'")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (UserError("photos.csv, row 3:\n  no picture"), "error: photos.csv, row 3: no picture\n"),
        (
            ModuleNotFoundError("No module named 'torch'", name="torch"),
            f"error: this needs torch, which is not installed; run: {sys.executable} -m {install_command('train')}\n",
        ),
        (
            ModuleNotFoundError("No module named 'onnx.helper'", name="onnx.helper"),
            f"error: this needs onnx, which is not installed; run: {sys.executable} -m {install_command('onnx')}\n",
        ),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/x"),
            "error: the disk is full; free some space and run the command again (runs/x)\n",
        ),
        (
            FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/proc/run"),
            "error: there is no such place, and none can be made there; check the path (/proc/run)\n",
        ),
        (
            PermissionError(errno.EACCES, os.strerror(errno.EACCES), "out.csv"),
            "error: permission denied; choose a place you may read and write (out.csv)\n",
        ),
    ],
)
def test_what_the_user_can_mend_is_one_line(
    raised: Exception, message: str, failing: Callable[[BaseException], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(raised) == 1
    assert capsys.readouterr().err == message


def test_an_interrupt_exits_with_130(failing: Callable[[BaseException], int]) -> None:
    assert failing(KeyboardInterrupt()) == 130


def test_a_defect_keeps_its_traceback(failing: Callable[[BaseException], int]) -> None:
    for raised in (ValueError("shapes differ"), ModuleNotFoundError("No module named 'braid.x'", name="braid.x")):
        with pytest.raises(type(raised)):
            failing(raised)


def test_a_closed_pipe_is_no_traceback() -> None:
    command = f"{sys.executable} -m braid --help | true"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in result.stderr


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], int]:
    """Run the command line with a verb of our own that raises; returns its exit code."""

    def fail(raised: BaseException) -> int:
        def skipped() -> None:
            raise raised

        monkeypatch.setattr(cli.app, "registered_commands", list(cli.app.registered_commands))
        cli.app.command("broken")(skipped)
        monkeypatch.setattr(sys, "argv", ["braid", "broken"])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return int(left.value.code or 0)

    return fail

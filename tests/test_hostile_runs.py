"""A run that somebody else made, or a file of it that is damaged: it is read, or refused with a message that names the file."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from bad.case import run
from braid.errors import UserError
from braid.reports import describe, write_report
from braid.skipped_rows import SkippedRows
from braid.training import train
from braid.training.checkpoint import FILE as CHECKPOINT

Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(run(), folder)
    return folder


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def message_of(use: Callable[[], object], folder: Path) -> str:
    with pytest.raises(UserError) as message:
        use()
    return str(message.value).replace(str(folder), "run")


def piped(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def record(**values: Any) -> Change:
    return lambda path: path.write_text(json.dumps({"step": 1, "epoch": 0, "loss": 1.0, "seconds": 1.0, **values}) + "\n")


LOGS: dict[str, tuple[str, Change, str]] = {
    "a line that is no JSON": (
        "log.jsonl",
        lambda path: path.write_text('{"step": 1, "epoch": 0, "loss": 1}\n{step}\n'),
        "run/log.jsonl, line 2, is not JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1)); "
        "copy it again",
    ),
    "a line nested without end": (
        "log.jsonl",
        lambda path: path.write_text('{"a":' * 100_000 + "1" + "}" * 100_000 + "\n"),
        "run/log.jsonl, line 1, is not JSON (it is nested too deeply); copy it again",
    ),
    "no text": (
        "log.jsonl",
        lambda path: path.write_bytes(b"{}\n\xff{}\n"),
        "run/log.jsonl is not UTF-8 text (line 2, byte 3); save it as UTF-8",
    ),
    "a pipe": ("log.jsonl", piped, "run/log.jsonl is a pipe or a device; put the file itself there"),
    "no step": (
        "log.jsonl",
        lambda path: path.write_text('{"loss": 1}\n'),
        "run holds other values than Braid writes (KeyError: 'step'); copy it again",
    ),
    "a step that is a list": (
        "log.jsonl",
        record(step=[1]),
        "run holds other values than Braid writes (TypeError: unhashable type: 'list'); copy it again",
    ),
    "seconds that are text": (
        "log.jsonl",
        record(seconds="few"),
        "run holds other values than Braid writes (",
    ),
    "samples that are text": (
        "samples.jsonl",
        lambda path: path.write_text('{"step": 1, "epoch": 0, "samples": "all"}\n'),
        "run holds other values than Braid writes (",
    ),
    "samples without an epoch": (
        "samples.jsonl",
        lambda path: path.write_text('{"step": 1, "samples": []}\n'),
        "run holds other values than Braid writes (KeyError: 'epoch'); copy it again",
    ),
    "settings that are a pipe": ("run.yaml", piped, "run/run.yaml is a pipe or a device; put the file itself there"),
    "a task that is a list": (
        "run.yaml",
        lambda path: path.write_text("task: {kind: [1]}\ntasks: 3\ndata: {path: x}\nmodel: {}\n"),
        "run holds other values than Braid writes (",
    ),
}


@pytest.mark.parametrize("name", LOGS)
def test_a_report_of_a_damaged_run(name: str, copy: Path) -> None:
    file, change, message = LOGS[name]
    change(copy / file)
    assert message_of(lambda: write_report([copy], copy / "page.html"), copy).startswith(message)
    assert not (copy / "page.html").exists()


def test_a_line_that_was_cut_when_its_run_was_killed_is_left_out(copy: Path) -> None:
    whole = (copy / "log.jsonl").read_text()
    (copy / "log.jsonl").write_text(whole + '{"step": 9, "ep')
    (read,) = write_report([copy], copy / "page.html")
    assert len(read.steps) + len(read.epochs) == whole.count("\n")


def test_settings_of_a_run_before_its_first_epoch(copy: Path) -> None:
    shutil.rmtree(copy / "best")
    (copy / "run.yaml").write_text("task: {}\ndata: {path: x}\nmodel: {encoders: 3}\n")
    assert message_of(lambda: describe(copy), copy).startswith("run/run.yaml holds other values than Braid writes (KeyError: ")


def position(text: str) -> Change:
    return lambda path: save_file(load_file(path), path, {"position": text})


AGAIN = "remove the folder and start again"
CHECKPOINTS: dict[str, tuple[Change, str]] = {
    "no position": (
        lambda path: save_file(load_file(path), path),
        f"run/{CHECKPOINT} holds other values than Braid writes (KeyError: 'position'); {AGAIN}",
    ),
    "a position of another kind": (
        position('{"epoch": "one", "batch": 0, "step": 0}'),
        f"run/{CHECKPOINT} holds other values than Braid writes (Type",
    ),
    "a position before the beginning": (
        position('{"epoch": -1, "batch": 0, "step": 0}'),
        f"run/{CHECKPOINT} holds other values than Braid writes (ValueError: a negative position); {AGAIN}",
    ),
    "a position with more": (
        position('{"evil": 1}'),
        f"run/{CHECKPOINT} holds other values than Braid writes (Type",
    ),
    "a best metric that is text": (
        position('{"epoch": 0, "batch": 1, "step": 1, "best": "high"}'),
        f"run/{CHECKPOINT} holds other values than Braid writes (Type",
    ),
    "a parameter that is not there": (
        lambda path: save_file(
            load_file(path) | {"optimizer.step.evil": torch.zeros(())}, path, {"position": '{"epoch": 0, "batch": 1, "step": 1}'}
        ),
        f"run/{CHECKPOINT} belongs to another model: it trains evil, which this run does not have; {AGAIN}",
    ),
    "a pipe": (piped, f"run/{CHECKPOINT} is a pipe or a device; put the file itself there"),
    "a pickle": (
        lambda path: torch.save({"a": torch.zeros(3)}, path),
        f"run/{CHECKPOINT} cannot be read (",
    ),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_of_somebody_else(name: str, copy: Path) -> None:
    change, message = CHECKPOINTS[name]
    change(copy / CHECKPOINT)
    assert message_of(lambda: train(run(), copy, resume=True), copy).startswith(message)


def test_a_log_of_somebody_else_is_not_gone_on_with(copy: Path) -> None:
    (copy / "log.jsonl").write_text('{"loss": 1}\n')
    message = message_of(lambda: train(run(None, "epochs=2"), copy, resume=True), copy)
    assert message == "run/log.jsonl holds other values than Braid writes (KeyError: 'step'); copy it again"


@pytest.mark.parametrize("text", ['{"source": 1}', "[]}", '{"reason": "x"}'])
def test_a_list_of_skipped_rows_that_is_damaged(text: str, tmp_path: Path) -> None:
    (tmp_path / "skipped-rows.jsonl").write_text(text + "\n")
    message = message_of(lambda: SkippedRows(print).load(tmp_path / "skipped-rows.jsonl"), tmp_path)
    assert message.startswith("run/skipped-rows.jsonl") and message.endswith("; remove it")


@pytest.mark.parametrize("text", ["{", '{"stages": 3}', "[]", '{"stages": [{"name": 1}]}'])
def test_the_list_of_stages_of_a_run_that_is_damaged(text: str, copy: Path) -> None:
    from braid.training.budget import LIST, train_in_stages

    (copy / LIST).write_text(text)
    message = message_of(lambda: train_in_stages(run(), copy, "10m", True), copy)
    assert message.startswith(f"run/{LIST}")

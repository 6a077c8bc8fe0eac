"""Sinks follow log.jsonl: nothing twice, nothing that could end a run. TensorBoard's files are read back."""

import json
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from braid.errors import UserError, install_command
from braid.sinks import TensorBoardSinkConfig, metrics
from braid.training import Watcher, read_run, run_from, train
from braid.training.config import RunConfig


def tiny(captioner: Path, *settings: str) -> RunConfig:
    return read_run(captioner / "run.yaml", ["epochs=2", "checkpoint_steps=4", *settings])


def records(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def shown(folder: Path) -> Counter[tuple[str, int]]:
    """(name, step) -> how often it stands in the event files (records of a length, a checksum, the data, a checksum)."""
    from tensorboardX.proto.event_pb2 import Event

    result: Counter[tuple[str, int]] = Counter()
    for path in folder.glob("events.*"):
        data, place = path.read_bytes(), 0
        while place < len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            event = Event.FromString(data[place + 12 : place + 12 + length])
            result.update((value.tag, event.step) for value in event.summary.value)
            place += length + 16
    return result


def expected(run: Path) -> Counter[tuple[str, int]]:
    return Counter((name, record["step"]) for record in records(run) for name in metrics(record))


def test_tensorboard_gets_every_record_once(captioner: Path, tmp_path: Path) -> None:
    train(tiny(captioner, "sinks=[tensorboard]"), tmp_path / "run")
    result = shown(tmp_path / "run" / "tensorboard")
    assert result == expected(tmp_path / "run")
    assert set(result.values()) == {1}
    assert {("train/loss", 1), ("train/learning_rate", 12), ("val/loss", 6), ("val/cider", 12)} <= set(result)


def test_a_killed_and_resumed_run_tells_nothing_twice(captioner: Path, tmp_path: Path) -> None:
    """Killed at step 8: the sink is ahead of the checkpoint, which is of step 6; steps 7 and 8 are taken again."""
    code = (
        "import os, sys; from pathlib import Path; from braid.training import Watcher, followers, read_run, train\n"
        "followers.SECONDS = 0.0\n"
        f"config = read_run(Path({str(captioner / 'run.yaml')!r}), ['epochs=2', 'checkpoint_steps=6', 'sinks=[tensorboard]'])\n"
        f"train(config, Path({str(tmp_path / 'run')!r}), watcher=Watcher(on_step=lambda r: r['step'] == 8 and os._exit(9)))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 9
    before = shown(tmp_path / "run" / "tensorboard")
    assert ("train/loss", 7) in before
    assert records(tmp_path / "run")[-1]["step"] == 8
    train(tiny(captioner, "sinks=[tensorboard]", "checkpoint_steps=6"), tmp_path / "run", resume=True)
    after = shown(tmp_path / "run" / "tensorboard")
    assert after == expected(tmp_path / "run")


def test_a_sink_added_later_gets_the_whole_log(captioner: Path, tmp_path: Path) -> None:
    def stop(record: dict[str, Any]) -> None:
        if record["step"] == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny(captioner), tmp_path / "run", watcher=Watcher(on_step=stop))
    train(tiny(captioner, "sinks=[tensorboard]"), tmp_path / "run", resume=True)
    assert shown(tmp_path / "run" / "tensorboard") == expected(tmp_path / "run")


def test_a_run_begun_again_leaves_nothing_of_the_attempt_before_it(captioner: Path, tmp_path: Path) -> None:
    def stop(record: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny(captioner, "sinks=[tensorboard]"), tmp_path / "run", watcher=Watcher(on_step=stop))
    train(tiny(captioner, "sinks=[tensorboard]", "seed=5"), tmp_path / "run")
    assert shown(tmp_path / "run" / "tensorboard") == expected(tmp_path / "run")


@pytest.mark.parametrize(("kind", "package"), [("tensorboard", "tensorboardX"), ("wandb", "wandb"), ("mlflow", "mlflow")])
def test_a_package_that_is_not_installed_is_told_once(
    kind: str, package: str, captioner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [package, *(name for name in sys.modules if name.startswith(package + "."))]:
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not there, loaded or not
    notes: list[str] = []
    train(tiny(captioner, f"sinks=[{kind}]", "epochs=1"), tmp_path / "run", watcher=Watcher(on_note=notes.append))
    message = f"sink {kind} is disabled: {package} is not installed; run: {install_command(kind)}; log.jsonl has everything"
    assert [note for note in notes if note.startswith("sink")] == [message]
    assert (tmp_path / "run" / "best").is_dir()


def test_a_sink_that_fails_half_way_is_left_behind(captioner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboardX.event_file_writer import EventsWriter

    def skipped(*_: Any) -> None:
        raise ConnectionError("no route to host\nand more")

    monkeypatch.setattr(EventsWriter, "write_event", skipped)
    notes: list[str] = []
    outcome = train(tiny(captioner, "sinks=[tensorboard]"), tmp_path / "run", watcher=Watcher(on_note=notes.append))
    assert [note for note in notes if note.startswith("sink")] == [
        "sink tensorboard is disabled: ConnectionError: no route to host; log.jsonl has everything"
    ]
    assert [record["epoch"] for record in records(outcome.folder) if "val_loss" in record] == [0, 1]


def test_a_name_alone_is_a_sink_with_its_default_settings(captioner: Path) -> None:
    config = tiny(captioner, "sinks=[tensorboard, {kind: wandb, project: mine}]")
    assert config.sinks[0] == TensorBoardSinkConfig()
    assert (config.sinks[1].kind, config.sinks[1].project, config.sinks[1].mode) == ("wandb", "mine", "offline")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "sinks=[tensorbord]",
            r"sinks\[0\].kind is 'tensorbord'; choose from mlflow, tensorboard, wandb \(did you mean 'tensorboard'\?\)",
        ),
        ("sinks=tensorboard", r"sinks is 'tensorboard', not a list"),
        ("sinks=[wandb, wandb]", r"sinks lists wandb twice; list each once"),
        ("sinks=[{kind: wandb, mode: disabled}]", r"sinks\[0\].mode is 'disabled'; choose from offline, online"),
    ],
)
def test_a_sink_that_cannot_be_is_told(setting: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        run_from({"task": "captioning", "data": {"path": "scenes:captioning"}, "model": "tiny"}, [setting])

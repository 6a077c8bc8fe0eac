"""Going on with a run: more epochs or fewer, data that moved, other data than it began with."""

import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from braid.errors import UserError
from braid.training import Stopped, Watcher, read_run, train
from braid.training.checkpoint import Position
from braid.training.resuming import check_meaning, ended
from conftest import Ran
from test_training import log, tiny


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    train(tiny("epochs=1"), folder)
    return folder


def test_more_epochs_of_a_finished_run_are_trained(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    again = train(tiny("epochs=1"), folder, resume=True)
    best = max(record["cider"] for record in log(finished) if "cider" in record)
    assert (again.steps, again.stopped_early, again.best) == (0, False, best)
    assert again.ended == "its epoch is done; more are trained with --resume --set epochs=2"
    more = train(tiny("epochs=2"), folder, resume=True)
    assert (more.steps, more.ended[:21]) == (6, "all 2 epochs are done")
    assert [record["epoch"] for record in log(folder) if "val_loss" in record] == [0, 1]
    assert read_run(folder / "run.yaml").epochs == 2  # a run that is killed goes on with them
    fewer = train(tiny("epochs=1"), folder, resume=True)
    assert (fewer.steps, fewer.ended) == (
        0,
        "2 epochs are done already, and epochs is 1; more are trained with --resume --set epochs=4",
    )
    timed = train(tiny("epochs=3", "time=10m"), folder, resume=True)
    assert timed.steps == 6 and read_run(folder / "run.yaml").epochs == 3


def test_a_run_that_was_stopped_before_an_evaluation_goes_on_with_that(tmp_path: Path, braid: Callable[..., Ran]) -> None:
    folder, steps = tmp_path / "run", list[int]()

    def stop(record: dict[str, Any]) -> None:
        steps.append(record["step"])
        if len(steps) == 6:  # the last of the epoch
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        train(tiny("epochs=1"), folder, watcher=Watcher(on_step=stop))
    ran = braid("train", "--output", folder, "--resume", "--set", "epochs=1")
    assert (ran.code, ran.out.splitlines()[0]) == (0, "Trained"), ran.err
    assert [record["step"] for record in log(folder) if "val_loss" in record] == [6]
    assert braid("train", "--output", folder, "--resume", "--set", "epochs=1").code == 1


def test_moved_data_are_named_when_a_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path starts from the working folder; the folder of the run may move, too."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    Image.new("RGB", (32, 32), "red").save("red.png")
    Path("a.csv").write_text("image,caption,split\nred.png,a red square,train\nred.png,a red square,val\n")
    train(tiny("epochs=1", "data.path=a.csv"), Path("run"))
    (home / "run").rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        train(read_run(Path("moved/run.yaml"), ["epochs=2"]), Path("moved"), resume=True)
    assert str(error.value) == (
        f"moved was trained on a.csv, which does not exist in {tmp_path}; go to the folder that the path starts from, "
        "or say where it is now: --set data.path=PATH"
    )
    more = train(read_run(Path("moved/run.yaml"), ["epochs=2", "data.path=home/a.csv"]), Path("moved"), resume=True)
    assert more.steps == 1 and read_run(Path("moved/run.yaml")).data.path == "home/a.csv"


def test_a_run_that_stopped_early_says_so_and_how_it_goes_on() -> None:
    position = Position(epoch=3, best=5.0, best_epoch=0)
    reason = "it stopped early, 2 epochs after its best cider; it goes on with --resume --set evaluation.patience=0"
    assert ended(tiny("epochs=9", "evaluation.patience=2"), position) == reason
    assert ended(tiny("epochs=9"), position) == ""
    timed = ended(tiny("epochs=9", "time=10m"), replace(position, done=True))
    assert timed == "its time was over after 3 of 9 epochs; it goes on with --resume --time 10m"


def test_other_rows_are_refused_by_a_run_that_goes_on(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    with pytest.raises(UserError) as caught:
        train(tiny("epochs=2", "data.limit_train=40", "tokenizer.vocab_size=290"), tmp_path / "run", resume=True)
    assert str(caught.value) == (
        f"{tmp_path / 'run'} was trained on other data: the vocabulary of tokenizer is not the same. Resume with the data of "
        f"the run, or begin a new one from its weights: --start {tmp_path / 'run'} and another --output"
    )
    for name, before, now, change in (
        ("outputs.label.labels", ["0", "1"], ["x", "y"], "was ['0', '1'] and is ['x', 'y'] now"),
        ("the number of training rows of vqa", 12, 14, "was 12 and is 14 now"),
        ("task", ["vqa"], ["captioning"], "was ['vqa'] and is ['captioning'] now"),
    ):
        with pytest.raises(UserError, match=re.escape(f"other data: {name} {change}.")):
            check_meaning(tmp_path, {name: before}, json.dumps({name: now}))

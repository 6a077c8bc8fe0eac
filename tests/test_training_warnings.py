"""What training says before and after it: what teaches nothing, what cannot be measured, and who else works in the folder."""

import os
from pathlib import Path

import pytest

from braid.bundle import read_bundle
from braid.errors import UserError
from braid.training import Watcher, run_from, train, train_in_stages
from braid.training.guard import claimed
from test_training import TINY, log, tiny


def test_labels_that_training_never_showed_and_other_labels_are_told(tmp_path: Path) -> None:
    """No val row has a label that can be answered: the loss is not 0, it is not known. Then all labels have other names."""
    rows = [("train", "red"), ("train", "blue"), ("train", "red"), ("val", "green"), ("val", "grey")]
    table = tmp_path / "posts.csv"
    table.write_text("text,label,split\n" + "".join(f"post {n},{label},{split}\n" for n, (split, label) in enumerate(rows)))
    whole = {**TINY, "task": "classification", "data": {"path": str(table)}, "inputs": {"prompt": TINY["inputs"]["prompt"]}}
    notes: list[str] = []
    train(run_from(whole, ["epochs=1"]), tmp_path / "run", watcher=Watcher(on_note=notes.append))
    unseen = "2 of 2 rows have a label that training never showed (green, grey), which this model cannot give"
    assert f"warning: val: {unseen}, so no answer can be right and no loss be measured" in notes
    assert [record["val_loss"] for record in log(tmp_path / "run") if "val_loss" in record] == [None]
    assert "val_loss" not in read_bundle(tmp_path / "run" / "best").interface.card.scores
    table.write_text(table.read_text().replace("red", "x").replace("blue", "y"))
    with pytest.raises(UserError, match=r"outputs.label.labels was \['blue', 'red'\] and is \['x', 'y'\] now"):
        train(run_from(whole, ["epochs=2"]), tmp_path / "run", resume=True)


def test_what_teaches_nothing_is_told(tmp_path: Path) -> None:
    table = tmp_path / "prices.csv"
    table.write_text("text,label,split\n" + "".join(f"post {n},3,{'val' if n > 5 else 'train'}\n" for n in range(8)))
    whole = {**TINY, "task": "regression", "data": {"path": str(table)}, "inputs": {"prompt": TINY["inputs"]["prompt"]}}
    settings = [
        "epochs=1",
        "optimizer.learning_rate=0",
        "data.val=train",
        "objective.label_smoothing=1",
        "input_dropout.prompt=1",
    ]
    notes: list[str] = []
    train(run_from(whole, settings), tmp_path / "run", watcher=Watcher(on_note=notes.append))
    for warning in (
        "all 6 training rows of regression have the same target, '3.0'; nothing else can be learned",
        "optimizer.learning_rate is 0, so nothing is learned",
        "data.val is 'train', which is also trained on; metrics on it do not tell of new rows",
        "objective.label_smoothing is 1, so the targets of regression are not learned",
        "input_dropout.prompt is 1, so the model never reads its input 'prompt' in training",
        "train: all 6 rows have the same number, '3.0'; r2 and pearson are not defined",
    ):
        assert f"warning: {warning}" in notes, warning
    with pytest.raises(UserError, match="every part of the model is frozen, so there is nothing to train"):
        train(run_from(whole, ["freeze=[encoders, projections, fusion, decoders]"]), tmp_path / "frozen")


def test_a_folder_that_another_run_works_in_is_refused(tmp_path: Path) -> None:
    busy = rf"run is in use by another run \(process {os.getpid()} on .*\); wait until it ends, or choose another --output"
    with claimed(tmp_path / "run", print):
        for run in (train, train_in_stages):
            for resume in (False, True):
                with pytest.raises(UserError, match=busy):
                    run(tiny(), tmp_path / "run", resume=resume)
    assert not (tmp_path / "run").exists()


def test_texts_that_are_mostly_longer_than_what_is_read_are_told(tmp_path: Path) -> None:
    table = tmp_path / "posts.csv"
    long = "a very long post about a day at the sea with many words in it"
    table.write_text(
        "text,label,split\n" + "".join(f"{long} {n},{'ab'[n % 2]},{'val' if n > 5 else 'train'}\n" for n in range(8))
    )
    inputs = {"prompt": {"kind": "text", "max_length": 8}}
    whole = {**TINY, "task": "classification", "data": {"path": str(table)}, "inputs": inputs}
    notes: list[str] = []
    train(run_from(whole, ["epochs=1"]), tmp_path / "run", watcher=Watcher(on_note=notes.append))
    said = "100% of the texts are longer than the 6 tokens that are read; --set inputs.prompt.max_length=16 reads more"
    assert f"warning: {said}" in notes


def test_frozen_levels_that_are_new_are_told(tmp_path: Path) -> None:
    levels = "model.encoders.image={kind: efficientnet, variant: lite2, folded: true, levels: {}}"
    settings = [levels, "initialize={encoders.image: small}", "freeze=image", "epochs=1"]
    told: dict[str, list[str]] = {}
    for frozen in ("image", "encoders.image.features"):
        notes = told.setdefault(frozen, [])
        config = run_from(TINY, [*settings, f"freeze=[{frozen}]"])
        train(config, tmp_path / frozen, watcher=Watcher(on_note=notes.append))
    said = "warning: encoders.image is frozen with its new levels, which stay random; freeze encoders.image.features instead"
    assert said in told["image"] and said not in told["encoders.image.features"]

"""A frozen image encoder sees each picture once: the run learns the same, and nothing is lost on the way."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from braid.errors import UserError
from braid.runtime.export import export_encoder
from braid.training import Watcher, encoding, features, run_from, train
from braid.training.data import Plan
from braid.training.features import _bound
from conftest import shapes_unchecked
from test_training import TINY, log, losses, same_weights

FROZEN = ["optimizer.scales={encoders.image: 0}", "epochs=2"]


def table(folder: Path, rows: int = 24) -> Path:
    """Pictures of one colour with captions; two rows a picture, the last picture cut short."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = []
    for number in range(rows // 2):
        name = f"{number}.png"
        Image.fromarray(rng.integers(0, 255, (1, 1, 3), np.uint8).repeat(40, 0).repeat(40, 1)).save(folder / name)
        split = "val" if number % 4 == 0 else "train"
        lines += [{"image": name, "split": split, "caption": f"colour number {number} {kind}"} for kind in ("here", "there")]
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    return {**TINY, "data": {"path": str(table(tmp_path / "data"))}, "cache_features": str(tmp_path / "features")}


def test_the_run_learns_what_it_would_from_pixels(given: dict[str, Any], tmp_path: Path) -> None:
    for name, settings in (("pixels", [*FROZEN, "cache_features=''"]), ("kept", FROZEN)):
        train(run_from(given, settings), tmp_path / name)
    pixels, features = (losses(tmp_path / name) for name in ("pixels", "kept"))
    assert [*pixels.values()] == pytest.approx([*features.values()], rel=2e-3)  # features are kept in float16
    out = [(tmp_path / name / "skipped_rows.jsonl").read_text() for name in ("pixels", "kept")]
    assert out[0] == out[1] and "11.png" in out[0]
    (values,) = (tmp_path / "features").glob("*/values")
    assert len((values.parent / "index").read_bytes()) == 41 * 11
    assert values.stat().st_size % (11 * 2) == 0


def test_the_frozen_first_blocks_of_an_encoder_are_kept_while_the_others_learn(given: dict[str, Any], tmp_path: Path) -> None:
    frozen = ", ".join(f"encoders.image.features.{block}: 0" for block in range(5))
    settings = [
        "model.encoders.image={kind: mobilenet, folded: true}",
        f"optimizer.scales={{{frozen}}}",
        "inputs.image.size=64",
        "epochs=2",
    ]
    for name, more in (("pixels", ["cache_features=''"]), ("kept", [])):
        train(run_from(given, [*settings, *more]), tmp_path / name)
    pixels, features = (losses(tmp_path / name) for name in ("pixels", "kept"))
    assert [*pixels.values()] == pytest.approx([*features.values()], rel=5e-3)
    (values,) = (tmp_path / "features").glob("*/values")
    assert values.stat().st_size == 11 * 8 * 8 * 32 * 2  # maps of 8 x 8 cells and 32 channels
    weights = [load_file(tmp_path / name / "last" / "model.safetensors") for name in ("pixels", "kept")]
    name = "encoders.image.features.7.conv.0.0.weight"
    assert np.allclose(weights[0][name], weights[1][name], atol=1e-2)


def test_many_pictures_are_encoded_by_a_graph(given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exported: list[Path] = []

    def watched(encoder: Any, example: Any, path: Path) -> None:
        export_encoder(encoder, example, path)
        exported.append(path)

    monkeypatch.setattr(encoding, "export_encoder", watched)
    settings = [*FROZEN, "model.encoders.image={kind: mobilenet, folded: true}", "inputs.image.size=64"]
    for name, most in (("torch", 100), ("graph", 1)):
        monkeypatch.setattr(encoding, "MANY", most)
        with shapes_unchecked():
            train(run_from(given, [*settings, f"cache_features={tmp_path / name}"]), tmp_path / "runs" / name)
    assert len(exported) == 1
    assert [*losses(tmp_path / "runs" / "torch").values()] == pytest.approx(
        [*losses(tmp_path / "runs" / "graph").values()], rel=2e-3
    )


def test_what_a_killed_run_left_is_encoded_as_the_rest_was(
    given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch and a graph differ in the last bit, so the number of all pictures decides, not that of those that are left."""
    numbers: list[int] = []

    def watched(encoder: Any, precision: str, modality: Any, number: int) -> Any:
        numbers.append(number)
        return encoding.on_torch(encoder, precision)

    monkeypatch.setattr(features, "fastest", watched)
    for limit in (4, 0):
        train(run_from(given, [*FROZEN, f"data.limit_train={limit}"]), tmp_path / f"limit-{limit}")
    assert numbers == [7, 12]


def test_training_draws_from_augmented_versions_that_are_kept(given: dict[str, Any], tmp_path: Path) -> None:
    settings = [*FROZEN, "inputs.image.augmentation={brightness: 0.9}", "cached_views=2"]
    notes: list[str] = []
    for name in ("first", "again"):
        train(run_from(given, settings), tmp_path / name, watcher=Watcher(on_note=notes.append))
    train(run_from(given, FROZEN), tmp_path / "plain")
    encoded = [note for note in notes if "encoded now" in note]
    assert len(encoded) == 1 and encoded[0].startswith("21 images")  # three of val, two versions of nine others
    assert same_weights(tmp_path / "first" / "last", tmp_path / "again" / "last")
    assert not same_weights(tmp_path / "first" / "last", tmp_path / "plain" / "last")
    assert (tmp_path / "first" / "skipped_rows.jsonl").read_text() == (tmp_path / "plain" / "skipped_rows.jsonl").read_text()


class Killed(Exception):
    pass


def killed(record: dict[str, Any]) -> None:
    if record["step"] == 3:
        raise Killed


def test_a_killed_run_reads_them_again_and_ends_in_the_same_weights(given: dict[str, Any], tmp_path: Path) -> None:
    settings = [*FROZEN, "checkpoint_steps=1"]
    apart = f"cache_features={tmp_path / 'apart'}"
    train(run_from(given, [*settings, apart]), tmp_path / "whole")
    with pytest.raises(Killed):
        train(run_from(given, settings), tmp_path / "killed", watcher=Watcher(on_step=killed))
    notes: list[str] = []
    train(run_from(given, [*settings, "workers=2"]), tmp_path / "killed", resume=True, watcher=Watcher(on_note=notes.append))
    assert same_weights(tmp_path / "whole" / "last", tmp_path / "killed" / "last")
    assert not any("encoded" in note for note in notes)


@pytest.mark.parametrize("change", ["encoder", "size", "picture"])
def test_features_of_another_encoder_or_picture_are_made_again(change: str, given: dict[str, Any], tmp_path: Path) -> None:
    train(run_from(given, FROZEN), tmp_path / "before")
    notes: list[str] = []
    if change == "picture":
        Image.new("RGB", (40, 40), "white").save(tmp_path / "data" / "1.png")
    settings = {"encoder": "seed=1", "size": "inputs.image.size=48", "picture": "seed=0"}
    for name, kept in (("shared", "features"), ("alone", "others")):
        changed = [*FROZEN, settings[change], f"cache_features={tmp_path / kept}"]
        train(run_from(given, changed), tmp_path / name, watcher=Watcher(on_note=notes.append))
    encoded = [1, 12] if change == "picture" else [12, 12]  # what did not change is not encoded again
    assert [int(note.split()[0]) for note in notes if "encoded now" in note] == encoded
    assert same_weights(tmp_path / "shared" / "last", tmp_path / "alone" / "last")


def test_runs_that_differ_after_the_encoder_share_its_features(given: dict[str, Any], tmp_path: Path) -> None:
    notes: list[str] = []
    other_way = f"data.path={tmp_path}/data/../data/rows.jsonl"
    for name, settings in (("slow", ["optimizer.learning_rate=1e-4"]), ("fast", [other_way])):
        run = run_from(given, [*FROZEN, *settings])
        train(run, tmp_path / name, watcher=Watcher(on_note=notes.append))
    assert sum("encoded now" in note for note in notes) == 1
    assert not same_weights(tmp_path / "slow" / "last", tmp_path / "fast" / "last")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            (*FROZEN, "model.encoders.image={kind: tokens, reconstruction_probability: 0.5}"),
            "run: cache_features is set, and encoders.image.reconstruction_probability changes images at random; remove one "
            "of the two",
        ),
        (FROZEN[1:], "cache_features is set, but no image encoder is frozen; set freeze: [encoders.image]"),
        (
            [*FROZEN, "inputs.image.augmentation={horizontal_flip: 0.5}"],
            "run: cache_features is set, and inputs.image.augmentation changes images at random; set cached_views: 4 to keep "
            "four versions of each, or remove one of the two",
        ),
        (
            [*FROZEN, "cached_views=2"],
            "run: cached_views needs cache_features, and an input with augmentation; set both, or leave it out",
        ),
        (
            [*FROZEN, f"data.path={TINY['data']['path']}"],
            "scenes, train 0: cache_features needs images in files, and this one is in memory; remove cache_features",
        ),
    ],
)
def test_what_cannot_be_kept_is_told(settings: list[str], message: str, given: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        train(run_from(given, settings), tmp_path / "run")
    assert str(error.value) == message
    assert not log_exists(tmp_path / "run")


def log_exists(folder: Path) -> bool:
    return (folder / "log.jsonl").exists() and bool(log(folder))


def test_rows_of_a_picture_may_come_apart() -> None:
    together = Plan(np.ones(100, np.int64), np.arange(100) // 5, 20, seed=0)
    apart = Plan(np.ones(100, np.int64), np.arange(100), 20, seed=0)
    images = [np.mean([len(set(rows // 5)) for rows in plan.epoch(0)]) for plan in (together, apart)]
    assert images[0] == 4 and images[1] > 10
    assert sorted(np.concatenate(apart.epoch(0))) == list(range(100))


def test_a_copy_under_another_name_and_a_subset_are_not_encoded_again(given: dict[str, Any], tmp_path: Path) -> None:
    train(run_from(given, FROZEN), tmp_path / "whole")
    data = tmp_path / "data"
    shutil.copy(data / "1.png", data / "copy.png")
    lines = [json.loads(line) for line in (data / "rows.jsonl").read_text().splitlines()]
    few = [{**line, "image": "copy.png" if line["image"] == "1.png" else line["image"]} for line in lines[:10]]
    (data / "few.jsonl").write_text("".join(json.dumps(line) + "\n" for line in few))
    notes: list[str] = []
    same = [f"data.path={data / 'few.jsonl'}", f"initialize={{encoders.image: {tmp_path / 'whole' / 'last'}}}"]
    train(run_from(given, [*FROZEN, *same]), tmp_path / "few", watcher=Watcher(on_note=notes.append))
    assert not any("encoded now" in note for note in notes)


def test_what_a_killed_process_left_half_written_is_encoded_again(given: dict[str, Any], tmp_path: Path) -> None:
    train(run_from(given, FROZEN), tmp_path / "before")
    (index,) = (tmp_path / "features").glob("*/index")
    index.write_bytes(index.read_bytes()[:-60])  # one line and a part of another
    notes: list[str] = []
    train(run_from(given, FROZEN), tmp_path / "after", watcher=Watcher(on_note=notes.append))
    assert [int(note.split()[0]) for note in notes if "encoded now" in note] == [2]
    assert same_weights(tmp_path / "before" / "last", tmp_path / "after" / "last")


def test_the_encoders_used_least_recently_go_first(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "old", "oldest")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "values").write_bytes(bytes(100))
        (tmp_path / name / "index").write_bytes(b"")
        os.utime(tmp_path / name / "index", (1000 - age, 1000 - age))
    _bound(tmp_path, 250)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]
    _bound(tmp_path, 10)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]

"""A frozen image encoder sees each picture once: the run learns the same, and nothing is lost on the way."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from braid.errors import UserError
from braid.training import Watcher, run_from, train
from braid.training.data import Plan
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
    (values,) = (tmp_path / "features").glob("image-*.values")
    assert values.stat().st_size % (11 * 2) == 0


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
    assert sum("12 images are encoded now" in note for note in notes) == 2
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
            "run: cache_features is set, and inputs.image.augmentation changes images at random; remove one of the two",
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

"""Scenes that move and sound: true to their words, and not answerable from one frame or from no sound."""

import subprocess
import sys
from collections import Counter, defaultdict

import numpy as np
import pytest

from braid.datasets import open_dataset
from braid.datasets.scenes import (
    HELD_OUT,
    Background,
    Movement,
    MovingScene,
    SceneObject,
    Scenes,
    moving_scene,
    scene_examples,
    sounding_scene,
)
from braid.datasets.scenes.moving import FRAMES, RATE
from braid.datasets.scenes.sounds import RATE as HERTZ
from braid.datasets.scenes.sounds import SECONDS, UNHEARD
from braid.errors import UserError
from braid.modalities import default_inputs
from braid.records import Example

WORLD = Scenes(size=32)
SHAPES = {"first": 0.3, "last": 0.3, "next": 0.3, "later": 0.3}
CHANCE = SHAPES | {"when": 0.45, "order": 0.6, "direction": 0.34, "pitch": 0.58}  # most that the commonest answer may be right


def kind_of(row: Example) -> str:
    return row.source.split(", ")[-1].removesuffix(" question")


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_the_commonest_answer_is_near_chance(kind: str) -> None:
    answers: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in scene_examples(kind, "train", 1200, size=32):
        answers[kind_of(row)][row.fields["answers"][0]] += 1
    assert set(answers) == {"first", "last", "next", "when", "order", *(["direction", "later"] if kind == "video" else ["pitch"])}
    for name, counts in answers.items():
        assert counts.total() > 100
        assert max(counts.values()) / counts.total() < CHANCE[name], name


@pytest.mark.parametrize("frame", [0, 7, FRAMES - 1])
def test_one_frame_says_nothing_of_a_direction(frame: int) -> None:
    """Where a shape is, and where the others are around it, is the same for all directions."""
    directions: defaultdict[tuple[int, int], Counter[str]] = defaultdict(Counter)
    for k in range(900):
        movements = moving_scene(WORLD, "train", k).movements
        for one in movements:
            item = one.at(frame)
            directions[int(item.x * 3), int(item.y * 3)][one.direction] += 1
    right = sum(max(counts.values()) for counts in directions.values()) / sum(counts.total() for counts in directions.values())
    assert right < 0.32


def test_shapes_move_in_the_moment_of_their_movement_and_as_it_says() -> None:
    steps = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
    for k in range(15):
        scene = moving_scene(WORLD, "test", k)
        starts = [one.start for one in scene.movements]
        assert starts == sorted(starts)
        for one in scene.movements:
            assert one.event.end <= FRAMES / RATE
            assert one.at(0) == one.at(one.start)
            assert one.at(one.end) == one.at(FRAMES - 1)
            across, down = steps[one.direction]
            before, after = one.at(one.start), one.at(one.start + 1)
            moved = ((after.x - before.x + 0.5) % 1 - 0.5, (after.y - before.y + 0.5) % 1 - 0.5)
            assert moved[0] * across + moved[1] * down > 0.05
        frames = scene.render(32)
        assert frames.shape == (FRAMES, 32, 32, 3)
        still = [frame for frame in range(1, FRAMES) if not any(one.start < frame <= one.end for one in scene.movements)]
        assert all((frames[frame] == frames[frame - 1]).all() for frame in still)
        assert all((frames[one.start] != frames[one.end]).any() for one in scene.movements)


def test_a_shape_over_the_border_comes_in_on_the_other_side() -> None:
    item = SceneObject("circle", "red", "plain", "small", 0.0, 0.5, 0.1)
    pixels = MovingScene((Movement(item, "left", 0.3, 0, 4),), Background()).render(32)[0].astype(int)
    assert [pixels[16, column, 2] < 100 for column in (0, 16, 31)] == [True, False, True]


def test_sounds_are_where_they_are_said_to_be() -> None:
    for k in range(30):
        scene = sounding_scene(WORLD, "val", k)
        samples = scene.render()
        assert samples.shape == (SECONDS * HERTZ,)
        assert np.abs(samples).max() <= 1
        loud = np.zeros(len(samples), bool)
        for sound in scene.sounds:
            loud[sound.start : sound.end] = True
            assert samples[sound.start : sound.end].std() > 0.03, sound.timbre
        assert np.abs(samples[~loud]).max() < 0.02


def test_a_pitch_rises_and_falls_as_it_is_said() -> None:
    for k in range(60):
        scene = sounding_scene(WORLD, "train", k)
        for sound in scene.sounds:
            if sound.timbre != "tone":
                continue
            parts = np.array_split(sound.samples(), 4)
            first, last = (np.count_nonzero(np.diff(np.sign(part))) for part in (parts[0], parts[-1]))
            assert {"rising": first < 0.8 * last, "falling": last < 0.8 * first, "steady": abs(first - last) < 6}[sound.course]


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_answers_follow_from_the_order_of_events(kind: str) -> None:
    checked = Counter[str]()
    for k, row in enumerate(scene_examples(kind, "test", 200, size=32)):
        scene = moving_scene(WORLD, "test", k).movements if kind == "video" else sounding_scene(WORLD, "test", k).sounds
        names = [one.event.name for one in scene]
        answer, words = row.fields["answers"][0], row.fields["question"].rstrip("?").split()
        said = [names.index(word) for word in words if word in names]
        name = kind_of(row)
        checked[name] += 1
        start, end = row.fields["moment"]
        if name in ("first", "last"):
            assert answer == names[0 if name == "first" else -1]
        elif name == "next":
            assert names.index(answer) == said[0] + 1
        elif name == "when":
            assert answer == ("beginning", "middle", "end")[said[0]]
        elif name == "order":
            assert answer == ("yes" if (said[0] < said[1]) == ("before" in words) else "no")
        elif name == "later":
            later = [one for one in scene[said[0] + 1 :] if one.direction == words[2]]
            assert [one.event.name for one in later] == [answer]
        elif name == "direction":
            assert answer == scene[said[0]].direction
        needed = [names.index(answer)] if answer in names else []
        assert all(start <= scene[place].event.start and scene[place].event.end <= end for place in [*said, *needed])
        assert row.fields["label"] == names[0]
    assert min(checked.values()) > 5


def test_captions_name_what_is_there_in_its_order() -> None:
    other = {"disc": "circle", "plus": "cross"}
    for kind in ("video", "audio"):
        for k, row in enumerate(scene_examples(kind, "val", 100, size=32)):
            scene = moving_scene(WORLD, "val", k).movements if kind == "video" else sounding_scene(WORLD, "val", k).sounds
            names = [one.event.name for one in scene]
            assert len(set(row.fields["captions"])) == 5
            for caption in row.fields["captions"]:
                words = [other.get(word.strip(","), word.strip(",")) for word in caption.split()]
                said = [names.index(word) for word in words if word in names]
                assert said
                assert said == sorted(said, reverse="after" in words)


def test_pairs_of_the_compositional_split_are_in_no_other() -> None:
    for split, apart in (("train", False), ("compositional", True)):
        looks = {(one.item.colour, one.item.shape) for k in range(60) for one in moving_scene(WORLD, split, k).movements}
        heard = {(one.pitch, one.timbre) for k in range(60) for one in sounding_scene(WORLD, split, k).sounds}
        assert all((pair in HELD_OUT) == apart for pair in looks)
        assert all((pair in UNHEARD) == apart for pair in heard)


def test_rows_are_the_same_everywhere_and_do_not_depend_on_their_number() -> None:
    code = (
        "import numpy as np, zlib; from braid.datasets.scenes import scene_examples as rows; "
        "v = rows('video', 'val', 3, 5, 32)[2].fields; a = rows('audio', 'val', 3, 5)[2].fields; "
        "print(zlib.crc32(np.asarray(v['video']).tobytes()), zlib.crc32(np.asarray(a['audio'][0]).tobytes()), "
        "v['captions'], a['question'], a['moment'])"
    )
    outputs = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert len(outputs) == 1
    few, many = scene_examples("audio", "val", 5), scene_examples("audio", "val", 20)
    assert [row.fields["captions"] for row in few] == [row.fields["captions"] for row in many[:5]]
    assert moving_scene(WORLD, "val", 1) != moving_scene(Scenes(seed=1), "val", 1)


def test_a_data_set_by_its_name_keeps_values_and_moments() -> None:
    dataset = open_dataset("scenes:video,train=3,val=2,test=1,compositional=1,size=48")
    assert dataset.splits == {"train": 3, "val": 2, "test": 1, "compositional": 1}
    row = dataset.examples[0]
    assert np.asarray(row.fields["video"]).shape == (FRAMES, 48, 48, 3)
    assert np.asarray(row.fields["video"]).dtype == np.uint8
    assert row.fields["moment"][0] < row.fields["moment"][1] <= FRAMES / RATE
    row = open_dataset("scenes:audio,train=2,val=1,test=1,compositional=1").examples[0]
    samples, rate = row.fields["audio"]
    assert (np.asarray(samples).shape, np.asarray(samples).dtype, rate) == ((48_000,), np.float32, 16_000)


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_several_questions_share_a_clip(kind: str) -> None:
    rows = open_dataset(f"scenes:{kind},train=10,questions=4").split("train")
    assert [row.id for row in rows[:5]] == ["train/0", "train/0-2", "train/0-3", "train/0-4", "train/1"]
    keys = [default_inputs()[kind].key(row.fields[kind]) for row in rows]
    assert len(rows) == 10 and len(set(keys)) == 3 and keys[0] == keys[3] != keys[4]
    assert default_inputs()["audio"].key(([0.5, 0.1], 8000)) == default_inputs()["audio"].key((np.array([0.5, 0.1]), 8000))
    alone = open_dataset(f"scenes:{kind},train=3").split("train")
    assert [row.fields["question"] for row in alone] == [rows[place].fields["question"] for place in (0, 4, 8)]
    assert len({row.fields["question"] for row in rows}) > 5


def test_rows_of_both_alternate() -> None:
    rows = open_dataset("scenes:video+audio,train=4,val=1,test=1,compositional=1").examples
    assert [("video" in row.fields, "audio" in row.fields) for row in rows[:3]] == [(True, False), (False, True), (True, False)]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("scenes:audio,size=32", "there is no setting 'size'; choose from compositional, questions, seed, test, train, val"),
        (
            "scenes:video,objects=2",
            "there is no setting 'objects'; choose from compositional, questions, seed, size, test, train, val",
        ),
        ("scenes:audio,questions=0", "questions is 0; a scene needs at least one"),
        ("scenes:video+audio,questions=2", "there is no setting 'questions'"),
        ("scenes:vidio", r"the task is 'vidio'; .*did you mean 'video'"),
        ("scenes:video,size=4", "size is 4; a scene needs at least 16 pixels a side"),
    ],
)
def test_a_name_that_cannot_be_read_is_told(spec: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_dataset(spec)

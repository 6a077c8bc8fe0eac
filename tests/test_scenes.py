"""The procedural world: the same everywhere, true to its words, and not answerable without looking."""

import random
import subprocess
import sys
from collections import Counter, defaultdict

import numpy as np
import pytest

from braid.datasets import open_dataset
from braid.datasets.scenes import COLOURS, HELD_OUT, SHAPES, Background, Scene, SceneObject, Scenes, scene_examples
from braid.errors import UserError

WORLD = Scenes()


def test_a_scene_is_a_function_of_seed_split_and_number() -> None:
    code = (
        "from braid.datasets.scenes import Scenes; import zlib; "
        "s = Scenes(3); print(zlib.crc32(s.scene('val', 17).render(64).tobytes()), s.scene('val', 17).captions(s.rng('val', 17)))"
    )
    outputs = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert len(outputs) == 1
    assert WORLD.scene("train", 1) != WORLD.scene("val", 1)
    assert WORLD.scene("train", 1) != Scenes(seed=1).scene("train", 1)


def test_held_out_pairs_are_seen_in_the_compositional_split_alone() -> None:
    held_out = set(HELD_OUT)
    for split in ("train", "val", "test"):
        assert all((o.colour, o.shape) not in held_out for k in range(300) for o in WORLD.scene(split, k).objects)
    assert all((o.colour, o.shape) in held_out for k in range(300) for o in WORLD.scene("compositional", k).objects)
    assert {colour for colour, _ in held_out} == set(COLOURS)
    assert {shape for _, shape in held_out} == set(SHAPES)


def test_masks_lie_where_the_objects_are() -> None:
    for k in range(40):
        scene = WORLD.scene("train", k)
        masks = scene.masks(96)
        assert (masks.sum(0) <= 1).all()
        for mask, item in zip(masks, scene.objects, strict=True):
            rows, columns = np.nonzero(mask)
            assert mask.sum() == pytest.approx(np.pi * (item.radius * 96) ** 2, rel=0.1)
            assert abs(columns.mean() / 96 - item.x) < 0.04
            assert abs(rows.mean() / 96 - item.y) < 0.04


def test_colours_are_painted_where_the_masks_are() -> None:
    scene = Scene(
        (
            SceneObject("circle", "red", "plain", "large", 0.3, 0.5, 0.17, 0.0),
            SceneObject("square", "blue", "plain", "small", 0.8, 0.5, 0.09, 0.0),
        ),
        Background(),
    )
    pixels, masks = scene.render(64), scene.masks(64)
    red, blue = (pixels[mask].mean(0) for mask in masks)
    assert red[0] > red[2] + 100
    assert blue[2] > blue[0] + 100
    assert pixels[~masks.any(0)].mean() > 220


def test_answers_are_true_of_the_objects() -> None:
    asked: Counter[str] = Counter()
    for k in range(400):
        scene = WORLD.scene("train", k)
        for question in scene.questions(WORLD.rng("train", k, "questions")):
            asked[question.kind] += 1
            words = question.text.rstrip("?").split()
            if question.kind == "exists":
                colours, shapes = set(words) & set(COLOURS), set(words) & set(SHAPES)
                there = any((not colours or o.colour in colours) and (not shapes or o.shape in shapes) for o in scene.objects)
                assert question.answers[0] == ("yes" if there else "no"), question
            if question.kind == "count" and words[2] == "objects":
                assert question.answers[0] == str(len(scene.objects))
            if question.kind == "colour":
                assert question.answers[0] in {o.colour for o in scene.objects}
    assert min(asked.values()) > 15
    assert len(asked) >= 6


def test_captions_name_only_what_is_there() -> None:
    for k in range(300):
        scene = WORLD.scene("test", k)
        for caption in scene.captions(random.Random(k)):
            named = {word.rstrip("s,:") for word in caption.replace("crosses", "cross").split()}
            assert named & set(COLOURS) <= {o.colour for o in scene.objects} | {"purple"}
            shapes = {("cross" if word == "cros" else word) for word in named} & set(SHAPES)
            assert shapes <= {o.shape for o in scene.objects}


def test_words_alone_give_little_away() -> None:
    """The commonest answer to a question's exact words is right for few: a model has to look."""
    train, test = scene_examples("vqa", "train", 3000), scene_examples("vqa", "test", 600)
    answers: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for example in train:
        answers[example.fields["question"]][example.fields["answers"][0]] += 1
    everywhere = Counter(example.fields["answers"][0] for example in train).most_common(1)[0][0]
    right = sum((answers[e.fields["question"]].most_common(1) or [(everywhere, 0)])[0][0] in e.fields["answers"] for e in test)
    assert right / len(test) < 0.5


def test_rows_do_not_depend_on_how_many_are_asked_for() -> None:
    few, many = scene_examples("vqa", "val", 10), scene_examples("vqa", "val", 40)
    assert [(e.id, e.fields["question"]) for e in few] == [(e.id, e.fields["question"]) for e in many[:10]]


def test_questions_about_one_picture_share_it() -> None:
    rows = scene_examples("vqa", "train", 12)
    assert len({id(row.fields["image"]) for row in rows}) < len(rows)


def test_a_data_set_by_its_name() -> None:
    dataset = open_dataset("scenes:captioning,train=7,val=3,test=2,compositional=1,size=32")
    assert dataset.splits == {"train": 7, "val": 3, "test": 2, "compositional": 1}
    assert np.asarray(dataset.examples[0].fields["image"]).shape == (32, 32, 3)
    assert len(dataset.examples[0].fields["captions"]) == 5


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("scenes:vqq", r"the task is 'vqq'; choose from audio, captioning, .*, vqa \(did you mean 'vqa'\?\)"),
        ("scenes:vqa,trian=3", r"there is no setting 'trian'; .*did you mean 'train'"),
        ("scenes:vqa,train=many", r"train is 'many'; give a whole number, such as train=4000"),
    ],
)
def test_a_name_that_cannot_be_read_is_told(spec: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_dataset(spec)


def test_a_world_too_small_or_too_full_is_told() -> None:
    with pytest.raises(UserError, match="max_objects is 9; it must be 1 to 4"):
        Scenes(max_objects=9)
    with pytest.raises(UserError, match="size is 8; a scene needs at least 16 pixels a side"):
        Scenes(size=8)

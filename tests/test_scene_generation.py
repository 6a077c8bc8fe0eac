"""Scenes to draw, edits of them, and the oracle that judges pictures by their pixels."""

import numpy as np
import pytest

from braid.datasets import open_dataset
from braid.datasets.scenes import Scenes, check_scene, read_sentence
from braid.datasets.scenes.examples import edit, generation_request
from braid.datasets.scenes.objects import ALL_COLOURS, ALL_SHAPES, HELD_OUT
from braid.datasets.scenes.oracle import find_objects
from braid.errors import UserError

WORLD = Scenes(0, 64)
NUMBER = 150


@pytest.mark.parametrize("split", ["val", "compositional"])
def test_the_oracle_agrees_with_the_truth(split: str) -> None:
    """Of true pictures nearly all are right; of those of another row nearly none."""
    asked = [generation_request(WORLD, split, k) for k in range(NUMBER)]
    images = [one.scene.render(64) for one in asked]
    true = [check_scene(image, one.asked) for image, one in zip(images, asked, strict=True)]
    assert np.mean([right for one in true for right in one.right]) > 0.99
    assert np.mean([right for one in true for right in one.sized]) > 0.985
    assert np.mean([one.whole for one in true]) > 0.97
    rolled = [check_scene(image, one.asked) for image, one in zip(images[1:], asked, strict=False)]
    assert np.mean([right for one in rolled for right in one.right]) < 0.05
    assert not any(one.whole for one in rolled)


def test_an_edit_changes_what_it_says_and_nothing_else() -> None:
    result = [edit(WORLD, "val", k) for k in range(NUMBER)]
    assert len({one.prompt.split()[0] for one in result}) == 5  # make, turn, remove, move, add
    after = [check_scene(one.after.render(64), one.asked).whole for one in result]
    before = [check_scene(one.before.render(64), one.asked).whole for one in result]
    assert np.mean(after) > 0.97 and np.mean(before) < 0.02
    for one in result:
        assert one.before.background == one.after.background
        common = len(set(one.before.objects) & set(one.after.objects))
        assert common >= max(len(one.before.objects), len(one.after.objects)) - 1
        gone, come = (set(one.before.objects) - set(one.after.objects), set(one.after.objects) - set(one.before.objects))
        assert {one.meant} == (gone or come)


def test_a_sentence_is_read_as_what_it_says() -> None:
    result = [edit(WORLD, "val", k) for k in range(NUMBER)]
    assert np.mean([check_scene(one.after.render(64), read_sentence(one.sentence)).whole for one in result]) > 0.97
    assert read_sentence("a little violet disc on the left and a big blue plus in the middle") == (
        "small purple circle in left",
        "large blue cross in centre",
    )
    draws = [generation_request(WORLD, "val", k) for k in range(NUMBER)]
    assert np.mean([read_sentence(one.prompt) == one.asked for one in draws]) == 1
    for other in ("", "a red circle", "a dog on the beach", "a large red circle on the left and", "a sma red star on the left"):
        assert read_sentence(other) == ()


@pytest.mark.parametrize("lattice", [16, 64])
def test_objects_to_draw_stand_on_the_lattice(lattice: int) -> None:
    world = Scenes(0, 64, lattice=lattice)
    edits = [edit(world, "train", k) for k in range(NUMBER)]
    scenes = [generation_request(world, "train", k).scene for k in range(NUMBER)]
    scenes += [scene for one in edits for scene in (one.before, one.after)]
    items = [item for scene in scenes for item in scene.objects]
    at = {value * lattice for item in items for value in (item.x, item.y)}
    assert all(value == round(value) for value in at) and len(at) > lattice / 2
    assert {item.angle for item in items} == {0.0} and len({item.radius for item in items}) == 2
    with pytest.raises(UserError, match="lattice is 8; it must be 16 or more"):
        Scenes(lattice=8)


def test_a_richer_world_shows_training_more_and_the_other_splits_the_same() -> None:
    richer = Scenes(0, 64, richer=True)
    for split in ("val", "compositional"):
        assert all(generation_request(richer, split, k) == generation_request(WORLD, split, k) for k in range(20))
        assert all(edit(richer, split, k) == edit(WORLD, split, k) for k in range(20))
    scenes = [generation_request(richer, "train", k).scene for k in range(4 * NUMBER)]
    scenes += [edit(richer, "train", k).after for k in range(NUMBER)]
    pairs = {(item.colour, item.shape) for scene in scenes for item in scene.objects}
    assert {colour for colour, _ in pairs} == set(ALL_COLOURS) and {shape for _, shape in pairs} == set(ALL_SHAPES)
    assert not pairs & set(HELD_OUT)
    assert open_dataset("scenes:image_generation,train=3,richer=1").split("train")[2].fields["captions"] == (
        generation_request(richer, "train", 2).prompt,
    )


@pytest.mark.parametrize("skipped", ["recoloured", "moved", "one more", "one less", "noise"])
def test_the_oracle_sees_what_is_wrong(skipped: str) -> None:
    """Two objects left and right of each other; then something happens to the picture."""
    one = next(
        result for k in range(1000) if (result := generation_request(WORLD, "val", k)).asked[-1] in ("0 left 1", "0 right 1")
    )
    image = one.scene.render(64)
    assert check_scene(image, one.asked).whole
    paper = np.median(image[0], axis=0).astype(np.uint8)
    first = find_objects(image)[0]
    middle = (round(first.y * 64), round(first.x * 64))
    if skipped == "recoloured":
        image = image[..., [1, 2, 0]]
    elif skipped == "moved":
        image = image[:, ::-1].copy()
    elif skipped == "one more":
        image[1:8, 1:8] = (217, 48, 48)
    elif skipped == "one less":
        image[max(0, middle[0] - 16) : middle[0] + 16, max(0, middle[1] - 16) : middle[1] + 16] = paper
    else:
        image = np.random.default_rng(0).integers(0, 255, image.shape, np.uint8)
    assert not check_scene(image, one.asked).whole


def test_scenes_to_draw_are_data_sets() -> None:
    draws = open_dataset("scenes:image_generation,train=4,val=3,compositional=2")
    edits = open_dataset("scenes:editing,train=4,val=3")
    assert draws.splits == {"train": 4, "val": 3, "test": 500, "compositional": 2}
    row = draws.split("compositional")[1]
    colours_and_shapes = {tuple(line.split()[1:3]) for line in row.fields["holds"] if line[0].isalpha()}
    assert colours_and_shapes <= set(HELD_OUT)
    assert set(row.fields["label"]) == {word for look in colours_and_shapes for word in look}
    both = open_dataset("scenes:image_generation+editing,train=4").split("train")
    assert ["instruction" in row.fields for row in both] == [False, True, False, True]
    assert len({row.id for row in both}) == 4
    row = edits.split("val")[2]
    assert set(row.fields) == {"image", "target", "instruction", "captions", "label", "holds"}
    meant = edit(Scenes(), "val", 2).meant
    assert row.fields["label"] == (meant.size, meant.colour, meant.shape, meant.place)
    assert not np.array_equal(np.asarray(row.fields["image"]), np.asarray(row.fields["target"]))

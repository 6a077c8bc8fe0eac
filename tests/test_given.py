"""The Python API: one value or several, in any container; a text is never its letters."""

import subprocess
import sys
from collections import UserList
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import braid
from braid.api import LoadedModel
from braid.datasets import open_dataset
from braid.errors import UserError
from braid.given import is_one, several


class Series:
    """What a column of a data frame offers, without pandas."""

    ndim = 1

    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def __iter__(self) -> Any:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __bool__(self) -> bool:
        raise ValueError("The truth value of a Series is ambiguous.")


CONTAINERS: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "dict": dict.fromkeys,
    "keys": lambda values: dict.fromkeys(values).keys(),
    "generator": lambda values: (value for value in values),
    "array": np.array,
    "series": Series,
    "list of one's own": UserList,
}


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return braid.load("small")


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "a.png"
    Image.radial_gradient("L").convert("RGB").resize((48, 40)).save(path)
    return path


@pytest.mark.parametrize("kind", CONTAINERS)
def test_labels_come_in_any_container(kind: str, model: LoadedModel, photo: Path) -> None:
    expected = model.classify(photo, labels=["dog", "cat"]).scores
    assert list(expected) == ["dog", "cat"]
    assert model.classify(photo, labels=CONTAINERS[kind](["dog", "cat"])).scores == expected


def test_a_set_of_labels(model: LoadedModel, photo: Path) -> None:
    assert model.classify(photo, labels={"dog", "cat"}).scores == pytest.approx(
        model.classify(photo, labels=["dog", "cat"]).scores
    )


def test_one_text_of_labels_is_split_as_on_the_command_line(model: LoadedModel, photo: Path) -> None:
    expected = model.classify(photo, labels=["dog", "cat"]).scores
    assert model.classify(photo, labels="dog, cat,").scores == model.classify(photo, labels="dog,cat,dog").scores == expected
    for one in ("dog", ("dog"), ["dog"], "dog,dog"):
        with pytest.raises(UserError, match="there is only the label 'dog' to choose from; give two or more"):
            model.classify(photo, labels=one)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (" , ,", "there is no label in ' , ,'; write two or more, such as 'dog,cat'"),
        (["", " "], "there is no label in ['', ' ']; write two or more, such as 'dog,cat'"),
        (["dog", "c\ud83d"], "the label holds half a character (a lone surrogate), which is not text; write it again"),
    ],
)
def test_labels_that_are_none(labels: Any, message: str, model: LoadedModel, photo: Path) -> None:
    with pytest.raises(UserError) as error:
        model.classify_rows([{"image": photo}], labels)
    assert str(error.value) == message


@pytest.mark.parametrize("kind", [kind for kind in CONTAINERS if kind != "dict"])
def test_texts_and_images_come_in_any_container(kind: str, model: LoadedModel, photo: Path) -> None:
    texts, paths = ["two dogs", "a cat"], [str(photo), str(photo)]
    assert np.array_equal(model.embed(texts=CONTAINERS[kind](texts)), model.embed(texts=texts))
    if kind != "keys":  # which are different from each other
        assert np.array_equal(model.embed(CONTAINERS[kind](paths)), model.embed(paths))
        assert model.caption(CONTAINERS[kind](paths)) == model.caption(paths)
    assert model.answer(photo, CONTAINERS[kind](["what is it?", "where?"])) == model.answer(photo, ["what is it?", "where?"])


def test_one_value_is_one_row(model: LoadedModel, photo: Path) -> None:
    pixels = np.asarray(Image.open(photo))
    grey = pixels[..., 0]
    (expected,) = model.embed([photo])
    encoded = photo.read_bytes()
    texts = (photo, str(photo), np.str_(photo))
    for one in (*texts, encoded, bytearray(encoded), memoryview(encoded), Image.open(photo), pixels):
        (vector,) = model.embed(one)
        assert np.allclose(vector, expected, atol=1e-6)
    assert model.embed(grey).shape == (1, len(expected))
    assert model.embed(np.stack([pixels, pixels, pixels])).shape == (3, len(expected))
    assert np.array_equal(model.embed(texts="two dogs"), model.embed(texts=["two dogs"]))
    assert isinstance(model.caption(pixels), str)
    assert len(model.caption(np.stack([pixels, pixels]))) == 2
    assert len(model.captions(photo)) == 1


WRONG = """
import braid, sys
import numpy as np
photo, model = sys.argv[1], braid.load("small")
for use in (
    lambda wrong: model.caption(wrong),
    lambda wrong: model.captions(wrong),
    lambda wrong: model.embed(wrong),
    lambda wrong: model.embed(texts=wrong),
    lambda wrong: model.answer(photo, wrong),
    lambda wrong: model.answer(wrong, "what is it?"),
    lambda wrong: model.classify(photo, labels=wrong),
    lambda wrong: model.classify(photo, labels=["dog", wrong]),
    lambda wrong: model.complete(wrong),
    lambda wrong: model.generate_images(wrong),
    lambda wrong: model.answer_rows("captioning", ["a.jpg", wrong]),
    lambda wrong: model.classify_rows(["a.jpg", wrong], "dog,cat"),
):
    for wrong in (3, 2.5, True, {"a": 1}, object, [3], np.array([1, 2]), np.zeros(3)):
        try:
            print("answered", use(wrong))
        except ValueError as error:
            print(type(error).__name__, error)
"""


def test_a_value_of_a_wrong_type_is_one_message(photo: Path) -> None:
    """In a process of its own, where no type is checked before Braid reads the value."""
    ran = subprocess.run([sys.executable, "-c", WRONG, str(photo)], capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    kinds = [line.partition(" ")[0] for line in ran.stdout.splitlines()]
    assert kinds == ["UserError"] * 96, ran.stdout
    assert "UserError labels has 3, which is not text; write every label as text" in ran.stdout
    assert "UserError the text is 3, not text; write it as text" in ran.stdout


def test_roles_to_columns_may_be_one_text(photo: Path) -> None:
    (photo.parent / "data.csv").write_text("photo,title\na.png,a dog\n")
    written, mapped = "image=photo,captions=title", {"image": "photo", "captions": "title"}
    assert list(open_dataset(photo.parent / "data.csv", written).examples) == list(
        open_dataset(photo.parent / "data.csv", mapped).examples
    )


def test_what_is_one() -> None:
    assert several("abc") == ["abc"]
    assert several(None) == []
    assert several(Path("a")) == [Path("a")]
    assert several({"price": 1}) == [{"price": 1}]
    assert [is_one(np.zeros(shape)) for shape in ((2,), (2, 2), (2, 2, 3), (2, 2, 2, 3))] == [False, True, True, False]

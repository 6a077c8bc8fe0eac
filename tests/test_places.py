"""Where a command takes its model and its data, and what it says when they stand elsewhere."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from braid.cli.places import model_and_data, model_of
from braid.errors import UserError
from conftest import Ran

Braid = Callable[..., Ran]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a run, a photo and a table; the model itself is never read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run" / "best").mkdir(parents=True)
    (tmp_path / "run" / "best" / "interface.json").write_text("{}")
    for name in ("photos.csv", "dog.jpg"):
        (tmp_path / name).touch()


@pytest.mark.parametrize(
    ("words", "model", "data", "expected"),
    [
        (["run", "photos.csv"], "", "", ("run", "photos.csv")),
        (["photos.csv", "run"], "", "", ("run", "photos.csv")),
        (["photos.csv"], "run", "", ("run", "photos.csv")),
        (["run"], "", "photos.csv", ("run", "photos.csv")),
        (None, "run", "photos.csv", ("run", "photos.csv")),
        (["small", "photos.csv"], "", "", ("small", "photos.csv")),
        (["run", "other"], "", "", ("run", "other")),
    ],
)
def test_model_and_data_are_words_or_options(words: list[str] | None, model: str, data: str, expected: tuple[str, str]) -> None:
    assert model_and_data("audit", words, model, data) == expected


def test_a_usual_model_needs_no_word() -> None:
    assert model_and_data("evaluate", ["photos.csv"], "", "", "small") == ("small", "photos.csv")
    assert model_and_data("evaluate", None, "", "photos.csv", "small") == ("small", "photos.csv")
    assert model_of("inspect", None, "", "small") == "small"
    assert model_of("export", ["run"], "") == model_of("export", None, "run") == "run"


@pytest.mark.parametrize(
    ("words", "model", "data", "message"),
    [
        (["run"], "", "", "the data is missing; write: braid audit run DATA"),
        (["my photos.csv"], "", "", "the model is missing; write: braid audit MODEL 'my photos.csv'"),
        (None, "", "", "the model and the data are missing; write: braid audit MODEL DATA"),
        (None, "run", "", "the data is missing; write: braid audit run DATA"),
        (None, "", "photos.csv", "the model is missing; write: braid audit MODEL photos.csv"),
        (
            ["small", "photos.csv"],
            "run",
            "",
            "small photos.csv is too much beside --model run; this command reads a model and data: braid audit run photos.csv",
        ),
        (
            ["a", "b", "c"],
            "",
            "",
            "a b c is too much; this command reads a model and data: braid audit a c",
        ),
    ],
)
def test_what_is_missing_or_too_much_is_told(words: list[str] | None, model: str, data: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        model_and_data("audit", words, model, data)
    assert str(error.value) == message


def test_one_model_is_enough() -> None:
    with pytest.raises(UserError) as error:
        model_of("inspect", ["run"], "small")
    assert str(error.value) == "this command reads one model, and there are 2: run, small; write: braid inspect run"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["caption", "run", "dog.jpg", "--beam", "2"],
            "run is a model, and this command takes it by --model: braid caption dog.jpg --beam 2 --model run",
        ),
        (
            ["classify", "small", "dog.jpg"],
            "small is a model, and this command takes it by --model: braid classify dog.jpg --model small",
        ),
        (
            ["complete", "run", "a dog"],
            "run is a model, and this command takes it by --model: braid complete 'a dog' --model run",
        ),
        (
            ["complete", "small", "a dog"],
            "small is a model, and this command takes it by --model: braid complete 'a dog' --model small",
        ),
        (
            ["ask", "run", "dog.jpg", "what is it?"],
            "run is a model, and this command takes it by --model: braid ask dog.jpg 'what is it?' --model run",
        ),
        (
            ["caption", "run", "dog.jpg", "--model", "small"],
            "run is a model, and --model gives one, too; leave one of them out",
        ),
    ],
)
def test_a_model_that_stands_first_is_told_its_place(words: list[str], message: str, braid: Braid) -> None:
    ran = braid(*words)
    assert (ran.code, ran.err) == (1, f"error: {message}\n")


def test_a_folder_of_files_may_have_the_name_of_a_built_in_model(braid: Braid) -> None:
    Path("small").mkdir()
    Image.new("RGB", (32, 32), "teal").save("small/a.png")
    ran = braid("caption", "small/", "--model", "small", "--json")
    assert ran.code == 0 and len(ran.out.splitlines()) == 1, ran.err


def test_other_words_too_many_are_wrong_usage(braid: Braid) -> None:
    ran = braid("complete", "a dog", "runs")
    assert ran.code == 2 and "unexpected extra argument" in ran.err

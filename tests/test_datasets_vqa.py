"""Questions and their answers: VQA's pairs of files, and what the answers of a table mean."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from braid.datasets import open_dataset
from braid.datasets.table import parse_columns
from braid.errors import UserError

SAID = {70: ["red", "blue", "red", "dark red"], 71: ["2", "2", "two"]}
LAYOUTS = ["beside", "folders", "the questions", "the annotations"]


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6)).save(path)


def save(path: Path, whole: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole))
    return path


def questions(split: str, first: int = 70, **more: Any) -> dict[str, Any]:
    rows = [{"image_id": 7, "question": f" what is {k}? ", "question_id": first + k} for k in range(2)]
    return {
        "info": {},
        "task_type": "Open-Ended",
        "data_type": "mscoco",
        "data_subtype": f"{split}2014",
        "questions": rows,
        **more,
    }


def annotations(first: int = 70) -> dict[str, Any]:
    rows = [
        {
            "question_type": "what is",
            "multiple_choice_answer": said[0],
            "answers": [{"answer": answer, "answer_confidence": "yes", "answer_id": i} for i, answer in enumerate(said, 1)],
            "image_id": 7,
            "answer_type": kind,
            "question_id": first + k,
        }
        for k, (said, kind) in enumerate(zip(SAID.values(), ("other", "number"), strict=True))
    ]
    return {"info": {}, "annotations": rows}


def write(home: Path, layout: str) -> Path:
    """Train and val; returns what a user would name."""
    folders = layout == "folders"
    for split, first in (("train", 70), ("val", 80)):
        image(home / f"{split}2014" / f"COCO_{split}2014_000000000007.jpg")
        asked = home / ("Questions" if folders else "") / f"v2_OpenEnded_mscoco_{split}2014_questions.json"
        save(asked, questions(split, first))
        said = home / ("Annotations" if folders else "") / f"v2_mscoco_{split}2014_annotations.json"
        save(said, annotations(first))
    return {"the questions": asked, "the annotations": said}.get(layout, home)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_questions_and_their_answers_find_each_other(layout: str, tmp_path: Path) -> None:
    dataset = open_dataset(write(tmp_path, layout))
    assert (dataset.format, dataset.skipped) == ("VQA", ())
    assert dataset.splits == ({"train": 2, "val": 2} if layout in ("beside", "folders") else {"val": 2})
    example = dataset.split("val")[0]
    assert example.fields == {
        "image": str(tmp_path / "val2014" / "COCO_val2014_000000000007.jpg"),
        "question": "what is 0?",
        "answers": ("red", "red", "blue", "dark red"),  # what most people said comes first
        "answer_type": "other",
        "question_type": "what is",
    }
    assert (example.id, example.source) == ("80", "v2_OpenEnded_mscoco_val2014_questions.json, question 80")


def test_questions_without_annotations_have_no_answers(tmp_path: Path) -> None:
    image(tmp_path / "test2015" / "COCO_test2015_000000000007.jpg")
    whole = questions("test-dev") | {"data_subtype": "test-dev2015"}
    dataset = open_dataset(save(tmp_path / "v2_OpenEnded_mscoco_test-dev2015_questions.json", whole))
    assert dataset.skipped == ()
    assert dataset.splits == {"test": 2}
    assert all("answers" not in example.fields for example in dataset.examples)


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({}, "train2017/000000000007.jpg"),
        ({"data_type": "abstract_v002", "data_subtype": "train2015"}, "abstract_v002_train2015_000000000007.png"),
        ({"data_type": None, "data_subtype": None}, "000000000007.jpg"),
    ],
)
def test_pictures_are_named_as_coco_and_the_abstract_scenes_name_them(more: dict[str, Any], name: str, tmp_path: Path) -> None:
    image(tmp_path / name)
    dataset = open_dataset(save(tmp_path / "q.json", questions("train", **more)))
    assert [Path(example.fields["image"]).name for example in dataset.examples] == [Path(name).name] * 2


def test_the_questions_of_v1_are_read_once(tmp_path: Path) -> None:
    image(tmp_path / "COCO_val2014_000000000007.jpg")
    for kind in ("MultipleChoice", "OpenEnded"):
        save(tmp_path / f"{kind}_mscoco_val2014_questions.json", questions("val"))
    save(tmp_path / "mscoco_val2014_annotations.json", annotations())
    assert len(open_dataset(tmp_path).examples) == 2
    (tmp_path / "OpenEnded_mscoco_val2014_questions.json").unlink()
    dataset = open_dataset(tmp_path)
    assert len(dataset.examples) == 2
    assert dataset.examples[1].fields["answers"] == ("2", "2", "two")


def test_broken_rows_are_named_with_what_to_do(tmp_path: Path) -> None:
    image(tmp_path / "COCO_val2014_000000000007.jpg")
    rows: list[Any] = [
        {"image_id": 7, "question": "fine?", "question_id": 0},
        {"image_id": 7, "question": "no annotation?", "question_id": 1},
        {"image_id": 8, "question": "no picture?", "question_id": 2},
        {"image_id": "7", "question": "a text?", "question_id": 3},
        {"image_id": 7, "question": " ", "question_id": 4},
        {"image_id": 7, "question_id": 5},
        [6],
        {"image_id": 7, "question": "no answer?", "question_id": 7},
        {"image_id": 7, "question": "answers that are texts?", "question_id": 8},
        {"image_id": 7, "question": "an answer that is a number?", "question_id": 9},
    ]
    said: dict[int, Any] = {k: [{"answer": "yes"}] for k in (0, 2, 3, 4, 5, 11)} | {7: [], 8: ["yes"], 9: [{"answer": 3}]}
    notes = {"annotations": [{"question_id": key, "answers": answers} for key, answers in said.items()]}
    save(tmp_path / "val_annotations.json", notes)
    path = save(tmp_path / "val_questions.json", {"data_subtype": "val2014", "questions": rows})
    dataset = open_dataset(path)
    assert [example.id for example in dataset.examples] == ["0"]
    shape = "a file of VQA questions has questions (question_id, image_id, question)"
    said_shape = "a file of VQA annotations has annotations (question_id, answers: [{answer}])"
    assert {row.source: row.reason for row in dataset.skipped} == {
        "val_questions.json, question 1": "has no answers in val_annotations.json; add them or remove the question",
        "val_questions.json, question 2": (
            f"COCO_val2014_000000000008.jpg is not in any folder near {path}; put the images beside it"
        ),
        "val_questions.json, question 3": "has the image_id '7', which is not a whole number; write that of an image",
        "val_questions.json, question 4": "has no question; write one or remove the row",
        "val_questions.json, question 5": f"lacks 'question'; {shape}",
        "val_questions.json, row 7": f"is not a JSON object; {shape}",
        "val_questions.json, question 7": "has no answer; write one or remove the question",
        "val_questions.json, question 8": f"is not a JSON object; {said_shape}",
        "val_questions.json, question 9": "has the answer 3, which is not text; write one or remove it",
        "val_annotations.json, question 11": (
            "has answers and is not among the questions of val_questions.json; add it there or remove them"
        ),
    }


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "val_annotations.json",
            '{"annotations": [{"question_id": 1}]}',
            "val_annotations.json has answers without questions; put the file of questions beside it (*_questions.json)",
        ),
        (
            "q.json",
            '{"questions": [{"question_id": 1',
            "q.json, line 1, is not JSON (Expecting ',' delimiter); is the file complete?",
        ),
        (
            "q.json",
            '{"a": {"questions": [{"question_id": 1}]}}',
            "q.json has no list of questions; a file of VQA questions has questions (question_id, image_id, question)",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_one_clear_error(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError) as caught:
        open_dataset(tmp_path / name)
    assert str(caught.value) == f"{tmp_path}/{message}"


def test_ids_that_occur_twice_and_bad_annotations_leave_out_themselves(tmp_path: Path) -> None:
    image(tmp_path / "COCO_val2014_000000000007.jpg")
    rows = [{"image_id": 7, "question": f"what is {k}?", "question_id": k} for k in (1, 2, 1, 3.0)]
    path = save(tmp_path / "questions.json", {"data_subtype": "val2014", "questions": rows})
    answers = [{"answer": "red"}, {"answer": None}, {}, {"answer": ""}, 5, {"answer": "blue"}]
    notes: list[Any] = [{"question_id": 1, "answers": answers}, {"image_id": 7}, None]
    notes += [{"question_id": 2, "answers": "red"}, {"question_id": 1, "answers": [{"answer": "green"}]}]
    notes += [{"question_id": 3, "answers": [{"answer": "red"}], "answer_type": None}]
    save(tmp_path / "annotations.json", {"annotations": notes})
    dataset = open_dataset(path)
    assert [(row.id, row.fields["answers"]) for row in dataset.examples] == [("1", ("red", "blue")), ("3", ("red",))]
    shape = "a file of VQA annotations has annotations (question_id, answers: [{answer}])"
    assert {row.source: row.reason for row in dataset.skipped} == {
        "annotations.json, annotation 2": f"lacks 'question_id'; {shape}",
        "annotations.json, annotation 3": f"is not a JSON object; {shape}",
        "annotations.json, annotation 5": "answers question 1 again; put all answers of a question into one annotation",
        "annotations.json, question 1, answer 2": f"lacks 'answer'; {shape}",
        "annotations.json, question 1, answer 3": f"lacks 'answer'; {shape}",
        "annotations.json, question 1, answer 5": f"is not a JSON object; {shape}",
        "questions.json, question 2": f"has answers that are no list; {shape}",
        "questions.json, question 1": ("has the question_id of an earlier question; give every question an id of its own"),
    }


def answers(path: Path, row: dict[str, Any], columns: str = "") -> tuple[str, ...]:
    image(path / "a.png")
    save(path / "data.jsonl", {"image": "a.png", "question": "what?", **row})
    (example,) = open_dataset(path / "data.jsonl", parse_columns(columns)).examples
    assert set(example.fields) == {"image", "question", "answers"}
    result: tuple[str, ...] = example.fields["answers"]
    return result


@pytest.mark.parametrize(
    ("row", "columns", "expected"),
    [
        ({"answer": "red"}, "", ("red",)),
        ({"answers": ["red", "blue"]}, "", ("red", "blue")),  # of two people
        ({"answer0": "red", "answer1": "blue"}, "", ("red", "blue")),
        ({"answer": "red, blue", "answers": ["red", "blue"]}, "", ("red, blue",)),  # one answer and its parts
        ({"answer": "red", "answers": ["red"]}, "", ("red",)),
        ({"answer": "red", "answers": ["blue", "red", "red"]}, "", ("red", "blue", "red")),  # the usual one of three people
        ({"answer": "red", "answers": ["blue", "blue"]}, "", ("red", "blue", "blue")),
        ({"answer": ["red", "blue"]}, "", ("red, blue",)),
        ({"answers": ["red", "blue"]}, "answer=answers", ("red, blue",)),
        ({"reply": ["red", "blue"]}, "answers=reply", ("red", "blue")),
    ],
)
def test_answers_of_a_table_are_whole_and_the_usual_one_comes_first(
    row: dict[str, Any], columns: str, expected: tuple[str, ...], tmp_path: Path
) -> None:
    assert answers(tmp_path, row, columns) == expected


def test_daquar_has_one_answer_a_question_however_many_parts_it_has(shared_data: Path) -> None:
    dataset = open_dataset(shared_data / "daquar" / "qa.jsonl")
    assert dataset.skipped == ()
    assert len(dataset.examples) == 6795
    assert {len(example.fields["answers"]) for example in dataset.examples} == {1}
    assert sum(", " in example.fields["answers"][0] for example in dataset.examples) == 646
    assert dataset.examples[2].fields["answers"] == ("book, scissor, papers, tape_dispenser",)

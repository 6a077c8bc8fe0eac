"""VQA v1 and v2 (arXiv:1505.00468, arXiv:1612.00837): per split, one file of questions and one of annotations.

{"questions": [{question_id, image_id, question}], "data_type": "mscoco", "data_subtype": "val2014"}
{"annotations": [{question_id, answers: [{answer}], answer_type, question_type}]}
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from glob import escape
from pathlib import Path
from typing import Any

from braid.datasets.dataset import (
    Dataset,
    ImageFinder,
    Rows,
    SkippedRow,
    clean_text,
    field_of,
    head,
    id_of,
    kept_texts,
    list_of,
    located,
    read_json,
    skipped_row,
)
from braid.datasets.splits import split_named, with_splits
from braid.errors import Missing, UserError
from braid.records import Example

KINDS = ("answer_type", "question_type")
SHAPE = {
    "questions": "a file of VQA questions has questions (question_id, image_id, question)",
    "annotations": "a file of VQA annotations has annotations (question_id, answers: [{answer}])",
}


def recognise(path: Path) -> bool:
    return bool(_pairs(path)) or _holds(path, "annotations")


def _holds(file: Path, what: str) -> bool:
    """Whether a file contains ``what`` (``questions`` or ``annotations``), judging by its beginning."""
    start = head(file) if file.suffix == ".json" and file.is_file() else ""
    return bool(re.search(rf'"{what}"\s*:\s*\[', start) and re.search(r'"question_id"\s*:', start))


def _pairs(path: Path) -> dict[Path, Path | None]:
    """Question files with their annotations, if these exist: all files of a folder and its subfolders, or one file, given by its
    own path or by that of its annotations."""
    if path.is_dir():
        files = sorted({*path.glob("*questions*.json"), *path.glob("*/*questions*.json")})
    elif _holds(path, "annotations"):
        files = [file for file in _beside(path, "*questions*.json") if _annotations(file) == path]
    else:
        files = [path]
    # v1 has the same questions with and without multiple choice; one version is enough.
    again = {file.name.replace("OpenEnded", "MultipleChoice") for file in files if "OpenEnded" in file.name}
    return {file: _annotations(file) for file in files if file.name not in again and _holds(file, "questions")}


def _annotations(questions: Path) -> Path | None:
    """The annotations of v2_OpenEnded_mscoco_val2014_questions.json are in v2_mscoco_val2014_annotations.json."""
    name = re.sub("OpenEnded_|MultipleChoice_", "", questions.name).replace("questions", "annotations")
    return next((file for file in _beside(questions, escape(name)) if _holds(file, "annotations")), None)


def _beside(file: Path, pattern: str) -> list[Path]:
    """Files in the same folder, or in a sibling folder (Questions/ and Annotations/)."""
    return [*sorted(file.parent.glob(pattern)), *sorted(file.parent.parent.glob(f"*/{pattern}"))]


def open_vqa(path: Path, columns: Mapping[str, str]) -> Dataset:
    """One example per question. ``answers`` has the answers of all people, the most frequent one first.

    If a question file has no annotations, its questions have no answers.

    Raises:
        UserError: when a file is incomplete, or annotations have no questions.
    """
    pairs = _pairs(path)
    if not pairs:
        raise UserError(f"{path} has answers without questions; put the file of questions beside it (*_questions.json)")
    skipped: list[SkippedRow] = []
    examples = (example for questions, notes in pairs.items() for example in _examples(questions, notes, skipped))
    rows = Rows(examples)
    return with_splits(Dataset(str(path), "VQA", rows, tuple(skipped)))


def _examples(file: Path, notes: Path | None, skipped: list[SkippedRow]) -> Iterator[Example]:
    whole = read_json(file)
    rows = list_of(whole, "questions", file, SHAPE["questions"])
    images = _Images(file, whole, rows)
    answered = _answered(notes, skipped) if notes else {}
    seen: set[str] = set()
    for number, row in enumerate(rows, 1):
        source = f"{file.name}, row {number}"
        try:
            key = id_of(row, "question_id", SHAPE["questions"])
            source = f"{file.name}, question {key}"
            if key in seen:
                raise UserError("has the question_id of an earlier question; give every question an id of its own")
            seen.add(key)
            note = answered.pop(key, None)
            fields = _asked(row, images) | (_answers(note, notes, key, skipped) if notes else {})
        except UserError as error:
            skipped.append(skipped_row(source, error))
        else:
            yield Example(key, fields, images.split, source)
    if notes:
        reason = f"has answers and is not among the questions of {file.name}; add it there or remove them"
        skipped.extend(SkippedRow(f"{notes.name}, question {key}", reason) for key in answered)


def _asked(row: Any, images: "_Images") -> dict[str, Any]:
    number, question = (field_of(row, name, SHAPE["questions"]) for name in ("image_id", "question"))
    return {"image": images(number), "question": clean_text(question, "question", "row")}


def _answered(notes: Path, skipped: list[SkippedRow]) -> dict[str, Any]:
    """Question -> its annotation, the first one; what cannot be read is appended to ``skipped``."""
    result: dict[str, Any] = {}
    shape = SHAPE["annotations"]
    for number, row in enumerate(list_of(read_json(notes), "annotations", notes, shape), 1):
        source = f"{notes.name}, annotation {number}"
        try:
            key = id_of(row, "question_id", shape)
            if key in result:
                raise UserError(f"answers question {key} again; put all answers of a question into one annotation")
            result[key] = row
        except UserError as error:
            skipped.append(skipped_row(source, error))
    return result


def _answers(note: Any, notes: Path, key: str, skipped: list[SkippedRow]) -> dict[str, Any]:
    """The fields that a question gets from its annotation."""
    if note is None:
        raise Missing(f"has no answers in {notes.name}; add them or remove the question")
    answers = field_of(note, "answers", SHAPE["annotations"])
    if not isinstance(answers, list):
        raise UserError(f"has answers that are no list; {SHAPE['annotations']}")
    named = ((f"{notes.name}, question {key}, answer {number}", answer) for number, answer in enumerate(answers, 1))
    given = kept_texts(named, "answer", "question", skipped, "answer", SHAPE["annotations"])
    times = Counter(given)
    kinds = {kind: clean_text(note[kind], kind, "question") for kind in KINDS if note.get(kind) is not None}
    return {"answers": tuple(sorted(given, key=lambda answer: -times[answer])), **kinds}


class _Images:
    """Finds the file of an image number: COCO_val2014_000000000042.jpg, or 000000000042.jpg as in COCO 2017."""

    def __init__(self, file: Path, whole: Mapping[str, Any], rows: list[Any]) -> None:
        kind, part = (value if isinstance(value := whole.get(key), str) else "" for key in ("data_type", "data_subtype"))
        self.split = split_named(file.stem) or split_named(part)
        self._file = file
        self._part = part.replace("test-dev", "test")  # a subset of the test images, whose names have "test"
        self._kind = "COCO" if kind in ("mscoco", "") else kind
        numbers = {row["image_id"] for row in rows if isinstance(row, dict) and type(row.get("image_id")) is int}
        self._locate = ImageFinder(file.parent, (name for number in sorted(numbers) for name in self._names(number)))

    def _names(self, number: int) -> tuple[str, ...]:
        beginning = f"{self._kind}_{self._part}_" if self._part else ""
        return tuple(dict.fromkeys(f"{start}{number:012d}{end}" for end in (".jpg", ".png") for start in (beginning, "")))

    def __call__(self, number: Any) -> str:
        """
        Raises:
            UserError: when it is not a number, or there is no such image.
        """
        if type(number) is not int:
            raise UserError(f"has the image_id {number!r}, which is not a whole number; write that of an image")
        return located(self._locate, self._file, *self._names(number))

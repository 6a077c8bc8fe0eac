"""What a worker does with a batch: one small frozen object a verb. Rows of equal verbs may be answered together."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from braid.api import LoadedModel
from braid.errors import UserError
from braid.index import Index
from braid.modalities import thumbnail_uri
from braid.records import Example, Prediction
from braid.server.explanations import explained

Row = Mapping[str, Any]  # "image", "question", "text", ... of one item; "original" is the picture's own bytes
Answer = dict[str, Any] | UserError

DIGITS = 4  # of confidences and probabilities
SEARCHING = Lock()  # an index is one connection to its file
THUMBNAIL = 320  # pixels of the longer side


@dataclass(frozen=True)
class Caption:
    """Describe pictures."""

    explain: bool = False

    task: ClassVar[str] = "captioning"
    explains: ClassVar[tuple[str, ...]] = ()
    shown: ClassVar[int | None] = None

    def run(self, model: LoadedModel, rows: Sequence[Row]) -> list[Answer]:
        return _written(model, self.task, rows, ("image",), self)


@dataclass(frozen=True)
class Reply:
    """Answer questions about pictures."""

    explain: bool = False

    task: ClassVar[str] = "vqa"
    explains: ClassVar[tuple[str, ...]] = ("question",)
    shown: ClassVar[int | None] = 5

    def run(self, model: LoadedModel, rows: Sequence[Row]) -> list[Answer]:
        return _written(model, self.task, rows, ("image", "question"), self)


@dataclass(frozen=True)
class Label:
    """Labels that the model was trained on, for pictures, texts or both."""

    explain: bool = False

    task: ClassVar[str] = "classification"
    explains: ClassVar[tuple[str, ...]] = ("text",)
    shown: ClassVar[int | None] = None

    def run(self, model: LoadedModel, rows: Sequence[Row]) -> list[Answer]:
        return _written(model, self.task, rows, ("image", "text"), self)


@dataclass(frozen=True)
class Nearest:
    """Labels of the client's own, for pictures or texts."""

    labels: tuple[str, ...]

    task: ClassVar[str] = "retrieval"

    def run(self, model: LoadedModel, rows: Sequence[Row]) -> list[Answer]:
        images = [row["image"] for row in rows if "image" in row]
        named = iter(
            model.classify_rows([{"image": one} for one in images], self.labels, strict=True).predictions if images else ()
        )
        return [said(next(named) if "image" in row else model.classify(text=row["text"], labels=self.labels)) for row in rows]


@dataclass(frozen=True)
class Embed:
    """Pictures and texts as vectors of one space."""

    task: ClassVar[str] = "retrieval"

    def run(self, model: LoadedModel, rows: Sequence[Row]) -> list[Answer]:
        return [{"embedding": vector.tolist()} for vector in _vectors(model, rows)]


@dataclass(frozen=True)
class Search:
    """The rows of an index that are nearest to a text, a picture or both."""

    index: Index = field(compare=False, repr=False)
    top: int = 10
    thumbnails: bool = False

    task: ClassVar[str] = "retrieval"

    def run(self, model: LoadedModel, rows: Sequence[Row]) -> list[Answer]:
        sides = [[{name: row[name]} for name in ("image", "text") if name in row] for row in rows]
        vectors = iter(_vectors(model, [side for row in sides for side in row]))
        queries = [np.mean([next(vectors) for _ in row], axis=0) for row in sides]
        with SEARCHING:
            result = self.index.search(np.stack(queries), self.top)
        return [{"hits": [self._told(hit.id, hit.score) for hit in hits]} for hits in result]

    def _told(self, identity: str, score: float) -> dict[str, Any]:
        thumbnail = {"thumbnail": thumbnail_uri(identity, THUMBNAIL)} if self.thumbnails else {}
        return {"id": identity, "score": round(score, DIGITS), **thumbnail}


@dataclass(frozen=True)
class Imagine:
    """Draw pictures of what a text says, or a picture with what it says changed."""

    count: int = 1
    seed: int = 0
    guidance: float | None = None

    task: ClassVar[str] = "image_generation"

    def run(self, model: LoadedModel, rows: Sequence[Row]) -> list[Answer]:
        """Together; one that cannot be drawn is told of when each is tried alone."""
        try:
            return self._drawn(model, rows)
        except UserError as error:
            return [error] if len(rows) == 1 else [answer for row in rows for answer in self.run(model, [row])]

    def _drawn(self, model: LoadedModel, rows: Sequence[Row]) -> list[Answer]:
        asked = [(row["prompt"], row.get("image")) for row in rows]
        sampling = {} if self.guidance is None else {"guidance": self.guidance}
        return [self._told(result) for result in model.generate_all(asked, self.count, self.seed, **sampling)]

    def _told(self, result: Sequence[Prediction]) -> dict[str, Any]:
        images = [_png(one.image.pixels) for one in result if one.image]
        texts = [{"text": one.text, "confidence": round(one.confidence, DIGITS)} for one in result if one.text is not None]
        return {"images": images, **({"sentences": texts} if texts else {})}


Verb = Caption | Reply | Label | Nearest | Embed | Search | Imagine
Explaining = Caption | Reply | Label


def said(prediction: Prediction, shown: int | None = None) -> dict[str, Any]:
    """One answer as JSON; ``shown``: so many of the likeliest labels, None for all."""
    message: dict[str, Any] = {"text": prediction.text, "confidence": round(prediction.confidence, DIGITS)}
    if prediction.label is not None:
        message["label"] = prediction.label
    if prediction.labels is not None:
        message["labels"] = list(prediction.labels)
    if prediction.scores:
        best = sorted(prediction.scores.items(), key=lambda score: -score[1])[:shown]
        message["scores"] = {label: round(score, DIGITS) for label, score in best}
    return message


def _written(model: LoadedModel, task: str, rows: Sequence[Row], names: Sequence[str], verb: Explaining) -> list[Answer]:
    examples = [
        Example(str(number), {name: row[name] for name in names if name in row}, source=f"item {number + 1}")
        for number, row in enumerate(rows)
    ]
    result = model.predict(task, examples, batch_size=len(rows))
    answers: dict[int, Answer] = {int(one.id): said(one, verb.shown) for one in result.predictions}
    answers |= {int(sample.id): UserError(reason) for sample, reason in result.skipped}
    ordered = [answers[number] for number in range(len(rows))]
    return [_with_reason(model, row, one, verb) for row, one in zip(rows, ordered, strict=True)] if verb.explain else ordered


def _with_reason(model: LoadedModel, row: Row, answer: Answer, verb: Explaining) -> Answer:
    if isinstance(answer, UserError):
        return answer
    given = {name: row[name] for name in verb.explains if name in row}
    if "original" in row:
        given["image"] = row["original"]
    return _or_error(lambda: {**answer, "explanation": explained(model, verb.task, given)})


def _or_error(answer: Any) -> Answer:
    try:
        result: dict[str, Any] = answer()
    except UserError as error:
        return error
    return result


def _vectors(model: LoadedModel, rows: Sequence[Row]) -> list[np.ndarray]:
    """A unit vector a row, which has one picture or one text."""
    images = [row["image"] for row in rows if "image" in row]
    vectors = model.embed(images, [row["text"] for row in rows if "image" not in row])
    first, others = iter(vectors[: len(images)]), iter(vectors[len(images) :])
    return [next(first) if "image" in row else next(others) for row in rows]


def _png(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")

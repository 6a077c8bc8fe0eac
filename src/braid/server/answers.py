"""The operations of a model on a batch of rows, one frozen dataclass per verb. Rows with equal verbs may share a batch."""

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
from braid.index import Hit, Index
from braid.index.files import file_of, is_gone
from braid.modalities import TextModality, thumbnail_uri
from braid.records import Example, Prediction
from braid.search import choose_by_embedding, embed, input_named
from braid.tasks import Retrieval

DIGITS = 4  # decimals of confidences and probabilities
SEARCHING = Lock()  # an index has only one connection to its file
HEAVY = 8  # the weight of an explained answer, a generated image and hits with thumbnails: each takes as long as eight captions
THUMBNAIL = 320  # pixels of the longer side
HEAT_DIGITS = 3

# An explanation records inside its model, so it uses a copy: other threads run the model at the same time.
_LISTENING = Lock()
_COPIES: dict[int, LoadedModel] = {}


@dataclass(frozen=True, eq=False)
class Row:
    """One item: its values by field (files are preprocessed), and the bytes of its files, if they will be shown."""

    fields: Mapping[str, Any]
    files: Mapping[str, bytes] = field(default_factory=dict)


Answer = dict[str, Any] | UserError


@dataclass(frozen=True)
class Caption:
    """Describe an item, in a ``language`` of the model; "" is its usual one."""

    explain: bool = False
    language: str = ""

    task: ClassVar[str] = "captioning"
    shown: ClassVar[int | None] = None

    @property
    def weight(self) -> int:
        return HEAVY if self.explain else 1

    def run(self, model: LoadedModel, rows: Sequence[Row]) -> list[Answer]:
        return _predicted(model, rows, self)


@dataclass(frozen=True)
class Reply:
    """Answer a question about an item."""

    explain: bool = False

    task: ClassVar[str] = "vqa"
    language: ClassVar[str] = ""
    shown: ClassVar[int | None] = 5

    @property
    def weight(self) -> int:
        return HEAVY if self.explain else 1

    def run(self, model: LoadedModel, rows: Sequence[Row]) -> list[Answer]:
        return _predicted(model, rows, self)


@dataclass(frozen=True)
class Label:
    """Classify any of the model's inputs with the labels that it was trained on."""

    explain: bool = False

    task: ClassVar[str] = "classification"
    language: ClassVar[str] = ""
    shown: ClassVar[int | None] = None

    @property
    def weight(self) -> int:
        return HEAVY if self.explain else 1

    def run(self, model: LoadedModel, rows: Sequence[Row]) -> list[Answer]:
        return _predicted(model, rows, self)


@dataclass(frozen=True)
class Nearest:
    """Zero-shot classification: compare the client's own labels, and the vectors of their phrases, with a value by embedding."""

    labels: tuple[str, ...]
    phrases: np.ndarray = field(compare=False, repr=False, default_factory=lambda: np.zeros((0, 0), np.float32))

    task: ClassVar[str] = "retrieval"
    weight: ClassVar[int] = 1

    def run(self, model: LoadedModel, rows: Sequence[Row]) -> list[Answer]:
        task = model.task(self.task)
        assert isinstance(task, Retrieval)
        vectors = _vectors(model, [row.fields for row in rows])
        return [to_json(one) for one in choose_by_embedding(vectors, self.labels, self.phrases, task.scale)]


@dataclass(frozen=True)
class Embed:
    """Embed values of any input in one vector space."""

    task: ClassVar[str] = "retrieval"
    weight: ClassVar[int] = 1

    def run(self, model: LoadedModel, rows: Sequence[Row]) -> list[Answer]:
        return [{"embedding": vector.tolist()} for vector in _vectors(model, [row.fields for row in rows])]


@dataclass(frozen=True)
class Search:
    """Search an index for the rows that are nearest to the mean of an item's values."""

    index: Index = field(compare=False, repr=False)
    top: int = 10
    thumbnails: bool = False

    task: ClassVar[str] = "retrieval"

    @property
    def weight(self) -> int:
        return HEAVY if self.thumbnails else 1

    def run(self, model: LoadedModel, rows: Sequence[Row]) -> list[Answer]:
        values = [{name: value} for row in rows for name, value in row.fields.items()]
        vectors = iter(_vectors(model, values))
        queries = [np.mean([next(vectors) for _ in row.fields], axis=0) for row in rows]
        with SEARCHING:
            result = self.index.search(np.stack(queries), self.top)
        return [{"hits": [self._hit(hit) for hit in hits]} for hits in result]

    def _hit(self, hit: Hit) -> dict[str, Any]:
        thumbnail = {"thumbnail": thumbnail_uri(file_of(hit, self.index.folder), THUMBNAIL)} if self.thumbnails else {}
        missing = {"missing": True} if is_gone(hit, self.index.folder) else {}
        return {"id": hit.id, "score": round(hit.score, DIGITS), **thumbnail, **missing}


@dataclass(frozen=True)
class Imagine:
    """Generate an image from a text, or edit an image as the text says: of those of a seed, the one with this number."""

    number: int = 0
    seed: int = 0
    guidance: float | None = None

    task: ClassVar[str] = "image_generation"
    weight: ClassVar[int] = HEAVY

    def run(self, model: LoadedModel, rows: Sequence[Row]) -> list[Answer]:
        """Run all rows together; if one fails, run each row alone."""
        try:
            return self._generated(model, rows)
        except UserError as error:
            return [error] if len(rows) == 1 else [answer for row in rows for answer in self.run(model, [row])]

    def _generated(self, model: LoadedModel, rows: Sequence[Row]) -> list[Answer]:
        prompts = [(row.fields["prompt"], row.fields.get("image")) for row in rows]
        guidance: dict[str, Any] = {} if self.guidance is None else {"guidance": self.guidance}
        return [self._images(result) for result in model.generate_all(prompts, 1, self.seed, first=self.number, **guidance)]

    def _images(self, result: Sequence[Prediction]) -> dict[str, Any]:
        images = [_png(one.image.pixels) for one in result if one.image]
        texts = [{"text": one.text, "confidence": round(one.confidence, DIGITS)} for one in result if one.text is not None]
        return {"images": images, **({"sentences": texts} if texts else {})}


def answered(model: LoadedModel, verb: "Verb", rows: Sequence[Row]) -> list[Answer]:
    """The answers of a verb; ``truncated`` names the fields with a text that is longer than the model reads."""
    answers = verb.run(model, rows)
    for row, answer in zip(rows, answers, strict=True):
        if isinstance(answer, dict) and (cut := _truncated(model, row)):
            answer["truncated"] = cut
    return answers


def _truncated(model: LoadedModel, row: Row) -> list[str]:
    inputs = model.bundle.inputs
    texts = {field: value for field, value in row.fields.items() if isinstance(value, str)}
    modalities = {field: inputs.get(input_named(inputs, field)) for field in texts}
    return [field for field, one in modalities.items() if isinstance(one, TextModality) and one.cuts(texts[field])]


Predicting = Caption | Reply | Label
Verb = Predicting | Nearest | Embed | Search | Imagine


def to_json(prediction: Prediction, shown: int | None = None) -> dict[str, Any]:
    """One answer as JSON. ``shown``: the number of most probable labels to include; None for all."""
    result: dict[str, Any] = {"text": prediction.text, "confidence": round(prediction.confidence, DIGITS)}
    if prediction.label is not None:
        result["label"] = prediction.label
    if prediction.labels is not None:
        result["labels"] = list(prediction.labels)
    if prediction.scores:
        best = sorted(prediction.scores.items(), key=lambda score: -score[1])[:shown]
        result["scores"] = {label: round(score, DIGITS) for label, score in best}
    return result


def _predicted(model: LoadedModel, rows: Sequence[Row], verb: Predicting) -> list[Answer]:
    examples = [Example(str(number), row.fields, source=f"item {number + 1}") for number, row in enumerate(rows)]
    result = model.predict(verb.task, examples, batch_size=len(rows), language=verb.language)
    answers: dict[int, Answer] = {int(one.id): to_json(one, verb.shown) for one in result.predictions}
    answers |= {int(sample.id): UserError(reason) for sample, reason in result.skipped}
    ordered = [answers[number] for number in range(len(rows))]
    return [_with_reason(model, row, one, verb) for row, one in zip(rows, ordered, strict=True)] if verb.explain else ordered


def _with_reason(model: LoadedModel, row: Row, answer: Answer, verb: Predicting) -> Answer:
    if isinstance(answer, UserError):
        return answer
    try:
        return {**answer, "explanation": explained(model, verb.task, {**row.fields, **row.files}, verb.language)}
    except UserError as error:
        return error


def explained(model: LoadedModel, task: str, fields: Mapping[str, Any], language: str = "") -> dict[str, Any]:
    """Explain an answer of a model, for the web page.

    Each word of the answer has ``heat``, a grid over the image (row by row from the upper left corner): how much each cell
    supports the word, divided by the maximum, in 0..1. It also has ``units`` by field: how much each column of a table, word of a
    text or moment of a recording supports it (above 0) or opposes it (below 0), divided by the strongest. ``shares`` are the
    fields' shares of the effect on the answer.

    Raises:
        UserError: for a model that cannot be explained.
    """
    if not model.explains:
        raise UserError("this model does not explain its answers; leave explain out")
    from braid.explain.explaining import explain  # needs torch, which a server of ONNX models does not have

    with _LISTENING:
        if id(model) not in _COPIES:
            _COPIES[id(model)] = model.apart()
        copy = _COPIES[id(model)]
        chosen = copy.task(task, language=language)
        sample = chosen.prepare(Example("0", fields, source="the item"))
        result = explain(copy.runtime, copy.collator, chosen, sample, graded=False)  # type: ignore[arg-type]
    names = {input_named(model.bundle.inputs, field): field for field in fields}
    image = next((one for one in result.inputs if _is_image(one)), None)
    others = {names[one.name]: one for one in result.inputs if not _is_image(one) and one.name in names}
    words = [
        {"text": text, "heat": [] if image is None else _heat(image.heat_map(k)), "units": _units(others, k)}
        for k, text in enumerate(result.outputs)
    ]
    shares = {names[name]: round(share, DIGITS) for name, share in result.shares.items() if name in names}
    return {"words": words, "shares": shares}


def _heat(scores: np.ndarray) -> list[list[float]]:
    most = max(float(scores.max()), 1e-12)
    rows: list[list[float]] = (scores.clip(min=0) / most).round(HEAT_DIGITS).tolist()
    return rows


def _is_image(one: Any) -> bool:
    """Whether an input is shown as it is, with its heat: an image, and not the frames of a clip."""
    return one.boxes is not None and one.times is None


def _units(inputs: Mapping[str, Any], output: int) -> dict[str, list[dict[str, Any]]]:
    scored = {field: _scored(one, output) for field, one in inputs.items()}
    most = max((abs(score) for units in scored.values() for _, score, _ in units), default=0) or 1.0
    return {
        field: [{"name": name, "score": round(score / most, HEAT_DIGITS), **when} for name, score, when in units]
        for field, units in scored.items()
    }


def _scored(one: Any, output: int) -> list[tuple[str, float, dict[str, float]]]:
    """The units of an input: name, score, and when they are."""
    if one.times is None:
        return [(name, float(score), {}) for name, score in zip(one.units, one.values[output], strict=True)]
    from braid.explain.over_time import of_moments, time_names

    moments, sums = of_moments(one.times, one.values)
    when = [{"start": round(start, DIGITS), "end": round(end, DIGITS)} for start, end in moments.tolist()]
    return list(zip(time_names(moments), sums[output].tolist(), when, strict=True))


def _vectors(model: LoadedModel, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """One unit vector per row; each row has one value."""
    named = [(input_named(model.bundle.inputs, field), value) for row in rows for field, value in row.items()]
    vectors: list[Any] = [None] * len(named)
    for name in dict.fromkeys(name for name, _ in named):
        places = [place for place, (other, _) in enumerate(named) if other == name]
        made = embed(model.runtime, model.collator, [named[place][1] for place in places], name, strict=True).vectors
        for place, vector in zip(places, made, strict=True):
            vectors[place] = vector
    return np.stack(vectors)


def _png(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")

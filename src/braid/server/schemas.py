"""What the task endpoints read and say, as the OpenAPI document shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
MOST_ITEMS = 1024  # an operator may allow as many in one request

Image = Annotated[str, Field(min_length=1, description="A data URI, base64, or an address of a host that the server may ask.")]
Text = Annotated[str, Field(min_length=1, max_length=4000)]
Model = Annotated[str | None, Field(max_length=200, description="One of /v1/models; none: the first that does it.")]
Probability = Annotated[float, Field(ge=0, le=1)]


class _Strict(BaseModel):
    """An unknown field is a mistake, and told as one."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())


class Settings(_Strict):
    model: Model = None


class Explained(Settings):
    explain: bool = Field(False, description="Say for each word where the model looked.")


class Picture(_Strict):
    image: Image


class Question(Picture):
    question: Text


class Labelled(_Strict):
    image: Image | None = None
    text: Text | None = None


class Prompt(_Strict):
    prompt: Text
    image: Image | None = Field(None, description="A picture to change; without, one is drawn from the prompt alone.")


class LabelSettings(Explained):
    labels: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(
        [], max_length=1000, description="Labels of your own; none: those that the model was trained on."
    )


class SearchSettings(Settings):
    top: int = Field(10, ge=1, le=200)
    thumbnails: bool = Field(False, description="Send a small copy of each picture along.")


class DrawSettings(Settings):
    count: int = Field(1, ge=1, le=16)
    seed: int = Field(0, ge=0, lt=2**63)
    guidance: float | None = Field(None, ge=0, le=100, description="How closely the prompt is followed; none: the model's own.")


class CaptionRequest(Explained, Picture):
    model_config = ConfigDict(json_schema_extra={"examples": [{"image": PIXEL}]})


class CaptionsRequest(Explained):
    items: list[Picture] = Field(min_length=1, max_length=MOST_ITEMS)


class AnswerRequest(Explained, Question):
    model_config = ConfigDict(json_schema_extra={"examples": [{"image": PIXEL, "question": "what color is the dog?"}]})


class AnswersRequest(Explained):
    items: list[Question] = Field(min_length=1, max_length=MOST_ITEMS)


class ClassifyRequest(LabelSettings, Labelled):
    model_config = ConfigDict(json_schema_extra={"examples": [{"image": PIXEL, "labels": ["dog", "beach", "city"]}]})


class ClassificationsRequest(LabelSettings):
    items: list[Labelled] = Field(min_length=1, max_length=MOST_ITEMS)


class EmbedRequest(Settings, Labelled):
    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "two dogs in the snow"}]})


class EmbeddingsOfRequest(Settings):
    items: list[Labelled] = Field(min_length=1, max_length=MOST_ITEMS)


class SearchRequest(SearchSettings, Labelled):
    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "two dogs in the snow", "top": 3}]})


class SearchesRequest(SearchSettings):
    items: list[Labelled] = Field(min_length=1, max_length=MOST_ITEMS)


class ImagineRequest(DrawSettings, Prompt):
    model_config = ConfigDict(json_schema_extra={"examples": [{"prompt": "a small red circle", "seed": 7}]})


class DrawingsRequest(DrawSettings):
    items: list[Prompt] = Field(min_length=1, max_length=MOST_ITEMS)


@dataclass(frozen=True)
class Form:
    """How one endpoint is asked: fields of one item beside the settings, or ``items``."""

    item: type[BaseModel]
    one: type[BaseModel]
    many: type[BaseModel]


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(BaseModel):
    """What every error looks like, the OpenAI API's way."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "error": {
                        "message": "there is no model 'large' here; served are small, sentiment",
                        "type": "not_found_error",
                        "param": "model",
                        "code": "model_not_found",
                    }
                }
            ]
        }
    )
    error: ErrorDetail


class Word(BaseModel):
    text: str
    heat: list[list[Probability]] = Field(description="A grid over the picture, from its upper left corner, row by row.")


class Explanation(BaseModel):
    words: list[Word]


class Said(BaseModel):
    """An answer, or in its place why there is none."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "two dogs run through the snow", "confidence": 0.71}]})
    text: str | None = None
    confidence: Probability | None = None
    label: str | None = None
    labels: list[str] | None = None
    scores: dict[str, Probability] | None = None
    explanation: Explanation | None = None
    error: ErrorDetail | None = None


class Vector(BaseModel):
    embedding: list[float] | None = None
    error: ErrorDetail | None = None


class Hit(BaseModel):
    id: str
    score: float = Field(description="The cosine, -1 to 1.")
    thumbnail: str | None = Field(None, description="A JPEG as data URI; empty where the picture cannot be read.")


class Found(BaseModel):
    hits: list[Hit] | None = None
    error: ErrorDetail | None = None


class GeneratedImage(BaseModel):
    images: list[str] | None = Field(None, description="PNG, as data URIs.")
    sentences: list[Said] | None = None
    error: ErrorDetail | None = None


class SaidResponse(BaseModel):
    model: str
    results: list[Said]


class VectorResponse(BaseModel):
    model: str
    results: list[Vector]


class FoundResponse(BaseModel):
    model: str
    results: list[Found]


class DrawnResponse(BaseModel):
    model: str
    results: list[GeneratedImage]


def multipart_schema(form: Form, repeated: Sequence[str] = ("labels",)) -> dict[str, Any]:
    """A form of files and fields; a field of items that comes several times makes as many items."""
    plain = form.one.model_json_schema()["properties"]
    fields: dict[str, Any] = {name: {"type": "string"} for name in plain}
    for name in form.item.model_fields:
        value = {"type": "string", "format": "binary"} if name == "image" else {"type": "string", "minLength": 1}
        fields[name] = {"type": "array", "items": value, "minItems": 1}
    fields |= {name: {"type": "array", "items": {"type": "string"}} for name in repeated if name in plain}
    required = [name for name, field in form.item.model_fields.items() if field.is_required()]
    return {"type": "object", "properties": fields, "required": required, "additionalProperties": False}

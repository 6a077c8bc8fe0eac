"""Schemas of the endpoints' settings and answers, as shown in the OpenAPI document."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from braid.config import did_you_mean

PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
MOST_TEXT = 20_000  # characters of one text
MOST_ITEMS = 1024  # the highest limit of items per request that an operator can set

Encoded = Annotated[
    str, Field(min_length=1, description="A file: a data URI, base64, or an address on a host that the server may fetch from.")
]
Text = Annotated[str, Field(min_length=1, max_length=MOST_TEXT)]
Model = Annotated[str | None, Field(max_length=200, description="One of /v1/models; none: the first that does it.")]
Probability = Annotated[float, Field(ge=0, le=1)]


Truncated = Annotated[list[str] | None, Field(description="Fields with a text of which the model read the beginning only.")]
Unable = Mapping[str, tuple[Sequence[Any], str]]
SENT = "sent"  # the type of an error in Braid's own words


def wrong(message: str, name: str = "") -> PydanticCustomError:
    """The error of a value, or of its field ``name``."""
    return PydanticCustomError(SENT, "{message}", {"message": message, "name": name})


class Strict(BaseModel):
    """An unknown field is a mistake, and reported as one: the first, before any value is read. Null means that a field is not
    given.

    ``unable`` has fields of OpenAI's API that ask for what is not done here: the values that ask for nothing, and what is said of
    others.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())
    unable: ClassVar[Unable] = {}

    @model_validator(mode="before")
    @classmethod
    def _given(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        given = {name: value for name, value in data.items() if value is not None}
        for name in given:
            if name not in cls.model_fields:
                raise wrong(f"there is no such field; {did_you_mean(name, list(cls.model_fields))}", name)
        for name, (harmless, reason) in cls.unable.items():
            if name in given and given[name] not in harmless:
                raise wrong(reason, name)
        return given


class Settings(Strict):
    model: Model = None


class Explained(Settings):
    explain: bool = Field(False, description="Say for each word or label what it was based on.")


class CaptionSettings(Explained):
    language: str = Field("", max_length=40, description="One of the model's languages, such as zh; none: its usual one.")


class LabelSettings(Explained):
    labels: Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(fail_fast=True)] = Field(
        [], max_length=1000, description="Labels of your own; none: those that the model was trained on."
    )


class SearchSettings(Settings):
    top: int = Field(10, ge=1, le=200)
    thumbnails: bool = Field(False, description="Send a small image of each file along.")


class SamplingSettings(Settings):
    count: int = Field(1, ge=1, le=16)
    seed: int = Field(0, ge=0, lt=2**63)
    guidance: float | None = Field(None, ge=0, le=100, description="How closely the prompt is followed; none: the model's own.")


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


class UnitScore(BaseModel):
    name: str
    score: float = Field(ge=-1, le=1, description="Above 0 speaks for the word, below against it; a share of the strongest.")
    start: float | None = Field(None, description="Of a moment: seconds from the beginning of the file.")
    end: float | None = None


class Word(BaseModel):
    text: str
    heat: list[list[Probability]] = Field(description="A grid over the image, from its upper left corner, row by row.")
    units: dict[str, list[UnitScore]] = Field(
        description="By field: the columns of a table, the words of a text, the moments of a recording or a clip."
    )


class Explanation(BaseModel):
    words: list[Word]
    shares: dict[str, Probability] = Field(description="By field: how much of the answer is due to it.")


class Written(BaseModel):
    """An answer, or in its place why there is none."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "two dogs run through the snow", "confidence": 0.71}]})
    text: str | None = None
    confidence: Probability | None = None
    label: str | None = None
    labels: list[str] | None = None
    scores: dict[str, Probability] | None = None
    explanation: Explanation | None = None
    truncated: Truncated = None
    error: ErrorDetail | None = None


class Vector(BaseModel):
    embedding: list[float] | None = None
    truncated: Truncated = None
    error: ErrorDetail | None = None


class Hit(BaseModel):
    id: str
    score: float = Field(description="The cosine, -1 to 1.")
    thumbnail: str | None = Field(None, description="A JPEG as data URI; empty where the image cannot be read.")
    missing: bool | None = Field(None, description="True where the file is not there any more.")


class Hits(BaseModel):
    hits: list[Hit] | None = None
    truncated: Truncated = None
    error: ErrorDetail | None = None


class Images(BaseModel):
    images: list[str] | None = Field(None, description="PNG, as data URIs.")
    sentences: list[Written] | None = None
    error: ErrorDetail | None = None


class WrittenResponse(BaseModel):
    model: str
    results: list[Written]


class VectorResponse(BaseModel):
    model: str
    results: list[Vector]


class HitsResponse(BaseModel):
    model: str
    results: list[Hits]


class ImagesResponse(BaseModel):
    model: str
    results: list[Images]

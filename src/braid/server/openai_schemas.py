"""Schemas of OpenAI's API: of its fields, those that are answered, those that change nothing here, and those that are refused."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from braid.server.schemas import MOST_ITEMS, PIXEL, ErrorDetail, Explanation, Probability, Strict, Truncated, Unable, wrong

MOST_PARTS = 1000  # messages of a conversation, and parts of a message
IMAGE = '{"type": "image_url", "image_url": {"url": "data:image/png;base64,..."}}'
PARTS = ("image_url", "input_audio", "text", "video_url")  # types of a part of a message
JSON_TYPES = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}

NO_TOOLS = "this server calls no tools; leave it out"
NO_PENALTY = "an answer is the model's best, without penalties; leave it out"
NO_LOGPROBS = "log probabilities are not given; read confidence and scores of the choice"


def json_type(value: Any) -> str:
    return JSON_TYPES.get(type(value), "a number")


class ImageUrl(Strict):
    url: Annotated[str, Field(min_length=1)]
    detail: str | None = Field(None, description="Changes nothing: a model reads images in one size.")


def _image_url(given: Any) -> Any:
    return _object(given, '{"url": "data:image/png;base64,..."}')


def _input_audio(given: Any) -> Any:
    return _object(given, '{"data": "...", "format": "wav"}')


def _video_url(given: Any) -> Any:
    return _object(given, '{"url": "data:video/mp4;base64,..."}')


def _object(given: Any, example: str) -> Any:
    if isinstance(given, str):
        raise wrong(f"this is a text; send an object, {example}")
    return given


class VideoUrl(Strict):
    url: Annotated[str, Field(min_length=1)]


class InputAudio(Strict):
    data: Annotated[str, Field(min_length=1, description="Base64, or a data URI.")]
    format: str | None = Field(None, description="Changes nothing: the content says what it is.")


class Part(Strict):
    """A text, an image, a recording or a clip, as ``type`` says."""

    type: Literal["image_url", "input_audio", "text", "video_url"]
    text: str | None = None
    image_url: Annotated[ImageUrl | None, BeforeValidator(_image_url)] = None
    input_audio: Annotated[InputAudio | None, BeforeValidator(_input_audio)] = None
    video_url: Annotated[VideoUrl | None, BeforeValidator(_video_url)] = None

    @model_validator(mode="before")
    @classmethod
    def _typed(cls, given: Any) -> Any:
        """Say what was sent, before its fields are read."""
        if not isinstance(given, dict):
            raise wrong(f"this is {json_type(given)}; send a part such as {IMAGE}")
        kind = given.get("type")
        if kind not in PARTS:
            sent = f"there is no part of type {kind[:80]!r}" if isinstance(kind, str) else "this part has no type"
            raise wrong(f"{sent}; choose from {', '.join(PARTS)}, and send an image as {IMAGE}")
        if given.get(kind) is None:
            raise wrong(f"a part of type {kind} needs the field {kind}")
        if other := next((name for name in PARTS if name != kind and name in given), ""):
            raise wrong(f"a part of type {kind} has no {other}; send it as a part of its own")
        return given


def _parts(given: Any) -> Any:
    if isinstance(given, str):
        return [{"type": "text", "text": given}]
    if given is not None and not isinstance(given, list):
        raise wrong(f"this is {json_type(given)}; send a text, or a list of parts such as {IMAGE}")
    return given


class Message(Strict):
    """A text is a list of one part."""

    unable: ClassVar[Unable] = {
        "audio": ((), "an answer is text; send a recording as a part of type input_audio"),
        "tool_calls": (([],), NO_TOOLS),
        "function_call": ((), NO_TOOLS),
    }
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[
        Annotated[list[Part], Field(max_length=MOST_PARTS, fail_fast=True)] | None,
        BeforeValidator(_parts, json_schema_input_type=str | list[Part] | None),
    ] = None
    name: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None
    audio: Any = None
    tool_calls: Any = None
    function_call: Any = None

    def texts(self) -> list[str]:
        return [part.text.strip() for part in self.content or () if part.text and part.text.strip()]

    def files(self) -> list[tuple[str, str]]:
        """The images, recordings and clips, each with the field that it is for."""
        result = []
        for part in self.content or ():
            result += [("image", part.image_url.url)] if part.image_url else []
            result += [("audio", part.input_audio.data)] if part.input_audio else []
            result += [("video", part.video_url.url)] if part.video_url else []
        return result


class StreamOptions(Strict):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


Stop = Annotated[str, Field(min_length=1, max_length=1000)]


def _stops(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


class ChatRequest(Strict):
    """An answer is the model's best, and always the same, so that ``seed`` is kept. ``temperature``, ``top_p``,
    ``reasoning_effort`` and ``verbosity`` change nothing; the answer names them in ``ignored``. What asks for something else that
    this server does not do is refused."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "small",
                    "messages": [
                        {
                            "role": "user",
                            "content": [
                                {"type": "text", "text": "what color is the dog?"},
                                {"type": "image_url", "image_url": {"url": PIXEL}},
                            ],
                        }
                    ],
                }
            ]
        },
    )
    unable: ClassVar[Unable] = {
        "tools": (([],), NO_TOOLS),
        "tool_choice": (("none", "auto"), NO_TOOLS),
        "functions": (([],), NO_TOOLS),
        "function_call": (("none", "auto"), NO_TOOLS),
        "web_search_options": ((), NO_TOOLS),
        "response_format": (({"type": "text"},), "an answer is plain text; leave it out"),
        "modalities": ((["text"],), "an answer is text; leave it out"),
        "audio": ((), "an answer is text; leave it out"),
        "prediction": ((), "an answer cannot be given beforehand; leave it out"),
        "logprobs": ((False,), NO_LOGPROBS),
        "top_logprobs": ((0,), NO_LOGPROBS),
        "logit_bias": (({},), "words are neither preferred nor avoided; leave it out"),
        "presence_penalty": ((0,), NO_PENALTY),
        "frequency_penalty": ((0,), NO_PENALTY),
    }
    ignorable: ClassVar[tuple[str, ...]] = ("temperature", "top_p", "reasoning_effort", "verbosity")

    model: Annotated[str, Field(min_length=1, max_length=200)]
    messages: Annotated[list[Message], Field(min_length=1, max_length=MOST_PARTS, fail_fast=True)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: int | None = Field(None, ge=1, le=1, description="One answer: there is only one best.")
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stop: Annotated[
        Annotated[list[Stop], Field(max_length=4, fail_fast=True)] | None,
        BeforeValidator(_stops, json_schema_input_type=Stop | list[Stop] | None),
    ] = Field(None, description="The answer ends before the first of these.")
    seed: int | None = Field(None, description="Answers are the same with every seed.")
    explain: bool = Field(False, description="Say for each word what it was based on.")

    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    reasoning_effort: str | None = None
    verbosity: str | None = None

    user: str | None = None
    safety_identifier: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    parallel_tool_calls: bool | None = None

    tools: Any = None
    tool_choice: Any = None
    functions: Any = None
    function_call: Any = None
    web_search_options: Any = None
    response_format: Any = None
    modalities: Any = None
    audio: Any = None
    prediction: Any = None
    logprobs: Any = None
    top_logprobs: Any = None
    logit_bias: Any = None
    presence_penalty: Any = None
    frequency_penalty: Any = None


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ReplyMessage(BaseModel):
    role: Literal["assistant"]
    content: str
    refusal: None = None


class Choice(BaseModel):
    index: int
    message: ReplyMessage
    finish_reason: Literal["stop", "length"]
    logprobs: None = None
    confidence: Probability
    scores: dict[str, Probability] | None = None
    explanation: Explanation | None = None
    truncated: Truncated = None


class ChatResponse(BaseModel):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    ignored: list[str] | None = Field(None, description="What was sent and changed nothing.")


def _text(given: Any) -> Any:
    """Say what stands in place of a text."""
    if given == "":
        raise wrong("the text is empty; send a text, or leave it out")
    if isinstance(given, int | list) and not isinstance(given, bool):
        raise wrong("token ids are not read; send the text itself")
    if not isinstance(given, str):
        raise wrong(f"this is {json_type(given)}; send a text")
    return given


def _texts(given: Any) -> Any:
    if given == []:
        raise wrong("the list is empty; send one text or more")
    return given if isinstance(given, list) else [_text(given)]


class EmbeddingsRequest(Strict):
    """Texts; a data URI is a file, such as an image, in the same space."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"model": "small", "input": ["two dogs in the snow"]}]})
    model: Annotated[str, Field(min_length=1, max_length=200)]
    input: Annotated[
        Annotated[list[Annotated[str, BeforeValidator(_text)]], Field(max_length=MOST_ITEMS, fail_fast=True)],
        BeforeValidator(_texts, json_schema_input_type=str | list[str]),
    ]
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: int | None = Field(None, ge=1, description="A model's vectors have one width; another one is refused.")
    user: str | None = None
    safety_identifier: str | None = None


class EmbeddingEntry(BaseModel):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str
    truncated: Truncated = None


class EmbeddingUsage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(BaseModel):
    object: Literal["list"]
    data: list[EmbeddingEntry]
    model: str
    usage: EmbeddingUsage


class ModelEntry(BaseModel):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    tasks: list[str]
    labels: list[str]
    description: str
    error: ErrorDetail | None = None


class ModelsResponse(BaseModel):
    object: Literal["list"]
    data: list[ModelEntry]

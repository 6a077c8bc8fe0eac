"""The part of OpenAI's API that a small multimodal model supports: models, chat completions about images, embeddings."""

import asyncio
import base64
import json
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import uuid4

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response, StreamingResponse

from braid.errors import UserError
from braid.modalities import modality_of
from braid.server.answers import Caption, Embed, Label, Reply
from braid.server.endpoints import Service, deadline, unless_gone
from braid.server.guard import answer_of
from braid.server.models import Served
from braid.server.requests import ApiError, read_json
from braid.server.schemas import PIXEL, ErrorDetail, Explanation, Probability

# Texts that ask for a description of an image; any other text is a question about it.
DESCRIBE = re.compile(
    r"(please |can you |could you )*((describe|caption)\b.*|(what is|what's|whats) (in|on|shown in) (this|the) "
    r"(image|picture|photo)\W*|what do you see\b.*|(generate|write|give)( me)? (a|the) (short )?(caption|description)\b.*)",
    re.IGNORECASE | re.DOTALL,
)


class _Open(BaseModel):
    """Clients send many fields; those that change nothing here are let through."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class ImageUrl(_Open):
    url: Annotated[str, Field(min_length=1)]


class TextPart(_Open):
    type: Literal["text"]
    text: str


class ImagePart(_Open):
    type: Literal["image_url"]
    image_url: ImageUrl


class Message(_Open):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Annotated[TextPart | ImagePart, Field(discriminator="type")]] | None = None


class StreamOptions(_Open):
    include_usage: bool | None = None


class ChatRequest(_Open):
    """Of the fields of OpenAI's API, ``temperature``, ``top_p``, ``seed``, ``stop``, penalties and ``user`` are read over:
    an answer is the model's best, and always the same."""

    model_config = ConfigDict(
        extra="allow",
        allow_inf_nan=False,
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
    model: Annotated[str, Field(min_length=1, max_length=200)]
    messages: Annotated[list[Message], Field(min_length=1, max_length=1000)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: int | None = Field(None, ge=1, le=1, description="One answer: there is only one best.")
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    tools: Annotated[list[Any], Field(max_length=0)] | None = None
    explain: bool = Field(False, description="Say for each word what it was based on.")


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


class ChatResponse(BaseModel):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class ModelEntry(BaseModel):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    tasks: list[str]
    labels: list[str]
    description: str
    error: ErrorDetail | None = None


@dataclass(frozen=True)
class Turn:
    """The request in a conversation: the latest image, the text of the last message, and the verb that answers."""

    verb: Caption | Reply | Label
    item: dict[str, Any]
    text: str


def turn(request: ChatRequest, served: Served) -> Turn:
    """
    Raises:
        ApiError: 400 when this model cannot answer the conversation.
    """
    users = [message for message in request.messages if message.role == "user"]
    if not users:
        raise ApiError(400, "invalid_request", "no message has the role user; ask something", "messages")
    text = " ".join(part.strip() for part in _texts(users[-1]) if part.strip())
    image = next((url for message in reversed(users) for url in reversed(_images(message))), None)
    item = {} if image is None else {"image": image}
    if image is not None and text and not DESCRIBE.fullmatch(text) and "vqa" in served.tasks:
        return Turn(Reply(request.explain), {**item, "question": text}, text)
    if image is not None and "captioning" in served.tasks:
        return Turn(Caption(request.explain), item, text)
    if "classification" in served.tasks and (text or item):
        return Turn(Label(request.explain), {**item, **({"text": text} if text else {})}, text)
    needs = "send an image, as a content part of type image_url" if image is None else f"it does {', '.join(served.tasks)}"
    raise ApiError(400, "invalid_request", f"model {served.name!r} cannot answer this; {needs}", "messages")


def _texts(message: Message) -> list[str]:
    if isinstance(message.content, str):
        return [message.content]
    return [part.text for part in message.content or () if isinstance(part, TextPart)]


def _images(message: Message) -> list[str]:
    content = message.content if isinstance(message.content, list) else []
    return [part.image_url.url for part in content if isinstance(part, ImagePart)]


class Completion:
    """One answer in OpenAI's format, complete or as a stream of chunks."""

    def __init__(self, request: ChatRequest, served: Served, turn: Turn) -> None:
        self._served, self._turn = served, turn
        self._most = request.max_completion_tokens or request.max_tokens
        self._usage = bool(request.stream_options and request.stream_options.include_usage)
        self._head = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time.time()), "model": served.name}

    def whole(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        text, reason, usage = self._measured(answer)
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None, **_extra(answer)}
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": usage}

    def begin(self) -> str:
        """The first chunk, sent before the answer is known."""
        return self._piece({"role": "assistant", "content": ""}, None)

    def pieces(self, answer: Mapping[str, Any]) -> Iterator[str]:
        """The other chunks, one per word, after the answer is complete: only then is the best beam known."""
        text, reason, usage = self._measured(answer)
        for word in re.findall(r"\s*\S+", text):
            yield self._piece({"content": word}, None)
        yield self._piece({}, reason, _extra(answer))
        if self._usage:
            yield event({**self._head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
        yield "data: [DONE]\n\n"

    def _piece(self, delta: dict[str, Any], reason: str | None, extra: Mapping[str, Any] | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None, **(extra or {})}
        return event({**self._head, "object": "chat.completion.chunk", "choices": [choice]})

    def _measured(self, answer: Mapping[str, Any]) -> tuple[str, str, dict[str, int]]:
        """The text, cut to the client's maximum number of tokens; the finish reason; and the token usage."""
        text = str(answer["text"] or "")
        tokenizer = self._served.model.bundle.tokenizer
        encode = tokenizer.encode if tokenizer is not None else str.split
        tokens: list[Any] = list(encode(text))
        reason = "stop"
        if self._most is not None and len(tokens) > self._most:
            tokens, reason = tokens[: self._most], "length"
            text = tokenizer.decode(tokens) if tokenizer is not None else " ".join(tokens)
        prompt = len(list(encode(self._turn.text)))
        used = {"prompt_tokens": prompt, "completion_tokens": len(tokens), "total_tokens": prompt + len(tokens)}
        return text, reason, used


def event(data: Mapping[str, Any]) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def _extra(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {name: answer[name] for name in ("confidence", "scores", "explanation") if name in answer}


class EmbeddingsRequest(BaseModel):
    """Texts; a data URI is a file, such as an image, in the same space."""

    model_config = ConfigDict(
        extra="allow", json_schema_extra={"examples": [{"model": "small", "input": ["two dogs in the snow"]}]}
    )
    model: Annotated[str, Field(min_length=1, max_length=200)]
    input: Annotated[str, Field(min_length=1)] | Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: None = Field(None, description="A model's vectors have one width.")


class EmbeddingEntry(BaseModel):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(BaseModel):
    object: Literal["list"]
    data: list[EmbeddingEntry]
    model: str
    usage: EmbeddingUsage


class ModelsResponse(BaseModel):
    object: Literal["list"]
    data: list[ModelEntry]


def openai_routes(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["openai"])

    async def models(request: Request) -> JSONResponse:
        return JSONResponse({"object": "list", "data": [one.message() for one in service.catalogue.served.values()]})

    async def model(request: Request, name: str) -> JSONResponse:
        return JSONResponse(service.catalogue.named(name).message())

    async def chat(request: Request) -> Response:
        return await _chat(service, request)

    async def embeddings(request: Request) -> JSONResponse:
        return await _embeddings(service, request)

    add = router.add_api_route
    add("/models", models, summary="The models that are served", responses={200: {"model": ModelsResponse}})
    add("/models/{name:path}", model, summary="One model", responses={200: {"model": ModelEntry}})
    add("/chat/completions", chat, methods=["POST"], summary="Ask about an image", responses={200: {"model": ChatResponse}})
    add("/embeddings", embeddings, methods=["POST"], summary="Embed texts", responses={200: {"model": EmbeddingsResponse}})
    return router


async def _chat(service: Service, request: Request) -> Response:
    async with deadline(request, service.limits):
        body = await read_json(request, ChatRequest)
        served = service.catalogue.named(body.model)
        question = turn(body, served)
        served.engine.check_room(1)
        rows = await unless_gone(request, lambda: service.rows(served, [question.item], body.explain))
        if isinstance(rows[0], UserError):
            raise rows[0]
        completion = Completion(body, served, question)
        if not body.stream:
            (answer,) = await unless_gone(request, lambda: service.ask(served, question.verb, rows))
            if isinstance(answer, UserError):
                raise answer
            return JSONResponse(completion.whole(answer))

    async def pieces() -> AsyncIterator[str]:
        """The stream; after it has begun, an error is sent as an event."""
        yield completion.begin()
        try:
            async with deadline(request, service.limits):
                (answer,) = await service.ask(served, question.verb, rows)
            if isinstance(answer, UserError):
                raise answer
            for piece in completion.pieces(answer):
                yield piece
        except Exception as error:
            yield event(answer_of(error, request.scope).body)

    return StreamingResponse(pieces(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _embeddings(service: Service, request: Request) -> JSONResponse:
    async with deadline(request, service.limits):
        body = await read_json(request, EmbeddingsRequest)
        served = service.catalogue.doing(Embed.task, service.catalogue.named(body.model).name)
        given = [body.input] if isinstance(body.input, str) else body.input
        service.check_number(len(given))
        served.engine.check_room(len(given))
        items = [{_field(one): one} for one in given]

        async def work() -> list[Any]:
            return await service.ask(served, Embed(), await service.rows(served, items, False))

        result = await unless_gone(request, work)
    for number, one in enumerate(result):
        if isinstance(one, UserError):
            raise ApiError(400, "invalid_item", f"input {number}: {one}", "input")
    data = [
        {"object": "embedding", "index": number, "embedding": _written(one["embedding"], body.encoding_format)}
        for number, one in enumerate(result)
    ]
    used = await asyncio.to_thread(_number_of_tokens, served, [item["text"] for item in items if "text" in item])
    usage = {"prompt_tokens": used, "total_tokens": used}
    return JSONResponse({"object": "list", "data": data, "model": served.name, "usage": usage})


def _number_of_tokens(served: Served, texts: Sequence[str]) -> int:
    tokenizer = served.model.bundle.tokenizer
    return sum(len(tokenizer.encode(text)) for text in texts) if tokenizer is not None else 0


def _field(given: str) -> str:
    """The field of a value: image for ``data:image/png;base64,...``, otherwise text."""
    kind = re.match(r"data:(\w+)/", given)
    return kind[1] if kind and modality_of(kind[1]) else "text"


def _written(vector: list[float], form: str | None) -> list[float] | str:
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode("ascii") if form == "base64" else vector

"""The part of OpenAI's API that a small multimodal model supports: models, chat completions about images, embeddings."""

import asyncio
import base64
import json
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from braid.errors import UserError
from braid.files.paths import is_data_uri
from braid.modalities import modality_of
from braid.search import input_named
from braid.server.answers import Caption, Embed, Label, Reply
from braid.server.endpoints import Service, deadline, unless_gone
from braid.server.guard import answer_of
from braid.server.models import Served
from braid.server.openai_schemas import (
    ChatRequest,
    ChatResponse,
    EmbeddingsRequest,
    EmbeddingsResponse,
    ModelEntry,
    ModelsResponse,
)
from braid.server.requests import ApiError, Json, read_json
from braid.server.schemas import MOST_TEXT

# Texts that ask for a description of an image, a clip or a recording; any other text is a question about it.
DESCRIBE = re.compile(
    r"(please |can you |could you )*((describe|caption)\b.*|(what is|what's|whats) (in|on|shown in|happening in) (this|the) "
    r"(image|picture|photo|video|clip|recording|audio|sound)\W*|what do you (see|hear)\b.*|"
    r"(generate|write|give)( me)? (a|the) (short )?(caption|description)\b.*)",
    re.IGNORECASE | re.DOTALL,
)
MANY = {"image": "images", "audio": "recordings", "video": "clips"}  # several files of a field, in words
ARTICLES = {"image": "an", "audio": "an", "video": "a"}
TYPES = {"image": "image_url", "audio": "input_audio", "video": "video_url"}  # the type of a content part


@dataclass(frozen=True)
class Turn:
    """What a conversation asks: the verb that answers, its item and text; and the messages that nothing is read of."""

    verb: Caption | Reply | Label
    item: dict[str, Any]
    text: str
    unread: tuple[str, ...]


def turn(request: ChatRequest, served: Served) -> Turn:
    """What the user asks since the last answer, about the files that came with it, or else the latest ones before: at most one
    image, one recording and one clip.

    Raises:
        ApiError: 400 when this model cannot answer the conversation.
    """
    rows = list(enumerate(request.messages))
    begun = max((row + 1 for row, message in rows if message.role == "assistant"), default=0)
    asked = [row for row, message in rows[begun:] if message.role == "user"]
    if not asked:
        raise ApiError(400, "invalid_request", "the last message is not of the role user; ask something", "messages")
    files = [file for row in asked for file in request.messages[row].files()]
    for field, many in MANY.items():
        if (number := sum(name == field for name, _ in files)) > 1:
            raise ApiError(400, "invalid_request", f"these are {number} {many}; ask about one at a time", "messages")
    shown = [row for row, message in rows[:begun] if message.role == "user" and message.files()][-1:]
    if not files:
        asked += shown
        files = [file for row in shown for file in request.messages[row].files()]
    text = " ".join(text for row in asked if row >= begun for text in request.messages[row].texts())
    if len(text) > MOST_TEXT:
        message = f"the text has {len(text):,} characters; a text may have {MOST_TEXT:,}"
        raise ApiError(400, "invalid_request", message, "messages")
    item: dict[str, Any] = dict(files)
    unread = tuple(f"messages.{row}" for row, message in rows if row not in asked and message.role != "assistant")
    return Turn(*_asked(served, item, text, request.explain), text, unread)


def _asked(served: Served, item: dict[str, Any], text: str, explain: bool) -> tuple[Caption | Reply | Label, dict[str, Any]]:
    """The verb and the item of a text and an image."""
    describe = not text or DESCRIBE.fullmatch(text)
    if item and not describe and "vqa" in served.tasks:
        return Reply(explain), {**item, "question": text}
    if item and describe and "captioning" in served.tasks:
        return Caption(explain), item
    if "classification" in served.tasks and (text or item):
        return Label(explain), {**item, **({"text": text} if text else {})}
    read = [field for field in MANY if input_named(served.inputs, field) in served.inputs] or ["image"]
    wanted = " or ".join(f"{ARTICLES[field]} {field}, as a content part of type {TYPES[field]}" for field in read)
    needs = f"it does {', '.join(served.tasks)}" if item else f"send {wanted}"
    if item and "captioning" in served.tasks:
        needs = f"it describes {MANY[read[0]]}, and answers no questions; ask it to describe the {read[0]}"
    raise ApiError(400, "invalid_request", f"model {served.name!r} cannot answer this; {needs}", "messages")


class Completion:
    """One answer in OpenAI's format, complete or as a stream of chunks."""

    def __init__(self, request: ChatRequest, served: Served, turn: Turn) -> None:
        self._served, self._turn = served, turn
        self._most = request.max_completion_tokens or request.max_tokens
        self._stop = request.stop or []
        self._usage = bool(request.stream_options and request.stream_options.include_usage)
        self._head = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time.time()), "model": served.name}
        if ignored := [*turn.unread, *(name for name in request.ignorable if getattr(request, name) is not None)]:
            self._head["ignored"] = ignored

    def whole(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        text, reason, usage = self._measured(answer)
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None, **_extra(answer)}
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": usage}

    def begin(self) -> bytes:
        """The first chunk, sent before the answer is known."""
        return self._piece({"role": "assistant", "content": ""}, None)

    def pieces(self, answer: Mapping[str, Any]) -> Iterator[bytes]:
        """The other chunks, one per word, after the answer is complete: only then is the best beam known."""
        text, reason, usage = self._measured(answer)
        for word in re.findall(r"\s*\S+", text):
            yield self._piece({"content": word}, None)
        yield self._piece({}, reason, _extra(answer))
        if self._usage:
            yield event({**self._head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
        yield b"data: [DONE]\n\n"

    def _piece(self, delta: dict[str, Any], reason: str | None, extra: Mapping[str, Any] | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None, **(extra or {})}
        return event({**self._head, "object": "chat.completion.chunk", "choices": [choice]})

    def _measured(self, answer: Mapping[str, Any]) -> tuple[str, str, dict[str, int]]:
        """The text, cut at the client's stops and to its maximum number of tokens; the finish reason; and the token usage."""
        text = str(answer["text"] or "")
        for stop in self._stop:
            text = text.partition(stop)[0]
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


def event(data: Mapping[str, Any]) -> bytes:
    """One server-sent event."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode("utf-8", "backslashreplace")


def _extra(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {name: answer[name] for name in ("confidence", "scores", "explanation", "truncated") if name in answer}


def openai_routes(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["openai"])

    async def models(request: Request) -> Json:
        return Json({"object": "list", "data": [one.message() for one in service.catalogue.served.values()]})

    async def model(request: Request, name: str) -> Json:
        return Json(service.catalogue.named(name).message())

    async def chat(request: Request) -> Response:
        return await _chat(service, request)

    async def embeddings(request: Request) -> Json:
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
            return Json(completion.whole(answer))

    async def pieces() -> AsyncIterator[bytes]:
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


async def _embeddings(service: Service, request: Request) -> Json:
    async with deadline(request, service.limits):
        body = await read_json(request, EmbeddingsRequest)
        served = service.catalogue.doing(Embed.task, service.catalogue.named(body.model).name)
        service.check_number(len(body.input))
        served.engine.check_room(len(body.input))
        items = [{_field(one, served): one} for one in body.input]

        async def work() -> list[Any]:
            return await service.ask(served, Embed(), await service.rows(served, items, False))

        result = await unless_gone(request, work)
    for number, one in enumerate(result):
        if isinstance(one, UserError):
            raise ApiError(400, "invalid_item", f"input {number}: {one}", "input")
    if body.dimensions not in (None, width := len(result[0]["embedding"])):
        message = f"dimensions: the vectors of model {served.name!r} have {width} numbers; leave it out"
        raise ApiError(400, "invalid_request", message, "dimensions")
    data = [
        {"object": "embedding", "index": number, "embedding": _written(one["embedding"], body.encoding_format), **_extra(one)}
        for number, one in enumerate(result)
    ]
    used = await asyncio.to_thread(_number_of_tokens, served, [item["text"] for item in items if "text" in item])
    usage = {"prompt_tokens": used, "total_tokens": used}
    return Json({"object": "list", "data": data, "model": served.name, "usage": usage})


def _number_of_tokens(served: Served, texts: Sequence[str]) -> int:
    tokenizer = served.model.bundle.tokenizer
    return sum(len(tokenizer.encode(text)) for text in texts) if tokenizer is not None else 0


def _field(given: str, served: Served) -> str:
    """The field of a value: text, or for a data URI the modality that it names, else the first field of files."""
    if not is_data_uri(given):
        return "text"
    kind = re.match(r"\s*data:(\w+)/", given, re.IGNORECASE)
    named = kind[1].lower() if kind else ""
    return named if modality_of(named) and named != "text" else next(filter(served.reads_file, served.inputs), "image")


def _written(vector: list[float], form: str | None) -> list[float] | str:
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode("ascii") if form == "base64" else vector

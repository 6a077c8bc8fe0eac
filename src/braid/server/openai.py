"""The part of OpenAI's API that a small multimodal model can honour: models, chat completions with pictures, embeddings."""

import base64
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response, StreamingResponse

from braid.errors import UserError
from braid.server.bodies import read_json
from braid.server.chat import ChatRequest, ChatResponse, Completion, ModelEntry, event, turn
from braid.server.errors import ApiError
from braid.server.guard import answer_of
from braid.server.request_handling import Desk, deadline, unless_gone
from braid.server.verbs import Embed


class EmbeddingsRequest(BaseModel):
    """Texts; what begins with ``data:image/`` is a picture in the same space."""

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


def openai_routes(desk: Desk) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["openai"])

    async def models(request: Request) -> JSONResponse:
        return JSONResponse({"object": "list", "data": [one.message() for one in desk.catalogue.served.values()]})

    async def model(request: Request, name: str) -> JSONResponse:
        return JSONResponse(desk.catalogue.named(name).message())

    async def chat(request: Request) -> Response:
        return await _chat(desk, request)

    async def embeddings(request: Request) -> JSONResponse:
        return await _embeddings(desk, request)

    add = router.add_api_route
    add("/models", models, summary="The models that are served", responses={200: {"model": ModelsResponse}})
    add("/models/{name:path}", model, summary="One model", responses={200: {"model": ModelEntry}})
    add("/chat/completions", chat, methods=["POST"], summary="Ask about a picture", responses={200: {"model": ChatResponse}})
    add("/embeddings", embeddings, methods=["POST"], summary="Embed texts", responses={200: {"model": EmbeddingsResponse}})
    return router


async def _chat(desk: Desk, request: Request) -> Response:
    async with deadline(request, desk.limits):
        asked = await read_json(request, ChatRequest)
        served = desk.catalogue.named(asked.model)
        asking = turn(asked, served)
        served.engine.check_room(1)
        rows = await unless_gone(request, lambda: desk.rows(served, [asking.item], asked.explain))
        if isinstance(rows[0], UserError):
            raise rows[0]
        completion = Completion(asked, served, asking)
        if not asked.stream:
            (answer,) = await unless_gone(request, lambda: desk.ask(served, asking.verb, rows))
            if isinstance(answer, UserError):
                raise answer
            return JSONResponse(completion.whole(answer))

    async def pieces() -> AsyncIterator[str]:
        """Once it has begun, an error is an event, too."""
        yield completion.begin()
        try:
            async with deadline(request, desk.limits):
                (answer,) = await desk.ask(served, asking.verb, rows)
            if isinstance(answer, UserError):
                raise answer
            for piece in completion.pieces(answer):
                yield piece
        except Exception as error:
            yield event(answer_of(error, request.scope).body)

    return StreamingResponse(pieces(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _embeddings(desk: Desk, request: Request) -> JSONResponse:
    async with deadline(request, desk.limits):
        asked = await read_json(request, EmbeddingsRequest)
        served = desk.catalogue.doing(Embed.task, desk.catalogue.named(asked.model).name)
        given = [asked.input] if isinstance(asked.input, str) else asked.input
        desk.check_number(len(given))
        served.engine.check_room(len(given))
        items = [{"image" if one.startswith("data:image/") else "text": one} for one in given]

        async def work() -> list[Any]:
            return await desk.ask(served, Embed(), await desk.rows(served, items, False))

        result = await unless_gone(request, work)
    for number, one in enumerate(result):
        if isinstance(one, UserError):
            raise ApiError(400, "invalid_item", f"input {number}: {one}", "input")
    data = [
        {"object": "embedding", "index": number, "embedding": _written(one["embedding"], asked.encoding_format)}
        for number, one in enumerate(result)
    ]
    tokenizer = served.model.bundle.tokenizer
    used = sum(len(tokenizer.encode(item["text"])) for item in items if "text" in item) if tokenizer is not None else 0
    usage = {"prompt_tokens": used, "total_tokens": used}
    return JSONResponse({"object": "list", "data": data, "model": served.name, "usage": usage})


def _written(vector: list[float], form: str | None) -> list[float] | str:
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode("ascii") if form == "base64" else vector

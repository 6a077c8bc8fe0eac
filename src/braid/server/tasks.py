"""The task endpoints: /v1/caption, answer, classify, embed, search and imagine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse

from braid.errors import UserError
from braid.server import schemas
from braid.server.bodies import read_form
from braid.server.catalogue import Served
from braid.server.errors import ApiError
from braid.server.request_handling import Desk, deadline, unless_gone
from braid.server.schemas import Form
from braid.server.verbs import Caption, Embed, Imagine, Label, Nearest, Reply, Search, Verb

Items = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Endpoint:
    """One task over HTTP. ``verb`` makes of the settings what is asked of a model, and says what items may not leave out."""

    path: str
    summary: str
    form: Form
    answer: type[BaseModel]
    verb: Callable[[Desk, Any, Items], Verb]


def _caption(desk: Desk, asked: Any, items: Items) -> Verb:
    return Caption(asked.explain)


def _answer(desk: Desk, asked: Any, items: Items) -> Verb:
    return Reply(asked.explain)


def _classify(desk: Desk, asked: Any, items: Items) -> Verb:
    _need_one_of(items, "classify")
    if not asked.labels:
        return Label(asked.explain)
    if len(asked.labels) < 2:
        raise ApiError(400, "invalid_request", "there is only one label to choose from; give two or more", "labels")
    if any("image" in item and "text" in item for item in items):
        message = "labels of your own are compared with a picture or a text; give one of them an item"
        raise ApiError(400, "invalid_request", message, "labels")
    return Nearest(tuple(dict.fromkeys(asked.labels)))


def _embed(desk: Desk, asked: Any, items: Items) -> Verb:
    _need_one_of(items, "embed")
    if any("image" in item and "text" in item for item in items):
        raise ApiError(400, "invalid_request", "an embedding is of a picture or of a text; send them as two items", "items")
    return Embed()


def _search(desk: Desk, asked: Any, items: Items) -> Verb:
    _need_one_of(items, "look for")
    if desk.catalogue.index is None:
        raise ApiError(404, "no_index", "there is no index to search; start the server with --index FOLDER")
    return Search(desk.catalogue.index, asked.top, asked.thumbnails)


def _imagine(desk: Desk, asked: Any, items: Items) -> Verb:
    desk.check_number(asked.count * len(items))
    if any(not item["prompt"].strip() for item in items):
        raise ApiError(400, "invalid_request", "the prompt is empty; say what the picture shall show", "prompt")
    return Imagine(asked.count, asked.seed, asked.guidance)


def _need_one_of(items: Items, what: str) -> None:
    if any(not item for item in items):
        raise ApiError(400, "invalid_request", f"there is nothing to {what}; give an image or a text")


ENDPOINTS = (
    Endpoint(
        "caption",
        "Describe pictures",
        Form(schemas.Picture, schemas.CaptionRequest, schemas.CaptionsRequest),
        schemas.SaidResponse,
        _caption,
    ),
    Endpoint(
        "answer",
        "Answer questions about pictures",
        Form(schemas.Question, schemas.AnswerRequest, schemas.AnswersRequest),
        schemas.SaidResponse,
        _answer,
    ),
    Endpoint(
        "classify",
        "Label pictures, texts or both",
        Form(schemas.Labelled, schemas.ClassifyRequest, schemas.ClassificationsRequest),
        schemas.SaidResponse,
        _classify,
    ),
    Endpoint(
        "embed",
        "Pictures and texts as unit vectors of one space",
        Form(schemas.Labelled, schemas.EmbedRequest, schemas.EmbeddingsOfRequest),
        schemas.VectorResponse,
        _embed,
    ),
    Endpoint(
        "search",
        "Find pictures of the index by text, picture or both",
        Form(schemas.Labelled, schemas.SearchRequest, schemas.SearchesRequest),
        schemas.FoundResponse,
        _search,
    ),
    Endpoint(
        "imagine",
        "Draw pictures, or change them",
        Form(schemas.Prompt, schemas.ImagineRequest, schemas.DrawingsRequest),
        schemas.DrawnResponse,
        _imagine,
    ),
)


def task_routes(desk: Desk) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["tasks"])
    for endpoint in ENDPOINTS:
        router.add_api_route(
            f"/{endpoint.path}",
            _handler(desk, endpoint),
            methods=["POST"],
            name=endpoint.path,
            summary=endpoint.summary,
            responses={200: {"model": endpoint.answer}},
        )
    return router


def _handler(desk: Desk, endpoint: Endpoint) -> Callable[[Request], Any]:
    async def handle(request: Request) -> JSONResponse:
        async with deadline(request, desk.limits):
            asked, items = await read_form(request, endpoint.form)
            desk.check_number(len(items))
            verb = endpoint.verb(desk, asked, items)
            served = _served(desk, verb, asked)
            served.engine.check_room(len(items))

            async def work() -> list[Any]:
                rows = await desk.rows(served, items, bool(getattr(asked, "explain", False)))
                return await desk.ask(served, verb, rows)

            answers = await unless_gone(request, work)
        if len(answers) == 1 and isinstance(answers[0], UserError):
            raise answers[0]
        return JSONResponse({"model": served.name, "results": [_told(answer) for answer in answers]})

    return handle


def _served(desk: Desk, verb: Verb, asked: Any) -> Served:
    """The model that is named or does it; an index is searched by the model that made it."""
    result = desk.catalogue.doing(verb.task, asked.model)
    if not isinstance(verb, Search) or result.name == desk.catalogue.searching:
        return result
    if asked.model is not None:
        message = f"the index was made by model {desk.catalogue.searching!r}; leave the model out"
        raise ApiError(400, "wrong_model", message, "model")
    return desk.catalogue.named(desk.catalogue.searching)


def _told(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, UserError):
        return dict(answer)
    return ApiError(400, "invalid_item", str(answer)).body

"""The application: routes, the page, health, figures and the OpenAPI document, behind the guard."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from prometheus_client import generate_latest
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp

import braid
from braid.errors import UserError
from braid.server.catalogue import Catalogue
from braid.server.chat import ChatRequest
from braid.server.config import Access
from braid.server.errors import ApiError
from braid.server.guard import Guard, answer_of
from braid.server.openai import EmbeddingsRequest, openai_routes
from braid.server.request_handling import Desk
from braid.server.schemas import ErrorBody, multipart_schema
from braid.server.tasks import ENDPOINTS, task_routes

STATIC = Path(__file__).with_name("static")
# What the page can do -> the tasks of which a model must have one.
TOOLS = {
    "caption": {"captioning"},
    "answer": {"vqa"},
    "classify": {"classification", "retrieval"},
    "search": {"retrieval"},
    "imagine": {"image_generation"},
}
# The page may load its own files, show pictures that it holds, and talk to its own server; nothing else.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ERRORS = {
    "400": "What was sent cannot be used; the message says what to send.",
    "401": "The API key is missing or wrong.",
    "403": "The request comes from elsewhere than it may.",
    "404": "There is no such model, or none that does this.",
    "408": "The body did not arrive in time.",
    "413": "The request is too large.",
    "415": "The body is of another kind.",
    "429": "Too much is under way; Retry-After says when to try again.",
    "500": "The server failed; its log says more.",
    "504": "The answer was not ready in time.",
}


def application(desk: Desk, access: Access) -> ASGIApp:
    """Everything that answers, for any ASGI server."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(desk.close)

    async def failed(request: Request, error: Exception) -> JSONResponse:
        answer = answer_of(error, request.scope)
        desk.metrics.errors.labels(answer.code).inc()
        return answer.response

    app = FastAPI(
        title="Braid",
        version=braid.__version__,
        description="A small multimodal language model: captions, answers, labels, embeddings, search and drawings.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
        exception_handlers=dict.fromkeys((ApiError, UserError, HTTPException, Exception), failed),
    )
    app.include_router(task_routes(desk))
    app.include_router(openai_routes(desk))
    _own_routes(app, desk)
    document = _document(app, bool(access.keys))
    app.add_api_route("/openapi.json", lambda: JSONResponse(document), include_in_schema=False)
    return Guard(app, access, desk.limits, desk.metrics)


def _own_routes(app: FastAPI, desk: Desk) -> None:
    def health() -> JSONResponse:
        return JSONResponse({"status": "ok"})

    def ready() -> JSONResponse:
        ready = desk.catalogue.ready
        return JSONResponse({"status": "ready" if ready else "busy"}, 200 if ready else 503)

    def figures() -> Response:
        return PlainTextResponse(generate_latest(desk.metrics.registry), media_type="text/plain; version=0.0.4")

    def abilities() -> JSONResponse:
        """What the page offers."""
        return JSONResponse(_abilities(desk.catalogue))

    app.add_api_route("/healthz", health, summary="Whether the process lives", tags=["operation"])
    app.add_api_route(
        "/readyz",
        ready,
        summary="Whether the next request is answered",
        tags=["operation"],
        responses={503: {"description": "The queue is full, or the server stops."}},
    )
    app.add_api_route("/metrics", figures, summary="Figures for Prometheus", tags=["operation"], response_class=PlainTextResponse)
    app.add_api_route("/abilities", abilities, include_in_schema=False)
    for file in STATIC.iterdir():
        path = "/" if file.name == "index.html" else f"/{file.name}"
        app.add_api_route(path, _file(file), include_in_schema=False)


def _abilities(catalogue: Catalogue) -> dict[str, Any]:
    served = list(catalogue.served.values())
    tasks = {task for one in served for task in one.tasks}
    tools = [name for name, needs in TOOLS.items() if needs & tasks and (name != "search" or catalogue.index is not None)]
    explains = any(one.model.explains for one in served)
    labels = next((one.labels for one in served if one.labels), [])
    return {"tools": tools, "labels": labels, "explains": explains, "models": list(catalogue.served)}


def _file(path: Path) -> Callable[[], FileResponse]:
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}

    def send() -> FileResponse:
        return FileResponse(path, headers=headers)

    return send


def _document(app: FastAPI, keys: bool) -> dict[str, Any]:
    """The OpenAPI document: bodies are read by Braid itself, so their schemas are put in here."""
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    asked: list[type[BaseModel]] = [model for one in ENDPOINTS for model in (one.form.one, one.form.many)]
    asked += [ChatRequest, EmbeddingsRequest, ErrorBody]
    template = "#/components/schemas/{model}"
    _, result = models_json_schema([(model, "validation") for model in asked], ref_template=template)
    document["components"]["schemas"] |= result["$defs"]
    for one in ENDPOINTS:
        json = {"anyOf": [{"$ref": template.format(model=model.__name__)} for model in (one.form.one, one.form.many)]}
        example = one.form.one.model_config["json_schema_extra"]["examples"][0]  # type: ignore[index]
        kinds = {
            "application/json": {"schema": json, "example": example},
            "multipart/form-data": {"schema": multipart_schema(one.form)},
        }
        document["paths"][f"/v1/{one.path}"]["post"]["requestBody"] = {"required": True, "content": kinds}
    for path, model in (("/v1/chat/completions", ChatRequest), ("/v1/embeddings", EmbeddingsRequest)):
        content = {"application/json": {"schema": {"$ref": template.format(model=model.__name__)}}}
        document["paths"][path]["post"]["requestBody"] = {"required": True, "content": content}
    stream = {"text/event-stream": {"schema": {"type": "string"}}}
    document["paths"]["/v1/chat/completions"]["post"]["responses"]["200"]["content"] |= stream
    _tell_errors(document)
    if keys:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
    return document


def _tell_errors(document: dict[str, Any]) -> None:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            operation["responses"].pop("422", None)
            if path.startswith("/v1/"):
                own = {status: {"description": message, "content": content} for status, message in ERRORS.items()}
                operation["responses"] = own | operation["responses"]

"""The application: routes, the page, health, metrics and the OpenAPI document, behind the guard."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
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
from braid.server.config import Access
from braid.server.endpoints import ENDPOINTS, Endpoint, Service, task_routes
from braid.server.guard import Guard, answer_of
from braid.server.models import Catalogue
from braid.server.openai import ChatRequest, EmbeddingsRequest, openai_routes
from braid.server.requests import ApiError, Form, example_of, fields_of, multipart_schema
from braid.server.schemas import ErrorBody

STATIC = Path(__file__).with_name("static")
TOOLS = ("caption", "answer", "classify", "search", "imagine")  # endpoints that the page has a form for
# The page may load its own files, show images that it holds, and talk to its own server; nothing else.
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


def application(service: Service, access: Access) -> ASGIApp:
    """Everything that answers, for any ASGI server."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.close)

    async def failed(request: Request, error: Exception) -> JSONResponse:
        answer = answer_of(error, request.scope)
        service.metrics.errors.labels(answer.code).inc()
        return answer.response

    app = FastAPI(
        title="Braid",
        version=braid.__version__,
        description="A small multimodal language model: captions, answers, labels, embeddings, search and images.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
        exception_handlers=dict.fromkeys((ApiError, UserError, HTTPException, Exception), failed),
    )
    forms = {endpoint.path: endpoint.form([one.inputs for one in endpoint.served(service.catalogue)]) for endpoint in ENDPOINTS}
    app.include_router(task_routes(service, forms))
    app.include_router(openai_routes(service))
    _own_routes(app, service)
    document = _document(app, forms, bool(access.keys))
    app.add_api_route("/openapi.json", lambda: JSONResponse(document), include_in_schema=False)
    return Guard(app, access, service.limits, service.metrics)


def _own_routes(app: FastAPI, service: Service) -> None:
    def health() -> JSONResponse:
        return JSONResponse({"status": "ok"})

    def ready() -> JSONResponse:
        ready = service.catalogue.ready
        return JSONResponse({"status": "ready" if ready else "busy"}, 200 if ready else 503)

    def metrics() -> Response:
        return PlainTextResponse(generate_latest(service.metrics.registry), media_type="text/plain; version=0.0.4")

    def abilities() -> JSONResponse:
        """What the page offers."""
        return JSONResponse(_abilities(service.catalogue))

    app.add_api_route("/healthz", health, summary="Whether the process lives", tags=["operation"])
    app.add_api_route(
        "/readyz",
        ready,
        summary="Whether the next request is answered",
        tags=["operation"],
        responses={503: {"description": "The queue is full, or the server stops."}},
    )
    app.add_api_route("/metrics", metrics, summary="Metrics for Prometheus", tags=["operation"], response_class=PlainTextResponse)
    app.add_api_route("/abilities", abilities, include_in_schema=False)
    for file in STATIC.iterdir():
        path = "/" if file.name == "index.html" else f"/{file.name}"
        app.add_api_route(path, _file(file), include_in_schema=False)


def _abilities(catalogue: Catalogue) -> dict[str, Any]:
    """By tool, the inputs of the model that answers it; of the whole server, what else the page shows."""
    tools = {one.path: one for one in ENDPOINTS if one.path in TOOLS and (one.path != "search" or catalogue.index is not None)}
    answering = {name: able[0] for name, one in tools.items() if (able := one.served(catalogue))}
    served = list(catalogue.served.values())
    return {
        "tools": {name: _inputs(tools[name], model.inputs) for name, model in answering.items()},
        "labels": next((one.labels for one in served if one.labels), []),
        "zero_shot": any("retrieval" in one.tasks for one in served),
        "explains": [name for name, model in answering.items() if model.model.explains],
        "models": list(catalogue.served),
    }


def _inputs(endpoint: Endpoint, inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The fields of a form: of one value each, or, with ``columns``, of one cell each."""
    fields = fields_of(inputs, endpoint.text)
    return [{"name": name, "columns": config.parts, "fields": config.fields()} for name, config in fields.items()]


def _file(path: Path) -> Callable[[], FileResponse]:
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}

    def send() -> FileResponse:
        return FileResponse(path, headers=headers)

    return send


def _document(app: FastAPI, forms: Mapping[str, Form], keys: bool) -> dict[str, Any]:
    """The OpenAPI document: bodies are read by Braid itself, so their schemas are put in here."""
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    bodies: list[type[BaseModel]] = [model for form in forms.values() for model in (form.one, form.many)]
    bodies += [ChatRequest, EmbeddingsRequest, ErrorBody]
    template = "#/components/schemas/{model}"
    _, result = models_json_schema([(model, "validation") for model in bodies], ref_template=template)
    document["components"]["schemas"] |= result["$defs"]
    for one in ENDPOINTS:
        form = forms[one.path]
        json = {"anyOf": [{"$ref": template.format(model=model.__name__)} for model in (form.one, form.many)]}
        kinds = {
            "application/json": {"schema": json, "example": example_of(form, one.text, one.example, one.extra)},
            "multipart/form-data": {"schema": multipart_schema(form)},
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

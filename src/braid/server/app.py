"""The application (routes, page, health, metrics, OpenAPI document), and the process that serves it."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from mimetypes import guess_type
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from prometheus_client import generate_latest
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp

import braid
from braid.errors import UserError
from braid.server.config import Access, Limits
from braid.server.connections import patient
from braid.server.endpoints import ENDPOINTS, Endpoint, Service, task_routes
from braid.server.guard import Guard, Metrics, answer_of, start_logging
from braid.server.models import Catalogue, Served, open_catalogue
from braid.server.openai import openai_routes
from braid.server.openai_schemas import ChatRequest, EmbeddingsRequest
from braid.server.requests import ApiError, Form, example_of, fields_of, multipart_schema
from braid.server.schemas import ErrorBody
from braid.server.uploads import Uploads, fetch

STATIC = Path(__file__).with_name("static")
TOOLS = ("caption", "answer", "classify", "search", "imagine")  # endpoints with a form on the page
# The page may only load its own files, show and play what is embedded or recorded in it, and connect to its own server.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
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
BACKLOG = 512  # connections waiting to be accepted
IDLE = 15  # seconds that a connection may wait for its next request


def application(service: Service, access: Access) -> ASGIApp:
    """The complete application for any ASGI server."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.close)

    async def failed(request: Request, error: Exception) -> JSONResponse:
        answer = answer_of(error, request.scope)
        service.metrics.count(answer)
        return answer.response

    app = FastAPI(
        title="Braid",
        version=braid.__version__,
        description="A small multimodal language model: captions, answers, labels, embeddings, search and images.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
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
        alive = all(one.engine.alive for one in service.catalogue.served.values())
        return JSONResponse({"status": "ok" if alive else "a worker ended"}, 200 if alive else 503)

    def ready() -> JSONResponse:
        ready = service.catalogue.ready
        return JSONResponse({"status": "ready" if ready else "busy"}, 200 if ready else 503)

    def metrics() -> Response:
        return PlainTextResponse(generate_latest(service.metrics.registry), media_type="text/plain; version=0.0.4")

    def abilities() -> JSONResponse:
        """The features of the page."""
        return JSONResponse(_abilities(service.catalogue))

    for path, answer, summary, unless in (
        ("/healthz", health, "Whether the process and its workers live", "A worker ended: start the server again."),
        ("/readyz", ready, "Whether the next request is answered", "The queue is full, or the server stops."),
    ):
        app.add_api_route(path, answer, summary=summary, tags=["operation"], responses={503: {"description": unless}})
    app.add_api_route("/metrics", metrics, summary="Metrics for Prometheus", tags=["operation"], response_class=PlainTextResponse)
    app.add_api_route("/abilities", abilities, include_in_schema=False)
    for file in STATIC.iterdir():
        path = "/" if file.name == "index.html" else f"/{file.name}"
        app.add_api_route(path, _file(file), include_in_schema=False)


def _abilities(catalogue: Catalogue) -> dict[str, Any]:
    """For each tool, the inputs of its model; and other features of the server for the page."""
    tools = {one.path: one for one in ENDPOINTS if one.path in TOOLS and (one.path != "search" or catalogue.index is not None)}
    answering = {name: able[0] for name, one in tools.items() if (able := one.served(catalogue))}
    served = list(catalogue.served.values())
    return {
        "tools": {name: _inputs(tools[name], model.inputs) for name, model in answering.items()},
        "labels": next((one.labels for one in served if one.labels), []),
        "zero_shot": any("retrieval" in one.tasks for one in served),
        "languages": _languages(answering),
        "explains": [name for name, model in answering.items() if model.model.explains],
        "models": list(catalogue.served),
    }


def _languages(answering: Mapping[str, Served]) -> list[str]:
    """The languages of the model that captions."""
    if "caption" not in answering:
        return []
    return list(getattr(answering["caption"].model.task("captioning"), "languages", ()))


def _inputs(endpoint: Endpoint, inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The fields of a form: one per value, or one per cell if ``columns`` is True."""
    fields = fields_of(inputs, endpoint.text)
    return [{"name": name, "columns": config.parts, "fields": config.fields()} for name, config in fields.items()]


def _file(path: Path) -> Callable[[], Response]:
    """A small file of the page, always whole: a ``Range`` is passed over, as HTTP allows."""
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    content, kind = path.read_bytes(), guess_type(path)[0]

    def send() -> Response:
        return Response(content, media_type=kind, headers=headers)

    return send


def _document(app: FastAPI, forms: Mapping[str, Form], keys: bool) -> dict[str, Any]:
    """The OpenAPI document. Braid itself parses request bodies, so their schemas are added here."""
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


def serve(
    models: Sequence[str],
    host: str,
    port: int,
    index: Path | None,
    access: Access,
    limits: Limits,
    started: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        models: built-in names, folders, or NAME=FOLDER. If a request names no model, the first model with the task answers.
        host: the address to listen on; ``port`` 0 chooses a free one.
        started: called with the address when the server is ready.
    Raises:
        UserError: for a model or an index that cannot be read, or an address that is not available.
    """
    listening = listening_on(host, port)
    metrics = Metrics()
    catalogue = open_catalogue(models, index, limits, metrics)
    uploads = Uploads(limits.pixels, partial(fetch, hosts=access.fetch, most=limits.body))
    start_logging()
    config = uvicorn.Config(
        application(Service(catalogue, uploads, limits, metrics), access),
        http=patient(limits),
        ws="none",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=IDLE,
        backlog=BACKLOG,
        timeout_graceful_shutdown=round(limits.timeout) + 5,
    )
    signal.signal(signal.SIGTERM, lambda *_: None)  # a requested stop is not a failure; uvicorn passes the signal on to this
    address = f"http://{_shown(host)}:{listening.getsockname()[1]}"
    asyncio.run(_serve(_Announcing(config, partial(started, address)), listening))


class _Announcing(uvicorn.Server):
    """Calls a function when the server is ready."""

    def __init__(self, config: uvicorn.Config, tell: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = tell

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell()


async def _serve(server: uvicorn.Server, listening: socket.socket) -> None:
    await server.serve([listening])


def listening_on(host: str, port: int) -> socket.socket:
    """Listen before models are loaded: a port in use is reported at once, and early clients wait for an answer."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # Pass the protocol: asyncio only disables Nagle's algorithm for explicit TCP sockets; otherwise answers are 40 ms late.
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        where = f"{_shown(host)}:{port}"
        raise UserError(f"{where} cannot be listened on ({error.strerror}); choose another --host or --port") from None
    return listening


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host

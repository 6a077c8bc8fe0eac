"""The outer layer of every request: access control, size limits, logs (JSON lines on stderr) and Prometheus metrics."""

import asyncio
import hmac
import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from braid.errors import UserError
from braid.server.config import Access, Limits
from braid.server.requests import ApiError

LOGGER = logging.getLogger("braid.server")
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
ROWS = (1, 2, 4, 8, 16, 32, 64)
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
PROTECTED = ("/v1/", "/metrics", "/abilities")
BODY = 0.5  # share of a request's time limit in which its body must arrive
DRAIN = 2.0  # seconds in which a refused client may finish sending, so that it receives the reason
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
GONE = 499  # the status of a request whose client left, in the log and in metrics
KINDS = {404: "not_found", 405: "method_not_allowed"}


class JsonLines(logging.Formatter):
    """JSON log lines with the fields of ``extra={"fields": {...}}``. An exception is logged without its text, which may quote
    a request."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage().strip(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line |= failure(record.exc_info[1])
        return json.dumps(line, ensure_ascii=True)


def failure(error: BaseException) -> dict[str, Any]:
    """The log fields of an exception, without its text."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    return {"error": type(error).__name__, "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]}


def log(level: int, event: str, **message: Any) -> None:
    LOGGER.log(level, event, extra={"fields": message})


def start_logging() -> None:
    """Start the log of Braid's own lines and of the HTTP server's warnings, in the same format."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name, level in (("braid.server", logging.INFO), ("uvicorn.error", logging.WARNING), ("asyncio", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


class Metrics:
    """The metrics of one server, in their own registry."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        self.requests = Counter("braid_requests", "Requests answered.", ["route", "status"], registry=own)
        self.seconds = Histogram("braid_request_seconds", "From head to answer.", ["route"], buckets=SECONDS, registry=own)
        stages = "Time in a stage: read, prepare, wait, model."
        self.stages = Histogram("braid_stage_seconds", stages, ["stage"], buckets=SECONDS, registry=own)
        self.errors = Counter("braid_errors", "Errors sent to clients.", ["code"], registry=own)
        self.queue = Gauge("braid_queue_rows", "Items that wait for a model or are being answered.", ["model"], registry=own)
        self.batches = Histogram("braid_batch_rows", "Items answered at once.", ["model"], buckets=ROWS, registry=own)
        self.dropped = Counter(
            "braid_dropped_rows", "Items that nobody waited for when their turn came.", ["model"], registry=own
        )
        self.received = Gauge("braid_received_bytes", "Bytes of the requests under way.", registry=own)
        ProcessCollector(registry=own)

    def count(self, answer: ApiError) -> None:
        """Count an error; nobody received the one of a client that left."""
        if answer.status != GONE:
            self.errors.labels(answer.code).inc()


def answer_of(error: BaseException, scope: Scope) -> ApiError:
    """The error for the client; only the log has the details of a defect."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, UserError):
        return ApiError(400, "invalid_request", str(error))
    if isinstance(error, ClientDisconnect):
        return client_gone()
    if isinstance(error, HTTPException):
        status, headers = error.status_code, dict(error.headers or {})
        if "Allow" in headers:
            headers["Allow"] = headers["Allow"].replace("GET", "GET, HEAD")
        message = {
            404: "there is nothing at this address; /openapi.json lists what there is",
            405: f"this address answers {headers.get('Allow')} only",
        }.get(status, error.detail)
        return ApiError(status, KINDS.get(status, "http_error"), str(message), headers=headers)
    log(logging.ERROR, "defect", id=scope["braid.id"], **failure(error))
    return ApiError(500, "internal_error", f"the server failed at this request; its log says more under {scope['braid.id']}")


def client_gone() -> ApiError:
    """A client that left is no error of the server; only the log shows it."""
    return ApiError(GONE, "client_gone", "the client went away")


class Guard:
    """The outermost application."""

    def __init__(self, app: ASGIApp, access: Access, limits: Limits, metrics: Metrics) -> None:
        self._app, self._access, self._limits, self._metrics = app, access, limits, metrics
        self._received = 0  # bytes of all requests under way

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # A HEAD is answered as the GET of its address, without the body.
        inner = _routed({**scope, "method": "GET"} if scope["method"] == "HEAD" else scope)
        visit = _Visit(inner, receive, send, scope["method"] == "HEAD")
        try:
            self._admit(inner, visit)
            await self._app(inner, lambda: self._receive(visit), visit.send)
        except Exception as error:
            if not visit.status:
                answer = answer_of(error, inner)
                self._metrics.count(answer)
                await visit.refuse(answer, self._limits.body)
        finally:
            self._count(-visit.size)
            self._tell(scope["method"], inner, visit)

    def _admit(self, scope: Scope, visit: "_Visit") -> None:
        headers = visit.headers
        if scope["http_version"] not in ("1.0", "1.1"):
            raise ApiError(
                400, "invalid_http", "this is no valid HTTP request; send one of HTTP/1.1", headers={"Connection": "close"}
            )
        # Requests of HTTP/1.0, as health checks send them, need no Host. Every browser sends one.
        if self._access.local and not self._access.keys and (b"host" in headers or scope["http_version"] != "1.0"):
            host = headers.get(b"host", b"").decode("latin-1").lower()
            if re.sub(r":\d+$", "", host) not in LOOPBACK:
                message = "this server answers to the name localhost only; start it with --api-key-file to use another"
                raise ApiError(403, "wrong_host", message)
        local = self._access.local and headers.get(b"sec-fetch-site") == b"cross-site"  # elsewhere a link may lead to the page
        if not self._access.keys and (local or _is_foreign(headers)):
            message = "pages of other sites may not use this server; start it with --api-key-file to let them"
            raise ApiError(403, "cross_site", message)
        if self._access.keys and scope["path"].startswith(PROTECTED):
            scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
            # All keys are compared, so that the time does not reveal which one is similar.
            known = sum(hmac.compare_digest(given.strip(), key) for key in self._access.keys)
            if scheme.lower() != b"bearer" or not known:
                message = "give a valid API key, with the header Authorization: Bearer KEY"
                raise ApiError(401, "invalid_api_key", message, headers={"WWW-Authenticate": "Bearer"})
        if b"transfer-encoding" in headers and b"content-length" in headers:
            # A proxy that reads the other one would take the body for a second request.
            raise ApiError(
                400, "two_lengths", "send Content-Length or Transfer-Encoding, not both", headers={"Connection": "close"}
            )
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._limits.body:
            raise self._too_large()

    def _too_large(self) -> ApiError:
        return ApiError(413, "body_too_large", f"a request may have {self._limits.body:,} bytes; send less at once")

    async def _receive(self, visit: "_Visit") -> Message:
        """Receive the next part of the body, within the limits of size and time."""
        if visit.complete:
            return await visit.receive()
        most = self._limits.timeout * BODY
        left = visit.begun + most - time.monotonic()
        try:
            message = await asyncio.wait_for(visit.receive(), left)
        except TimeoutError:
            raise ApiError(408, "body_too_slow", f"the body did not arrive within {most:g} s") from None
        size = len(message.get("body", b""))
        visit.size += size
        self._count(size)
        visit.complete = not message.get("more_body", False)
        if visit.complete:
            self._metrics.stages.labels("read").observe(time.monotonic() - visit.begun)
        if visit.size > self._limits.body:
            raise self._too_large()
        if self._received > self._limits.received:
            raise ApiError(429, "too_many_bytes", "too many bytes of other requests are under way; try again", retry_after=1)
        return message

    def _count(self, size: int) -> None:
        self._received += size
        self._metrics.received.set(self._received)

    def _tell(self, method: str, scope: Scope, visit: "_Visit") -> None:
        """Log and count the request. The route is logged instead of the path, because a path may contain a client's text."""
        took = time.monotonic() - visit.begun
        route = getattr(scope.get("route"), "path", "other")
        status = visit.status or GONE
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(took)
        message: dict[str, Any] = {"method": method if method.isalpha() else "?", "route": route, "status": status}
        log(logging.INFO, "request", id=scope["braid.id"], **message, ms=round(1000 * took, 1), bytes=visit.size)


def _routed(scope: Scope) -> Scope:
    """A request as the routes know it: without a slash at the end, because a redirect would lead out of a proxy's prefix. Of a
    whole address, as clients of proxies send it, the host stands for the header (RFC 9112)."""
    target = re.fullmatch(rb"https?://([^/?#@]+)(/.*)?", scope.get("raw_path") or b"", re.IGNORECASE | re.DOTALL)
    path, headers = scope["path"], scope["headers"]
    if target is not None:
        path = unquote((target[2] or b"/").decode("latin-1"))
        headers = [(b"host", target[1]), *(pair for pair in headers if pair[0] != b"host")]
    return {**scope, "path": path.removesuffix("/") or "/", "headers": headers}


def _is_foreign(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a browser says that a page of another site sends this; other clients send no ``Origin``."""
    origin, host = headers.get(b"origin"), headers.get(b"host", b"").lower()
    return origin is not None and origin.lower() not in (b"http://" + host, b"https://" + host)


class _Visit:
    """One request in progress: its headers, its state, and its response."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, bare: bool) -> None:
        self.headers: Mapping[bytes, bytes] = dict(scope["headers"])
        self.receive, self._send, self._bare = receive, send, bare
        self.begun = scope["braid.begun"] = time.monotonic()
        own = self.headers.get(b"x-request-id", b"").decode("latin-1")
        self.identity = own if re.fullmatch(r"[\w.-]{1,64}", own, re.ASCII) else uuid4().hex
        scope["braid.id"] = self.identity
        self.size, self.status, self.complete = 0, 0, False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = {name for name, _ in message["headers"]}
            added = [*(pair for pair in HEADERS if pair[0] not in given), (b"x-request-id", self.identity.encode())]
            message = {**message, "headers": [*message["headers"], *added]}
        elif self._bare:
            message = {**message, "body": b""}
        await self._send(message)

    async def refuse(self, answer: ApiError, most: int) -> None:
        """Send an error and close the connection, after reading up to ``most`` bytes that the client is still sending."""
        try:
            async with asyncio.timeout(DRAIN):
                while not self.complete and most > 0:
                    message = await self.receive()
                    self.complete = not message.get("more_body", False)
                    most -= len(message.get("body", b""))
        except TimeoutError:
            pass
        response = answer.response
        if not self.complete:
            response.headers["connection"] = "close"
        await self.send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
        await self.send({"type": "http.response.body", "body": response.body})

"""One process that serves until it must stop, and then finishes what it took."""

import asyncio
import signal
import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from braid.errors import UserError
from braid.server.app import application
from braid.server.config import Access, Limits
from braid.server.endpoints import Service
from braid.server.models import open_catalogue
from braid.server.monitoring import Metrics, start_logging
from braid.server.uploads import Uploads, fetch

CONNECTIONS = 1000
BACKLOG = 512  # connections that wait to be accepted
IDLE = 15  # seconds that a connection may wait for its next request


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
        models: built-in names, folders, or NAME=FOLDER; where a request names none, the first that does the task answers.
        host: the address to listen on; ``port`` 0 takes a free one.
        started: gets the address once the server answers.
    Raises:
        UserError: for a model or an index that cannot be read, or an address that cannot be had.
    """
    listening = listening_on(host, port)
    metrics = Metrics()
    catalogue = open_catalogue(models, index, limits, metrics)
    uploads = Uploads(limits.pixels, partial(fetch, hosts=access.fetch, most=limits.body))
    start_logging()
    config = uvicorn.Config(
        application(Service(catalogue, uploads, limits, metrics), access),
        http=patient(limits.head),
        ws="none",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=IDLE,
        backlog=BACKLOG,
        timeout_graceful_shutdown=round(limits.timeout) + 5,
    )
    signal.signal(signal.SIGTERM, lambda *_: None)  # to stop on request is no failure; uvicorn sends it on to this
    asyncio.run(_serve(_Announcing(config, partial(started, _address(listening, host))), listening))


class _Announcing(uvicorn.Server):
    """Calls back when it answers."""

    def __init__(self, config: uvicorn.Config, tell: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = tell

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell()


async def _serve(server: uvicorn.Server, listening: socket.socket) -> None:
    await server.serve([listening])


def listening_on(host: str, port: int) -> socket.socket:
    """Before models are loaded: a taken port is reported at once, and whoever connects meanwhile waits for an answer."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # Only of a socket that says it is TCP does asyncio send small packets at once; else an answer waits 40 ms for the client.
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        raise UserError(f"{host}:{port} cannot be listened on ({error.strerror}); choose another --host or --port") from None
    return listening


def _address(listening: socket.socket, host: str) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listening.getsockname()[1]}"


def patient(seconds: float) -> type[H11Protocol]:
    """A protocol that closes a connection on which a request's first line and headers take longer than ``seconds``: a client that
    sends a byte at a time would otherwise hold it for ever."""

    class Patient(H11Protocol):
        _impatience: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._stop()

        def _watch(self) -> None:
            """Time runs while no request is under way; data that does not begin one does not stop it."""
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop()
            elif self._impatience is None and not self.transport.is_closing():
                self._impatience = self.loop.call_later(seconds, self._give_up)

        def _stop(self) -> None:
            if self._impatience is not None:
                self._impatience.cancel()
                self._impatience = None

        def _give_up(self) -> None:
            self._impatience = None
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

    return Patient

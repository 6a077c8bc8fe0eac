"""The connections of the HTTP server: how long a client may take to send a head and to read an answer, and how many there are."""

import asyncio
from typing import Any
from uuid import uuid4

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from braid.server.config import Limits
from braid.server.requests import ApiError

CONNECTIONS = 1000


def patient(limits: Limits) -> type[H11Protocol]:
    """A protocol that lets nobody hold a connection or an answer for ever.

    - The first line and the headers of a request must arrive within ``limits.head`` seconds. Otherwise a client that sends one
      byte at a time could keep a connection.
    - An answer must be read within ``limits.timeout`` seconds. Unread answers together take at most ``limits.unread`` bytes:
      beyond, the one that has waited longest is cut. Otherwise clients that ask and do not read could fill the memory.
    """
    unread: dict[Any, None] = {}  # the connections whose clients do not read as fast as they are answered, oldest first

    class Patient(H11Protocol):
        _admitted = False
        _sending: asyncio.TimerHandle | None = None
        _reading: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            if not self._admitted and len(self.connections) > CONNECTIONS:
                message = f"{CONNECTIONS:,} clients are connected; try again in a moment"
                self._refuse(ApiError(503, "too_many_connections", message, retry_after=1))
                return
            self._admitted = True
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._stop()
            self._was_read()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._reading = self.loop.call_later(limits.timeout, self.transport.abort)
            unread[self] = None
            while sum(one.transport.get_write_buffer_size() for one in unread) > limits.unread:
                longest = next(iter(unread))
                longest._was_read()
                longest.transport.abort()

        def resume_writing(self) -> None:
            super().resume_writing()
            self._was_read()

        def send_400_response(self, msg: str) -> None:
            self._refuse(ApiError(400, "invalid_http", "this is no valid HTTP request; send one of HTTP/1.1"))

        def _was_read(self) -> None:
            unread.pop(self, None)
            if self._reading is not None:
                self._reading.cancel()
                self._reading = None

        def _refuse(self, answer: ApiError) -> None:
            """Answer before there is a request that the application could answer, and close the connection."""
            response = answer.response
            headers = [*response.raw_headers, (b"x-request-id", uuid4().hex.encode()), (b"connection", b"close")]
            for event in (h11.Response(status_code=response.status_code, headers=headers), h11.Data(data=bytes(response.body))):
                self.transport.write(self.conn.send(event) or b"")
            self.transport.close()

        def _watch(self) -> None:
            """Run the timer while no request is being answered; data that does not complete the headers does not stop it."""
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop()
            elif self._sending is None and not self.transport.is_closing():
                self._sending = self.loop.call_later(limits.head, self._give_up)

        def _stop(self) -> None:
            if self._sending is not None:
                self._sending.cancel()
                self._sending = None

        def _give_up(self) -> None:
            self._sending = None
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

    return Patient

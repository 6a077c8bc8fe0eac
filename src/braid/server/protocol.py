"""HTTP/1.1 that does not wait for ever for a request to begin."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


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

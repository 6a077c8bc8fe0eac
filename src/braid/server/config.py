"""Limits of one request and of all requests together, and access control."""

import math
from dataclasses import dataclass

from braid.config import within
from braid.errors import UserError

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Limits:
    """Bounds on memory and time.

    Args:
        body: bytes of one request.
        received: bytes of all requests under way.
        unread: bytes of all answers that clients have not read yet.
        pixels: of one image, by what its file says of itself, before it is decoded.
        items: items of one request.
        queue: items that wait for one model or are being answered.
        batch: items that a model answers at once.
        timeout: seconds until a request is given up, from its first byte to its answer; and seconds in which an answer must be
            read.
        decoding: seconds that decoding one clip may take.
        head: seconds in which the first line and the headers of a request must arrive.
        workers: threads that run one model.
    """

    body: int = 16 * MEGABYTE
    received: int = 256 * MEGABYTE
    unread: int = 256 * MEGABYTE
    pixels: int = 32_000_000
    items: int = 64
    queue: int = 256
    batch: int = 8
    timeout: float = 30.0
    decoding: float = 10.0
    head: float = 10.0
    workers: int = 1

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "body", "received", "unread", "pixels", "items", "queue", "batch", "workers")
        for name in ("timeout", "decoding", "head"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} is {getattr(self, name):g} seconds; it must be above 0")
        if self.items > self.queue:
            raise UserError(f"a request may hold {self.items} items and the queue {self.queue}; let the queue hold as many")
        if self.body > self.received:
            raise UserError(f"a request may have {self.body} bytes and all together {self.received}; let all have as many")


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Args:
        keys: a request must bring one of them as ``Authorization: Bearer KEY``; none: anybody may ask.
        local: refuse what names this server by anything but a name of the loopback, or comes from another site's page.
        fetch: hosts (or host:port) that files may be fetched from.
    """

    keys: tuple[bytes, ...] = ()
    local: bool = True
    fetch: frozenset[str] = frozenset()

"""What every endpoint does with a request: prepare its pictures, wait for the answers, and let go when nobody waits any more."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from starlette.requests import Request

from braid.errors import UserError
from braid.server.catalogue import Catalogue, Served
from braid.server.config import Limits
from braid.server.errors import ApiError
from braid.server.images import Pictures, picture_or_error
from braid.server.metrics import Metrics
from braid.server.verbs import Verb

DECODERS = 2  # pictures that are decoded side by side: what they take is bounded by the limit of pixels

T = TypeVar("T")


class Desk:
    """Where requests meet models: the catalogue, the pictures' decoders, the limits and the figures."""

    def __init__(self, catalogue: Catalogue, images: Pictures, limits: Limits, metrics: Metrics) -> None:
        self.catalogue, self.images, self.limits, self.metrics = catalogue, images, limits, metrics
        self._pool = ThreadPoolExecutor(DECODERS, "decoder")

    def check_number(self, number: int) -> None:
        """
        Raises:
            ApiError: 400 for more items than a request may hold.
        """
        if number > self.limits.items:
            raise ApiError(400, "too_many_items", f"{number} items; a request may hold {self.limits.items}", "items")

    async def rows(self, served: Served, items: Sequence[Mapping[str, Any]], original: bool) -> list[Any]:
        """Items with their pictures prepared, each distinct one once; a ``UserError`` in place of an item without a readable one.

        Args:
            original: keep the pictures' own bytes, too.
        """
        begun = time.monotonic()
        distinct = dict.fromkeys(item["image"] for item in items if "image" in item)
        loop = asyncio.get_running_loop()
        made = await asyncio.gather(
            *(loop.run_in_executor(self._pool, self._prepared, one, served, original) for one in distinct)
        )
        ready = dict(zip(distinct, made, strict=True))
        self.metrics.stages.labels("prepare").observe(time.monotonic() - begun)
        return [_row(item, ready) for item in items]

    async def ask(self, served: Served, verb: Verb, rows: Sequence[Any]) -> list[Any]:
        """An answer a row, or the ``UserError`` that is in its place.

        Raises:
            ApiError: 429 when the queue has no room for the rows.
        """
        waiting = iter(served.engine.submit(verb, [row for row in rows if not isinstance(row, UserError)]))
        return await _all(row if isinstance(row, UserError) else next(waiting) for row in rows)

    def close(self) -> None:
        self._pool.shutdown()
        self.catalogue.close()

    def _prepared(self, given: str, served: Served, original: bool) -> Any:
        def make() -> dict[str, Any]:
            encoded = self.images.encoded(given)
            result = {"image": self.images.prepared(encoded, served.model.bundle.inputs)}
            return result | ({"original": encoded} if original else {})

        return picture_or_error(make)


def _row(item: Mapping[str, Any], ready: Mapping[str, Any]) -> Any:
    image = ready[item["image"]] if "image" in item else {}
    return image if isinstance(image, UserError) else {**item, **image}


async def _all(given: Iterable[Any]) -> list[Any]:
    """Every answer; whoever stops waiting gives up those that are not there yet."""
    rows = list(given)
    futures = [row for row in rows if isinstance(row, asyncio.Future)]
    try:
        if futures:
            await asyncio.wait(futures)
    finally:
        for future in futures:
            future.cancel()
    failed = [error for future in futures if (error := future.exception())]
    if failed:
        raise failed[0]
    return [row.result() if isinstance(row, asyncio.Future) else row for row in rows]


@asynccontextmanager
async def deadline(request: Request, limits: Limits) -> AsyncIterator[None]:
    """The time that is left to a request since its first byte.

    Raises:
        ApiError: 504 when it is over.
    """
    try:
        async with asyncio.timeout(request.scope["braid.begun"] + limits.timeout - time.monotonic()):
            yield
    except TimeoutError:
        raise late(limits) from None


def late(limits: Limits) -> ApiError:
    message = f"the answer was not ready within {limits.timeout:g} s; try again with fewer items"
    return ApiError(504, "deadline_exceeded", message, retry_after=1)


async def unless_gone(request: Request, work: Callable[[], Awaitable[T]]) -> T:
    """Do the work, and give it up when the client goes away. The body must have been read.

    Raises:
        ApiError: 499, which nobody reads but the log.
    """
    doing = asyncio.ensure_future(work())
    watching = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({doing, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise ApiError(499, "client_gone", "the client went away")
        return doing.result()
    finally:
        for task in (doing, watching):
            task.cancel()
        await asyncio.gather(doing, watching, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

"""The task endpoints (/v1/caption, answer, classify, embed, search and imagine), and the handling of every request.

An endpoint prepares the files, waits for the answers, and stops if the client disconnects.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel

from braid.errors import UserError
from braid.files.paths import is_data_uri
from braid.modalities import default_inputs
from braid.search import PHRASE
from braid.server import schemas
from braid.server.answers import Caption, Embed, Imagine, Label, Nearest, Reply, Row, Search, Verb
from braid.server.config import Limits
from braid.server.guard import Metrics, client_gone
from braid.server.models import Catalogue, Served
from braid.server.requests import ApiError, Form, Json, make_form, read_items
from braid.server.uploads import Uploads

MOST_PAIRS = 10_000  # items times labels of one's own: an answer has a score for each
MOST_THUMBNAILS = 200  # thumbnails of an answer; each is up to 80 kB, and an image that is opened
DECODERS = 2  # files decoded in parallel; the pixel limit bounds their memory

T = TypeVar("T")
Items = Sequence[Mapping[str, Any]]
Rows = Sequence[Row | UserError]


class Service:
    """The state that endpoints share: the catalogue of models, the decoders of files, the limits and the metrics."""

    def __init__(self, catalogue: Catalogue, uploads: Uploads, limits: Limits, metrics: Metrics) -> None:
        self.catalogue, self.uploads, self.limits, self.metrics = catalogue, uploads, limits, metrics
        self._pool = ThreadPoolExecutor(DECODERS, "decoder")

    def check_number(self, number: int) -> None:
        """
        Raises:
            ApiError: 400 for more items than a request may hold.
        """
        if number > self.limits.items:
            raise ApiError(400, "too_many_items", f"{number} items; a request may hold {self.limits.items}", "items")

    async def rows(self, served: Served, items: Items, keep: bool) -> list[Row | UserError]:
        """Prepare the files of items, each distinct file once; a ``UserError`` replaces an item that cannot be read.

        Args:
            keep: also keep the bytes of the files.
        """
        begun = time.monotonic()
        heard = [(name, item[clip]) for item in items for name, clip in served.heard(item).items()]
        files = [(name, value) for item in items for name, value in item.items() if served.reads_file(name)]
        distinct = list(dict.fromkeys([*files, *heard]))
        loop = asyncio.get_running_loop()
        made = await asyncio.gather(*(loop.run_in_executor(self._pool, self._prepared, served, *one) for one in distinct))
        prepared = dict(zip(distinct, made, strict=True))
        self.metrics.stages.labels("prepare").observe(time.monotonic() - begun)
        return [_row(served, item, prepared, keep) for item in items]

    async def ask(self, served: Served, verb: Verb, rows: Rows) -> list[Any]:
        """Answer the rows; a ``UserError`` among them is returned unchanged.

        Raises:
            ApiError: 429 when the queue has no room for the rows.
        """
        waiting = iter(served.engine.submit(verb, [row for row in rows if not isinstance(row, UserError)], verb.weight))
        return await _all(row if isinstance(row, UserError) else next(waiting) for row in rows)

    async def phrases(self, served: Served, labels: Sequence[str]) -> np.ndarray:
        """Embed the phrases of labels, a batch at a time: other requests are answered in between.

        Raises:
            UserError: for a label that the model cannot read.
        """
        rows = [Row({"text": PHRASE.format(label)}) for label in labels]
        answers: list[Any] = []
        number = min(self.limits.batch, self.limits.queue)
        for first in range(0, len(rows), number):
            answers += await self.ask(served, Embed(), rows[first : first + number])
        failed = [answer for answer in answers if isinstance(answer, UserError)]
        if failed:
            raise failed[0]
        return np.array([answer["embedding"] for answer in answers], np.float32)

    def close(self) -> None:
        self._pool.shutdown()
        self.catalogue.close()

    def _prepared(self, served: Served, name: str, given: str) -> tuple[Any, bytes] | UserError:
        try:
            encoded = self.uploads.encoded(given, name)
            return self.uploads.prepared(encoded, name, served.modality(name)), encoded
        except UserError as error:
            return error


def _row(served: Served, item: Mapping[str, Any], files: Mapping[tuple[str, Any], Any], keep: bool) -> Row | UserError:
    fields, encoded = dict(item), {}
    try:
        for name, value in item.items():
            served.modality(name)
            if served.reads_file(name):
                if isinstance(made := files[name, value], UserError):
                    return made
                fields[name], encoded[name] = made
            elif isinstance(value, str) and len(value) > schemas.MOST_TEXT:
                return UserError(f"the {name} has {len(value):,} characters; a text may have {schemas.MOST_TEXT:,}")
            elif isinstance(value, str) and is_data_uri(value):
                return UserError(f"the {name} is a data URI, which is a file and no text; send it as a file, such as an image")
        for name, clip in served.heard(item).items():
            if not isinstance(made := files[name, item[clip]], UserError):  # a clip without sound is a clip, too
                fields[name], encoded[name] = made
    except UserError as error:
        return error
    return Row(fields, encoded if keep else {})


async def _ask(service: Service, served: Served, verb: Verb, rows: Rows, settings: Any) -> list[Any]:
    return await service.ask(served, verb, rows)


async def _ask_labels(service: Service, served: Served, verb: Any, rows: Rows, settings: Any) -> list[Any]:
    """Embed labels of one's own first."""
    if settings.labels:
        verb = replace(verb, phrases=await service.phrases(served, settings.labels))
    return await service.ask(served, verb, rows)


async def _ask_images(service: Service, served: Served, verb: Any, rows: Rows, settings: Any) -> list[Any]:
    """Generate an image for each row, then the next one: other requests are answered in between."""
    answers = await service.ask(served, verb, rows)
    for number in range(1, settings.count):
        for answer, more in zip(answers, await service.ask(served, replace(verb, number=number), rows), strict=True):
            if not isinstance(answer, UserError):
                for name, values in more.items():
                    answer[name] += values
    return answers


@dataclass(frozen=True)
class Endpoint:
    """One task over HTTP.

    Args:
        tasks: a model must support one of these tasks.
        verb: creates a verb from the settings and the items; ``ask`` asks it.
        text: the field with the text that a model reads as its prompt; "" if there is none.
        needed: fields that every item must have.
        nothing: the end of the error for an item without other fields: "there is nothing to ..."; "" allows such items.
        example: an example of the text; ``extra`` are settings of the example.
    """

    path: str
    summary: str
    tasks: tuple[str, ...]
    settings: type[schemas.Settings]
    answer: type[BaseModel]
    verb: Callable[[Service, Any, Items], Verb]
    ask: Callable[[Service, Served, Any, Rows, Any], Awaitable[list[Any]]] = _ask
    text: str = ""
    needed: tuple[str, ...] = ()
    nothing: str = ""
    example: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def served(self, catalogue: Catalogue) -> list[Served]:
        """The models that can answer this endpoint."""
        return [one for task in self.tasks for one in catalogue.served.values() if task in one.tasks]

    def form(self, models: Sequence[Mapping[str, Any]]) -> Form:
        """The fields of its items: the inputs of all models that can answer. If there is only one other field, it is required."""
        models = models or [default_inputs()]
        form = make_form(self.path.capitalize(), self.settings, models, self.text, self.needed)
        others = [name for name in form.inputs if name not in self.needed]
        if not self.nothing or len(others) != 1:
            return form
        return make_form(self.path.capitalize(), self.settings, models, self.text, (*self.needed, *others))

    def check(self, items: Items, form: Form) -> None:
        """
        Raises:
            ApiError: 400 for an empty item.
        """
        others = [name for name in form.inputs if name not in self.needed]
        if self.nothing and any(not any(name in item for name in others) for item in items):
            raise ApiError(400, "invalid_request", f"there is nothing to {self.nothing}; give {' or '.join(others)}")


def _caption(service: Service, settings: Any, items: Items) -> Verb:
    return Caption(settings.explain, settings.language)


def _answer(service: Service, settings: Any, items: Items) -> Verb:
    return Reply(settings.explain)


def _classify(service: Service, settings: Any, items: Items) -> Verb:
    if not settings.labels:
        return Label(settings.explain)
    _check_labels(settings, len(items))
    if any(len(item) > 1 for item in items):
        message = "labels of your own are compared with one field, such as image or text; send one of them an item"
        raise ApiError(400, "invalid_request", message, "labels")
    return Nearest(tuple(settings.labels))


def _check_labels(settings: Any, number: int) -> None:
    """
    Raises:
        ApiError: 400 for labels of one's own that cannot be chosen from.
    """
    if len(settings.labels) < 2:
        raise ApiError(400, "invalid_request", "there is only one label to choose from; give two or more", "labels")
    for label, times in Counter(label.strip() for label in settings.labels).items():
        if times > 1 or not label:
            fault = f"the label {label!r} comes {times} times; give it once" if label else "a label is empty; leave it out"
            raise ApiError(400, "invalid_request", fault, "labels")
    if settings.explain:
        raise ApiError(400, "invalid_request", "labels of your own are not explained; leave explain out", "explain")
    if (pairs := number * len(settings.labels)) > MOST_PAIRS:
        message = (
            f"these are {pairs:,} scores, one for each item and label; a request may ask for {MOST_PAIRS:,}; send fewer of either"
        )
        raise ApiError(400, "too_many_items", message, "labels")


def _embed(service: Service, settings: Any, items: Items) -> Verb:
    if any(len(item) > 1 for item in items):
        raise ApiError(
            400, "invalid_request", "an embedding is of one field, such as image or text; send them as two items", "items"
        )
    return Embed()


def _search(service: Service, settings: Any, items: Items) -> Verb:
    if service.catalogue.index is None:
        raise ApiError(404, "no_index", "there is no index to search; start the server with --index FOLDER")
    if settings.thumbnails and (number := settings.top * len(items)) > MOST_THUMBNAILS:
        message = f"these are {number:,} thumbnails; a request may ask for {MOST_THUMBNAILS}: lower top, or send fewer items"
        raise ApiError(400, "too_many_items", message, "thumbnails")
    return Search(service.catalogue.index, settings.top, settings.thumbnails)


def _imagine(service: Service, settings: Any, items: Items) -> Verb:
    service.check_number(settings.count * len(items))
    if any(not item["prompt"].strip() for item in items):
        raise ApiError(400, "invalid_request", "the prompt is empty; say what the image should show", "prompt")
    return Imagine(0, settings.seed, settings.guidance)


DOGS = "two dogs in the snow"
ENDPOINTS = (
    Endpoint(
        "caption",
        "Describe images",
        ("captioning",),
        schemas.CaptionSettings,
        schemas.WrittenResponse,
        _caption,
        nothing="caption",
    ),
    Endpoint(
        "answer",
        "Answer questions about images",
        ("vqa",),
        schemas.Explained,
        schemas.WrittenResponse,
        _answer,
        text="question",
        needed=("question",),
        nothing="answer about",
        example="what color is the dog?",
    ),
    Endpoint(
        "classify",
        "Label any of a model's inputs, alone or together",
        ("classification", "retrieval"),
        schemas.LabelSettings,
        schemas.WrittenResponse,
        _classify,
        _ask_labels,
        text="text",
        nothing="classify",
        example=DOGS,
    ),
    Endpoint(
        "embed",
        "Images and texts as unit vectors of one space",
        ("retrieval",),
        schemas.Settings,
        schemas.VectorResponse,
        _embed,
        text="text",
        nothing="embed",
        example=DOGS,
    ),
    Endpoint(
        "search",
        "Search the index by text, image or both",
        ("retrieval",),
        schemas.SearchSettings,
        schemas.HitsResponse,
        _search,
        text="text",
        nothing="look for",
        example=DOGS,
        extra={"top": 3},
    ),
    Endpoint(
        "imagine",
        "Generate images, or change them",
        ("image_generation",),
        schemas.SamplingSettings,
        schemas.ImagesResponse,
        _imagine,
        _ask_images,
        text="prompt",
        needed=("prompt",),
        example="a small red circle",
        extra={"seed": 7},
    ),
)


def task_routes(service: Service, forms: Mapping[str, Form]) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["tasks"])
    for endpoint in ENDPOINTS:
        router.add_api_route(
            f"/{endpoint.path}",
            _handler(service, endpoint, forms[endpoint.path]),
            methods=["POST"],
            name=endpoint.path,
            summary=endpoint.summary,
            responses={200: {"model": endpoint.answer}},
        )
    return router


def _handler(service: Service, endpoint: Endpoint, form: Form) -> Callable[[Request], Any]:
    async def handle(request: Request) -> Json:
        async with deadline(request, service.limits):
            settings, items = await read_items(request, form)
            service.check_number(len(items))
            endpoint.check(items, form)
            verb = endpoint.verb(service, settings, items)
            served = _served(service, verb, settings)
            served.engine.check_room(len(items))

            async def work() -> list[Any]:
                rows = await service.rows(served, items, bool(getattr(settings, "explain", False)))
                return await endpoint.ask(service, served, verb, rows, settings)

            answers = await unless_gone(request, work)
        if len(answers) == 1 and isinstance(answers[0], UserError):
            raise answers[0]
        return Json({"model": served.name, "results": [_result(answer) for answer in answers]})

    return handle


def _served(service: Service, verb: Verb, settings: Any) -> Served:
    """The named model, or the first one with the task; an index is searched with the model that made it."""
    result = service.catalogue.doing(verb.task, settings.model)
    if not isinstance(verb, Search) or result.name == service.catalogue.searching:
        return result
    if settings.model is not None:
        message = f"the index was made by model {service.catalogue.searching!r}; leave the model out"
        raise ApiError(400, "wrong_model", message, "model")
    return service.catalogue.named(service.catalogue.searching)


def _result(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, UserError):
        return dict(answer)
    return ApiError(400, "invalid_item", str(answer)).body


async def _all(given: Iterable[Any]) -> list[Any]:
    """Wait for all answers; if the wait is cancelled, so are the missing answers."""
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
    """Run the block within the time limit of the request, which starts at its first byte.

    Raises:
        ApiError: 504 when the time is over.
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
    """Do the work, and cancel it if the client disconnects. The body must have been read before.

    Raises:
        ApiError: 499 when the client disconnects; only the log shows it.
    """
    doing = asyncio.ensure_future(work())
    watching = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({doing, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise client_gone()
        return doing.result()
    finally:
        for task in (doing, watching):
            task.cancel()
        await asyncio.gather(doing, watching, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

"""The served models, by name and by task; and the queue that batches requests of many clients."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from math import ceil
from pathlib import Path
from threading import Condition, Thread
from typing import Any

from braid.api import LoadedModel, load
from braid.bundle import DataCard
from braid.errors import UserError
from braid.index import Index, open_index
from braid.modalities import VideoModalityConfig
from braid.search import input_named
from braid.server.answers import answered
from braid.server.config import Limits
from braid.server.guard import Metrics
from braid.server.requests import ApiError

PAUSE = 0.004  # seconds without a new row after which an incomplete batch starts
RECENT = 0.9  # weight of the old time per item when a new batch is measured

Run = Callable[[Any, Sequence[Any]], Sequence[Any]]  # a verb and its rows -> one answer per row


@dataclass(eq=False)
class _Row:
    """One waiting item; cancel ``answer`` to give it up. ``turn`` orders the queue."""

    verb: Hashable
    value: Any
    answer: "asyncio.Future[Any]"
    weight: int
    turn: int = 0
    since: float = field(default_factory=time.monotonic)


class Engine:
    """Answers rows with equal verbs in one batch, also from different clients.

    Requests take turns: the first batch of a request comes before the second batch of one that arrived earlier. So a request of
    many items does not hold up the others. Within a turn, the order is that of arrival.

    Args:
        name: the model's name, for metrics.
        run: answers a batch; the answer of a row that cannot be read is a ``UserError``.
        capacity: maximum rows that wait or are being answered; ``most`` is the maximum weight of a batch.
        threads: how many batches are answered in parallel.
    """

    def __init__(self, name: str, run: Run, capacity: int, most: int, threads: int, metrics: Metrics) -> None:
        self._name, self._run, self._capacity, self._most, self._metrics = name, run, capacity, most, metrics
        self._rows: deque[_Row] = deque()
        self._change = Condition()
        self._open = True
        self._turn = 0  # the turn of the latest batch
        self._taken = 0  # rows that wait or are being answered; only changed in the event loop
        self._each = 0.1  # seconds per item, a recent average
        self._threads = [Thread(target=self._work, name=f"{name}-{number}", daemon=True) for number in range(threads)]
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        return self._open and all(thread.is_alive() for thread in self._threads)

    @property
    def full(self) -> bool:
        return self._taken >= self._capacity

    def check_room(self, number: int) -> None:
        """
        Raises:
            ApiError: 429 when there is no room for so many rows; ``Retry-After`` is the time for about half of the queue.
        """
        if self._taken + number > self._capacity:
            seconds = max(1, ceil(self._each * self._taken / 2))
            message = f"the queue of model {self._name!r} is full ({self._taken} items); try again in {seconds} s"
            raise ApiError(429, "queue_full", message, retry_after=seconds)

    def submit(self, verb: Hashable, values: Sequence[Any], weight: int = 1) -> "list[asyncio.Future[Any]]":
        """Queue rows, all or none, and return one answer per row. Must be called in the event loop.

        Args:
            weight: how much work a row is, compared with a caption; a row heavier than a batch may be is a batch of its own.
        Raises:
            ApiError: 429 when the queue has no room for them.
        """
        self.check_room(len(values))
        loop = asyncio.get_running_loop()
        rows = [_Row(verb, value, loop.create_future(), weight) for value in values]
        self._count(len(rows))
        for row in rows:
            row.answer.add_done_callback(lambda _: self._count(-1))
        with self._change:
            for place, row in enumerate(rows):
                row.turn = self._turn + place * weight // self._most
            self._rows.extend(rows)
            self._change.notify_all()
        return [row.answer for row in rows]

    def close(self) -> None:
        """Answer all queued rows, then stop."""
        with self._change:
            self._open = False
            self._change.notify_all()
        for thread in self._threads:
            thread.join()

    def _count(self, change: int) -> None:
        self._taken += change
        self._metrics.queue.labels(self._name).set(self._taken)

    def _work(self) -> None:
        while batch := self._next():
            begun = time.monotonic()
            answers = self._answers(batch)
            took = time.monotonic() - begun
            self._each = RECENT * self._each + (1 - RECENT) * took / len(batch)
            self._metrics.batches.labels(self._name).observe(len(batch))
            self._metrics.stages.labels("model").observe(took)
            for row in batch:
                self._metrics.stages.labels("wait").observe(begun - row.since)
            _deliver(batch, answers)

    def _next(self) -> list[_Row]:
        """The next batch: the row whose turn it is and others with its verb; empty if the engine is closed and everything is
        answered."""
        with self._change:
            while True:
                self._drop_given_up()
                if self._rows:
                    self._gather()
                    self._drop_given_up()
                    if self._rows:
                        break
                elif not self._open:
                    return []
                else:
                    self._change.wait()
            ordered = sorted(self._rows, key=lambda row: row.turn)
            self._turn = max(self._turn, ordered[0].turn)
            batch = [row for row in ordered if row.verb == ordered[0].verb]
            weights = accumulate(row.weight for row in batch)
            batch = batch[: max(1, sum(weight <= self._most for weight in weights))]
            taken = set(map(id, batch))
            self._rows = deque(row for row in self._rows if id(row) not in taken)
            return batch

    def _gather(self) -> None:
        """Wait for more rows: clients that got their answers together send the next requests within a few milliseconds."""
        before = 0
        while self._open and before < len(self._rows) < self._most:
            before = len(self._rows)
            self._change.wait(PAUSE)

    def _drop_given_up(self) -> None:
        wanted = deque(row for row in self._rows if not row.answer.done())
        if len(wanted) < len(self._rows):
            self._metrics.dropped.labels(self._name).inc(len(self._rows) - len(wanted))
            self._rows = wanted

    def _answers(self, batch: Sequence[_Row]) -> Sequence[Any]:
        """Answer a batch; if it fails, answer row by row, so that only the faulty row gets an error."""
        try:
            answers = self._run(batch[0].verb, [row.value for row in batch])
            assert len(answers) == len(batch)
            return answers
        except BaseException as error:  # a panic of a Rust library is no Exception, and must not end this thread
            if len(batch) == 1:
                return [error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")]
        return [self._answers([row])[0] for row in batch]


def _deliver(batch: Sequence[_Row], answers: Sequence[Any]) -> None:
    def deliver() -> None:
        for row, answer in zip(batch, answers, strict=True):
            if row.answer.done():
                continue
            if isinstance(answer, Exception) and not isinstance(answer, UserError):
                row.answer.set_exception(answer)
            else:
                row.answer.set_result(answer)

    loop = batch[0].answer.get_loop()
    if not loop.is_closed():
        loop.call_soon_threadsafe(deliver)


@dataclass(frozen=True)
class Served:
    """One model and its engine; ``created`` is the time (in seconds) at which its weights were written."""

    name: str
    model: LoadedModel
    engine: Engine
    created: int

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        return tuple(sorted(self.model.bundle.interface.tasks))

    @property
    def inputs(self) -> dict[str, Any]:
        """The modality of each input."""
        return self.model.bundle.interface.inputs

    def modality(self, field: str) -> Any:
        """The modality that prepares a field of a request.

        Raises:
            UserError: when the model has no such input.
        """
        modality = self.model.bundle.inputs.get(input_named(self.inputs, field))
        if modality is None:
            raise UserError(f"this model does not read {field}; it reads {', '.join(self.inputs)}")
        return modality

    def heard(self, item: Mapping[str, Any]) -> dict[str, str]:
        """The inputs that hear the clips of an item that has no recordings of its own, each with the clip's field."""
        clips = {name: getattr(config, "sound_of", "") for name, config in self.inputs.items()}
        return {name: clip for name, clip in clips.items() if clip in item and name not in item}

    def reads_file(self, field: str) -> bool:
        """Whether this model reads the field as a file."""
        config = self.inputs.get(input_named(self.inputs, field))
        return config is not None and bool(config.suffixes)

    @property
    def labels(self) -> list[str]:
        """The labels that the model was trained to classify with."""
        output = self.model.bundle.interface.outputs.get("label") if "classification" in self.tasks else None
        return list(getattr(output, "labels", ()))

    @property
    def card(self) -> DataCard:
        return self.model.bundle.interface.card

    def message(self) -> dict[str, Any]:
        """An entry of ``/v1/models``."""
        own = {"tasks": list(self.tasks), "labels": self.labels, "description": self.card.description}
        return {"id": self.name, "object": "model", "created": self.created, "owned_by": "braid", **own}


class Catalogue:
    """All served models; if a request names no model, the first one with the task answers."""

    def __init__(self, served: Sequence[Served], index: Index | None = None, searching: str = "") -> None:
        self.served = {one.name: one for one in served}
        self.index, self.searching = index, searching

    def named(self, name: str) -> Served:
        """
        Raises:
            ApiError: 404 for an unknown model, naming the served ones.
        """
        if name not in self.served:
            there = ", ".join(self.served)
            raise ApiError(404, "model_not_found", f"there is no model {name[:80]!r} here; served are {there}", "model")
        return self.served[name]

    def doing(self, task: str, name: str | None) -> Served:
        """
        Raises:
            ApiError: 404 when no model supports the task, 400 when the named one does not.
        """
        if name is not None:
            result = self.named(name)
            if task not in result.tasks:
                message = f"model {result.name!r} does not do {task}; it does {', '.join(result.tasks) or 'nothing'}"
                raise ApiError(400, "task_not_served", message, "model")
            return result
        for one in self.served.values():
            if task in one.tasks:
                return one
        raise ApiError(404, "task_not_served", f"no model that is served does {task}; start the server with --model of one")

    @property
    def ready(self) -> bool:
        return all(one.engine.alive and not one.engine.full for one in self.served.values())

    def close(self) -> None:
        for one in self.served.values():
            one.engine.close()
        if self.index is not None:
            self.index.close()


def open_catalogue(names: Sequence[str], index: Path | None, limits: Limits, metrics: Metrics) -> Catalogue:
    """Load models, given as built-in names, folders, or NAME=FOLDER, and open the index of one of them.

    Raises:
        UserError: when a model cannot be read, two have the same name, or no model made the index.
    """
    loaded: dict[str, LoadedModel] = {}
    for given in names:
        name, _, place = given.rpartition("=")
        name = name or Path(place).name or place
        if name in loaded:
            raise UserError(f"two models are named {name!r}; give one another name with --model NAME=FOLDER")
        loaded[name] = _limited(load(place), limits.decoding)
    searching, opened = _searching(loaded, index) if index is not None else ("", None)
    served = [Served(name, model, _engine(name, model, limits, metrics), _written(model)) for name, model in loaded.items()]
    return Catalogue(served, opened, searching)


def _limited(model: LoadedModel, seconds: float) -> LoadedModel:
    """The model with this limit of the time that decoding one clip may take, if its own is higher."""
    inputs = {
        name: replace(config, decoding_limit=min(seconds, config.decoding_limit))
        if isinstance(config, VideoModalityConfig)
        else config
        for name, config in model.bundle.interface.inputs.items()
    }
    return replace(model, bundle=replace(model.bundle, interface=replace(model.bundle.interface, inputs=inputs)))


def _engine(name: str, model: LoadedModel, limits: Limits, metrics: Metrics) -> Engine:
    return Engine(name, lambda verb, rows: answered(model, verb, rows), limits.queue, limits.batch, limits.workers, metrics)


def _written(model: LoadedModel) -> int:
    folder = model.bundle.folder
    return int(folder.stat().st_mtime) if folder.exists() else 0


def _searching(loaded: dict[str, LoadedModel], folder: Path) -> tuple[str, Index]:
    """The model that made the index, or of several in its space the one that reads the most."""
    able = {name: model for name, model in loaded.items() if "retrieval" in model.bundle.interface.tasks}
    if not able:
        raise UserError(f"no model that is served gives embeddings, so {folder} cannot be searched; give one with --model")
    opened = open_index(folder)
    fitting = [name for name, model in able.items() if model.origin == opened.origin]
    if fitting:
        return max(fitting, key=lambda name: len(able[name].bundle.interface.inputs)), opened
    opened.close()
    raise UserError(
        f"{folder} was made by model {opened.origin}; serve it with --model, or make the index anew with `braid index`"
    )

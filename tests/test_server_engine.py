"""The engine alone: who is answered together, who is turned away, who is forgotten, and how it ends."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from braid.errors import UserError
from braid.server.guard import Metrics
from braid.server.models import Engine
from braid.server.requests import ApiError, Json

Run = Callable[[Any, Sequence[Any]], Sequence[Any]]


@contextmanager
def engine(run: Run, capacity: int = 100, most: int = 8) -> Iterator[Engine]:
    made = Engine("toy", run, capacity, most, 1, Metrics())
    try:
        yield made
    finally:
        made.close()


def test_equal_verbs_are_answered_together_in_order() -> None:
    batches: list[tuple[str, list[int]]] = []

    def run(verb: str, rows: Sequence[int]) -> list[int]:
        batches.append((verb, list(rows)))
        return [10 * row for row in rows]

    async def ask(made: Engine) -> list[int]:
        waiting = [*made.submit("a", [1, 2]), *made.submit("b", [3]), *made.submit("a", [4, 5, 6])]
        return await asyncio.gather(*waiting)

    with engine(run, most=4) as made:
        assert asyncio.run(ask(made)) == [10, 20, 30, 40, 50, 60]
    assert batches == [("a", [1, 2, 4, 5]), ("b", [3]), ("a", [6])]


def test_a_request_of_many_rows_does_not_hold_up_another() -> None:
    batches: list[list[int]] = []
    begun, go = threading.Event(), threading.Event()

    def run(verb: str, rows: Sequence[int]) -> Sequence[int]:
        batches.append(list(rows))
        begun.set()
        go.wait(30)
        return rows

    async def ask(made: Engine) -> None:
        many = made.submit("a", range(12))
        await asyncio.to_thread(begun.wait, 30)  # the first batch is being answered
        waiting = [*many, *made.submit("b", [100, 101]), *made.submit("a", range(200, 205))]
        go.set()
        await asyncio.gather(*waiting)

    with engine(run, most=4) as made:
        asyncio.run(ask(made))
    assert batches == [[0, 1, 2, 3], [100, 101], [200, 201, 202, 203], [4, 5, 6, 7], [204, 8, 9, 10], [11]]


def test_heavy_rows_make_small_batches() -> None:
    batches: list[list[int]] = []

    def run(verb: str, rows: Sequence[int]) -> Sequence[int]:
        batches.append(list(rows))
        return rows

    async def ask(made: Engine) -> None:
        await asyncio.gather(*made.submit("a", [1, 2, 3], weight=3), *made.submit("b", [4, 5], weight=100))

    with engine(run, most=8) as made:
        asyncio.run(ask(made))
    assert sorted(batches) == [[1, 2], [3], [4], [5]]


def test_a_row_that_breaks_a_batch_breaks_alone() -> None:
    def run(verb: str, rows: Sequence[int]) -> list[Any]:
        if 2 in rows:
            raise RuntimeError("two")
        return [UserError("three") if row == 3 else row for row in rows]

    async def ask(made: Engine) -> list[Any]:
        return await asyncio.gather(*made.submit("a", [1, 2, 3]), return_exceptions=True)

    with engine(run) as made:
        one, two, three = asyncio.run(ask(made))
    assert one == 1
    assert isinstance(two, RuntimeError)
    assert isinstance(three, UserError)  # an answer, not an accident


def test_a_panic_is_an_error_of_its_row_and_ends_no_worker() -> None:
    """Libraries written in Rust raise errors that are no ``Exception``."""

    class Panic(BaseException):
        pass

    def run(verb: str, rows: Sequence[int]) -> Sequence[int]:
        if 2 in rows:
            raise Panic("retry-limit-in-match over")
        return rows

    async def ask(made: Engine) -> list[Any]:
        return await asyncio.gather(*made.submit("a", [1, 2]), return_exceptions=True)

    with engine(run) as made:
        one, two = asyncio.run(ask(made))
        assert one == 1 and str(two) == "Panic: retry-limit-in-match over"
        assert made.alive and asyncio.run(ask(made))[0] == 1


def test_a_full_queue_turns_away_and_has_room_again() -> None:
    go = threading.Event()

    def run(verb: str, rows: Sequence[int]) -> Sequence[int]:
        go.wait(30)
        return rows

    async def ask(made: Engine) -> None:
        waiting = made.submit("a", [1, 2, 3])
        assert not made.full
        with pytest.raises(ApiError, match=r"the queue of model 'toy' is full \(3 items\); try again in 1 s") as message:
            made.submit("a", [4, 5])
        assert (message.value.status, message.value.retry_after) == (429, 1)
        go.set()
        await asyncio.gather(*waiting)
        await asyncio.gather(*made.submit("a", [6, 7, 8, 9]))

    with engine(run, capacity=4) as made:
        asyncio.run(ask(made))


def test_what_nobody_waits_for_is_not_answered() -> None:
    seen: list[int] = []
    begun, go = threading.Event(), threading.Event()

    def run(verb: str, rows: Sequence[int]) -> Sequence[int]:
        seen.extend(rows)
        begun.set()
        go.wait(30)
        return rows

    async def ask(made: Engine) -> None:
        first = made.submit("a", [1])
        await asyncio.to_thread(begun.wait, 30)
        for left in made.submit("a", [2, 3]):
            left.cancel()
        last = made.submit("a", [4])
        go.set()
        await asyncio.gather(*first, *last)

    with engine(run) as made:
        asyncio.run(ask(made))
    assert seen == [1, 4]


def test_closing_answers_what_was_taken() -> None:
    def run(verb: str, rows: Sequence[int]) -> Sequence[int]:
        time.sleep(0.05)
        return rows

    async def ask(made: Engine) -> list[int]:
        waiting = made.submit("a", list(range(20)))
        await asyncio.to_thread(made.close)
        return await asyncio.gather(*waiting)

    with engine(run, most=4) as made:
        assert asyncio.run(ask(made)) == list(range(20))
        assert not made.alive


def test_half_a_character_in_an_answer_is_escaped() -> None:
    """The name of an indexed file need not be UTF-8."""
    body = bytes(Json({"hits": [{"id": "bl\udce4tter/ä.png"}]}).body)
    assert body == '{"hits":[{"id":"bl\\udce4tter/ä.png"}]}'.encode()
    assert json.loads(body)["hits"][0]["id"] == "bl\udce4tter/ä.png"

"""What ends a run from outside: Ctrl-C, SIGTERM, a full disk, a data worker that is killed. Nothing of it loses the run."""

import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from ctypes import c_byte
from pathlib import Path
from types import FrameType, TracebackType
from typing import TypeAlias, TypeVar

from braid.errors import UserError

T = TypeVar("T")
Over: TypeAlias = c_byte

SIGNALS = (signal.SIGINT, signal.SIGTERM)
HUNG_UP = (ConnectionError, EOFError)  # a worker killed while it hands a batch over; seen dead before that, a RuntimeError
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Stopped(KeyboardInterrupt):
    """A run that was asked to stop, and whose checkpoint is saved; ``number`` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number


class Interrupt:
    """Remembers that the run was asked to stop; asked twice, the process leaves at once."""

    def __init__(self) -> None:
        self._number = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._number:
            os._exit(128 + number)
        self._number = number

    def check(self, joined: Callable[[list[int]], list[int]] = list) -> None:
        """Stop here, where the run's state is that after a whole step; ``joined`` adds what other processes were asked."""
        if number := max(joined([self._number])):
            raise Stopped(number)

    def watch(self, items: Iterable[T], total: int) -> Iterator[T]:
        for item in items:
            self.check()
            yield item


@contextmanager
def guarded(folder: Path, interrupt: Interrupt, save: Callable[[], None]) -> Iterator[None]:
    """Run the block with ``interrupt`` in charge of Ctrl-C and SIGTERM; ``save`` is called before ``Stopped`` goes on.

    Raises:
        UserError: for a full disk or a data worker that was killed.
        Stopped: when the run was asked to stop.
    """
    there = SIGNALS if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, interrupt) for number in there}
    try:
        try:
            yield
        except Stopped:
            save()
            raise
    except (RuntimeError, *HUNG_UP) as error:
        if not isinstance(error, HUNG_UP) and not str(error).startswith("DataLoader worker"):
            raise
        with suppress(RuntimeError):  # torch's handler of SIGCHLD tells of a lost worker once, wherever the run is by then
            time.sleep(0.5 if isinstance(error, HUNG_UP) else 0)
        reason = str(error).partition(". ")[0].removeprefix("DataLoader ") or "in the middle of a batch"
        raise UserError(
            f"a process that prepares batches was lost ({reason}), most likely because memory ran out; "
            "--resume goes on from the last checkpoint, with fewer of them if need be: --set workers=0"
        ) from None
    except OSError as error:
        if error.errno not in FULL:
            raise
        message = f"{error.filename or folder} cannot be written ({os.strerror(error.errno).lower()})"
        raise UserError(f"{message}; the last checkpoint is whole: free some space, then --resume") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def follow_the_run(worker: int, over: Over) -> None:
    """For a process that prepares batches: a signal to the whole group is the run's to answer, and its end is theirs.

    Args:
        over: set when nobody waits for batches any more; no lock, which a killed worker could keep.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sys.excepthook = _leave_to_the_run
    threading.Thread(target=_outlive_nobody, args=(os.getppid(), over), daemon=True).start()


def _leave_to_the_run(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A run that ends hangs up on the thread that hands it shared memory: no news. A batch's own errors go another way."""
    if not issubclass(kind, HUNG_UP):
        sys.__excepthook__(kind, error, trace)


def _outlive_nobody(run: int, over: Over) -> None:
    """A worker whose run was killed may wait for ever to hand over its batch, and keep its memory."""
    while os.getppid() == run and not over.value:
        time.sleep(1)
    os._exit(0 if over.value else 1)

"""Handling of what stops a run from outside: Ctrl-C, SIGTERM, a closed terminal, a full disk, a killed data worker.

The checkpoint survives all.
"""

import errno
import os
import signal
import stat
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
from braid.files import held

T = TypeVar("T")
Flag: TypeAlias = c_byte

CLOSED = getattr(signal, "SIGHUP", None)  # the terminal was closed; Windows has none
SIGNALS = (signal.SIGINT, signal.SIGTERM, *([CLOSED] if CLOSED else []))
HUNG_UP = (ConnectionError, EOFError)  # a worker that is killed while it sends a batch; one killed before raises RuntimeError
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Stopped(KeyboardInterrupt):
    """Raised when a run was asked to stop, once its checkpoint is saved; ``number`` is the signal number."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number


class Interrupt:
    """A signal handler that asks the run to stop after the current step. A second signal ends the process at once."""

    def __init__(self) -> None:
        self.asked = 0  # the number of the signal

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            os._exit(128 + number)
        self.asked = number
        if number == CLOSED:
            _leave_terminal()

    def check(self, joined: Callable[[list[int]], list[int]] = list) -> None:
        """Raise ``Stopped`` if a signal has arrived; call this between steps. ``joined`` collects the signals of all
        processes."""
        if number := max(joined([self.asked])):
            raise Stopped(number)

    def watch(self, items: Iterable[T], total: int) -> Iterator[T]:
        for item in items:
            self.check()
            yield item


def _leave_terminal() -> None:
    """Print to nowhere instead of a closed terminal, where every further line is an error; files and pipes stay."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        with suppress(OSError):  # closed
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                os.dup2(nowhere, descriptor)
    os.close(nowhere)


@contextmanager
def claimed(folder: Path, on_note: Callable[[str], None]) -> Iterator[None]:
    """Keep a run's folder for this process during the block.

    Raises:
        UserError: when another process works in it.
    """

    def refuse(who: str) -> None:
        raise UserError(f"{folder} is in use by another run ({who}); wait until it ends, or choose another --output")

    with held(folder, refuse, on_note):
        yield


@contextmanager
def guarded(folder: Path, interrupt: Interrupt, save: Callable[[], None]) -> Iterator[None]:
    """Run the block with ``interrupt`` as the handler of Ctrl-C, SIGTERM and SIGHUP; ``save`` is called before ``Stopped`` is
    re-raised. A signal that is ignored, as nohup asks for, stays so.

    Raises:
        UserError: for a full disk or a data worker that was killed.
        Stopped: when the run was asked to stop.
    """
    signals = SIGNALS if threading.current_thread() is threading.main_thread() else ()
    heard = [number for number in signals if number != CLOSED or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in heard}
    try:
        try:
            yield
        except Stopped:
            save()
            raise
        except OSError as error:
            if error.errno != errno.EIO or not interrupt.asked:
                raise
            save()  # a line for the terminal was on its way when that was closed
            raise Stopped(interrupt.asked) from None
    except (RuntimeError, *HUNG_UP) as error:
        if not isinstance(error, HUNG_UP) and not str(error).startswith("DataLoader worker"):
            raise
        with suppress(RuntimeError):  # torch's SIGCHLD handler reports a lost worker once, wherever the run is by then
            time.sleep(0.5 if isinstance(error, HUNG_UP) else 0)
        reason = str(error).partition(". ")[0].removeprefix("DataLoader ") or "in the middle of a batch"
        raise UserError(
            f"a data worker was lost ({reason}), most likely because memory ran out; "
            "continue from the last checkpoint with --resume, if needed without workers: --set workers=0"
        ) from None
    except OSError as error:
        if error.errno not in FULL:
            raise
        message = f"{error.filename or folder} cannot be written ({os.strerror(error.errno).lower()})"
        raise UserError(f"{message}; the last checkpoint is whole: free some space, then --resume") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def follow_the_run(worker: int, finished: Flag) -> None:
    """Set up a data worker: it ignores signals, which the run handles, and it ends when the run ends.

    Args:
        finished: set when no more batches are needed. It has no lock, because a killed worker could keep that.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sys.excepthook = _ignore_hang_up
    threading.Thread(target=_end_with_the_run, args=(os.getppid(), finished), daemon=True).start()


def _ignore_hang_up(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print no error when the run ends and closes the connection. Errors in a batch are returned, not raised."""
    if not issubclass(kind, HUNG_UP):
        sys.__excepthook__(kind, error, trace)


def _end_with_the_run(run: int, finished: Flag) -> None:
    """End the worker when its run ends; otherwise it could wait forever to send its batch."""
    while os.getppid() == run and not finished.value:
        time.sleep(1)
    os._exit(0 if finished.value else 1)

"""Atomic writes of files and folders: write to a temporary place, flush to disk, rename.

The temporary place is a folder ``.braid-*.part`` beside the target, with ``lock``, ``new/`` and ``old/``. The lock says where on
this disk the folder was made, so that a downloaded or copied folder of that name is left alone. Links in it are not followed.
"""

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from braid.errors import UserError
from braid.files.names import writable

if sys.platform != "win32":
    import fcntl

LOCK = ".lock"
_HELD: set[int] = set()  # descriptors of the locks that this process holds


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path of the same name for a file or a folder; it replaces ``path`` when the block ends without error.

    If the process is killed or the disk is full, ``path`` is the old or the new file, never a part of it. The next ``whole`` in
    that folder removes temporary files. A device, such as /dev/stdout, is written directly.

    Raises:
        OSError: naming ``path``, when it cannot be written.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        yield path
        return
    path = Path(os.path.realpath(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        settle(path.parent)
        aside, lock = _aside(path.parent)
        try:
            yield aside / "new" / path.name
            _swap(aside, path)
        finally:
            _clear(aside)
            lock.close()
    except Exception as error:
        raise _naming(error, path) from None


def write_whole(path: Path, text: str) -> None:
    """Write a UTF-8 text file with ``whole``; half a character, as in some file names, is written as an escape."""
    with whole(path) as fresh:
        fresh.write_text(writable(text), encoding="utf-8")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Run the block while no other process runs such a block for this folder. A file system without locks does not wait."""
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def ready(path: Path) -> None:
    """Check that ``path`` can be written, before long work starts; no file is left behind.

    Raises:
        UserError: when ``path`` is a folder.
        OSError: when ``path`` cannot be written.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the name of a file to write")
    if path.exists() and not path.is_file():
        return  # a device
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(tempfile.mkdtemp(prefix=".braid-", suffix=".part", dir=path.parent), ignore_errors=True)
    except OSError as error:
        raise _naming(error, path) from None


def settle(folder: Path) -> None:
    """Clean up after killed processes in ``folder``: restore what they were replacing, and remove their temporary files. Files of
    running processes, and those that this machine did not write, are kept."""
    for aside in folder.glob(".braid-*.part"):
        with _left(aside) as left:
            if left:
                _clear(aside)
        with suppress(OSError):
            aside.rmdir()  # empty: left by a process that was killed before it locked the folder, or after it cleared it


def replaced(path: Path) -> Path | None:
    """What a killed process was replacing at ``path``, if nothing is there now; ``settle`` moves it back, and this does not."""
    if os.path.lexists(path):
        return None
    for aside in path.parent.glob(".braid-*.part"):
        old = aside / "old" / path.name
        with _left(aside) as left:
            if left and _is_folder(aside / "old") and _is_folder(old):
                return old
    return None


@contextmanager
def held(folder: Path, on_busy: Callable[[str], None], on_note: Callable[[str], None]) -> Iterator[int]:
    """Hold the lock of a folder during the block, and yield its descriptor: a process that is started with it holds the lock,
    too, and a forked one does not. The lock of a killed process is free.

    Args:
        on_busy: called with the name of the process that holds the lock; if it returns, ``held`` waits.
        on_note: called with a warning where the file system has no locks.
    """
    existed = folder.is_dir()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    descriptor = _locked_file(path, on_busy, on_note)
    _HELD.add(descriptor)
    try:
        with suppress(OSError):  # a full disk
            os.truncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, f"process {os.getpid()} on {platform.node()}".encode())
        yield descriptor
    finally:
        path.unlink(missing_ok=True)
        if not existed:
            with suppress(OSError):
                folder.rmdir()  # if nothing else was written
        _HELD.discard(descriptor)
        os.close(descriptor)


def _locked_file(path: Path, on_busy: Callable[[str], None], on_note: Callable[[str], None]) -> int:
    """The descriptor of a lock file that this process holds."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if _is_busy(descriptor, path, on_note):
                on_busy(os.read(descriptor, 200).decode(errors="replace") or "another process")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the process that held the lock removed the file


def _is_busy(descriptor: int, path: Path, on_note: Callable[[str], None]) -> bool:
    """Whether another process holds the lock of a file; if not, this one does from now on."""
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
        except BlockingIOError:
            return True
        except OSError:  # such as some network file systems
            pass
    on_note(f"warning: {path.parent} cannot be locked on this file system; start no second run in it")
    return False


def _let_go() -> None:
    """Close the locks in a forked process, because a data worker outlives its killed run for a moment."""
    for descriptor in _HELD:
        with suppress(OSError):
            os.close(descriptor)
    _HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def _aside(folder: Path) -> tuple[Path, IO[bytes]]:
    """A new temporary folder, which is locked until this process ends."""
    while True:
        aside = Path(tempfile.mkdtemp(prefix=".braid-", suffix=".part", dir=folder))
        try:
            lock = open(aside / "lock", "wb")  # noqa: SIM115 - stays open
        except FileNotFoundError:
            continue  # another process removed it before it was locked
        _locked(lock, wait=True)
        if (aside / "lock").exists():
            lock.write(_place(aside))
            lock.flush()
            (aside / "new").mkdir()
            return aside, lock
        lock.close()


@contextmanager
def _left(aside: Path) -> Iterator[bool]:
    """Whether a killed process of this machine left this folder; its lock is held in the block."""
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(aside / "lock", flags)
    except OSError:
        yield False
        return
    with open(descriptor, "r+b") as lock:
        if not _is_folder(aside) or not _locked(lock, wait=False):
            yield False
            return
        said = lock.read(100)
        try:
            ours = said == _place(aside) or (not said and os.listdir(aside) == ["lock"])  # killed before it wrote its place
        except FileNotFoundError:  # another process removed it before the lock was ours
            ours = False
        yield ours


def _place(folder: Path) -> bytes:
    """The place of a folder on its disk, which a copy does not have."""
    status = folder.stat()
    return f"{status.st_dev}:{status.st_ino}".encode()


def _is_folder(path: Path) -> bool:
    """Whether it is a folder itself, and no link to one."""
    return path.is_dir() and not path.is_symlink()


def _locked(lock: IO[bytes], wait: bool) -> bool:
    """Lock a file, and return whether that worked. Without locks, leftovers look like files in use, and are kept."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _swap(aside: Path, path: Path) -> None:
    fresh = aside / "new" / path.name
    for written in [fresh, *(fresh.rglob("*") if fresh.is_dir() else ())]:
        _sync(written)
    if fresh.is_dir() and path.exists():
        (aside / "old").mkdir()
        os.rename(path, aside / "old" / path.name)  # if the process is killed here, ``settle`` restores it
        os.rename(fresh, path)
    else:
        os.replace(fresh, path)
    _sync(path.parent)


def _clear(aside: Path) -> None:
    for old in (aside / "old").glob("*") if _is_folder(aside / "old") else ():
        if not os.path.lexists(aside.parent / old.name):
            os.rename(old, aside.parent / old.name)
    for part in ("new", "old", "."):  # the lock comes last: if killed before that, the rest is still a known leftover
        shutil.rmtree(aside / part, ignore_errors=True)


def _sync(path: Path) -> None:
    if sys.platform == "win32" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _naming(error: Exception, path: Path) -> Exception:
    """The error with the real file name; Rust libraries report the system's error only as text."""
    if isinstance(error, OSError):
        if error.errno is not None and (error.filename is None or ".braid-" in str(error.filename)):
            return OSError(error.errno, os.strerror(error.errno), str(path))
        return error
    result = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(result[1]), os.strerror(int(result[1])), str(path)) if result else error

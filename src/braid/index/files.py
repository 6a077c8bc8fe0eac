"""The files of an index: where each one is, and whether it is as it was when it was embedded. The metadata of a row say so."""

import hashlib
import math
import os
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from braid.errors import UserError
from braid.files import file_named, regular, writable
from braid.files.reading import identity
from braid.index.protocol import Hit, Index

PATH = "path"  # a file's path from the folder of the index, without links
SIZE, MODIFIED, HASH = "size", "modified", "sha256"  # bytes; nanoseconds; of the content, for files that were copied or renamed


@dataclass(frozen=True)
class Compared:
    """The rows of an index beside files on disk: files that are the ``same``, ``changed`` ones with the ids of their rows, and
    the ids of rows whose file is ``gone``, by the hash that it had."""

    same: set[str] = field(default_factory=set)
    changed: dict[str, str] = field(default_factory=dict)
    gone: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def compare(index: Index, files: Collection[str]) -> Compared:
    """Compare an index with ``files``, which are named as ``identities`` does; of other files, only whether they are there."""
    result, home = Compared(), os.path.realpath(index.folder)
    homes: dict[str, str] = {}
    for name, metadata in index.rows():
        path, there = _located(name, metadata, home)
        if not there:
            if _is_file(metadata):
                result.gone[str(metadata.get(HASH, ""))].append(name)
            continue
        file = identity(path, homes)
        if file in files:
            if _is_same(file, metadata):
                result.same.add(file)
            else:
                result.changed[file] = name
    return result


def stamp(file: str) -> dict[str, int]:
    """Size and time of a file; nothing if it cannot be reached."""
    try:
        status = os.stat(file)
    except OSError:
        return {}
    return {SIZE: status.st_size, MODIFIED: status.st_mtime_ns}


def entry(file: str, folder: Path, before: Mapping[str, int]) -> dict[str, Any]:
    """What an index keeps of a file beside its id: where it is, and its state. ``before``: its stamp before it was embedded. Of a
    file that has changed since, there is no hash."""
    place = writable(os.path.relpath(file, os.path.realpath(folder)))  # a relative path outlasts a move of both
    return {PATH: place, **before, HASH: digest if (digest := _digest(file)) and stamp(file) == before else ""}


def file_of(hit: Hit, folder: Path) -> str:
    """The path of the file of a hit in the index at ``folder``."""
    return _located(hit.id, hit.metadata, os.path.realpath(folder))[0]


def is_gone(hit: Hit, folder: Path) -> bool:
    """Whether a hit in the index at ``folder`` is of a file that is not there any more."""
    return _is_file(hit.metadata) and not _located(hit.id, hit.metadata, os.path.realpath(folder))[1]


def _is_file(metadata: Any) -> bool:
    """Whether a row is of a file; others have rows of their own."""
    return isinstance(metadata, dict) and isinstance(metadata.get(PATH), str)


def _located(identity: str, metadata: Any, home: str) -> tuple[str, bool]:
    """The path of a row's file, and whether it is there: the path that the index keeps, else its id (the index was moved)."""
    kept = [os.path.normpath(os.path.join(home, metadata[PATH]))] if _is_file(metadata) else []
    paths = [file_named(path) for path in (*kept, identity)]
    return next(((path, True) for path in paths if os.path.exists(path)), (paths[-1], False))


def _is_same(file: str, metadata: Any) -> bool:
    """Whether a file is as it was: by size and time, or by its content. Nothing is known of a row that has no path."""
    if not _is_file(metadata):
        return True
    now = stamp(file)
    if not now or metadata.get(SIZE) != now[SIZE]:
        return False
    return metadata.get(MODIFIED) == now[MODIFIED] or (bool(metadata.get(HASH)) and metadata[HASH] == _digest(file))


def _digest(file: str) -> str:
    try:
        with open(regular(Path(file), math.inf), "rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except (OSError, UserError):
        return ""

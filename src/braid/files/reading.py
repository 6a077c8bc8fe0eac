"""Files by path, pattern and folder, and files inside a tar.

``shards/00000.tar#1536+48210`` starts at byte 1,536 of the tar and is 48,210 bytes long.
"""

import glob
import math
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from braid.errors import UserError

LARGEST = 1 << 28  # bytes of a file that is read into memory as a whole
RECIPES = Path(__file__).resolve().parents[1] / "recipes"


def shipped(path: Path) -> Path:
    """``recipes/NAME.yaml`` is a file that ships with Braid, unless there is one of that name here."""
    return RECIPES.parent / path if path.parts[:1] == (RECIPES.name,) and not path.exists() else path


def regular(path: Path, most: int | float = LARGEST) -> Path:
    """The same path, if reading it ends: pipes wait forever, and devices have no end. A missing file is left to the reader.

    Args:
        most: bytes that the file may have.
    Raises:
        UserError: for a pipe, a device, or a larger file.
    """
    try:
        status = path.stat()
    except OSError:
        return path
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise UserError(f"{path} is a pipe or a device; put the file itself there")
    if status.st_size > most and stat.S_ISREG(status.st_mode):
        raise UserError(f"{path} has {status.st_size:,} bytes, and at most {most:,} are read; check that it is the right file")
    return path


def has_suffix(name: str | Path, suffixes: Collection[str]) -> bool:
    """Whether the suffix of a file name is one of ``suffixes``."""
    return Path(name).suffix.lower() in suffixes


def file_inside(folder: Path, name: str) -> Path | None:
    """The regular file of that name in a folder; None if there is none, or if the name leads out of the folder."""
    try:
        path, home = Path(os.path.realpath(folder / name)), Path(os.path.realpath(folder))
        return path if path.is_relative_to(home) and path.is_file() else None
    except ValueError:  # a character 0
        return None


def find_files(paths: Iterable[str | Path], suffixes: Collection[str], what: str = "file") -> list[str]:
    """Find the files of paths, patterns (``*.png``) and folders (with subfolders), each once; a folder's files are sorted.

    Returns strings, because a hundred thousand Path objects take four times as much memory.

    Raises:
        UserError: for a pattern or a folder without such a file.
    """
    result: dict[str, None] = {}
    for given in paths:
        if str(given).startswith(("http://", "https://")):
            raise UserError(f"{given} is a web address; download the {what} and give its path")
        path = Path(given).expanduser()
        if path.is_dir():
            inside = sorted(_files_in(path, suffixes))
        elif glob.has_magic(str(path)) and not path.exists():
            inside = sorted(glob.glob(str(path), recursive=True))
        else:
            inside = [str(path)]  # a missing file is reported later, with other unreadable files
        if not inside:
            raise UserError(f"{path}: no {what} there; looked for {', '.join(sorted(suffixes))}")
        result.update(dict.fromkeys(inside))
    return list(result)


def _files_in(folder: Path, suffixes: Collection[str]) -> Iterator[str]:
    for home, _, names in os.walk(folder):
        for name in names:
            file = os.path.join(home, name)
            # keep broken links, so that they are reported
            if has_suffix(name, suffixes) and (os.path.isfile(file) or os.path.islink(file)):
                yield file


_PART = re.compile(r"(.+\.tar)#(\d{1,18})\+(\d{1,18})", re.DOTALL)  # numbers that a file position can be


def part_name(archive: str, offset: int, size: int) -> str:
    return f"{archive}#{offset}+{size}"


def archive_of(name: str) -> str | None:
    """The tar that contains ``name``, or None for a plain file name."""
    result = _PART.fullmatch(name)
    return result[1] if result else None


def read_part(name: str) -> bytes | None:
    """The bytes of a file inside a tar (fewer if the tar is cut short), or None for a plain file name."""
    result = _PART.fullmatch(name)
    if not result:
        return None
    with open(regular(Path(result[1]), math.inf), "rb", buffering=0) as file:
        file.seek(int(result[2]))
        return file.read(min(int(result[3]), os.fstat(file.fileno()).st_size))

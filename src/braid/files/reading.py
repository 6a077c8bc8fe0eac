"""Files by path, pattern and folder, and files inside a tar.

``shards/00000.tar#1536+48210`` starts at byte 1,536 of the tar and is 48,210 bytes long.
"""

import glob
import math
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from braid.errors import UserError
from braid.files.names import user_path
from braid.files.paths import not_a_path, shortened, spellings

LARGEST = 1 << 28  # bytes of a file that is read into memory as a whole
RECIPES = Path(__file__).resolve().parents[1] / "recipes"
LEFT_BEHIND = frozenset({"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir"})  # by macOS, Windows, file servers
SHOWN = 5  # things in a folder that are named one by one


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


@dataclass
class Listing:
    """The files of a folder and its subfolders, sorted, and what is passed over.

    ``files``: also broken links, so that they are reported later. ``hidden``: the number of hidden files and folders, with those
    that systems leave behind. ``others``: folders that cannot be read, links to folders, pipes and devices, each with a reason.
    """

    files: list[str] = field(default_factory=list)
    hidden: int = 0
    others: list[str] = field(default_factory=list)

    def unread(self, suffixes: Mapping[str, str]) -> list[str]:
        """What a user should know of the files that are not read.

        Args:
            suffixes: of files that a user may expect to be read, each with what to do.
        """
        counts = Counter(suffix for file in self.files if (suffix := os.path.splitext(file)[1].lower()) in suffixes)
        said = [
            f"{count:,} file{'s' if count > 1 else ''} passed over: {suffix}; {suffixes[suffix]}"
            for suffix, count in counts.most_common()
        ]
        more = [f"and {len(self.others) - SHOWN:,} more are passed over"] if len(self.others) > SHOWN else []
        return [*said, *self.others[:SHOWN], *more]


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden (.x, and ._x of macOS), or left behind by a system."""
    return name.startswith(".") or name.lower() in LEFT_BEHIND


def listing(folder: str | Path) -> Listing:
    """List a folder. Links to folders are not followed, so a link that leads back ends nowhere."""
    result, waiting = Listing(), [str(folder)]
    while waiting:
        home = waiting.pop()
        try:
            entries = list(os.scandir(home))
        except OSError as error:
            result.others.append(f"{home} cannot be read ({os.strerror(error.errno or 0)}), so it is passed over; change that")
            continue
        for entry in entries:
            linked = entry.is_symlink()
            if is_hidden(entry.name):
                result.hidden += 1
            elif linked and os.path.isdir(entry.path):
                result.others.append(f"{entry.path} is a link to a folder, which is passed over; give that folder itself")
            elif not linked and entry.is_dir():
                waiting.append(entry.path)
            elif linked or entry.is_file():
                result.files.append(entry.path)
            else:
                result.others.append(f"{entry.path} is a pipe or a device, which is passed over; save it to a file")
    result.files.sort()
    return result


def find_files(
    paths: Iterable[str | Path],
    suffixes: Collection[str],
    what: str = "file",
    unread: Mapping[str, str] | None = None,
    on_note: Callable[[str], None] = lambda text: None,
) -> list[str]:
    """Find the files of paths, patterns (``*.png``) and folders (with subfolders), each once; a folder's files are sorted.

    Returns strings, because a hundred thousand Path objects take four times as much memory.

    Args:
        unread: see ``Listing.unread``; ``on_note`` is told of these files.
    Raises:
        UserError: for a pattern or a folder without such a file.
    """
    result: dict[str, str] = {}
    paths = list(paths)
    for given in paths:
        path, said = user_path(given), list[str]()
        if not os.path.exists(path) and (reason := not_a_path(str(given), what)):
            raise UserError(f"{shortened(str(given))} {reason}")
        if path.is_dir():
            listed = listing(path)
            inside, said = [file for file in listed.files if has_suffix(file, suffixes)], listed.unread(unread or {})
        elif glob.has_magic(str(path)) and not path.exists():
            inside = _matching(path, suffixes)
        else:
            there = (spelled for spelled in spellings(str(path)) if os.path.exists(spelled))
            inside = [next(there, str(path))]  # a missing file is reported later, with other unreadable files
        if not inside:
            also = "".join(f"; {text}" for text in said)
            raise UserError(f"{path}: no {what} there; looked for {', '.join(sorted(suffixes))}{also}")
        for text in said:
            on_note(text)
        for file in inside:
            result.setdefault(os.path.abspath(file) if len(paths) > 1 else file, file)
    return list(result.values())


def _matching(pattern: Path, suffixes: Collection[str]) -> list[str]:
    """The files that a pattern matches, sorted: those with a suffix, or all of them if none has one. Folders that exist are
    taken by their names, which may have brackets. ``**`` does not follow links to folders, which may lead back."""
    home = next((folder for folder in pattern.parents if folder.is_dir()), Path())
    rest = pattern.relative_to(home).parts
    start = "" if home == Path() else os.path.join(str(home), "")
    if "**" in rest:
        inside = (os.path.normpath(file) for file in listing(home).files)
        found = [file for file in inside if _matches(file[len(start) :].split(os.sep), rest)]
    else:
        found = [name for name in glob.glob(glob.escape(start) + os.path.join(*rest)) if not os.path.isdir(name)]
        found = [name for name in found if not any(map(is_hidden, name[len(start) :].split(os.sep)))]
    return sorted(name for name in found if has_suffix(name, suffixes)) or sorted(found)


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path matches a pattern, both by their parts; ``**`` is any number of folders."""
    if not pattern or not parts:
        return not pattern and not parts
    if pattern[0] == "**":
        return any(_matches(parts[skipped:], pattern[1:] or "*") for skipped in range(len(parts)))
    return fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def identities(files: Iterable[str]) -> Iterator[str]:
    """One name for each file, however its path is spelled, and through links."""
    homes: dict[str, str] = {}
    for file in files:
        yield identity(file, homes)


def identity(file: str, homes: dict[str, str]) -> str:
    """One name for a file; ``homes`` keeps what folders are found to be."""
    home, name = os.path.split(os.path.abspath(file))
    if home not in homes:
        homes[home] = os.path.realpath(home)
    return os.path.realpath(file) if os.path.islink(file) else os.path.join(homes[home], name)


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

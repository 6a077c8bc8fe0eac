"""Files by path, pattern and folder."""

import glob
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from braid.errors import UserError


def has_suffix(name: str | Path, suffixes: Collection[str]) -> bool:
    """Whether a name ends as the files do that are looked for."""
    return Path(name).suffix.lower() in suffixes


def find_files(paths: Iterable[str | Path], suffixes: Collection[str], what: str = "file") -> list[str]:
    """The files that paths, patterns (``*.png``) and folders (searched through) mean, each once, folders sorted.

    Texts, because a hundred thousand Path objects take four times their memory.

    Raises:
        UserError: for a pattern or a folder in which there is no such file.
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
            inside = [str(path)]  # a missing file is reported with the other unreadable ones
        if not inside:
            raise UserError(f"{path}: no {what} there; looked for {', '.join(sorted(suffixes))}")
        result.update(dict.fromkeys(inside))
    return list(result)


def _files_in(folder: Path, suffixes: Collection[str]) -> Iterator[str]:
    for home, _, names in os.walk(folder):
        for name in names:
            file = os.path.join(home, name)
            # a broken link is reported, too
            if has_suffix(name, suffixes) and (os.path.isfile(file) or os.path.islink(file)):
                yield file

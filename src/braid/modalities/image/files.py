"""Image files by path, pattern and folder."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from braid.errors import UserError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})


def is_image(name: str) -> bool:
    """Whether a name has the suffix of an image."""
    return Path(name).suffix.lower() in SUFFIXES


def image_files(paths: Iterable[str | Path]) -> list[str]:
    """The image files that files, patterns (``*.png``) and folders (searched recursively) name, without duplicates.

    The files of a folder are sorted. Paths are strings, because a hundred thousand Path objects take four times the memory.

    Raises:
        UserError: for a pattern or a folder without images.
    """
    result: dict[str, None] = {}
    for given in paths:
        if str(given).startswith(("http://", "https://")):
            raise UserError(f"{given} is a web address; download the image and give its path")
        path = Path(given).expanduser()
        if path.is_dir():
            inside = sorted(_files_in(path))
        elif glob.has_magic(str(path)) and not path.exists():
            inside = sorted(glob.glob(str(path), recursive=True))
        else:
            inside = [str(path)]  # a missing file is reported with the other unreadable ones
        if not inside:
            raise UserError(f"{path}: no images found; looked for {', '.join(sorted(SUFFIXES))}")
        result.update(dict.fromkeys(inside))
    return list(result)


def _files_in(folder: Path) -> Iterator[str]:
    for home, _, names in os.walk(folder):
        for name in names:
            file = os.path.join(home, name)
            # broken links are reported, too
            if os.path.splitext(name)[1].lower() in SUFFIXES and (os.path.isfile(file) or os.path.islink(file)):
                yield file

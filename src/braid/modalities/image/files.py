"""Image files by path, pattern and folder."""

from collections.abc import Iterable
from pathlib import Path

from braid.files.finding import find_files, has_suffix

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})


def is_image(name: str) -> bool:
    """Whether a name ends as an image's does."""
    return has_suffix(name, SUFFIXES)


def image_files(paths: Iterable[str | Path]) -> list[str]:
    """``find_files`` of images.

    Raises:
        UserError: for a pattern or a folder in which there is no image.
    """
    return find_files(paths, SUFFIXES, "image")

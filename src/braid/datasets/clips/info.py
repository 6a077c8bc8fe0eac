"""What yt-dlp writes of a video beside it: ``talk.info.json``."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braid.datasets.dataset import read_json
from braid.errors import UserError
from braid.files.reading import regular
from braid.modalities.cells import LONGEST, why_no_text

LARGEST = 50_000_000  # bytes of a file


@dataclass(frozen=True)
class Chapter:
    """A part of a video that has a title; times are in seconds."""

    start: float
    end: float
    title: str


@dataclass(frozen=True)
class Info:
    """What is known of a video; empty where it is not."""

    title: str = ""
    tags: tuple[str, ...] = ()
    chapters: tuple[Chapter, ...] = ()
    seconds: float = math.inf
    language: str = ""

    def about(self, seconds: float, name: str) -> dict[str, Any]:
        """The cells of a clip at this time: ``title`` (``name`` if there is none), ``tags`` and ``chapter``."""
        chapter = next((one.title for one in self.chapters if one.start <= seconds < one.end), "")
        return {"title": self.title or name, "tags": list(self.tags), "chapter": chapter}


def read_info(path: Path) -> tuple[Info, str]:
    """What a file says of its video, and what is wrong with it, or ""."""
    try:
        whole = read_json(regular(path, LARGEST))
    except (UserError, OSError) as error:
        reason = str(error) if isinstance(error, UserError) else f"{path} cannot be read ({error.strerror})"
        return Info(), f"title, tags and chapters are unknown: {reason}"
    if not isinstance(whole, Mapping):
        return Info(), f"title, tags and chapters are unknown: {path} is not a JSON object"
    readers = {"title": _text, "tags": _tags, "chapters": _chapters, "duration": _seconds, "language": _text}
    found: dict[str, Any] = {}
    odd = []
    for name, read in readers.items():
        if whole.get(name) is not None:
            found[name] = read(whole[name])
            odd += [name] if found[name] is None else []
    info = Info(
        found.get("title") or "",
        found.get("tags") or (),
        found.get("chapters") or (),
        found.get("duration") or math.inf,
        found.get("language") or "",
    )
    return info, f"{path}: {', '.join(odd)} cannot be read; its clips go without" if odd else ""


def _text(value: Any) -> str | None:
    readable = isinstance(value, str) and not why_no_text(value) and len(value) < LONGEST
    return " ".join(value.split()) if readable else None


def _tags(value: Any) -> tuple[str, ...] | None:
    texts = [_text(one) for one in value] if isinstance(value, list) else [None]
    return tuple(filter(None, texts)) if None not in texts else None


def _seconds(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and 0 < value < 1e9 else None


def _chapters(value: Any) -> tuple[Chapter, ...] | None:
    if not isinstance(value, list):
        return None
    result = list[tuple[float, float | None, str]]()
    for one in value:
        cells = one if isinstance(one, Mapping) else {}
        title, start, end = _text(cells.get("title")), cells.get("start_time"), cells.get("end_time")
        begins, ends = 0.0 if start == 0 else _seconds(start), _seconds(end)
        if title is None or begins is None or (ends is None and end is not None):
            return None
        result.append((begins, ends, title))
    return tuple(_closed(result))


def _closed(chapters: Sequence[tuple[float, float | None, str]]) -> list[Chapter]:
    """Chapters in the order of time; one without an end ends where the next begins."""
    chapters = sorted(chapters, key=lambda one: one[0])
    nexts = [start for start, _, _ in chapters[1:]] + [math.inf]
    return [
        Chapter(start, following if end is None else end, title)
        for (start, end, title), following in zip(chapters, nexts, strict=True)
    ]

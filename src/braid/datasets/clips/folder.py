"""Videos and recordings of a folder, with the subtitles and the info.json beside each."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from braid.datasets.clips.info import Info, read_info
from braid.datasets.clips.subtitles import SUFFIXES, read_subtitles
from braid.datasets.dataset import file_kinds
from braid.errors import UserError
from braid.files import composed
from braid.files.reading import Listing, listing

INFO = ".info.json"
LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8})*")  # en, zh-Hans, en-orig
SHORTEST = 0.05  # seconds of a clip; nothing is heard or seen in less


@dataclass(frozen=True)
class Video:
    """The files of one name: ``files`` by kind, ``subtitles`` by language ("" if the name has none), and the info.json."""

    name: str
    files: dict[str, str]
    subtitles: dict[str, str]
    info: str = ""


@dataclass(frozen=True)
class Found:
    """The clips of one video as rows of a table; the paths of files are as they were found. ``notes`` say what is unusual."""

    rows: list[dict[str, Any]]
    language: str
    notes: list[str] = field(default_factory=list)


def find_videos(folder: Path) -> tuple[list[Video], list[str]]:
    """The videos and recordings of a folder and its subfolders, and what a user should know of other files.

    Raises:
        UserError: when it is no folder, or holds no such file.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the folder that holds the clips and their subtitles")
    listed = listing(folder)
    by_suffix = {end: kind for kind, config in file_kinds().items() if config.timed for end in sorted(config.suffixes)}
    files: dict[str, dict[str, str]] = {}
    notes: list[str] = []
    for file in listed.files:
        stem, suffix = os.path.splitext(file)
        if kind := by_suffix.get(suffix.lower()):
            there = files.setdefault(composed(stem), {})
            if kind in there:
                notes.append(f"{os.path.basename(file)} is left out, because {os.path.basename(there[kind])} has its name")
            else:
                there[kind] = file
    if not files:
        raise UserError(f"{folder} holds no clips; looked for {', '.join(by_suffix)}")
    subtitles, strays = _subtitles(listed, files)
    if strays:
        some = ", ".join(map(os.path.basename, strays[:3])) + (", ..." if len(strays) > 3 else "")
        notes.append(f"{_counted(len(strays), 'file')} of subtitles without a clip of the same name: {some}")
    infos = {composed(file.removesuffix(INFO)): file for file in listed.files if file.endswith(INFO)}
    return [Video(name, there, subtitles.get(name, {}), infos.get(name, "")) for name, there in files.items()], notes


def _subtitles(listed: Listing, videos: dict[str, dict[str, str]]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """The subtitles of each video by language, and those of none. ``talk.en.vtt`` belongs to ``talk.mp4``, and so does
    ``talk.mp4.en.vtt``."""
    found: dict[str, dict[str, str]] = {}
    strays = []
    whole = {composed(file): name for name, there in videos.items() for file in there.values()}
    for file in sorted(listed.files, key=lambda name: not name.lower().endswith(SUFFIXES[0])):  # WebVTT says more
        stem, suffix = os.path.splitext(file)
        if suffix.lower() not in SUFFIXES:
            continue
        stem, dot = composed(stem), composed(stem).rpartition(".")
        language = dot[2] if LANGUAGE.fullmatch(dot[2]) else ""
        names = [(stem, ""), *([(dot[0], language)] if language else [])]
        owner = next(((whole.get(name, name), said) for name, said in names if whole.get(name, name) in videos), None)
        if owner is None:
            strays.append(file)
        else:
            found.setdefault(owner[0], {}).setdefault(owner[1], file)
    return found, strays


def rows_of(video: Video, language: str, home: Path) -> Found:
    """The clips of a video, one a subtitle: files by kind, ``start`` and ``end`` in seconds, ``captions``, and from the info.json
    ``title`` (else the file's name), ``tags`` and ``chapter``. Paths are relative to ``home``.

    Args:
        language: of the subtitles; "" takes the only one, or the one that the info.json names.
    Raises:
        UserError: naming the video, when its subtitles cannot be chosen or read.
    """
    info, wrong = read_info(Path(video.info)) if video.info else (Info(), "")
    chosen = _chosen(video, language, info)
    subtitles, odd = read_subtitles(Path(video.subtitles[chosen]))
    paths = {kind: os.path.relpath(file, home) for kind, file in video.files.items()}
    rows, late = [], 0
    for one in subtitles:
        end = min(one.end, info.seconds)
        if end - one.start < SHORTEST:
            late += 1
            continue
        part = {"start": round(one.start, 3), "end": round(end, 3), "captions": one.text}
        rows.append(paths | part | info.about((one.start + end) / 2, os.path.basename(video.name)))
    name = os.path.basename(next(iter(video.files.values())))
    beyond = f"{name}: {_counted(late, 'subtitle')} left out, after the end of the video or too short" if late else ""
    return Found(rows, chosen, [text for text in (wrong, odd, beyond) if text])


def _chosen(video: Video, language: str, info: Info) -> str:
    """The language of the subtitles to read.

    Raises:
        UserError: when the video has no subtitles, none of this language, or several of which none is named.
    """
    name, there = os.path.basename(next(iter(video.files.values()))), list(video.subtitles)
    if not there:
        raise UserError(f"{name} has no subtitles; put {os.path.basename(video.name)}.en.vtt or .srt beside it")
    wanted = language or info.language
    result = _like(wanted, there) if wanted and (language or len(there) > 1) else there
    said = ", ".join(one or "one without a language" for one in sorted(there))
    if len(result) == 1:
        return result[0]
    if result and language:
        raise UserError(f"{name} has subtitles in {', '.join(sorted(result))}; choose one with --language")
    if language:
        raise UserError(f"{name} has no subtitles in {language}; there are {said}")
    raise UserError(f"{name} has subtitles in {said}; choose with --language")


def _like(language: str, there: Sequence[str]) -> list[str]:
    """The languages that are meant: the same one, or else its kinds (en: en-US), or what it is a kind of, or else one unnamed."""
    wanted = language.lower()
    for matches in (
        [one for one in there if one.lower() == wanted],
        [one for one in there if one.lower().startswith(f"{wanted}-")],
        [one for one in there if one and wanted.startswith(f"{one.lower()}-")],
    ):
        if matches:
            return matches
    return [one for one in there if not one]


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"

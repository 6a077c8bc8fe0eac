"""Subtitles: WebVTT and SubRip files as texts with times, in which no word is said twice.

Automatic subtitles roll: each shows the line before once more, and a line of its own. What a subtitle repeats of the one before
is taken out, and where two overlap, the first ends when the second begins.
"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from braid.errors import UserError
from braid.files.reading import regular
from braid.files.text import read_lines
from braid.media.times import read_seconds

SUFFIXES = (".vtt", ".srt")
LARGEST = 50_000_000  # bytes of a file; an hour of speech has 100,000
CLOCK = r"(?:\d{1,4}:)?\d{1,4}:\d{1,2}(?:[.,]\d{1,9})?"
TIMES = re.compile(rf"\s*({CLOCK})\s*-{{1,3}}>\s*({CLOCK})(?:\s.*)?", re.ASCII)  # the rest are settings of the place
ARROW = "-->"
TAGS = re.compile(  # of WebVTT, SubRip and Advanced SubStation Alpha; "<3" is none
    rf"</?(?:c|i|b|u|s|v|ruby|rt|lang|font|span|p)(?:[ .][^<>]*)?>|<{CLOCK}>|{{\\[^{{}}]*}}", re.ASCII | re.IGNORECASE
)
BREAKS = re.compile(r"<br\s*/?>", re.IGNORECASE)
NUMBER = re.compile(r"\s*\d+\s*")
NEAR = 0.11  # seconds between two subtitles that follow each other without a pause
SHORTEST = 0.3  # seconds that are left of a subtitle that another one overlaps; below, both are one
COMPARED = 200  # words and lines of a subtitle that are compared with the one before
SAME = 3  # words that the end of a line and the beginning of the next have in common only if they roll


@dataclass(frozen=True)
class Subtitle:
    """A text from ``start`` to ``end``, in seconds; each of ``lines`` is as it is shown, without tags."""

    start: float
    end: float
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(self.lines)


def read_subtitles(path: Path) -> tuple[list[Subtitle], str]:
    """The subtitles of a file, in the order of time, merged; and what could not be read, for a note, or "".

    Raises:
        UserError: when the file is missing, too large, no text, or has no subtitles.
    """
    try:
        lines = read_lines(regular(path, LARGEST))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; check the path") from None
    found, odd = parse_subtitles(lines)
    if not found:
        raise UserError(f"{path} has no subtitles; each has a line of times, such as 00:01.000 --> 00:02.500, and a text below")
    if not odd:
        return merged(found), ""
    number = f"{len(odd):,} of {len(odd) + len(found):,} subtitles"
    return merged(found), f"{path.name}: {number} are left out, because their times are odd (line {odd[0]})"


def parse_subtitles(lines: Sequence[str]) -> tuple[list[Subtitle], list[int]]:
    """Subtitles as they are written, in the order of time; and the numbers of the lines whose times cannot be read, or are not in
    order."""
    web = next((line for line in lines if line.strip()), "").startswith("WEBVTT")
    arrows = _arrows(lines, web)
    found, odd = list[Subtitle](), list[int]()
    for place, stop in zip(arrows, [*arrows, len(lines)][1:], strict=True):
        times = TIMES.fullmatch(lines[place])
        start, end = (read_seconds(side, "it") for side in times.groups()) if times else (0.0, 0.0)
        if end <= start:
            odd.append(place + 1)
            continue
        shown = tuple(filter(None, map(_plain, _below(lines[place + 1 : stop], web, stop < len(lines)))))
        if shown:
            found.append(Subtitle(start, end, shown))
    return sorted(found, key=lambda one: one.start), odd


def _arrows(lines: Sequence[str], web: bool) -> list[int]:
    """The places of the lines of times, also of damaged ones. In WebVTT, those of comments and styles are none: such a block ends
    at an empty line."""
    result, before, remark = list[int](), "", False
    for place, line in enumerate(lines):
        remark = line.startswith(("NOTE", "STYLE", "REGION")) if not before else remark
        above = not before.strip() or NUMBER.fullmatch(before)
        if not (web and remark) and (TIMES.fullmatch(line) or (ARROW in line and (web or above))):
            result.append(place)
        before = line
    return result


def _below(lines: Sequence[str], web: bool, more: bool) -> list[str]:
    """The lines of a text, without the number of the next subtitle. In WebVTT, a text ends at the first empty line; in SubRip, it
    may have one."""
    text = list(lines)
    if web and "" in text:
        return text[: text.index("")]
    if more and text and NUMBER.fullmatch(text[-1]):
        text.pop()
    return text


def _plain(line: str) -> str:
    """A line without tags and entities, and with single spaces."""
    return " ".join(html.unescape(TAGS.sub("", BREAKS.sub(" ", line))).replace("\u200b", "").replace("\0", "").split())


def merged(subtitles: Sequence[Subtitle]) -> list[Subtitle]:
    """Subtitles that do not overlap, each with the words that the one before did not show."""
    result: list[Subtitle] = []
    before: Subtitle | None = None
    for one in subtitles:
        fresh = _fresh(before, one) if before else one.lines
        if not fresh and result:
            result[-1] = replace(result[-1], end=max(result[-1].end, one.end))
        elif result and one.start < result[-1].end and one.start - result[-1].start < SHORTEST:
            last = result.pop()
            result.append(Subtitle(last.start, max(last.end, one.end), (*last.lines, *fresh)))
        elif fresh:
            if result and one.start < result[-1].end:
                result[-1] = replace(result[-1], end=one.start)
            result.append(replace(one, lines=fresh))
        before = one
    return result


def _fresh(before: Subtitle, one: Subtitle) -> tuple[str, ...]:
    """The lines of a subtitle that follows another without a pause, without what both show."""
    if one.start > before.end + NEAR:
        return one.lines
    for size in range(min(len(before.lines), len(one.lines), COMPARED), 0, -1):
        if before.lines[-size:] == one.lines[:size]:
            return one.lines[size:]
    said, words = before.text.split(), one.text.split()
    for size in range(min(len(said), len(words), COMPARED), 0, -1):
        if said[-size:] == words[:size] and (size == len(said) or size >= SAME):
            rest = " ".join(words[size:])
            return (rest,) if rest else ()
    return one.lines

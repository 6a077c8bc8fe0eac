"""What is fuzzed of clips: subtitles and the info.json beside them."""

import json
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from fuzz_targets import Target

ROLLING = (
    "WEBVTT\nKind: captions\n\nNOTE a\n\n00:00:00.160 --> 00:00:02.389 align:start\n \nhello<00:00:00.480><c> all</c>\n\n"
    "00:00:02.389 --> 00:00:02.399\nhello all\n \n\n00:00:02.399 --> 00:00:04.309\nhello all\n<v Ann>I &lt;3 you</v>\n"
)
SUBRIP = (
    "1\r\n00:00:01,000 --> 00:00:02,500\r\n{\\an8}hello <i>there</i>\r\n\r\n"
    "2\r\n00:00:02,000-->00:00:03,000\r\nhello there\r\nyou\r\n"
)
INFO = {
    "title": "a talk",
    "tags": ["a", "b"],
    "duration": 9.5,
    "language": "en",
    "chapters": [{"start_time": 0.0, "end_time": 2, "title": "one"}, {"start_time": 2, "title": "two"}],
}


def _file(name: str, seeds: tuple[str, ...], read: Callable[[Path], Any]) -> Target:
    path = Path(tempfile.mkdtemp()) / name

    def written(data: bytes) -> Any:
        path.write_bytes(data)
        return read(path)

    return Target(name, tuple(seed.encode() for seed in seeds), written, structured=name.endswith(".json"))


def _subtitles(path: Path) -> Any:
    """Subtitles have texts that UTF-8 can say, and never overlap."""
    from braid.datasets.clips import read_subtitles

    found, _ = read_subtitles(path)
    assert all(one.text.encode() and one.start < one.end for one in found)
    assert all(one.end <= other.start for one, other in pairwise(found))
    return found


def _info(path: Path) -> Any:
    from braid.datasets.clips.info import read_info

    info, wrong = read_info(path)
    return json.dumps([info.about(1.0, "talk"), info.language, wrong], ensure_ascii=False).encode()


TARGETS: dict[str, Callable[[], Target]] = {
    "talk.vtt": partial(_file, "talk.vtt", (ROLLING, SUBRIP), _subtitles),
    "talk.info.json": partial(_file, "talk.info.json", (json.dumps(INFO),), _info),
}

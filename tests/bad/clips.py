"""Folders of clips and subtitles, and times, that cannot be read."""

from pathlib import Path
from typing import Any

from bad.case import case, command, table
from bad.data import opened

TEXT = "WEBVTT\n\n00:01.000 --> 00:02.000\nhello\n"


def clips(home: Path, files: dict[str, str | bytes], *arguments: object) -> str:
    (home / "talks").mkdir()
    for name, content in files.items():
        (home / "talks" / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return command("data", "clips", home / "talks", "-o", home / "clips.jsonl", *arguments)


def timed(home: Path, cells: str, columns: str = "") -> str:
    (home / "talk.wav").write_bytes(b"")
    return opened(table(home, f"audio,start,end,caption\ntalk.wav,{cells},hello\n"), columns)


@case("data", "clips of a folder that is not there")
def _(home: Path) -> Any:
    return command("data", "clips", home / "talks", "-o", home / "clips.jsonl")


@case("data", "clips without subtitles")
def _(home: Path) -> Any:
    return clips(home, {"a.wav": ""})


@case("data", "clips of which one has no subtitles")
def _(home: Path) -> Any:
    return clips(home, {"a.wav": "", "b.wav": "", "b.vtt": TEXT})


@case("data", "clips with subtitles in two languages")
def _(home: Path) -> Any:
    return clips(home, {"a.wav": "", "a.en.vtt": TEXT, "a.de.vtt": TEXT}, "--strict")


@case("data", "clips without subtitles in the language that is asked for")
def _(home: Path) -> Any:
    return clips(home, {"a.wav": "", "a.en.vtt": TEXT}, "--language", "fr", "--strict")


@case("data", "subtitles that are empty")
def _(home: Path) -> Any:
    return clips(home, {"a.wav": "", "a.vtt": "WEBVTT\n"}, "--strict")


@case("data", "subtitles that are not UTF-8")
def _(home: Path) -> Any:
    return clips(home, {"a.wav": "", "a.srt": b"1\n00:00:01,000 --> 00:00:02,000\ncaf\xe9\n"}, "--strict")


@case("data", "subtitles that are an archive")
def _(home: Path) -> Any:
    return clips(home, {"a.wav": "", "a.srt": b"PK\x03\x04" + bytes(99)}, "--strict")


@case("data", "subtitles with times that cannot be read")
def _(home: Path) -> Any:
    return clips(home, {"a.wav": "", "a.vtt": TEXT + "\n00:0x.000 --> 00:04.000\nthere\n\n00:09.000 --> 00:08.000\nbye\n"})


@case("data", "subtitles after the end of the clip")
def _(home: Path) -> Any:
    return clips(home, {"a.wav": "", "a.vtt": TEXT + "\n00:03.000 --> 00:04.000\nbye\n", "a.info.json": '{"duration": 2.5}'})


@case("data", "an info.json that is cut short")
def _(home: Path) -> Any:
    return clips(home, {"a.wav": "", "a.vtt": TEXT, "a.info.json": '{"title": "A ta'})


@case("data", "an info.json with chapters without times")
def _(home: Path) -> Any:
    return clips(home, {"a.wav": "", "a.vtt": TEXT, "a.info.json": '{"chapters": [{"title": "one"}]}'})


@case("data", "subtitles of a clip that is not there")
def _(home: Path) -> Any:
    return clips(home, {"a.wav": "", "a.vtt": TEXT, "b.vtt": TEXT})


@case("data", "a time that is none")
def _(home: Path) -> Any:
    return timed(home, "soon,2")


@case("data", "a part that ends before it starts")
def _(home: Path) -> Any:
    return timed(home, "0:00:03,2")


@case("data", "a part that starts before its file")
def _(home: Path) -> Any:
    return timed(home, "-1,2")


@case("data", "times of an image")
def _(home: Path) -> Any:
    return opened(table(home, "image,start,caption\nphoto.png,1,a dog\n"), "start=start")

"""braid data clips: a folder of clips with subtitles, as yt-dlp saves it, becomes a table."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from braid import config
from braid.datasets import open_dataset
from braid.datasets.clips import find_videos
from braid.datasets.clips.info import read_info
from braid.errors import UserError
from braid.media import Clip
from braid.modalities import InputModalityConfig
from conftest import Ran
from takes import TakeConfig

Braid = Callable[..., Ran]
ENGLISH = "WEBVTT\n\n00:01.000 --> 00:02.500\nhello there\n\n00:03.000 --> 00:04.000\nbye\n"
GERMAN = "1\n00:00:01,000 --> 00:00:02,500\nhallo\n"
INFO = {
    "title": "A  talk",
    "tags": ["speech", "greeting"],
    "chapters": [{"start_time": 0.0, "end_time": 2.8, "title": "Start"}, {"start_time": 2.8, "end_time": 9, "title": "End"}],
    "duration": 9.0,
    "language": "en",
}


@pytest.fixture(autouse=True)
def takes() -> Iterator[None]:
    config.add_kind(InputModalityConfig, TakeConfig)
    yield
    config.remove_kind(InputModalityConfig, TakeConfig)


def folder(home: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        (home / "talks" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "talks" / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return home / "talks"


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_rows_are_the_clips_between_subtitles_with_text_title_tags_and_chapter(tmp_path: Path, braid: Braid) -> None:
    home = folder(tmp_path, {"A talk [x1].take": "", "A talk [x1].en.vtt": ENGLISH, "A talk [x1].info.json": INFO})
    ran = braid("data", "clips", home, "-o", tmp_path / "clips.jsonl", "--json")
    assert json.loads(ran.out) == {
        "output": str(tmp_path / "clips.jsonl"),
        "num_videos": 1,
        "num_rows": 2,
        "seconds": 2.5,
        "languages": {"en": 1},
        "num_skipped": 0,
    }
    about = {"title": "A talk", "tags": ["speech", "greeting"]}
    file = "talks/A talk [x1].take"
    assert rows(tmp_path / "clips.jsonl") == [
        {"take": file, "start": 1.0, "end": 2.5, "captions": "hello there", **about, "chapter": "Start"},
        {"take": file, "start": 3.0, "end": 4.0, "captions": "bye", **about, "chapter": "End"},
    ]
    dataset = open_dataset(tmp_path / "clips.jsonl")
    row = dataset.examples[0]
    assert row.fields["take"] == Clip(str(tmp_path / file), 1.0, 2.5)
    assert row.fields["captions"] == ("hello there",)
    assert dataset.unused == ("tags", "chapter")


def test_other_formats_hold_the_same_clips(tmp_path: Path, braid: Braid) -> None:
    home = folder(tmp_path, {"a.take": "", "a.vtt": ENGLISH, "a.info.json": INFO, "b.take": "", "b.vtt": ENGLISH})
    for name in ("clips.csv", "clips.json", "clips.parquet"):
        ran = braid("data", "clips", home, "-o", tmp_path / name)
        assert ran.code == 0, ran.err
        found = open_dataset(tmp_path / name).examples
        assert [row.fields["text"] for row in found] == ["A talk", "A talk", "b", "b"]
        assert [row.fields["take"] for row in found] == [
            Clip(str(home / file), *times) for file in ("a.take", "b.take") for times in ((1.0, 2.5), (3.0, 4.0))
        ]
    assert "Written" in ran.out
    assert "no named language (2)" in ran.out


def test_clips_of_a_video_are_in_one_split(tmp_path: Path, braid: Braid) -> None:
    home = folder(tmp_path, {f"{k}.{end}": ENGLISH for k in range(12) for end in ("take", "en.vtt")})
    braid("data", "clips", home, "-o", home / "clips.jsonl")
    dataset = open_dataset(home / "clips.jsonl")
    splits: dict[str, set[str]] = {}
    for row in dataset.examples:
        splits.setdefault(row.fields["take"].file, set()).add(row.split)
    assert all(len(one) == 1 for one in splits.values())
    assert set(dataset.splits) == {"train", "val"}


@pytest.mark.parametrize(
    ("given", "info", "language", "says"),
    [
        (["en"], {}, "", "hello there"),
        (["en", "de"], {"language": "de"}, "", "hallo"),
        (["en", "de"], {"language": "de"}, "en", "hello there"),
        (["en-US", "de"], {}, "en", "hello there"),
        (["en-US", "de"], {"language": "en"}, "", "hello there"),
        (["zh-Hans", "de"], {}, "zh-hans", "hello there"),
        (["en", "en-orig"], {}, "en", "hello there"),
        (["en", "de"], {}, "en-GB", "hello there"),
        (["", "de"], {}, "en", "hello there"),
        (["en"], {"language": "fr"}, "", "hello there"),
    ],
)
def test_the_language_is_the_one_that_is_meant(
    tmp_path: Path, braid: Braid, given: list[str], info: dict[str, str], language: str, says: str
) -> None:
    files = {f"a.{one}.vtt".replace("..", "."): ENGLISH if place == 0 else GERMAN for place, one in enumerate(given)}
    home = folder(tmp_path, {"a.take": "", **files, **({"a.info.json": info} if info else {})})
    ran = braid("data", "clips", home, "-o", tmp_path / "c.jsonl", *(["--language", language] if language else []))
    assert ran.code == 0, ran.err
    assert rows(tmp_path / "c.jsonl")[0]["captions"] == says


@pytest.mark.parametrize(
    ("given", "language", "says"),
    [
        ([], "", "b.take has no subtitles; put b.en.vtt or .srt beside it"),
        (["en", "de"], "", "b.take has subtitles in de, en; choose with --language"),
        (["en", "de"], "fr", "b.take has no subtitles in fr; there are de, en"),
        (["en-US", "en-GB"], "en", "b.take has subtitles in en-GB, en-US; choose one with --language"),
    ],
)
def test_a_video_without_one_choice_is_skipped_and_told(
    tmp_path: Path, braid: Braid, given: list[str], language: str, says: str
) -> None:
    home = folder(tmp_path, {"a.take": "", "a.vtt": ENGLISH, "b.take": "", **{f"b.{one}.vtt": ENGLISH for one in given}})
    chosen = ["--language", language] if language else []
    ran = braid("data", "clips", home, "-o", tmp_path / "c.jsonl", *chosen, "--skipped-rows", tmp_path / "skipped.jsonl")
    assert ran.code == 0
    assert f"{says}\n" in ran.err
    assert f"1 row was skipped; {tmp_path / 'skipped.jsonl'} lists them" in ran.err
    assert len(rows(tmp_path / "c.jsonl")) == 2
    assert braid("data", "clips", home, "-o", tmp_path / "d.jsonl", "--strict", *chosen) == Ran(1, "", f"error: {says}\n")
    assert not (tmp_path / "d.jsonl").exists()


def test_files_find_their_subtitles_whatever_their_names(tmp_path: Path) -> None:
    names = ["Dr. No.mp4.take", "Café.take", "a/1.take", "b/1.take", "my.en.take"]
    texts = ["Dr. No.mp4.take.en.vtt", "Cafe\u0301.de.srt", "a/1.vtt", "b/1.pt-BR.vtt", "my.en.vtt", "lost.vtt", "Dr. No.mp4.vtt"]
    home = folder(tmp_path, dict.fromkeys([*names, *texts], ENGLISH))
    videos, notes = find_videos(home)
    found = {os.path.relpath(one.name, home): sorted(one.subtitles) for one in videos}
    assert found == {"Dr. No.mp4": ["", "en"], "Café": ["de"], "a/1": [""], "b/1": ["pt-BR"], "my.en": [""]}
    assert notes == ["1 file of subtitles without a clip of the same name: lost.vtt"]


def test_webvtt_is_taken_before_subrip(tmp_path: Path) -> None:
    videos, _ = find_videos(folder(tmp_path, {"a.take": "", "a.en.srt": GERMAN, "a.en.vtt": ENGLISH}))
    assert videos[0].subtitles["en"].endswith(".vtt")


def test_subtitles_after_the_end_of_a_video_are_left_out(tmp_path: Path, braid: Braid) -> None:
    home = folder(tmp_path, {"a.take": "", "a.vtt": ENGLISH, "a.info.json": {"duration": 2.0}})
    ran = braid("data", "clips", home, "-o", tmp_path / "c.jsonl")
    assert "a.take: 1 subtitle left out, after the end of the video or too short" in ran.err
    assert [(row["start"], row["end"]) for row in rows(tmp_path / "c.jsonl")] == [(1.0, 2.0)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "a.info.json, line 1, is not JSON"),
        ("[1]", "title, tags and chapters are unknown: "),
        ("\udcff", "a.info.json is not UTF-8 text"),
        ('{"title": 5, "tags": "x", "language": "en"}', "a.info.json: title, tags cannot be read; its clips go without"),
        (
            '{"chapters": [{"title": "x"}], "duration": -1}',
            "chapters, duration cannot be read; its clips go without",
        ),
        ('{"tags": ["a", null]}', "a.info.json: tags cannot be read; its clips go without"),
    ],
)
def test_a_damaged_info_is_told_once_and_rows_go_on(tmp_path: Path, braid: Braid, content: str, says: str) -> None:
    home = folder(tmp_path, {"a.take": "", "a.en.vtt": ENGLISH})
    (home / "a.info.json").write_bytes(content.encode(errors="surrogateescape"))
    ran = braid("data", "clips", home, "-o", tmp_path / "c.jsonl")
    assert ran.code == 0
    assert ran.err.count(says) == 1, ran.err
    assert [(row["title"], row["tags"], row["chapter"]) for row in rows(tmp_path / "c.jsonl")] == [("a", [], "")] * 2


def test_chapters_without_an_end_go_on_to_the_next(tmp_path: Path) -> None:
    chapters = [{"start_time": 5, "title": "two"}, {"start_time": 0, "end_time": None, "title": "one"}]
    (tmp_path / "a.info.json").write_text(json.dumps({"chapters": chapters}))
    info, wrong = read_info(tmp_path / "a.info.json")
    assert [info.about(time, "a")["chapter"] for time in (0.0, 4.9, 5.0, 99.0)] == ["one", "one", "two", "two"]
    assert wrong == ""


def test_a_folder_without_clips_or_subtitles_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none is not a folder; give the folder that holds the clips and their subtitles"):
        find_videos(tmp_path / "none")
    with pytest.raises(UserError, match=r"talks holds no clips; looked for .*\.take"):
        find_videos(folder(tmp_path, {"a.txt": "x"}))


def test_a_folder_of_files_with_subtitles_says_how_to_read_them(tmp_path: Path) -> None:
    dataset = open_dataset(folder(tmp_path, {"a.take": "", "a.en.vtt": ENGLISH}))
    assert dataset.notes == ("1 file passed over: .vtt; braid data clips FOLDER -o clips.jsonl makes rows of subtitles",)

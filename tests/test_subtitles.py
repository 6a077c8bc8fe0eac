"""Subtitles as programs and people write them: each text once, where it is spoken."""

import random
from itertools import pairwise
from pathlib import Path

import pytest

from braid.datasets.clips import merged, parse_subtitles, read_subtitles
from braid.datasets.clips.subtitles import Subtitle
from braid.errors import UserError

Rows = list[tuple[float, float, str]]


def read(folder: Path, content: str | bytes, name: str = "talk.en.vtt") -> Rows:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    subtitles, _ = read_subtitles(folder / name)
    return [(round(one.start, 3), round(one.end, 3), one.text) for one in subtitles]


ONE = [(1.0, 2.5, "hello there")]
ROLLING = """WEBVTT
Kind: captions
Language: en

00:00:00.160 --> 00:00:02.389 align:start position:0%
·
hello<00:00:00.480><c> everyone</c><00:00:00.880><c> and</c>

00:00:02.389 --> 00:00:02.399 align:start position:0%
hello everyone and
·

00:00:02.399 --> 00:00:04.309 align:start position:0%
hello everyone and
welcome<00:00:02.720><c> to</c><00:00:03.120><c> the</c>

00:00:04.309 --> 00:00:04.319 align:start position:0%
welcome to the
·

00:00:04.319 --> 00:00:07.000 align:start position:0%
welcome to the
show
""".replace("·", " ")  # a line with one space, as there is in such files
ODD = {
    "WebVTT": "WEBVTT\n\n00:01.000 --> 00:02.500\nhello there\n",
    "hours": "WEBVTT\n\n00:00:01.000 --> 00:00:02.500\nhello there\n",
    "a title after the name": "WEBVTT - a talk\nKind: captions\n\n00:01.000 --> 00:02.500\nhello there",
    "settings of the place": "WEBVTT\n\n00:01.000 --> 00:02.500 align:start position:0% line:84%\nhello there\n",
    "names of subtitles": "WEBVTT\n\nintro-1\n00:01.000 --> 00:02.500\nhello there\n\n",
    "comments": "WEBVTT\n\nNOTE\n00:05.000 --> 00:06.000\nnot this\n\n00:01.000 --> 00:02.500\nhello there\n\nNOTE nor this\n",
    "styles": "WEBVTT\n\nSTYLE\n::cue { color: red }\n\nREGION\nid:a\n\n00:01.000 --> 00:02.500\nhello there\n",
    "a time stamp of a stream": "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:9\n\n00:01.000 --> 00:02.500\nhello there\n",
    "tags": "WEBVTT\n\n00:01.000 --> 00:02.500\n<v Ann Lee><c.yellow.bg_blue>hello</c> <i>there</i></v>\n",
    "times of words": "WEBVTT\n\n00:01.000 --> 00:02.500\nhello<00:00:01.500><c> there</c>\n",
    "a byte order mark": "\ufeffWEBVTT\n\n00:01.000 --> 00:02.500\nhello there\n",
    "UTF-16": "\ufeffWEBVTT\n\n00:01.000 --> 00:02.500\nhello there\n".encode("utf-16-le"),
    "lines of Windows": "WEBVTT\r\n\r\n00:01.000 --> 00:02.500\r\nhello there\r\n",
    "lines of an old Mac": "WEBVTT\r\r00:01.000 --> 00:02.500\rhello there\r",
    "SubRip": "1\n00:00:01,000 --> 00:00:02,500\nhello there\n\n",
    "SubRip with points": "1\n00:00:01.000 --> 00:00:02.500\nhello there\n",
    "SubRip without numbers": "00:00:01,000 --> 00:00:02,500\nhello there\n",
    "SubRip with places": '1\n00:00:01,000 --> 00:00:02,500 X1:1 X2:2\n{\\an8}hello <font color="#fff">there</font>\n',
    "an arrow without spaces": "1\n00:00:01,000-->00:00:02,500\nhello there\n",
    "short digits": "1\n0:0:1,0 --> 0:0:2,5\nhello there\n",
    "an empty line inside": "1\n00:00:01,000 --> 00:00:02,500\nhello\n\nthere\n",
    "a break": "1\n00:00:01,000 --> 00:00:02,500\nhello<br/>there\n",
    "spaces that are none": "WEBVTT\n\n00:01.000 --> 00:02.500\n  hello&nbsp; \u200bthere \n",
    "a number at the end, and nothing": "1\n00:00:01,000 --> 00:00:02,500\nhello there\n\n2\n00:00:03,000 --> 00:00:04,000\n\n",
    "no name of the format": "00:01.000 --> 00:02.500\nhello there\n",
}


@pytest.mark.parametrize("what", ODD)
def test_odd_files_say_what_they_say(tmp_path: Path, what: str) -> None:
    assert read(tmp_path, ODD[what]) == ONE


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("I &lt;3 you &amp; me", "I <3 you & me"),
        ("I <3 you, 2 > 1", "I <3 you, 2 > 1"),
        ("&gt;&gt; ANN: hi", ">> ANN: hi"),
        ("&amp;lt;i&amp;gt;", "&lt;i&gt;"),
        ("<b>b</b>ig <u>deal</U>", "big deal"),
        ("{see} a-->b", "{see} a-->b"),
        ("<ruby>漢<rt>kan</rt></ruby>", "漢kan"),
        ("<cat> sits", "<cat> sits"),
        ("¿qué? ♪ la ♪", "¿qué? ♪ la ♪"),
    ],
)
def test_signs_stay_and_tags_go(tmp_path: Path, written: str, said: str) -> None:
    assert read(tmp_path, f"1\n00:00:01,000 --> 00:00:02,000\n{written}\n", "talk.srt") == [(1.0, 2.0, said)]


def test_rolling_subtitles_say_each_word_once(tmp_path: Path) -> None:
    rows = [(0.16, 2.399, "hello everyone and"), (2.399, 4.319, "welcome to the"), (4.319, 7.0, "show")]
    assert read(tmp_path, ROLLING) == rows


def test_rolling_subtitles_that_became_subrip_say_each_word_once(tmp_path: Path) -> None:
    content = """1
00:00:00,160 --> 00:00:02,389
hello everyone and

2
00:00:02,389 --> 00:00:02,399
hello everyone and

3
00:00:02,399 --> 00:00:04,309
hello everyone and
welcome to the

4
00:00:04,309 --> 00:00:06,000
welcome to the
show
"""
    assert [text for _, _, text in read(tmp_path, content, "talk.srt")] == ["hello everyone and", "welcome to the", "show"]


def test_a_line_that_grows_says_each_word_once(tmp_path: Path) -> None:
    lines = ["so", "so this", "so this is", "this is it now", "and more"]
    content = "".join(f"{k}\n00:00:0{k},000 --> 00:00:0{k + 1},000\n{text}\n\n" for k, text in enumerate(lines))
    assert read(tmp_path, content, "talk.srt") == [
        (0.0, 1.0, "so"),
        (1.0, 2.0, "this"),
        (2.0, 3.0, "is"),
        (3.0, 4.0, "this is it now"),
        (4.0, 5.0, "and more"),
    ]


def test_three_words_that_two_lines_share_are_said_once() -> None:
    rows = merged([Subtitle(0.0, 2.0, ("a b c d",)), Subtitle(2.0, 4.0, ("b c d e f",)), Subtitle(9.0, 10.0, ("d e f g",))])
    assert [one.text for one in rows] == ["a b c d", "e f", "d e f g"]


def test_what_is_said_again_after_a_pause_stays() -> None:
    rows = merged([Subtitle(0.0, 1.0, ("no",)), Subtitle(2.0, 3.0, ("no",)), Subtitle(3.0, 4.0, ("not now",))])
    assert [one.text for one in rows] == ["no", "no", "not now"]


def test_subtitles_that_overlap_end_where_the_next_begins(tmp_path: Path) -> None:
    content = "WEBVTT\n\n00:00.000 --> 00:04.000\nfirst line\n\n00:02.000 --> 00:06.000\nsecond line\n"
    assert read(tmp_path, content) == [(0.0, 2.0, "first line"), (2.0, 6.0, "second line")]


def test_two_that_begin_together_are_one(tmp_path: Path) -> None:
    content = "WEBVTT\n\n00:01.000 --> 00:03.000\n- who?\n\n00:01.100 --> 00:04.000\n- me\n"
    assert read(tmp_path, content) == [(1.0, 4.0, "- who? - me")]


def test_subtitles_in_disorder_are_sorted(tmp_path: Path) -> None:
    content = "2\n00:00:05,000 --> 00:00:06,000\nlater\n\n1\n00:00:01,000 --> 00:00:02,000\nearlier\n"
    assert [text for _, _, text in read(tmp_path, content, "talk.srt")] == ["earlier", "later"]


def test_a_missing_empty_line_ends_no_subtitle(tmp_path: Path) -> None:
    content = "1\n00:00:01,000 --> 00:00:02,000\none\n2\n00:00:03,000 --> 00:00:04,000\ntwo\n"
    assert read(tmp_path, content, "talk.srt") == [(1.0, 2.0, "one"), (3.0, 4.0, "two")]
    assert read(tmp_path, f"WEBVTT\n\n{content}") == [(1.0, 2.0, "one"), (3.0, 4.0, "two")]


def test_a_text_that_is_a_number_stays(tmp_path: Path) -> None:
    content = "1\n00:00:01,000 --> 00:00:02,000\n42\n\n2\n00:00:03,000 --> 00:00:04,000\n43\n"
    assert [text for _, _, text in read(tmp_path, content, "talk.srt")] == ["42", "43"]


def test_odd_times_are_left_out_and_told(tmp_path: Path) -> None:
    content = (
        "1\n00:00:01,000 --> 00:00:02,000\none\n\n2\n00:00:0x,000 --> 00:00:04,000\ntwo\n\n"
        "3\n00:00:06,000 --> 00:00:05,000\nthree\n\n4\n00:00:07,000 --> 00:00:07,000\nfour\n"
    )
    (tmp_path / "talk.srt").write_text(content)
    subtitles, note = read_subtitles(tmp_path / "talk.srt")
    assert [one.text for one in subtitles] == ["one"]
    assert note == "talk.srt: 3 of 4 subtitles are left out, because their times are odd (line 6)"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "has no subtitles"),
        (b"WEBVTT\n\n", "has no subtitles"),
        (b"just a text\nof two lines\n", "has no subtitles"),
        (b"1\n00:00:01,000 --> 00:00:02,000\ncaf\xe9\n", r"is not UTF-8 text \(line 3, byte 35\); save it as UTF-8"),
        (b"PK\x03\x04" + b"\0" * 99, "."),
        (b"\0" * 99, "."),
        (b"<!DOCTYPE html><html>no</html>", "."),
    ],
)
def test_what_is_no_subtitles_is_told_with_the_files_name(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "talk.srt").write_bytes(content)
    with pytest.raises(UserError, match=f"talk.srt .*{reason}"):
        read_subtitles(tmp_path / "talk.srt")


JUNK = ("", "\n", "\n\n", "-->", "<", ">", "&", ":", ".", "1", "9" * 30, "\0", "٣", "NOTE", " ")


def test_damaged_files_end_in_subtitles_or_in_a_message() -> None:
    rng = random.Random(0)
    for _ in range(300):
        content = list(ROLLING)
        for _ in range(rng.randint(1, 30)):
            place = rng.randrange(len(content))
            content[place] = rng.choice((*JUNK, content[place] * 3))
        subtitles, _ = parse_subtitles("".join(content).split("\n"))
        rows = merged(subtitles)
        assert all(one.start < one.end for one in rows)
        assert all(one.end <= other.start for one, other in pairwise(rows))


def test_a_long_file_is_read_in_a_moment() -> None:
    lines = ["WEBVTT", ""] + ["00:01.000 --> 00:02.000", "<" * 300 + "a " * 300] * 3000
    subtitles, _ = parse_subtitles(lines)
    assert len(merged(subtitles)) == 1

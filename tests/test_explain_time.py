"""Explanations over time: heat on an axis of seconds, and the pointing game in time."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import variants
from braid.collate import Collator
from braid.decoders import ClassesDecoderConfig
from braid.errors import UserError
from braid.explain import Explanation
from braid.explain.attributions import InputAttribution
from braid.explain.over_time import heat_over_time, of_moments, points_in_time, strongest_moment, ticks, time_names
from braid.explain.ranking import rank_methods
from braid.modalities import AudioModalityConfig, LabelsModalityConfig, TextModalityConfig
from braid.presets import tiny
from braid.records import Example, View
from braid.runtime.torch import TorchRuntime
from braid.tasks import VisualQuestionAnswering
from heard import RATE, HeardEncoderConfig, tone

TIMES = np.array([[10.0, 11.0], [11.0, 12.0], [12.0, 14.0]])
SCORES = np.array([[0.1, 0.8, -0.4], [1.0, 0.0, 0.0]])


def sound(image: bool = True) -> InputAttribution:
    waveform = np.random.default_rng(0).integers(0, 255, (60, 240, 3), np.uint8) if image else None
    view = View("dog.wav", media=b"RIFF", media_type="audio/wav")
    return InputAttribution("audio", time_names(TIMES), SCORES, None, waveform, "seconds", view, TIMES)


def clip() -> InputAttribution:
    """Two frames side by side, two places in each."""
    boxes = np.array([[0, 0, 0.25, 1], [0.25, 0, 0.5, 1], [0.5, 0, 0.75, 1], [0.75, 0, 1, 1]])
    times = np.array([[0.0, 2.0], [0.0, 2.0], [2.0, 4.0], [2.0, 4.0]])
    pixels = np.full((40, 80, 3), 128, np.uint8)
    values = np.array([[0.5, 0.6, 0.7, 0.0], [0.0, 0.0, 0.0, 0.2]])
    return InputAttribution("video", time_names(times), values, boxes, pixels, "moments", times=times)


def explanation(*inputs: InputAttribution) -> Explanation:
    words = ("dog", "barks")
    contributions = np.full((2, len(inputs)), 0.4)
    return Explanation("occlusion", "dog barks", 0.9, words, np.array([0.9, 0.8]), inputs, contributions)


def test_heat_lies_where_the_seconds_are() -> None:
    heat = heat_over_time(sound(), 0)
    assert heat.shape == (1, 4)  # four seconds, as fine as the shortest span
    assert heat[0] / heat[0].max() == pytest.approx([0.125, 1.0, -0.25, -0.25])  # per second
    assert strongest_moment(sound(), 0) == "11-12 s" and strongest_moment(sound(), 1) == "10-11 s"


def test_places_of_one_frame_are_one_moment() -> None:
    moments, sums = of_moments(np.asarray(clip().times), clip().values)
    assert moments.tolist() == [[0, 2], [2, 4]]
    np.testing.assert_allclose(sums, [[1.1, 0.7], [0.0, 0.2]])
    assert strongest_moment(clip(), 0) == "0-2 s"  # though the strongest place is in the other frame


@pytest.mark.parametrize(
    ("known", "hit"),
    [((11.2, 11.9), True), ((11.0, 12.0), True), ((9.0, 11.6), True), ((9.0, 11.4), False), ((12.0, 14.0), False)],
)
def test_an_explanation_points_at_a_moment(known: tuple[float, float], hit: bool) -> None:
    assert points_in_time(TIMES, SCORES[0], known) is hit
    assert not points_in_time(TIMES[:0], SCORES[0][:0], known)


@pytest.mark.parametrize(
    ("first", "last", "names"),
    [
        (0.0, 4.0, ["0 s", "1 s", "2 s", "3 s", "4 s"]),
        (10.0, 14.0, ["10 s", "11 s", "12 s", "13 s", "14 s"]),
        (0.3, 1.1, ["0.4 s", "0.6 s", "0.8 s", "1 s"]),
        (0.0, 600.0, ["0 s", "200 s", "400 s", "600 s"]),
        (0.0, 0.02, ["0 s", "0.005 s", "0.01 s", "0.015 s", "0.02 s"]),
    ],
)
def test_an_axis_has_round_seconds(first: float, last: float, names: list[str]) -> None:
    marks = ticks(first, last)
    assert [name for _, name in marks] == names
    assert all(-1e-6 <= place <= 1 + 1e-6 for place, _ in marks)


def test_the_page_plays_the_recording_and_names_the_seconds(tmp_path: Path) -> None:
    page = explanation(sound(), clip())._repr_html_()
    assert page.count("<audio controls src=") == 1 and "media-src data:" in page
    assert "when the audio speaks for dog, most at 11-12 s" in page and "when the video speaks for barks, most at 2-4 s" in page
    assert page.count('class="strip"') == 4 and page.count('class="axis"') == 6
    assert re.search(r'<span style="left:50.0%;transform:translateX\(-50%\)">12 s</span>', page)
    bare = explanation(replace(sound(), image=None))._repr_html_()
    assert bare.count('class="strip"') == 2 and "<audio" in bare
    explanation(sound(), clip()).save(tmp_path / "why.png")
    explanation(sound(image=False)).save(tmp_path / "bare.png")
    with Image.open(tmp_path / "why.png") as image:
        assert len(image.convert("RGB").getcolors(1 << 20) or []) > 50


def test_the_numbers_have_the_times() -> None:
    told = explanation(sound(), clip()).to_dict()["inputs"]
    assert told["audio"] == {"times": TIMES.tolist()}
    assert set(told["video"]) == {"boxes", "times"} and len(told["video"]["times"]) == 4


def test_an_input_without_a_unit_shows_an_empty_strip() -> None:
    empty = InputAttribution("audio", (), np.zeros((2, 0)), None, None, "seconds", View("silence"), np.zeros((0, 2)))
    assert explanation(empty)._repr_html_().count('class="strip"') == 2


def test_methods_are_ranked_by_the_moments_that_they_point_at() -> None:
    """Only right answers are graded. A known moment that is the whole recording is always hit; one after its end, never."""
    inputs = {"prompt": TextModalityConfig(max_length=8).build(variants.tokenizer()), "audio": AudioModalityConfig().build()}
    outputs = {"answer": LabelsModalityConfig(labels=("high", "low")).build()}
    encoders = {"prompt": tiny().encoders["prompt"], "audio": HeardEncoderConfig()}
    torch.manual_seed(0)
    model = replace(tiny(), encoders=encoders, decoders={"answer": ClassesDecoderConfig(dropout=0.0)}).build(inputs, outputs)
    runtime, collator, task = TorchRuntime(model.eval(), None), Collator(inputs, outputs), VisualQuestionAnswering(closed=True)

    def rows(moment: tuple[float, float], answer: str) -> list[Example]:
        fields = {"question": "what is it?", "answers": (answer,), "moment": moment}
        return [Example(str(k), {"audio": (tone(1.0, 300.0 * k), RATE), **fields}) for k in (1, 2)]

    samples = [task.prepare(row) for row in rows((0, 1), "high")]
    said = [one.text or "" for one in task.predict(runtime, collator(samples).batch)]
    assert said[0] == said[1]
    hit = rank_methods(runtime, collator, task, rows((0.0, 1.0), said[0]), ["occlusion"])
    assert hit.num_rows == hit.num_words == 2 and {one.pointing for one in hit.grades} == {100.0}
    missed = rank_methods(runtime, collator, task, rows((2.0, 3.0), said[0]), ["occlusion"])
    assert {one.pointing for one in missed.grades} == {0.0}
    other = "low" if said[0] == "high" else "high"
    with pytest.raises(UserError, match="no row has anything to grade"):
        rank_methods(runtime, collator, task, rows((0.0, 1.0), other), ["occlusion"])

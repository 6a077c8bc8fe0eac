"""Answers to questions: equal to the official code, and by hand where that says nothing."""

import json
from pathlib import Path

import pytest

from braid.metrics import exact_match, normalised_answer, score_answers, vqa_accuracy


def test_answers_are_normalised_as_by_the_official_code(shared_data: Path) -> None:
    cases = json.loads((shared_data / "metric-reference" / "vqa" / "answer_normalisation.json").read_text())
    assert len(cases) == 102
    assert {case["raw"]: normalised_answer(case["raw"]) for case in cases} == {case["raw"]: case["normalised"] for case in cases}


def test_accuracy_is_the_official_one(shared_data: Path) -> None:
    whole = json.loads((shared_data / "metric-reference" / "vqa" / "accuracy_cases.json").read_text())
    predictions, answers = zip(*((case["prediction"], case["answers"]) for case in whole["cases"]), strict=True)
    result = score_answers(predictions, answers)
    assert result.per_sample[:, 1].tolist() == pytest.approx([case["accuracy_percent"] for case in whole["cases"]], abs=0.005)
    assert result.metrics["vqa-accuracy"] == pytest.approx(whole["overall"], abs=0.005)
    assert result.metrics["num_samples"] == 150


@pytest.mark.parametrize(
    ("raw", "normalised"),
    [
        ("Couldnt've\nbeen a man", "couldn't've been man"),
        ("yalld've", "yalld've"),  # lacks two apostrophes
        ("somebody'd", "somebodyd"),
        ("twas the 3.5, or 1,000 men", "'twas 3.5 or 1000 men"),
        ("one-two", "1 2"),
        ("one - two-three", "1 twothree"),  # a mark beside a space anywhere is gone everywhere
        ("", ""),
    ],
)
def test_normalisation_by_hand(raw: str, normalised: str) -> None:
    assert normalised_answer(raw) == normalised


@pytest.mark.parametrize("matches", range(11))
def test_three_of_ten_people_are_enough(matches: int) -> None:
    """Left out: one who said it (matches - 1 remain) or one who did not (all remain)."""
    answers = ["red"] * matches + ["blue"] * (10 - matches)
    by_hand = {0: 0, 1: 0.3, 2: 0.6, 3: 0.9}.get(matches, 1)
    assert vqa_accuracy("red", answers) == pytest.approx(by_hand)


def test_few_people_count_as_the_share_of_them() -> None:
    assert (vqa_accuracy("The two", ["2"]), vqa_accuracy("three", ["2"])) == (1, 0)
    assert vqa_accuracy("red", ["red", "blue"]) == pytest.approx(1 / 2)
    assert vqa_accuracy("red", ["red", "blue", "red"]) == pytest.approx(2 / 3)
    assert vqa_accuracy("red", ["red", "blue", "grey", "green"]) == pytest.approx(1 / 4)
    assert vqa_accuracy("red", ["red", "Red", "the red"]) == pytest.approx(1)
    assert vqa_accuracy("red", ["red", "red", "red", "red", "blue"]) == pytest.approx(1)


def test_an_answer_that_all_gave_alike_is_compared_as_it_is_written() -> None:
    assert (vqa_accuracy("dogs", ["dogs"] * 10), vqa_accuracy("The dogs", ["dogs"] * 10)) == (1, 0)
    assert vqa_accuracy("The dogs", ["dogs"] * 9 + ["cat"]) == 1


def test_a_comma_list_is_a_set() -> None:
    answer = ["lamp, photo, tape_dispenser"]
    assert exact_match(" Photo,tape_dispenser , lamp,lamp", answer)
    assert not exact_match("lamp, photo", answer)
    assert not exact_match("lamp, photo, tape_dispenser, bed", answer)
    assert exact_match("grey", ["gray", "Grey"])
    assert exact_match("light  blue", ["light blue"])
    assert not exact_match("", ["blue"])


def test_metrics_by_type_of_answer() -> None:
    answers = [["yes"], ["2"], ["no"], ["red, blue"]]
    result = score_answers(["yes", "two", "yes", "blue, red"], answers)
    assert result.metrics == {"accuracy": 50.0, "vqa-accuracy": 50.0, "num_samples": 4.0}
    assert result.by_type(["yes/no", "number", "yes/no", "other"]) == {
        "yes/no": {"accuracy": 50.0, "vqa-accuracy": 50.0, "num_samples": 2.0},
        "number": {"accuracy": 0.0, "vqa-accuracy": 100.0, "num_samples": 1.0},
        "other": {"accuracy": 100.0, "vqa-accuracy": 0.0, "num_samples": 1.0},
    }
    low, high = result.intervals["accuracy"]
    assert low == 0
    assert high == 100

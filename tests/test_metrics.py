"""The metrics against the official scorers' own output, and on cases small enough to do by hand."""

import json
import math
import random
import re
import unicodedata
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braid.errors import UserError
from braid.metrics import (
    caption_diversity,
    caption_remarks,
    chosen_tokenizer,
    exact_match,
    expected_calibration_error,
    fit_calibration,
    reliability,
    score_captions,
    tokenizer_named,
    vqa_accuracy,
)
from braid.metrics.captions import aligned, longest_common, meteor

WORDS = st.lists(
    st.sampled_from(["a", "dog", "cat", "runs", "sits", "on", "the", "grass", "red", "ball"]), min_size=5, max_size=12
).map(" ".join)


def test_both_ciders_equal_the_official_scores_item_by_item(shared_data: Path) -> None:
    """coco-caption prints CIDEr-D as CIDEr, and so does Braid; the unclipped figure is named after its year."""
    folder = shared_data / "metric-reference" / "cider"

    def plain(text: str) -> str:
        return " ".join(re.sub(r"[^a-z0-9' ]", " ", text.lower()).split())

    candidates = json.loads((folder / "abstract_candsB.json").read_text())
    references: dict[str, list[str]] = {}
    for row in json.loads((folder / "abstract48S.json").read_text()):
        references.setdefault(row["image_id"], []).append(plain(row["caption"]))
    predictions = {str(number): plain(row["caption"]) for number, row in enumerate(candidates)}  # two rows a picture
    given = {str(number): references[row["image_id"]] for number, row in enumerate(candidates)}
    result = score_captions(predictions, given, tokenizer="none")
    for name, official in (("cider", "ciderD"), ("cider-2015", "cider")):
        expected = json.loads((folder / f"scores_{official}_abstract_candsB.json").read_text())
        assert result.metrics[name] == pytest.approx(100 * expected["score"], abs=1e-4), name
        ours = [item[name] for item in result.per_sample.values()]
        assert ours == pytest.approx([100 * score for score in expected["per_item"]], abs=1e-4), name


@settings(deadline=None)
@given(candidate=WORDS, references=st.lists(WORDS, min_size=1, max_size=6))
def test_meteor_is_the_best_over_the_references(candidate: str, references: list[str]) -> None:
    words = [text.split() for text in references]
    assert meteor(candidate.split(), words) == max(meteor(candidate.split(), [one]) for one in words)


def test_bleu_rouge_and_cider_equal_the_official_scores(shared_data: Path) -> None:
    folder = shared_data / "metric-reference" / "nlg-eval"
    hypotheses, first, second = ((folder / name).read_text().split("\n")[:2] for name in ("hyp.txt", "ref1.txt", "ref2.txt"))
    expected = json.loads((folder / "expected.json").read_text())
    references = {str(row): list(texts) for row, texts in enumerate(zip(first, second, strict=True))}
    figures = score_captions({str(row): text for row, text in enumerate(hypotheses)}, references, "none").metrics
    for name, value in expected.items():
        if (ours := name.lower()) in figures:
            assert figures[ours] / 100 == pytest.approx(value, abs=1e-4), name


def test_words_of_the_penn_treebank_kind() -> None:
    cases = {
        "A dog doesn't run.": "a dog does n't run",
        "The boy's t-shirt, size 3.5!": "the boy 's t-shirt size 3.5",
        'He said "stop" - twice...': "he said stop twice",
        "Mr. Smith (left) of the U.S. team": "mr. smith -lrb- left -rrb- of the u.s. team",
        "They cannot; we'll see": "they can not we 'll see",
        "1,000 people at 5:30": "1,000 people at 5:30",
        "": "",
    }
    for text, expected in cases.items():
        assert " ".join(tokenizer_named("ptb")(text)) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("कुत्ता दौड़ता है", ["कुत्ता", "दौड़ता", "है"]),
        ("كَلْبٌ يَجْرِي", ["كَلْبٌ", "يَجْرِي"]),
        ("un cafe\u0301 noir", ["un", "café", "noir"]),
        ("\ufeffa dog\u200b runs\u200bfast", ["a", "dog", "runs", "fast"]),
        ("می\u200cخواهم", ["میخواهم"]),
        ("l\u2019e\u0301te\u0301 d'A\u030arhus, 3,5 km", ["l'été", "d'århus", "3,5", "km"]),
        ("a \u2764\ufe0f dog", ["a", "\u2764", "dog"]),
        ("İstanbul", ["i\u0307stanbul"]),
    ],
)
def test_a_mark_belongs_to_its_letter_and_what_nobody_sees_is_no_word(text: str, words: list[str]) -> None:
    assert tokenizer_named("ptb")(text) == [unicodedata.normalize("NFC", word) for word in words]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("สุนัขวิ่ง", ["สุ", "นั", "ข", "วิ่", "ง"]),
        ("ໝາແລ່ນ", ["ໝ", "າ", "ແ", "ລ່", "ນ"]),
        ("ខ្មែរ", ["ខ្", "មែ", "រ"]),
        ("ခွေး", ["ခွေး"]),
        ("が か\u3099", ["が", "が"]),
    ],
)
def test_scripts_without_spaces_are_split_at_characters_with_their_marks(text: str, tokens: list[str]) -> None:
    assert chosen_tokenizer("auto", [text]) == "characters"
    assert tokenizer_named("characters")(text) == tokens


def test_other_scripts_are_scored_by_words() -> None:
    """One of three words is the same, of two captions in Hindi; accents written in two ways are the same."""
    scores = score_captions({"1": "कुत्ता दौड़ता है", "2": "b"}, {"1": ["बिल्ली सोती है"], "2": ["b"]}).per_sample["1"]
    assert scores["bleu-1"] == pytest.approx(100 / 3, abs=1e-3)
    same = score_captions({"1": "un cafe\u0301", "2": "a"}, {"1": ["un caf\u00e9"], "2": ["b"]}).per_sample["1"]
    assert same["rouge-l"] == pytest.approx(100)
    assert exact_match("cafe\u0301", ["caf\u00e9"]) and vqa_accuracy("cafe\u0301", ["caf\u00e9"]) == 1


def test_what_caption_metrics_cannot_say_is_told() -> None:
    cider = "because it weighs words by how rare they are"
    assert caption_remarks([["a dog runs", "a dog"]]) == [f"cider is 0 for all captions of a single item, {cider}"]
    assert caption_remarks([["a dog"], ["a dog"]]) == [
        f"cider is 0 for all captions of 2 items with the same references, {cider}"
    ]
    assert score_captions({"1": "a dog", "2": "a dog"}, {"1": ["a dog"], "2": ["a dog"]}).metrics["cider"] == 0
    assert caption_remarks([["a dog"], ["a cat"]]) == []
    chinese = [["一只狗在跑"], ["两个人"]]
    assert caption_remarks(chinese) == caption_remarks(chinese, "characters") == []
    spaces = "most references have no spaces, and ptb takes each as one word; use --tokenizer characters"
    assert caption_remarks(chinese, "ptb") == [spaces]
    assert caption_remarks([["一只 狗 在 跑"], ["两个 人"]], "ptb") == []


def test_chinese_is_scored_by_characters() -> None:
    assert tokenizer_named("characters")("一只 狗") == ["一", "只", "狗"]
    figures = score_captions({"1": "一只狗在跑"}, {"1": ["一只狗在跑"]}, "characters").metrics
    assert figures["bleu-4"] == pytest.approx(100, abs=1e-3)


def test_by_hand() -> None:
    assert longest_common(["a", "b", "c", "d"], ["a", "x", "c", "d"]) == 3
    assert aligned(["the", "dogs", "run"], ["run", "the", "dog"]) == (3, 2)
    figures = score_captions({"1": "a dog"}, {"1": ["a dog runs far"]}, "none").metrics
    assert figures["bleu-1"] == pytest.approx(100 * math.exp(-1), abs=1e-4)
    assert figures["rouge-l"] == pytest.approx(100 * (1 + 1.44) * 0.5 / (0.5 + 1.44), abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.lists(WORDS, min_size=3, max_size=6, unique=True), st.randoms())
def test_perfect_is_100_and_order_does_not_matter(texts: list[str], random: object) -> None:
    references = {str(row): [text] for row, text in enumerate(texts)}
    figures = score_captions({key: text[0] for key, text in references.items()}, references).metrics
    assert figures["bleu-4"] == pytest.approx(100, abs=1e-3)
    assert figures["rouge-l"] == pytest.approx(100)
    turned = {key: references[key] for key in reversed(references)}
    other = score_captions({key: text[0] for key, text in turned.items()}, turned).metrics
    assert other == pytest.approx(figures)


def test_intervals_hold_the_figure() -> None:
    texts = ["a dog runs on the grass", "a cat sits on a mat", "two men play ball", "a red bus stops here", "a man eats an apple"]
    references = {str(row): [text, "a man walks on the grass"] for row, text in enumerate(texts)}
    scores = score_captions({str(row): text.replace("a ", "the ") for row, text in enumerate(texts)}, references)
    for name, (low, high) in scores.intervals.items():
        assert low <= scores.metrics[name] <= high
        assert low < high


def test_an_empty_prediction_scores_nothing() -> None:
    metrics = score_captions({"1": "", "2": "a dog"}, {"1": ["a dog"], "2": ["a dog"]}).per_sample["1"]
    assert all(value < 1e-3 for value in metrics.values())


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        ({}, {}, "there are no predictions to score"),
        ({"1": "a", "2": "b"}, {"1": ["a"]}, "ids with no references: 1, first '2'; give both for the same ids"),
        ({"1": "a"}, {"1": ["a"], "2": ["b"]}, "ids with no prediction: 1, first '2'; give both for the same ids"),
        ({"1": "a"}, {"1": []}, "the references of '1' are []; give a list of at least one text"),
    ],
)
def test_what_cannot_be_scored_is_told(predictions: dict[str, str], references: dict[str, list[str]], message: str) -> None:
    with pytest.raises(UserError) as caught:
        score_captions(predictions, references)
    assert str(caught.value) == message
    with pytest.raises(
        UserError, match="there is no tokenizer 'ptp'; choose from auto, characters, none, ptb .did you mean 'ptb'"
    ):
        score_captions({"1": "a"}, {"1": ["a"]}, "ptp")


@pytest.mark.parametrize(
    ("texts", "tokenizer"),
    [
        (["a dog runs", "two dogs"], "ptb"),
        (["一只狗在草地上奔跑", "两只狗 iPhone"], "characters"),
        (["犬が走っている"], "characters"),
        (["สุนัขวิ่งบนหญ้า"], "characters"),
        (["कुत्ता दौड़ता है"], "ptb"),
        (["the sign says 北京", "a red car on a road"], "ptb"),
        (["123", ""], "ptb"),
    ],
)
def test_the_language_of_the_references_chooses_the_tokenizer(texts: list[str], tokenizer: str) -> None:
    assert chosen_tokenizer("auto", texts) == tokenizer
    assert chosen_tokenizer("none", texts) == "none"


def test_chinese_captions_are_scored_by_characters() -> None:
    """The tokenizer ptb finds no word in them, so that every metric was 0."""
    truth = {"1": ["一只狗在草地上奔跑"], "2": ["两个人在海边散步"]}
    guesses = {"1": "一只狗在草地上", "2": "两个人在散步"}
    metrics = score_captions(guesses, truth).metrics
    assert metrics == score_captions(guesses, truth, "characters").metrics and metrics["bleu-4"] > 30
    assert caption_diversity(list(guesses.values()))["distinct-1"] > 50


def test_a_fitted_confidence_is_the_chance_of_being_right() -> None:
    """Outcomes drawn from a known curve: the fit finds it, and its error is a fraction of the raw confidence's."""
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 0.95, 4000)
    truth = 1 / (1 + np.exp(-(3 * np.log(sure / (1 - sure)) - 4.5)))
    scores = np.where(rng.random(4000) < truth, 2.0, 0.0)  # fewer than half are good, so the median is 0
    calibration = fit_calibration(sure.tolist(), scores.tolist())
    assert calibration.threshold == 0
    assert calibration.slope == pytest.approx(3, abs=0.3)
    good = (scores > calibration.threshold).tolist()
    bins = reliability([calibration.probability(one) for one in sure], good)
    assert sum(one.count for one in bins) == 4000
    assert expected_calibration_error(bins) < 0.02 < expected_calibration_error(reliability(sure.tolist(), good))
    with pytest.raises(UserError) as caught:
        fit_calibration([0.5] * 30, [1.0] * 30)
    assert str(caught.value) == (
        "30 rows, 0 of them better than the median, are too few to fit a confidence on; give 20 or more that differ"
    )


def test_ece_by_hand() -> None:
    bins = reliability([0.05, 0.05, 0.95, 1.0], [False, True, True, True])
    assert [(one.low, one.count, one.accuracy) for one in bins] == [(0.0, 2, 0.5), (0.9, 2, 1.0)]
    assert expected_calibration_error(bins) == pytest.approx((2 * 0.45 + 2 * 0.025) / 4)


def test_diversity_by_hand() -> None:
    result = caption_diversity(["a dog runs", "a dog runs.", "a cat"], ["A dog runs", "a bird"])
    assert result == pytest.approx({"distinct-1": 50.0, "distinct-2": 60.0, "different": 200 / 3, "novel": 100 / 3})
    assert "novel" not in caption_diversity(["a dog"])


def test_the_longest_runs_are_linked_first() -> None:
    """Against the definition: look for the longest free run again and again, which takes time that grows with the cube."""

    def by_definition(own: list[str], other: list[str]) -> dict[int, int]:
        links: dict[int, int] = {}
        while True:
            best = (0, 0, 0)
            for i, j in product(range(len(own)), range(len(other))):
                length = 0
                while (
                    min(i, j) >= length
                    and own[i - length] == other[j - length]
                    and i - length not in links
                    and j - length not in links.values()
                ):
                    length += 1
                best = max(best, (length, -i, -j))
            if not best[0]:
                return links
            links |= {-best[1] - k: -best[2] - k for k in range(best[0])}

    rng = random.Random(0)
    for _ in range(300):
        one, other = ([rng.choice("abcd") for _ in range(rng.randrange(9))] for _ in range(2))
        expected = sorted(by_definition(one, other).items())
        breaks = sum((b[0] - a[0], b[1] - a[1]) != (1, 1) for a, b in pairwise(expected))
        assert aligned(one, other) == (len(expected), breaks + bool(expected)), (one, other)


@pytest.mark.parametrize("words", [[f"w{k}" for k in range(3000)], ["a"] * 300])
def test_meteor_of_long_texts_takes_no_time_that_grows_with_the_cube(words: list[str]) -> None:
    assert 0 < meteor(words[::-1], [words]) <= 1

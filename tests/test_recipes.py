"""The scripts of the recipes: what they make of captions."""

import json
import random
from pathlib import Path

import pytest
import torch

from braid.recipes.small import ask_in_chinese, ask_what, everyday, imagenet_labels
from braid.recipes.small.in_chinese import captions_in_chinese, in_chinese


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("A brown dog laying on top of a couch in a home.", "一只棕色的狗躺在沙发上"),
        ("Two women are playing tennis on a tennis court.", "两个女人在网球场上打网球"),
        ("A man riding a skateboard up a ramp", "一个男人玩滑板"),
        ("a plate of food sits on a wooden table", "桌子上有一盘食物"),
        ("Several giraffes standing in a grassy field.", "几只长颈鹿站在草地上"),
        ("a man holding an umbrella", "一个男人打着伞"),
        ("a red bus", "一辆红色的公共汽车"),
        ("Bunches of bananas are piled up at a market", ""),
    ],
)
def test_an_english_caption_of_a_known_pattern_is_said_in_chinese(english: str, chinese: str) -> None:
    assert in_chinese(english) == chinese


def test_a_photo_gets_different_captions_and_the_longest_first() -> None:
    made = captions_in_chinese(["A cat.", "a cat sitting on a bed", "a cat sits on the bed", "What a mess!"])
    assert made == ["一只猫坐在床上", "一只猫"]


def test_chinese_captions_are_asked_about() -> None:
    captions = ["一只黑狗在草地上奔跑。", "草地上的一只黑色的狗。", "奔跑的狗。"]
    asked = {pair for seed in range(40) for pair in ask_in_chinese.questions(captions, {}, random.Random(seed))}
    assert {("狗是什么颜色的？", "黑色"), ("狗在做什么？", "奔跑"), ("狗在哪里？", "草地上"), ("图片里有几只狗？", "1")} <= asked
    assert ("图片里有狗吗？", "有") in asked
    assert ("图片里有狗吗？", "没有") not in asked


def test_the_table_of_everyday_photos_keeps_val_photos_to_captions_by_people(tmp_path: Path) -> None:
    for name, language in everyday.SOURCES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        captions = ["一只猫在床上。"] * 5 if language == "zh" else ["a cat sitting on a bed"] * (1 if "cocoqa" in name else 5)
        rows = [{"image": f"{split}.jpg", "split": split, "captions": captions} for split in ("train", "val", "unassigned")]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = tmp_path / everyday.QUESTIONS
    asked.parent.mkdir()
    rows = [
        {"image": f"../{name}/{split}.jpg", "split": "val"}
        for name, split in (("coco2014-cocoqa", "train"), ("coco-val2017", "val"))
    ]
    asked.write_text("".join(json.dumps(row) + "\n" for row in rows))
    whole = list(everyday.rows(tmp_path, references=False))
    kept = {(Path(row["image"]).parent.name, row["split"]) for row in whole}
    assert ("coco2014-cocoqa", "train") not in kept  # its captions would give answers away
    assert {("coco-val2017", "val"), ("coco2014-captioned", "train")} <= kept
    assert {row["split"] for row in whole} == {"train", "val"}
    made = [row for row in whole if row["language"] == "zh" and "coco" in row["image"]]
    assert len(made) == 2 and {row["split"] for row in made} == {"train"}
    rewarded = list(everyday.rows(tmp_path, references=True))
    assert not any("cocoqa" in row["image"] or (row["language"] == "zh" and "coco" in row["image"]) for row in rewarded)


@pytest.mark.parametrize(
    ("caption", "question", "answer"),
    [
        ("A giraffe standing in a field.", "what is standing in a field?", "giraffe"),
        ("Two giraffes eat leaves", "what eat leaves?", "giraffes"),
        ("a man riding a brown horse on a beach", "what is the man riding on a beach?", "horse"),
        ("two men are flying kites in a park", "what are two men flying in a park?", "kites"),
        ("a man riding a horse on a beach", "where is the man riding a horse?", "beach"),
        ("three giraffes standing in a field", "how many giraffes are standing in a field?", "three"),
        ("a grey horse runs", "what is the color of the horse?", "gray"),
        ("a vase of flowers on a table", "a vase of flowers on what?", "table"),
    ],
)
def test_a_word_that_a_caption_leaves_out_is_asked_for(caption: str, question: str, answer: str) -> None:
    nouns = {"giraffe", "giraffes", "horse", "kites", "beach", "field", "table", "flowers"}
    asked = {pair[1:] for seed in range(20) for pair in ask_what.questions([caption], nouns, 20, random.Random(seed))}
    assert (question, answer) in asked


def test_a_photo_gives_each_question_once_and_a_few_of_each_kind() -> None:
    captions = ["a man riding a horse on a beach", "a man riding a horse on a beach", "two horses on a beach near a red horse"]
    asked = ask_what.questions(captions, {"horse", "horses", "beach"}, 6, random.Random(0))
    assert len({one.question for one in asked}) == len(asked) <= 6
    assert all(sum(one.kind == kind for one in asked) <= most for kind, most in ask_what.MOST.items())


def test_a_map_of_low_rank_is_found_from_photos_without_labels() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(600, 24, generator=generator, dtype=torch.float64)
    inputs = torch.nn.functional.layer_norm(features, (24,))
    logits = (
        inputs
        @ torch.randn(24, 3, generator=generator, dtype=torch.float64)
        @ torch.randn(3, 40, generator=generator, dtype=torch.float64)
    )
    for rank, agree in ((3, 0.9), (1, 0.0)):
        decoder = imagenet_labels.fitted(features, 3 * logits, rank)
        same = (imagenet_labels.read_by(decoder, features).argmax(1) == logits.argmax(1)).double().mean()
        assert agree < same < (1.1 if rank == 3 else 0.7)


def test_the_temperature_is_that_at_which_words_are_found() -> None:
    """Pizza at a probability of 0.9 by the logits, in the captions of 0.6 of the photos."""
    logits = torch.full((1000, 1000), -300.0, dtype=torch.float64)
    logits[:, 963], logits[:, 281] = 0.0, -2.2
    captions = [["a slice of pizza" if row < 600 else "a man"] for row in range(1000)]
    temperature = imagenet_labels.calibrated(logits, captions)
    assert torch.sigmoid(torch.tensor(2.2 / temperature)) == pytest.approx(0.6, abs=0.02)
    surer = [["a slice of pizza" if row < 950 else "a man"] for row in range(1000)]
    assert torch.sigmoid(torch.tensor(2.2 / imagenet_labels.calibrated(logits, surer))) == pytest.approx(0.95, abs=0.02)


def test_classes_of_one_name_are_told_apart() -> None:
    assert imagenet_labels.distinct(["missile", "sunglasses", "missile"]) == ["missile", "sunglasses", "missile 2"]


def test_classes_have_words_and_chinese_names() -> None:
    words, chinese = imagenet_labels.words(1000), imagenet_labels.chinese_names()
    assert len(chinese) == len(set(chinese)) == len(words["en"]) == len(words["zh"]) == 1000
    named = {place: (words["en"][place], words["zh"][place], chinese[place]) for place in (281, 963, 979, 111)}
    assert named == {
        281: ("cat, kitten", "猫", "虎斑猫"),
        963: ("pizza", "披萨", "披萨"),
        979: ("valley", "", "山谷"),
        111: ("", "", "线虫"),
    }

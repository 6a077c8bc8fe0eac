"""Hints: beside a caption that the model is not sure of, the label that it is sure of, from what its image encoder gives."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import torch

import braid
from braid.bundle import Interface, find_bundle, read_bundle, write_bundle, write_task
from braid.config import to_dict
from braid.decoders import ClassesDecoderConfig
from braid.errors import UserError
from braid.generation import GenerationConfig
from braid.modalities import LabelsModalityConfig
from braid.model import ModelConfig
from braid.presets import tiny
from braid.records import Prediction
from braid.runtime.export import export
from braid.server.models import Engine, Metrics, Served
from braid.tasks import Captioning, Classification, task_of
from braid.tasks.hints import Hints, _says
from braid.training.defaults import starting_from
from conftest import Ran, shapes_unchecked
from variants import inputs, outputs, samples, tokenizer

LABELS = ("espresso", "teapot", "tabby cat")
CHINESE = {"zh": ("浓缩咖啡", "茶壶", "虎斑猫")}


def write_model(folder: Path, bias: float, words: dict[str, tuple[str, ...]] | None = None) -> Path:
    """An untrained captioner, with labels of which the first is the surer the higher its ``bias``."""
    base = tiny(inputs=("image",))
    label = ClassesDecoderConfig(input="image", hidden_width=4, linear=True, dropout=0.0)
    config = ModelConfig(base.width, base.encoders, base.fusion, {**base.decoders, "label": label})
    written = {"text": outputs()["text"].config, "label": LabelsModalityConfig(labels=LABELS)}
    torch.manual_seed(0)
    model = config.build(inputs(config), {"text": outputs()["text"], "label": written["label"].build()})
    with torch.no_grad():
        last: torch.nn.Linear = model.decoders["label"].layers[-1]  # type: ignore[index, assignment, union-attr]
        last.bias.copy_(torch.tensor([bias, 0.0, 0.0]))
    hints = Hints("label", names=CHINESE, words=words or {})
    captioning = Captioning(prompt="", generation=GenerationConfig(max_length=20), languages=("en", "zh"), hints=hints)
    tasks = {"captioning": to_dict(captioning), "classification": to_dict(Classification())}
    modalities = {name: modality.config for name, modality in inputs(config).items()}
    weights = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    interface = Interface(modalities, written, tasks, (("image",),))
    write_bundle(folder, interface, {"tokenizer": tokenizer()}, to_dict(config), weights)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_model(tmp_path_factory.mktemp("hints") / "model", bias=9.0)
    with shapes_unchecked():
        export(read_bundle(folder), folder)
    return folder


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
def test_an_unsure_caption_has_the_label_that_the_model_is_sure_of(model: Path, photos: Path, runtime: str) -> None:
    loaded = braid.load(model, runtime)
    for one in loaded.captions([photos / "0.png", photos / "1.png"]):
        assert one.confidence < 0.5
        assert one.labels == ("espresso",)
    (chinese,) = loaded.captions([photos / "0.png"], language="zh")
    assert chinese.labels == ("浓缩咖啡",)


def test_no_label_is_given_where_none_is_sure(tmp_path: Path, photos: Path) -> None:
    (caption,) = braid.load(write_model(tmp_path / "model", bias=0.1)).captions([photos / "0.png"])
    assert caption.labels is None


def test_an_unsure_caption_gets_the_word_of_a_sure_label(tmp_path: Path, photos: Path) -> None:
    plain = braid.load(write_model(tmp_path / "plain", bias=9.0))
    wanted = braid.load(write_model(tmp_path / "wanted", bias=9.0, words={"en": ("circle, square", "", "star")}))
    files = [photos / f"{number}.png" for number in range(4)]
    before, after = plain.captions(files), wanted.captions(files)
    assert all("circle" in (one.text or "") or "square" in (one.text or "") for one in after)
    assert not any("circle" in (one.text or "") or "square" in (one.text or "") for one in before)
    chinese = [[one.text for one in model.captions(files, language="zh")] for model in (plain, wanted)]
    assert chinese[0] == chinese[1]


def test_a_run_that_begins_with_a_model_has_no_hints() -> None:
    """They are of the old weights, and of an output that the new captioner does not have."""
    settings = starting_from("small", "captioning", ["text"])
    assert "hints" in read_bundle(find_bundle("small")).interface.tasks["captioning"]
    assert "hints" not in settings["task"] and list(settings["outputs"]) == ["text"]


def test_names_of_other_labels_are_an_error() -> None:
    label = Prediction("0", label="teapot", scores=dict.fromkeys(LABELS, 0.3), confidence=0.3)
    with pytest.raises(UserError, match="hints has 2 names in 'zh' for 3 labels; copy the model again"):
        Hints("label", names={"zh": ("茶壶", "猫")}).name(label, "zh")


def test_labels_of_the_same_words_count_together() -> None:
    hints = Hints("label", words={"en": ("dog, puppy", "dog, puppy", "beach", "")})
    scores = {"husky": 0.5, "pug": 0.42, "sandbar": 0.05, "abacus": 0.03}
    label = Prediction("0", label="husky", scores=scores, confidence=0.5)
    assert hints.missing(label, "en", "a man on a wall") == ("dog", "dogs", "puppy", "puppys")
    assert hints.missing(label, "en", "two dogs run") == ()
    assert hints.missing(label, "zh", "一个男人") == ()
    unsure = Prediction("0", label="husky", scores={**scores, "pug": 0.3}, confidence=0.5)
    assert hints.missing(unsure, "en", "a man on a wall") == ()


@pytest.mark.parametrize(
    ("caption", "label", "said"),
    [
        ("a man in a red shirt", "espresso", False),
        ("a cup of espresso", "espresso", True),
        ("a cat on a bed", "tabby cat", True),
        ("一个男人站在墙边", "虎斑猫", False),
        ("一只灰色的猫", "虎斑猫", True),
    ],
)
def test_a_hint_says_what_the_caption_does_not(caption: str, label: str, said: bool) -> None:
    assert _says(caption, label) == said


def test_the_command_shows_hints(braid: Callable[..., Ran], model: Path, photos: Path) -> None:
    (row,) = map(json.loads, braid("caption", photos / "0.png", "-m", model, "--json").out.splitlines())
    assert row["labels"] == ["espresso"]
    assert "(perhaps: espresso)" in " ".join(braid("caption", photos / "0.png", "-m", model).out.split())
    unsure = " ".join(braid("caption", photos / "0.png", "-m", model, "--min-confidence", "0.9").out.split())
    assert "(not sure) (perhaps: espresso)" in unsure


def test_a_calibration_leaves_hints_as_they_are(braid: Callable[..., Ran], captioner: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    copytree(captioner / "best", folder)
    bundle = read_bundle(folder)
    write_task(bundle, replace(task_of(bundle.interface, "captioning"), hints=Hints("label", words={"en": ("circle",)})))
    ran = braid("calibrate", folder, "scenes:captioning,train=1,val=80,test=1,compositional=1,size=32")
    assert ran.code == 0, ran.err
    after: Any = task_of(read_bundle(folder).interface, "captioning")
    assert after.calibration and after.hints == Hints("label", words={"en": ("circle",)})


def test_the_decoder_reads_what_the_encoder_gives(model: Path) -> None:
    """Before the projection: the fusion, which all other decoders read, changes nothing."""
    loaded = braid.load(model, "torch")
    batch = loaded.collator(list(samples(8))).batch
    before = loaded.runtime.vector("label", batch)
    with torch.no_grad():
        for parameter in (*loaded.runtime.model.projections.parameters(), *loaded.runtime.model.fusion.parameters()):  # type: ignore[attr-defined]
            parameter.zero_()
    assert np.ptp(before, axis=0).max() > 0
    np.testing.assert_array_equal(loaded.runtime.vector("label", batch), before)


def test_a_label_of_the_encoder_is_explained_at_the_input(model: Path, photos: Path) -> None:
    explained = braid.load(model, "torch").explain(photos / "0.png", task="classification")
    assert explained.method == "occlusion"
    assert np.abs(explained.inputs[0].values).max() > 0


def test_an_input_that_the_model_lacks_is_an_error() -> None:
    config = ModelConfig(16, tiny().encoders, decoders={"label": ClassesDecoderConfig(input="sound")})
    with pytest.raises(UserError, match="decoders.label: input is 'sound'"):
        config.build(inputs(config), {"label": LabelsModalityConfig(labels=LABELS).build()})


def test_the_page_offers_labels_of_models_that_classify(model: Path) -> None:
    engine = Engine("none", lambda verb, rows: [], 1, 1, 0, Metrics())
    assert Served("tiny", braid.load(model), engine, 0).labels == list(LABELS)
    assert Served("small", braid.load("small"), engine, 0).labels == []

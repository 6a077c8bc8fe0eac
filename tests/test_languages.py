"""A captioner of several languages: a row says the language, the model learns it by name, and a user chooses it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import braid
from braid.bundle import read_bundle
from braid.collate import Collator
from braid.datasets import open_dataset
from braid.errors import UserError
from braid.evaluation import predict
from braid.generation import GenerationConfig
from braid.metrics import Calibration
from braid.objectives import SelfCriticalConfig
from braid.records import Example
from braid.runtime.export import export
from braid.runtime.torch import load_model, to_tensors
from braid.tasks import Captioning
from braid.training import Watcher, run_from, train
from chromium import chromium
from conftest import Ran, shapes_unchecked
from served import Server, data_uri

COLOURS = {"red": ("红色", (200, 30, 30)), "green": ("绿色", (30, 200, 30)), "blue": ("蓝色", (30, 30, 200))}

SETTINGS = {
    "task": {"kind": "captioning", "prompt": ""},
    "model": "tiny",
    "inputs": {"image": {"kind": "image", "size": 32}},
    "tokenizer": {"vocab_size": 300},
    "optimizer": {"learning_rate": 5e-3},
    "epochs": 25,
    "batch_size": 10,
    "workers": 0,
    "threads": 1,
}


def write_rows(folder: Path) -> Path:
    """Squares of three colours, described in English and in Chinese, a row for each."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for number in range(18):
        colour, (chinese, pixel) = list(COLOURS.items())[number % 3]
        pixels = np.clip(np.array(pixel) + rng.integers(-20, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        common = {"image": f"{number}.png", "split": "val" if number < 3 else "train"}
        rows += [
            {**common, "language": "en", "caption": f"a {colour} square"},
            {**common, "language": "zh", "caption": f"一个{chinese}的方块"},
        ]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("squares") / "data")


@pytest.fixture(scope="module")
def bilingual(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = {**SETTINGS, "data": {"path": str(squares)}}
    folder = tmp_path_factory.mktemp("bilingual") / "run"
    train(run_from(settings), folder)
    with shapes_unchecked():
        export(read_bundle(folder / "last"), folder / "last")
    return folder / "last"


def test_a_photo_is_described_in_the_language_that_is_asked_for(bilingual: Path, squares: Path) -> None:
    for runtime in ("torch", "onnx"):
        model = braid.load(bilingual, runtime)
        for number, (colour, (chinese, _)) in enumerate(COLOURS.items()):
            photo = squares.parent / f"{number}.png"
            assert model.caption(photo) == f"a {colour} square" == model.caption(photo, language="en")
            assert model.caption(photo, language="zh") == f"一个{chinese}的方块"


def test_one_batch_may_hold_several_languages(bilingual: Path, squares: Path) -> None:
    rows = open_dataset(str(squares)).split("val")
    answers = braid.load(bilingual).predict("captioning", rows, beam=3)
    assert [one.text for one in answers.predictions] == [row.fields["captions"][0] for row in rows]
    assert all(one.confidence > 0.5 for one in answers.predictions)


def test_each_language_may_have_its_own_confidence(bilingual: Path, squares: Path) -> None:
    model, rows = braid.load(bilingual), open_dataset(str(squares)).split("val")
    usual, chinese = Calibration(1.0, -2.0, 0.5), Calibration(1.0, 3.0, 0.5)
    task = model.task("captioning")
    assert isinstance(task, Captioning)
    fitted = task.fitted(usual).speaking("zh").fitted(chinese)
    assert (fitted.calibration, fitted.calibrations, fitted.language) == (usual, {"zh": chinese}, "")
    samples = [fitted.prepare(row) for row in rows]
    raw, sure = (predict(model.runtime, model.collator, one, samples).predictions for one in (fitted.unfitted, fitted))
    for sample, before, after in zip(samples, raw, sure, strict=True):
        own = chinese if sample.language == "zh" else usual
        assert after.confidence == own.probability(before.confidence)
    assert "ece" in fitted.score(sure, samples) and "ece" not in task.score(sure, samples)
    assert "ece" not in replace(fitted, calibration=None).score(sure, samples)  # English has none


def test_languages_stand_in_the_interface_and_others_are_one_clear_error(bilingual: Path, squares: Path) -> None:
    model = braid.load(bilingual)
    assert model.task("captioning").languages == ("en", "zh")
    with pytest.raises(UserError, match="does not write 'fr'; its languages are en, zh"):
        model.caption(squares.parent / "0.png", language="fr")
    with pytest.raises(UserError, match=r"row 7: the model does not write 'fr'"):
        model.predict("captioning", [Example("0", {"image": "0.png", "language": "fr"}, source="row 7")])
    with pytest.raises(UserError, match="trained without named languages"):
        Captioning().speaking("zh")


def test_a_model_without_languages_passes_over_the_column(captioner: Path, squares: Path) -> None:
    rows = open_dataset(str(squares)).split("val")
    answers = braid.load(captioner).predict("captioning", rows)
    assert not answers.skipped
    assert all(sample.language == "" for sample in answers.samples)


def test_the_command_line_speaks_them(braid: Callable[..., Ran], bilingual: Path, squares: Path) -> None:
    said = braid("caption", squares.parent / "1.png", "--model", bilingual, "--language", "zh", "--json")
    assert json.loads(said.out)["text"] == "一个绿色的方块"
    wrong = braid("caption", squares.parent / "1.png", "--model", bilingual, "--language", "fr")
    assert wrong.code == 1 and "its languages are en, zh" in wrong.err
    scored = braid("evaluate", bilingual, squares, "--json")
    metrics = json.loads(scored.out)
    assert metrics["bleu-4"] > 0 and metrics["cider_en"] > 0 and metrics["cider_zh"] > 0
    assert "en tokenizer ptb, zh tokenizer characters" in scored.err


def test_captions_in_another_script_than_the_model_writes_are_told(
    braid: Callable[..., Ran], bilingual: Path, squares: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in squares.read_text(encoding="utf-8").splitlines()]
    chinese = [{**row, "image": str(squares.parent / row["image"]), "language": ""} for row in rows if row["language"] == "zh"]
    path = tmp_path / "zh.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in chinese))
    assert "choose one of en, zh with --language" in braid("evaluate", bilingual, path).err
    told = braid("evaluate", bilingual, path, "--language", "zh", "--json")
    assert "with --language" not in told.err and json.loads(told.out)["bleu-1"] > 90


def test_a_text_is_continued_in_the_usual_language(bilingual: Path) -> None:
    said = braid.load(bilingual).complete("a red", GenerationConfig(max_length=6)).text
    assert said is not None and said.startswith("a red")


def test_an_explanation_is_of_the_words_and_not_of_the_name(bilingual: Path, squares: Path) -> None:
    explained = braid.load(bilingual).explain(squares.parent / "0.png", language="zh", graded=False)
    assert explained.answer == "一个红色的方块" == "".join(explained.outputs)


def test_rewards_are_given_in_each_language(bilingual: Path, squares: Path) -> None:
    bundle = read_bundle(bilingual)
    model, task = load_model(bundle), braid.load(bilingual).task("captioning")
    samples = [task.prepare(row) for row in open_dataset(str(squares)).split("val")]
    objective = SelfCriticalConfig(num_samples=4).build(task, bundle.tokenizer, samples)
    batch = to_tensors(Collator(bundle.inputs, bundle.outputs)(samples).batch, torch.device("cpu"))
    torch.manual_seed(0)
    loss, record = objective(model, batch, samples)
    assert torch.isfinite(loss)
    assert record["reward"] > 2  # most samples are right; in the wrong language, or with its name in it, they would get 0


def test_the_server_offers_them(bilingual: Path, squares: Path) -> None:
    image = data_uri((squares.parent / "2.png").read_bytes())
    with Server("--model", bilingual) as server, server.client() as client:
        assert client.get("/abilities").json()["languages"] == ["en", "zh"]
        said = [client.post("/v1/caption", json={"image": image, "language": one}).json() for one in ("zh", "en", None)]
        assert [one["results"][0]["text"] for one in said] == ["一个蓝色的方块", "a blue square", "a blue square"]
        wrong = client.post("/v1/caption", json={"image": image, "language": "fr"})
    assert wrong.status_code == 400 and "its languages are en, zh" in wrong.json()["error"]["message"]


def test_the_page_has_a_menu_of_them(bilingual: Path, squares: Path, tmp_path: Path) -> None:
    with chromium(tmp_path) as page, Server("--model", bilingual) as server:
        page.open(f"{server.url}/")
        page.wait("document.querySelectorAll('#languages option').length === 2")
        assert page.js("document.querySelector('#languages').innerText") == "Language\nEnglish\nChinese"
        page.choose_file("#file", squares.parent / "2.png")
        page.wait("!document.querySelector('#shown').hidden")
        page.js("document.querySelector('#languages select').value = 'zh'")
        page.click("#tool-caption .go")
        page.wait("document.querySelectorAll('#answers > li').length === 1")
        assert "一个蓝色的方块" in page.js("document.querySelector('#answers > li').innerText")


def test_a_column_that_names_no_languages_is_told(squares: Path) -> None:
    rows = open_dataset(str(squares)).split("train")
    with pytest.raises(UserError, match=r"row \d+: '0 words of a film in' is no short name of a language; .*--columns language="):
        Captioning().fitted_to([replace(rows[0], fields={"language": "0 words of a film in English"})])
    with pytest.raises(UserError, match="is one language too many"):
        Captioning().fitted_to([replace(rows[0], fields={"language": str(number)}) for number in range(101)])


def test_a_training_says_that_it_reads_the_languages(bilingual: Path, squares: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    settings = {**SETTINGS, "data": {"path": str(squares)}, "epochs": 1}
    train(run_from(settings), tmp_path / "run", watcher=Watcher(on_note=notes.append))
    assert any("language=language" in note for note in notes)


def test_rows_of_two_languages_stay_apart(squares: Path) -> None:
    rows = open_dataset(str(squares)).split("train")
    assert len(rows) == 30
    assert {row.fields["language"] for row in rows} == {"en", "zh"}
    assert len({row.id for row in rows}) == 30

"""ask, classify, embed, index, search and audit with tiny trained models, from arguments to what they print."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import braid as library
from braid.datasets import open_dataset
from braid.errors import UserError
from braid.explain.attributions import shapley
from braid.training import run_from, train
from conftest import Ran
from test_training import TINY

Braid = Callable[..., Ran]
SCENES = "train=96,val=24,test=1,compositional=1,size=32"
QUESTIONS = "scenes:vqa,train=400,val=60,test=1,compositional=1,size=32,objects=1"


def lines(ran: Ran) -> list[dict[str, object]]:
    assert ran.code == 0, ran.err
    return [json.loads(line) for line in ran.out.splitlines()]


def trained(folder: Path, task: str, data: str, *settings: str) -> Path:
    given = {**TINY, "task": {"kind": task}, "data": {"path": f"scenes:{data},{SCENES}"}, "epochs": 2}
    train(run_from(given, settings), folder)
    return folder


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(
        tmp_path_factory.mktemp("classifier") / "run", "classification", "classification", "objective.class_balance=0.5"
    )


@pytest.fixture(scope="module")
def finder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("finder") / "run", "retrieval", "captioning")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number, example in enumerate(open_dataset(f"scenes:captioning,{SCENES}").split("val")[:6]):
        Image.fromarray(np.asarray(example.fields["image"])).save(folder / f"{number}.png")
    return folder


def test_a_closed_vqa_model_chooses_among_the_answers_of_training(braid: Braid, tmp_path: Path, images: Path) -> None:
    run = trained(tmp_path / "run", "vqa", "vqa", "task.closed=true")
    first, second = lines(
        braid("ask", images / "0.png", "how many shapes are there?", "what colour is the circle?", "-m", run, "--json")
    )
    assert first["question"] == "how many shapes are there?"
    known = {answer for row in open_dataset(f"scenes:vqa,{SCENES}").split("train") for answer in row.fields["answers"]}
    assert {first["text"], second["text"]} <= known
    unsure = lines(braid("ask", images / "0.png", "how many?", "-m", run, "--min-confidence", "1.0", "--json"))
    assert unsure[0]["text"] is None
    assert "(not sure)" in braid("ask", images / "0.png", "how many?", "-m", run, "--min-confidence", "1.0").out
    (metrics,) = lines(braid("evaluate", "--task", "vqa", "-m", run, "--data", f"scenes:vqa,{SCENES}", "--json"))
    types = {"accuracy/yes-no", "accuracy/number", "accuracy/other"}
    assert {"accuracy", "vqa-accuracy", "num_samples", "aurc", "ece"} | types == set(metrics)


def test_ask_wants_a_picture_and_a_question(braid: Braid, images: Path) -> None:
    for words, missing in (([images / "0.png"], "a question in quotes"), (["what is it?"], "a file")):
        ran = braid("ask", *words)
        assert ran.code == 1
        assert ran.err == f'error: {missing} is missing; for example: braid ask photo.jpg "what colour is the dog?"\n'


def test_classify_gives_every_label_its_probability(braid: Braid, classifier: Path, images: Path) -> None:
    result = lines(braid("classify", images, "--text", "a red circle", "-m", classifier, "--json"))
    assert len(result) == 6
    for row in result:
        scores = row["scores"]
        assert isinstance(scores, dict)
        assert sum(scores.values()) == pytest.approx(1, abs=1e-3)
        assert row["label"] == max(scores, key=scores.get)
    (alone,) = lines(braid("classify", "--text", "a red circle", "-m", classifier, "--json"))
    assert library.load(classifier).classify(text="a red circle").label == alone["label"]
    (metrics,) = lines(
        braid("evaluate", "--task", "classification", "-m", classifier, "--data", f"scenes:classification,{SCENES}", "--json")
    )
    assert {"accuracy", "macro-f1", "micro-f1", "auroc", "ece", "num_samples"} <= set(metrics)


def test_a_text_for_a_model_that_reads_none_is_told(braid: Braid, images: Path, tmp_path: Path) -> None:
    rows = [
        {"image": str(images / f"{n}.png"), "label": str(n % 2), "split": split} for split in ("train", "val") for n in range(2)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = ["epochs=1", "workers=0", "inputs.image.size=32"]
    words = ["--model", "tiny", *(word for one in settings for word in ("--set", one)), "--output", tmp_path / "run"]
    assert braid("train", "--task", "classification", "--data", tmp_path / "rows.jsonl", *words).code == 0
    ran = braid("classify", images / "0.png", "--text", "a mole", "-m", tmp_path / "run")
    assert (ran.code, ran.err) == (1, "error: this model reads no text; it reads image, so leave the text out\n")


def test_classify_compares_with_any_labels(braid: Braid, finder: Path, images: Path) -> None:
    result = lines(braid("classify", images / "0.png", "--labels", "circle, square,star", "-m", finder, "--json"))
    assert set(result[0]["scores"]) == {"circle", "square", "star"}  # type: ignore[call-overload]
    quoted = ("--labels", 'salt/pepper,"a, b"', "--labels", '"so ""big""",c')
    (result,) = lines(braid("classify", images / "0.png", *quoted, "-m", finder, "--json"))
    assert set(result["scores"]) == {"salt/pepper", "a, b", 'so "big"', "c"}  # type: ignore[call-overload]
    one = braid("classify", images / "0.png", "--labels", "circle", "-m", finder)
    assert one.err == "error: there is only the label 'circle' to choose from; give two or more\n"
    nothing = braid("classify", "-m", finder)
    assert nothing.err == "error: give a file, a text with --text, or another input with --input\n"


@pytest.mark.parametrize("kind", ["exact", "hnsw"])
def test_a_picture_is_found_by_itself_and_an_index_grows(
    braid: Braid, finder: Path, images: Path, tmp_path: Path, kind: str
) -> None:
    place = tmp_path / "photos.index"
    first = lines(braid("index", images / "0.png", images / "1.png", "-o", place, "-m", finder, "--kind", kind, "--json"))
    assert first[0]["num_rows"] == 2
    assert lines(braid("index", images, "-o", place, "-m", finder, "--json"))[0]["num_rows"] == 6
    hits = lines(braid("search", place, "--image", images / "3.png", "-m", finder, "--top", "2", "--json"))
    assert hits[0]["score"] == pytest.approx(1, abs=2e-3)
    page = tmp_path / "found.html"
    ran = braid("search", place, "a red circle", "-m", finder, "--top", "4", "--html", page)
    assert ran.code == 0, ran.err
    assert page.read_text().count("<img") == 4
    assert page.read_text().count("a red circle") >= 1


def test_an_index_is_searched_with_the_model_that_made_it(braid: Braid, finder: Path, images: Path, tmp_path: Path) -> None:
    place = tmp_path / "photos.index"
    lines(braid("index", images, "-o", place, "-m", finder, "--json"))
    other = trained(tmp_path / "other", "retrieval", "captioning", "seed=1")
    ran = braid("search", place, "a circle", "-m", other)
    assert ran.code == 1
    assert "was made by model" in ran.err
    assert "search with the model that made it, or make it anew" in ran.err
    assert "give a text to search for, or a file with --image, --audio or --video" in braid("search", place, "-m", finder).err


def test_embed_writes_unit_vectors(braid: Braid, finder: Path, classifier: Path, images: Path, tmp_path: Path) -> None:
    (message,) = lines(braid("embed", images, "a circle", "-o", tmp_path / "v.npy", "-m", finder, "--json"))
    vectors = np.load(tmp_path / "v.npy")
    assert vectors.shape == (7, message["width"])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    several = open_dataset(f"scenes:captioning,{SCENES}").split("val")[:2]  # five captions each: the first is embedded
    (first, _) = library.load(finder).predict("retrieval", several).predictions
    assert set(first.embeddings) == {"image", "prompt"}
    ran = braid("embed", "a circle", "-o", tmp_path / "v.npy", "-m", classifier)
    assert "this model gives no embeddings; train one with --task retrieval, or choose a model that has them" in ran.err


def test_audit_flags_a_model_that_never_sees_its_picture(braid: Braid, tmp_path: Path) -> None:
    """A planted collapse: the picture's features are zeroed before the fusion, so that the question alone is answered."""
    asked = {**TINY, "task": {"kind": "vqa", "closed": True}, "data": {"path": QUESTIONS}, "epochs": 12, "batch_size": 16}
    train(run_from(asked, ["seed=2"]), tmp_path / "healthy")  # of a few seeds the one that looks at its pictures most
    (message,) = lines(braid("audit", tmp_path / "healthy", "--data", QUESTIONS, "--json"))
    assert {one["input"] for one in message["inputs"]} == {"image", "prompt"}  # type: ignore[attr-defined]
    assert sum(one["share"] for one in message["inputs"]) == pytest.approx(1, abs=1e-6)  # type: ignore[attr-defined]
    assert message["ignored"] == []
    train(run_from(asked, ["optimizer.scales={projections.image: 0}"]), tmp_path / "blind")
    _blind(tmp_path / "blind" / "best")
    (message,) = lines(braid("audit", tmp_path / "blind", "--data", QUESTIONS, "--json"))
    assert message["ignored"] == ["image"]
    assert message["verdict"] == "ignores the image"
    assert "ignores the image" in braid("audit", tmp_path / "blind", "--data", QUESTIONS).err


def _blind(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    for name in ("projections.image.norm.weight", "projections.image.norm.bias"):
        weights[name] = np.zeros_like(weights[name])
    save_file(weights, folder / "model.safetensors")


def test_shapley_values_share_out_what_all_inputs_add() -> None:
    """An input that adds nothing has 0; two that do the same share alike."""
    worth = {
        (): 0.0,
        ("a",): 1.0,
        ("b",): 1.0,
        ("c",): 0.0,
        ("a", "b"): 1.0,
        ("a", "c"): 1.0,
        ("b", "c"): 1.0,
        ("a", "b", "c"): 1.0,
    }
    result = shapley({names: np.array(value) for names, value in worth.items()}, ["a", "b", "c"])
    assert {name: round(float(value), 6) for name, value in result.items()} == {"a": 0.5, "b": 0.5, "c": 0.0}


def test_a_classifier_needs_two_labels_and_balance_needs_labels() -> None:
    one = {**TINY, "task": {"kind": "classification"}, "data": {"path": f"scenes:classification,{SCENES}"}}
    with pytest.raises(UserError, match="classification needs a decoder 'label', which the model does not have"):
        run_from({**one, "model": {**_text_model()}})
    with pytest.raises(
        UserError, match="objective.kind contrastive is for retrieval, and the task is captioning; choose likelihood"
    ):
        train(run_from(TINY, ["objective.kind=contrastive"]), Path("never"))


def _text_model() -> dict[str, object]:
    from braid.training import preset

    return preset("tiny")


def test_a_number_is_learned_from_a_table_and_a_label_that_is_none_is_told(braid: Braid, tmp_path: Path) -> None:
    rows = [f"there are {k % 9} dogs,{10 * (k % 9)},{'val' if k % 5 == 0 else 'train'}" for k in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label,split", *rows]))
    given = ["--task", "regression", "--data", tmp_path / "rows.csv"]
    small = ["--set", "epochs=2", "--set", "workers=0", "--set", "threads=1", "--set", "tokenizer.vocab_size=300"]
    ran = braid("train", *given, "--model", "tiny", *small, "--output", tmp_path / "run")
    assert ran.code == 0, ran.err
    (metrics,) = lines(braid("evaluate", *given, "-m", tmp_path / "run", "--json"))
    assert {"mae", "rmse", "num_samples"} <= set(metrics)
    assert 0 < metrics["mae"] < 80  # type: ignore[operator]
    (tmp_path / "rows.csv").write_text("text,label\na dog,many")
    message = "rows.csv, row 1: the label 'many' is not a number; correct it, or choose --task classification"
    assert message in braid("evaluate", *given, "-m", tmp_path / "run", "--split", "all").err

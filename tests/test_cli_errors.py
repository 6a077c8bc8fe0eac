"""Bad input: one clear line on stderr that names the file and says what to do, and exit code 1."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from conftest import Ran

Braid = Callable[..., Ran]


def one_line(ran: Ran) -> str:
    assert ran.code == 1, (ran.out, ran.err)
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    return ran.err.removeprefix("error: ").rstrip()


def images(folder: Path) -> dict[str, bytes]:
    good = (folder / "0.png").read_bytes()
    return {"truncated.png": good[:60], "empty.png": b"", "text.png": b"hello, I am no picture", "folder.png": b""}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("truncated.png", "is damaged or cut short"),
        ("empty.png", "is not a readable image; save it as PNG or JPEG"),
        ("text.png", "is not a readable image; save it as PNG or JPEG"),
        ("gone.png", "does not exist; check the path"),
        ("https://example.org/dog.jpg", "is a web address; download the image and give its path"),
        ("HTTPS://example.org/dog.jpg", "is a web address; download the image and give its path"),
    ],
)
def test_pictures(name: str, expected: str, braid: Braid, captioner: Path, photos: Path) -> None:
    for file, content in images(photos).items():
        (photos / file).write_bytes(content)
    path = name if "://" in name else photos / name
    message = one_line(braid("caption", path, "-m", captioner, "--strict"))
    assert Path(name).name in message
    assert expected in message


def test_an_address_is_told_wherever_a_file_is_given(braid: Braid, captioner: Path, tmp_path: Path) -> None:
    address = "https://example.org/photo?id=3"
    says = "is a web address; download the image and give its path"
    assert f"{address} {says}" in one_line(braid("ask", address, "what is it?", "-m", captioner))
    assert "is a data URI" in one_line(braid("ask", "data:image/png;base64,AAAA", "what is it?", "-m", captioner))
    said = one_line(braid("evaluate", "--data", "S3://bucket/a.csv", "-m", captioner))
    assert "S3://bucket/a.csv is a web address; download the data set and give its path" in said
    said = one_line(braid("predict", captioner, "https://example.org/a.csv", "-o", tmp_path / "out.csv"))
    assert "is a web address; download the table and give its path" in said


def test_what_is_guessed_of_a_table_is_said(braid: Braid, captioner: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "mine.csv").write_text("image;captions\n0.png;['a dog', 'a big dog']\n")
    said = braid("evaluate", "--data", photos / "mine.csv", "--split", "all", "-m", captioner).err
    assert "mine.csv: its cells are separated by semicolons" in said
    assert "mine.csv: column 'captions' holds lists, which are read as such" in said
    said = braid("predict", captioner, photos / "mine.csv", "-o", tmp_path / "out.csv").err
    assert "mine.csv: its cells are separated by semicolons" in said


def test_a_giant_picture_is_refused_before_it_is_decoded(braid: Braid, captioner: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("1", (30_000, 30_000)).save(tmp_path / "giant.png")
    message = one_line(braid("caption", tmp_path / "giant.png", "-m", captioner, "--strict"))
    assert "giant.png" in message
    assert "megapixels" in message


def test_an_empty_folder_and_a_pattern_without_a_match(braid: Braid, captioner: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    assert "none: no image there; looked for .avif, .bmp, .gif" in one_line(braid("caption", tmp_path / "none", "-m", captioner))
    assert "*.png: no image there" in one_line(braid("caption", tmp_path / "*.png", "-m", captioner))


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("cut weights", "model.safetensors cannot be read"),
        ("other weights", "was exported from other weights than the model.safetensors beside it; export the graphs again"),
        ("no weights", "model.safetensors, from which its graphs take their weights; copy it again"),
        ("no tokenizer", "tokenizer.json is missing; the folder is not a complete model"),
        ("interface is no JSON", "interface.json"),
        ("other format", "interface.json"),
        ("tokenizer that panics", "tokenizer.json cannot be read (range end index "),
        ("other tokenizer", "the files are of different models"),
        ("other sizes", "the files are of different models"),
    ],
)
def test_damaged_models(damage: str, expected: str, braid: Braid, captioner: Path, photos: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(captioner / "best", model)
    weights = model / "model.safetensors"
    if damage == "cut weights":
        weights.write_bytes(weights.read_bytes()[:5000])
    elif damage == "other weights":
        save_file({name: value + 1 for name, value in load_file(weights).items()}, weights)
    elif damage == "no weights":
        weights.unlink()
    elif damage == "no tokenizer":
        (model / "tokenizer.json").unlink()
    elif damage == "interface is no JSON":
        (model / "interface.json").write_text("{")
    elif damage == "other format":
        changed = {**json.loads((model / "interface.json").read_text()), "format": 99}
        (model / "interface.json").write_text(json.dumps(changed))
    elif damage == "tokenizer that panics":
        changed = json.loads((model / "tokenizer.json").read_text())
        changed["model"]["continuing_subword_prefix"] = "longer than many a token"
        (model / "tokenizer.json").write_text(json.dumps(changed))
    elif damage == "other tokenizer":
        from braid.modalities import Tokenizer

        (model / "tokenizer.json").write_text(Tokenizer.train(["a dog runs"] * 9, vocab_size=300).to_json())
    else:
        for graph in model.glob("*.onnx"):  # which know nothing of model.json
            graph.unlink()
        changed = json.loads((model / "model.json").read_text())
        changed["decoders"]["text"]["width"] = 64
        (model / "model.json").write_text(json.dumps(changed))
    message = one_line(braid("caption", photos / "0.png", "-m", model))
    assert expected in message
    assert str(model) in message


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("tokenizer", "tokenizer.json has 261 tokens, the graphs write "),
        ("interface", "the graphs do not fit interface.json (Got invalid dimensions for input: image.values"),
    ],
)
def test_graphs_of_another_model(damage: str, message: str, captioner: Path, photos: Path, tmp_path: Path) -> None:
    import braid
    from braid.errors import UserError
    from braid.modalities import Tokenizer

    model = tmp_path / "model"
    shutil.copytree(captioner / "best", model)
    if damage == "tokenizer":
        (model / "tokenizer.json").write_text(Tokenizer.train(["a b"] * 9, vocab_size=300).to_json())
    else:
        changed = json.loads((model / "interface.json").read_text())
        changed["inputs"]["image"]["size"] = 40
        (model / "interface.json").write_text(json.dumps(changed))
    with pytest.raises(UserError) as caught:
        braid.load(model, runtime="onnx").caption(photos / "0.png")
    assert str(caught.value).startswith(f"{model}: {message}")


def test_tables(braid: Braid, captioner: Path, photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    (photos / "latin.csv").write_bytes("image,note\n0.png,caf\xe9\n".encode("latin-1"))
    assert "latin.csv is not UTF-8 text (line 2, byte 20); save it as UTF-8" in one_line(
        braid("predict", captioner, photos / "latin.csv", "-o", output)
    )
    (photos / "odd.csv").write_text("x,y\n1,2\n")
    assert "no column has a usual name (x, y)" in one_line(braid("predict", captioner, photos / "odd.csv", "-o", output))
    (photos / "good.csv").write_text("image\n0.png\n")
    assert "has no column 'foto'; choose from image" in one_line(
        braid("predict", captioner, photos / "good.csv", "-o", output, "--columns", "image=foto")
    )
    assert "choose one of these endings" in one_line(braid("predict", captioner, photos / "good.csv", "-o", tmp_path / "out.xls"))
    (photos / "nan.jsonl").write_text('{"image": NaN}\n{"image": "0.png"}\n')
    ran = braid("predict", captioner, photos / "nan.jsonl", "-o", tmp_path / "out.jsonl")
    assert ran.code == 1
    assert "nan.jsonl, row 1: column 'image' is NaN" in ran.err.replace("\n", " ")
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 2


def test_tasks_and_splits(braid: Braid, captioner: Path) -> None:
    data = "scenes:captioning,train=4,val=2,test=1,compositional=1,size=32"
    wrong = one_line(braid("evaluate", "--task", "captoning", "--data", data, "--model", captioner))
    assert "there is no task 'captoning'" in wrong
    assert "did you mean 'captioning'" in wrong
    assert "this model was not trained for vqa; it does captioning" in one_line(
        braid("evaluate", "--task", "vqa", "--data", "scenes:vqa,train=2,val=2,size=32", "--model", captioner)
    )
    assert "has no rows in split 'dev'" in one_line(braid("evaluate", "--data", data, "--split", "dev", "--model", captioner))
    unscorable = one_line(braid("evaluate", "--data", "scenes:vqa,train=2,val=2,size=32", "--model", captioner))
    assert "no row has anything to score against; captioning needs references (captions, answers or text)" in unscorable


def test_training_says_what_is_missing(braid: Braid, photos: Path, tmp_path: Path) -> None:
    assert "give a run's YAML file, or --task and --data" in one_line(braid("train"))
    assert "gone.yaml does not exist" in one_line(braid("train", tmp_path / "gone.yaml"))
    (tmp_path / "bad.yaml").write_text("task: [\n")
    assert "bad.yaml is not YAML" in one_line(braid("train", tmp_path / "bad.yaml"))
    bomb = "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}' if k else 'x'] * 9)}]\n" for k in range(12))
    for text, message in (
        (bomb, "bad.yaml holds more than 100,000 values; use fewer aliases"),
        ("a: &a [*a]", "bad.yaml refers to itself; write every setting out"),
        ("a: " + "[" * 5000, "bad.yaml is nested too deeply; write a run as in the README"),
        ("a: 2020-13-45", "bad.yaml is not YAML, month must be in 1..12"),
        ("task: {kind: []}\ndata: {path: x}\nmodel: tiny", "task.kind is []; choose from captioning"),
    ):
        (tmp_path / "bad.yaml").write_text(text)
        assert message in one_line(braid("train", tmp_path / "bad.yaml"))
    (tmp_path / "bad.yaml").write_text("task: captioning\nmodle: tiny\n")
    assert "did you mean 'model'" in one_line(braid("train", tmp_path / "bad.yaml"))
    assert "there is no preset 'compct'; choose from classic, compact, quick, tiny (did you mean 'compact'?)" in one_line(
        braid("train", "--task", "captioning", "--data", "scenes:captioning", "-m", "compct", "-o", tmp_path / "x")
    )
    (photos / "data.csv").write_text("image,question\n0.png,what?\n")
    assert "data.csv" in one_line(
        braid("train", "--task", "captioning", "--data", photos / "data.csv", "-m", "tiny", "-o", tmp_path / "x")
    )


def test_scores(braid: Braid, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"1": "a dog"}')
    (tmp_path / "r.json").write_text('{"2": ["a dog"]}')
    arguments = ["score", "captions", "--predictions", tmp_path / "p.json", "--references"]
    assert "ids with no references: 1, first '1'" in one_line(braid(*arguments, tmp_path / "r.json"))
    assert "gone.json does not exist" in one_line(braid(*arguments, tmp_path / "gone.json"))
    (tmp_path / "r.json").write_text('{"1": [3]}')
    assert "the references of '1' are [3], not a list of texts" in one_line(braid(*arguments, tmp_path / "r.json"))
    (tmp_path / "r.json").write_text("[" * 100_000)
    assert "r.json is nested too deeply; write {id: [texts]}" in one_line(braid(*arguments, tmp_path / "r.json"))
    (tmp_path / "r.json").write_text("{")
    assert "r.json, line 1, is not JSON" in one_line(braid(*arguments, tmp_path / "r.json"))
    (tmp_path / "r.json").write_text('{"1": ["a dog"]}')
    assert "there is no tokenizer 'ptp'" in one_line(braid(*arguments, tmp_path / "r.json", "--tokenizer", "ptp"))
    wrong = braid("score", "captions", "--predictions", tmp_path / "p.json")
    assert wrong.code == 2


def test_a_prompt_that_is_too_long_for_the_model(braid: Braid, captioner: Path) -> None:
    message = one_line(braid("complete", "red " * 100, "-m", captioner))
    assert "this model reads and writes at most" in message

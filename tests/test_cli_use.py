"""The verbs at work on a small model that was really trained, from arguments to what is printed."""

import csv
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from braid.bundle import find_bundle, read_bundle
from conftest import Ran, shapes_unchecked

Braid = Callable[..., Ran]


def lines(ran: Ran) -> list[dict[str, object]]:
    return [json.loads(line) for line in ran.out.splitlines()]


def test_caption_one_object_a_line(braid: Braid, captioner: Path, photos: Path) -> None:
    ran = braid("caption", photos / "0.png", str(photos / "[12].png"), photos, "-m", captioner, "--json")
    assert ran.code == 0, ran.err
    assert [Path(str(row["id"])).name for row in lines(ran)] == ["0.png", "1.png", "2.png", "3.png", "4.png"]
    assert all(set(row) == {"id", "text", "confidence"} and 0 < float(str(row["confidence"])) <= 1 for row in lines(ran))
    table = braid("caption", photos, "-m", captioner)
    assert all(str(row["text"])[:12] in table.out for row in lines(ran))


def test_caption_batches_change_nothing(braid: Braid, captioner: Path, photos: Path) -> None:
    result = {size: braid("caption", photos, "-m", captioner, "--json", "--batch-size", size).out for size in (1, 2, 16)}
    assert len(set(result.values())) == 1


def test_one_bad_picture_is_told_and_stops_nothing(braid: Braid, captioner: Path, photos: Path) -> None:
    (photos / "2.png").write_bytes((photos / "2.png").read_bytes()[:100])
    ran = braid("caption", photos, photos / "gone.png", "-m", captioner, "--json")
    assert ran.code == 1
    assert len(lines(ran)) == 4
    assert "2.png" in ran.err
    assert f"{photos / 'gone.png'} does not exist; check the path" in ran.err
    strict = braid("caption", photos, "-m", captioner, "--json", "--strict")
    assert (strict.code, strict.out) == (1, "")
    assert strict.err.count("\n") == 1


def test_predict_keeps_every_column_and_row(braid: Braid, captioner: Path, photos: Path, tmp_path: Path) -> None:
    table = photos / "table.csv"
    table.write_text('photo,price,"a, note"\n0.png,1.50,"x, ""y"""\ngone.png,2,z\n1.png,3,\n')
    ran = braid("predict", captioner, table, "-o", tmp_path / "out.csv", "--columns", "image=photo")
    assert ran.code == 1, ran.err
    assert "table.csv, row 2" in ran.err
    with open(tmp_path / "out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["a, note"] for row in rows] == ['x, "y"', "z", ""]
    assert [row["price"] for row in rows] == ["1.50", "2", "3"]
    assert [bool(row["prediction"]) for row in rows] == [True, False, True]
    assert 0 < float(rows[0]["confidence"]) <= 1
    assert "gone.png does not exist" in rows[1]["error"]
    single = lines(braid("caption", photos / "0.png", "-m", captioner, "--json"))[0]
    assert rows[0]["prediction"] == single["text"]


def test_predict_without_bad_rows_adds_two_columns(braid: Braid, captioner: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "table.jsonl").write_text('{"image": "0.png", "prediction": "mine", "k": [1, 2]}\n')
    assert braid("predict", captioner, photos / "table.jsonl", "-o", tmp_path / "out.jsonl").code == 0
    (row,) = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert list(row) == ["image", "prediction", "k", "braid_prediction", "confidence"]
    assert (row["prediction"], row["k"]) == ("mine", [1, 2])
    assert 0 < row["confidence"] <= 1


def test_complete(braid: Braid, captioner: Path) -> None:
    ran = braid("complete", "a red", "-m", captioner, "--samples", 3, "--json")
    assert ran.code == 0, ran.err
    assert all(str(row["text"]).startswith("a red") for row in lines(ran))
    assert ran.out == braid("complete", "a red", "-m", captioner, "--samples", 3, "--json").out
    assert ran.out != braid("complete", "a red", "-m", captioner, "--samples", 3, "--seed", 9, "--json").out


def test_evaluate_and_score_agree(braid: Braid, captioner: Path, tmp_path: Path) -> None:
    data = "scenes:captioning,train=1,val=12,test=1,compositional=1,size=32"
    saved = tmp_path / "predictions.json"
    ran = braid(
        "evaluate",
        "--task",
        "captioning",
        "--data",
        data,
        "--model",
        captioner,
        "--beam",
        2,
        "--json",
        "--save-predictions",
        saved,
    )
    assert ran.code == 0, ran.err
    (metrics,) = lines(ran)
    names = {*(f"bleu-{n}" for n in range(1, 5)), "rouge-l", "cider", "cider-2015", "meteor-exact-stem", "num_samples"}
    assert set(metrics) == names | {"distinct-1", "distinct-2", "different", "novel", "aurc"}
    for known_to_evaluate_alone in ("novel", "aurc"):  # the training captions, the confidence
        assert 0 <= metrics.pop(known_to_evaluate_alone) <= 100
    assert metrics["num_samples"] == 12
    assert isinstance(metrics["num_samples"], int)
    from braid.datasets import open_dataset

    truth = {example.id: list(example.fields["captions"]) for example in open_dataset(data).split("val")}
    (tmp_path / "references.json").write_text(json.dumps(truth))
    score = ["score", "captions", "--predictions", saved, "--references", tmp_path / "references.json"]
    assert lines(braid(*score, "--json")) == [metrics]
    table = braid(*score)
    assert "95% interval" in table.out
    assert f"{metrics['cider']:.2f}" in table.out


def test_calibrate_writes_a_confidence_that_caption_then_tells(
    braid: Braid, captioner: Path, photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(captioner / "best", tmp_path / "model")
    raw = lines(braid("caption", photos, "-m", tmp_path / "model", "--json"))
    data = "scenes:captioning,train=1,val=60,test=1,compositional=1,size=32"
    ran = braid("calibrate", tmp_path / "model", "--data", data, "--json")
    assert ran.code == 0, ran.err
    (report,) = lines(ran)
    assert report["num_samples"] == 60 == sum(one["count"] for one in report["bins"])  # type: ignore[attr-defined]
    message = lines(braid("caption", photos, "-m", tmp_path / "model", "--json"))
    for before, after in zip(raw, message, strict=True):
        odds = float(before["confidence"]) / (1 - float(before["confidence"]))  # type: ignore[arg-type]
        chance = 1 / (1 + math.exp(-(report["slope"] * math.log(odds) + report["intercept"])))  # type: ignore[operator]
        assert after["confidence"] == pytest.approx(chance, abs=0.02)  # what caption prints is rounded
    assert "each by a fit on the half that it is not in" in braid("calibrate", tmp_path / "model", "--data", data).out
    few = braid("calibrate", tmp_path / "model", "--data", data.replace("val=60", "val=8"))
    assert few.code == 1
    assert few.err == "error: 8 rows are too few to fit on one half and measure on the other; give 40 or more\n"


def test_record_writes_the_figures_into_the_card(braid: Braid, captioner: Path, tmp_path: Path) -> None:
    shutil.copytree(captioner / "best", tmp_path / "model")
    data = "scenes:captioning,train=1,val=9,test=1,compositional=1,size=32"
    (metrics,) = lines(braid("evaluate", "--data", data, "--model", tmp_path / "model", "--beam", 3, "--record", "--json"))
    (shown,) = lines(braid("inspect", tmp_path / "model", "--json"))
    card = shown["interface"]["card"]  # type: ignore[index]
    assert card["scores"]["cider"] == pytest.approx(metrics["cider"], abs=0.01)
    assert "val, 9 rows, beam 3, tokenizer ptb" in card["scored_on"]
    assert lines(braid("caption", "--model", tmp_path / "model", "--json", "--strict", tmp_path.parent / "none.png")) == []


def test_inspect_adds_up(braid: Braid, captioner: Path) -> None:
    (shown,) = lines(braid("inspect", captioner, "--json"))
    parts = {part["part"]: part["parameters"] for part in shown["parts"]}  # type: ignore[attr-defined,index]
    assert list(parts) == [
        "encoders.image",
        "encoders.prompt",
        "projections.image",
        "projections.prompt",
        "fusion",
        "decoders.text",
    ]
    assert sum(parts.values()) == shown["parameters"]
    table = braid("inspect", captioner).out
    assert "toy" in table
    assert "attention" in table
    assert "for tests" in table


def test_data_check(braid: Braid, photos: Path) -> None:
    rows = [f"{k}.png,a shape,{'val' if k == 4 else 'train'}" for k in range(5)]
    (photos / "data.csv").write_text("\n".join(["image,caption,split", *rows, "gone.png,x,train", "0.png,,train"]) + "\n")
    (photos / "3.png").write_bytes(b"no picture")
    (shown,) = lines(braid("data", "check", photos / "data.csv", "--json", "--images"))
    assert shown["splits"] == {"train": {"rows": 4, "captions": 4, "images": 4}, "val": {"rows": 1, "captions": 1, "images": 1}}
    assert [row["source"] for row in shown["broken"]] == ["data.csv, row 6", "data.csv, row 7", "data.csv, row 4"]  # type: ignore[attr-defined,index]
    table = braid("data", "check", photos / "data.csv")
    assert (table.code, "missing value 2" in " ".join(table.out.split()), "column 'caption' is empty" in table.out) == (
        0,
        True,
        True,
    )
    assert braid("data", "check", photos / "data.csv", "--strict").code == 1


def test_data_check_counts_the_labels(braid: Braid, tmp_path: Path) -> None:
    rows = ["a word,dog,train", "two words,dog,val", "three,cat,train", *(f"word {k},kind {k},train" for k in range(15))]
    (tmp_path / "data.csv").write_text("\n".join(["text,label,split", *rows]) + "\n")
    (shown,) = lines(braid("data", "check", tmp_path / "data.csv", "--json"))
    assert len(shown["labels"]) == 17  # type: ignore[arg-type]
    assert list(shown["labels"].items())[:2] == [("dog", {"train": 1, "val": 1}), ("cat", {"train": 1})]  # type: ignore[attr-defined]
    ran = braid("data", "check", tmp_path / "data.csv")
    assert "17 labels label train val dog 1 1 cat 1 0 kind 0 1 0" in " ".join(ran.out.split())
    assert "and 2 more, the rarest with 1 row; --json lists them all" in ran.err
    (tmp_path / "numbers.csv").write_text("text,label\n" + "".join(f"word {k},{k / 2}\n" for k in range(20)))
    assert "the labels are 20 different numbers, from 0 to 9.5" in braid("data", "check", tmp_path / "numbers.csv").err


def test_train_from_flags_writes_the_run_it_used(braid: Braid, photos: Path, tmp_path: Path) -> None:
    rows = [f"{k}.png,a shape number {k},{'val' if k == 4 else 'train'}" for k in range(5)]
    (photos / "data.csv").write_text("\n".join(["photo,title,split", *rows]) + "\n")
    arguments = ["--task", "captioning", "--data", photos / "data.csv", "--columns", "image=photo,captions=title", "-m", "tiny"]
    arguments += ["--set", "inputs.image.size=32", "--set", "epochs=2", "--set", "workers=0", "--set", "threads=1"]
    ran = braid("train", *arguments, "-o", tmp_path / "run", "--json")
    assert ran.code == 0, ran.err
    (outcome,) = lines(ran)
    assert outcome["folder"] == str(tmp_path / "run")
    first = ran.err.splitlines()[0]
    assert "parameters" in first
    assert "about" in first
    assert "memory" in first
    again = braid("train", tmp_path / "run" / "run.yaml", "-o", tmp_path / "again", "--json")
    assert again.code == 0, again.err
    assert lines(again)[0]["best"] == outcome["best"]
    refused = braid("train", tmp_path / "run" / "run.yaml")
    assert (refused.code, "already holds a run" in refused.err) == (1, True)
    assert braid("train", tmp_path / "run" / "run.yaml", "--resume").code == 0
    assert braid("caption", photos, "-m", tmp_path / "run").code == 0


def test_train_goes_on_from_a_model(braid: Braid, captioner: Path, tmp_path: Path) -> None:
    data = "scenes:captioning,train=16,val=4,test=1,compositional=1,size=32"
    arguments = ["--task", "captioning", "--data", data, "--start", captioner, "--set", "epochs=1", "--set", "workers=0"]
    ran = braid("train", *arguments, "-o", tmp_path / "run", "--json")
    assert ran.code == 0, ran.err
    (before,) = lines(braid("inspect", captioner, "--json"))
    (after,) = lines(braid("inspect", tmp_path / "run", "--json"))
    assert before["parameters"] == after["parameters"]
    first_losses = [json.loads((run / "log.jsonl").read_text().splitlines()[0])["loss"] for run in (tmp_path / "run", captioner)]
    assert first_losses[0] < first_losses[1] - 0.5


def test_demo_page(braid: Braid, captioner: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "broken.png").write_bytes(b"\x89PNG")
    ran = braid("demo", photos, "-m", captioner, "-o", tmp_path / "page" / "index.html", "--json")
    assert ran.code == 0, ran.err
    (message,) = lines(ran)
    page = (tmp_path / "page" / "index.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert page.count("<figure>") == len(message["images"]) == 16  # type: ignore[arg-type]
    for image in message["images"]:  # type: ignore[attr-defined]
        assert image["text"] in page
    assert "broken.png" in page


def test_onnx_alone_captions_where_importing_torch_is_an_error(captioner: Path, photos: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from braid.api import load\n"
        f"print(load({str(captioner)!r}, runtime='onnx').caption({str(photos / '0.png')!r}))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    from braid.api import load

    assert result.stdout.strip() == load(captioner, runtime="torch").caption(photos / "0.png")


def test_the_python_side_takes_every_kind_of_picture(captioner: Path, photos: Path) -> None:
    import numpy as np
    from PIL import Image

    import braid

    model = braid.load(captioner)
    path = photos / "1.png"
    expected = model.caption(path)
    with Image.open(path) as image:
        image.load()
    assert model.caption(str(path)) == model.caption(image) == model.caption(np.asarray(image)) == expected
    assert model.caption(path.read_bytes()) == expected
    assert model.caption([path, image, photos / "0.png"])[:2] == [expected, expected]


def test_another_task_borrows_the_built_in_image_encoder(braid: Braid, tmp_path: Path) -> None:
    """Its architecture, its weights and its pictures' size, without a word from the user."""
    data = "scenes:vqa,train=4,val=4,test=1,compositional=1,size=32"
    frozen = ["--set", "optimizer.scales={encoders.image: 0}", "--set", "epochs=1", "--set", "workers=0", "--set", "threads=1"]
    ran = braid("train", "--task", "vqa", "--data", data, "--output", tmp_path / "run", *frozen)
    assert ran.code == 0, ran.err
    made, lent = read_bundle(tmp_path / "run" / "stages" / "main" / "best"), read_bundle(find_bundle("small"))
    assert made.interface.inputs["image"] == lent.interface.inputs["image"]
    own, given = made.weights(), lent.weights()
    borrowed = [name for name in given if name.startswith("encoders.image.")]
    assert borrowed
    assert all(np.array_equal(own[name], given[name]) for name in borrowed)


def test_the_built_in_models_need_no_torch(tmp_path: Path) -> None:
    from PIL import Image

    from braid.api import load

    photo = tmp_path / "photo.png"
    Image.radial_gradient("L").convert("RGB").save(photo)
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from braid.api import load\n"
        "small, photo = load(), sys.argv[1]\n"
        "print(small.caption(photo), small.answer(photo, 'what color is it?'), sep='\\n')\n"
        "print(small.classify(photo, labels=['a dog', 'a beach']).label)\n"
        "print(load('sentiment').classify(text='best day ever').label)"
    )
    result = subprocess.run([sys.executable, "-c", code, str(photo)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    small, sentiment = (load(name, runtime="torch") for name in ("small", "sentiment"))
    answers = [small.caption(photo), small.answer(photo, "what color is it?")]
    labels = [small.classify(photo, labels=["a dog", "a beach"]).label, sentiment.classify(text="best day ever").label]
    assert result.stdout.splitlines() == [*answers, *labels]


def test_graphs_beside_weights_hold_none_and_others_their_own(captioner: Path, photos: Path, tmp_path: Path) -> None:
    from braid.api import load
    from braid.errors import UserError
    from braid.runtime.export import export

    bare = captioner / "best" / "text.step.onnx"
    weights = (captioner / "best" / "model.safetensors").stat().st_size
    assert bare.stat().st_size < weights / 3
    message = load(captioner, runtime="torch").caption(photos / "0.png")
    assert load(captioner, runtime="onnx").caption(photos / "0.png") == message
    shutil.copytree(captioner / "best", tmp_path / "without")
    (tmp_path / "without" / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"without has no model\.safetensors, from which its graphs take their weights"):
        load(tmp_path / "without").caption(photos / "0.png")
    shutil.copytree(captioner / "best", tmp_path / "own", ignore=shutil.ignore_patterns("*.onnx", "*.weights.json", "model.*"))
    with shapes_unchecked():
        export(read_bundle(captioner / "best"), tmp_path / "own")
    assert load(tmp_path / "own").caption(photos / "0.png") == message


LONG = "a red ball " * 300
CUT = "longer than the {} tokens that this model reads; the rest was left out"


def test_a_text_that_is_longer_than_the_model_reads_is_told(
    braid: Braid, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "posts.csv").write_text(f"text,label\n{LONG},positive\na dog,negative\n")
    assert braid("index", photos, "-o", "i").code == 0
    for arguments, expected in (
        (("classify", "--text", LONG, "-m", "sentiment"), f"the text is {CUT.format(62)}"),
        (("embed", "a dog", LONG, LONG, "-o", "v.npy"), f"1 of 2 texts is {CUT.format(30)}"),
        (("search", "i", LONG, "--json"), f"the text is {CUT.format(30)}"),
        (("ask", photos / "0.png", photos / "1.png", LONG, f"{LONG}?", "what?"), f"2 of 3 texts are {CUT.format(30)}"),
        (
            ("predict", "sentiment", "posts.csv", "-o", "out.csv", "--task", "classification"),
            f"posts.csv: 1 of 2 texts is {CUT.format(62)}",
        ),
        (
            ("evaluate", "--task", "classification", "--data", "posts.csv", "--split", "all", "-m", "sentiment"),
            f"warning: 1 of 2 texts is {CUT.format(62)}",
        ),
    ):
        ran = braid(*arguments)
        assert (ran.code, [line for line in ran.err.splitlines() if "left out" in line]) == (0, [expected]), ran.err
    for arguments in (
        ("embed", "a dog", "-o", "v.npy"),
        ("search", "i", "a dog"),
        ("classify", "--text", "a", "-m", "sentiment"),
    ):
        assert "left out" not in braid(*arguments).err

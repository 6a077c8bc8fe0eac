"""Data sets with rows, or whole files, that cannot be read."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

import braid
from bad.case import case, command, run, table
from braid.datasets import open_dataset
from braid.datasets.checks import check
from braid.datasets.table import parse_columns
from braid.evaluation import evaluate
from braid.training import train


def opened(path: Path, columns: str = "", split: str = "") -> str:
    """What a data set holds, and the rows that are skipped."""
    dataset = open_dataset(path, parse_columns(columns))
    rows = dataset.split(split) if split else dataset.examples
    left = "".join(f"; skipped: {row.source}: {row.reason}" for row in dataset.skipped)
    return f"works: {len(rows)} rows{left}"


GOOD = "image,caption\nphoto.png,a dog\n"


@case("data", "a file that is missing")
def _(home: Path) -> Any:
    return opened(home / "gone.csv")


@case("data", "a file of no known format")
def _(home: Path) -> Any:
    return opened(table(home, b"\0\1\2", "data.bin"))


@case("data", "a column of prices such as $1,200")
def _(home: Path) -> Any:
    path = table(home, "text,price,label\n" + "".join(f'row {k},"${1200 + k:,}",{"ab"[k % 2]}\n' for k in range(30)))
    return "; ".join(defect.what for defect in check(open_dataset(path, {"tabular": "price"})) if "price" in defect.what)


@case("data", "a folder with two tables")
def _(home: Path) -> Any:
    (home / "set").mkdir()
    table(home / "set", GOOD, "a.csv")
    table(home / "set", GOOD, "b.csv")
    return opened(home / "set")


@case("data", "a column that is not there")
def _(home: Path) -> Any:
    return opened(table(home, GOOD), "captions=captoin")


@case("data", "a role that is not there")
def _(home: Path) -> Any:
    return opened(table(home, GOOD), "capton=caption")


@case("data", "columns with unusual names")
def _(home: Path) -> Any:
    return opened(table(home, "x,y\n1,2\n"))


@case("data", "two columns of the same name")
def _(home: Path) -> Any:
    return opened(table(home, "image,caption,caption\nphoto.png,a dog,a cat\n"))


@case("data", "empty captions")
def _(home: Path) -> Any:
    return opened(table(home, GOOD + "photo.png,\n"))


@case("data", "a caption that is no text")
def _(home: Path) -> Any:
    return opened(table(home, '{"image": "photo.png", "caption": {"en": "a dog"}}\n' * 2, "data.jsonl"))


@case("data", "a caption that is NaN")
def _(home: Path) -> Any:
    return opened(table(home, '{"image": "photo.png", "caption": NaN}\n', "data.jsonl"))


@case("data", "Latin-1")
def _(home: Path) -> Any:
    return opened(table(home, "image,caption\nphoto.png,café\n".encode("latin-1")))


@case("data", "UTF-16, as spreadsheets save it")
def _(home: Path) -> Any:
    return opened(table(home, GOOD.encode("utf-16")))


@case("data", "UTF-8 with a byte order mark")
def _(home: Path) -> Any:
    return opened(table(home, b"\xef\xbb\xbf" + GOOD.encode()))


@case("data", "NUL bytes in a path")
def _(home: Path) -> Any:
    return opened(table(home, GOOD + "pho\0to.png,a dog\n"))


@case("data", "a line separator (U+2028) within a caption")
def _(home: Path) -> Any:
    return opened(table(home, '{"image": "photo.png", "caption": "a dog\u2028runs"}\n', "data.jsonl"))


@case("data", "two rows with the same id, predictions saved by id")
def _(home: Path) -> Any:
    shutil.copy(home / "photo.png", home / "other.png")
    path = table(home, "id,image,caption\n7,photo.png,a dog\n7,other.png,a cat\n")
    return command("evaluate", "--data", path, "--split", "all", "-m", home / "model", "--save-predictions", home / "p.json")


@case("data", "two images of the same name in two folders")
def _(home: Path) -> Any:
    for folder in ("a", "b"):
        (home / folder).mkdir()
        shutil.copy(home / "photo.png", home / folder / "1.png")
    dataset = open_dataset(table(home, "image,caption\na/1.png,a dog\nb/1.png,a cat\n"))
    return f"works: their ids are {' and '.join(example.id for example in dataset.examples)}"


@case("data", "one caption for all images")
def _(home: Path) -> Any:
    rows = []
    for k in range(9):
        Image.new("RGB", (9, 9), (20 * k, 0, 0)).save(home / f"{k}.png")
        rows.append(f"{k}.png,a dog,val\n")
    path = table(home, "image,caption,split\n" + "".join(rows))
    model = braid.load(home / "model")
    metrics, _ = evaluate(model.runtime, model.collator, model.task("captioning"), open_dataset(path).split("val"))
    return f"works: CIDEr and all others are numbers: {all(np.isfinite(list(metrics.values())))}"


@case("data", "labels of mixed type")
def _(home: Path) -> Any:
    rows = [{"image": "photo.png", "text": "x", "label": label} for label in ("dog", 1, 2.5, True, None)]
    return opened(table(home, "".join(json.dumps(row) + "\n" for row in rows), "data.jsonl"))


@case("data", "an empty split")
def _(home: Path) -> Any:
    return opened(table(home, "image,caption,split\nphoto.png,a dog,train\n"), split="val")


@case("data", "a caption of 10 MB in a csv")
def _(home: Path) -> Any:
    return opened(table(home, GOOD + f"photo.png,{'dog ' * 2_500_000}\n"))


@case("data", "a csv row with too many cells")
def _(home: Path) -> Any:
    return opened(table(home, GOOD + "photo.png,a dog, running\n"))


@case("data", "a csv row with too few cells")
def _(home: Path) -> Any:
    return opened(table(home, GOOD + "photo.png\n"))


@case("data", "a csv quote that is never closed")
def _(home: Path) -> Any:
    return opened(table(home, GOOD + 'photo.png,"a dog\nphoto.png,a cat\n'))


@case("data", "quotes within quotes in a csv, which are not doubled")
def _(home: Path) -> Any:
    return opened(table(home, GOOD + 'photo.png,"a "big" dog"\n'))


@case("data", "a csv whose cells are separated by semicolons, as spreadsheets in much of Europe write it")
def _(home: Path) -> Any:
    return opened(table(home, "image;caption\nphoto.png;a dog, running\n"))


@case("data", "a list of lists in a cell")
def _(home: Path) -> Any:
    return opened(table(home, GOOD + "photo.png,\"[['a dog'], ['a cat']]\"\n"))


@case("data", "a column whose name has a comma, without quotes in --columns")
def _(home: Path) -> Any:
    return opened(table(home, '"photo, path",caption\nphoto.png,a dog\n'), "image=photo, path")


@case("data", "images that are a web address, base64, a list, a path of Windows")
def _(home: Path) -> Any:
    values = ("HTTPS://example.org/dog.jpg", "/9j/" + "4AAQSkZJRgABAQ" * 99, "['a.png', 'b.png']", "C:\\photos\\a.png")
    rows = [{"image": value, "caption": "a dog"} for value in values]
    return opened(table(home, "".join(json.dumps(row) + "\n" for row in rows), "data.jsonl"))


@case("data", "a web address for a data set")
def _(home: Path) -> Any:
    return command("data", "check", "s3://bucket/photos.csv")


@case("data", "a jsonl whose last line is cut")
def _(home: Path) -> Any:
    return opened(table(home, '{"image": "photo.png", "caption": "a dog"}\n{"image": "photo.png", "capt', "data.jsonl"))


@case("data", "a jsonl row nested 100,000 deep")
def _(home: Path) -> Any:
    return opened(table(home, '{"image": "photo.png", "caption": "a dog"}\n' + "[" * 100_000 + "\n", "data.jsonl"))


@case("data", "a jsonl number of 5,000 digits")
def _(home: Path) -> Any:
    return opened(table(home, '{"image": "photo.png", "caption": "a dog"}\n' + "1" * 5000 + "\n", "data.jsonl"))


@case("data", "a list nested 200,000 deep in a cell")
def _(home: Path) -> Any:
    return opened(table(home, GOOD + f"photo.png,{'[' * 200_000}\n"))


@case("data", "an empty file")
def _(home: Path) -> Any:
    return opened(table(home, ""))


@case("data", "a header and no rows")
def _(home: Path) -> Any:
    return opened(table(home, "image,caption\n"))


@case("data", "images that are not there")
def _(home: Path) -> Any:
    return opened(table(home, GOOD + "gone.png,a cat\n"))


@case("data", "COCO captions of an image that is not listed")
def _(home: Path) -> Any:
    whole = {
        "images": [{"id": 1, "file_name": "photo.png"}],
        "annotations": [{"image_id": 1, "caption": "a dog"}, {"image_id": 2, "caption": "a cat"}],
    }
    return opened(table(home, json.dumps(whole), "captions_val.json"))


@case("data", "COCO captions of which one lacks its text, and one image its file_name and another its own id")
def _(home: Path) -> Any:
    images = [{"id": 1, "file_name": "photo.png"}, {"id": 2}, {"id": 1, "file_name": "photo.jpg"}]
    whole = {"images": images, "annotations": [{"image_id": 1, "caption": "a dog"}, {"image_id": 1}]}
    return opened(table(home, json.dumps(whole), "captions_val.json"))


@case("data", "a Karpathy file of which one sentence is no text")
def _(home: Path) -> Any:
    images = [{"filename": "photo.png", "split": "val", "sentences": [{"raw": "a dog"}, {"raw": 3}]}]
    return opened(table(home, json.dumps({"images": images}), "dataset_x.json"))


@case("data", "COCO captions cut short")
def _(home: Path) -> Any:
    return opened(table(home, '{"images": [{"id": 1, "file_name": "a"', "captions_val.json"))


@case("data", "VQA questions of which one has no answers, and one no image")
def _(home: Path) -> Any:
    shutil.copy(home / "photo.jpg", home / "000000000001.jpg")
    asked = [{"question_id": 10 + k, "image_id": image, "question": "what?"} for k, image in enumerate((1, 1, 2))]
    said = [{"question_id": key, "answers": [{"answer": "dog"}]} for key in (10, 12)]
    table(home, json.dumps({"annotations": said}), "val_annotations.json")
    return opened(table(home, json.dumps({"questions": asked}), "val_questions.json"))


@case("data", "VQA annotations without their questions")
def _(home: Path) -> Any:
    said = [{"question_id": 10, "answers": [{"answer": "dog"}]}]
    return opened(table(home, json.dumps({"annotations": said}), "val_annotations.json"))


@case("data", "gzip that is cut short")
def _(home: Path) -> Any:
    import gzip

    packed = gzip.compress(b"a dog runs\n" * 1000)
    return opened(table(home, packed[: len(packed) // 2], "text.txt.gz"))


@case("data", "every image unreadable, in training")
def _(home: Path) -> Any:
    table(home, "", "broken.png")
    path = table(home, "image,caption,split\n" + "broken.png,a dog,train\n" * 3 + "photo.png,a dog,val\n")
    train(run(path), home / "run")


@case("data", "one bad image with --strict, prepared in another process")
def _(home: Path) -> Any:
    table(home, "", "broken.png")
    path = table(home, "image,caption,split\nphoto.png,a dog,train\nbroken.png,a dog,train\nphoto.png,a dog,val\n")
    train(run(path, "strict=true", "workers=1"), home / "run")


@case("data", "scenes with a setting that is not there")
def _(home: Path) -> Any:
    return open_dataset("scenes:captioning,trian=3")


@case("data", "scenes to draw on a lattice that is too coarse")
def _(home: Path) -> Any:
    return open_dataset("scenes:image_generation,lattice=4")


@case("data", "a result named after no format of a table")
def _(home: Path) -> Any:
    return command("predict", home / "model", table(home, GOOD), "-o", home / "out.xls")


@case("data", "a result where a folder stands")
def _(home: Path) -> Any:
    (home / "out.csv").mkdir()
    return command("predict", home / "model", table(home, GOOD), "-o", home / "out.csv")


@case("data", "a result below a file")
def _(home: Path) -> Any:
    return command("predict", home / "model", table(home, GOOD), "-o", home / "photo.png" / "out.csv")


@case("data", "a parquet file that is cut short")
def _(home: Path) -> Any:
    pq.write_table(pa.table({"image": ["photo.png"], "caption": ["a dog"]}), home / "data.parquet")
    (home / "data.parquet").write_bytes((home / "data.parquet").read_bytes()[:-30])
    return opened(home / "data.parquet")


@case("data", "a parquet file of a few kilobytes that unpacks to gigabytes")
def _(home: Path) -> Any:
    pq.write_table(pa.table({"image": ["photo.png"], "caption": ["a" * 80_000_000]}), home / "data.parquet", compression="zstd")
    return opened(home / "data.parquet")


@case("data", "a csv table named .parquet")
def _(home: Path) -> Any:
    return opened(table(home, GOOD, "data.parquet"))


@case("data", "an image that is null, in a parquet file")
def _(home: Path) -> Any:
    images = [{"bytes": (home / "photo.png").read_bytes(), "path": None}, None]
    pq.write_table(pa.table({"image": images, "caption": ["a dog", "a cat"]}), home / "data.parquet")
    return opened(home / "data.parquet")


@case("data", "shards whose first line is gone")
def _(home: Path) -> Any:
    shards = home / "shards"
    command("data", "shard", table(home, GOOD), "-o", shards)
    (shards / "shards.jsonl").write_text("".join((shards / "shards.jsonl").read_text().splitlines(keepends=True)[1:]))
    return opened(shards)


@case("data", "shards of which a tar is gone")
def _(home: Path) -> Any:
    shards = home / "shards"
    command("data", "shard", table(home, GOOD), "-o", shards)
    (shards / "00000.tar").unlink()
    return open_dataset(shards).split("train")


@case("data", "a tar that is cut short, with --strict")
def _(home: Path) -> Any:
    shards = home / "shards"
    command("data", "shard", table(home, GOOD), "-o", shards)
    (shards / "00000.tar").write_bytes((shards / "00000.tar").read_bytes()[:2000])
    return command("evaluate", "-m", home / "model", "--data", shards, "--split", "all", "--strict")


@case("data", "a folder whose tables have parts of words for splits")
def _(home: Path) -> Any:
    (home / "set").mkdir()
    for name in ("latest", "retrieval"):
        table(home / "set", "image,caption\n../photo.png,a dog\n", f"{name}.csv")
    return opened(home / "set")


@case("data", "one row, of which a val is wanted")
def _(home: Path) -> Any:
    return opened(table(home, GOOD), split="val")


@case("data", "questions about one image, of which a val is wanted")
def _(home: Path) -> Any:
    return opened(table(home, "image,question,answer\n" + "".join(f"photo.png,what {k}?,dog\n" for k in range(9))), split="val")


@case("data", "a column `fold` with numbers, whose split 0 is wanted")
def _(home: Path) -> Any:
    rows = "".join(f"text {k},{k % 3}\n" for k in range(9))
    return opened(table(home, "text,fold\n" + rows), split="0")


@case("data", "a folder without labels, for classification")
def _(home: Path) -> Any:
    (home / "photos").mkdir()
    for k in range(4):
        Image.new("RGB", (9, 9), (20 * k, 0, 0)).save(home / "photos" / f"{k}.png")
    return command("train", "--task", "classification", "--data", home / "photos", "--model", "tiny", "--output", home / "run")


@case("data", "a folder of photos of a phone (.heic), captioned")
def _(home: Path) -> Any:
    (home / "photos").mkdir()
    for name in ("a.heic", "b.HEIC"):
        (home / "photos" / name).write_bytes(b"x")
    return command("caption", home / "photos", "-m", home / "model")


@case("data", "a pipe named like a table")
def _(home: Path) -> Any:
    os.mkfifo(home / "data.json")
    return opened(home / "data.json")


@case("data", "a pipe named like an image")
def _(home: Path) -> Any:
    os.mkfifo(home / "pipe.png")
    return command("caption", home / "pipe.png", "-m", home / "model")


@case("data", "a folder to predict that holds nothing")
def _(home: Path) -> Any:
    (home / "photos").mkdir()
    return command("predict", home / "model", home / "photos", "-o", home / "out.csv")

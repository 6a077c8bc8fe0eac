"""What is fuzzed: each target has whole inputs to start from and a function that reads damaged ones.

A reader may refuse an input with a ``UserError``; every other exception is a defect.
"""

import gzip
import io
import json
import random
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

INTERESTING = (
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\x7f\xff\xff\xff",
    b"\x80\x00\x00\x00",
)
TOKENS = (
    b'"',
    b"'",
    b",",
    b"\t",
    b"\n",
    b"\r",
    b"[",
    b"]",
    b"{",
    b"}",
    b":",
    b"\\u0000",
    b"\\ud800",
    b"\xed\xa0\x80",
    b"\xff\xfe",
)
TOKENS += (
    b"#0\t",
    b".jpg#1\t",
    b"train",
    b"NaN",
    b"1e999",
    b"-1",
    b"null",
    b"&a",
    b"*a",
    b"<<: ",
    b"!!set ",
    b"- ",
    b"? ",
    b"2020-01-01",
)
# What JSON allows and few readers expect, as raw text.
VALUES = (
    "null",
    "true",
    "0",
    "-1",
    "0.5",
    "1e999",
    "-1e999",
    "NaN",
    "9" * 30,
    "9" * 5000,
    '""',
    '" "',
    '"x"',
    "[]",
    "{}",
    "[[]]",
    "[null]",
)
VALUES += (
    '"\\ud800"',
    '"a\\u0000b"',
    '"../../.."',
    '"~"',
    '"http://x/y.png"',
    '"' + "x" * 5000 + '"',
    '{"kind": "image"}',
    '{"kind": []}',
)
VALUES += ("[" * 3000 + "]" * 3000, '{"a":' * 3000 + "1" + "}" * 3000)
HOLE = "<hole>"


@dataclass(frozen=True)
class Target:
    """``read`` takes one input; ``structured`` inputs are JSON, and are damaged value by value, too."""

    name: str
    seeds: tuple[bytes, ...]
    read: Callable[[bytes], Any]
    structured: bool = False


def mutated(target: Target, rng: random.Random, data: bytes | None = None) -> bytes:
    """An input of the target (one of its seeds where none is given), damaged in one to eight places."""
    data = rng.choice(target.seeds) if data is None else data
    if target.structured and rng.random() < 0.7:
        data = _value_replaced(data, rng)
        if rng.random() < 0.7:
            return data
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        data = rng.choice(CHANGES)(data, rng, target)
    return data


def _place(data: bytes, rng: random.Random) -> int:
    """Anywhere, but half the time near the beginning, where the headers are."""
    return rng.randrange(min(len(data), 200) + 1) if rng.random() < 0.5 else rng.randrange(len(data) + 1)


def _flipped(data: bytes, rng: random.Random, target: Target) -> bytes:
    place = _place(data, rng)
    changed = bytes([data[place] ^ (1 << rng.randrange(8))]) if place < len(data) else b"\x01"
    return data[:place] + changed + data[place + 1 :]


def _overwritten(data: bytes, rng: random.Random, target: Target) -> bytes:
    place, value = _place(data, rng), rng.choice(INTERESTING)
    return data[:place] + value + data[place + len(value) :]


def _inserted(data: bytes, rng: random.Random, target: Target) -> bytes:
    place = _place(data, rng)
    return data[:place] + rng.choice(TOKENS) * rng.choice((1, 1, 1, 2, 50)) + data[place:]


def _removed(data: bytes, rng: random.Random, target: Target) -> bytes:
    place = _place(data, rng)
    return data[:place] + data[place + rng.choice((1, 2, 4, 16, 64, 1024)) :]


def _repeated(data: bytes, rng: random.Random, target: Target) -> bytes:
    place, length = _place(data, rng), rng.choice((1, 4, 32, 256))
    return data[:place] + data[place : place + length] * rng.choice((2, 3, 20)) + data[place + length :]


def _cut(data: bytes, rng: random.Random, target: Target) -> bytes:
    return data[: _place(data, rng)]


def _spliced(data: bytes, rng: random.Random, target: Target) -> bytes:
    other = rng.choice(target.seeds)
    return data[: _place(data, rng)] + other[_place(other, rng) :]


CHANGES: tuple[Callable[[bytes, random.Random, Target], bytes], ...] = (
    _flipped, _flipped, _overwritten, _inserted, _removed, _repeated, _cut, _spliced
)  # fmt: skip


def _value_replaced(data: bytes, rng: random.Random) -> bytes:
    """One value, somewhere in a JSON document (or in one line of it), becomes another, or its key is lost or renamed."""
    lines = data.split(b"\n")
    row = rng.randrange(len(lines)) if len(lines) > 1 and _parsed(data) is None else None
    whole = _parsed(data if row is None else lines[row])
    if not isinstance(whole, dict | list) or not whole:
        return data
    holder = whole
    while True:
        key = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
        if not isinstance(holder[key], dict | list) or not holder[key] or rng.random() < 0.3:
            break
        holder = holder[key]
    if isinstance(holder, dict) and rng.random() < 0.2:
        holder[rng.choice(("", "kind", "image", "id", "\x00"))] = holder.pop(key)
    else:
        holder[key] = HOLE
    changed = json.dumps(whole).replace(json.dumps(HOLE), rng.choice(VALUES)).encode()
    return changed if row is None else b"\n".join([*lines[:row], changed, *lines[row + 1 :]])


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


@cache
def _folder() -> Path:
    """A folder with pictures, kept as long as the process."""
    kept = tempfile.TemporaryDirectory(prefix="braid-fuzz-")
    _KEPT.append(kept)
    for name in (*"abcd", "000000000000", "000000000001"):
        Image.new("RGB", (4, 4), "red").save(Path(kept.name) / f"{name}.png")
    return Path(kept.name)


_KEPT: list[Any] = []


def images() -> tuple[bytes, ...]:
    """One small picture of every format and many kinds of pixel."""
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    exif = Image.Exif()
    exif[0x0112] = 6
    variants: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (image, "PNG", {}),
        (image.convert("P"), "PNG", {"transparency": 3}),
        (image.convert("RGBA"), "PNG", {}),
        (Image.fromarray(noise[..., 0].astype(np.uint16) * 256), "PNG", {}),
        (image, "JPEG", {"exif": exif}),
        (image.convert("CMYK"), "JPEG", {"progressive": True}),
        (image.convert("P"), "GIF", {"save_all": True, "append_images": [image.rotate(90).convert("P")]}),
        (image, "WEBP", {"exif": exif.tobytes()}),
        (image.convert("RGBA"), "WEBP", {"lossless": True}),
        (image, "TIFF", {}),
        (image, "TIFF", {"compression": "tiff_lzw"}),
        (image.convert("F"), "TIFF", {}),
        (image, "BMP", {}),
        (image.convert("1"), "BMP", {}),
    ]
    result = []
    for variant, kind, options in variants:
        buffer = io.BytesIO()
        variant.save(buffer, kind, **options)
        result.append(buffer.getvalue())
    return tuple(result)


def _decoder() -> Target:
    from braid.modalities import ImageModalityConfig

    modality = ImageModalityConfig(size=16).build()
    return Target("image", images(), modality.prepare)


def _clips() -> Target:
    """One small clip of usual containers and codecs, and animated images."""
    from braid.modalities import VideoModalityConfig
    from clips import animation, clip

    modality = VideoModalityConfig(frames=4, size=16, decoding_limit=5).build()
    containers = {"mp4": "mpeg4", "avi": "mpeg4", "matroska": "libx264", "mpegts": "libx264", "webm": "libvpx", "flv": "flv1"}
    videos = [clip(8, codec=codec, container=container) for container, codec in containers.items()]
    return Target("video", (*videos, *(animation(kind) for kind in ("GIF", "WEBP", "PNG"))), modality.prepare)


def _reader(name: str, file: str, *seeds: bytes | str, structured: bool = False, beside: dict[str, str] | None = None) -> Target:
    """``open_dataset`` of one file, with pictures (and the files ``beside``) in its folder."""
    from braid.datasets import open_dataset

    folder = _folder() / name
    folder.mkdir(exist_ok=True)
    for image in _folder().glob("*.png"):
        (folder / image.name).write_bytes(image.read_bytes())
    for other, text in (beside or {}).items():
        (folder / other).write_text(text)

    def read(data: bytes) -> Any:
        (folder / file).write_bytes(data)
        dataset = open_dataset(folder / file)
        for example in dataset.examples:  # tokenizers and files take no text that UTF-8 cannot say
            json.dumps([value for role, value in example.fields.items() if role != "image"], ensure_ascii=False).encode()
        return dataset

    return Target(name, tuple(seed if isinstance(seed, bytes) else seed.encode() for seed in seeds), read, structured)


def _readers() -> dict[str, Callable[[], Target]]:
    rows = [{"image": f"{name}.png", "captions": [f"a {name}", "it"], "split": "train", "id": k} for k, name in enumerate("abcd")]
    asked = [{"image": "a.png", "question": "what?", "answer": "x, y", "answers": ["x", "y"], "label": "z"}]
    lines = "\n".join(json.dumps(row) for row in [*rows, *asked])
    coco = {
        "images": [{"id": k, "file_name": f"{name}.png"} for k, name in enumerate("abcd")],
        "annotations": [{"image_id": k % 4, "caption": f"it is {k}"} for k in range(6)],
    }
    questions = [{"question_id": k, "image_id": k % 2, "question": f"what is {k}?"} for k in range(4)]
    asked_of_coco = json.dumps({"questions": questions, "data_type": "mscoco", "data_subtype": "val2014"})
    said = [{"question_id": k, "answers": [{"answer": f"{k}"}, {"answer": "it"}], "answer_type": "other"} for k in range(4)]
    answered = json.dumps({"annotations": said})
    sentences = [{"raw": "a thing", "tokens": ["a", "thing"]}]
    karpathy = {
        "images": [{"filename": f"{n}.png", "filepath": "", "split": "restval", "sentences": sentences} for n in "abcd"],
        "dataset": "coco",
    }
    token = "".join(f"{name}.png#{k}\ta {name} thing\n" for name in "abcd" for k in range(2))
    text = "a line\n\nanother line\n" * 4
    csvs = (
        'image,caption,split,id\na.png,"a, dog",train,1\nb.png,"[""x"", ""y""]",val,2\nc.png,cat,test,3\n',
        "photo,caption_0,caption_1\na.png,x,y\n",
    )
    readers = [
        partial(_reader, "csv", "data.csv", *csvs),
        partial(_reader, "tsv", "data.tsv", *(text.replace(",", "\t") for text in csvs)),
        partial(_reader, "jsonl", "data.jsonl", lines, structured=True),
        partial(_reader, "json", "data.json", json.dumps(rows), json.dumps(asked), structured=True),
        partial(_reader, "parquet", "data.parquet", *_parquets()),
        partial(_reader, "coco", "captions_val2017.json", json.dumps(coco), structured=True),
        partial(_reader, "vqa", "questions.json", asked_of_coco, structured=True, beside={"annotations.json": answered}),
        partial(_reader, "vqa answers", "annotations.json", answered, structured=True, beside={"questions.json": asked_of_coco}),
        partial(_reader, "karpathy", "dataset_coco.json", json.dumps(karpathy), structured=True),
        partial(_reader, "flickr", "Flickr.token.txt", token, beside={"trainImages.txt": "a.png\nb.png\n"}),
        partial(_reader, "flickr splits", "trainImages.txt", "a.png\nb.png\n", beside={"Flickr.token.txt": token}),
        partial(_reader, "lines", "lines.txt", text),
        partial(_reader, "gzip", "lines.txt.gz", gzip.compress(text.encode(), mtime=0)),
    ]
    return {reader.args[0]: reader for reader in readers}


def _parquets() -> tuple[bytes, ...]:
    """Paths and plain text, and pictures and classes as Hugging Face's data sets keep them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    bytes_of = (_folder() / "a.png").read_bytes()
    tables = (
        {"image": ["a.png", "b.png", None], "captions": [["a", "it"], ["b"], []], "split": ["train", "val", "test"]},
        {"image": [{"bytes": bytes_of, "path": "a.png"}] * 3, "label": [0, 1, None], "text": ["x", "y", "z"]},
    )
    note = b'{"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}'
    result = []
    for table, compression in zip(tables, ("none", "snappy"), strict=True):
        buffer = io.BytesIO()
        pq.write_table(pa.table(table).replace_schema_metadata({b"huggingface": note}), buffer, compression=compression)
        result.append(buffer.getvalue())
    return tuple(result)


def _bundle(file: str) -> Target:
    """``read_bundle`` and all that it gives, with one of a small bundle's files damaged."""
    from braid.bundle import WEIGHTS, Interface, read_bundle, write_bundle
    from braid.modalities import ImageModalityConfig, TextModalityConfig, Tokenizer
    from braid.tasks import task_of

    folder = _folder() / "bundle"
    interface = Interface(
        {"image": ImageModalityConfig(), "prompt": TextModalityConfig()},
        {"text": TextModalityConfig()},
        {"captioning": {"kind": "captioning", "prompt": "", "generation": {"method": "beam", "beam": 3}}},
        (("image", "prompt"),),
    )
    tokenizer = Tokenizer.train(["a dog runs", "two dogs run"] * 4, vocab_size=280)
    weights = {"a.weight": np.ones((2, 3), np.float32), "b.bias": np.zeros(4, np.float16), "c": np.array(1.0, np.float32)}
    architecture = {"encoders": {"image": {"kind": "vit"}}, "fusion": {"kind": "concat"}, "decoders": {"text": {"kind": "gru"}}}
    write_bundle(folder, interface, {"tokenizer": tokenizer}, architecture, weights)

    whole = (folder / file).read_bytes()

    def read(data: bytes) -> Any:
        (folder / file).write_bytes(data)
        try:
            bundle = read_bundle(folder)
            tasks = [task_of(bundle.interface, kind) for kind in bundle.interface.tasks]
            encoded = bundle.tokenizer.decode(bundle.tokenizer.encode("a dog <pad> runs"))
            return bundle.inputs, bundle.outputs, tasks, encoded, bundle.weights() if file == WEIGHTS else None
        finally:
            (folder / file).write_bytes(whole)

    return Target(file, (whole,), read, file.endswith(".json"))


def _run() -> Target:
    import yaml

    from braid.training import read_run

    settings = {
        "task": {"kind": "captioning", "generation": {"max_length": 12}},
        "data": {"path": "photos.csv", "columns": {"image": "photo"}},
        "model": "tiny",
        "optimizer": {"learning_rate": 1e-3, "scales": {"encoders": 0.1}},
        "inputs": {"image": {"kind": "image", "augmentation": {"crop_scale": [0.5, 1.0]}}, "prompt": {"kind": "text"}},
        "input_dropout": {"image": 0.1},
        "card": {"sources": [{"name": "x", "use": "y", "terms": "z"}]},
    }
    bomb = "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}' if k else 'x'] * 9)}]\n" for k in range(9))
    path = _folder() / "run.yaml"

    def read(data: bytes) -> Any:
        path.write_bytes(data)
        return read_run(path)

    return Target(
        "run.yaml", (json.dumps(settings).encode(), yaml.safe_dump(settings).encode(), bomb.encode()), read, structured=True
    )


def _index() -> Target:
    """index.json; the files that it names are held to their checksums."""
    from braid.index import ExactIndexConfig, HnswIndexConfig, Origin, create_index, open_index

    folder, seeds = _folder() / "index", []
    shutil.rmtree(folder, ignore_errors=True)  # an earlier target's
    for config in (ExactIndexConfig(), HnswIndexConfig()):
        index = create_index(folder / config.kind, config, 4, Origin("toy", "0123"))
        index.add(["a", "b"], np.eye(2, 4))
        index.save()
        seeds.append((folder / config.kind / "index.json").read_bytes())

    def read(data: bytes) -> Any:
        place = folder / ("hnsw" if b'"hnsw"' in data else "exact")
        (place / "index.json").write_bytes(data)
        return open_index(place).search(np.eye(1, 4))

    return Target("index.json", tuple(seeds), read, structured=True)


def _scores() -> Target:
    from braid.cli.evaluate import read_predictions, read_references
    from braid.metrics import score_captions

    files = _folder() / "predictions.json", _folder() / "references.json"
    seed = {"predictions": {"1": "a dog", "2": "a cat."}, "references": {"1": ["a dog", "dogs"], "2": "the cat"}}
    listed = {"predictions": [{"image_id": 1, "caption": "a dog"}], "references": {"1": ["a dog"]}}

    def read(data: bytes) -> Any:
        """One document holds both files, so that they can differ; where it is none, it is both."""
        both = _parsed(data)
        for path, name in zip(files, seed, strict=True):
            inside = json.dumps(both[name]).encode() if isinstance(both, dict) and name in both else data
            path.write_bytes(inside)
        return score_captions(read_predictions(files[0]), read_references(files[1])).intervals

    return Target("scores", (json.dumps(seed).encode(), json.dumps(listed).encode()), read, structured=True)


BUNDLE = ("interface.json", "model.json", "tokenizer.json", "model.safetensors")

TARGETS: dict[str, Callable[[], Target]] = {
    "image": _decoder,
    "video": _clips,
    **_readers(),
    **{file: partial(_bundle, file) for file in BUNDLE},
    "run.yaml": _run,
    "index.json": _index,
    "scores": _scores,
}

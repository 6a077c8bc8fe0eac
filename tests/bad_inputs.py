"""What people and accidents do to files, and what Braid says: one sentence, or it simply works.

    python tests/bad_inputs.py         writes docs/bad-inputs.md from what the code says now

``tests/test_bad_inputs.py`` holds every case to its sentence, word for word.
"""

import contextlib
import io
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file

import braid
from braid import cli
from braid.bundle import Interface, write_bundle
from braid.config import to_dict
from braid.datasets import open_dataset
from braid.datasets.table import parse_columns
from braid.errors import UserError
from braid.modalities import ImageModalityConfig, TextModalityConfig, Tokenizer, image_files
from braid.presets import tiny
from braid.tasks import Captioning
from braid.training import read_run, run_from, train

PAGE = Path(__file__).resolve().parents[1] / "docs" / "bad-inputs.md"
NOBODY = 65534


@dataclass(frozen=True)
class Case:
    """``make(home)`` makes the input and uses it; it raises ``UserError``, or returns what came of it."""

    kind: str
    what: str
    make: Callable[[Path], Any]

    def says(self, home: Path) -> str:
        """Braid's own words, without the folder that the test made."""
        try:
            found = f"*{self.make(home)}*"
        except UserError as error:
            found = str(error)
        return " ".join(found.replace(f"{home}/", "").replace(str(home), ".").replace("\0", "\\0").split())


CASES: list[Case] = []


def case(kind: str, what: str) -> Callable[[Callable[[Path], Any]], Callable[[Path], Any]]:
    def add(make: Callable[[Path], Any]) -> Callable[[Path], Any]:
        CASES.append(Case(kind, what, make))
        return make

    return add


def make_home(home: Path) -> None:
    """photo.png, photo.jpg, and model/: a whole model with random weights."""
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(home / "photo.png")
    Image.fromarray(pixels).save(home / "photo.jpg")
    inputs = {"image": ImageModalityConfig(size=32), "prompt": TextModalityConfig(max_length=16)}
    outputs = {"text": TextModalityConfig(max_length=26)}
    tokenizer = Tokenizer.train(["a dog runs in the park", "two cats on a mat"] * 9, vocab_size=300)
    torch.manual_seed(0)
    model = tiny().build({k: v.build(tokenizer) for k, v in inputs.items()}, {k: v.build(tokenizer) for k, v in outputs.items()})
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    interface = Interface(inputs, outputs, {"captioning": to_dict(Captioning())})  # type: ignore[arg-type]
    write_bundle(home / "model", interface, tokenizer, to_dict(tiny()), weights)


# ---- pictures


def look(picture: Any) -> str:
    prepared = ImageModalityConfig(size=8).build().prepare(picture)
    red, green, blue = (round(value) for value in prepared.pixels.mean(axis=(0, 1)).tolist())
    return f"works: its mean colour is {red}, {green}, {blue}"


def saved(home: Path, image: Image.Image, name: str, **options: Any) -> Path:
    image.save(home / name, **options)
    return home / name


@case("picture", "a PNG that is cut short")
def _(home: Path) -> Any:
    (home / "cut.png").write_bytes((home / "photo.png").read_bytes()[:3000])
    return look(home / "cut.png")


@case("picture", "a JPEG that is cut short")
def _(home: Path) -> Any:
    (home / "cut.jpg").write_bytes((home / "photo.jpg").read_bytes()[:1500])
    return look(home / "cut.jpg")


@case("picture", "a file of zero bytes")
def _(home: Path) -> Any:
    (home / "empty.png").write_bytes(b"")
    return look(home / "empty.png")


@case("picture", "a text file named .jpg")
def _(home: Path) -> Any:
    (home / "notes.jpg").write_text("not a picture")
    return look(home / "notes.jpg")


@case("picture", "a PDF")
def _(home: Path) -> Any:
    (home / "paper.pdf").write_bytes(b"%PDF-1.4\n1 0 obj\n")
    return look(home / "paper.pdf")


@case("picture", "a PNG named .jpg")
def _(home: Path) -> Any:
    return look(saved(home, Image.new("RGB", (9, 9), (200, 100, 50)), "png.jpg", format="PNG"))


@case("picture", "16 bits a pixel")
def _(home: Path) -> Any:
    return look(saved(home, Image.fromarray(np.full((9, 9), 40000, np.uint16)), "deep.png"))


@case("picture", "a palette with a transparent colour")
def _(home: Path) -> Any:
    return look(saved(home, Image.new("P", (9, 9), 0), "palette.png", transparency=0))


@case("picture", "half transparent")
def _(home: Path) -> Any:
    return look(saved(home, Image.new("RGBA", (9, 9), (0, 0, 0, 128)), "glass.png"))


@case("picture", "CMYK, from a print shop")
def _(home: Path) -> Any:
    return look(saved(home, Image.new("CMYK", (9, 9), (0, 255, 255, 0)), "print.jpg"))


@case("picture", "an animation: its first frame")
def _(home: Path) -> Any:
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    return look(saved(home, frames[0], "film.gif", save_all=True, append_images=frames[1:]))


@case("picture", "turned by EXIF: upright")
def _(home: Path) -> Any:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = saved(home, Image.new("RGB", (20, 10), "red"), "turned.jpg", exif=exif)
    prepared = ImageModalityConfig(size=8, resize="pad").build().prepare(turned)
    return f"works: it is {prepared.mask.any(0).sum()} wide and {prepared.mask.any(1).sum()} high"


@case("picture", "1 x 1 pixel")
def _(home: Path) -> Any:
    return look(saved(home, Image.new("RGB", (1, 1), "red"), "dot.png"))


@case("picture", "1 x 10,000 pixels")
def _(home: Path) -> Any:
    return look(saved(home, Image.new("RGB", (1, 10_000), "red"), "thread.png"))


@case("picture", "120 megapixels")
def _(home: Path) -> Any:
    return look(saved(home, Image.new("1", (12_000, 10_000)), "giant.png"))


@case("picture", "a decompression bomb: 900 megapixels in 110 kB")
def _(home: Path) -> Any:
    return look(saved(home, Image.new("1", (30_000, 30_000)), "bomb.png"))


@case("picture", "a folder")
def _(home: Path) -> Any:
    return look(home / "model")


@case("picture", "a link that leads back to itself")
def _(home: Path) -> Any:
    (home / "loop.png").symlink_to(home / "loop.png")
    return look(home / "loop.png")


@case("picture", "a link to a file that is gone")
def _(home: Path) -> Any:
    (home / "link.png").symlink_to(home / "gone.png")
    return look(home / "link.png")


@case("picture", "a file that may not be read")
def _(home: Path) -> Any:
    shutil.copy(home / "photo.png", home / "secret.png")
    os.chmod(home / "secret.png", 0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)  # root may read everything
    try:
        return look(home / "secret.png")
    finally:
        os.seteuid(user)


@case("picture", "a pipe, which would be waited for")
def _(home: Path) -> Any:
    os.mkfifo(home / "pipe.png")
    return look(home / "pipe.png")


@case("picture", "a file that is missing")
def _(home: Path) -> Any:
    return look(home / "gone.png")


@case("picture", "a web address")
def _(home: Path) -> Any:
    return look("https://example.org/dog.jpg")


@case("picture", "an array with NaN")
def _(home: Path) -> Any:
    return look(np.full((4, 4, 3), np.nan))


@case("picture", "an array of floats up to 255")
def _(home: Path) -> Any:
    return look(np.full((4, 4, 3), 255.0))


@case("picture", "an array [3, height, width]")
def _(home: Path) -> Any:
    return look(np.zeros((3, 8, 8), np.uint8))


@case("picture", "an array without pixels")
def _(home: Path) -> Any:
    return look(np.zeros((0, 4, 3), np.uint8))


@case("picture", "a number")
def _(home: Path) -> Any:
    return look(17)


@case("picture", "an open PIL image whose file is cut short")
def _(home: Path) -> Any:
    (home / "cut.png").write_bytes((home / "photo.png").read_bytes()[:3000])
    with Image.open(home / "cut.png") as image:
        return look(image)


@case("picture", "a folder without pictures")
def _(home: Path) -> Any:
    (home / "none").mkdir()
    return image_files([home / "none"])


@case("picture", "a pattern that matches nothing")
def _(home: Path) -> Any:
    return image_files([home / "*.webp"])


@case("picture", "one bad picture among good ones, captioned")
def _(home: Path) -> Any:
    (home / "0.png").write_bytes(b"")
    return command("caption", home / "0.png", home / "photo.png", "-m", home / "model")


# ---- data


def command(*arguments: object) -> str:
    """The command line in this process; its error, or what it notes on stderr."""
    told, before = io.StringIO(), sys.argv
    sys.argv = ["braid", *map(str, arguments)]
    code: object = 0
    try:
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
            cli.main()
    except SystemExit as left:
        code = left.code
    finally:
        sys.argv = before
    text = told.getvalue().strip()
    if text.startswith("error: "):
        assert (code, text.count("\n")) == (1, 0)
        raise UserError(text.removeprefix("error: "))
    return f"goes on, exit code {code}: {text}"


def opened(path: Path, columns: str = "", split: str = "") -> str:
    """What a data set holds, and the first row that is left out of it."""
    dataset = open_dataset(path, parse_columns(columns))
    rows = dataset.split(split) if split else dataset.examples
    left = "".join(f"; left out: {row.source}: {row.reason}" for row in dataset.broken)
    return f"works: {len(rows)} rows{left}"


def table(home: Path, content: str | bytes, name: str = "data.csv") -> Path:
    (home / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return home / name


GOOD = "image,caption\nphoto.png,a dog\n"


@case("data", "a file that is missing")
def _(home: Path) -> Any:
    return opened(home / "gone.csv")


@case("data", "a file of no known format")
def _(home: Path) -> Any:
    return opened(table(home, b"\0\1\2", "data.bin"))


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


@case("data", "two pictures of the same name in two folders")
def _(home: Path) -> Any:
    for folder in ("a", "b"):
        (home / folder).mkdir()
        shutil.copy(home / "photo.png", home / folder / "1.png")
    dataset = open_dataset(table(home, "image,caption\na/1.png,a dog\nb/1.png,a cat\n"))
    return f"works: their ids are {' and '.join(example.id for example in dataset.examples)}"


@case("data", "one caption for all pictures")
def _(home: Path) -> Any:
    rows = []
    for k in range(9):
        Image.new("RGB", (9, 9), (20 * k, 0, 0)).save(home / f"{k}.png")
        rows.append(f"{k}.png,a dog,val\n")
    path = table(home, "image,caption,split\n" + "".join(rows))
    return command("evaluate", "--data", path, "-m", home / "model").replace(": ", " ").strip() + ", every figure a number"


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


@case("data", "pictures that are not there")
def _(home: Path) -> Any:
    return opened(table(home, GOOD + "gone.png,a cat\n"))


@case("data", "COCO captions of a picture that is not listed")
def _(home: Path) -> Any:
    whole = {
        "images": [{"id": 1, "file_name": "photo.png"}],
        "annotations": [{"image_id": 1, "caption": "a dog"}, {"image_id": 2, "caption": "a cat"}],
    }
    return opened(table(home, json.dumps(whole), "captions_val.json"))


@case("data", "COCO captions cut short")
def _(home: Path) -> Any:
    return opened(table(home, '{"images": [{"id": 1, "file_name": "a"', "captions_val.json"))


@case("data", "gzip that is cut short")
def _(home: Path) -> Any:
    import gzip

    packed = gzip.compress(b"a dog runs\n" * 1000)
    return opened(table(home, packed[: len(packed) // 2], "text.txt.gz"))


@case("data", "every picture unreadable, in training")
def _(home: Path) -> Any:
    table(home, "", "broken.png")
    path = table(home, "image,caption,split\n" + "broken.png,a dog,train\n" * 3 + "photo.png,a dog,val\n")
    train(run(path), home / "run")


@case("data", "one bad picture with --strict, prepared in another process")
def _(home: Path) -> Any:
    table(home, "", "broken.png")
    path = table(home, "image,caption,split\nphoto.png,a dog,train\nbroken.png,a dog,train\nphoto.png,a dog,val\n")
    train(run(path, "strict=true", "workers=1"), home / "run")


@case("data", "scenes with a setting that is not there")
def _(home: Path) -> Any:
    return open_dataset("scenes:captioning,trian=3")


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


# ---- configuration

SETTINGS: dict[str, Any] = {
    "task": "captioning",
    "data": {"path": "scenes:captioning,train=8,val=2,test=1,compositional=1,size=32"},
    "model": "tiny",
    "inputs": {"image": {"kind": "image", "size": 32}, "prompt": {"kind": "text", "max_length": 16}},
    "tokenizer": {"vocab_size": 300},
    "epochs": 1,
    "batch_size": 4,
    "workers": 0,
    "threads": 1,
}


def run(data: Path | None = None, *settings: str) -> Any:
    chosen = {**SETTINGS, **({"data": {"path": str(data)}} if data else {})}
    return run_from(chosen, settings)


def setting(what: str, *settings: str) -> None:
    CASES.append(Case("configuration", f"{what}: `{' '.join(settings)}`", lambda home: run(None, *settings)))


def trained(what: str, *settings: str) -> None:
    CASES.append(Case("configuration", f"{what}: `{' '.join(settings)}`", lambda home: train(run(None, *settings), home / "run")))


setting("an unknown setting", "optimizer.learning_rat=1e-4")
setting("an unknown kind", "model.fusion.kind=atention")
setting("an unknown task", "task.kind=captoning")
setting("a kind that is a list", "model.fusion.kind=[attention]")
setting("text for a number", "epochs=ten")
setting("a number for a section", "optimizer=3")
setting("no number", "optimizer.learning_rate=.nan")
setting("a negative number of workers", "workers=-1")
setting("a negative limit", "data.limit_train=-5")
setting("a negative learning rate", "optimizer.learning_rate=-0.1")
setting("a batch of no rows", "batch_size=0")
setting("a chance above 1", "input_dropout={image: 1.5}")
setting("an input the model does not have", "input_dropout={picture: 0.1}")
setting("a text longer than the output has room for", "task.generation.max_length=99")
setting("no `=`", "epochs")
setting("a value that is not YAML", "epochs=[1")
setting("a value nested 100,000 deep", "epochs=" + "[" * 100_000)
setting("a path through a value", "epochs.more=1")
setting("a name that leads out of the folder", "outputs={../../text: {kind: text}}")
trained("a width that its heads do not divide", "model.decoders.text.heads=5")
trained("no heads", "model.decoders.text.heads=0")
trained("a negative width", "model.decoders.text.width=-32")
trained("dropout above 1", "model.decoders.text.dropout=1.5")
trained("patches that do not divide the picture", "model.encoders.image.patch_size=7")
trained("patches of no pixels", "model.encoders.image.patch_size=0")
trained("an input without a modality", "inputs={image: {kind: image, size: 32}}")
trained("a modality of the wrong kind", "inputs.image={kind: text}")
trained("a split without rows", "data.val=dev")
trained("frozen parts that do not exist", "optimizer.scales={encoder: 0}")
trained("weights that are not there", "initialize={encoders.image: gone.safetensors}")


@case("configuration", "an unknown preset")
def _(home: Path) -> Any:
    return run_from({**SETTINGS, "model": "smal"})


@case("configuration", "a YAML file that is missing")
def _(home: Path) -> Any:
    return read_run(home / "gone.yaml")


@case("configuration", "a YAML syntax error")
def _(home: Path) -> Any:
    return read_run(table(home, "task: [captioning\nmodel: tiny\n", "run.yaml"))


@case("configuration", "YAML that refers to itself")
def _(home: Path) -> Any:
    return read_run(table(home, "task: captioning\ndata: &x {path: *x}\nmodel: tiny\n", "run.yaml"))


@case("configuration", "YAML that would run code")
def _(home: Path) -> Any:
    return read_run(table(home, "task: !!python/object/apply:os.system ['true']\n", "run.yaml"))


@case("configuration", "a picture given as the run's YAML")
def _(home: Path) -> Any:
    return read_run(home / "photo.png")


@case("configuration", "a list for a run")
def _(home: Path) -> Any:
    return read_run(table(home, "- captioning\n", "run.yaml"))


@case("configuration", "to resume from a folder without a run")
def _(home: Path) -> Any:
    return command("train", "--resume", "-o", home / "nothing")


@case("configuration", "a folder in use")
def _(home: Path) -> Any:
    train(run(), home / "run")
    train(run(), home / "run")


@case("configuration", "to resume with another model")
def _(home: Path) -> Any:
    train(run(), home / "run")
    train(run(None, "model.decoders.text.width=64"), home / "run", resume=True)


@case("configuration", "to resume from a checkpoint that is cut short")
def _(home: Path) -> Any:
    train(run(), home / "run")
    path = home / "run" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    train(run(), home / "run", resume=True)


@case("configuration", "a loss that is not a number")
def _(home: Path) -> Any:
    train(run(None, "optimizer.learning_rate=1e30", "optimizer.clip=0", "optimizer.warmup_steps=0", "epochs=9"), home / "run")


# ---- models


def used(home: Path) -> str:
    return f"works: {braid.load(home / 'model').caption(home / 'photo.png')!r}"


def changed(home: Path, file: str, change: Callable[[Any], Any]) -> str:
    path = home / "model" / file
    whole = json.loads(path.read_text())
    result = change(whole)
    path.write_text(json.dumps(whole if result is None else result))
    return used(home)


def reweighted(home: Path, change: Callable[[dict[str, np.ndarray]], Any]) -> str:
    path = home / "model" / "model.safetensors"
    weights = dict(load_file(path))
    change(weights)
    save_file(weights, path)
    return used(home)


@case("model", "a name that is no model")
def _(home: Path) -> Any:
    return braid.load(home / "smal")


@case("model", "weights cut short")
def _(home: Path) -> Any:
    path = home / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    return used(home)


@case("model", "weights of zero bytes")
def _(home: Path) -> Any:
    (home / "model" / "model.safetensors").write_bytes(b"")
    return used(home)


@case("model", "a pickle named model.safetensors")
def _(home: Path) -> Any:
    torch.save({"a": torch.zeros(3)}, home / "model" / "model.safetensors")
    return used(home)


@case("model", "a weight too many")
def _(home: Path) -> Any:
    return reweighted(home, lambda weights: weights.update(extra=np.zeros(3, np.float32)))


@case("model", "a weight missing")
def _(home: Path) -> Any:
    return reweighted(home, lambda weights: weights.pop("fusion.blocks.image.0.norm.weight", weights.pop(sorted(weights)[0])))


@case("model", "a weight of another shape")
def _(home: Path) -> Any:
    return reweighted(home, lambda weights: weights.update({sorted(weights)[0]: np.zeros(3, np.float32)}))


@case("model", "weights that are NaN")
def _(home: Path) -> Any:
    return reweighted(home, lambda weights: weights.update({n: np.full_like(v, np.nan) for n, v in weights.items()}))


@case("model", "another model's tokenizer")
def _(home: Path) -> Any:
    (home / "model" / "tokenizer.json").write_text(Tokenizer.train(["a b c"] * 9, vocab_size=280).to_json())
    return used(home)


@case("model", "no tokenizer")
def _(home: Path) -> Any:
    (home / "model" / "tokenizer.json").unlink()
    return used(home)


@case("model", "a tokenizer of another kind")
def _(home: Path) -> Any:
    (home / "model" / "tokenizer.json").write_text(
        '{"version": "1.0", "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}'
    )
    return used(home)


@case("model", "a tokenizer that is no JSON")
def _(home: Path) -> Any:
    (home / "model" / "tokenizer.json").write_text("{")
    return used(home)


@case("model", "a format of the future")
def _(home: Path) -> Any:
    return changed(home, "interface.json", lambda whole: whole.update(format=2))


@case("model", "interface.json cut short")
def _(home: Path) -> Any:
    path = home / "model" / "interface.json"
    path.write_text(path.read_text()[:100])
    return used(home)


@case("model", "interface.json nested 100,000 deep")
def _(home: Path) -> Any:
    (home / "model" / "interface.json").write_text("[" * 100_000)
    return used(home)


@case("model", "a number of 5,000 digits")
def _(home: Path) -> Any:
    (home / "model" / "model.json").write_text('{"format": 1, "width": ' + "1" * 5000 + "}")
    return used(home)


@case("model", "a width of a billion")
def _(home: Path) -> Any:
    return changed(home, "model.json", lambda whole: whole["decoders"]["text"].update(width=10**9))


@case("model", "a billion layers")
def _(home: Path) -> Any:
    return changed(home, "model.json", lambda whole: whole["encoders"]["image"].update(depth=10**9))


@case("model", "pictures a billion pixels wide")
def _(home: Path) -> Any:
    return changed(home, "interface.json", lambda whole: whole["inputs"]["image"].update(size=10**9))


@case("model", "a billion beams")
def _(home: Path) -> Any:
    return changed(home, "interface.json", lambda whole: whole["tasks"]["captioning"]["generation"].update(beam=10**9))


@case("model", "texts longer than the output has room for")
def _(home: Path) -> Any:
    return changed(home, "interface.json", lambda whole: whole["tasks"]["captioning"]["generation"].update(max_length=10**9))


@case("model", "NaN for a number")
def _(home: Path) -> Any:
    return changed(home, "interface.json", lambda whole: whole["inputs"]["image"].update(std=[float("nan")] * 3))


@case("model", "a list where an object belongs")
def _(home: Path) -> Any:
    return changed(home, "interface.json", lambda whole: whole.update(inputs=[1, 2]))


@case("model", "lists where parts belong, inspected")
def _(home: Path) -> Any:
    path = home / "model" / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "encoders": [], "decoders": {"text": 3}}))
    return command("inspect", home / "model")


@case("model", "an architecture without encoders, trained further")
def _(home: Path) -> Any:
    (home / "model" / "model.json").write_text('{"format": 1, "width": 32}')
    return command("train", "--task", "captioning", "--data", "scenes:captioning", "--start", home / "model", "-o", home / "run")


@case("model", "a kind that is a list")
def _(home: Path) -> Any:
    return changed(home, "model.json", lambda whole: whole["fusion"].update(kind=["attention"]))


@case("model", "a task that is not there")
def _(home: Path) -> Any:
    return changed(home, "interface.json", lambda whole: whole.update(tasks={}))


@case("model", "an output whose name leads out of the folder")
def _(home: Path) -> Any:
    return changed(home, "interface.json", lambda whole: whole.update(outputs={"../../text": whole["outputs"]["text"]}))


@case("model", "a part whose name torch keeps for itself")
def _(home: Path) -> Any:
    def rename(whole: Any) -> None:
        whole["encoders"]["keys"] = whole["encoders"].pop("image")

    return changed(home, "model.json", rename)


@case("model", "a weight file that would run code, to initialize from")
def _(home: Path) -> Any:
    import pickle

    (home / "evil.pt").write_bytes(pickle.dumps(Case))
    train(run(None, f"initialize={{encoders.image: {home / 'evil.pt'}}}"), home / "run")


# ---- predictions and references


def scored(home: Path, predictions: str, references: str, *more: object) -> str:
    table(home, predictions, "mine.json")
    table(home, references, "truth.json")
    return command("score", "captions", "--predictions", home / "mine.json", "--references", home / "truth.json", *more)


def score(what: str, predictions: str, references: str, *more: object) -> None:
    CASES.append(Case("score", what, lambda home: scored(home, predictions, references, *more)))


score("an id without references", '{"1": "a dog"}', '{"2": ["a dog"]}')
score("an id without a prediction", '{"1": "a dog"}', '{"1": ["a dog"], "2": ["a cat"]}')
score("no predictions", "{}", '{"1": ["a dog"]}')
score("predictions that are a list of texts", '["a dog"]', '{"1": ["a dog"]}')
score("COCO results with an image twice", '[{"image_id": 1, "caption": "a"}, {"image_id": 1, "caption": "b"}]', '{"1": ["a"]}')
score("COCO results without a caption", '[{"image_id": 1}]', '{"1": ["a dog"]}')
score("a prediction that is a list", '{"1": ["a dog"]}', '{"1": ["a dog"]}')
score("a prediction that is NaN", '{"1": NaN}', '{"1": ["a dog"]}')
score("an id twice", '{"1": "a dog", "1": "a cat"}', '{"1": ["a dog"]}')
score("references that are numbers", '{"1": "a dog"}', '{"1": [3]}')
score("no reference for an id", '{"1": "a dog"}', '{"1": []}')
score("references that are a list", '{"1": "a dog"}', '[["a dog"]]')
score("an empty prediction", '{"1": "", "2": "a cat"}', '{"1": ["a dog"], "2": ["a cat"]}')
score("references cut short", '{"1": "a dog"}', '{"1": ["a do')
score("references nested 100,000 deep", '{"1": "a dog"}', "[" * 100_000)
score("an unknown tokenizer", '{"1": "a dog"}', '{"1": ["a dog"]}', "--tokenizer", "ptp")


@case("score", "a folder for a file")
def _(home: Path) -> Any:
    return command("score", "captions", "--predictions", home / "model", "--references", home / "model")


@case("score", "a file that is missing")
def _(home: Path) -> Any:
    return command("score", "captions", "--predictions", home / "gone.json", "--references", home / "gone.json")


@case("score", "a file in Latin-1")
def _(home: Path) -> Any:
    (home / "mine.json").write_bytes('{"1": "café"}'.encode("latin-1"))
    return command("score", "captions", "--predictions", home / "mine.json", "--references", home / "mine.json")


def shortened(text: str) -> str:
    return re.sub(r"(\W)\1{20,}", r"\1\1\1...", text)


def main() -> None:
    wanted = sys.argv[1:]
    for number, one in enumerate(CASES):
        if wanted and not any(word in f"{one.kind}: {one.what}" for word in wanted):
            continue
        with tempfile.TemporaryDirectory() as place:
            make_home(Path(place))
            try:
                said = one.says(Path(place))
            except BaseException as error:
                said = f"!!!!!!!! {type(error).__name__}: {error}"[:300]
            print(f"{number} {one.kind}: {shortened(one.what)}\n      {shortened(said)[:600]}", flush=True)


if __name__ == "__main__":
    main()

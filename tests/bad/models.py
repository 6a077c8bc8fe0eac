"""Saved models that are cut, mixed up, or made to do harm."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

import braid
from bad.case import Case, case, command, run
from braid.modalities import Tokenizer
from braid.training import train


def used(home: Path) -> str:
    return f"works: {braid.load(home / 'model').caption(home / 'photo.png')!r}"


def changed(home: Path, file: str, change: Callable[[Any], Any]) -> str:
    path = home / "model" / file
    whole = json.loads(path.read_text())
    result = change(whole)
    path.write_text(json.dumps(whole if result is None else result))
    return used(home)


def reweighted(home: Path, change: Callable[[dict[str, np.ndarray]], Any]) -> str:
    reweighted_alone(home, change)
    return used(home)


def reweighted_alone(home: Path, change: Callable[[dict[str, np.ndarray]], Any]) -> None:
    path = home / "model" / "model.safetensors"
    weights = dict(load_file(path))
    change(weights)
    save_file(weights, path)


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


@case("model", "weights in 8 bit floats")
def _(home: Path) -> Any:
    path = home / "model" / "model.safetensors"
    name = sorted(load_file(path))[0]
    header = {name: {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    return used(home)


@case("model", "whole numbers for weights")
def _(home: Path) -> Any:
    return reweighted(home, lambda weights: weights.update({n: v.astype(np.int64) for n, v in weights.items()}))


@case("model", "a pipe for a model.json")
def _(home: Path) -> Any:
    (home / "model" / "model.json").unlink()
    os.mkfifo(home / "model" / "model.json")
    return used(home)


@case("model", "an interface.json of a terabyte")
def _(home: Path) -> Any:
    os.truncate(home / "model" / "interface.json", 1 << 40)
    return used(home)


@case("model", "a width that is as large as one of the weights")
def _(home: Path) -> Any:
    reweighted_alone(home, lambda weights: weights.update(large=np.zeros(70_000, np.float32)))
    return changed(home, "model.json", lambda whole: whole["decoders"]["text"].update(width=65_536))


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


@case("model", "images a billion pixels wide")
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


@case("model", "int8 into the model's own folder")
def _(home: Path) -> Any:
    return command("export", home / "model", "--int8")


@case("model", "int8 into a folder of other files")
def _(home: Path) -> Any:
    return command("export", home / "model", "--int8", "--output", home)


@case("model", "photos to compare on, and no int8")
def _(home: Path) -> Any:
    return command("export", home / "model", "--photos", home / "photo.png")


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


@case("model", "a model as the first word of a command that takes it by --model")
def _(home: Path) -> Any:
    return command("caption", home / "model", home / "photo.png")


@case("model", "data without a model")
def _(home: Path) -> Any:
    return command("audit", home / "photos.csv")


@case("model", "a model without data")
def _(home: Path) -> Any:
    return command("predict", home / "model", "-o", home / "out.csv")


@case("model", "a model by word and another by --model")
def _(home: Path) -> Any:
    return command("predict", "small", home / "photos.csv", "--model", home / "model", "-o", home / "out.csv")


@case("model", "two models where one is read")
def _(home: Path) -> Any:
    return command("inspect", home / "model", "--model", "small")

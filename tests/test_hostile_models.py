"""A model that somebody else made: whatever stands in its folder, it is used or refused with a message."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import braid
from bad.case import make_home
from braid.bundle import read_bundle
from braid.errors import UserError

Header = dict[str, Any]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_home(tmp_path / "home")
    return tmp_path / "home"


def refused(home: Path, runtime: str = "torch") -> str:
    with pytest.raises(UserError) as message:
        braid.load(home / "model", runtime=runtime).caption(home / "photo.png")
    return str(message.value).replace(f"{home}/", "")


def rewritten(home: Path, change: Callable[[Header, bytes], tuple[Header, bytes]]) -> None:
    """Write model.safetensors byte by byte, with numbers that its library would not write."""
    path = home / "model" / "model.safetensors"
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header, rest = change(json.loads(data[8 : 8 + size]), data[8 + size :])
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + rest)


def stored_as(kind: str, size: int) -> Callable[[Header, bytes], tuple[Header, bytes]]:
    """The first weight, of zeros in another type."""

    def change(header: Header, data: bytes) -> tuple[Header, bytes]:
        name = first(header)
        header[name] |= {"dtype": kind, "data_offsets": [len(data), len(data) + size * int(np.prod(header[name]["shape"]))]}
        shift = 4 * int(np.prod(header[name]["shape"]))
        for other in header:
            if other not in (name, "__metadata__"):
                header[other]["data_offsets"] = [place - shift for place in header[other]["data_offsets"]]
        last = len(data) - shift
        length = header[name]["data_offsets"][1] - len(data)
        header[name]["data_offsets"] = [last, last + length]
        return header, data[shift:] + bytes(length)

    return change


def first(header: Header) -> str:
    """The weight at the beginning of the file."""
    return min((name for name in header if name != "__metadata__"), key=lambda name: header[name]["data_offsets"])


def test_weights_in_bfloat16_are_widened(home: Path) -> None:
    """The upper half of the bits of float32."""
    path = home / "model" / "model.safetensors"
    exact = load_file(path)
    rounded = {name: (value.view(np.uint32) & 0xFFFF0000).view(np.float32) for name, value in exact.items()}
    halves = b"".join((value.view(np.uint32) >> 16).astype("<u2").tobytes() for value in exact.values())
    header, place = {}, 0
    for name, value in exact.items():
        header[name] = {"dtype": "BF16", "shape": list(value.shape), "data_offsets": [place, place + 2 * value.size]}
        place += 2 * value.size
    rewritten(home, lambda _, __: (header, halves))
    read = read_bundle(home / "model").weights()
    assert read.keys() == rounded.keys()
    assert all(np.array_equal(read[name], rounded[name]) and read[name].dtype == np.float32 for name in read)
    from_halves = braid.load(home / "model").caption(home / "photo.png")
    save_file(rounded, path)
    assert from_halves == braid.load(home / "model").caption(home / "photo.png")


NUMBERS = {"F8_E4M3": 1, "F8_E5M2": 1, "C64": 8, "U16": 2, "U64": 8}


@pytest.mark.parametrize("kind", NUMBERS)
def test_weights_of_numbers_that_models_do_not_have(kind: str, home: Path) -> None:
    rewritten(home, stored_as(kind, NUMBERS[kind]))
    message = refused(home)
    assert message.startswith("model/model.safetensors: ")
    assert message.endswith(f" is stored as {kind}; save the weights as float32, float16 or bfloat16")


@pytest.mark.parametrize(("kind", "size", "name"), [("I64", 8, "int64"), ("I8", 1, "int8"), ("BOOL", 1, "bool")])
def test_whole_numbers_where_weights_belong(kind: str, size: int, name: str, home: Path) -> None:
    rewritten(home, stored_as(kind, size))
    message = refused(home)
    assert message.startswith("model: ")
    assert message.endswith(f" is {name} in the weights, float32 by model.json; the files are of different models")


def overlapping(header: Header, data: bytes) -> tuple[Header, bytes]:
    one, other, *_ = sorted((n for n in header if n != "__metadata__"), key=lambda n: header[n]["data_offsets"])
    header[other]["data_offsets"] = header[one]["data_offsets"]
    return header, data


def negative(header: Header, data: bytes) -> tuple[Header, bytes]:
    header[first(header)]["shape"] = [-1]
    return header, data


def endless(header: Header, data: bytes) -> tuple[Header, bytes]:
    header[first(header)]["data_offsets"] = [0, 2**62]
    return header, data


@pytest.mark.parametrize("change", [overlapping, negative, endless])
def test_a_header_that_does_not_fit_the_file(change: Any, home: Path) -> None:
    rewritten(home, change)
    message = refused(home)
    assert message.startswith("model/model.safetensors cannot be read (")
    assert message.endswith("); it may be cut short, copy it again")


@pytest.mark.parametrize("size", [10**8 + 1, 2**62, 2**64 - 1])
def test_a_header_longer_than_the_file(size: int, home: Path) -> None:
    path = home / "model" / "model.safetensors"
    path.write_bytes(struct.pack("<Q", size) + path.read_bytes()[8:])
    assert refused(home).startswith("model/model.safetensors cannot be read (")


FILES = ("interface.json", "model.json", "tokenizer.json", "model.safetensors")


@pytest.mark.parametrize("file", FILES[1:])
def test_a_file_that_never_ends(file: str, home: Path) -> None:
    path = home / "model" / file
    path.unlink()
    os.mkfifo(path)
    assert refused(home) == f"model/{file} is a pipe or a device; put the file itself there"
    path.unlink()
    path.symlink_to("/dev/zero")
    assert refused(home) == f"model/{file} is a pipe or a device; put the file itself there"


@pytest.mark.parametrize("file", FILES[:3])
def test_a_file_larger_than_the_memory(file: str, home: Path) -> None:
    with open(home / "model" / file, "r+b") as opened:
        opened.truncate(1 << 40)
    assert refused(home) == (
        f"model/{file} has 1,099,511,627,776 bytes, and at most 268,435,456 are read; check that it is the right file"
    )


def test_a_link_to_a_file_elsewhere_is_not_shown(home: Path) -> None:
    """Links are followed, as model folders of a cache need it; what is elsewhere does not come into a message."""
    (home / "secret").write_text("password: swordfish")
    for file in FILES[:3]:
        path = home / "model" / file
        whole = path.read_bytes()
        path.unlink()
        path.symlink_to(home / "secret")
        assert "swordfish" not in refused(home)
        path.unlink()
        path.write_bytes(whole)


SIZES: dict[str, Callable[[Any], Any]] = {
    "a width of 10^12": lambda parts: parts["decoders"]["text"].update(width=10**12),
    "a width as large as a weight": lambda parts: parts["decoders"]["text"].update(width=65_536, heads=1),
    "a depth of 10^6": lambda parts: parts["decoders"]["text"].update(depth=10**6),
    "a depth below 0": lambda parts: parts["decoders"]["text"].update(depth=-1),
    "no heads": lambda parts: parts["decoders"]["text"].update(heads=0),
    "a patch of no pixels": lambda parts: parts["encoders"]["image"].update(patch_size=0),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_that_no_memory_holds(name: str, home: Path) -> None:
    """Also where a weight of a few megabytes makes a size look possible."""
    path = home / "model" / "model.json"
    whole = json.loads(path.read_text())
    SIZES[name](whole)
    path.write_text(json.dumps(whole))
    weights = home / "model" / "model.safetensors"
    save_file({**load_file(weights), "large": np.zeros(70_000, np.float32)}, weights)
    assert "model" in refused(home)


def test_a_tokenizer_that_panics_only_when_it_is_used(home: Path) -> None:
    path = home / "model" / "tokenizer.json"
    whole = json.loads(path.read_text())
    whole["normalizer"] = {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}
    path.write_text(json.dumps(whole))
    tokenizer = read_bundle(home / "model").tokenizer
    assert tokenizer is not None
    with pytest.raises(UserError) as message:
        tokenizer.encode("a" * 2000 + "b")
    assert str(message.value) == (
        "tokenizer.json cannot be read (Onig: Regex search error: retry-limit-in-match over); copy the model again"
    )


def test_a_tokenizer_that_fills_up_and_cuts_texts(home: Path) -> None:
    """What other programs add to the file is not done here."""
    path = home / "model" / "tokenizer.json"
    before = read_bundle(home / "model").tokenizer
    whole = json.loads(path.read_text())
    whole["truncation"] = {"max_length": 1, "strategy": "LongestFirst", "stride": 5, "direction": "Right"}
    whole["padding"] = {
        "strategy": {"Fixed": 10**9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "<pad>",
    }  # fmt: skip
    path.write_text(json.dumps(whole))
    after = read_bundle(home / "model").tokenizer
    assert before is not None and after is not None
    assert after.encode("a dog runs in the park") == before.encode("a dog runs in the park")


@pytest.fixture
def exported(captioner: Path, photos: Path, tmp_path: Path) -> Path:
    """A home with a model that has graphs."""
    shutil.copytree(captioner / "best", tmp_path / "home" / "model")
    shutil.copy(photos / "0.png", tmp_path / "home" / "photo.png")
    return tmp_path / "home"


def test_a_graph_of_another_model(exported: Path) -> None:
    """Its inputs and outputs are not those of a decoder."""
    shutil.copy(exported / "model" / "text.start.onnx", exported / "model" / "text.step.onnx")
    shared = exported / "model" / "text.start.weights.json"
    if shared.exists():
        shutil.copy(shared, exported / "model" / "text.step.weights.json")
    assert refused(exported, "onnx").startswith("model: ")


def graph(nodes: list[Any], outside: str = "") -> bytes:
    """A graph with these nodes and an initializer that may stand in another file."""
    onnx = pytest.importorskip("onnx")
    weights = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [4], [0.0] * 4)
    if outside:
        weights.ClearField("float_data")
        weights.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", outside), ("offset", "0"), ("length", "16")):
            entry = weights.external_data.add()
            entry.key, entry.value = key, value
    shapes = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [4]) for name in ("x", "memory")]
    whole = onnx.helper.make_graph(nodes, "g", shapes[:1], shapes[1:], [weights])
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("evil", 1)]
    return bytes(onnx.helper.make_model(whole, opset_imports=opsets, ir_version=8).SerializeToString())


@pytest.mark.parametrize("outside", ["/etc/passwd", "../secret", "link"])
def test_weights_of_a_graph_that_stand_outside_of_its_folder(outside: str, exported: Path) -> None:
    onnx = pytest.importorskip("onnx")
    (exported / "secret").write_text("password: swordfish")
    (exported / "model" / "link").symlink_to(exported / "secret")
    data = graph([onnx.helper.make_node("Add", ["x", "w"], ["memory"])], outside)
    (exported / "model" / "text.start.onnx").write_bytes(data)
    (exported / "model" / "text.start.weights.json").unlink(missing_ok=True)
    message = refused(exported, "onnx")
    assert message.startswith("model/")
    assert "swordfish" not in message


def test_an_operator_that_does_not_exist(exported: Path) -> None:
    onnx = pytest.importorskip("onnx")
    data = graph([onnx.helper.make_node("RunProgram", ["x"], ["memory"], domain="evil")])
    (exported / "model" / "text.start.onnx").write_bytes(data)
    (exported / "model" / "text.start.weights.json").unlink(missing_ok=True)
    assert refused(exported, "onnx").startswith("model/text.start.onnx cannot be read (")


@pytest.mark.parametrize("padded", [False, True], ids=["as protobuf writes it", "with lengths of more bytes"])
def test_a_graph_that_could_run_for_ever(padded: bool, exported: Path) -> None:
    onnx = pytest.importorskip("onnx")
    flag = onnx.helper.make_tensor_value_info("go", onnx.TensorProto.BOOL, [])
    step = onnx.helper.make_tensor_value_info("step", onnx.TensorProto.INT64, [])
    body = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["go"], ["on"])], "body", [step, flag], [flag])
    body.output[0].name = "on"
    data = graph([onnx.helper.make_node("Loop", ["", ""], [], body=body), onnx.helper.make_node("Add", ["x", "w"], ["memory"])])
    assert b"\x22\x04Loop" in data
    if padded:
        data = data.replace(b"\x22\x04Loop", b"\xa2\x80\x00\x84\x00Loop")
    (exported / "model" / "text.start.onnx").write_bytes(data)
    (exported / "model" / "text.start.weights.json").unlink(missing_ok=True)
    message = refused(exported, "onnx")
    assert message == "model/text.start.onnx has a node Loop, which could run for ever; export it again"


def test_code_in_a_folder_of_hugging_face_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even after a question at the terminal."""
    pytest.importorskip("transformers")
    from braid.huggingface import hub

    monkeypatch.setattr("builtins.input", lambda *_: "y")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: pass\n")
    (folder / "config.json").write_text(json.dumps({"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}))
    with pytest.raises(UserError, match="config.json cannot be read"):
        hub.configuration(folder, hub.TEXT)
    assert not (tmp_path / "ran").exists()

"""What is fuzzed of models, runs and indexes that somebody else made, beside the readers in ``fuzz_targets``."""

import json
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

import fuzz_media
import fuzz_targets
from fuzz_targets import Target

FILES = {"exact": "vectors.bin", "hnsw": "vectors.usearch"}


def _index(kind: str, file: str) -> Target:
    """A file of an index, with a checksum that is right for what it holds."""
    from braid.index import ExactIndexConfig, HnswIndexConfig, Origin, create_index, open_index

    folder = fuzz_targets._folder() / f"{kind}-{file}"
    shutil.rmtree(folder, ignore_errors=True)
    index = create_index(folder, {"exact": ExactIndexConfig, "hnsw": HnswIndexConfig}[kind](), 8, Origin("toy", "0123"))
    rows = np.random.default_rng(0).standard_normal((60, 8))
    index.add([str(k) for k in range(60)], rows, [{"a": k} for k in range(60)])
    index.save()
    index.close()
    header = json.loads((folder / "index.json").read_text())
    path = folder / header["revision"] / file
    whole = {name: (folder / header["revision"] / name).read_bytes() for name in header["files"]}

    def read(data: bytes) -> Any:
        files = {**whole, file: data}
        for name, content in files.items():
            header["files"][name] = {"bytes": len(content), "crc32": zlib.crc32(content)}
        path.write_bytes(data)
        (folder / "index.json").write_text(json.dumps(header))
        index = open_index(folder)
        found = index.search(rows[:3], 9)
        index.add(["new"], rows[:1])
        index.delete(["7"])
        result = found, index.search(rows[:3], 9)
        index.close()
        return result

    return Target(f"{kind} {file}", (whole[file],), read)


@cache
def _home() -> Path:
    from bad.case import make_home

    home = fuzz_targets._folder() / "home"
    make_home(home)
    return home


def _used(file: str) -> Target:
    """A model with one of its files damaged writes a caption."""
    import braid

    folder, photo = _home() / "model", _home() / "photo.png"
    whole = (folder / file).read_bytes()

    def read(data: bytes) -> Any:
        (folder / file).write_bytes(data)
        try:
            return braid.load(folder, runtime="torch").caption(photo)
        finally:
            (folder / file).write_bytes(whole)

    return Target(f"used {file}", (whole,), read, file.endswith(".json"))


@cache
def _exported() -> Path:
    """In a process of its own: torch cannot export what checks shapes, as tests do."""
    folder = fuzz_targets._folder() / "exported"
    shutil.copytree(_home() / "model", folder)
    subprocess.run([sys.executable, "-m", "braid", "export", str(folder)], check=True, capture_output=True)
    return folder


def _graph(file: str) -> Target:
    """A model whose graph is damaged writes a caption on ONNX Runtime."""
    import braid

    folder, photo = _exported(), _home() / "photo.png"
    whole = (folder / file).read_bytes()

    def read(data: bytes) -> Any:
        (folder / file).write_bytes(data)
        try:
            return braid.load(folder, runtime="onnx").caption(photo)
        finally:
            (folder / file).write_bytes(whole)

    return Target(file, (whole,), read, file.endswith(".json"))


@cache
def _run() -> Path:
    from bad.case import run
    from braid.training import train

    folder = fuzz_targets._folder() / "run"
    train(run(None, "epochs=2"), folder)
    return folder


def _report(file: str) -> Target:
    """The report of a run with one of its files damaged."""
    from braid.reports import write_report

    folder = _run()
    whole = (folder / file).read_bytes()

    def read(data: bytes) -> Any:
        (folder / file).write_bytes(data)
        try:
            return write_report([folder, folder], folder / "page.html")
        finally:
            (folder / file).write_bytes(whole)

    return Target(f"report {file}", (whole,), read, structured=True)


def _resumed() -> Target:
    """The state of a run that is gone on with."""
    import torch

    from bad.case import run
    from braid.training.checkpoint import FILE, load_checkpoint
    from braid.training.optimizer import MovingAverage
    from braid.training.setup import set_up

    folder = _run()
    setup = set_up(run(None, "epochs=2"))
    whole = (folder / FILE).read_bytes()

    def read(data: bytes) -> Any:
        (folder / FILE).write_bytes(data)
        optimizer = torch.optim.AdamW(setup.model.parameters())
        try:
            return load_checkpoint(folder, setup.model, optimizer, MovingAverage(setup.model, 0.0))
        finally:
            (folder / FILE).write_bytes(whole)

    return Target(FILE, (whole,), read)


def _initial(ending: str) -> Target:
    """Weights of somebody else, for one part of a model."""
    import torch
    from safetensors.torch import save_file

    from braid.encoders import load_weights

    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    path = fuzz_targets._folder() / f"initial{ending}"
    save_file(module.state_dict(), path) if ending == ".safetensors" else torch.save(module.state_dict(), path)
    whole = path.read_bytes()

    def read(data: bytes) -> Any:
        path.write_bytes(data)
        return load_weights(module, path)

    return Target(f"initial{ending}", (whole,), read)


def _shards() -> Target:
    from braid.datasets import open_dataset
    from braid.datasets.shards import FILE, write_shards

    source = fuzz_targets._folder() / "rows.jsonl"
    rows = [{"image": f"{name}.png", "captions": [f"a {name}", "it"], "split": "train"} for name in "abcd"]
    source.write_text("\n".join(json.dumps(row) for row in rows))
    folder = fuzz_targets._folder() / "shards"
    shutil.rmtree(folder, ignore_errors=True)
    write_shards(open_dataset(source).examples, folder, 1 << 20, 0, lambda source, reason: None)
    whole = (folder / FILE).read_bytes()

    def read(data: bytes) -> Any:
        (folder / FILE).write_bytes(data)
        dataset = open_dataset(folder)
        return [example.fields for example in dataset.examples], dataset.skipped

    return Target("shards", (whole,), read, structured=True)


GRAPHS = ("text.start.onnx", "text.step.onnx", "text.start.weights.json")
USED = ("model.json", "interface.json", "tokenizer.json", "model.safetensors")

TARGETS: dict[str, Callable[[], Target]] = {
    **fuzz_targets.TARGETS,
    **fuzz_media.TARGETS,
    **{f"{kind} {file}": partial(_index, kind, file) for kind, file in FILES.items()},
    "rows.sqlite": partial(_index, "exact", "rows.sqlite"),
    **{f"used {file}": partial(_used, file) for file in USED},
    **{file: partial(_graph, file) for file in GRAPHS},
    **{f"report {file}": partial(_report, file) for file in ("log.jsonl", "samples.jsonl", "run.yaml")},
    "checkpoint.safetensors": _resumed,
    **{f"initial{ending}": partial(_initial, ending) for ending in (".safetensors", ".pt")},
    "shards": _shards,
}

"""Indexes that are cut, mixed up, or of another model, and vectors that no index holds."""

import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import braid
from bad.case import SETTINGS, case, command
from braid.bundle import read_bundle
from braid.index import ExactIndexConfig, HnswIndexConfig, Index, IndexConfig, Origin, create_index, open_index
from braid.search import origin
from braid.training import run_from, train

MODEL = Origin("small", "0123456789abcdef")
VECTORS = np.random.default_rng(0).standard_normal((5, 8))


def made(home: Path, config: IndexConfig) -> Index:
    """photos.index with five rows."""
    index = create_index(home / "photos.index", config, 8, MODEL)
    index.add([f"{k}.jpg" for k in range(5)], VECTORS)
    index.save()
    return index


def used(home: Path, model: Origin | None = None) -> str:
    """Its revision has a name by chance, which the page leaves out."""
    place = next(home.glob("photos.index/revision-*"))
    place.rename(place.with_name("revision-1"))
    path = home / "photos.index" / "index.json"
    path.write_text(path.read_text().replace(place.name, "revision-1"))
    hits = open_index(home / "photos.index", model).search(VECTORS[:1], 1)
    return f"finds {hits[0][0].id}"


def changed(home: Path, file: str, change: Callable[[bytes], bytes], config: IndexConfig | None = None) -> str:
    made(home, config or ExactIndexConfig())
    path = next(home.glob(f"photos.index/**/{file}"))
    path.write_bytes(change(path.read_bytes()))
    return used(home)


def added(home: Path, ids: list[str], vectors: np.ndarray, metadata: list[Any] | None = None) -> str:
    made(home, ExactIndexConfig()).add(ids, vectors, metadata)
    return "added"


@case("index", "a folder that is no index")
def _(home: Path) -> Any:
    return open_index(home / "model")


@case("index", "a photo given as an index")
def _(home: Path) -> Any:
    return command("search", home / "photo.png", "two dogs", "-m", home / "model")


@case("index", "a search by a model that has no embeddings")
def _(home: Path) -> Any:
    bundle = read_bundle(home / "model")
    create_index(home / "photos.index", ExactIndexConfig(), 8, origin(bundle)).save()
    return command("search", home / "photos.index", "two dogs", "-m", home / "model")


@case("index", "a search in an empty index")
def _(home: Path) -> Any:
    train(run_from({**SETTINGS, "task": "retrieval"}), home / "run")
    model = braid.load(home / "run")
    create_index(home / "photos.index", ExactIndexConfig(), model.embed(texts=["a dog"]).shape[1], model.origin).save()
    return command("search", home / "photos.index", "two dogs", "-m", home / "run")


@case("index", "a search in an index whose photo was moved")
def _(home: Path) -> Any:
    command("index", home / "photo.png", "-o", home / "photos.index")
    (home / "photo.png").rename(home / "moved.png")
    return command("search", home / "photos.index", "two dogs")


@case("index", "a photo that is gone, and one that has changed, indexed again")
def _(home: Path) -> Any:
    command("index", home, "-o", home / "photos.index")
    (home / "photo.png").unlink()
    Image.new("RGB", (8, 8)).save(home / "photo.jpg")
    return command("index", home, "-o", home / "photos.index")


@case("index", "a search for nothing")
def _(home: Path) -> Any:
    return command("search", home / "photos.index", "-m", home / "model")


@case("index", "an index made by another model")
def _(home: Path) -> Any:
    made(home, ExactIndexConfig())
    return used(home, Origin("sentiment", "fedcba9876543210"))


@case("index", "vectors cut short")
def _(home: Path) -> Any:
    return changed(home, "vectors.bin", lambda data: data[:100])


@case("index", "one bit of a graph of vectors changed")
def _(home: Path) -> Any:
    return changed(home, "vectors.usearch", lambda data: data[:-1] + bytes([data[-1] ^ 1]), HnswIndexConfig())


def resealed(home: Path, file: str, change: Callable[[bytes], bytes], config: IndexConfig | None = None) -> str:
    """A file changed on purpose: its checksum is right again."""
    made(home, config or ExactIndexConfig())
    path = next(home.glob(f"photos.index/**/{file}"))
    path.write_bytes(change(path.read_bytes()))
    index = home / "photos.index" / "index.json"
    header = json.loads(index.read_text())
    header["files"][file] = {"bytes": path.stat().st_size, "crc32": zlib.crc32(path.read_bytes())}
    index.write_text(json.dumps(header))
    return used(home)


@case("index", "a graph that leads out of its file, with the right checksum")
def _(home: Path) -> Any:
    place = 8 + 5 * 16 + 104 + 5 * 2 + 14  # the first neighbour of the first node
    change: Callable[[bytes], bytes] = lambda data: data[:place] + b"\xff\xff\xff\x7f" + data[place + 4 :]  # noqa: E731
    return resealed(home, "vectors.usearch", change, HnswIndexConfig())


@case("index", "vectors of NaN, with the right checksum")
def _(home: Path) -> Any:
    return resealed(home, "vectors.bin", lambda data: data[:8] + b"\xff" * (len(data) - 8))


@case("index", "metadata that is not JSON, with the right checksum")
def _(home: Path) -> Any:
    return resealed(home, "rows.sqlite", lambda data: data.replace(b"null", b"nul{"))


@case("index", "a pipe for an index.json")
def _(home: Path) -> Any:
    (home / "photos.index").mkdir()
    os.mkfifo(home / "photos.index" / "index.json")
    return open_index(home / "photos.index")


@case("index", "ids and metadata overwritten with zeros")
def _(home: Path) -> Any:
    return changed(home, "rows.sqlite", lambda data: bytes(len(data)))


@case("index", "index.json cut short")
def _(home: Path) -> Any:
    return changed(home, "index.json", lambda data: data[:20])


@case("index", "an index of the future")
def _(home: Path) -> Any:
    return changed(home, "index.json", lambda data: json.dumps({**json.loads(data), "format": 2}).encode())


@case("index", "a kind of index that is not there")
def _(home: Path) -> Any:
    return changed(home, "index.json", lambda data: data.replace(b'"exact"', b'"exat"'))


@case("index", "a new index where there is one")
def _(home: Path) -> Any:
    made(home, ExactIndexConfig())
    return made(home, ExactIndexConfig())


@case("index", "a new index in a folder of other files")
def _(home: Path) -> Any:
    return create_index(home / "model", ExactIndexConfig(), 8, MODEL)


@case("index", "vectors of another width")
def _(home: Path) -> Any:
    return added(home, ["a.jpg"], np.ones((1, 9)))


@case("index", "a vector with NaN")
def _(home: Path) -> Any:
    return added(home, ["a.jpg", "b.jpg"], np.array([[1.0] * 8, [np.nan] * 8]))


@case("index", "a vector of zeros")
def _(home: Path) -> Any:
    return added(home, ["a.jpg"], np.zeros((1, 8)))


@case("index", "an id given twice")
def _(home: Path) -> Any:
    return added(home, ["a.jpg", "b.jpg", "a.jpg"], np.ones((3, 8)))


@case("index", "an id that is there already")
def _(home: Path) -> Any:
    return added(home, ["a.jpg", "3.jpg"], np.ones((2, 8)))


@case("index", "an id that is not there, deleted")
def _(home: Path) -> Any:
    return made(home, ExactIndexConfig()).delete(["3.jpg", "a.jpg"])


@case("index", "metadata that is not JSON")
def _(home: Path) -> Any:
    return added(home, ["a.jpg"], np.ones((1, 8)), [{"size": float("nan")}])


@case("index", "a name of a file that is no text")
def _(home: Path) -> Any:
    return added(home, ["caf\udce9.jpg"], np.ones((1, 8)))


@case("index", "two processes that add at once")
def _(home: Path) -> Any:
    one, other = made(home, ExactIndexConfig()), open_index(home / "photos.index")
    one.add(["a.jpg"], VECTORS[:1])
    other.add(["b.jpg"], VECTORS[:1])
    one.save()
    return other.save()

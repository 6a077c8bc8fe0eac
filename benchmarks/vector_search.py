"""An index of a million vectors: build time, memory, disk and speed at equal recall, compared with the library alone.

    python benchmarks/vector_search.py                   a million vectors of width 384, a quarter of an hour of two cores
    python benchmarks/vector_search.py --vectors 20000   the same, in a quarter of a minute

Stopped, it goes on with the part it was at: what is done lies in the machine's folder for temporary files until the end.

The vectors are made, in pieces of 10,000 that are never all in memory: 1,000 clusters in 48 dimensions, as far from each other as
a vector from its cluster's middle, turned into 384 dimensions and blurred a little. 20,000 of them are about as hard to search as
20,000 photo captions embedded with MiniLM: recall@10 with ef 10, 16, 32, 64 is 0.88, 0.92, 0.96, 0.99 (of captions 0.88, 0.94,
0.98, 0.99), the cosine of a query to its nearest vector 0.67 (0.69), to its tenth 0.55 (0.55).

The library alone is usearch with the settings of Braid's index: its graph (16 neighbours, 128 candidates looked at when adding,
float16), and its exact search of an int8 matrix that is mapped, 64 queries at a time as in Braid. It gets vectors and numbers and
keeps nothing else; Braid checks and normalises the vectors and keeps an id and a caption with each. Every build and every search
has a process of its own, whose memory is read twenty times a second as PSS. Searching starts with the least ``expansion_search``
that reaches a recall@10 of 0.95 against an exact search in float32; exact search has no such setting. Queries a second are the
median of five rounds in which all take turns in one process; one at a time, as a service would ask, and together.
OMP_NUM_THREADS limits the threads of both.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

WIDTH = 384
PIECE = 10_000  # vectors that are generated and added together
TOP = 10
RECALL = 0.95
ROUNDS = 5
CAPTION = "a brown dog runs along the beach on a sunny day"
KINDS = {  # an index of Braid, then the library index that it is compared with
    "hnsw": "Braid, hnsw float16",
    "graph": "usearch alone, graph float16",
    "exact": "Braid, exact int8",
    "matrix": "usearch alone, exact int8",
}
EFFORTS = (10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512, 768, 1024)


def generated(seed: int, number: int) -> np.ndarray:
    """Vectors [number, width] float32 of different lengths; a seed always gives the same vectors."""
    space, rng = np.random.default_rng(0), np.random.default_rng((1, seed))
    turn = space.standard_normal((48, WIDTH), dtype=np.float32)
    centres = space.standard_normal((1_000, 48), dtype=np.float32)
    inside = centres[rng.integers(0, 1_000, number)] + 0.95 * rng.standard_normal((number, 48), dtype=np.float32)
    return inside @ turn + rng.standard_normal((number, WIDTH), dtype=np.float32)


def pieces(number: int) -> Iterator[tuple[int, np.ndarray]]:
    for first in range(0, number, PIECE):
        yield first, generated(first // PIECE, min(PIECE, number - first))


def queries(number: int) -> np.ndarray:
    return generated(1 << 40, number)


def truth(number: int, query_vectors: np.ndarray) -> np.ndarray:
    """The nearest rows of each query, with numpy in float32."""
    units = query_vectors / np.linalg.norm(query_vectors, axis=1, keepdims=True)
    scores, best = np.empty((len(query_vectors), 0), np.float32), np.empty((len(query_vectors), 0), np.int64)
    for first, vectors in pieces(number):
        result = units @ (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).T
        scores = np.concatenate([scores, result], axis=1)
        best = np.concatenate([best, np.broadcast_to(np.arange(first, first + len(vectors)), result.shape)], axis=1)
        kept = np.argpartition(-scores, TOP - 1, axis=1)[:, :TOP]
        scores, best = np.take_along_axis(scores, kept, 1), np.take_along_axis(best, kept, 1)
    return best


def recall(result: list[list[int]], expected: np.ndarray) -> float:
    return float(np.mean([len({*one} & {*best}) / TOP for one, best in zip(result, expected.tolist(), strict=True)]))


Add = Callable[[int, np.ndarray], None]
Save = Callable[[], object]


def build(home: Path, kind: str, number: int) -> dict[str, Any]:
    """Seconds of adding and saving, without generating the vectors, and the bytes on disk."""
    shutil.rmtree(home / kind, ignore_errors=True)  # of an interrupted build
    started, spent = time.perf_counter(), 0.0
    add, save = {"hnsw": new_braid, "exact": new_braid, "graph": new_graph, "matrix": new_matrix}[kind](home, kind, number)
    for first, vectors in pieces(number):
        spent -= time.perf_counter()
        add(first, vectors)
        spent += time.perf_counter()
        if (first // PIECE + 1) % 10 == 0:
            message = f"  {kind}: {first + len(vectors):,} of {number:,} vectors, {time.perf_counter() - started:.0f} s"
            print(message, file=sys.stderr, flush=True)
    spent -= time.perf_counter()
    save()
    spent += time.perf_counter()
    return {"seconds": spent, "bytes": sum(file.stat().st_size for file in (home / kind).rglob("*") if file.is_file())}


def new_braid(home: Path, kind: str, number: int) -> tuple[Add, Save]:
    from braid.index import ExactIndexConfig, HnswIndexConfig, Origin, create_index

    config = HnswIndexConfig() if kind == "hnsw" else ExactIndexConfig(storage="int8")
    index = create_index(home / kind, config, WIDTH, Origin("made", "0"))

    def add(first: int, vectors: np.ndarray) -> None:
        ids = [f"{first + k}" for k in range(len(vectors))]
        index.add(ids, vectors, [{"path": f"photos/{name}.jpg", "caption": CAPTION} for name in ids])

    return add, index.save


def new_graph(home: Path, kind: str, number: int) -> tuple[Add, Save]:
    from usearch.index import Index

    (home / kind).mkdir()
    index = Index(ndim=WIDTH, metric="cos", dtype="f16", connectivity=16, expansion_add=128)

    def add(first: int, vectors: np.ndarray) -> None:
        index.add(np.arange(first, first + len(vectors)), vectors, threads=threads())

    return add, lambda: index.save(home / kind / "graph.usearch")


def new_matrix(home: Path, kind: str, number: int) -> tuple[Add, Save]:
    (home / kind).mkdir()
    matrix = np.lib.format.open_memmap(home / kind / "matrix.npy", "w+", np.int8, (number, WIDTH))

    def add(first: int, vectors: np.ndarray) -> None:
        matrix[first : first + len(vectors)] = whole_numbers(vectors)

    return add, matrix.flush


def whole_numbers(vectors: np.ndarray) -> np.ndarray:
    """int8, with each vector scaled to the full range, as Braid stores it."""
    return np.rint(vectors * (127 / np.abs(vectors).max(axis=1, keepdims=True))).astype(np.int8)


def threads() -> int:
    from braid.index.hnsw import threads

    return threads()


def search(home: Path, kind: str, number: int) -> dict[str, Any]:
    """The seconds of opening, the recall, and the setting that reaches it; every setting is tried with 1,000 queries."""
    import usearch.index  # noqa: F401 - not part of opening

    import braid.index  # noqa: F401

    started = time.perf_counter()
    ask, tune = opened(home, kind)
    message: dict[str, Any] = {"opened": time.perf_counter() - started}
    for effort in EFFORTS if tune else (0,):
        if tune:
            tune(effort)
        message |= {"effort": effort, "recall": recall(ask(queries(1_000)), np.load(home / "truth.npy"))}
        if message["recall"] >= RECALL:
            break
    return message


def race(home: Path, efforts: str, number: int) -> dict[str, Any]:
    """Queries per second of all kinds in turn, with the settings from ``search``: ``{kind: [one at a time, together]}``."""
    asks: dict[str, Ask] = {}
    efforts_of = json.loads(efforts)
    for kind, effort in efforts_of.items():
        asks[kind], tune = opened(home, kind)
        if tune:
            tune(effort)
    vectors = queries(1_000)
    rates: dict[str, list[list[float]]] = {kind: [] for kind in asks}
    for _ in range(ROUNDS):
        for kind, ask in asks.items():
            single, together = (500, 1_000) if efforts_of[kind] else (10, 128)
            rates[kind].append([_rate(ask, [vectors[k : k + 1] for k in range(single)]), _rate(ask, [vectors[:together]])])
    return {kind: [statistics.median(column) for column in zip(*rounds, strict=True)] for kind, rounds in rates.items()}


def _rate(ask: "Ask", groups: list[np.ndarray]) -> float:
    started = time.perf_counter()
    for group in groups:
        ask(group)
    return sum(map(len, groups)) / (time.perf_counter() - started)


Ask = Callable[[np.ndarray], list[list[int]]]
Tune = Callable[[int], None]


def opened(home: Path, kind: str) -> tuple[Ask, Tune | None]:
    """A function that runs queries, and one that sets the search effort, or None."""
    return {"hnsw": _braid, "exact": _braid, "graph": _graph, "matrix": _matrix}[kind](home, kind)


def _braid(home: Path, kind: str) -> tuple[Ask, Tune | None]:
    from braid.index import open_index

    index: Any = open_index(home / kind)

    def tune(effort: int) -> None:
        index.vectors.graph.expansion_search = effort

    return lambda vectors: [
        [int(hit.id) for hit in hits] for hits in index.search(vectors, TOP)
    ], tune if kind == "hnsw" else None


def _graph(home: Path, kind: str) -> tuple[Ask, Tune | None]:
    from usearch.index import Index

    index = Index(ndim=WIDTH, metric="cos", dtype="f16")
    index.view(home / kind / "graph.usearch")

    def tune(effort: int) -> None:
        index.expansion_search = effort

    return lambda vectors: _keys(index.search(vectors, TOP, threads=threads())), tune


def _matrix(home: Path, kind: str) -> tuple[Ask, Tune | None]:
    from usearch.index import search

    matrix = np.load(home / kind / "matrix.npy", mmap_mode="r")

    def ask(vectors: np.ndarray) -> list[list[int]]:
        kept = whole_numbers(vectors)  # all queries at once would keep every score: 15 GB for 1,000 and a million vectors
        parts = (kept[first : first + 64] for first in range(0, len(kept), 64))
        return [keys for part in parts for keys in _keys(search(matrix, part, TOP, exact=True, threads=threads()))]

    return ask, None


def _keys(result: Any) -> list[list[int]]:
    """The library returns another shape for a single query."""
    return [result.keys.tolist()] if result.keys.ndim == 1 else result.keys.tolist()


def part(home: Path, job: str, kind: str, number: int, name: str) -> dict[str, Any]:
    """Run one part in a process of its own, unless it is done; returns its results and its peak memory in MB."""
    from memory_of_training import peak_memory

    done, message = home / f"{name}.json", home / "result.json"
    if not done.exists():
        print(f"{name}", file=sys.stderr, flush=True)
        peak, _ = peak_memory([sys.executable, __file__, "--vectors", str(number), "--job", job, kind, str(home)])
        message.write_text(json.dumps({**json.loads(message.read_text()), "peak": peak}))
        message.rename(done)
    return dict(json.loads(done.read_text()))


def beside(values: dict[str, float], kind: str) -> str:
    """A value, and for Braid its ratio to that of the library."""
    alone = {"hnsw": "graph", "exact": "matrix"}.get(kind)
    shown = f"{values[kind]:,.0f}" if values[kind] >= 100 else f"{values[kind]:.2g}"
    return f"{shown} (x{values[kind] / values[alone]:.2f})" if alone else shown


def end_with(parent: int) -> None:
    """Exit when the benchmark ends; otherwise a part could write into the folder of the next one."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--job", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    number = chosen.vectors
    if chosen.job:
        job, kind, place = chosen.job
        threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
        message = {"build": build, "search": search, "race": race}[job](Path(place), kind, number)
        (Path(place) / "result.json").write_text(json.dumps(message))
        return
    from runs import report  # imports torch, which would count in the memory of the parts

    home = Path(tempfile.gettempdir()) / f"braid-vector-search-{number}"
    home.mkdir(exist_ok=True)
    if not (home / "truth.npy").exists():
        np.save(home / "truth.npy", truth(number, queries(1_000)))
    built = {kind: part(home, "build", kind, number, f"build {kind}") for kind in KINDS}
    result = {kind: part(home, "search", kind, number, f"search {kind}") for kind in KINDS}
    raced = part(home, "race", json.dumps({kind: result[kind]["effort"] for kind in KINDS}), number, "race")
    metrics = {
        "build, s": {kind: built[kind]["seconds"] for kind in KINDS},
        "memory building, MB": {kind: built[kind]["peak"] for kind in KINDS},
        "disk, MB": {kind: built[kind]["bytes"] / 1e6 for kind in KINDS},
        "open, ms": {kind: 1000 * result[kind]["opened"] for kind in KINDS},
        "memory searching, MB": {kind: result[kind]["peak"] for kind in KINDS},
        "queries/s, one at a time": {kind: raced[kind][0] for kind in KINDS},
        "queries/s, together": {kind: raced[kind][1] for kind in KINDS},
    }
    rows = [
        [name, *(beside(one, kind) for one in metrics.values()), result[kind]["effort"] or "", f"{result[kind]['recall']:.3f}"]
        for kind, name in KINDS.items()
    ]
    how = (
        f"{number:,} generated vectors of width {WIDTH}, 1,000 queries, the {TOP} nearest of each; in brackets, the ratio to the "
        "library alone. Memory is the peak of the PSS of the building and of the searching process, mapped files "
        f"included. Recall@{TOP} is against an exact search in float32, ef the least that reaches {RECALL}. Queries a second are "
        f"medians of {ROUNDS} rounds in turn, one query at a time and 1,000 (exact: 128) together; Braid's hits come with ids "
        "and metadata. Opening includes, for Braid, checking the files' checksums."
    )
    report("vector_search", "Vector search", ["index", *metrics, "ef", f"recall@{TOP}"], rows, how)
    shutil.rmtree(home)


if __name__ == "__main__":
    main()

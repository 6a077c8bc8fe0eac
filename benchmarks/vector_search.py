"""An index of a million vectors: building, memory, disk and speed at equal recall, beside the library alone.

    python benchmarks/vector_search.py                   a million vectors of width 384, about an hour of two cores
    python benchmarks/vector_search.py --vectors 20000   the same, in a minute

The vectors are made, in pieces of 10,000 that are never all in memory: 1,000 clusters in 48 dimensions, turned into 384 and
blurred, which is about as hard as sentence embeddings are. The library alone gets vectors and numbers and keeps nothing else;
Braid checks and normalises the vectors and keeps an id and a caption with each. Every build and every search has a process of
its own, whose memory, with that of its children, is read twenty times a second as PSS. Searching starts with the least
``expansion_search`` that reaches a recall@10 of 0.95 against an exact search in float32; the exact index has no such setting.
Queries a second are the median of five rounds in which Braid and the library take turns in one process; one at a time, as a
service would ask, and all at once. OMP_NUM_THREADS limits the threads of both.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from memory_of_training import peak_memory
from runs import report, say

WIDTH = 384
PIECE = 10_000  # vectors made and added together
TOP = 10
RECALL = 0.95
ROUNDS = 5
KINDS = {"hnsw": "Braid, hnsw float16", "alone": "usearch alone, float16", "exact": "Braid, exact int8"}
EFFORTS = (10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512, 768, 1024)


def made(seed: int, number: int) -> np.ndarray:
    """Vectors [number, width] float32 of no particular length; one seed always gives the same."""
    space, rng = np.random.default_rng(0), np.random.default_rng((1, seed))
    turn = space.standard_normal((48, WIDTH), dtype=np.float32)
    centres = space.standard_normal((1_000, 48), dtype=np.float32)
    inside = centres[rng.integers(0, 1_000, number)] + 0.7 * rng.standard_normal((number, 48), dtype=np.float32)
    return inside @ turn + rng.standard_normal((number, WIDTH), dtype=np.float32)


def pieces(number: int) -> Iterator[tuple[int, np.ndarray]]:
    for first in range(0, number, PIECE):
        yield first, made(first // PIECE, min(PIECE, number - first))


def queries(number: int) -> np.ndarray:
    return made(1 << 40, number)


def truth(number: int, asked: np.ndarray) -> np.ndarray:
    """The numbers of the nearest rows of each query, by numpy in float32."""
    units = asked / np.linalg.norm(asked, axis=1, keepdims=True)
    scores, best = np.empty((len(asked), 0), np.float32), np.empty((len(asked), 0), np.int64)
    for first, vectors in pieces(number):
        found = units @ (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).T
        scores = np.concatenate([scores, found], axis=1)
        best = np.concatenate([best, np.broadcast_to(np.arange(first, first + len(vectors)), found.shape)], axis=1)
        kept = np.argpartition(-scores, TOP - 1, axis=1)[:, :TOP]
        scores, best = np.take_along_axis(scores, kept, 1), np.take_along_axis(best, kept, 1)
    return best


def recall(found: list[list[int]], expected: np.ndarray) -> float:
    return float(np.mean([len({*one} & {*best}) / TOP for one, best in zip(found, expected.tolist(), strict=True)]))


def build_braid(home: Path, kind: str, number: int) -> dict[str, Any]:
    from braid.index import ExactIndexConfig, HnswIndexConfig, Origin, create_index

    config = HnswIndexConfig() if kind == "hnsw" else ExactIndexConfig(storage="int8")
    started, spent = time.perf_counter(), 0.0
    index = create_index(home / kind, config, WIDTH, Origin("made", "0"))
    for first, vectors in pieces(number):
        spent -= time.perf_counter()  # what making the vectors takes is nobody's time of building
        ids = [f"{first + k}" for k in range(len(vectors))]
        rows = [{"path": f"photos/{name}.jpg", "caption": "a brown dog runs along the beach on a sunny day"} for name in ids]
        index.add(ids, vectors, rows)
        spent += time.perf_counter()
        _tell(kind, first + len(vectors), number, started)
    spent -= time.perf_counter()
    index.save()
    return {
        "seconds": spent + time.perf_counter(),
        "bytes": sum(f.stat().st_size for f in (home / kind).rglob("*") if f.is_file()),
    }


def build_alone(home: Path, kind: str, number: int) -> dict[str, Any]:
    from usearch.index import Index

    from braid.index.hnsw import threads

    started, spent = time.perf_counter(), 0.0
    index = Index(ndim=WIDTH, metric="cos", dtype="f16", connectivity=16, expansion_add=128)
    for first, vectors in pieces(number):
        spent -= time.perf_counter()
        index.add(np.arange(first, first + len(vectors)), vectors, threads=threads())
        spent += time.perf_counter()
        _tell("usearch alone", first + len(vectors), number, started)
    spent -= time.perf_counter()
    index.save(home / "alone.usearch")
    return {"seconds": spent + time.perf_counter(), "bytes": (home / "alone.usearch").stat().st_size}


def search(home: Path, kind: str, number: int) -> dict[str, Any]:
    """How long opening takes, and the recall and the setting that reaches it; 1,000 queries for every setting tried."""
    started = time.perf_counter()
    ask, tune = opened(home, kind)
    told: dict[str, Any] = {"opened": time.perf_counter() - started}
    for effort in EFFORTS if tune else (0,):
        if tune:
            tune(effort)
        told |= {"effort": effort, "recall": recall(ask(queries(1_000)), np.load(home / "truth.npy"))}
        if told["recall"] >= RECALL:
            break
    return told


def race(home: Path, efforts: str, number: int) -> dict[str, Any]:
    """Queries a second of all kinds, with the settings found, in turns: ``{kind: [one at a time, all at once]}``."""
    asks: dict[str, Ask] = {}
    for kind, effort in json.loads(efforts).items():
        asks[kind], tune = opened(home, kind)
        if tune:
            tune(effort)
    asked = queries(1_000)
    rates: dict[str, list[list[float]]] = {kind: [] for kind in asks}
    for _ in range(ROUNDS):
        for kind, ask in asks.items():
            single = [asked[k : k + 1] for k in range(20 if kind == "exact" else 500)]
            rates[kind].append([_rate(ask, single), _rate(ask, [asked])])
    return {kind: [statistics.median(column) for column in zip(*rounds, strict=True)] for kind, rounds in rates.items()}


def _rate(ask: "Ask", groups: list[np.ndarray]) -> float:
    started = time.perf_counter()
    for group in groups:
        ask(group)
    return sum(map(len, groups)) / (time.perf_counter() - started)


Ask = Callable[[np.ndarray], list[list[int]]]
Tune = Callable[[int], None]


def opened(home: Path, kind: str) -> tuple[Ask, Tune | None]:
    """A function that asks, and one that sets how hard it looks, where it can be set."""
    return _alone(home) if kind == "alone" else _braid(home, kind)


def _braid(home: Path, kind: str) -> tuple[Ask, Tune | None]:
    from braid.index import open_index

    index: Any = open_index(home / kind)

    def tune(effort: int) -> None:
        index.vectors.graph.expansion_search = effort

    return lambda asked: [[int(hit.id) for hit in hits] for hits in index.search(asked, TOP)], tune if kind == "hnsw" else None


def _alone(home: Path) -> tuple[Ask, Tune | None]:
    from usearch.index import Index

    from braid.index.hnsw import threads

    index = Index(ndim=WIDTH, metric="cos", dtype="f16")
    index.view(home / "alone.usearch")

    def ask(asked: np.ndarray) -> list[list[int]]:
        found = index.search(asked, TOP, threads=threads())
        return [one.keys.tolist() for one in ([found] if len(asked) == 1 else found)]

    def tune(effort: int) -> None:
        index.expansion_search = effort

    return ask, tune


def _tell(name: str, done: int, number: int, started: float) -> None:
    if done % (10 * PIECE) == 0 or done == number:
        say(f"  {name}: {done:,} of {number:,} vectors, {time.perf_counter() - started:.0f} s")


def in_process(home: Path, job: str, kind: str, number: int) -> dict[str, Any]:
    """Run one part in a process of its own; what it tells, and its peak of memory."""
    arguments = ["--vectors", str(number), "--home", str(home), "--job", job, kind]
    peak, _ = peak_memory([sys.executable, __file__, *arguments])
    return {**json.loads((home / "told.json").read_text()), "peak": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--job", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    number = chosen.vectors
    if chosen.job:
        job, kind = chosen.job
        run = {"build": build_alone if kind == "alone" else build_braid, "search": search, "race": race}[job]
        (chosen.home / "told.json").write_text(json.dumps(run(chosen.home, kind, number)))
        return
    rows: dict[str, list[object]] = {}
    efforts = {}
    with tempfile.TemporaryDirectory(prefix="braid-vectors-") as place:
        home = Path(place)
        np.save(home / "truth.npy", truth(number, queries(1_000)))
        for kind, name in KINDS.items():
            say(name)
            built, found = in_process(home, "build", kind, number), in_process(home, "search", kind, number)
            rows[kind] = [name, built["seconds"], built["peak"], built["bytes"] / 1e6, found["opened"], found["peak"]]
            rows[kind] += [found["effort"] or "", f"{found['recall']:.3f}"]
            efforts[kind] = found["effort"]
        raced = in_process(home, "race", json.dumps(efforts), number)
    how = (
        f"{number:,} made vectors of width {WIDTH}, 1,000 queries, the {TOP} nearest of each. Memory is the peak of the summed "
        f"PSS of the building and of the searching process, mapped files included. Recall@{TOP} is against an exact search in "
        f"float32, ef the least that reaches {RECALL}. Queries a second are medians of {ROUNDS} rounds in turns, asked one at a "
        "time and 1,000 at once; Braid's hits come with ids and metadata. Opening includes checking the files' checksums."
    )
    columns = ["index", "build, s", "memory building, MB", "disk, MB", "open, s", "memory searching, MB", "ef", "recall@10"]
    columns += ["queries/s, one at a time", "queries/s, at once"]
    report(
        "vector_search", "Vector search", columns, [row + [f"{x:,.0f}" for x in raced[kind]] for kind, row in rows.items()], how
    )


if __name__ == "__main__":
    main()

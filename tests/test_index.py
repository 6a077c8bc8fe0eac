"""Every kind of index finds what numpy finds, keeps what was saved whoever is killed, and refuses what it cannot hold."""

import json
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braid.config import kinds
from braid.errors import UserError
from braid.index import (
    ExactIndexConfig,
    Hit,
    HnswIndexConfig,
    Index,
    IndexConfig,
    LanceDBIndexConfig,
    Origin,
    create_index,
    open_index,
)
from conftest import shapes_unchecked
from variants import INDEXES

WIDTH = 32
MODEL = Origin("toy", "0123456789abcdef")
TOLERANCE = {"float32": 1e-5, "float16": 2e-3, "int8": 1e-2}  # of a score

every_index = pytest.mark.parametrize("config", INDEXES.values(), ids=INDEXES)
local = {name: config for name, config in INDEXES.items() if not isinstance(config, LanceDBIndexConfig)}
every_local_index = pytest.mark.parametrize("config", local.values(), ids=local)


def vectors(number: int, seed: int = 0, width: int = WIDTH) -> np.ndarray:
    """Of any length, in clusters, as embeddings are."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((20, width))
    return (3 * (centres[rng.integers(0, 20, number)] + rng.standard_normal((number, width)))).astype(np.float32)


def cosines(queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return (queries @ rows.T) / np.linalg.norm(queries, axis=1)[:, None] / np.linalg.norm(rows, axis=1)


def made(folder: Path, config: IndexConfig, number: int = 300) -> Index:
    """Rows ``0``, ``1``, ... with the squares of their numbers as metadata."""
    index = create_index(folder, config, WIDTH, MODEL)
    index.add([str(k) for k in range(number)], vectors(number), [{"square": k * k} for k in range(number)])
    index.save()
    return index


def found(index: Index, queries: np.ndarray, top: int = 10) -> list[list[str]]:
    return [[hit.id for hit in hits] for hits in index.search(queries, top)]


def recall(hits: list[list[str]], expected: np.ndarray) -> float:
    shares = [len({*map(int, one)} & {*best}) / len(best) for one, best in zip(hits, expected.tolist(), strict=True)]
    return float(np.mean(shares))


@every_index
def test_an_index_finds_what_numpy_finds(config: IndexConfig, tmp_path: Path) -> None:
    index = made(tmp_path / "index", config)
    queries = vectors(40, seed=1)
    scores = cosines(queries, vectors(300))
    expected = np.argsort(-scores, axis=1)[:, :10]
    tolerance = TOLERANCE[getattr(config, "storage", "float32")]
    for opened in (index, open_index(tmp_path / "index", MODEL)):
        assert isinstance(opened, Index)
        assert (len(opened), opened.width, opened.origin, opened.folder) == (300, WIDTH, MODEL, tmp_path / "index")
        hits = opened.search(queries)
        assert recall([[hit.id for hit in one] for one in hits], expected) > 0.95
        for row, one in enumerate(hits):
            assert [hit.score for hit in one] == sorted((hit.score for hit in one), reverse=True)
            for hit in one:
                assert hit.score == pytest.approx(scores[row, int(hit.id)], abs=tolerance)
                assert hit.metadata == {"square": int(hit.id) ** 2}


@every_index
def test_the_database_and_every_local_kind_give_the_same_hits(config: IndexConfig, tmp_path: Path) -> None:
    index, plain = made(tmp_path / "a", config), made(tmp_path / "b", ExactIndexConfig(storage="float32"))
    for one, other in zip(index.search(vectors(20, seed=2), 3), plain.search(vectors(20, seed=2), 3), strict=True):
        assert one[0].id == other[0].id
        assert one[0].metadata == other[0].metadata
        assert [hit.score for hit in one] == pytest.approx([hit.score for hit in other], abs=1e-2)


@every_index
def test_rows_are_added_and_deleted_across_openings(config: IndexConfig, tmp_path: Path) -> None:
    """Against a dictionary, in chance order."""
    rng, pool, known = random.Random(0), vectors(250, seed=3), {}
    create_index(tmp_path / "index", config, WIDTH, MODEL).close()
    for step in range(5):
        index = open_index(tmp_path / "index")
        fresh = [str(k) for k in range(50 * step, 50 * step + 50)]
        index.add(fresh, pool[50 * step : 50 * step + 50], [None] * 50)
        known |= {name: int(name) for name in fresh}
        gone = rng.sample(sorted(known), 20)
        index.delete(gone)
        known = {name: row for name, row in known.items() if name not in gone}
        assert len(index) == len(known)
        if step % 2:
            index.add(gone[:5], pool[[int(name) for name in gone[:5]]])
            known |= {name: int(name) for name in gone[:5]}
        hits = found(index, pool, 1)
        index.save()
        assert found(index, pool, 1) == hits
        assert all(hits[row] == [name] for name, row in known.items())
        assert {one[0] for one in hits} <= known.keys()
    assert len(open_index(tmp_path / "index")) == len(known)


@every_index
def test_odd_ids_metadata_and_numbers_of_hits(config: IndexConfig, tmp_path: Path) -> None:
    names = ["it's", 'a "b"', "back\\slash", "naïve 犬", "two\nlines", "", "x' OR '1'='1", "%", "a;b"]
    data: list[Any] = [None, 1, 2.5, "text", [1, [2]], {"a": {"b": None}}, True, "犬", {"": []}]
    index = create_index(tmp_path / "new" / "index", config, WIDTH, MODEL)
    assert index.search(vectors(2)) == [[], []]
    index.add(names, vectors(9), data)
    index.add([], np.empty((0, WIDTH), np.float32))
    index.save()
    index = open_index(tmp_path / "new" / "index")
    assert {hit.id: hit.metadata for hit in index.search(vectors(1), 100)[0]} == dict(zip(names, data, strict=True))
    assert index.search(np.empty((0, WIDTH), np.float32)) == []
    index.delete(names[:4])
    assert sorted(*found(index, vectors(1))) == sorted(names[4:])
    index.delete(names[4:])
    index.delete([])
    index.save()
    assert (len(open_index(tmp_path / "new" / "index")), found(index, vectors(1))) == (0, [[]])


NAN = vectors(3)
NAN[1, 5] = np.nan
ZERO = vectors(3)
ZERO[2] = 0
DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]
REFUSED: dict[str, tuple[Callable[[Index], Any], str]] = {
    "width": (
        lambda index: index.add(["a"], vectors(1, width=7)),
        "the index holds vectors of width 32; those given are [1, 7], not [n, 32]",
    ),
    "one vector": (
        lambda index: index.search(vectors(1)[0]),
        "the index holds vectors of width 32; those given are [32], not [n, 32]",
    ),
    "nan": (
        lambda index: index.add(["a", "b.jpg", "c"], NAN),
        "the vector of row 1 ('b.jpg') holds NaN or infinity; leave it out",
    ),
    "infinity": (
        lambda index: index.add(["a"], np.full((1, WIDTH), np.inf, np.float32)),
        "the vector of row 0 ('a') holds NaN or infinity; leave it out",
    ),
    "zeros": (
        lambda index: index.add(["a", "b", "c"], ZERO),
        "the vector of row 2 ('c') is all zeros, which points nowhere; leave it out",
    ),
    "nan asked": (lambda index: index.search(NAN), "the vector of query 1 holds NaN or infinity; leave it out"),
    "zeros asked": (lambda index: index.search(ZERO), "the vector of query 2 is all zeros, which points nowhere; leave it out"),
    "twice": (lambda index: index.add(["a", "b", "a"], vectors(3)), "rows 0 and 2 have the same id 'a'; ids must differ"),
    "there": (lambda index: index.add(["a", "7"], vectors(2)), "id '7' is in the index already; delete it first"),
    "unknown": (lambda index: index.delete(["7", "nobody"]), "id 'nobody' is not in the index; nothing was deleted"),
    "half a character": (
        lambda index: index.add(["caf\udce9.jpg"], vectors(1)),
        "the id of row 0 holds half a character (a lone surrogate), which is not text; leave it out",
    ),
    "half a character inside": (
        lambda index: index.add(["a"], vectors(1), [{"path": "caf\udce9.jpg"}]),
        "the metadata of row 0 ('a') holds half a character (a lone surrogate), which is not text; leave it out",
    ),
    "object": (
        lambda index: index.add(["a"], vectors(1), [{"path": Path("x")}]),
        "the metadata of row 0 ('a') is not JSON (Object of type PosixPath is not JSON serializable); "
        "give text, numbers, lists and objects",
    ),
    "nan inside": (
        lambda index: index.add(["a", "b"], vectors(2), [1, float("nan")]),
        "the metadata of row 1 ('b') is not JSON (it holds NaN or infinity); give text, numbers, lists and objects",
    ),
    "depth": (
        lambda index: index.add(["a"], vectors(1), [DEEP]),
        "the metadata of row 0 ('a') is not JSON (it is nested without end); give text, numbers, lists and objects",
    ),
    "numbers": (
        lambda index: index.add(["a", "b"], vectors(3), [1]),
        "2 ids, 3 vectors and 1 metadata were given; give one of each a row",
    ),
    "top": (lambda index: index.search(vectors(1), 0), "top is 0; it must be at least 1"),
}


@every_index
def test_what_is_refused_changes_nothing(config: IndexConfig, tmp_path: Path) -> None:
    index = made(tmp_path / "index", config, 20)
    before = index.search(vectors(5), 20)
    for change, message in REFUSED.values():
        with pytest.raises(UserError) as told:
            change(index)
        assert str(told.value) == message
    assert index.search(vectors(5), 20) == before
    index.save()
    assert open_index(tmp_path / "index").search(vectors(5), 20) == before


def test_ids_are_text(tmp_path: Path) -> None:
    index = made(tmp_path / "index", ExactIndexConfig(), 2)
    with shapes_unchecked(), pytest.raises(UserError) as told:
        index.add([3], vectors(1))  # type: ignore[list-item]
    assert str(told.value) == "the id of row 0 is 3; ids are text"


def test_recall_of_many_vectors(tmp_path: Path) -> None:
    rows, queries = vectors(3000, width=64), vectors(200, seed=1, width=64)
    expected = np.argsort(-cosines(queries, rows), axis=1)[:, :10]
    reached = {}
    for name, config in local.items():
        index = create_index(tmp_path / name, config, 64, MODEL)
        for first in range(0, 3000, 1000):
            index.add([str(k) for k in range(first, first + 1000)], rows[first : first + 1000])
        index.save()
        reached[name] = recall(found(index, queries), expected)
    assert reached["exact float32"] == 1
    assert reached["exact float16"] > 0.99
    assert reached["exact int8"] > 0.95
    assert min(reached["hnsw float32"], reached["hnsw float16"], reached["hnsw int8"]) > 0.93


def test_candidates_looked_at_are_speed_against_recall(tmp_path: Path) -> None:
    rows, queries = vectors(4000, width=64), vectors(200, seed=1, width=64)
    expected = np.argsort(-cosines(queries, rows), axis=1)[:, :10]
    reached = []
    for effort in (1, 200):
        config = HnswIndexConfig(connectivity=8, expansion_add=16, expansion_search=effort)
        index = create_index(tmp_path / str(effort), config, 64, MODEL)
        index.add([str(k) for k in range(4000)], rows)
        index.save()
        reached.append(recall(found(open_index(tmp_path / str(effort)), queries), expected))
    assert reached[0] < 0.8 < 0.9 < reached[1]


READER = """
import sys
import numpy as np
from pathlib import Path
from braid.index import open_index
index = open_index(Path(sys.argv[1]))
query = np.frombuffer(bytes.fromhex(sys.argv[2]), np.float32)[None]
for line in sys.stdin:
    if line == "again\\n":
        index = open_index(Path(sys.argv[1]))
    print(len(index), *(hit.id for hit in index.search(query, 3)[0]), flush=True)
"""


@every_local_index
def test_another_process_reads_on_while_this_one_saves(config: IndexConfig, tmp_path: Path) -> None:
    index = made(tmp_path / "index", config)
    query = vectors(1, seed=5)
    command = [sys.executable, "-c", READER, str(tmp_path / "index"), query.tobytes().hex()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdin and reader.stdout

        def told(line: str) -> list[str]:
            assert reader.stdin and reader.stdout
            reader.stdin.write(line + "\n")
            reader.stdin.flush()
            return reader.stdout.readline().split()

        before = told("")
        index.add(["new"], query)
        index.delete(before[1:2])
        assert told("again") == before
        index.save()
        assert told("") == before
        assert told("again")[:2] == ["300", "new"]
        reader.stdin.close()
    assert len([file for file in (tmp_path / "index").iterdir() if file.is_dir()]) == 1


# Adds and deletes a row of the index argv[1] and saves it; dies before the call to the disk with the number argv[2].
WRITER = """
import os, signal, sys
import numpy as np
from pathlib import Path
from braid import files
from braid.index import open_index
left = int(sys.argv[2])
def dying(call):
    def called(*arguments):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments)
    return called
index = open_index(Path(sys.argv[1]))
files.os.rename, files.os.fsync, files.os.replace = dying(os.rename), dying(os.fsync), dying(os.replace)
for _ in range(3):
    index.add(["new"], np.ones((1, index.width), np.float32))
    index.delete(["7"])
    index.save()
    index.delete(["new"])
    index.add(["7"], np.ones((1, index.width), np.float32))
"""


@pytest.mark.parametrize("config", [ExactIndexConfig(), HnswIndexConfig()], ids=["exact", "hnsw"])
def test_an_index_survives_a_kill_at_any_moment_of_a_save(config: IndexConfig, tmp_path: Path) -> None:
    made(tmp_path / "index", config)
    states = []
    for moment in range(1, 99):
        folder = tmp_path / str(moment)
        subprocess.run(["cp", "-r", tmp_path / "index", folder], check=True)
        ran = subprocess.run([sys.executable, "-c", WRITER, str(folder), str(moment)], capture_output=True, text=True)
        index = open_index(folder)
        (ids,) = found(index, vectors(1), 300)
        assert (len(ids), len({*ids} & {"new", "7"})) == (300, 1)  # the old rows or the new ones
        states.append("new" in ids)
        index.add(["another"], vectors(1, seed=7))
        index.save()
        assert len(list(folder.iterdir())) == 2  # the next writer has cleared up
        if "new" in ids:
            break
        assert ran.returncode == -signal.SIGKILL, ran.stderr
    assert states == [False] * (len(states) - 1) + [True]
    assert len(states) > 5


def test_a_database_survives_a_kill(tmp_path: Path) -> None:
    made(tmp_path / "index", LanceDBIndexConfig(), 20)
    code = (
        "import sys; import numpy as np; from pathlib import Path; from braid.index import open_index\n"
        "index = open_index(Path(sys.argv[1]))\n"
        "for k in range(10_000):\n"
        "    index.add([f'{k} {n}' for n in range(7)], np.ones((7, 32), np.float32)); print(k, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "index")], stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        for _ in range(5):
            writer.stdout.readline()
        writer.kill()
    index = open_index(tmp_path / "index")
    assert len(index) >= 20 + 5 * 7
    assert (len(index) - 20) % 7 == 0
    assert found(index, vectors(1), 1) == [["0"]]


@every_local_index
def test_of_two_writers_the_second_is_told(config: IndexConfig, tmp_path: Path) -> None:
    made(tmp_path / "index", config, 20)
    one, other = open_index(tmp_path / "index"), open_index(tmp_path / "index")
    one.add(["one"], vectors(1, seed=1))
    other.add(["other"], vectors(1, seed=2))
    one.save()
    with pytest.raises(UserError) as told:
        other.save()
    assert str(told.value) == f"another process has changed {tmp_path / 'index'} meanwhile; nothing was saved, repeat the change"
    assert found(other, vectors(1, seed=1), 1) == [["one"]]
    other.add(["other"], vectors(1, seed=2))
    other.save()
    one.delete(["other"])  # begins from the newest
    one.save()
    assert len(open_index(tmp_path / "index")) == 21


@every_local_index
def test_what_is_not_saved_is_forgotten(config: IndexConfig, tmp_path: Path) -> None:
    index = made(tmp_path / "index", config, 20)
    index.add(["new"], vectors(1))
    index.close()
    assert len(open_index(tmp_path / "index")) == 20
    assert len(list((tmp_path / "index").iterdir())) == 2


@every_local_index
def test_a_full_disk_leaves_the_index_as_it_was(config: IndexConfig, tmp_path: Path) -> None:
    index = made(tmp_path / "index", config)
    before = index.search(vectors(3))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError) as told:
            for k in range(20):
                index.add([f"{k} {n}" for n in range(500)], vectors(500, seed=k), ["x" * 100] * 500)
                index.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert told.value.filename
    assert len(index) % 500 == 300 == len(index) - 500 * (len(index) // 500)
    assert len(open_index(tmp_path / "index")) == len(index)
    if len(index) == 300:
        assert index.search(vectors(3)) == before


def test_metadata_stays_on_the_disk(tmp_path: Path) -> None:
    """60 MB of it, added, saved, opened and searched, in a process that grows by less than half of that."""
    code = (
        "import resource, sys; import numpy as np; from pathlib import Path\n"
        "from braid.index import ExactIndexConfig, Origin, create_index, open_index\n"
        "index = create_index(Path(sys.argv[1]), ExactIndexConfig(), 16, Origin('toy', ''))\n"
        "index.add(['a'], np.ones((1, 16), np.float32)); index.search(np.ones((1, 16), np.float32))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for k in range(300):\n"
        "    vectors = np.random.default_rng(k).standard_normal((100, 16)).astype(np.float32)\n"
        "    index.add([f'{k} {n}' for n in range(100)], vectors, ['x' * 2000] * 100)\n"
        "index.save()\n"
        "print(len(open_index(Path(sys.argv[1])).search(vectors, 20)))\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path / "index")], capture_output=True, text=True, check=True)
    hits, grown = map(int, ran.stdout.split())
    assert hits == 100
    assert grown < 30


def test_every_kind_of_index_is_tested() -> None:
    assert {config.kind for config in INDEXES.values()} == kinds(IndexConfig).keys()


def test_no_index_imports_torch_and_none_imports_what_it_does_not_need(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; import numpy as np; from pathlib import Path\n"
        "from braid.index import *\n"
        "index = create_index(Path(sys.argv[1]), ExactIndexConfig(), 4, Origin('toy', ''))\n"
        "index.add(['a'], np.ones((1, 4))); index.save(); assert index.search(np.ones((1, 4)))[0][0].score > 0.999\n"
        "print([name for name in ('usearch', 'lancedb', 'pyarrow', 'onnxruntime') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path / "index")], capture_output=True, text=True)
    assert ran.stdout == "[]\n", ran.stderr


@pytest.mark.parametrize(
    ("config", "package", "extra"),
    [
        (ExactIndexConfig(), "numkong", "search"),
        (HnswIndexConfig(), "usearch", "search"),
        (LanceDBIndexConfig(), "lancedb", "lancedb"),
    ],
)
def test_a_missing_package_is_told_with_its_command(
    config: IndexConfig, package: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [package, *(name for name in sys.modules if name.startswith(package + "."))]:
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not there, loaded or not
    with pytest.raises(UserError) as told:
        create_index(tmp_path / "index", config, WIDTH, MODEL)
    assert str(told.value) == f'this index needs {package}, which is not installed; run: pip install "braidlm[{extra}]"'


def test_a_hit_is_a_plain_record() -> None:
    assert Hit("a", 0.5, None) == Hit("a", 0.5, None)
    assert json.dumps(vars(Hit("a", 0.5, {"x": 1}))) == '{"id": "a", "score": 0.5, "metadata": {"x": 1}}'

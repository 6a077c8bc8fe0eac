"""Every kind of index finds what numpy finds, and refuses what it cannot hold."""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braid.config import kinds
from braid.errors import UserError, install_command
from braid.index import (
    ExactIndexConfig,
    Hit,
    HnswIndexConfig,
    Index,
    IndexConfig,
    LanceDBIndexConfig,
    create_index,
    open_index,
)
from conftest import shapes_unchecked
from indexes import MODEL, WIDTH, cosines, every_index, every_local_index, local, made, result, vectors
from variants import INDEXES

TOLERANCE = {"float32": 1e-5, "float16": 2e-3, "int8": 1e-2}  # of a score


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
    created = create_index(tmp_path / "index", config, WIDTH, MODEL)
    created.save()
    created.close()
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
        hits = result(index, pool, 1)
        index.save()
        assert result(index, pool, 1) == hits
        assert all(hits[row] == [name] for name, row in known.items())
        assert {one[0] for one in hits} <= known.keys()
    assert len(open_index(tmp_path / "index")) == len(known)


@every_local_index
def test_an_index_whose_maker_was_killed_is_no_index(config: IndexConfig, tmp_path: Path) -> None:
    begun = create_index(tmp_path / "index", config, WIDTH, MODEL)
    begun.add(["one"], vectors(1))
    with pytest.raises(UserError, match="there is no index at"):
        open_index(tmp_path / "index")
    index = create_index(tmp_path / "index", config, WIDTH, MODEL)
    index.save()
    assert len(open_index(tmp_path / "index")) == 0


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
    assert sorted(*result(index, vectors(1))) == sorted(names[4:])
    index.delete(names[4:])
    index.delete([])
    index.save()
    assert (len(open_index(tmp_path / "new" / "index")), result(index, vectors(1))) == (0, [[]])


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
    with shapes_unchecked(), pytest.raises(UserError) as message:
        index.add([3], vectors(1))  # type: ignore[list-item]
    assert str(message.value) == "the id of row 0 is 3; ids are text"


def test_recall_of_many_vectors(tmp_path: Path) -> None:
    rows, queries = vectors(3000, width=64), vectors(200, seed=1, width=64)
    expected = np.argsort(-cosines(queries, rows), axis=1)[:, :10]
    reached = {}
    for name, config in local.items():
        index = create_index(tmp_path / name, config, 64, MODEL)
        for first in range(0, 3000, 1000):
            index.add([str(k) for k in range(first, first + 1000)], rows[first : first + 1000])
        index.save()
        reached[name] = recall(result(index, queries), expected)
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
        reached.append(recall(result(open_index(tmp_path / str(effort)), queries), expected))
    assert reached[0] < 0.8 < 0.9 < reached[1]


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
    with pytest.raises(UserError) as message:
        create_index(tmp_path / "index", config, WIDTH, MODEL)
    assert str(message.value) == f"this index needs {package}, which is not installed; run: {install_command(extra)}"


def test_a_hit_is_a_plain_record() -> None:
    assert Hit("a", 0.5, None) == Hit("a", 0.5, None)
    assert json.dumps(vars(Hit("a", 0.5, {"x": 1}))) == '{"id": "a", "score": 0.5, "metadata": {"x": 1}}'

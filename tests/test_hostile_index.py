"""An index that somebody else made: whatever stands in its files, it is read or refused with a message."""

import json
import os
import re
import sqlite3
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from braid.errors import UserError
from braid.index import ExactIndexConfig, HnswIndexConfig, IndexConfig, LanceDBIndexConfig, open_index
from braid.index.graph import HEADER
from indexes import WIDTH, made, vectors

ROWS = 300
MATRIX = 8 + ROWS * WIDTH * 2  # bytes before the header of a graph of float16
LEVELS = MATRIX + HEADER.itemsize
NODES = LEVELS + 2 * ROWS
ENTRY, MAX_LEVEL, SIZE, PRESENT = LEVELS - 8, LEVELS - 16, LEVELS - 40, MATRIX + 17


def renewed(folder: Path) -> None:
    """Write the sizes and checksums of the files as they are now, as whoever damages them on purpose does."""
    header = json.loads((folder / "index.json").read_text())
    for name in header["files"]:
        data = (folder / header["revision"] / name).read_bytes()
        header["files"][name] = {"bytes": len(data), "crc32": zlib.crc32(data)}
    (folder / "index.json").write_text(json.dumps(header))


def changed(folder: Path, file: str, change: Callable[[bytearray], object]) -> None:
    path = next(folder.glob(f"revision-*/{file}"))
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)
    renewed(folder)


def refused(folder: Path) -> str:
    """What is said when the index is opened and searched."""
    with pytest.raises(UserError) as message:
        open_index(folder).search(vectors(3), 20)
    place = next(folder.glob("revision-*"), folder)
    return str(message.value).replace(str(place), "REVISION")


def put(place: int, kind: str, value: float) -> Callable[[bytearray], object]:
    return lambda data: struct.pack_into(kind, data, place, value)


GRAPHS: dict[str, tuple[Callable[[bytearray], object], str]] = {
    "a neighbour that is not there": (put(NODES + 14, "<I", ROWS), "a neighbour is out of range"),
    "a neighbour far away": (put(NODES + 14, "<I", 2**32 - 1), "a neighbour is out of range"),
    "more neighbours than there is room for": (put(NODES + 10, "<I", 33), "a node has too many neighbours"),
    "another level in a node": (put(NODES + 8, "<h", 3), "a node has another level"),
    "a level in the list of levels": (put(LEVELS, "<h", 5), "its size differs from its levels"),
    "a level below 0": (put(LEVELS, "<h", -1), "a level is out of range"),
    "an entry that is not there": (put(ENTRY, "<Q", ROWS), "its entry is out of range"),
    "more levels than the entry has": (put(MAX_LEVEL, "<Q", 9), "its entry is out of range"),
    "more nodes": (put(SIZE, "<Q", ROWS + 1), "its counts differ"),
    "more rows than nodes": (put(PRESENT, "<Q", ROWS + 1), "its counts differ"),
    "a key twice": (put(NODES, "<Q", 1), "a key is there twice"),
    "a key of a deleted node": (put(NODES, "<Q", 2**64 - 1), "its counts differ"),
    "a row more in the matrix": (put(0, "<I", ROWS + 1), "it is no graph of usearch"),
    "a matrix longer than the file": (put(0, "<I", 2**32 - 1), "it is cut short"),
    "NaN in a vector": (put(8, "<e", float("nan")), "a vector is not of length 1"),
    "a huge vector": (put(8, "<e", 60000.0), "a vector is not of length 1"),
    "nothing": (lambda data: data.clear(), "it is cut short"),
    "a byte less": (lambda data: data.pop(), "its size differs from its levels"),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_with_a_wrong_number(name: str, tmp_path: Path) -> None:
    """usearch would read outside of its memory."""
    change, message = GRAPHS[name]
    made(tmp_path / "index", HnswIndexConfig(), ROWS)
    changed(tmp_path / "index", "vectors.usearch", change)
    assert refused(tmp_path / "index") == (
        f"REVISION/vectors.usearch is damaged ({message}); copy the index again, or make it anew"
    )


def test_a_neighbour_that_is_not_on_the_level_of_its_list(tmp_path: Path) -> None:
    made(tmp_path / "index", HnswIndexConfig(), ROWS)

    def point_down(data: bytearray) -> None:
        levels = np.frombuffer(bytes(data), "<i2", ROWS, LEVELS).astype(int)
        high, low = int(levels.argmax()), int(levels.argmin())
        node, upper = 14 + 4 * 32, 4 + 4 * 16
        place = NODES + int((node + upper * levels[:high]).sum()) + node
        struct.pack_into("<II", data, place, 1, low)

    changed(tmp_path / "index", "vectors.usearch", point_down)
    assert refused(tmp_path / "index") == (
        "REVISION/vectors.usearch is damaged (a neighbour is not on its level); copy the index again, or make it anew"
    )


# Damages the graph of the index argv[1] in many ways, and opens, searches and changes what is not refused.
FUZZER = """
import random, sys, zlib
from pathlib import Path
from braid.errors import UserError
from braid.index import open_index
from test_hostile_index import changed
from indexes import vectors
folder, used = Path(sys.argv[1]), 0
path = next(folder.glob("revision-*/vectors.usearch"))
whole = path.read_bytes()
for seed in range(int(sys.argv[2])):
    rng = random.Random(seed)
    def damage(data):
        for _ in range(rng.choice((1, 1, 4, 64))):
            place = rng.choice((rng.randrange(200), rng.randrange(len(data)), rng.randrange(len(data) - 45_000, len(data))))
            data[place] = rng.choice((0, 1, 0x7F, 0xFF, rng.randrange(256)))
    path.write_bytes(whole)
    changed(folder, "vectors.usearch", damage)
    try:
        index = open_index(folder)
        index.search(vectors(3), 20)
        index.add(["new"], vectors(1, seed=5))
        index.delete(["3"])
        index.search(vectors(3), 20)
        index.close()
        used += 1
    except UserError:
        pass
print(used)
"""


def test_no_damaged_graph_ends_the_process(tmp_path: Path) -> None:
    made(tmp_path / "index", HnswIndexConfig(), ROWS)
    command = [sys.executable, "-c", FUZZER, str(tmp_path / "index"), "150"]
    here = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    ran = subprocess.run(command, capture_output=True, text=True, env=here)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert 0 < int(ran.stdout) < 150


@pytest.mark.parametrize("storage", ["float32", "float16"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 60000.0])
def test_vectors_that_no_model_gives(storage: str, value: float, tmp_path: Path) -> None:
    made(tmp_path / "index", ExactIndexConfig(storage=storage), ROWS)  # type: ignore[arg-type]
    changed(tmp_path / "index", "vectors.bin", put(8, "<f" if storage == "float32" else "<e", value))
    assert refused(tmp_path / "index") == (
        "REVISION/vectors.bin is damaged (a vector is not of length 1); copy the index again, or make it anew"
    )


@pytest.mark.parametrize("config", [ExactIndexConfig(), HnswIndexConfig()], ids=["exact", "hnsw"])
def test_a_vector_without_a_row(config: IndexConfig, tmp_path: Path) -> None:
    made(tmp_path / "index", config, ROWS)
    run_sql(tmp_path / "index", "DELETE FROM rows WHERE key < 290")
    assert refused(tmp_path / "index") == "REVISION/rows.sqlite lacks the row of a vector; copy the index again, or make it anew"


def run_sql(folder: Path, *statements: str) -> None:
    with sqlite3.connect(next(folder.glob("revision-*/rows.sqlite"))) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()
    renewed(folder)


TABLES: dict[str, tuple[tuple[str, ...], str]] = {
    "metadata that is no JSON": (
        ("UPDATE rows SET metadata = '{'",),
        "REVISION/rows.sqlite has the row '0', whose metadata is not JSON (Expecting property name enclosed in double quotes: "
        "line 1 column 2 (char 1)); copy the index again, or make it anew",
    ),
    "metadata with NaN": (
        ("UPDATE rows SET metadata = 'NaN'",),
        "REVISION/rows.sqlite has the row '0', whose metadata is not JSON (it holds NaN, which is not a number); "
        "copy the index again, or make it anew",
    ),
    "metadata nested 100,000 deep": (
        ("UPDATE rows SET metadata = replace(hex(zeroblob(50000)), '0', '[')",),
        "REVISION/rows.sqlite has the row '0', whose metadata is not JSON (it is nested too deeply); "
        "copy the index again, or make it anew",
    ),
    "metadata of bytes": (
        ("UPDATE rows SET metadata = x'6e756c6c'",),
        "REVISION/rows.sqlite has the row '0', whose id or metadata is not text; copy the index again, or make it anew",
    ),
    "ids of bytes": (
        ("UPDATE rows SET id = CAST(id AS BLOB)",),
        "REVISION/rows.sqlite has the row \"b'0'\", whose id or metadata is not text; copy the index again, or make it anew",
    ),
    "ids that are no UTF-8": (
        ("UPDATE rows SET id = CAST(CAST(id AS BLOB) || x'ff' AS TEXT)",),
        "REVISION/rows.sqlite cannot be read (Could not decode to UTF-8 column 'id' with text '0\ufffd'); "
        "copy the index again, or make it anew",
    ),
    "keys below 0": (
        ("UPDATE rows SET key = -1 WHERE key = 0",),
        "REVISION/rows.sqlite has keys from -1 to 299; copy the index again, or make it anew",
    ),
    "a view that never ends": (
        (
            "DROP TABLE rows",
            "CREATE VIEW rows AS WITH RECURSIVE n(key) AS (SELECT 0 UNION ALL SELECT key + 1 FROM n) "
            "SELECT key, key AS id, 'null' AS metadata FROM n",
        ),
        "REVISION/rows.sqlite holds other tables than those of an index; copy the index again, or make it anew",
    ),
    "a trigger": (
        ("CREATE TRIGGER more AFTER INSERT ON rows BEGIN DELETE FROM rows; END",),
        "REVISION/rows.sqlite holds other tables than those of an index; copy the index again, or make it anew",
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_rows_of_somebody_else(name: str, tmp_path: Path) -> None:
    statements, message = TABLES[name]
    index = made(tmp_path / "index", ExactIndexConfig(), ROWS)
    index.close()
    run_sql(tmp_path / "index", *statements)
    with pytest.raises(UserError) as error:
        open_index(tmp_path / "index").search(vectors(1), ROWS)
    place = str(next((tmp_path / "index").glob("revision-*")))
    assert ordered(str(error.value).replace(place, "REVISION")) == message


def ordered(message: str) -> str:
    """Which row is the nearest does not matter."""
    return re.sub(r"(row|text) (\"?b?')\d+", r"\1 \g<2>0", message)


def test_rows_that_are_no_database(tmp_path: Path) -> None:
    made(tmp_path / "index", ExactIndexConfig(), ROWS)
    changed(tmp_path / "index", "rows.sqlite", lambda data: data.__setitem__(slice(0, len(data)), b"x" * len(data)))
    assert refused(tmp_path / "index") == (
        "REVISION/rows.sqlite cannot be read (file is not a database); copy the index again, or make it anew"
    )


def test_metadata_of_a_database_of_somebody_else(tmp_path: Path) -> None:
    import lancedb

    made(tmp_path / "index", LanceDBIndexConfig(), 20)
    lancedb.connect(tmp_path / "index" / "lancedb").open_table("vectors").update(values={"metadata": "{"})
    message = refused(tmp_path / "index")
    assert message.startswith("table vectors of REVISION/lancedb has the row '")
    assert message.endswith("line 1 column 2 (char 1)); copy the index again, or make it anew")


@pytest.mark.parametrize("file", ["index.json", "rows.sqlite", "vectors.bin"])
def test_a_file_that_never_ends(file: str, tmp_path: Path) -> None:
    made(tmp_path / "index", ExactIndexConfig(), 20)
    path = next((tmp_path / "index").rglob(file))
    path.unlink()
    os.mkfifo(path)
    assert refused(tmp_path / "index").endswith(f"{file} is a pipe or a device; put the file itself there")
    path.unlink()
    path.symlink_to("/dev/zero")
    assert refused(tmp_path / "index").endswith(f"{file} is a pipe or a device; put the file itself there")

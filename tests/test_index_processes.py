"""An index that several processes use, that is killed, or that finds no room on the disk, is the old one or the new one."""

import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from braid.errors import UserError
from braid.index import ExactIndexConfig, HnswIndexConfig, IndexConfig, LanceDBIndexConfig, open_index
from indexes import every_local_index, made, result, vectors

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

        def message(line: str) -> list[str]:
            assert reader.stdin and reader.stdout
            reader.stdin.write(line + "\n")
            reader.stdin.flush()
            return reader.stdout.readline().split()

        before = message("")
        index.add(["new"], query)
        index.delete(before[1:2])
        assert message("again") == before
        index.save()
        assert message("") == before
        assert message("again")[:2] == ["300", "new"]
        reader.stdin.close()
    assert len([file for file in (tmp_path / "index").iterdir() if file.is_dir()]) == 1


# Adds and deletes a row of the index argv[1] and saves it; dies before the call to the disk with the number argv[2].
WRITER = """
import os, signal, sys
import numpy as np
from pathlib import Path
from braid.files import writing as files
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
        (ids,) = result(index, vectors(1), 300)
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
    assert result(index, vectors(1), 1) == [["0"]]


@every_local_index
def test_of_two_writers_the_second_is_told(config: IndexConfig, tmp_path: Path) -> None:
    made(tmp_path / "index", config, 20)
    one, other = open_index(tmp_path / "index"), open_index(tmp_path / "index")
    one.add(["one"], vectors(1, seed=1))
    other.add(["other"], vectors(1, seed=2))
    one.save()
    with pytest.raises(UserError) as message:
        other.save()
    assert (
        str(message.value) == f"another process has changed {tmp_path / 'index'} meanwhile; nothing was saved, repeat the change"
    )
    assert result(other, vectors(1, seed=1), 1) == [["one"]]
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
        with pytest.raises(OSError) as message:
            for k in range(20):
                index.add([f"{k} {n}" for n in range(500)], vectors(500, seed=k), ["x" * 100] * 500)
                index.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert message.value.filename
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

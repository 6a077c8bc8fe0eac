"""A file or folder is whole or not there, whoever is killed in the middle of writing it."""

import errno
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from braid.bundle import Bundle, Interface, bundle_folder, find_bundle, read_bundle
from braid.errors import UserError
from braid.files import held, ready, settle, whole, write_whole

# Replaces the folder argv[1] over and over; dies at the system call argv[2] asks for, if any.
WRITER = """
import os, signal, sys
from pathlib import Path
from braid.files import writing as files
target, die_at = Path(sys.argv[1]), sys.argv[2]
def dying(call):
    def called(*arguments):
        if die_at == call.__name__ + " before":
            os.kill(os.getpid(), signal.SIGKILL)
        call(*arguments)
        if die_at == call.__name__ + " after":
            os.kill(os.getpid(), signal.SIGKILL)
    return called
files.os.rename, files.os.fsync, files.os.replace = dying(os.rename), dying(os.fsync), dying(os.replace)
with files.whole(target) as fresh:
    if target.is_dir():
        fresh.mkdir()
        (fresh / "interface.json").write_text("new")
    else:
        fresh.write_text("new")
"""


# Holds the lock of the folder argv[1], with a forked child that outlives it, as a data worker does.
HOLDER = """
import os, sys, time
from pathlib import Path
from braid.files import held
with held(Path(sys.argv[1]), print, print):
    if os.fork():
        print(os.getpid(), flush=True)
    time.sleep(60)
"""


def test_a_folder_is_held_by_one_process_until_that_is_killed(tmp_path: Path) -> None:
    folder, said = tmp_path / "run", []
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == str(process.pid)

    def busy(who: str) -> None:
        said.append(who)
        process.kill()

    try:
        with held(folder, busy, said.append):
            assert (folder / ".lock").read_text() == f"process {os.getpid()} on {platform.node()}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the child, too
    assert said == [f"process {process.pid} on {platform.node()}"]
    assert not (folder / ".lock").exists()
    process.communicate()


def test_a_file_system_without_locks_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("braid.files.writing.fcntl.flock", none)
    said: list[str] = []
    with held(tmp_path / "run", said.append, said.append):
        pass
    assert said == [f"warning: {tmp_path / 'run'} cannot be locked on this file system; start no second run in it"]
    assert not (tmp_path / "run").exists()


def killed_while_writing(target: Path, moment: str) -> None:
    ran = subprocess.run([sys.executable, "-c", WRITER, str(target), moment], capture_output=True, text=True)
    assert ran.returncode == -signal.SIGKILL, ran.stderr


def test_a_block_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError), whole(tmp_path / "a.txt") as fresh:
        fresh.write_text("new")
        raise RuntimeError
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.txt", "old")]


@pytest.mark.parametrize("moment", ["fsync before", "fsync after", "replace before", "replace after"])
def test_a_file_survives_a_kill_and_the_next_writer_clears_up(moment: str, tmp_path: Path) -> None:
    write_whole(tmp_path / "a.txt", "old")
    killed_while_writing(tmp_path / "a.txt", moment)
    assert (tmp_path / "a.txt").read_text() == ("new" if moment == "replace after" else "old")
    assert len(list(tmp_path.iterdir())) == 2
    write_whole(tmp_path / "b.txt", "b")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.txt", "b.txt"]


@pytest.mark.parametrize("moment", ["fsync after", "rename before", "rename after"])
def test_a_reader_finds_the_bundle_whenever_its_writer_was_killed(moment: str, captioner: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "best").mkdir()
    for file in (captioner / "best").iterdir():
        (run / "best" / file.name).write_bytes(file.read_bytes())
    killed_while_writing(run / "best", moment)
    assert (run / "best").exists() == (moment != "rename after")  # between its two renames the place is empty
    for named in (run, run / "best"):
        assert read_bundle(find_bundle(named)).tokenizer.vocab_size > 0
    settle(run)
    assert [file.name for file in run.iterdir()] == ["best"]


def test_work_under_way_is_no_leftover(tmp_path: Path) -> None:
    """In this process and beside it."""
    with whole(tmp_path / "a.txt") as fresh:
        settle(tmp_path)
        code = f"from pathlib import Path; from braid.files import settle; settle(Path({str(tmp_path)!r}))"
        subprocess.run([sys.executable, "-c", code], check=True)
        fresh.write_text("new")
    assert (tmp_path / "a.txt").read_text() == "new"


def test_many_writers_of_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def write(text: str) -> None:
        try:
            for _ in range(20):
                write_whole(tmp_path / "a.txt", text * 1000)
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    assert len(set((tmp_path / "a.txt").read_text())) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_links_are_followed_and_devices_written_to(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "link.txt").symlink_to(tmp_path / "deep" / "real.txt")
    write_whole(tmp_path / "link.txt", "new")
    assert (tmp_path / "deep" / "real.txt").read_text() == "new"
    write_whole(Path(os.devnull), "nothing")
    assert not Path(os.devnull).is_file()


def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError) as caught:
        write_whole(tmp_path / "file" / "a.txt", "")
    assert caught.value.errno in (errno.ENOTDIR, errno.EEXIST)
    with pytest.raises(OSError) as caught, whole(tmp_path / "a.safetensors"):
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "a.safetensors"))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="there is no /proc")
def test_a_place_where_nothing_can_be_made_is_named() -> None:
    for write in (ready, lambda path: write_whole(path, "x")):
        with pytest.raises(OSError) as error:
            write(Path("/proc/x"))
        assert error.value.filename == "/proc/x"


def test_a_place_is_tried_before_the_work(tmp_path: Path) -> None:
    ready(tmp_path / "new" / "a.csv")
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(UserError, match="new is a folder; give the name of a file to write"):
        ready(tmp_path / "new")


def test_half_floats_on_disk_are_read_as_what_they_are(tmp_path: Path) -> None:
    """Every one there is, the smallest and minus zero among them, in any shape."""
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)]
    saved = {"flat": finite, "shaped": finite.reshape(2, 4, -1), "single": finite[:1].reshape(()), "none": finite[:0]}
    save_file(saved, tmp_path / "model.safetensors")
    read = Bundle(tmp_path, Interface({}, {}, {}), {}, None).weights()
    for name, value in saved.items():
        assert read[name].dtype == np.float32 and read[name].shape == value.shape
        assert np.array_equal(read[name].view(np.uint32), value.astype(np.float32).view(np.uint32))


def test_a_leftover_that_came_from_elsewhere_is_left_alone(captioner: Path, tmp_path: Path) -> None:
    """A copied or downloaded folder may hold anything under the name of a temporary folder, also links to other folders."""
    victim, run = tmp_path / "victim", tmp_path / "run"
    for folder in (victim / "new", victim / "old", run / ".braid-a.part", run / ".braid-c.part" / "new"):
        folder.mkdir(parents=True)
    for file in (victim / "lock", victim / "new" / "a", victim / "old" / "b", run / ".braid-a.part" / "lock"):
        file.write_text("mine")
    (run / ".braid-a.part" / "old").symlink_to(victim)
    (run / ".braid-b.part").symlink_to(victim)
    (run / ".braid-c.part" / "lock").symlink_to(victim / "lock")
    before = sorted(map(str, tmp_path.rglob("*")))
    assert bundle_folder(run) is None
    settle(run)
    assert sorted(map(str, tmp_path.rglob("*"))) == before
    write_whole(run / "a.txt", "new")
    assert sorted(map(str, victim.rglob("*"))) == [str(victim / name) for name in ("lock", "new", "new/a", "old", "old/b")]


def test_reading_moves_nothing(captioner: Path, tmp_path: Path) -> None:
    shutil.copytree(captioner / "best", tmp_path / "run" / "best")
    killed_while_writing(tmp_path / "run" / "best", "rename after")
    before = sorted(map(str, tmp_path.rglob("*")))
    assert read_bundle(find_bundle(tmp_path / "run")).tokenizer.vocab_size > 0
    assert sorted(map(str, tmp_path.rglob("*"))) == before


def test_a_temporary_folder_of_a_process_that_was_killed_at_once_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".braid-a.part").mkdir()
    (tmp_path / ".braid-b.part").mkdir()
    (tmp_path / ".braid-b.part" / "lock").touch()
    settle(tmp_path)
    assert list(tmp_path.iterdir()) == []

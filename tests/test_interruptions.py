"""A run that is stopped from outside loses nothing: Ctrl-C, SIGTERM, a closed terminal, a full disk, a lost worker, a NaN."""

import fcntl
import os
import resource
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

import kill_resume
from braid.errors import UserError
from braid.training import Watcher, run_from, train
from braid.training.checkpoint import read_position
from braid.training.guard import Interrupt, guarded
from kill_resume import RUN, command, last, log, weights_differ

# Long enough to be interrupted; one step a checkpoint is not what saves it.
LONG: dict[str, Any] = {**RUN, "epochs": 40, "checkpoint_steps": 1000}


def start(folder: Path, settings: dict[str, Any], **options: Any) -> subprocess.Popen[str]:
    (folder.parent / "run.yaml").write_text(yaml.safe_dump(settings))
    return subprocess.Popen(command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options)


def wait_for(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    while process.poll() is None and not reached():
        time.sleep(0.005)
    assert process.poll() is None, process.communicate()[1]


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, message = process.communicate(timeout=60)
    assert "Traceback" not in message
    return process.returncode, message.splitlines()[-1]


def workers(process: subprocess.Popen[str]) -> list[int]:
    return [int(word) for word in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kill_resume.run_whole(tmp_path_factory.mktemp("whole"), RUN)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_saves_and_resumes(number: signal.Signals, whole: Path, tmp_path: Path) -> None:
    """As a terminal sends Ctrl-C: to the workers, too. No checkpoint but the one it saves because of it."""
    folder = tmp_path / "run"
    process = start(folder, {**RUN, "checkpoint_steps": 1000}, start_new_session=True)
    wait_for(process, lambda: last(folder).get("step", 0) >= 8)
    os.killpg(process.pid, number)
    code, message = ended(process)
    assert (code, message) == (128 + number, f"stopped, and saved; go on with: braid train {folder / 'run.yaml'} --resume")
    assert (folder / "checkpoint.safetensors").exists()
    subprocess.run(command(folder), check=True, capture_output=True)
    assert log(folder) == log(whole)
    assert weights_differ(folder, whole) == []


def test_a_closed_terminal_saves_and_resumes(tmp_path: Path) -> None:
    """Every line that is printed after it is an error of the terminal."""
    folder, (ours, theirs) = tmp_path / "run", os.openpty()
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(LONG))
    terminal = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True}

    def take_terminal() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(command(folder), **terminal, preexec_fn=take_terminal)
    os.close(theirs)
    while process.poll() is None and last(folder).get("step", 0) < 3:
        if select.select([ours], [], [], 0.05)[0]:
            os.read(ours, 65536)
    os.close(ours)
    assert process.wait(timeout=60) == 128 + signal.SIGHUP
    assert (folder / "checkpoint.safetensors").exists()
    saved = read_position(folder)
    assert saved is not None and saved[0].step >= 3


def test_a_run_under_nohup_goes_on() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with guarded(Path(), Interrupt(), lambda: None):
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_interrupt_leaves_at_once(tmp_path: Path) -> None:
    code = (
        "import time; from pathlib import Path; from braid.training.guard import Interrupt, guarded\n"
        "with guarded(Path('.'), Interrupt(), lambda: None):\n"
        "    print('in a long step', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "in a long step\n"
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130
    process.stdout.close()


def test_the_workers_of_a_killed_run_end(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start(folder, LONG)
    wait_for(process, lambda: last(folder).get("step", 0) >= 2 and len(workers(process)) == 2)
    left = workers(process)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while any(alive(worker) for worker in left) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [worker for worker in left if alive(worker)] == []


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def test_a_killed_worker_is_one_clear_error(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start(folder, LONG)
    wait_for(process, lambda: last(folder).get("step", 0) >= 2 and len(workers(process)) == 2)
    os.kill(workers(process)[0], signal.SIGKILL)
    code, message = ended(process)
    assert code == 1
    assert message.startswith("error: a data worker was lost (")
    assert message.endswith(
        "most likely because memory ran out; continue from the last checkpoint with --resume, "
        "if needed without workers: --set workers=0"
    )


@pytest.mark.parametrize("error", [ConnectionResetError(104, "Connection reset by peer"), EOFError()])
def test_a_worker_killed_while_it_hands_a_batch_over_is_the_same_error(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a data worker was lost"), guarded(tmp_path, Interrupt(), lambda: None):
        raise error


class Lost(Exception):
    """The machine goes away between two epochs."""


def test_a_loss_that_is_no_number_leaves_a_checkpoint_to_go_on_from(whole: Path, tmp_path: Path) -> None:
    def lose(record: dict[str, Any]) -> None:
        raise Lost

    folder = tmp_path / "run"
    with pytest.raises(Lost):
        train(run_from(RUN), folder, watcher=Watcher(on_epoch=lose))
    wild = {"learning_rate": 1e30, "clip": 0, "accumulation": 2, "warmup_steps": 0}
    with pytest.raises(UserError, match=r"the loss is (nan|inf) at step \d+ .*the last checkpoint is from before.*then --resume"):
        train(run_from({**RUN, "optimizer": wild, "checkpoint_steps": 1000}), folder, resume=True)
    train(run_from(RUN), folder, resume=True)
    assert log(folder) == log(whole)
    assert weights_differ(folder, whole) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[], dict[str, Any]]]]:
    """A folder on a disk of 8 MB, and what fills it up; where nobody may mount one, a limit on how large files grow."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(disk)]
    mounted = sys.platform == "linux" and subprocess.run(mount, capture_output=True).returncode == 0

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    def fill() -> dict[str, Any]:
        if not mounted:
            return {"preexec_fn": limit}
        with suppress(OSError), open(disk / "filler", "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        return {}

    yield disk, fill
    if mounted:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_leaves_the_last_checkpoint_and_bundle(small_disk: Any, whole: Path) -> None:
    disk, fill = small_disk
    folder = disk / "run"
    process = start(folder, RUN)
    wait_for(process, lambda: (folder / "last").exists() and last(folder).get("epoch", 0) >= 2)
    process.send_signal(signal.SIGINT)
    process.communicate()
    before = {file: file.read_bytes() for file in folder.rglob("*.safetensors")}
    assert len(before) == 3
    code, message = ended(start(folder, RUN, **fill()))
    assert code == 1
    assert message.startswith(f"error: {folder}")
    assert message.endswith("; the last checkpoint is whole: free some space, then --resume")
    assert " cannot be written (no space left on device)" in message or " cannot be written (file too large)" in message
    assert {file: file.read_bytes() for file in folder.rglob("*.safetensors")} == before
    (disk / "filler").unlink(missing_ok=True)
    subprocess.run(command(folder), check=True, capture_output=True)
    assert log(folder) == log(whole)
    assert weights_differ(folder, whole) == []

"""Two processes train as one does: the same losses, step by step, also when they go on where one was stopped."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from braid.errors import UserError
from braid.training import Watcher, run_from, train
from braid.training.loop import _check_parallel
from braid.training.parallel import Group
from test_training import TINY, log, losses

SETTINGS = ("checkpoint_steps=4", "objective={kind: likelihood, label_smoothing: 0.1}", "optimizer.accumulation=2", "ema=0.9")


def two(run: Path, *arguments: str) -> None:
    """``run`` in two processes; a batch of eight rows is four each, and of an odd number one more here than there."""
    started = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "braid"]
    ran = subprocess.run([*started, "train", str(run), *arguments], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("Trained") == 1  # one of them speaks


def test_two_processes_take_the_steps_of_one_and_resume(tmp_path: Path) -> None:
    config = run_from({**TINY, "data": {"path": "scenes:captioning,train=45,val=8,test=1,compositional=1,size=32"}}, SETTINGS)

    def stop(record: dict[str, float]) -> None:
        if record["step"] == 5:  # one after a checkpoint
            shutil.copytree(tmp_path / "one", tmp_path / "two")

    train(config, tmp_path / "one", watcher=Watcher(on_step=stop))
    two(tmp_path / "two" / "run.yaml", "--resume")
    one, other = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert one.keys() == other.keys() and len(one) == 6
    assert all(one[step] == pytest.approx(other[step], abs=2e-4) for step in one)
    figures = [[record for record in log(tmp_path / name) if "val_loss" in record][-1] for name in ("one", "two")]
    assert figures[0]["val_loss"] == pytest.approx(figures[1]["val_loss"], abs=2e-4)


def test_one_process_is_alone() -> None:
    group = Group()
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    group.add_gradients([weight])
    assert group.alone and group.leads and group.share(7) == 1.0 and weight.grad.tolist() == [1, 1]


def test_what_compares_the_rows_of_a_batch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group()
    monkeypatch.setattr(group, "size", 2)
    config = run_from({**TINY, "task": "retrieval"})
    with pytest.raises(UserError, match="retrieval compares all rows of a batch with each other; train it in one process"):
        _check_parallel(config, group)

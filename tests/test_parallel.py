"""Two processes train as one does: the same losses, step by step, also when they go on where one was stopped."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from braid.errors import UserError
from braid.training import Watcher, run_from, train
from braid.training.parallel import Group, check_parallel
from test_training import TINY, log, losses

SETTINGS = ("checkpoint_steps=4", "objective={kind: likelihood, label_smoothing: 0.1}", "optimizer.accumulation=2", "ema=0.9")


ENDING = """
import atexit
from torch import distributed
from braid.cli import main
atexit.register(lambda: print("hung up" if not distributed.is_initialized() else "still connected"))
main()
"""


def two(run: Path, *arguments: str) -> None:
    """``run`` in two processes; a batch of eight rows is four each, and of an odd number one more here than there."""
    command = run.parent.parent / "ending.py"
    command.write_text(ENDING)
    started = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(command)]
    ran = subprocess.run([*started, "train", str(run), *arguments], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("Trained") == 1  # one of them speaks
    assert ran.stdout.count("hung up") == 2  # a thread of torch's that outlives the interpreter ends it by SIGABRT, at times


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
    metrics = [[record for record in log(tmp_path / name) if "val_loss" in record][-1] for name in ("one", "two")]
    assert metrics[0]["val_loss"] == pytest.approx(metrics[1]["val_loss"], abs=2e-4)


def things(folder: Path) -> Path:
    """Pictures of one colour, texts, or both, with labels; two pictures are cut short."""
    rows = ["image,text,label,split"]
    for k in range(20):
        Image.new("RGB", (40, 40), (12 * k, 255 - 12 * k, 0)).save(folder / f"{k}.png")
        image, text = "" if k % 3 == 0 else f"{k}.png", "" if k % 5 == 1 else f"a thing {k}"
        rows.append(f"{image},{text},{'cat' if k % 2 else 'dog'},{'val' if k > 15 else 'train'}")
    for k in (2, 7):
        (folder / f"{k}.png").write_bytes((folder / f"{k}.png").read_bytes()[:40])
    (folder / "things.csv").write_text("\n".join(rows))
    return folder / "things.csv"


def test_two_that_share_the_model_out_go_on_where_one_was(tmp_path: Path) -> None:
    """Though an input, or every row, is missing in one of them now and then, a part is frozen, and tasks take turns."""
    scenes = "scenes:captioning,train=8,val=4,test=1,compositional=1,size=32"
    beside = {"task": "captioning", "batch_size": 3, "data": {"path": scenes, "limit_val": 2}}
    given = {**TINY, "task": "classification", "data": {"path": str(things(tmp_path))}, "tasks": [beside]}
    settings = [
        "batch_size=2",
        "epochs=1",
        "checkpoint_steps=3",
        "ema=0.9",
        "optimizer.scales={encoders.prompt: 0}",
        "evaluation.limit=4",
    ]

    def stop(record: dict[str, float]) -> None:
        if record["step"] == 4:
            shutil.copytree(tmp_path / "one", tmp_path / "two")

    train(run_from(given, [*settings, "model.decoders.label.dropout=0"]), tmp_path / "one", watcher=Watcher(on_step=stop))
    two(tmp_path / "two" / "run.yaml", "--resume", "--set", "sharded=true")
    one, other = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert one.keys() == other.keys() and len(one) == 16
    assert all(one[step] == pytest.approx(other[step], abs=2e-4) for step in one)
    assert (tmp_path / "one" / "skipped_rows.jsonl").read_text() == (tmp_path / "two" / "skipped_rows.jsonl").read_text()
    for file in ("checkpoint.safetensors", "best/model.safetensors"):
        saved, shared = (load_file(tmp_path / name / file) for name in ("one", "two"))
        assert saved.keys() == shared.keys()
        assert all(np.allclose(saved[name], shared[name], atol=1e-3) for name in saved)


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
        check_parallel(config, group)
    generated = run_from(TINY, ["objective={kind: self_critical}", "sharded=true"])
    with pytest.raises(UserError, match="sharded is set, but with self_critical each process samples texts of other lengths"):
        check_parallel(generated, group)

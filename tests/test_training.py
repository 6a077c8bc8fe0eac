"""The one loop: exact resume, what it writes, and what it says when something is wrong."""

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import kill_resume
from braid.bundle import read_bundle
from braid.errors import UserError
from braid.records import Prediction
from braid.training import Outcome, RunConfig, Watcher, read_run, run_from, train
from braid.training.data import Plan
from braid.training.estimates import COUNTED
from braid.training.optimizer import learning_rate
from braid.training.samples import same_answer
from braid.training.sections import OptimizerConfig
from braid.training.setup import set_up

TINY: dict[str, Any] = {
    "task": {"kind": "captioning", "generation": {"max_length": 12}},
    "data": {"path": "scenes:captioning,train=48,val=8,test=1,compositional=1,size=32"},
    "model": "tiny",
    "inputs": {"image": {"kind": "image", "size": 32}, "prompt": {"kind": "text", "max_length": 16}},
    "tokenizer": {"vocab_size": 300},
    "optimizer": {"learning_rate": 2e-3, "warmup_steps": 4},
    "evaluation": {"limit": 8},
    "epochs": 2,
    "batch_size": 8,
    "workers": 0,
    "threads": 1,
}


def tiny(*settings: str) -> RunConfig:
    return run_from(TINY, settings)


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def losses(folder: Path) -> dict[int, float]:
    return {record["step"]: record["loss"] for record in log(folder) if "loss" in record}


def same_weights(one: Path, other: Path) -> bool:
    first, second = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


class Plain(NamedTuple):
    """A run of one epoch with nothing special about it, and what its watcher was told. Tests only read its folder."""

    folder: Path
    outcome: Outcome
    starts: list[Any]
    steps: list[dict[str, Any]]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Plain:
    folder = tmp_path_factory.mktemp("plain") / "run"
    starts: list[Any] = []
    steps: list[dict[str, Any]] = []
    outcome = train(tiny("epochs=1"), folder, watcher=Watcher(on_start=starts.append, on_step=steps.append))
    return Plain(folder, outcome, starts, steps)


def test_a_run_killed_at_five_random_moments_ends_in_the_same_weights(tmp_path: Path) -> None:
    """kill -9, workers included; dropout, augmentation, averaging and accumulation all on."""
    whole = kill_resume.run_whole(tmp_path, kill_resume.RUN)
    killed, _ = kill_resume.run_killed(tmp_path, 5, random.Random(0))
    assert kill_resume.log(killed) == kill_resume.log(whole)
    assert kill_resume.weights_differ(whole, killed) == []
    assert sorted(file.name for file in killed.iterdir()) == sorted(file.name for file in whole.iterdir())


@pytest.mark.parametrize("groups", [1, 8])
def test_the_flop_of_convolutions_are_those_of_their_products(groups: int) -> None:
    layer, pixels = nn.Conv2d(8, 8, 3, padding=1, groups=groups), torch.randn(2, 8, 4, 4, requires_grad=True)
    with FlopCounterMode(display=False, custom_mapping=COUNTED) as counter:
        layer(pixels).sum().backward()
    products = 2 * 8 * 4 * 4 * (8 // groups) * 3 * 3
    assert counter.get_total_flops() == 3 * 2 * products  # forward, and the gradients of weights and input


def test_a_profile_says_where_the_time_went_and_changes_nothing(plain: Plain, tmp_path: Path) -> None:
    looked = train(tiny("epochs=1"), tmp_path / "looked", profiled=True)
    assert plain.outcome.profile is None and same_weights(plain.folder / "last", tmp_path / "looked" / "last")
    result = looked.profile
    assert result is not None and result.steps == 6 and 0 < result.share_of_peak < 1
    assert min(result.milliseconds[part] for part in ("data", "forward", "backward", "optimizer")) > 0
    spent = sum(record["seconds"] for record in log(tmp_path / "looked") if "loss" in record)
    assert sum(result.milliseconds.values()) * result.steps / 1000 == pytest.approx(spent, rel=0.05)


def test_workers_change_nothing(tmp_path: Path) -> None:
    for workers in (0, 2):
        train(tiny(f"workers={workers}", "inputs.image.augmentation={horizontal_flip: 0.5}", "epochs=1"), tmp_path / str(workers))
    assert losses(tmp_path / "0") == losses(tmp_path / "2")
    assert same_weights(tmp_path / "0" / "last", tmp_path / "2" / "last")


def test_the_run_is_written_down_and_can_be_repeated_from_that(plain: Plain, tmp_path: Path) -> None:
    assert read_run(plain.folder / "run.yaml") == tiny("epochs=1")
    train(read_run(plain.folder / "run.yaml"), tmp_path / "second")
    assert same_weights(plain.folder / "best", tmp_path / "second" / "best")
    assert plain.outcome.best == [record for record in log(plain.folder) if "val_loss" in record][-1]["cider"]
    card = read_bundle(plain.folder / "best").interface.card
    assert card.scored_on.endswith("val, 8 rows, greedy, seed 0")


def test_a_step_s_record_says_what_a_person_wants_to_know(plain: Plain) -> None:
    assert {"step", "steps", "epoch", "loss", "learning_rate", "gradient_norm", "samples_per_second", "seconds_left"} <= set(
        plain.steps[0]
    )
    assert [record["step"] for record in plain.steps] == [1, 2, 3, 4, 5, 6]
    assert plain.starts[0].steps == 6
    assert plain.starts[0].seconds > 0
    assert plain.starts[0].memory_bytes > 1e7
    assert plain.starts[0].trained == plain.starts[0].parameters


def test_accumulated_steps_are_one_large_step(tmp_path: Path) -> None:
    """Same rows, same gradient up to rounding: rows are dealt to batches alike where their captions are of equal length."""
    (tmp_path / "data.txt").write_text("".join(f"line {k:02d} says {k:02d}\n" for k in range(64)))
    settings = {"task": "language_modelling", "data": {"path": str(tmp_path / "data.txt"), "val": "train"}}
    result = {}
    for size, parts in ((64, 1), (16, 4)):
        config = run_from(
            {**TINY, **settings, "objective": {"kind": "likelihood", "label_smoothing": 0.0}, "epochs": 1, "batch_size": size},
            [f"optimizer.accumulation={parts}", "optimizer.clip=0"],
        )
        train(config, tmp_path / str(size))
        result[size] = log(tmp_path / str(size))[0]
    assert result[16]["step"] == result[64]["step"] == 1
    assert result[16]["loss"] == pytest.approx(result[64]["loss"], rel=1e-3)
    assert result[16]["gradient_norm"] == pytest.approx(result[64]["gradient_norm"], rel=1e-2)


def test_a_frozen_part_stays_as_it_is_and_a_scaled_one_moves_less(tmp_path: Path) -> None:
    start = tmp_path / "start"
    train(tiny("epochs=1", "optimizer.learning_rate=0"), start)
    train(tiny("epochs=1", "optimizer.scales={encoders.image: 0, decoders.text: 0.01}"), tmp_path / "run")
    before, after = (load_file(folder / "last" / "model.safetensors") for folder in (start, tmp_path / "run"))
    moved = {name: float(np.abs(after[name] - before[name]).max()) for name in before}
    assert all(value == 0 for name, value in moved.items() if name.startswith("encoders.image"))
    decoder = max(value for name, value in moved.items() if name.startswith("decoders"))
    encoder = max(value for name, value in moved.items() if name.startswith("encoders.prompt"))
    assert 0 < decoder < encoder / 5


def test_a_part_starts_from_another_model(tmp_path: Path) -> None:
    train(tiny("epochs=1", "seed=7"), tmp_path / "first")
    settings = [
        "epochs=1",
        "optimizer.learning_rate=0",
        f"tokenizer.bundle={tmp_path / 'first'}",
        f"initialize={{decoders.text: {tmp_path / 'first'}}}",
    ]
    train(tiny(*settings), tmp_path / "second")
    first, second = (load_file(tmp_path / name / "last" / "model.safetensors") for name in ("first", "second"))
    assert all(np.array_equal(first[name], second[name]) for name in first if name.startswith("decoders.text"))
    assert any(not np.array_equal(first[name], second[name]) for name in first if name.startswith("encoders"))
    whole = {**TINY, "epochs": 1, "seed": 8, "optimizer": {"learning_rate": 0}, "initialize": str(tmp_path / "first")}
    train(run_from({name: value for name, value in whole.items() if name != "tokenizer"}), tmp_path / "third")
    third = load_file(tmp_path / "third" / "last" / "model.safetensors")
    assert all(np.array_equal(value, third[name]) for name, value in first.items())


def test_early_stopping(tmp_path: Path) -> None:
    outcome = train(tiny("epochs=9", "optimizer.learning_rate=0", "evaluation.patience=2"), tmp_path / "run")
    assert outcome.stopped_early
    assert [record["epoch"] for record in log(tmp_path / "run") if "val_loss" in record] == [0, 1, 2]
    assert outcome.best_epoch == 0


def test_the_same_caption_for_every_picture_is_told() -> None:
    bored = [Prediction(str(k), text="a shape") for k in range(9)]
    message = "all 9 rows get the same text 'a shape'; train longer, or check that inputs reach the model"
    assert same_answer(bored) == message
    assert same_answer([*bored, Prediction("9", text="a dog")]) is None
    labels = [Prediction(str(k), text="ill", label="ill") for k in range(9)]
    assert (same_answer(labels) or "").startswith("all 9 rows get the same label 'ill'; ")


def test_a_picture_that_is_not_looked_at_is_told(tmp_path: Path) -> None:
    notes: list[str] = []
    train(tiny("epochs=1", "optimizer.scales={encoders.image: 0}"), tmp_path / "run", watcher=Watcher(on_note=notes.append))
    assert any(note.startswith("warning: the model ignores its input image: val loss is 5") for note in notes)
    assert notes.count("val: captions are compared word by word (tokenizer ptb)") == 1


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the (loss|gradient) .*(nan|inf|not a (finite )?number).*"):
        train(tiny("optimizer.learning_rate=1e30", "optimizer.clip=0", "optimizer.warmup_steps=0"), tmp_path / "run")


@pytest.mark.parametrize("rate", ["1e6", "1e30"])
def test_numbers_that_are_not_finite_after_the_last_step_are_never_saved(rate: str, tmp_path: Path) -> None:
    """Too large weights, whose loss is NaN, and weights that are infinite themselves."""
    settings = (f"optimizer.learning_rate={rate}", "optimizer.clip=0", "optimizer.warmup_steps=0", "epochs=1", "batch_size=48")
    with pytest.raises(UserError, match=r"(the loss is nan on the val rows|the weights are not numbers) after step 1.*--resume"):
        train(tiny(*settings), tmp_path / "run")
    assert not list((tmp_path / "run").rglob("*.safetensors"))


def test_a_folder_in_use_is_not_overwritten(plain: Plain, tmp_path: Path) -> None:
    shutil.copytree(plain.folder, tmp_path / "run")
    with pytest.raises(UserError, match="already holds a run; add --resume to continue it, or choose another --output"):
        train(tiny("epochs=1"), tmp_path / "run")
    assert train(tiny("epochs=1"), tmp_path / "run", resume=True).best_epoch == 0


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optimiser.learning_rate=1", r"run has no setting 'optimiser'; .*did you mean 'optimizer'"),
        ("optimizer.learning_rat=1", r"run.optimizer has no setting 'learning_rat'; .*did you mean 'learning_rate'"),
        ("model.fusion.kind=atention", r"'atention'.*did you mean 'attention'"),
        ("epochs=ten", r"run.epochs is 'ten'; it takes a whole number"),
        ("optimizer.lr=1e-3", r"run.optimizer has no setting 'lr'; .*did you mean 'learning_rate'"),
        ("epochs=0", r"epochs is 0; it must be at least 1"),
        ("input_dropout={picture: 0.1}", r"input_dropout names 'picture'; choose from image, prompt"),
        ("task.generation.max_length=99", r"task.generation.max_length is 99; the output has room for 39"),
        ("task.generation.beam=0", r"beam is 0; it must be 1 to 1000"),
        ("outputs.label.labels=[yes,no]", r"labels\[0\] is True; it takes text; put quotes around it"),
        ("outputs.label.labels=[dog]", r"labels has only 'dog'; a classifier needs two labels or more"),
        (
            "tasks=[{task: retrieval, data: {path: x.csv}, batch_size: 1}]",
            r"tasks.0.batch_size is 1; retrieval learns by comparing the rows of a batch, so set 2 or more",
        ),
        ("nothing", r"--set nothing"),
    ],
)
def test_a_setting_that_cannot_be_is_told(setting: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        tiny(setting)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["initialize={decoder.text: x}"], r"initialize names 'decoder.text'; .*did you mean 'decoders.text'"),
        (["initialize={encoders.image: gone}"], r"gone is no weight file; give a .safetensors, .pt or .pth file"),
        (["initialize.encoders.image=gone"], r"gone is no weight file; give a .safetensors, .pt or .pth file"),
        (
            ["optimizer.scales={encoder: 0}"],
            r"freeze or optimizer.scales: no parameter starts with 'encoder'; choose from decoders.text, enc",
        ),
        (["data.path=gone.csv"], r"gone.csv does not exist; check the path"),
        (["data.val=dev"], r"has no rows in split 'dev'; it has"),
        (["tokenizer.bundle=gone"], r"there is no model 'gone'"),
    ],
)
def test_a_run_that_cannot_start_is_told_before_anything_is_written(settings: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        train(tiny(*settings), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "setting", ["freeze=image", "freeze=[image]", "freeze=[encoders.image]", "optimizer.scales={encoders.image: 0}"]
)
def test_a_part_is_frozen_by_its_name(setting: str) -> None:
    model = set_up(tiny(setting)).model
    frozen = {name.split(".")[1] for name, one in model.named_parameters() if not one.requires_grad}
    assert frozen == {"image"}
    assert not any(one.requires_grad for one in model.encoders["image"].parameters())
    assert all(one.requires_grad for one in model.projections["image"].parameters())


@pytest.mark.parametrize(
    "setting", ["model.encoders.image.frozen=true", "encoders.image.train=frozen", "model.encoders.image.freeze=1"]
)
def test_what_is_nearly_freeze_is_answered_with_it(setting: str) -> None:
    with pytest.raises(UserError, match=r"has no setting .*freeze: \[encoders.image\]"):
        tiny(setting)


def test_a_damaged_checkpoint_is_told(plain: Plain, tmp_path: Path) -> None:
    shutil.copytree(plain.folder, tmp_path / "run")
    path = tmp_path / "run" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"checkpoint.safetensors cannot be read \(.*\); remove the folder and start again"):
        train(tiny("epochs=1"), tmp_path / "run", resume=True)


def test_unreadable_pictures_are_left_out_and_told(tmp_path: Path) -> None:

    lines = []
    for k in range(12):
        Image.new("RGB", (32, 32), (20 * k, 40, 90)).save(tmp_path / f"{k}.png")
        lines.append(json.dumps({"image": f"{k}.png", "captions": [f"picture {k}"], "split": "val" if k < 3 else "train"}))
    (tmp_path / "data.jsonl").write_text("\n".join(lines))
    (tmp_path / "5.png").write_bytes(b"\x89PNG broken")
    notes: list[str] = []
    config = replace(tiny("epochs=1"), data=replace(tiny().data, path=str(tmp_path / "data.jsonl")))
    train(config, tmp_path / "run", watcher=Watcher(on_note=notes.append))
    assert any("data.jsonl, row 6" in note and "5.png" in note for note in notes)
    with pytest.raises(UserError, match="5.png"):
        train(replace(config, strict=True), tmp_path / "strict")


def test_warm_up_and_cosine() -> None:
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=10, final=0.1)
    rates = [learning_rate(config, step, 110) for step in range(111)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10] == pytest.approx(1.0)
    assert rates[60] == pytest.approx(0.55)
    assert rates[110] == pytest.approx(0.1)
    short = [learning_rate(config, step, 20) for step in range(20)]
    assert max(short) == short[2] == pytest.approx(1.0)


def test_every_row_comes_once_an_epoch_in_another_order_each_time() -> None:
    plan = Plan(np.arange(1000) % 37, np.arange(1000), 16, seed=3)
    epochs = [np.concatenate(plan.epoch(k)) for k in range(2)]
    assert all(sorted(rows) == list(range(1000)) for rows in epochs)
    assert not np.array_equal(*epochs)
    spread = [np.ptp(plan.lengths[batch]) for batch in plan.epoch(0)]
    assert np.mean(spread) < 8


def test_questions_about_one_picture_come_in_one_batch() -> None:
    images = np.arange(1000) // 4
    batches = Plan(np.arange(1000) % 7, images, 16, seed=3).epoch(0)
    assert sorted(np.concatenate(batches)) == list(range(1000))
    assert np.mean([len(np.unique(images[batch])) for batch in batches]) < 4.5


def test_bfloat16_stays_close_to_float32(plain: Plain, tmp_path: Path) -> None:
    assert tiny().precision == "float32"
    train(tiny("epochs=1", "precision=bfloat16"), tmp_path / "bfloat16")
    full, half = losses(plain.folder), losses(tmp_path / "bfloat16")
    assert half[1] == pytest.approx(full[1], rel=0.02)
    assert half != full
    saved = load_file(tmp_path / "bfloat16" / "last" / "model.safetensors")
    assert {value.dtype for value in saved.values()} == {np.dtype(np.float32)}


def test_a_half_precision_bundle_is_half_as_large(plain: Plain, tmp_path: Path) -> None:
    train(tiny("epochs=1", "half=true"), tmp_path / "half")
    sizes = [(folder / "last" / "model.safetensors").stat().st_size for folder in (plain.folder, tmp_path / "half")]
    assert 0.5 < sizes[1] / sizes[0] < 0.6
    assert all(
        torch.isfinite(torch.from_numpy(value)).all() for value in read_bundle(tmp_path / "half" / "last").weights().values()
    )

"""One run, several tasks: their order, their weights, exact resume, and what each can do in the saved model."""

import json
import math
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

import braid as library
import kill_resume
from braid.bundle import read_bundle
from braid.datasets import open_dataset
from braid.errors import UserError
from braid.reports import diagnose, read_run_folder
from braid.sinks import metrics
from braid.tasks import Captioning, Classification
from braid.training import Watcher, read_run, run_from, train
from braid.training.data import Mixture, Plan
from conftest import Ran
from test_report import Page
from test_training import TINY, log, same_weights

Braid = Callable[..., Ran]
SCENES = "train=24,val=8,test=1,compositional=1,size=32,objects=1"
BESIDE = [
    {"task": "retrieval", "data": {"path": f"scenes:captioning,{SCENES}"}, "batch_size": 16, "weight": 0.5},
    {"task": {"kind": "vqa", "closed": True}, "data": {"path": f"scenes:vqa,{SCENES}"}, "batch_size": 8},
]
THREE: dict[str, Any] = {
    **TINY,
    "task": {"kind": "captioning", "prompt": "", "generation": {"max_length": 12}},
    "data": {"path": f"scenes:captioning,{SCENES}"},
    "tasks": BESIDE,
}


@pytest.fixture(scope="module")
def notes() -> list[str]:
    return []


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory, notes: list[str]) -> Path:
    """A run of captioning, retrieval and closed vqa that has seen its few pictures often enough to know them."""
    folder = tmp_path_factory.mktemp("three") / "run"
    settings = [
        "epochs=24",
        "batch_size=4",
        "tasks.0.weight=1",
        "tasks.1.batch_size=4",
        "tokenizer.vocab_size=500",
        "data.val=train",
        "tasks.0.data.val=train",
        "tasks.1.data.val=train",
        "evaluation.limit=24",
        "objective.label_smoothing=0",
        "tasks.1.objective.label_smoothing=0",
        "optimizer.learning_rate=5e-3",
    ]
    train(run_from(THREE, settings), folder, watcher=Watcher(on_note=notes.append))
    return folder


def epochs(folder: Path) -> list[dict[str, Any]]:
    return [record for record in log(folder) if "val_loss" in record]


def counted(folder: Path) -> list[Counter[str]]:
    """Batches of each task, by epoch."""
    result: dict[int, Counter[str]] = {}
    for record in log(folder):
        if "loss" in record:
            result.setdefault(record["epoch"], Counter())[record["task"]] += 1
    return [result[epoch] for epoch in sorted(result)]


def test_every_task_learns(three: Path) -> None:
    first, last = epochs(three)[0], epochs(three)[-1]
    for name, share in (("val_loss", 0.5), ("retrieval.val_loss", 0.9), ("vqa.val_loss", 0.5)):
        assert last[name] < share * first[name]
    assert last["cider"] > first["cider"] + 30
    assert last["retrieval.image-recall@10"] > first["retrieval.image-recall@10"] + 15
    assert last["vqa.accuracy"] > 50


def test_one_saved_model_does_each_of_its_tasks(three: Path) -> None:
    model = library.load(three)
    interface = model.bundle.interface
    assert set(interface.tasks) == {"captioning", "retrieval", "vqa"}
    assert set(interface.outputs) == {"text", "embedding", "answer"}
    assert interface.trained_on == (("image", "prompt"), ("image",), ("prompt",))
    assert interface.card.scored_on.startswith("captioning: scenes:captioning,train=24")
    assert interface.card.scored_on.endswith("objects=1 train, 24 rows, greedy, seed 0")
    assert interface.card.scores["vqa.accuracy"] == pytest.approx(epochs(three)[-1]["vqa.accuracy"], abs=30)
    (asked, *_) = open_dataset(f"scenes:vqa,{SCENES}").split("train")
    image = np.asarray(asked.fields["image"])
    assert model.caption(image)
    assert model.answer(image, asked.fields["question"]) in interface.outputs["answer"].labels  # type: ignore[union-attr]
    vectors = model.embed([image], ["a red circle"])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)


def test_the_best_epoch_has_the_highest_mean_of_all_tasks(three: Path) -> None:
    for record in epochs(three):
        parts = (record["cider"], record["retrieval.image-recall@1"], record["vqa.accuracy"])
        assert record["mean"] == pytest.approx(sum(parts) / 3)
    run = read_run_folder(three)
    assert run.metric == "mean"
    assert run.best is not None
    assert run.best["mean"] == max(record["mean"] for record in epochs(three))
    best, last = (read_bundle(three / name).interface.card.scores["vqa.accuracy"] for name in ("best", "last"))
    assert best == round(run.best["vqa.accuracy"], 2)
    assert last == round(epochs(three)[-1]["vqa.accuracy"], 2)


def test_a_page_shows_every_task(three: Path) -> None:
    text = (three / "report.html").read_text()
    Page(text)
    titles = text.split("<h2>Curves</h2>")[1]
    for title in ("captioning: loss", "retrieval: loss", "vqa: loss", "captioning: cider", "vqa: accuracy", "mean"):
        assert f"<figcaption>{title}</figcaption>" in titles
    assert "<h2>captioning: answers</h2>" in text
    assert "<h2>vqa: answers</h2>" in text
    assert "<h2>retrieval: answers</h2>" not in text  # it says nothing
    told = {finding.title for finding in diagnose(read_run_folder(three))}
    assert {"captioning: answers differ", "vqa: answers differ", "vqa: reads its prompt (the text)", "Every row was read"} <= told
    assert (three / "samples" / "vqa-0-image.jpg").is_file()


def test_steps_tell_whose_loss_they_are(three: Path, notes: list[str]) -> None:
    steps = [record for record in log(three) if "loss" in record]
    for record in steps:
        assert record["loss"] == record[f"{record['task']}.loss"]
    assert "retrieval.nearest_is_own" in next(record for record in steps if record["task"] == "retrieval")
    assert any(note.startswith(("warning: captioning: ", "warning: vqa: ")) for note in notes)
    assert {"val/loss", "val/vqa.loss", "val/mean", "val/vqa.accuracy"} <= set(metrics(epochs(three)[0]))


def test_the_same_seed_gives_the_same_weights_and_workers_change_nothing(tmp_path: Path) -> None:
    for name, workers in (("one", 0), ("other", 2)):
        train(run_from(THREE, [f"workers={workers}", "inputs.image.augmentation={horizontal_flip: 0.5}"]), tmp_path / name)
    assert same_weights(tmp_path / "one" / "last", tmp_path / "other" / "last")
    assert read_run(tmp_path / "one" / "run.yaml", ["workers=2"]) == read_run(tmp_path / "other" / "run.yaml")


def test_a_run_of_three_tasks_killed_at_four_random_moments_ends_in_the_same_weights(tmp_path: Path) -> None:
    """kill -9, workers included; tasks meet within a step, weights change, and plans end in mid-epoch."""
    beside = [
        {**BESIDE[0], "weight": 0.3, "final_weight": 1.4},
        {**BESIDE[1], "data": {"path": "scenes:vqa,train=20,val=8,test=1,compositional=1,size=32"}},
    ]
    settings = {**kill_resume.RUN, "tasks": beside}
    whole = kill_resume.run_whole(tmp_path, settings)
    killed, _ = kill_resume.run_killed(tmp_path, 4, random.Random(1))
    assert kill_resume.log(killed) == kill_resume.log(whole)
    assert kill_resume.weights_differ(whole, killed) == []


def test_the_weights_of_tasks_obey_their_schedule(tmp_path: Path) -> None:
    """Three batches of captioning an epoch; retrieval goes from 2 batches to none, vqa stays at 1."""
    settings = ["epochs=3", "tasks.0.weight=0.67", "tasks.0.final_weight=0", "tasks.1.weight=0.34"]
    train(run_from(THREE, settings), tmp_path / "run")
    assert counted(tmp_path / "run") == [
        Counter({"captioning": 3, "retrieval": 2, "vqa": 1}),
        Counter({"captioning": 3, "retrieval": 1, "vqa": 1}),
        Counter({"captioning": 3, "vqa": 1}),
    ]


def test_a_task_without_weight_is_evaluated_and_not_trained(tmp_path: Path) -> None:
    """Captioning is frozen beside vqa: its figures stay as they are, and the model keeps it."""
    train(run_from({**THREE, "tasks": []}, ["epochs=1"]), tmp_path / "captioner")
    parts = ["encoders.image", "encoders.prompt", "projections", "fusion", "decoders.text"]
    given = {
        **THREE,
        "task": BESIDE[1]["task"],
        "data": BESIDE[1]["data"],
        "tasks": [{"task": THREE["task"], "data": THREE["data"], "weight": 0}],
        "tokenizer": {"bundle": str(tmp_path / "captioner")},
        "initialize": dict.fromkeys(["encoders.image", "projections.image", "decoders.text"], str(tmp_path / "captioner")),
    }
    train(run_from(given, [f"optimizer.scales={json.dumps(dict.fromkeys(parts, 0))}"]), tmp_path / "run")
    assert all(set(epoch) == {"vqa"} for epoch in counted(tmp_path / "run"))
    first, last = epochs(tmp_path / "run")
    assert first["captioning.cider"] == last["captioning.cider"]
    assert first["captioning.val_loss"] == last["captioning.val_loss"]
    assert first["val_loss"] != last["val_loss"]
    assert set(read_bundle(tmp_path / "run" / "best").interface.tasks) == {"captioning", "vqa"}
    before, after = (load_file(tmp_path / name / "last" / "model.safetensors") for name in ("captioner", "run"))
    assert all(np.array_equal(before[name], after[name]) for name in before if name.startswith("decoders.text"))


def test_each_task_walks_through_its_own_rows_and_all_are_spread_over_an_epoch() -> None:
    plans = tuple(Plan(np.arange(rows), np.arange(rows), 4, seed) for seed, rows in ((0, 80), (1, 20)))
    mixture = Mixture(plans, ((20, 8), (20, 7), (20, 0)))
    order = [mixture.epoch(k) for k in range(3)]
    assert [len(epoch) for epoch in order] == [28, 27, 20] == [mixture.batches(k) for k in range(3)]
    for k in range(3):
        own = [part.rows.tolist() for part in order[k] if part.task == 0]
        assert own == [rows.tolist() for rows in plans[0].epoch(k)]
    beside = [part for epoch in order for part in epoch if part.task == 1]
    assert [part.epoch for part in beside] == [0] * 5 + [1] * 5 + [2] * 5
    assert [part.rows.tolist() for part in beside] == [rows.tolist() for k in range(3) for rows in plans[1].epoch(k)]
    halves = [sum(part.task for part in half) for half in (order[0][:14], order[0][14:])]
    assert min(halves) >= 3
    assert [part.task for part in order[0]] != [part.task for part in Mixture(plans, ((20, 8), (20, 8))).epoch(1)]


def test_no_prompt_means_that_none_is_given() -> None:
    (example, *_) = open_dataset(f"scenes:captioning,{SCENES}").split("val")
    assert set(Captioning(prompt="").prepare(example).inputs) == {"image"}
    assert Captioning().prepare(example).inputs["prompt"] == "describe the picture"
    (edit, *_) = open_dataset("scenes:editing,train=1,val=1").split("val")
    message = Captioning().prepare(edit)
    assert message.inputs["prompt"] == edit.fields["instruction"] and message.inputs["image"] is edit.fields["image"]
    assert message.targets["text"] == edit.fields["captions"]  # of what the edit gives
    meant = Classification().prepare(edit)
    assert meant.inputs == message.inputs and meant.targets["label"] == edit.fields["label"]


def test_a_preset_has_a_decoder_for_every_task_and_settings_reach_into_the_list() -> None:
    config = run_from(THREE, ["tasks.1.task.closed=false", "tasks.0.objective.loss=siglip", "tasks.1.weight=0.25"])
    assert list(config.model.decoders) == ["text", "embedding"]
    assert config.tasks[0].objective.kind == "contrastive"
    assert config.tasks[1].objective.kind == "likelihood"
    assert config.tasks[1].weight == 0.25
    assert [mixed.task.kind for mixed in config.mixture] == ["captioning", "retrieval", "vqa"]
    assert [config.tasks[0].weight_in(k, 5) for k in (0, 4)] == [0.5, 0.5]
    assert math.isclose(run_from(THREE, ["tasks.0.final_weight=1.5"]).tasks[0].weight_in(1, 5), 0.75)
    assert run_from(THREE, [f"tasks={json.dumps(BESIDE[:1])}"]).tasks == run_from({**THREE, "tasks": BESIDE[:1]}).tasks


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["tasks.1.task.kind=retrieval", "tasks.1.objective.kind=contrastive"],
            "run: retrieval is listed twice among the tasks of this run; list each task once",
        ),
        (["tasks.0.weight=-1"], "run.tasks[0]: weight is -1.0; it must be 0 to 1000"),
        (["tasks.0.final_weight=-1"], "run.tasks[0]: final_weight is -1.0; it must be 0 to 1000"),
        (["tasks.1.batch_size=0"], "run.tasks[1]: batch_size is 0; it must be at least 1"),
        (
            ["tasks.1.task=vga"],
            "there is no task 'vga'; choose from captioning, classification, image_generation, language_modelling, "
            "reconstruction, regression, retrieval, vqa (did you mean 'vqa'?)",
        ),
        (
            ["tasks.1.task.kind=vga"],
            "tasks[1].task.kind is 'vga'; choose from captioning, classification, image_generation, language_modelling, "
            "reconstruction, regression, retrieval, vqa (did you mean 'vqa'?)",
        ),
        (["tasks.2.weight=1"], "--set tasks.2.weight=1: '2' is not an item of a list of 2; items are numbered from 0"),
        (
            ["tasks.1.task.closed=false", "tasks.1.task.generation.max_length=99"],
            "run: tasks.1.task.generation.max_length is 99; the output has room for 39",
        ),
        (
            ['model.decoders={"text": {"kind": "transformer", "width": 32, "depth": 1, "heads": 2}}'],
            "run: retrieval needs a decoder 'embedding', which the model does not have; choose from text",
        ),
    ],
)
def test_tasks_that_cannot_be_mixed_are_told(settings: list[str], message: str) -> None:
    with pytest.raises(UserError) as told:
        run_from(THREE, settings)
    assert str(told.value) == message


def test_a_task_without_rows_to_learn_from_is_told(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    rows = [{"image": "a.png", "question": "what?", "split": split} for split in ("train", "val")]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=r"rows.jsonl: no row of split 'train' has a target for vqa"):
        train(run_from(THREE, [f"tasks.1.data.path={tmp_path / 'rows.jsonl'}"]), tmp_path / "run")


def test_the_command_line_tells_each_task_on_a_line(braid: Braid, tmp_path: Path) -> None:
    (tmp_path / "three.yaml").write_text(json.dumps(THREE))
    ran = braid("train", tmp_path / "three.yaml", "--set", "epochs=1", "-o", tmp_path / "run")
    assert ran.code == 0, ran.err
    lines = [line.split()[:3] for line in ran.err.splitlines()]
    assert ["epoch", "1", "of"] in lines  # "epoch 1 of N: ..."
    assert ["retrieval:", "images", "found"] in lines
    assert ["vqa:", "right", "answers"] in lines
    assert "num_samples" not in ran.err
    assert "mean" in ran.out
    assert json.loads(braid("report", tmp_path / "run", "--json").out)["runs"][0]["task"] == "captioning, retrieval, vqa"


def test_a_comparison_is_of_one_task(tmp_path: Path) -> None:
    from braid.comparison import ComparisonConfig
    from braid.comparison.config import cells

    vary = {"fusion": {"film": {"model.fusion": {"kind": "film"}}, "gated": {"model.fusion": {"kind": "gated"}}}}
    with pytest.raises(UserError) as message:
        cells(ComparisonConfig(THREE, vary))
    assert str(message.value) == (
        "cell film: tasks has retrieval, vqa beside captioning; a comparison is of one task, so leave tasks out"
    )


def test_a_classifier_may_know_the_commonest_answers_alone(tmp_path: Path) -> None:
    settings = ["outputs.answer.most=3", "epochs=1"]
    given = {**TINY, "task": {"kind": "vqa", "closed": True}, "data": {"path": f"scenes:vqa,{SCENES}"}}
    train(run_from(given, settings), tmp_path / "run")
    interface = read_bundle(tmp_path / "run" / "last").interface
    rows = open_dataset(given["data"]["path"]).split("train")
    counted = Counter(row.fields["answers"][0] for row in rows)
    known = interface.outputs["answer"].labels  # type: ignore[union-attr]
    assert len(known) == 3 and sorted(known) == list(known)
    assert min(counted[label] for label in known) >= max(count for label, count in counted.items() if label not in known)

"""Training in stages and within a time, and what a run is when no settings file says how."""

import json
import math
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from braid.api import load
from braid.bundle import find_bundle, read_bundle
from braid.cli.console import note, stderr
from braid.cli.train import _best_so_far
from braid.comparison import comparison_of, within_time
from braid.comparison.config import cells, planned
from braid.comparison.loop import _Jobs
from braid.config import kinds
from braid.errors import UserError
from braid.evaluation import empty_answers
from braid.modalities import default_inputs
from braid.records import Prediction, Sample
from braid.reports import read_log
from braid.tasks import MEAN, Captioning, Task
from braid.training import Watcher, default_run, next_commands, plan_of, read_run, run_from, train, train_in_stages, write_run
from braid.training.advice import advice
from braid.training.defaults import _few_images
from braid.training.kept import Kept, measured
from braid.training.lines import WORDS, TrainingLines
from braid.training.sections import seconds_of
from braid.training.setup import set_up
from conftest import Ran

COLOURS = ("red", "green", "blue", "black")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAID_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """48 photos of coloured discs on white, with a title that does not name the colour, and their colour as the label."""
    rng = np.random.default_rng(0)
    lines = []
    for number in range(48):
        colour = COLOURS[number % 4]
        image = Image.new("RGB", (48, 48), "white")
        x, y = rng.integers(4, 16, 2)
        ImageDraw.Draw(image).ellipse((x, y, x + 28, y + 28), fill=colour)
        image.save(tmp_path / f"{number}.png")
        split = "val" if number % 6 == 5 else "train"
        lines.append({"image": f"{number}.png", "title": f"Disc No {number}", "label": colour, "split": split})
    path = tmp_path / "discs.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def tiny(table: Path, *settings: str) -> Any:
    """A run of ``tiny`` whose image encoder is frozen."""
    whole = {
        "task": "classification",
        "data": {"path": str(table), "columns": {"text": "title"}},
        "model": "tiny",
        "inputs": {"image": {"kind": "image", "size": 32}, "prompt": {"kind": "text", "max_length": 16}},
        "freeze": ["encoders.image"],
        "cache_features": "auto",
        "batch_size": 8,
        "epochs": 2,
        "workers": 0,
        "threads": 1,
    }
    return run_from(whole, settings)


class Killed(Exception):
    pass


def killed(record: dict[str, Any]) -> None:
    raise Killed


@pytest.mark.parametrize(("text", "seconds"), [("10m", 600), ("1.5h", 5400), ("90s", 90), ("30", 30), ("2 min", 120)])
def test_times_are_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["soon", "10 days", "-1m", "0m", "m"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(UserError) as error:
        seconds_of(text)
    assert str(error.value) == f"time is {text!r}; write a number with s, m or h, such as 10m"


def test_a_run_makes_as_many_epochs_as_fit_and_goes_on_with_the_same_number(table: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    outcome = train(tiny(table, "epochs=100000", "time=4s"), folder)
    planned = read_run(folder / "run.yaml")
    assert 0 < planned.epochs < 100_000 and outcome.best is not None
    assert (folder / "best" / "interface.json").exists()
    notes: list[str] = []
    again = train(tiny(table, "epochs=100000", "time=4s"), folder, resume=True, watcher=Watcher(on_note=notes.append))
    assert again.best is not None and again.best >= outcome.best
    assert read_run(folder / "run.yaml").epochs == planned.epochs


def test_stages_keep_the_best_model(table: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    outcome = train_in_stages(tiny(table), folder)
    stages = json.loads((folder / "stages.json").read_text())
    by_name = {stage["name"]: stage["metric"] for stage in stages["stages"]}
    assert list(by_name) == ["first", "main", "half"]
    assert outcome.best == max(by_name["first"], by_name["main"]) == by_name[stages["best"]]
    assert stages["first_model"] > 0
    left_over = [file for file in (folder / "stages").rglob("*") if file.name in ("checkpoint.safetensors", "last")]
    assert (
        not left_over and (folder / "checkpoint.safetensors").exists()
    )  # what only unfinished stages need takes most of the disk
    page = (folder / "report.html").read_text()
    assert all(f"<td>{name}</td>" in page for name in by_name) and page.count('<tr class="strong"') >= 1
    kept = read_bundle(find_bundle(folder)).interface
    assert kept.card.scores["macro-f1"] == pytest.approx(outcome.best, abs=0.01)
    with pytest.raises(UserError, match="already holds a run; add --resume"):
        train_in_stages(tiny(table), folder)


def test_a_run_in_stages_goes_on_with_more_time(table: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train_in_stages(tiny(table), folder)
    before = json.loads((folder / "stages.json").read_text())
    train_in_stages(tiny(table), folder, "10m", resume=True)
    after = json.loads((folder / "stages.json").read_text())
    names = [stage["name"] for stage in after["stages"]]
    assert names == ["first", "main", "half", "again-1", "again-2", "deeper"]
    assert after["stages"][:3] == before["stages"]
    deeper = read_run(folder / "stages" / "deeper" / "run.yaml")
    assert not deeper.cache_features and deeper.augmented == ["image"]
    assert read_run(folder / "run.yaml").time == ""
    assert comparison_of(folder, ["fusion=concat,gated"]).run["cache_features"]  # of the main stage, though deeper may be best
    assert deeper.scales == {"encoders.image.blocks.0": 1.0, "encoders.image": 0.0}  # its last block, which is its only one


def test_it_says_once_which_columns_it_reads(table: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    train_in_stages(tiny(table, "epochs=1"), tmp_path / "run", watcher=Watcher(on_note=notes.append))
    said = [note for note in notes if "reads" in note]
    assert said == [f"{table}: reads text=title, image=image, label=label (--columns ROLE=NAME changes a column)"]


def test_a_subset_takes_whole_images_from_everywhere(table: Path) -> None:
    parts = [set_up(tiny(table, f"data.every={every}")).tasks[0].train for every in (1, 3, 3)]
    whole, part, again = ([sample.inputs["image"] for sample in some] for some in parts)
    assert part == again == [image for image in whole if image in part] != whole[::3]
    assert len(set(part)) == -(-len(set(whole)) // 3)


def test_labels_of_your_own_take_the_quick_way(table: Path, tmp_path: Path) -> None:
    """The real encoder, from the command's defaults to a model that is used."""
    data = {"path": str(table), "columns": {"text": "title"}}
    config = run_from(default_run("classification", data), ["inputs.image.size=64", "epochs=8", "threads=1", "batch_size=8"])
    assert config.freeze == ("encoders.image.features",) and config.initialize == {"encoders.image": "small"}
    train(config, tmp_path / "run")
    answer = load(tmp_path / "run").classify(str(table.parent / "5.png"), text="Disc No 5")
    assert set(answer.scores) == set(COLOURS)
    assert read_log(tmp_path / "run" / "log.jsonl")[-1]["accuracy"] >= 75  # of eight rows


def test_a_setting_of_the_task_is_taken_without_a_model(table: Path) -> None:
    data = {"path": str(table), "columns": {"question": "title", "answer": "label"}}
    closed = ["task.closed=true"]
    assert list(run_from(default_run("vqa", data, settings=closed), closed).model.decoders) == ["answer"]
    assert list(run_from(default_run("vqa", data)).model.decoders) == ["text"]


def test_fine_tuning_takes_the_outputs_of_its_task_alone(table: Path) -> None:
    captions = {"path": str(table), "columns": {"captions": "title"}}
    writing = run_from(default_run("captioning", captions))
    assert list(writing.model.decoders) == list(writing.outputs) == ["text"]
    assert not writing.tokenizer.lowercase and not writing.tokenizer.bundle
    finding = run_from(default_run("retrieval", captions))
    assert list(finding.model.decoders) == ["embedding"] and finding.tokenizer.bundle == "small"
    assert {part.partition(".")[0] for part in finding.initialize} == {"encoders", "projections", "decoders", "fusion"}


def test_tokens_begin_with_the_vectors_of_their_text_in_another_tokenizer(table: Path, tmp_path: Path) -> None:
    captions = {"path": str(table), "columns": {"captions": "title"}}
    setup = set_up(run_from(default_run("captioning", captions), ["threads=1"]))
    built_in = read_bundle(find_bundle("small"))
    ours, theirs = setup.tokenizers["tokenizer"], built_in.tokenizer
    assert theirs is not None and ours.vocabulary != theirs.vocabulary
    vectors = torch.from_numpy(
        built_in.weights(["decoders.text.embedding.tokens.weight"])["decoders.text.embedding.tokens.weight"]
    )
    own = setup.model.decoders["text"].embedding.table()  # type: ignore[operator, union-attr]
    (token,) = [token for text, token in ours.vocabulary.items() if text == "Ġ4"]
    assert torch.allclose(own[token], vectors[theirs.encode("4")].mean(0), atol=1e-3)
    assert torch.allclose(own[ours.special.eos], vectors[theirs.special.eos], atol=1e-3)


def test_after_training_it_says_what_helps_what_is_confused_and_whether_more_rows_would(table: Path, tmp_path: Path) -> None:
    record = {
        "epoch": 0,
        "step": 1,
        "macro-f1": 60.0,
        "accuracy": 70.0,
        "reliance": {
            "image": {"loss": 1.0, "loss_shuffled": 2.0, "warning": None},
            "prompt": {"loss": 1.0, "loss_shuffled": 1.01, "warning": None},
        },
        "confusions": [["red", "green", 3, 10]],
    }
    (tmp_path / "log.jsonl").write_text(json.dumps(record) + "\n")
    assert advice(tiny(table), tmp_path, (55.0, 60.0), encoder_frozen=True) == [
        "inputs: image matters (val loss 1.00, with other rows' values 2.00); "
        "prompt (the text) hardly matters (val loss 1.00, with other rows' values 1.01)",
        "errors: red is taken for green (3 of 10)",
        "rows: macro-f1 55.0 from half of the rows, 60.0 from all of them; more rows would help",
        "time: ten more minutes train the image encoder, too, and removed 0% to 20% of the errors in our benchmarks: "
        "expect accuracy 70.0 to 76.0",
    ]


def test_a_run_with_a_time_says_whether_more_rows_would_help(table: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    outcome = train_in_stages(tiny(table), tmp_path / "run", "110s", watcher=Watcher(on_note=notes.append))
    by_name = {stage["name"]: stage["metric"] for stage in json.loads((tmp_path / "run" / "stages.json").read_text())["stages"]}
    (said,) = (sentence for sentence in outcome.advice if sentence.startswith("rows: "))
    assert said.startswith(
        f"rows: macro-f1 {by_name['half']:.1f} from half of the rows, {by_name['main']:.1f} from all of them; "
    )
    assert f"stage half: macro-f1 {by_name['half']:.2f} after" in " ".join(notes)
    assert outcome.advice[-1].startswith("time: ")


@pytest.mark.parametrize(
    ("val", "train", "rows", "time"),
    [
        (
            [0.9, 0.7, 1.1],
            [0.8, 0.5, 0.1],
            "the loss on val rose from 0.70 (epoch 2) to 1.10, while that on training rows fell from 0.50 to 0.10; more rows "
            "would probably help",
            "macro-f1 was best in epoch 2 of 3; more time alone would hardly help",
        ),
        (
            [0.9, 0.7, 0.6],
            [0.8, 0.5, 0.4],
            "the loss on val did not rise while that on training rows fell, so try more time before more rows",
            "macro-f1 was best in epoch 3 of 3; more time would probably help",
        ),
    ],
)
def test_where_half_of_the_rows_take_long_the_losses_say_what_would_help(
    val: list[float], train: list[float], rows: str, time: str, table: Path, tmp_path: Path
) -> None:
    lines: list[dict[str, float]] = []
    for epoch, (on_val, on_train) in enumerate(zip(val, train, strict=True)):
        lines.append({"step": epoch + 1, "epoch": epoch, "loss": on_train})
        lines.append({"step": epoch + 1, "epoch": epoch, "val_loss": on_val, "macro-f1": 100 - 50 * on_val})
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert advice(tiny(table), tmp_path) == [f"rows: {rows}", f"time: {time}"]


def test_the_last_metrics_of_training_are_those_of_evaluate(table: Path, tmp_path: Path, braid: Callable[..., Ran]) -> None:
    """Though training measures on some rows, with features in bfloat16."""
    config = tiny(table, "precision=bfloat16", "evaluation.limit=5")
    write_run(config, tmp_path / "run.yaml")
    folder = tmp_path / "run"
    ran = braid("train", tmp_path / "run.yaml", "-o", folder, "--json")
    assert ran.code == 0, ran.err
    said = json.loads(ran.out)
    evaluated = json.loads(braid("evaluate", "--model", folder, "--data", table, "--columns", "text=title", "--json").out)
    assert evaluated.pop("num_samples") == said["num_val_rows"] == 8
    assert said["metrics"] == evaluated and said["best"] == evaluated["macro-f1"]
    assert read_bundle(find_bundle(folder)).interface.card.scores["accuracy"] == round(evaluated["accuracy"], 2)
    rougher = "cached features of bfloat16; at most 5 val rows"
    assert measured(config, folder, limit=0.0) == Kept({}, rougher=rougher)
    again = braid("train", folder / "run.yaml", "--resume")
    told = f"macro-f1 is measured as braid evaluate does; it was {said['best_while_training']:.2f} while training ({rougher})"
    assert (told in again.err) is (f"{said['best']:.2f}" != f"{said['best_while_training']:.2f}")
    assert f"{said['best']:.2f}" in again.out
    shutil.copytree(table.parent, tmp_path / "moved", ignore=shutil.ignore_patterns("run", "cache"))
    (tmp_path / "alone").mkdir()
    shutil.copytree(folder / "best", tmp_path / "alone" / "best")  # a model that was passed on
    trained = "40 of 48 rows were in this model's training data; their predictions look better than they are"
    for model, known in ((folder, True), (tmp_path / "alone", False)):
        ran = braid(
            "predict", tmp_path / "moved" / table.name, "--model", model, "-o", tmp_path / "out.csv", "--columns", "text=title"
        )
        assert ran.code == 0, ran.err
        assert (trained in ran.err) is known


def test_a_run_that_is_stopped_in_its_first_stage_has_the_first_model(table: Path, tmp_path: Path) -> None:
    config, folder = tiny(table), tmp_path / "run"
    with pytest.raises(Killed):
        train_in_stages(config, folder, watcher=Watcher(on_step=killed))
    assert _best_so_far(config, folder) == f"there is no model in {folder} yet: the first one is saved after the first epoch"
    with pytest.raises(Killed):
        train_in_stages(config, folder, resume=True, watcher=Watcher(on_epoch=killed))
    assert set(load(folder).classify(str(table.parent / "5.png"), text="Disc No 5").scores) == set(COLOURS)
    score = read_bundle(find_bundle(folder)).interface.card.scores["macro-f1"]
    assert _best_so_far(config, folder) == f"the best model so far is in {folder / 'best'} (macro-f1 {score:.2f})"


def test_an_epoch_is_one_line_in_words(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = TrainingLines(tiny(table), stderr, False, note)
    watcher = lines.watcher()
    step = {"step": 3, "steps": 9, "epoch": 0, "epochs": 3, "loss": 1.25, "seconds_left": 130.0}
    watcher.on_step(step)
    watcher.on_step({**step, "loss": 0.75})
    metrics = {"step": 3, "epoch": 0, "val_loss": 1.0, "num_samples": 1200.0, "accuracy": 70.0, "macro-f1": 61.239, "best": True}
    watcher.on_epoch(metrics)
    watcher.on_step({**step, "epoch": 1, "loss": 0.5, "seconds_left": 0.1})
    watcher.on_epoch({**metrics, "epoch": 1, "num_samples": 1.0, "macro-f1": 50.0, "best": False})
    assert capsys.readouterr().err.splitlines() == [
        "epoch 1 of 3: loss 1.00, F1 as the mean over labels (macro-f1) 61.24 on 1,200 val rows (best so far), about 2 min left",
        "epoch 2 of 3: loss 0.50, F1 as the mean over labels (macro-f1) 50.00 on 1 val row, nearly done",
    ]


def test_empty_answers_and_how_captions_are_compared_are_told() -> None:
    written = [Prediction(str(number), text=text) for number, text in enumerate(("a dog", " ", ""))]
    assert empty_answers(written) == ["2 of 3 answers are empty: the model wrote no word"]
    assert empty_answers(written[:2]) == ["1 of 2 answers is empty: the model wrote no word"]
    assert empty_answers([Prediction("0", text="", label="", labels=())]) == []  # a row may have no label
    chinese, english = ([Sample("0", {}, references=(text,))] for text in ("一只狗在雪地里跑", "a dog runs in the snow"))
    assert Captioning().compared(english) == "captions are compared word by word (tokenizer ptb)"
    assert Captioning().compared(chinese) == (
        "captions are compared character by character (tokenizer characters), because most of them have no spaces"
    )


def test_every_main_metric_has_words() -> None:
    assert {task.main_metric for task in kinds(Task).values()} | {MEAN} == {*WORDS, "val_loss"}


def test_a_comparison_says_what_it_will_train_and_stays_within_its_time(table: Path, tmp_path: Path) -> None:
    write_run(tiny(table, "cache_features=''", "freeze=[]"), tmp_path / "run" / "run.yaml")
    compared = comparison_of(tmp_path / "run", ["fusion=concat,gated"], 3)
    plan = "2 cells (concat, gated), 2 controls (image-only, prompt-only), 3 seeds: 12 runs"
    assert planned(compared) == plan
    assert within_time(compared, "3m").run["time"] == "7s"  # and 8 for its start and its scoring
    with pytest.raises(UserError) as error:
        within_time(compared, "2m")
    assert str(error.value) == (
        f"--time 2m is too short for {plan}: 10 s a run, of which its start and its scoring take about 8; give 3m or more, "
        "fewer --seeds, or --set controls=false"
    )
    notes: list[str] = []
    late, early = (_Jobs(cells(compared), (0, 1, 2), tmp_path / "compared", until) for until in (0.0, math.inf))
    assert [seed for _, seed, _ in late.in_time(notes.append)] == [0, 0, 0, 0] and late.begun == [0]
    assert notes == ["the time is over after 1 of 3 seeds; the same command trains the others, too"]
    assert len(list(early.in_time(notes.append))) == 12 and early.begun == [0, 1, 2]


def test_a_comparison_within_a_time_gives_every_run_the_same_share(table: Path, tmp_path: Path) -> None:
    train(tiny(table, "cache_features=''", "freeze=[]"), tmp_path / "run")
    compared = comparison_of(tmp_path / "run", ["fusion=concat,gated"], 2)
    assert len(cells(compared)) == 4  # and two controls
    assert within_time(compared, "10m").run["time"] == "67s"


def test_an_encoder_that_is_frozen_with_random_weights_is_warned_of(table: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    train(tiny(table), tmp_path / "run", watcher=Watcher(on_note=notes.append))
    assert (
        "warning: encoders.image is frozen with random weights; give it trained ones with initialize: {encoders.image: small}, "
        "or do not freeze it"
    ) in notes


def test_the_next_commands_are_commands(table: Path, tmp_path: Path, braid: Callable[..., Ran]) -> None:
    config = tiny(table)
    train_in_stages(config, tmp_path / "run")
    for line in next_commands(config, tmp_path / "run", "5s"):
        _, *words = shlex.split(line.replace(" photo.jpg ", f" {table.with_name('0.png')} "))
        ran = braid(*words)
        assert ran.code == 0, ran.err


def test_the_first_of_the_next_commands_uses_the_model_as_its_task_and_inputs_say(table: Path) -> None:
    config = tiny(table)
    encoder, decoder = config.model.encoders["image"], config.model.decoders["label"]

    def command(kind: str, *names: str, **columns: str) -> str:
        task, data = kinds(Task)[kind](), replace(config.data, columns=columns)
        model = replace(config.model, encoders=dict.fromkeys(names, encoder), decoders=dict.fromkeys(task.decoders, decoder))
        whole = replace(config, task=task, data=data, model=model, inputs={**default_inputs(), **config.inputs}, freeze=())
        return next_commands(whole, Path("run"), "1h")[0]

    assert command("classification", "image", "prompt") == 'braid classify photo.jpg --text "a few words" --model run'
    assert command("classification", "prompt") == 'braid classify --text "a few words" --model run'
    assert command("classification", "image", "tabular") == "braid predict run rows.csv --output predicted.csv"
    assert command("captioning", "video", "audio", video="file", audio="file") == "braid caption clip.mp4 --model run"
    assert command("vqa", "audio", "prompt") == 'braid ask sound.wav "a question" --model run'
    assert command("retrieval", "image", "prompt") == "braid index folder/ --output folder.index --model run"


def test_a_run_that_is_killed_in_its_first_stage_goes_on(table: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Killed):
        train_in_stages(tiny(table), folder, watcher=Watcher(on_step=killed))
    assert plan_of(folder) is not None
    outcome = train_in_stages(tiny(table), folder, resume=True)
    assert outcome.best is not None and (folder / "best" / "interface.json").is_file()
    shown = json.loads((folder / "samples.jsonl").read_text().splitlines()[-1])["samples"][0]["inputs"]["image"]["media"]
    assert (folder / shown).is_file()  # of the page that is made from the run's folder


def test_an_image_that_could_not_be_read_before_is_tried_again(table: Path, tmp_path: Path) -> None:
    train(tiny(table), tmp_path / "before")
    (index,) = (tmp_path / "cache").glob("*/index")
    hashes = index.read_text().split()
    index.write_text("".join(f"{one}\n" for one in hashes[:-1]))
    (index.parent / "unreadable").write_text(f"{hashes[-1]}\n")
    train(tiny(table), tmp_path / "after")
    assert sorted(index.read_text().split()) == sorted(hashes)


def test_questions_about_few_images_are_answered_without_a_hidden_layer(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = {"path": str(table), "columns": {"question": "title", "answer": "label"}}

    monkeypatch.setattr("braid.training.defaults.FEW_IMAGES", 40)
    assert not _few_images(data)  # the train rows have 40
    monkeypatch.setattr("braid.training.defaults.FEW_IMAGES", 41)
    run = default_run("vqa", data, settings=["task.closed=true"])
    assert run["model"]["decoders"]["answer"]["hidden_width"] == 0
    assert run["input_dropout"] == {"image": 0.5} and run["epochs"] == 8

"""Comparisons: which cells there are, what may be said of them, and that a killed one ends like one never stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from braid.comparison import ComparisonConfig, comparison_of, read_comparison
from braid.comparison.config import cells
from braid.comparison.loop import evaluated, rank
from braid.comparison.runs import Scores, begin
from braid.config import from_dict, to_dict
from braid.errors import UserError
from braid.fusions import ConcatFusionConfig, FilmFusionConfig, GatedFusionConfig
from braid.metrics import over_seeds
from braid.records import Prediction, Sample
from braid.reports.charts import Figure, against_cost, front
from braid.reports.comparison import compared_page
from braid.tasks import Captioning, Classification, LanguageModelling, Regression, Retrieval, VisualQuestionAnswering
from braid.training import run_from
from braid.training.config import write_run
from conftest import Ran
from kill_resume import last
from test_interruptions import alive
from test_report import Page

Braid = Callable[..., Ran]

FUSIONS: dict[str, Any] = {"concat": {"model.fusion": {"kind": "concat"}}, "gated": {"model": {"fusion": {"kind": "gated"}}}}
RUN: dict[str, Any] = {
    "task": "classification",
    "data": {"path": "scenes:classification,train=64,val=16,test=1,compositional=1,size=32"},
    "model": "tiny",
    "inputs": {"image": {"kind": "image", "size": 32}, "prompt": {"kind": "text", "max_length": 32}},
    "tokenizer": {"vocab_size": 300},
    "optimizer": {"learning_rate": 3e-3},
    "epochs": 1,
    "batch_size": 8,
    "workers": 0,
    "threads": 1,
    "checkpoint_steps": 2,
}
ENCODERS: dict[str, Any] = {
    "wide": {},
    "deep": {"model.encoders.image": {"kind": "vit", "patch_size": 8, "width": 32, "depth": 2, "heads": 2}},
}


def configured(**settings: Any) -> ComparisonConfig:
    return from_dict(ComparisonConfig, {"run": RUN, "vary": {"fusion": FUSIONS}, **settings}, "compare.yaml")


def written(folder: Path, **settings: Any) -> Path:
    path = folder / "compare.yaml"
    path.write_text(yaml.safe_dump({"run": RUN, "vary": {"fusion": FUSIONS}, **settings}, sort_keys=False))
    return path


def test_cells_are_all_choices_and_each_input_alone() -> None:
    concat, gated, image, prompt = cells(configured())
    assert [cell.name for cell in (concat, gated, image, prompt)] == ["concat", "gated", "image-only", "prompt-only"]
    assert (concat.run.model.fusion, gated.run.model.fusion) == (ConcatFusionConfig(), GatedFusionConfig())
    assert concat.controls == gated.controls == ("image-only", "prompt-only")
    assert list(image.run.model.encoders) == ["image"]
    assert image.run.model.fusion == ConcatFusionConfig(mode="sequences")
    assert [cell.name for cell in cells(configured(controls=False))] == ["concat", "gated"]


def test_a_control_differs_where_what_is_left_of_its_cells_differs() -> None:
    result = {cell.name: cell for cell in cells(configured(vary={"fusion": FUSIONS, "encoder": ENCODERS}))}
    assert list(result)[:4] == ["concat-wide", "concat-deep", "gated-wide", "gated-deep"]
    assert set(list(result)[4:]) == {"image-only-wide", "image-only-deep", "prompt-only"}
    assert result["gated-deep"].controls == ("prompt-only", "image-only-deep")


def test_a_control_lets_go_of_what_belongs_to_the_parts_it_lacks() -> None:
    model = to_dict(run_from(RUN).model)
    model["decoders"]["label"] = {"kind": "classes", "input": "image"}
    more = {
        "model": model,
        "initialize": {"encoders.image": "small", "encoders.prompt": "words", "fusion": "small"},
        "input_dropout": {"image": 0.1},
        "optimizer": {"scales": {"encoders.image.blocks": 0.1, "decoders": 0.5}},
        "cache_features": "kept",
        "cached_views": 4,
        "inputs": {**RUN["inputs"], "image": {"kind": "image", "size": 32, "augmentation": {"horizontal_flip": 0.5}}},
    }
    *_, image, prompt = cells(configured(run={**RUN, **more}))
    assert prompt.run.initialize == {"encoders.prompt": "words"}
    assert prompt.run.optimizer.scales == {"decoders": 0.5}
    assert prompt.run.input_dropout == {}
    assert [cell.run.model.decoders["label"].input for cell in (image, prompt)] == ["image", ""]
    assert [(one.run.cache_features, one.run.cached_views) for one in (image, prompt)] == [("kept", 4), ("", 0)]


def test_a_run_as_it_was_written_is_varied(tmp_path: Path) -> None:
    """The whole run.yaml of a run, its seed included, is where a comparison starts."""
    config = run_from({**RUN, "seed": 5, "freeze": ["encoders.image"]})
    write_run(config, tmp_path / "run.yaml")
    axes = ["fusion=concat,gated", "objective.label_smoothing=0,0.1"]
    result = comparison_of(tmp_path, axes, num_seeds=2, settings=["run.epochs=2"])
    assert result.seeds == (0, 1)
    named = {cell.name: cell for cell in cells(result)}
    assert list(named)[:4] == ["concat-0", "concat-0-1", "gated-0", "gated-0-1"]
    gated = named["gated-0-1"].run
    assert (gated.model.fusion, gated.objective.label_smoothing, gated.epochs) == (GatedFusionConfig(), 0.1, 2)  # type: ignore[union-attr]
    assert gated.freeze == ("encoders.image",) and named["prompt-only-0"].run.freeze == ()
    assert gated.data == config.data
    assert comparison_of(tmp_path / "run.yaml", axes).run["data"] == to_dict(config.data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "RUN", "--vary", "fusion=concat"], "--vary fusion=concat: write a setting and two or more values"),
        (["--from", "RUN", "--vary", "fusion"], "--vary fusion: write a setting and two or more values"),
        (["--from", "RUN"], "give a comparison's YAML file, or a run with --from and what to vary with --vary"),
        (["--vary", "fusion=concat,gated"], "give a comparison's YAML file, or a run with --from and what to vary with --vary"),
        (["--from", "RUN", "--vary", "fusion=concat,gate"], "run.model.fusion.kind is 'gate'; choose from"),
        (["--from", "RUN", "--vary", "epochs=1,2"], "every cell has the same data, budget and stopping rule"),
    ],
)
def test_what_cannot_be_varied_is_told(braid: Braid, tmp_path: Path, arguments: list[str], message: str) -> None:
    write_run(run_from(RUN), tmp_path / "run.yaml")
    ran = braid("compare", *(tmp_path if one == "RUN" else one for one in arguments), "--output", tmp_path / "compared")
    assert ran.code == 1 and message in ran.err
    assert not (tmp_path / "compared").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cells": {}}, "compare.yaml has no setting 'cells'; choose from controls, run, seeds, split, vary"),
        ({"seeds": [0, 0]}, "compare.yaml: seeds are [0, 0]; give one or more, each once"),
        (
            {"run": {**RUN, "seed": 1}},
            "compare.yaml: run sets seed; every cell is trained with each of seeds, so give it there",
        ),
        (
            {"vary": {"fusion": {}}},
            "compare.yaml: vary has no choices; for example vary: {fusion: {concat: {model.fusion: {kind: concat}}, "
            "gated: {model.fusion: {kind: gated}}}}",
        ),
        (
            {"vary": {"length": {"long": {"epochs": 9}}}},
            "compare.yaml: vary.length.long sets epochs; every cell has the same data, budget and stopping rule, "
            "so set it under run",
        ),
        (
            {"vary": {"data": {"other": {"data": {"path": "b.csv"}}}}},
            "compare.yaml: vary.data.other sets data.path; every cell has the same data, budget and stopping rule, "
            "so set it under run",
        ),
        (
            {"vary": {"fusion": {"../x": {}}}},
            "compare.yaml: vary.fusion.../x: a choice's name becomes a folder's; make it of letters, digits, - and _",
        ),
        (
            {"vary": {"fusion": {"gated": {"model.fusion": {"kind": "gate"}}}}},
            "cell gated: run.model.fusion.kind is 'gate'; choose from attention, bilinear, bottleneck, co_attention, concat, "
            "film, gated, late, transformer, weighted (did you mean 'gated'?)",
        ),
        (
            {"vary": {"fusion": {"concat": {}}}, "controls": False},
            "concat is the only cell; a comparison needs two, for example vary: {fusion: {concat: {model.fusion: {kind: concat}}"
            ", gated: {model.fusion: {kind: gated}}}}",
        ),
        ({"vary": {"fusion": {"image-only": {}}}}, "two cells are named image-only; rename a choice"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as raised:
        cells(configured(**settings))
    assert str(raised.value) == message


def test_a_file_that_is_no_comparison(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("[1, 2]")
    for name, message in (
        ("gone.yaml", "does not exist; give a comparison's YAML file"),
        ("list.yaml", "is not a comparison; it needs run and vary"),
    ):
        with pytest.raises(UserError) as raised:
            read_comparison(tmp_path / name)
        assert str(raised.value) == f"{tmp_path / name} {message}"


def test_settings_are_overridden_and_paths_below_a_section_with_dots_stay_whole(tmp_path: Path) -> None:
    start = {"initialize": {"encoders.image": "small"}, "optimizer": {"learning_rate": 1e-4}}
    path = written(tmp_path, vary={"start": {"small": start, "none": {}}})
    small, none, *_ = cells(read_comparison(path, ["run.epochs=7", "seeds=[5]"]))
    assert (small.run.epochs, none.run.epochs) == (7, 7)
    assert small.run.initialize == {"encoders.image": "small"}
    assert (small.run.optimizer.learning_rate, none.run.optimizer.learning_rate) == (1e-4, 3e-3)
    assert small.run.optimizer.warmup_steps == none.run.optimizer.warmup_steps


def right(share: float, spread: tuple[float, ...] = (0.0, 0.0, 0.0), rows: int = 400) -> np.ndarray:
    """Rows answered right (100) by each seed: the easiest ``share`` of them, by seed a little more or less."""
    return np.stack([100.0 * (np.arange(rows) < (share + more) * rows) for more in spread], 1)


def test_a_winner_leads_every_other_cell_beyond_its_interval() -> None:
    result = rank({"a": right(0.5), "b": right(0.6), "c": right(0.3)})
    assert (result.order, result.winner, result.equals) == (("b", "a", "c"), "b", ())
    assert result.leads["a"].difference == pytest.approx(10)
    assert 0 < result.leads["a"].low < 10 < result.leads["a"].high


def test_there_is_no_winner_among_cells_that_cannot_be_told_apart() -> None:
    result = rank({"a": right(0.5), "b": right(0.505), "c": right(0.3), "d": right(0.505)})
    assert (result.order[0], result.winner, result.equals) == ("b", None, ("d", "a"))


def test_one_lucky_seed_makes_no_winner() -> None:
    """On the mean over seeds it leads on a tenth of the rows; but two of its three seeds are worse."""
    lucky, steady = right(0.5, (0.36, -0.01, -0.01)), right(0.5)
    assert lucky.mean() - steady.mean() > 10
    assert rank({"lucky": lucky, "steady": steady}).equals == ("steady",)
    assert rank({"lucky": lucky[:, :1], "steady": steady[:, :1]}).winner == "lucky"  # with one seed nobody can know


def test_the_verdict_says_which_cells_beat_which_controls() -> None:
    every = cells(configured())
    shares = {"concat": 0.7, "gated": 0.5, "image-only": 0.3, "prompt-only": 0.5}

    def message(**changed: float) -> list[tuple[str, str, bool | None]]:
        scores = {name: [made_up(share)] * 3 for name, share in {**shares, **changed}.items()}
        return [(one.title, one.text, one.good) for one in evaluated("mine", configured(), every, scores, {}).verdict]

    assert message() == [
        ("A clear winner", "concat has accuracy 70.0 and leads every other cell, the next, gated, by 20.0 [16.5, 24.0]", True),
        ("Fused cells beat both controls", "clear for concat; gated cannot be told to beat prompt-only", False),
    ]
    assert message(gated=0.695)[1][1:] == ("clear for every one of them, the least by 19.5 [16.0, 23.3]", True)
    assert message(concat=0.2, gated=0.2)[1][1] == (
        "clear for none; concat and gated cannot be told to beat image-only and prompt-only"
    )
    assert message(**{"prompt-only": 0.7})[0][1] == (
        "concat has the best figure, accuracy 70.0, but cannot be told apart from prompt-only"
    )
    assert message(**{"prompt-only": 0.9})[0][1].startswith("prompt-only, which has one input alone, has accuracy 90.0 and leads")


def test_one_seed_makes_no_clear_winner() -> None:
    shares = {"concat": 0.7, "gated": 0.5, "image-only": 0.3, "prompt-only": 0.5}
    result = evaluated("mine", configured(), cells(configured()), {name: [made_up(share)] for name, share in shares.items()}, {})
    first = result.verdict[0]
    assert (result.winner, first.title, first.good) == (None, "Ahead with one seed", None)
    assert first.text.endswith("by 20.0 [16.5, 24.0]; with another seed, another cell may lead; add --seeds 3")


def made_up(share: float) -> Scores:
    items = right(share)[:, 0]
    ids = tuple(map(str, range(len(items))))
    return Scores("val", {"accuracy": float(items.mean())}, ids, tuple(items.tolist()), 1.0, 10, 1.0, 10)


def test_the_interval_over_seeds_is_student_s() -> None:
    result = over_seeds([60.0, 62.0, 64.0])
    assert result.mean == 62
    assert result.high == pytest.approx(62 + 4.302653 * 2 / 3**0.5, abs=1e-3)
    assert (over_seeds([60.0]).low, over_seeds([60.0]).high) == (None, None)


def test_the_front_is_what_nothing_cheaper_beats() -> None:
    points = ((3.0, 5.0), (1.0, 1.0), (2.0, 4.0), (4.0, 4.5), (1.0, 0.5))
    metrics = [Figure(str(cost), value, cost=cost) for cost, value in points]
    assert [metric.cost for metric in front(metrics, higher=True)] == [1, 2, 3]
    assert [metric.value for metric in front(metrics, higher=False)] == [0.5]


def test_names_find_room_or_are_drawn_all_the_same() -> None:
    crowd = [Figure(f"a rather long name {k}", 50.0, cost=2.0) for k in range(30)]
    generated = against_cost(crowd, "ms a row", higher=True)
    assert all(f">{metric.name}</text>" in generated for metric in crowd)


def test_a_comparison_of_which_nothing_could_be_trained_has_a_page() -> None:
    every = cells(configured())
    result = evaluated("mine", configured(), every, {}, {cell.name: "no memory" for cell in every})
    assert (result.winner, result.equals, result.cells) == (None, (), ())
    page = compared_page(result)
    Page(page)
    assert "no cell could be trained" in page
    assert "concat is left out: no memory" in page


def a(text: str = "", **more: Any) -> Prediction:
    return Prediction("1", text=text, **more)


def ref(*references: str, **targets: str) -> Sample:
    return Sample("1", {}, targets, references)


UNIT = np.eye(2)
LIKELY, UNLIKELY = {"cat": 0.9, "dog": 0.1}, {"cat": 0.2, "dog": 0.8}


@pytest.mark.parametrize(
    ("task", "predictions", "samples"),
    [
        (Captioning(), [a("a red cup"), a("two blue dogs run")], [ref("a red cup"), ref("a blue dog runs", "dogs run")]),
        (Classification(), [a(scores=LIKELY), a(scores=LIKELY), a(scores=UNLIKELY)], [ref("cat"), ref("dog"), ref("cow")]),
        (LanguageModelling(), [a(token_probabilities=(0.5,)), a(token_probabilities=(0.1, 0.2, 0.3))], [ref("x"), ref("y")]),
        (Regression(), [a(value=1.5), a(value=-2.0)], [ref("1"), ref("1")]),
        (
            Retrieval(),
            [a(embeddings={"image": UNIT[0], "prompt": UNIT[k]}) for k in (0, 1)]
            + [a(embeddings={"image": UNIT[1], "prompt": UNIT[1]})],
            [ref("x", embedding="one"), ref("y", embedding="one"), ref("z", embedding="two")],
        ),
        (VisualQuestionAnswering(), [a("Red"), a("blue")], [ref("red", "pink"), ref("green")]),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_the_mean_of_items_is_the_figure(task: Any, predictions: list[Prediction], samples: list[Sample]) -> None:
    metrics, items = task.score(predictions, samples), task.items(predictions, samples)
    assert len(items) == len(samples)
    assert len(set(items)) > 1
    metric = np.log(metrics["perplexity"]) if task.kind == "language_modelling" else metrics[task.per_sample_metric]
    assert items.mean() == pytest.approx(metric)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole comparison: two fusions and two controls, two seeds."""
    home = tmp_path_factory.mktemp("compared")
    subprocess.run(command(written(home, seeds=[0, 1]), home / "out"), check=True, capture_output=True)
    return home / "out"


def command(path: Path, output: Path) -> list[str]:
    return [sys.executable, "-m", "braid", "compare", str(path), "--output", str(output), "--json"]


def test_a_comparison_leaves_runs_a_table_and_a_page(braid: Braid, compared: Path) -> None:
    result = json.loads((compared / "comparison.json").read_text())
    assert {cell["name"] for cell in result["cells"]} == {"concat", "gated", "image-only", "prompt-only"}
    assert (result["metric"], result["num_rows"], result["seeds"], result["failed"]) == ("accuracy", 16, [0, 1], {})
    for cell in result["cells"]:
        scores = [json.loads((compared / cell["name"] / f"seed-{seed}" / "scores.json").read_text()) for seed in (0, 1)]
        assert cell["metrics"]["accuracy"]["values"] == [np.mean(one["items"]) for one in scores]
        assert {"accuracy", "macro-f1"} <= set(cell["metrics"])
        assert cell["latency_ms"] > 0
        assert cell["memory_bytes"] > 50e6
        assert 0 < cell["training_seconds"] < 60
        assert set(cell["over"]) == (set() if cell["control"] else {"image-only", "prompt-only"})
        logged = braid("report", compared / cell["name"] / "seed-1", "--json")
        assert json.loads(logged.out)["runs"][0]["parameters"] == cell["parameters"]
    means = [cell["metrics"]["accuracy"]["mean"] for cell in result["cells"]]
    assert means == sorted(means, reverse=True)
    text = (compared / "comparison.html").read_text()
    page = Page(text)
    assert not {"script", "link", "img"} & set(page.tags)
    assert "http:" not in text and "https:" not in text
    for title in ("Verdict", "Metrics", "Cells", "Against the controls"):
        assert f"<h2>{title}</h2>" in text
    assert text.count("<svg viewBox") == 1 + 3  # the mark above, intervals, two costs


def test_what_is_done_is_not_done_again(braid: Braid, compared: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in compared.rglob("seed-*/*")}
    ran = braid("compare", compared.parent / "compare.yaml", "--output", compared)
    assert ran.code == 0, ran.err
    assert {file: file.stat().st_mtime_ns for file in compared.rglob("seed-*/*")} == before
    result = json.loads((compared / "comparison.json").read_text())
    assert f"classification on {RUN['data']['path']}, 16 rows of val" in ran.out
    for cell in result["cells"]:
        assert cell["name"] in ran.out
    for finding in result["verdict"]:
        assert finding["title"] in ran.out
    assert "The rows of val also chose each run's best epoch" in ran.err


def test_a_folder_with_runs_of_other_settings_is_refused(braid: Braid, compared: Path) -> None:
    ran = braid("compare", compared.parent / "compare.yaml", "--output", compared, "--set", "run.epochs=2")
    assert ran.code == 1
    assert ran.err == (
        f"error: {compared / 'concat' / 'seed-0'} holds a run with another epochs; "
        "give the comparison another --output, or remove that folder\n"
    )


def test_a_run_of_an_earlier_braid_that_lacks_a_setting_is_gone_on_with(tmp_path: Path) -> None:
    run = run_from(RUN)
    begin(run, tmp_path)
    settings = yaml.safe_load((tmp_path / "run.yaml").read_text())
    assert settings["objective"].pop("mixup") == 0
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    begin(run, tmp_path)
    with pytest.raises(UserError, match="holds a run with another objective.mixup"):
        begin(run_from(RUN, ["objective.mixup=0.2"]), tmp_path)


def test_a_killed_comparison_goes_on_and_ends_with_the_same_figures(compared: Path, tmp_path: Path) -> None:
    """kill -9 of the comparison alone, while its second training is under way; it is started again at once."""
    path, output = written(tmp_path, seeds=[0], controls=False), tmp_path / "out"
    process = subprocess.Popen(command(path, output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not last(output / "gated" / "seed-0"):
        time.sleep(0.002)
    (training,) = map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (output / "comparison.json").exists()
    try:
        ran = subprocess.run(command(path, output), check=True, capture_output=True, text=True)
        assert not alive(training)
    finally:
        with suppress(ProcessLookupError):
            os.kill(training, signal.SIGKILL)
    assert json.loads(ran.stdout) == json.loads((output / "comparison.json").read_text())
    for cell in ("concat", "gated"):
        whole, killed = (json.loads((one / cell / "seed-0" / "scores.json").read_text()) for one in (compared, output))
        for name in ("ids", "items", "metrics", "parameters", "split"):
            assert killed[name] == whole[name]


def test_a_cell_that_fails_is_told_and_does_not_end_the_others(braid: Braid, compared: Path, tmp_path: Path) -> None:
    vary = {"fusion": {**FUSIONS, "broken": {"model.fusion": {"kind": "film", "condition": "sound"}}}}
    path, output = written(tmp_path, seeds=[0], controls=False, vary=vary), tmp_path / "out"
    for cell in FUSIONS:
        shutil.copytree(compared / cell / "seed-0", output / cell / "seed-0")
    assert cells(read_comparison(path))[2].run.model.fusion == FilmFusionConfig(condition="sound")
    ran = braid("compare", path, "--output", output, "--json")
    assert ran.code == 1
    result = json.loads(ran.out)
    assert [cell["name"] for cell in result["cells"]] == ["concat", "gated"] or result["cells"][0]["name"] == "gated"
    (reason,) = result["failed"].values()
    assert reason == "fusion: condition is 'sound', which is not an input of the model; choose from image, prompt"
    assert f"broken, seed 0, failed: {reason}" in ran.err
    assert result["verdict"][-1] == {
        "title": "Every cell was trained",
        "text": f"broken is left out: {reason}",
        "good": False,
        "details": [],
    }
    assert "One seed shows nothing of the luck in training" in result["notes"][0]

"""The page that shows a run: what is on it, from which files, and what it says of a run's health."""

import base64
import json
import os
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

import braid
from braid.errors import UserError
from braid.reports import diagnose, differences, read_log, write_report
from braid.reports.charts import DRAWN, Line, Mark, chart, number, smooth, thinned, ticks
from braid.reports.page import comparison
from braid.reports.run import LoggedRun, incomparable_settings, read_run_folder
from braid.training import Watcher, read_run, train
from conftest import Ran

Braid = Callable[..., Ran]
VOID = {"meta", "wbr", "img", "br", "circle", "line", "path"}


class Page(HTMLParser):
    """Every tag is closed in order; attributes and text by tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.tags: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def records(run: Path, name: str = "log.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / name).read_text().splitlines()]


def copied(captioner: Path, folder: Path, *names: str) -> Path:
    """A run's folder that holds ``names`` alone."""
    folder.mkdir()
    for name in names:
        (shutil.copytree if (captioner / name).is_dir() else shutil.copy)(captioner / name, folder / name)
    return folder


def test_training_leaves_a_page_that_needs_nothing_else(captioner: Path) -> None:
    text = (captioner / "report.html").read_text()
    page = Page(text)
    assert not [value for name, value in page.attributes if name in ("src", "href") and not value.startswith("data:image/")]
    assert "http:" not in text and "https:" not in text
    assert "script" not in page.tags
    for title in ("Diagnosis", "Curves", "Answers", "Epochs", "Model", "Settings"):
        assert f"<h2>{title}</h2>" in text
    assert text.count('src="data:image/jpeg;base64,') == 8  # val has no more rows
    titles = re.findall(r"<figcaption>([A-Za-z -]+)</figcaption>", text)
    assert titles == [
        "Loss",
        "cider",
        "Other metrics",
        "Confidence errors",
        "Learning rate",
        "Gradient norm",
        "Samples a second",
    ]


@pytest.mark.parametrize("name", ["cider-d", "captioning.cider-d"])
def test_a_log_with_old_names_of_metrics_is_not_mixed_up(tmp_path: Path, name: str) -> None:
    """Its ``cider`` is the unclipped one, which would be shown as the best epoch's ``cider``."""
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps({"step": 3, "epoch": 0, "val_loss": 1.0, "cider": 73.2, name: 61.5}) + "\n")
    with pytest.raises(UserError) as caught:
        read_log(log)
    renamed = "in this file rename cider to cider-2015, then cider-d to cider"
    assert str(caught.value) == f"{log} has old names of metrics; {renamed}"


def test_nan_in_a_log_of_an_older_version_does_not_end_the_report(captioner: Path, tmp_path: Path) -> None:
    run = copied(captioner, tmp_path / "run", "run.yaml", "log.jsonl", "samples.jsonl")
    whole = (run / "log.jsonl").read_text()
    for name in ("val_loss", "loss", "cider", "loss_shuffled"):
        (run / "log.jsonl").write_text(re.sub(rf'"{name}": [-\d.e]+', f'"{name}": NaN', whole))
        (logged,) = write_report([run], tmp_path / "report.html")
        assert (logged.best is None) == (name == "cider")
        Page((tmp_path / "report.html").read_text())
    (run / "log.jsonl").write_text(whole)
    samples = (run / "samples.jsonl").read_text()
    (run / "samples.jsonl").write_text(re.sub(r'"confidence": [\d.]+', '"confidence": NaN', samples))
    write_report([run], tmp_path / "report.html")
    (run / "log.jsonl").write_text(whole + '{"step": 9, "epoch": 9, "reliance": {"image": {}')  # cut short by a kill
    assert len(read_log(run / "log.jsonl")) == len(whole.splitlines())
    huge = chart([Line("loss", [(1.0, 1e308), (2.0, -1e308), (3.0, float("inf")), (4.0, 2.0)], "#000000")], "epoch")
    assert "loss ends at 2" in huge


def test_samples_are_kept_every_epoch_and_the_best_epoch_s_are_shown(captioner: Path) -> None:
    kept = records(captioner, "samples.jsonl")
    assert [record["epoch"] for record in kept] == [0, 1, 2, 3]
    assert len({tuple(sample["id"] for sample in record["samples"]) for record in kept}) == 1
    run = read_run_folder(captioner)
    assert run.best is not None
    assert run.best["cider"] == max(record["cider"] for record in run.epochs)
    text = (captioner / "report.html").read_text()
    for sample in kept[run.best["epoch"]]["samples"]:
        assert f'<p class="answer">{sample["text"]}</p>' in text
        assert f"<li>{sample['references'][0]}</li>" in text
        assert (captioner / sample["inputs"]["image"]["media"]).is_file()


def test_an_epoch_s_record_holds_the_diagnosis(captioner: Path) -> None:
    last = records(captioner)[-1]
    assert last["answers"]["rows"] == 8
    assert 1 <= last["answers"]["distinct"] <= 8
    assert set(last["reliance"]) == {"image"}  # the prompt is the same in every row
    assert last["reliance"]["image"]["loss"] == pytest.approx(last["val_loss"], rel=1e-4)
    assert last["seconds"] > 0
    result = read_run_folder(captioner)
    assert result.seconds == pytest.approx(sum(record["seconds"] for record in records(captioner)))


def test_a_killed_run_is_shown_from_what_it_left(braid: Braid, captioner: Path, tmp_path: Path) -> None:
    run = copied(captioner, tmp_path / "killed", "run.yaml", "checkpoint.safetensors")
    log = [line for line in (captioner / "log.jsonl").read_text().splitlines(keepends=True) if '"epoch": 0' in line]
    (run / "log.jsonl").write_text("".join(log[:4]) + log[4][:30])
    ran = braid("report", run, "--json")
    assert ran.code == 0, ran.err
    message = json.loads(ran.out)
    assert message["page"] == str(run / "report.html")
    assert message["runs"][0]["state"] == "0 of 4 epochs, 4 steps"
    assert message["runs"][0]["parameters"] == json.loads(braid("inspect", captioner, "--json").out)["parameters"]
    page = (run / "report.html").read_text()
    Page(page)
    assert "metrics appear after the first epoch" in page
    assert page.count("<svg viewBox") == 1 + 4  # the mark above, and the curves of steps
    (run / "log.jsonl").unlink()
    (run / "checkpoint.safetensors").unlink()
    assert braid("report", run).code == 0


def test_runs_beside_each_other_show_what_differs_and_nothing_else(braid: Braid, captioner: Path, tmp_path: Path) -> None:
    other = copied(captioner, tmp_path / "other", "run.yaml", "log.jsonl")
    settings = yaml.safe_load((captioner / "run.yaml").read_text())
    settings["optimizer"]["learning_rate"] = 1e-4
    settings["model"]["fusion"] = {"kind": "concat", "mode": "vectors"}
    settings["card"]["name"] = "another"
    (other / "run.yaml").write_text(yaml.safe_dump(settings))
    page = tmp_path / "both" / "page.html"
    ran = braid("report", captioner, other, "-o", page)
    assert ran.code == 0, ran.err
    assert "concat (mode vectors)" in ran.out
    runs = [read_run_folder(folder) for folder in (captioner, other)]
    assert differences(runs) == {
        "model.fusion": ["attention (depth 1, heads 2, dropout 0)", "concat (mode vectors)"],
        "optimizer.learning_rate": ["0.003", "0.0001"],
    }
    text = page.read_text()
    Page(text)
    shown = re.findall(r"<tr[^>]*><th>([^<]+)</th>", text.replace("<wbr>", ""))
    assert shown[:4] == ["model.fusion", "optimizer.learning_rate", "cider", "val_loss"]
    assert "cannot be compared" not in text
    settings["data"]["limit_val"] = 4
    (other / "run.yaml").write_text(yaml.safe_dump(settings))
    write_report([captioner, other], page)
    assert "These runs differ in data.limit_val: their metrics cannot be compared." in page.read_text()
    assert incomparable_settings([read_run_folder(captioner)] * 2) == []


def logged(epochs: list[dict[str, Any]], losses: list[float], **more: Any) -> LoggedRun:
    steps = tuple({"step": k + 1, "epoch": k, "loss": loss} for k, loss in enumerate(losses))
    records = tuple({"step": k + 1, "epoch": k, **record} for k, record in enumerate(epochs))
    settings = {"task": {"kind": "captioning"}, "data": {}, "model": {}, "epochs": len(epochs)}
    return LoggedRun(Path(), settings, steps, records, {}, more.get("skipped_rows", ()))


def message(run: LoggedRun) -> dict[str, tuple[bool | None, str]]:
    return {finding.title: (finding.good, finding.text) for finding in diagnose(run)}


def test_the_better_of_two_runs_stands_out_where_less_is_better_too() -> None:
    first, second = ({"val_loss": 2.0 + k, "cider": 30.0 - k, "aurc": 40.0 + k} for k in range(2))
    text = comparison([logged([first], [3.0]), logged([second], [3.0])])
    assert re.findall("<b>([^<]+)</b>", text) == ["30.0", "2.000", "40.0"]


def test_overfitting_is_told_by_the_courses_of_both_losses() -> None:
    falls = [{"val_loss": loss} for loss in (3.0, 2.0, 1.9)]
    rises = [{"val_loss": loss} for loss in (3.0, 2.0, 2.5)]
    good, text = message(logged(rises, [3.0, 2.0, 1.0]))["Generalises to val rows"]
    assert good is False
    assert text.startswith("val loss rose from 2.000 (epoch 2) to 2.500 while train loss fell from 2.000 to 1.000; try more data")
    assert message(logged(falls, [3.0, 2.0, 1.0]))["Generalises to val rows"] == (
        True,
        "val loss ends at 1.900; its lowest is 1.900",
    )
    assert message(logged(rises, [3.0, 2.0, 2.2]))["Generalises to val rows"][0] is True  # both rise: not that
    assert message(logged(rises[:2], [3.0, 2.0]))["Generalises to val rows"][0] is None
    rewarded = logged(rises, [3.0, 2.0, 1.0])
    rewarded.settings["objective"] = {"kind": "self_critical"}
    assert message(rewarded)["Generalises to val rows"][0] is None


def test_the_same_answer_and_an_ignored_input_are_told_in_training_s_words() -> None:
    bored = {"rows": 8, "distinct": 1, "commonest": "a dog", "times": 8, "warning": "all 8 rows get the same text"}
    blind = {"image": {"loss": 2.0, "loss_shuffled": 2.0, "warning": "the model ignores its input 'image'"}}
    result = message(logged([{"val_loss": 2.0, "answers": bored, "reliance": blind}], [2.0]))
    assert result["Answers differ"] == (False, "all 8 rows get the same text")
    assert result["Reads its image"] == (False, "the model ignores its input 'image'")
    lively = {"rows": 8, "distinct": 7, "commonest": "a dog", "times": 2, "warning": None}
    seeing = {"image": {"loss": 2.0, "loss_shuffled": 3.0, "warning": None}}
    result = message(logged([{"val_loss": 2.0, "answers": lively, "reliance": seeing}], [2.0]))
    assert result["Answers differ"] == (True, "7 different texts for 8 val rows; the commonest, “a dog”, is given to 2")
    labels = message(logged([{"val_loss": 2.0, "answers": {**lively, "what": "label"}}], [2.0]))
    assert labels["Answers differ"][1].startswith("7 different labels for 8 val rows")
    assert result["Reads its image"] == (True, "val loss is 2.000, and 3.000 (+50%) with another row’s image in its place")


def test_rows_left_out_are_counted_and_named_once_each(tmp_path: Path, captioner: Path) -> None:
    """Three rows: no caption (data), not readable in training, not readable in val; two epochs meet them twice."""
    from PIL import Image

    rows = [{"image": f"{k}.png", "captions": [f"picture {k}"], "split": "val" if k < 4 else "train"} for k in range(16)]
    for k in range(16):
        Image.new("RGB", (32, 32), (15 * k, 40, 90)).save(tmp_path / f"{k}.png")
    (tmp_path / "2.png").write_bytes(b"no picture")
    (tmp_path / "9.png").write_bytes(b"no picture")
    rows[12]["captions"] = []
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = [f"data.path={tmp_path / 'data.jsonl'}", "epochs=2", "evaluation.limit=16"]
    train(read_run(captioner / "run.yaml", settings), tmp_path / "run")
    run = read_run_folder(tmp_path / "run")
    assert len(run.skipped_rows) == 3
    assert message(run)["Every row was read"] == (False, "3 rows are skipped")
    text = (tmp_path / "run" / "report.html").read_text()
    for name in ("data.jsonl, row 3", "data.jsonl, row 10", "data.jsonl, row 13"):
        assert text.count(name) == 1


def test_texts_of_people_and_models_stay_text(captioner: Path, tmp_path: Path) -> None:
    run = copied(captioner, tmp_path / "run", "run.yaml", "log.jsonl", "samples.jsonl")
    hostile = '<script>alert("1")</script>'
    kept = records(run, "samples.jsonl")
    for record in kept:
        record["samples"][0] |= {
            "text": hostile,
            "references": [hostile],
            "inputs": {"prompt": {"text": hostile, "cells": {hostile: hostile}}},
        }
    (run / "samples.jsonl").write_text("".join(json.dumps(record) + "\n" for record in kept))
    settings = yaml.safe_load((run / "run.yaml").read_text())
    settings["data"]["path"] = hostile
    (run / "run.yaml").write_text(yaml.safe_dump(settings))
    write_report([run], run / "report.html")
    text = (run / "report.html").read_text()
    assert "<script" not in text
    assert text.count("&lt;script&gt;") > 3
    Page(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"{folder} is no run: it has no run.yaml; give the --output folder of braid train"),
        ("a: [", r"{folder}/run.yaml cannot be read \(.*\); copy it again"),
        ("task: captioning\n", r"{folder}/run.yaml is not a run; it needs the sections task, data and model"),
    ],
)
def test_a_folder_that_is_no_run_is_told(content: str | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "run.yaml").write_text(content)
    with pytest.raises(UserError, match="^" + message.format(folder=re.escape(str(tmp_path))) + "$"):
        write_report([tmp_path], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_page_that_cannot_be_written_does_not_end_a_run(captioner: Path, tmp_path: Path) -> None:
    (tmp_path / "run" / "report.html").mkdir(parents=True)
    notes: list[str] = []
    train(read_run(captioner / "run.yaml", ["epochs=1"]), tmp_path / "run", watcher=Watcher(on_note=notes.append))
    assert any(
        re.fullmatch(r"report.html was not written \(IsADirectoryError: .*\); braid report .*run tries again", n) for n in notes
    )
    assert (tmp_path / "run" / "best").is_dir()


def test_an_interrupted_run_logs_every_step_and_epoch_once(captioner: Path, tmp_path: Path) -> None:
    config = read_run(captioner / "run.yaml", ["checkpoint_steps=4", "epochs=3"])

    for moment in (3, 15):  # before the first checkpoint; in the third epoch

        def stop(record: dict[str, Any], moment: int = moment) -> None:
            if record["step"] == moment:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "run", resume=True, watcher=Watcher(on_step=stop))
        assert records(tmp_path / "run")[-1]["step"] == moment
    train(config, tmp_path / "run", resume=True)
    log = records(tmp_path / "run")
    assert [record["step"] for record in log if "loss" in record] == list(range(1, 19))
    assert [record["epoch"] for record in log if "val_loss" in record] == [0, 1, 2]
    assert [record["epoch"] for record in records(tmp_path / "run", "samples.jsonl")] == [0, 1, 2]


def test_a_chart_names_its_lines_and_marks_its_best() -> None:
    lines = [Line("train", [(1.0, 3.0), (2.0, 2.0)], "#000000"), Line("val <1>", [(1.0, 4.0), (2.0, 3.0)], "#111111", dots=True)]
    generated = chart(lines, "epoch", mark=Mark((2.0, 3.0), "best 3.0"))
    Page(generated)
    assert 'aria-label="train ends at 2, val &lt;1&gt; ends at 3"' in generated
    assert generated.count("<circle") == 3
    assert ">best 3.0</text>" in generated
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", generated)]
    assert heights[0] < heights[1]  # down the page is down the scale
    assert chart([Line("nothing", [], "#000000")], "epoch") == ""
    assert 'class="name"' not in chart(lines[:1], "epoch")


def test_thinning_keeps_the_peaks_and_smoothing_the_level() -> None:
    points = [(float(k), 1.0) for k in range(5000)]
    points[1234] = (1234.0, 99.0)
    kept = thinned(points)
    assert len(kept) <= DRAWN + 1
    assert (1234.0, 99.0) in kept
    assert kept == sorted(kept)
    assert kept[-1] == points[-1]
    assert all(y == pytest.approx(7.0) for _, y in smooth([(float(k), 7.0) for k in range(300)]))


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0.13, 0.94) == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert ticks(1.0, 14.0) == [5, 10]
    assert ticks(0.0, 0.0021, 4) == pytest.approx([0, 0.001, 0.002])
    assert [number(value) for value in (0.0, 0.0005, 2e-05, 0.25, 42.123, 12_345.0)] == [
        "0",
        "5e-4",
        "2e-5",
        "0.25",
        "42.1",
        "12,345",
    ]


def test_a_sample_of_any_modality_is_shown_by_its_view(tmp_path: Path) -> None:
    """A photo is a thumbnail in a file, a row a table, a label the reference; what is the same in every row is left out."""
    import numpy as np

    from braid.evaluation import Answers
    from braid.modalities import default_inputs
    from braid.records import Prediction, Sample
    from braid.reports.rows import cards, read_view, shown_rows
    from braid.training.samples import write_samples

    photo = np.full((400, 800, 3), 90, np.uint8)
    rows = [
        Sample(
            str(k), {"image": photo, "prompt": "what is it?", "tabular": {"price": 3.0 * k, "brand": None}}, {"label": ("cap",)}
        )
        for k in range(20)
    ]
    answers = Answers(tuple(Prediction(str(k), text="<hat>", label="<hat>", confidence=0.5) for k in range(20)), tuple(rows), ())
    modalities = {name: config.build() for name, config in default_inputs().items() if name != "prompt"}
    write_samples(tmp_path, 1, 0, answers, modalities, "label")
    (kept,) = records(tmp_path, "samples.jsonl")
    assert len(kept["samples"]) == 12
    first = kept["samples"][1]
    assert first["inputs"]["tabular"] == {"text": "price 3", "cells": {"price": "3", "brand": ""}}
    assert first["inputs"]["prompt"] == {"text": "what is it?"}
    assert first["references"] == ["cap"]
    view = read_view(tmp_path, first["inputs"]["image"])
    assert view.media_type == "image/jpeg" and len(view.media) < 5000
    html = cards(shown_rows(rows, answers.predictions, modalities))
    Page(html)
    assert html.count("<th>price</th><td>") == 12 and "&lt;hat&gt;" in html and "50% confidence" in html
    assert "what is it?" not in html and "<img" not in html  # the same in every row
    one = cards(shown_rows(rows[:1], answers.predictions[:1], modalities))
    assert one.count("<img") == 1 and "what is it?" in one and "<li>cap</li>" in one


def test_a_run_of_somebody_else_puts_neither_markup_nor_other_files_into_its_report(tmp_path: Path) -> None:
    markup = "<img src=x onerror=alert(1)>"
    (tmp_path / "secret.txt").write_text("the secret")
    run = tmp_path / "run"
    run.mkdir()
    (run / "link.jpg").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(run / "pipe.jpg")
    settings = {"model": {"encoders": {markup: {"kind": markup}}}, "data": {"path": markup}, "seed": markup, "epochs": 1}
    tasks = {"task": {"kind": "captioning"}, "tasks": [{"task": {"kind": markup}}], markup: markup}
    (run / "run.yaml").write_text(yaml.safe_dump({**settings, **tasks}))
    epoch = {"step": 1, "epoch": 0, "val_loss": 1.0, "mean": 1.0, "cider": 3.0, f"{markup}.val_loss": 1.0, markup: 2.0}
    (run / "log.jsonl").write_text(
        json.dumps({"step": 1, "epoch": 0, "loss": 1.0, markup: 2.0}) + "\n" + json.dumps(epoch) + "\n"
    )
    names = (str(tmp_path / "secret.txt"), "../secret.txt", "link.jpg", "pipe.jpg", "a\0b")
    views = [{"text": markup, "media": name, "media_type": f'image/png;" onload="{markup}'} for name in names]
    samples = [{"inputs": {"image": view}, "text": markup, "confidence": 0.5, "references": [markup]} for view in views]
    (run / "samples.jsonl").write_text(json.dumps({"epoch": 0, "step": 1, "samples": samples}) + "\n")
    write_report([run], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert markup not in page and "<img src=x" not in page and 'onload="' not in page
    assert base64.b64encode(b"the secret").decode()[:8] not in page
    assert "Content-Security-Policy" in page


def test_no_page_runs_a_script() -> None:
    templates = [path for path in Path(braid.__file__).parent.rglob("*.html") if "static" not in path.parts]
    assert len(templates) >= 3
    for path in templates:
        assert "Content-Security-Policy\" content=\"default-src 'none'; img-src" in path.read_text(encoding="utf-8"), path

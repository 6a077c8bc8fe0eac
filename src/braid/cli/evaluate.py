"""braid evaluate, score, calibrate, audit: how good a model is, how sure, and whether it uses each input."""

import json as json_files
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from braid.cli.console import answer_of, note, print_json, print_table, report_skipped, skipped_of, with_progress
from braid.cli.options import (
    USUAL_TASK,
    BatchOption,
    BeamOption,
    ColumnsOption,
    DataOption,
    JsonOption,
    LanguageOption,
    LimitOption,
    MinConfidenceOption,
    ModelOption,
    SeedOption,
    SkippedRowsOption,
    SplitOption,
    StrictOption,
    TaskOption,
    TokenizerOption,
    UsualTaskOption,
    choose_task,
    note_trained,
    open_rows,
    rows_to_score,
)
from braid.cli.places import ModelAndDataWords, model_and_data
from braid.config import NotStandard, json_text, named, parse_json
from braid.errors import UserError
from braid.files import ready, write_whole
from braid.files.text import read_text

if TYPE_CHECKING:
    from braid.api import LoadedModel
    from braid.evaluation import Answers
    from braid.records import Example


def evaluate(
    words: ModelAndDataWords = None,
    data: DataOption = "",
    task: UsualTaskOption = "",
    split: SplitOption = "",
    model: ModelOption = "",
    beam: BeamOption = None,
    language: LanguageOption = "",
    tokenizer: TokenizerOption = "auto",
    columns: ColumnsOption = "",
    limit: LimitOption = 0,
    min_confidence: MinConfidenceOption = 0.0,
    batch_size: BatchOption = 32,
    save_predictions: Annotated[Path | None, typer.Option(help="Write {id: text} here, as `braid score` reads it.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page here: metrics, confidence, a confusion matrix.")] = None,
    record: Annotated[bool, typer.Option("--record", help="Write the metrics into the model's data card.")] = False,
    extractor: Annotated[str, typer.Option(help="Embedding model for FID and KID of generated images.")] = "",
    subsets: Annotated[bool, typer.Option("--subsets", help="Also score the rows with each subset of their inputs.")] = False,
    skipped_rows: SkippedRowsOption = None,
    strict: StrictOption = False,
    json: JsonOption = False,
) -> None:
    """Score a model on a data set with the official metrics (x100).

    With --min-confidence, metrics are those of the rows that the model answers; coverage is their share.

    Examples:

        braid evaluate runs/mine photos.csv

        braid evaluate --task captioning --data photos/captions.jsonl --split val --beam 3

        braid evaluate small photos-zh.jsonl --language zh

        braid evaluate --task vqa --data questions.jsonl --split test --model runs/vqa --json

        braid evaluate --task classification --data posts.csv --model runs/sentiment --html posts.html --min-confidence 0.6

        braid evaluate --task image_generation --data photos.csv --model runs/generator --extractor runs/finder

        braid evaluate --task classification --data clips.csv --model runs/clips --subsets
    """
    from braid.api import load
    from braid.evaluation import cut_texts, empty_answers, remarks
    from braid.evaluation import evaluate as score
    from braid.reports import Evaluated, shown_rows, write_evaluated
    from braid.search import fidelity

    model, data = model_and_data("evaluate", words, model, data, "small")
    loaded = load(model)
    embedder = load(extractor) if extractor else None
    task = choose_task(loaded, task, USUAL_TASK)
    chosen = loaded.task(task, beam, language)
    if record:
        _check_recordable(loaded)
    dataset = open_rows(loaded, data, columns)
    if strict and dataset.skipped:
        raise UserError(f"{dataset.skipped[0].source}: {dataset.skipped[0].reason}")
    split, examples = rows_to_score(loaded, dataset, split, limit)
    if save_predictions is not None:
        _check_distinct(examples)
    for path in (save_predictions, skipped_rows, html):
        if path is not None:
            ready(path)
    runtime, collator, interface = loaded.runtime, loaded.collator, loaded.bundle.interface
    metrics, answers = score(
        runtime, collator, chosen, examples, tokenizer, batch_size, strict, with_progress("evaluating"), min_confidence
    )
    if embedder:
        metrics |= fidelity(embedder.runtime, embedder.collator, chosen, answers, with_progress("comparing"))
    skipped = [(row.source, row.reason) for row in dataset.skipped] + skipped_of(answers)
    report_skipped(skipped_rows, skipped, exits=False)
    counted = f"{data}: {len(dataset.examples)} rows, {len(examples)} of them evaluated"
    note(counted + (f", {answers.unscored} without anything to score against" if answers.unscored else ""))
    note_trained(loaded, answers.samples, "metrics on them")
    cut = cut_texts(loaded.bundle.inputs, answers.samples)
    for message in (*cut, *remarks(interface, chosen, answers, tokenizer), *empty_answers(answers.predictions)):
        note(f"warning: {message}")
    texts = [answer_of(prediction, min_confidence) for prediction in answers.predictions]
    if save_predictions is not None:
        named = {prediction.id: text for prediction, text in zip(answers.predictions, texts, strict=True)}
        write_whole(save_predictions, json_text(named, ensure_ascii=False, indent=1) + "\n")
    method = chosen.method + (f", answered from a confidence of {min_confidence:g}" if min_confidence else "")
    how = f"{method}, {_split_by(tokenizer, answers)}"
    scores = _of_subsets(loaded, chosen, answers, tokenizer, batch_size) if subsets else []
    if record:
        _record(loaded, metrics, f"{Path(data).name} {split}, {len(answers.predictions)} rows, {how}")
    training = [example for example in dataset.examples if example.split == "train" and split not in ("train", "all")]
    metrics |= chosen.variety([text for text in texts if text is not None], training, tokenizer)
    if html is not None:
        page = chosen.report(answers.predictions, answers.samples, tokenizer)
        rows = shown_rows(answers.samples, answers.predictions, loaded.collator.inputs)
        about = (model, task, data, split, len(texts), min_confidence, chosen.main_metric, metrics)
        write_evaluated(Evaluated(*about, method=chosen.method, rows=rows, **page), html)
    title = f"{task} on {data}, split {split}: {len(answers.predictions)} of {len(dataset.examples)} rows, {how}"
    if json:
        note(title)
        print_json({**metrics, "num_samples": int(metrics["num_samples"]), **({"subsets": scores} if subsets else {})})
        return
    cells = [[name, f"{value:.2f}"] for name, value in metrics.items() if name != "num_samples"]
    print_table(title, ["metric", chosen.unit], cells, ["x100", "value"])
    if subsets:
        _print_subsets(scores, chosen.main_metric)


def _split_by(tokenizer: str, answers: "Answers") -> str:
    """The tokenizer of each language, for a title."""
    from braid.metrics import chosen_tokenizer

    languages = dict.fromkeys(sample.language for sample in answers.samples)
    texts = {
        name: [text for sample in answers.samples if sample.language == name for text in sample.references] for name in languages
    }
    return ", ".join(f"{name} tokenizer {chosen_tokenizer(tokenizer, own)}".strip() for name, own in texts.items())


def _of_subsets(loaded: "LoadedModel", task: Any, answers: "Answers", tokenizer: str, batch_size: int) -> list[dict[str, Any]]:
    """The metrics of the rows with each subset of their inputs, all inputs first."""
    from braid.evaluation import evaluate_subsets

    watch = with_progress("subsets of inputs")
    scores = evaluate_subsets(loaded.runtime, loaded.collator, task, answers.samples, tokenizer, batch_size, watch)
    return [{"inputs": list(one.inputs), **one.metrics, "num_samples": int(one.metrics["num_samples"])} for one in scores]


def _print_subsets(scores: Sequence[dict[str, Any]], metric: str) -> None:
    whole = scores[0][metric]
    rows = [[" + ".join(one["inputs"]), f"{one[metric]:.2f}", f"{one[metric] - whole:+.2f}"] for one in scores]
    names = ["inputs", metric, "difference from all"]
    print_table(f"{metric} with each subset of the inputs, {scores[0]['num_samples']} rows", names, rows, names[1:])


def _check_recordable(loaded: "LoadedModel") -> None:
    if not (loaded.bundle.folder / "interface.json").is_file():
        raise UserError(f"{loaded.bundle.folder} has no interface.json to record metrics in; leave out --record")


def _record(loaded: "LoadedModel", metrics: dict[str, float], scored_on: str) -> None:
    from braid.bundle import write_scores

    write_scores(loaded.bundle, {name: value for name, value in metrics.items() if name != "num_samples"}, scored_on)


def _check_distinct(examples: Sequence["Example"]) -> None:
    """Check that ids are unique, because {id: text} has only one text per id."""
    first: dict[str, str] = {}
    for example in examples:
        if example.id in first:
            raise UserError(
                f"{first[example.id]} and {example.source} both have the id {example.id!r}, and --save-predictions "
                "writes one text an id; give each row its own, or name another column with --columns id=NAME"
            )
        first[example.id] = example.source


def captions(
    predictions: Annotated[Path, typer.Option(help="JSON: {id: text}.")],
    references: Annotated[Path, typer.Option(help="JSON: {id: [texts]}.")],
    tokenizer: TokenizerOption = "auto",
    per_item: Annotated[Path | None, typer.Option(help="Write {id: {metric: value}} here.")] = None,
    json: JsonOption = False,
) -> None:
    """Score captions (x100) with BLEU, ROUGE-L, CIDEr and METEOR (exact and stem), without Java.

    cider is what coco-caption prints; cider-2015 has neither clipping nor length penalty.

    Examples:

        braid score captions --predictions mine.json --references truth.json

        braid score captions --predictions mine.json --references truth.json --tokenizer characters --json
    """
    from braid.metrics import caption_diversity, caption_remarks, chosen_tokenizer, score_captions

    if per_item is not None:
        ready(per_item)
    guesses, truths = read_predictions(predictions), read_references(references)
    unscored = [key for key in truths if key not in guesses]
    if unscored and len(unscored) < len(truths):
        note(f"ids of {references} without a prediction, which are skipped: {len(unscored)}, first {unscored[0]!r}")
        truths = {key: texts for key, texts in truths.items() if key in guesses}
    with named(f"{predictions} against {references}"):
        scores = score_captions(guesses, truths, tokenizer)
    for message in caption_remarks(list(truths.values()), tokenizer):
        note(f"warning: {message}")
    tokenizer = chosen_tokenizer(tokenizer, (text for texts in truths.values() for text in texts))
    if per_item is not None:
        write_whole(per_item, json_text(scores.per_sample, ensure_ascii=False, indent=1) + "\n")
    diversity = caption_diversity(list(guesses.values()), tokenizer=tokenizer)
    if json:
        print_json({**scores.metrics, **diversity, "num_samples": int(scores.metrics["num_samples"])})
        return
    rows = [[name, f"{scores.metrics[name]:.2f}", f"{low:.2f} to {high:.2f}"] for name, (low, high) in scores.intervals.items()]
    rows += [[name, f"{value:.2f}", ""] for name, value in diversity.items()]
    title = f"{predictions}: {len(guesses)} captions, tokenizer {tokenizer}"
    print_table(title, ["metric", "x100", "95% interval"], rows, ["x100", "95% interval"])


def read_predictions(path: Path) -> dict[str, str]:
    """{id: text}; a list of COCO results ({image_id, caption}) too."""
    result = _read(path, "{id: text}")
    if isinstance(result, list):
        result = _coco_results(path, result)
    if not isinstance(result, dict):
        raise UserError(f"{path} holds no JSON object; write {{id: text}}")
    for key, text in result.items():
        if not isinstance(text, str):
            raise UserError(f"{path}: the prediction of {key!r} is {_short(text)}, not one text; write {{id: text}}")
    return result


def read_references(path: Path) -> dict[str, list[str]]:
    """{id: [texts]}; a single text stands for a list of one."""
    result = _read(path, "{id: [texts]}")
    if not isinstance(result, dict):
        raise UserError(f"{path} holds no JSON object; write {{id: [texts]}}")
    references = {key: [texts] if isinstance(texts, str) else texts for key, texts in result.items()}
    for key, texts in references.items():
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise UserError(f"{path}: the references of {key!r} are {_short(texts)}, not a list of texts; write {{id: [texts]}}")
    return references


def _coco_results(path: Path, rows: list[Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or "image_id" not in row:
            raise UserError(f"{path}, row {number}, is {_short(row)}; write {{image_id, caption}}, or {{id: text}} for all")
        key = str(row["image_id"])
        if key in result:
            raise UserError(f"{path}, row {number}, is the second one of image {key!r}; give one caption an image")
        result[key] = row.get("caption")
    return result


def _once(path: Path) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    """A JSON hook that rejects duplicate names in an object, because the first value would be lost."""

    def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise UserError(f"{path} holds {twice!r} twice; give every id once")
        return result

    return object_of


def _read(path: Path, shape: str) -> Any:
    try:
        return parse_json(read_text(path), nan=True, object_pairs_hook=_once(path))
    except NotStandard as error:
        raise UserError(f"{path} {error.msg}; write {shape}") from None
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; check the path") from None
    except json_files.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}, is not JSON ({error.msg}); write {shape}") from None


def _short(value: Any) -> str:
    text = json_files.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def calibrate(
    words: ModelAndDataWords = None,
    model: ModelOption = "",
    data: DataOption = "",
    task: UsualTaskOption = "",
    split: Annotated[
        str, typer.Option(help="The split to fit and measure on, never the one trained on. Default: as evaluate.")
    ] = "",
    language: LanguageOption = "",
    tokenizer: TokenizerOption = "auto",
    columns: ColumnsOption = "",
    batch_size: BatchOption = 32,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Make confidence the probability of being right: fit on half of a split, measured on the other half.

    From then on, the confidence of a label or an answer is the probability that it is right; that of a caption is the probability
    that its own cider-2015 is above the median. No answer changes, but which captions have hints; the model's interface.json
    is rewritten. With --language, the fit is for captions in this language alone. ECE is the mean gap between confidence and
    truth, in ten bins.

    Examples:

        braid calibrate runs/photos --data photos.csv --split val

        braid calibrate runs/sentiment --task classification --data posts.csv

        braid calibrate runs/vqa --task vqa --data questions.jsonl --json

        braid calibrate small photos-zh.jsonl --task captioning --language zh
    """
    from braid.api import load
    from braid.bundle import write_task
    from braid.evaluation import calibrate as fit
    from braid.evaluation import predict, prepared
    from braid.tasks import confident

    model, data = model_and_data("calibrate", words, model, data)
    loaded = load(model)
    task = choose_task(loaded, task, USUAL_TASK)
    chosen = confident(loaded.task(task, language=language), "braid calibrate")
    raw = chosen.unfitted
    split, rows = rows_to_score(loaded, open_rows(loaded, data, columns), split)
    samples = [sample for sample in prepared(raw, rows) if sample.targets]
    if not samples:
        message = f"{data}: no row of split {split!r} says what is right in {task}"
        raise UserError(f"{message}; map the column of captions, answers or label with --columns")
    note_trained(loaded, samples, "confidences of them")
    answers = predict(loaded.runtime, loaded.collator, raw, samples, batch_size, watch=with_progress("answering")).some()
    report = fit(chosen, answers, tokenizer, seed)
    write_task(loaded.bundle, report.task)
    if json:
        metrics = {"ece-before": 100 * report.error_before, "ece": 100 * report.error, "num_samples": report.num_samples}
        measured = {"ece-halves": [100 * error for error in report.errors], "bins": [asdict(one) for one in report.bins]}
        print_json({**metrics, **report.settings, **measured})
        return
    cells = [[f"{b.low:.1f} to {b.high:.1f}", b.count, f"{b.confidence:.2f}", f"{b.accuracy:.2f}"] for b in report.bins]
    title = f"Confidence on {report.num_samples} rows of {split}, each by a fit on the half that it is not in"
    print_table(title, ["confidence", "decisions", "mean", "right"], cells, ["decisions", "mean", "right"])
    halves = " and ".join(f"{100 * error:.1f}" for error in report.errors)
    settings = ", ".join(f"{name} {value:.3g}" for name, value in report.settings.items())
    note(f"\nECE {100 * report.error:.1f} ({halves} of the halves; {100 * report.error_before:.1f} before); {settings}")
    if report.error >= report.error_before:
        note("the fit is no better than none on rows that it has not seen; give more rows")


def audit(
    words: ModelAndDataWords = None,
    model: ModelOption = "",
    data: DataOption = "",
    task: TaskOption = "",
    split: SplitOption = "",
    columns: ColumnsOption = "",
    limit: LimitOption = 500,
    batch_size: BatchOption = 32,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Evaluate a model with each input removed, shuffled and corrupted, and report what each input contributes.

    Examples:

        braid audit sentiment --data posts.csv

        braid audit runs/vqa --data questions.jsonl --split test --json
    """
    from braid.api import load
    from braid.explain import audit as examine

    model, data = model_and_data("audit", words, model, data)
    loaded = load(model)
    chosen = loaded.task(choose_task(loaded, task))
    split, examples = rows_to_score(loaded, open_rows(loaded, data, columns), split, limit)
    result = examine(loaded.runtime, loaded.collator, chosen, examples, batch_size, seed, with_progress("auditing"))
    if json:
        print_json({**asdict(result), "ignored": result.ignored, "verdict": result.verdict})
        return
    rows = [
        [
            one.input,
            *(f"{value:.1f}" for value in (one.metric_removed, one.metric_shuffled, one.metric_corrupted)),
            f"{one.shapley:+.1f}",
            f"{100 * one.share:.0f}%",
        ]
        for one in result.inputs
    ]
    metrics = f"{result.metric_all_inputs:.1f}, and {result.metric_no_inputs:.1f} without inputs"
    title = f"{result.metric} on {result.num_samples} rows of {split}: {metrics}"
    names = ["input", "removed", "shuffled", "corrupted", "Shapley value", "share of effect"]
    print_table(title, names, rows, names[1:])
    note(f"\n{model} {result.verdict}")

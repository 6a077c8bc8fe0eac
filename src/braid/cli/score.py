"""braid score: the official metrics on anybody's predictions."""

import json as json_files
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from braid.cli.console import note, print_json, print_table
from braid.cli.options import JsonOption, TokenizerOption
from braid.config import NotStandard, named, parse_json
from braid.errors import UserError
from braid.files import ready, write_whole


def captions(
    predictions: Annotated[Path, typer.Option(help="JSON: {id: text}.")],
    references: Annotated[Path, typer.Option(help="JSON: {id: [texts]}.")],
    tokenizer: TokenizerOption = "ptb",
    per_item: Annotated[Path | None, typer.Option(help="Write {id: {metric: value}} here.")] = None,
    json: JsonOption = False,
) -> None:
    """Score captions (x100) with BLEU, ROUGE-L, CIDEr and METEOR (exact and stem), without Java.

    cider is what coco-caption prints; cider-2015 has neither clipping nor length penalty.

    Examples:

        braid score captions --predictions mine.json --references truth.json

        braid score captions --predictions mine.json --references truth.json --tokenizer characters --json
    """
    from braid.metrics import caption_diversity, score_captions

    if per_item is not None:
        ready(per_item)
    guesses, truths = read_predictions(predictions), read_references(references)
    unscored = [key for key in truths if key not in guesses]
    if unscored and len(unscored) < len(truths):
        note(f"{len(unscored)} ids of {references} have no prediction and are skipped, first {unscored[0]!r}")
        truths = {key: texts for key, texts in truths.items() if key in guesses}
    with named(f"{predictions} against {references}"):
        scores = score_captions(guesses, truths, tokenizer)
    if per_item is not None:
        write_whole(per_item, json_files.dumps(scores.per_sample, ensure_ascii=False, indent=1) + "\n")
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
    """JSON allows a name twice in one object; the first would be lost."""

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
        return parse_json(path.read_text(encoding="utf-8"), nan=True, object_pairs_hook=_once(path))
    except NotStandard as error:
        raise UserError(f"{path} {error.msg}; write {shape}") from None
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; check the path") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except json_files.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}, is not JSON ({error.msg}); write {shape}") from None


def _short(value: Any) -> str:
    text = json_files.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."

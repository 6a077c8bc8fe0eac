"""braid score: the official metrics on anybody's predictions."""

import json as json_files
from pathlib import Path
from typing import Annotated, Any

import typer

from braid.cli.console import note, print_json, print_table
from braid.config import parse_json
from braid.errors import UserError


def captions(
    predictions: Annotated[Path, typer.Option(help="JSON: {id: text}.")],
    references: Annotated[Path, typer.Option(help="JSON: {id: [texts]}.")],
    tokenizer: Annotated[str, typer.Option(help="ptb, characters (Chinese) or none (tokenized already).")] = "ptb",
    per_item: Annotated[Path | None, typer.Option(help="Write {id: {metric: value}} here.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object, metric names as keys.")] = False,
) -> None:
    """Score captions (x100) with BLEU, ROUGE-L, CIDEr, CIDEr-D and METEOR (exact and stem), without Java.

    Examples:

        braid score captions --predictions mine.json --references truth.json

        braid score captions --predictions mine.json --references truth.json --tokenizer characters --json
    """
    from braid.metrics import score_captions

    guesses, truths = read_predictions(predictions), read_references(references)
    unscored = [key for key in truths if key not in guesses]
    if unscored and len(unscored) < len(truths):
        note(f"{len(unscored)} ids of {references} have no prediction and are left out, first {unscored[0]!r}")
        truths = {key: texts for key, texts in truths.items() if key in guesses}
    scores = score_captions(guesses, truths, tokenizer)
    if per_item is not None:
        per_item.write_text(json_files.dumps(scores.items, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    if json:
        print_json({**scores.figures, "num_samples": int(scores.figures["num_samples"])})
        return
    rows = [[name, f"{scores.figures[name]:.2f}", f"{low:.2f} to {high:.2f}"] for name, (low, high) in scores.intervals.items()]
    title = f"{predictions}: {len(guesses)} captions, tokenizer {tokenizer}"
    print_table(title, ["metric", "x100", "95% interval"], rows, ["x100", "95% interval"])


def read_predictions(path: Path) -> dict[str, str]:
    """{id: text}; a list of COCO results ({image_id, caption}) too."""
    found = _read(path, "{id: text}")
    if isinstance(found, list):
        found = {str(row.get("image_id", "")): row.get("caption") for row in found if isinstance(row, dict)}
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no JSON object; write {{id: text}}")
    for key, text in found.items():
        if not isinstance(text, str):
            raise UserError(f"{path}: the prediction of {key!r} is {_short(text)}, not one text; write {{id: text}}")
    return found


def read_references(path: Path) -> dict[str, list[str]]:
    """{id: [texts]}; a single text stands for a list of one."""
    found = _read(path, "{id: [texts]}")
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no JSON object; write {{id: [texts]}}")
    references = {key: [texts] if isinstance(texts, str) else texts for key, texts in found.items()}
    for key, texts in references.items():
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise UserError(f"{path}: the references of {key!r} are {_short(texts)}, not a list of texts; write {{id: [texts]}}")
    return references


def _read(path: Path, shape: str) -> Any:
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; check the path") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except json_files.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}, is not JSON ({error.msg}); write {shape}") from None


def _short(value: Any) -> str:
    text = json_files.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."

"""Shows rows of a data set as cards: the inputs, the model's answer, and the references."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from braid.errors import UserError
from braid.files import file_inside
from braid.modalities import modality_of
from braid.records import Prediction, Sample, View

SHOWN = 12  # rows
SIZE = 320  # pixels of an image's longer side
MOST_REFERENCES = 5


@dataclass(frozen=True)
class ShownRow:
    """One row to show: ``inputs`` by name; ``media`` are generated images and their targets; ``earlier`` has answers by epoch.

    ``answer`` is None if the model gives no text, label or number.
    """

    inputs: Mapping[str, View]
    answer: str | None = None
    confidence: float = 0.0
    references: tuple[str, ...] = ()
    media: tuple[View, ...] = ()
    earlier: tuple[tuple[int, str], ...] = ()


def places(total: int) -> list[int]:
    """Indices of the rows to show: evenly spaced, always the same, and not selected by hand."""
    return [k * total // min(SHOWN, total) for k in range(min(SHOWN, total))]


def input_views(sample: Sample, modalities: Mapping[str, Any]) -> dict[str, View]:
    """Views of a sample's inputs; ``modalities`` are the model's inputs. An input that cannot be read is skipped."""
    views = {}
    for name, value in sample.inputs.items():
        config = modalities[name].config if name in modalities else modality_of(name)
        try:
            views[name] = config.show(value, SIZE, sample.source) if config else View(str(value))
        except UserError:
            continue
    return views


def shown_rows(samples: Sequence[Sample], predictions: Sequence[Prediction], modalities: Mapping[str, Any]) -> list[ShownRow]:
    """Cards of an evaluation's rows."""
    return [
        ShownRow(
            input_views(samples[row], modalities),
            predictions[row].text,
            predictions[row].confidence,
            references_of(samples[row]),
        )
        for row in places(len(samples))
        if predictions[row].text is not None
    ]


def references_of(sample: Sample) -> tuple[str, ...]:
    """A row's references; without any, its target, if that is a label or a number."""
    if sample.references or len(sample.targets) != 1:
        return sample.references
    (target,) = sample.targets.values()
    labels = target if isinstance(target, tuple) else (target,)
    return tuple(str(label) for label in labels if isinstance(label, str | float | int))


def read_view(folder: Path, kept: Mapping[str, Any]) -> View:
    """Read a view as stored in ``samples.jsonl``; media that are missing, or elsewhere, are not shown."""
    file = file_inside(folder, str(kept.get("media", "")))
    media = file.read_bytes() if file is not None else b""
    return View(str(kept.get("text", "")), dict(kept.get("cells", {})), media, str(kept.get("media_type", "")) if media else "")


def cards(rows: Sequence[ShownRow]) -> str:
    """The rows as HTML; an input that is the same in every row, such as a prompt, is left out."""
    names = dict.fromkeys(name for row in rows for name in row.inputs)
    varying = [name for name in names if len(rows) == 1 or len({_content(row.inputs.get(name)) for row in rows}) > 1]
    return "".join(_card(row, varying) for row in rows)


def _content(view: View | None) -> object:
    return view and (view.text, tuple(view.cells.items()), view.media)


def _card(row: ShownRow, names: Sequence[str]) -> str:
    views = [row.inputs[name] for name in names if name in row.inputs]
    images = "".join(view.html() for view in (*views, *row.media) if _is_image(view))
    inputs = "".join(f'<div class="given">{view.html()}</div>' for view in views if not _is_image(view))
    percent = round(100 * row.confidence)
    answer = (
        f'<p class="answer">{escape(row.answer)}</p>'
        f'<p class="sure"><span class="bar"><span style="width:{percent}%"></span></span>{percent}% confidence</p>'
        if row.answer is not None
        else '<p class="sure">target, then generated</p>'
    )
    references = "".join(f"<li>{escape(text)}</li>" for text in row.references[:MOST_REFERENCES])
    answers = "".join(f"<li><b>{epoch + 1}</b> {escape(text)}</li>" for epoch, text in row.earlier if text)
    earlier = f"<details><summary>by epoch</summary><ol>{answers}</ol></details>" if len(row.earlier) > 1 and answers else ""
    return f"<figure>{images}<figcaption>{inputs}{answer}<ul>{references}</ul>{earlier}</figcaption></figure>"


def _is_image(view: View) -> bool:
    return view.media_type.startswith("image/")

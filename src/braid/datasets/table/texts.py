"""The texts and labels of a row: from one cell or several, from lists, and from lists that a program wrote as text.

``notes`` takes what is guessed, once each.
"""

from collections.abc import Mapping
from typing import Any

from braid.datasets.table.cells import listed
from braid.errors import Missing
from braid.modalities.cells import is_empty, text_cell

PART = ", "  # between the parts of one answer
BETWEEN = ("|", ";", ",")  # between the labels of one cell: the first of these that it has


def several(cells: Mapping[str, Any], notes: dict[str, None]) -> tuple[str, ...]:
    """The texts of all cells without empty ones.

    Raises:
        Missing: when all are empty.
    """
    texts = tuple(text for column, value in cells.items() for text in _texts(value, column, notes))
    if not texts:
        raise Missing(f"column {', '.join(cells)!r} is empty; fill it in or remove the row")
    return texts


def joined(cells: Mapping[str, Any], notes: dict[str, None]) -> str:
    """One answer of which the cells have the parts; raises like ``several``."""
    return PART.join(several(cells, notes))


def whole_answers(answer: str, answers: tuple[str, ...]) -> tuple[str, ...]:
    """All people's answers, the usual one first; a single answer if ``answers`` are the parts of ``answer`` ("bed, lamp")."""
    if PART.join(answers) == answer:
        return (answer,)
    others = list(answers)
    if answer in others:
        others.remove(answer)
    return (answer, *others)


def labels(value: Any, column: str, several: bool, notes: dict[str, None]) -> str | tuple[str, ...]:
    """One label, or several from a list or (with ``several``) a cell ``a | b``. An empty list means that the row has no label."""
    value = _listed(value, column, notes, quoted=not several)
    if several and isinstance(value, str) and (between := next((mark for mark in BETWEEN if mark in value), "")):
        value = [part for part in value.split(between) if part.strip()]
        if between != BETWEEN[0]:
            notes[
                f"column {column!r} holds several labels with {between!r} between them (--columns label={column} reads one)"
            ] = None
    if not isinstance(value, list):
        label = _label(value, column)
        return (label,) if several else label
    return tuple(dict.fromkeys(_label(label, column) for label in value if not is_empty(label)))


def _listed(value: Any, column: str, notes: dict[str, None], quoted: bool = False) -> Any:
    """A cell, or the list that its text stands for."""
    result = listed(value, quoted) if isinstance(value, str) else value
    if result is not value and isinstance(result, list):
        notes[f"column {column!r} holds lists, which are read as such"] = None
    return result


def _label(value: Any, column: str) -> str:
    """One label; true and false, as JSON and Parquet write them, are labels like any other."""
    return str(value).lower() if isinstance(value, bool) else text_cell(value, column)


def _texts(value: Any, column: str, notes: dict[str, None]) -> list[str]:
    """The texts of a cell without empty ones: one text, or a list of texts."""
    value = _listed(value, column, notes)
    return [text_cell(one, column) for one in (value if isinstance(value, list) else [value]) if not is_empty(one)]

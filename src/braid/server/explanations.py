"""Why an answer: the one place where the server asks a model to explain itself."""

from collections.abc import Mapping
from threading import Lock
from typing import Any

from braid.api import LoadedModel
from braid.errors import UserError

DIGITS = 3  # of heat

# An explanation listens inside its model, which must not hear the answers that other threads are giving meanwhile.
_LISTENING = Lock()
_COPIES: dict[int, LoadedModel] = {}


def explained(model: LoadedModel, task: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a model says of one answer, as the page draws it: ``{"words": [{"text": ..., "heat": [[...]]}]}``.

    ``heat`` is a grid over the picture, row by row from its upper left corner: how much each place speaks for the word, as a
    share of the most, in 0..1; empty where there is no picture.

    Args:
        task: the one that gave the answer.
        given: the picture, and the question or the text with it.
    Raises:
        UserError: for a model that cannot be looked into.
    """
    if not model.explains:
        raise UserError("this model does not explain its answers; leave explain out")
    with _LISTENING:
        if id(model) not in _COPIES:
            _COPIES[id(model)] = model.apart()
        result = _COPIES[id(model)].explain(**given, task=task, graded=False)
    image = next((one for one in result.inputs if one.boxes is not None), None)
    heats = [[] if image is None else _heat(image.heat_map(k)) for k in range(len(result.outputs))]
    return {"words": [{"text": text, "heat": heat} for text, heat in zip(result.outputs, heats, strict=True)]}


def _heat(scores: Any) -> list[list[float]]:
    most = max(float(scores.max()), 1e-12)
    rows: list[list[float]] = (scores.clip(min=0) / most).round(DIGITS).tolist()
    return rows

"""Why an answer: the one place where the server asks a model to explain itself."""

from collections.abc import Mapping
from typing import Any

from braid.errors import UserError


def can_explain(model: Any) -> bool:
    return hasattr(model, "explain")


def explained(model: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a model says of one answer, as the page draws it: ``{"words": [{"text": ..., "heat": [[...]]}]}``.

    ``heat`` is a grid over the picture, row by row from its upper left corner, each number in 0..1.

    Args:
        given: the picture, and the question or the text with it.
    Raises:
        UserError: for a model that explains nothing.
    """
    if not can_explain(model):
        raise UserError("this model does not explain its answers; leave explain out")
    found: dict[str, Any] = model.explain(**given).words_as_json()
    return found

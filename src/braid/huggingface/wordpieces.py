"""A smaller vocabulary of WordPieces (arXiv:1609.08144) for pretrained models: the most used pieces, all characters.

A tokenizer takes the longest piece that continues a word. A word whose pieces all stay is therefore read as before; any other
word is read as smaller pieces.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from braid.errors import UserError
from braid.modalities import Tokenizer


def most_used(tokenizer: Tokenizer, texts: Iterable[str], number: int, folder: Path) -> Tokenizer:
    """``tokenizer`` with at most ``number`` of its tokens, numbered anew in their old order.

    Special tokens and single characters stay, then the pieces that ``texts`` use most, of equals the one that comes first: so
    pieces that no text uses fill up the rest, BERT's frequent ones before its rare ones.

    Raises:
        UserError: when the tokens are no WordPieces, or ``number`` has no room for those that must stay; ``folder`` is named.
    """
    model = _inside(tokenizer)["model"]
    if model["type"] != "WordPiece":
        raise UserError(
            f"vocab_size is {number}, but the tokenizer in {folder} is {model['type']}, and only WordPieces can be left out; "
            "leave vocab_size at 0"
        )
    places, inner = tokenizer.vocabulary, str(model["continuing_subword_prefix"])
    special = {model["unk_token"], *(token["content"] for token in _inside(tokenizer)["added_tokens"])}
    staying = [piece for piece in places if piece in special or len(piece.removeprefix(inner)) == 1]
    if number < len(staying):
        raise UserError(
            f"vocab_size is {number}, but the special tokens and single characters of the tokenizer in {folder} are "
            f"{len(staying)}; give at least as many"
        )
    used = Counter(token for text in texts for token in tokenizer.encode(text))
    # [unused7] is no word: its own text is read as other pieces.
    words = (piece for piece in places if piece.startswith(inner) or tokenizer.encode(piece) == [places[piece]])
    others = sorted({*words} - {*staying}, key=lambda piece: (-used[places[piece]], places[piece]))
    return _with(tokenizer, [*staying, *others[: number - len(staying)]])


def numbers(part: Tokenizer, whole: Tokenizer) -> list[int]:
    """What number each token of ``part``, in order, has in ``whole``, from which it was made."""
    return [whole.vocabulary[piece] for piece in sorted(part.vocabulary, key=part.vocabulary.__getitem__)]


def renumbered(architecture: dict[str, Any], part: Tokenizer, whole: Tokenizer) -> dict[str, Any]:
    """The architecture of a model that reads ``part`` where it read ``whole``; a token it names that is gone becomes None."""
    new = {old: number for number, old in enumerate(numbers(part, whole))}
    named = {name: new.get(value) for name, value in architecture.items() if name.endswith("_token_id") and type(value) is int}
    return {**architecture, **named, "vocab_size": part.vocab_size}


def _inside(tokenizer: Tokenizer) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(tokenizer.to_json())
    return dict(data.get("tokenizer", data))


def _with(tokenizer: Tokenizer, pieces: Sequence[str]) -> Tokenizer:
    """The tokenizer with these of its tokens alone."""
    places = tokenizer.vocabulary
    new = {piece: number for number, piece in enumerate(sorted(pieces, key=places.__getitem__))}
    data = json.loads(tokenizer.to_json())
    inside = data.get("tokenizer", data)
    inside["model"]["vocab"] = {piece: new[piece] for piece in inside["model"]["vocab"] if piece in new}
    inside["added_tokens"] = [{**token, "id": new[token["content"]]} for token in inside["added_tokens"]]
    inside["post_processor"] = None  # it repeats numbers of special tokens, and Braid frames texts itself
    return Tokenizer.from_json(json.dumps(data, indent=1))

"""Hints: what a model's labels say where its caption is not sure.

An image encoder may know many things that no caption taught, such as the classes of ImageNet. A caption that the model is not
sure of is searched for anew, among those that have the word of a certain label; and a sure label stands beside it.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from braid.config import within
from braid.errors import UserError
from braid.generation import Runtime
from braid.records import Batch, Prediction
from braid.tasks.label_selection import choose

SURE = 0.5  # the confidence from which a label is a hint, and below which a caption needs one
CERTAIN = 0.9  # the probability from which a caption is written anew with the word of a label
HISSING = ("s", "x", "z", "ch", "sh")


@dataclass(frozen=True)
class Hints:
    """Labels that may say what a caption does not.

    Args:
        output: the output that gives them.
        temperature: divides their logits.
        names: the labels in other languages that captions are written in, in the order of the labels.
        words: by language, the words that captions have for each label, in the same order: ``airplane, plane``; "" for none.
            Labels of the same words count together.
    """

    output: str
    temperature: float = 1.0
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    words: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        within(self, 1e-6, 1e6, "temperature")

    def name(self, label: Prediction, language: str) -> str:
        """The name of a label in a language.

        Raises:
            UserError: when the language has names of other labels.
        """
        own = self.names.get(language, tuple(label.scores))
        if len(own) != len(label.scores):
            counts = f"{len(own):,} names in {language!r} for {len(label.scores):,} labels"
            raise UserError(f"interface.json: tasks.captioning.hints has {counts}; copy the model again")
        return own[list(label.scores).index(label.label or "")]

    def missing(self, label: Prediction, language: str, caption: str) -> tuple[str, ...]:
        """The words of which a caption should have one and has none."""
        shares: Counter[str] = Counter()
        for words, score in zip(self.words.get(language, ()), label.scores.values(), strict=False):
            shares[words] += score  # type: ignore[assignment]  # a share of 1
        del shares[""]
        if not shares or max(shares.values()) < CERTAIN:
            return ()
        wanted = forms(shares.most_common(1)[0][0])
        return () if has(caption, wanted) else wanted


def with_hints(
    hints: Hints, runtime: Runtime, batch: Batch, captions: Sequence[Prediction], write: Callable[[Batch], list[Prediction]]
) -> list[Prediction]:
    """The captions of a batch; of those that the model is not sure of, some anew, and with a sure label in ``labels``.

    Args:
        write: writes the captions of a batch.
    """
    result = list(captions)
    unsure = [row for row, one in enumerate(captions) if one.confidence < SURE]
    if not unsure:
        return result
    languages = batch.languages or ("",) * batch.size
    labels = dict(zip(unsure, choose(runtime, hints.output, batch.rows(unsure), hints.temperature), strict=True))
    missing = {row: hints.missing(label, languages[row], result[row].text or "") for row, label in labels.items()}
    wanted = {row: words for row, words in missing.items() if words}
    if wanted:
        for row, one in zip(wanted, write(replace(batch.rows(list(wanted)), words=tuple(wanted.values()))), strict=True):
            result[row] = one
    for row, label in labels.items():
        name = hints.name(label, languages[row])
        if label.confidence >= SURE and not _says(result[row].text or "", name):
            result[row] = replace(result[row], labels=(name,))
    return result


def forms(words: str) -> tuple[str, ...]:
    """The words of ``airplane, plane``, and of English nouns the plurals."""
    return tuple(form for word in words.split(", ") for form in ((word, _plural(word)) if word.isascii() else (word,)))


def has(caption: str, words: Sequence[str]) -> bool:
    """Whether a caption has one of the words."""
    return any(re.search(rf"\b{re.escape(word)}\b", caption) if word.isascii() else word in caption for word in words)


def _plural(word: str) -> str:
    return f"{word}es" if word.endswith(HISSING) else f"{word}s"


def _says(caption: str, label: str) -> bool:
    """Whether a caption has a word of a label; where words are not apart, its last character: the cat of a tabby cat."""
    if not label.isascii():
        return label[-1:] in caption
    return has(caption.lower(), forms(", ".join(re.findall(r"\w+", label.lower()))))

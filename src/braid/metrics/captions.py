"""Captions against references: BLEU, ROUGE-L, METEOR, CIDEr and diversity, as coco-caption computes them, without Java.

``score_captions`` gives all of them with intervals; the metrics themselves follow below it.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from heapq import heapify, heappop, heappush
from itertools import chain, islice, pairwise
from typing import Any

import numpy as np

from braid.config import did_you_mean
from braid.errors import UserError
from braid.metrics.statistics import interval
from braid.shapes import Float

Counts = Counter[tuple[str, ...]]

# What coco-caption drops after the Penn Treebank tokenizer.
DROPPED = frozenset({"''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"})
BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
PAIRS = {"cannot": "can not", "gonna": "gon na", "gotta": "got ta", "wanna": "wan na", "lemme": "lem me", "gimme": "gim me"}
_QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "..."})
# Format characters and variation selectors, which nobody sees; a zero-width space separates words as a space does.
_INVISIBLE = re.compile("[\u00ad\u200c-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]")
_ZERO_WIDTH_SPACE = "\u200b"
ORDER = 4
SIGMA = 6.0  # of the penalty on lengths that differ, in words
BLEUS = ("bleu-1", "bleu-2", "bleu-3", "bleu-4")  # of the whole corpus
AVERAGED = ("rouge-l", "cider", "cider-2015", "meteor-exact-stem")  # means over items
_UNSPACED = re.compile(  # kana and Chinese characters; Thai and Lao; Burmese; Khmer
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"
)
BLEU_ORDER = 4
FIRST = 1000  # references from which the tokenizer is chosen
ROUGE_BETA = 1.2  # recall counts beta times as much as precision


def ptb(text: str) -> list[str]:
    """Lower-case words as the Penn Treebank tokenizer splits them, without punctuation, as in coco-caption.

    In other scripts, too, a word is a run of letters with their marks: vowel signs, vocalisation, accents.
    """
    clitic, word = _ptb_patterns("" if text.isascii() else _marks())
    text = clitic.sub(r" \1", _composed(text.lower()).translate(_QUOTES).replace('"', " '' "))
    tokens = [BRACKETS.get(token, token) for token in word.findall(text)]
    return [part for token in tokens if token not in DROPPED for part in PAIRS.get(token, token).split()]


def characters(text: str) -> list[str]:
    """Every character with its marks, except spaces, for languages that are written without spaces, such as Chinese and Thai."""
    return _clusters().findall(_composed(text))


def none(text: str) -> list[str]:
    """Split at white space only, for text that is already tokenized."""
    return _composed(text).split()


def _composed(text: str) -> str:
    """The text in which equal letters are equal (NFC), without invisible characters."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _INVISIBLE.sub("", text.replace(_ZERO_WIDTH_SPACE, " ")))


@cache
def _ptb_patterns(marks: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What separates contractions, and what finds words; ``marks`` belong to the letter or the symbol before them."""
    word, belonging = rf"\w[\w{marks}]*", f"[{marks}]*" if marks else ""
    return re.compile(rf"(?<=[\w{marks}])(n't|'(?:s|m|d|re|ve|ll))\b"), re.compile(
        r"n't\b|'(?:s|m|d|re|ve|ll)\b"  # what a contraction leaves
        r"|(?:[a-z]\.){2,}|\b(?:mr|mrs|ms|dr|jr|sr|st|vs|prof|etc)\."  # abbreviations keep their period
        rf"|{word}(?:(?:[-'/@&]|(?<=\d)[.,:](?=\d)){word})*"  # words, hyphenated ones, numbers such as 1,000 and 3.5
        rf"|\.\.\.|--|[^\s\w{marks}]{belonging}"
    )


@cache
def _clusters() -> re.Pattern[str]:
    return re.compile(rf"[^\s{_marks()}][{_marks()}]*")


@cache
def _marks() -> str:
    """All combining marks, for a set in a regular expression, which has no name for them."""
    return "".join(one for one in map(chr, range(0x300, 0x1F000)) if unicodedata.category(one).startswith("M"))


TOKENIZERS: dict[str, Callable[[str], list[str]]] = {"ptb": ptb, "characters": characters, "none": none}


def tokenizer_named(name: str) -> Callable[[str], list[str]]:
    """The tokenizer of that name: ``ptb``, ``characters`` or ``none``.

    Raises:
        UserError: for another name.
    """
    if name not in TOKENIZERS:
        raise UserError(f"there is no tokenizer {name!r}; {did_you_mean(name, ['auto', *TOKENIZERS])}")
    return TOKENIZERS[name]


def chosen_tokenizer(name: str, references: Iterable[str]) -> str:
    """``auto`` becomes ``characters`` for references in scripts without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese),
    else ``ptb``."""
    if name != "auto":
        return name
    some = "".join(islice(references, FIRST))
    letters = sum(character.isalpha() for character in some)
    return "characters" if 2 * len(_UNSPACED.findall(some)) > letters else "ptb"


def caption_remarks(references: Sequence[Sequence[str]], tokenizer: str = "auto") -> list[str]:
    """What the caption metrics of these items cannot say; ``references`` are those of each item."""
    texts = list(chain.from_iterable(references))
    name, remarks = chosen_tokenizer(tokenizer, texts), []
    spaced = sum(len(text.split()) > 1 for text in texts)
    if name == "ptb" and 2 * spaced < len(texts) and chosen_tokenizer("auto", texts) == "characters":
        remarks.append("most references have no spaces, and ptb takes each as one word; use --tokenizer characters")
    split = tokenizer_named(name)
    grams = (set(chain.from_iterable(ngram_counts(split(text)) for text in item)) for item in references)
    first = next(grams, set())
    if all(other == first for other in grams):  # no n-gram is rarer than another, so each weighs log(1)
        items = "a single item" if len(references) == 1 else f"{len(references)} items with the same references"
        remarks.append(f"cider is 0 for all captions of {items}, because it weighs words by how rare they are")
    return remarks


def ngram_counts(words: Sequence[str], longest: int = 4) -> Counts:
    """How often each n-gram of 1 to ``longest`` words occurs."""
    return Counter(tuple(words[i : i + n]) for n in range(1, longest + 1) for i in range(len(words) - n + 1))


@dataclass(frozen=True)
class TfIdf:
    """The tf-idf weights of one text's n-grams, their norm by order, and the text's length in bigrams (as coco-caption counts
    it)."""

    weights: dict[tuple[str, ...], float]
    norms: tuple[float, ...]
    length: int


class Cider:
    """CIDEr with document frequencies that are taken once from a corpus of references."""

    def __init__(self, corpus: Iterable[Sequence[Counts]]) -> None:
        """``corpus`` holds each item's references; an n-gram's document frequency is the number of items that have it."""
        self._documents: Counter[tuple[str, ...]] = Counter()
        items = 0
        for references in corpus:
            items += 1
            self._documents.update({gram for reference in references for gram in reference})
        self._log_items = math.log(max(items, 1))

    def vector(self, counts: Counts) -> TfIdf:
        """The tf-idf vector of a text: count x log(items / document frequency) for each n-gram."""
        weights = {gram: count * (self._log_items - math.log(max(1, self._documents[gram]))) for gram, count in counts.items()}
        squares = [0.0] * ORDER
        for gram, weight in weights.items():
            squares[len(gram) - 1] += weight * weight
        length = sum(count for gram, count in counts.items() if len(gram) == 2)
        return TfIdf(weights, tuple(math.sqrt(square) for square in squares), length)

    def cider(self, candidate: TfIdf, references: Sequence[TfIdf]) -> float:
        """CIDEr as coco-caption prints it (CIDEr-D), in 0..10, higher is better.

        10 x the mean, over references and orders 1 to 4, of the cosine with clipped weights times
        exp(-(difference of lengths)^2 / (2 x 6^2)). Repeated words and odd lengths do not raise it.
        """
        return 10 * sum(_cosine(candidate, r, clipped=True) * _length_penalty(candidate, r) for r in references) / len(references)

    def cider_2015(self, candidate: TfIdf, references: Sequence[TfIdf]) -> float:
        """The first CIDEr of the paper, in 0..10, higher is better: 10 x the mean cosine over references and orders 1 to 4."""
        return 10 * sum(_cosine(candidate, reference, clipped=False) for reference in references) / len(references)


def _cosine(candidate: TfIdf, reference: TfIdf, clipped: bool) -> float:
    """The mean cosine over orders; ``clipped`` limits a candidate's weight to the reference's."""
    products = [0.0] * ORDER
    for gram, weight in candidate.weights.items():
        other = reference.weights.get(gram)
        if other is not None:
            products[len(gram) - 1] += (min(weight, other) if clipped else weight) * other
    norms = [own * other for own, other in zip(candidate.norms, reference.norms, strict=True)]
    return sum(product / norm for product, norm in zip(products, norms, strict=True) if norm) / ORDER


def _length_penalty(candidate: TfIdf, reference: TfIdf) -> float:
    return math.exp(-((candidate.length - reference.length) ** 2) / (2 * SIGMA**2))


TINY, SMALL = 1e-15, 1e-9  # coco-caption's smoothing: an item without a match scores almost zero, not zero
METEOR_ALPHA, METEOR_BETA, METEOR_GAMMA = 0.9, 3.0, 0.5  # of the original metric (Lavie & Agarwal 2007)


@dataclass(frozen=True)
class CaptionScores:
    """Caption metrics of a corpus and of each item, x100; higher is better. CIDEr goes up to 10, so x100 up to 1000."""

    ids: tuple[str, ...]
    bleu_statistics: Float[np.ndarray, "items statistics"]
    averaged: Float[np.ndarray, "items metrics"]  # those of AVERAGED, x100

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Metric -> value over the corpus, x100; and ``num_samples``."""
        corpus = [*(100 * bleu(self.bleu_statistics.sum(0))), *self.averaged.mean(0)]
        values = {name: float(value) for name, value in zip((*BLEUS, *AVERAGED), corpus, strict=True)}
        return {**values, "num_samples": float(len(self.ids))}

    @cached_property
    def per_sample(self) -> dict[str, dict[str, float]]:
        """id -> metric -> value of that item alone, x100; CIDEr's document frequencies are those of the corpus."""
        rows = np.concatenate([100 * bleu(self.bleu_statistics), self.averaged], 1)
        return {key: dict(zip((*BLEUS, *AVERAGED), row.tolist(), strict=True)) for key, row in zip(self.ids, rows, strict=True)}

    def column(self, metric: str) -> Float[np.ndarray, " items"]:
        """One metric of ``AVERAGED`` of each item, x100."""
        return self.averaged[:, AVERAGED.index(metric)]

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Metric -> 95% bootstrap interval over items; CIDEr's document frequencies stay those of the corpus."""
        result = {name: interval(self.bleu_statistics, lambda s, k=k: 100 * bleu(s)[:, k]) for k, name in enumerate(BLEUS)}  # type: ignore[misc]
        return result | {name: interval(self.averaged[:, [k]], lambda m: m[:, 0]) for k, name in enumerate(AVERAGED)}


def score_captions(
    predictions: Mapping[str, str], references: Mapping[str, Sequence[str]], tokenizer: str = "auto"
) -> CaptionScores:
    """Score one text for each id against the references of that id.

    Raises:
        UserError: when the ids differ, an id has no reference, or there are no predictions.
    """
    _check(predictions, references)
    split = tokenizer_named(chosen_tokenizer(tokenizer, chain.from_iterable(references.values())))
    words = {key: [split(text) for text in texts] for key, texts in references.items()}
    counts = {key: [ngram_counts(reference) for reference in texts] for key, texts in words.items()}
    corpus = Cider(counts.values())
    rows, averaged = [], []
    for key, text in predictions.items():
        candidate, given = split(text), words[key]
        grams = ngram_counts(candidate)
        rows.append(bleu_statistics(grams, len(candidate), counts[key], [len(reference) for reference in given]))
        vector, others = corpus.vector(grams), [corpus.vector(reference) for reference in counts[key]]
        ciders = corpus.cider(vector, others), corpus.cider_2015(vector, others)
        averaged.append([100 * value for value in (rouge_l(candidate, given), *ciders, meteor(candidate, given))])
    return CaptionScores(tuple(predictions), np.array(rows), np.array(averaged))


def _check(predictions: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> None:
    if not predictions:
        raise UserError("there are no predictions to score")
    for has, lacks, what in ((predictions, references, "no references"), (references, predictions, "no prediction")):
        missing = [key for key in has if key not in lacks]
        if missing:
            raise UserError(f"ids with {what}: {len(missing)}, first {missing[0]!r}; give both for the same ids")
    for key, texts in references.items():
        if isinstance(texts, str) or not texts:
            raise UserError(f"the references of {key!r} are {texts!r}; give a list of at least one text")


def caption_diversity(texts: Sequence[str], known: Iterable[str] = (), tokenizer: str = "auto") -> dict[str, float]:
    """How varied captions are, x100; higher is more varied.

    ``distinct-1`` and ``distinct-2`` (see ``distinct``), and ``different``: the share of captions that are different from each
    other. With ``known``, the captions of training, also ``novel``: the share that is none of these.
    """
    split = tokenizer_named(chosen_tokenizer(tokenizer, texts))
    words = [split(text) for text in texts]
    counts = [ngram_counts(one, longest=2) for one in words]
    result = {f"distinct-{order}": distinct(counts, order) for order in (1, 2)}
    result["different"] = len({tuple(one) for one in words}) / max(len(words), 1)
    seen = {tuple(split(text)) for text in known}
    if seen:
        result["novel"] = share_novel(words, seen)
    return {name: 100 * value for name, value in result.items()}


def distinct(counts: Sequence[Counts], order: int) -> float:
    """Distinct n-grams of ``order`` over all n-grams of all texts (distinct-n, arXiv:1510.03055); in 0..1, higher is more
    varied."""
    whole: Counts = Counter()
    for grams in counts:
        whole.update({gram: count for gram, count in grams.items() if len(gram) == order})
    return len(whole) / max(whole.total(), 1)


def share_novel(texts: Sequence[Sequence[str]], known: Collection[tuple[str, ...]]) -> float:
    """The share of texts that do not occur, word for word, in ``known``; in 0..1."""
    return sum(tuple(words) not in known for words in texts) / max(len(texts), 1)


def bleu_statistics(
    candidate: Counts, length: int, references: Sequence[Counts], lengths: Sequence[int]
) -> Float[np.ndarray, " statistics"]:
    """What BLEU adds up over items: clipped matches of each order, candidate n-grams of each order, the candidate's length, and
    the closest reference length."""
    most: Counts = Counter()
    for reference in references:
        most |= reference
    matches = np.zeros(BLEU_ORDER)
    for gram, count in candidate.items():
        matches[len(gram) - 1] += min(count, most[gram])
    guesses = [max(0, length - n) for n in range(BLEU_ORDER)]
    closest = min(lengths, key=lambda other: (abs(other - length), other))
    return np.array([*matches, *guesses, length, closest], dtype=np.float64)


def bleu(statistics: Float[np.ndarray, "*rows statistics"]) -> Float[np.ndarray, "*rows order"]:
    """BLEU-1 to BLEU-4 (Papineni et al. 2002), in 0..1, higher is better; ``statistics`` are one item's or their sum.

    The geometric mean of the clipped precisions of n-grams, times exp(1 - reference length / length) for texts that are too
    short; with the smoothing of coco-caption.
    """
    matches, guesses = statistics[..., :BLEU_ORDER], statistics[..., BLEU_ORDER : 2 * BLEU_ORDER]
    precisions = (matches + TINY) / (guesses + SMALL)
    means = np.cumprod(precisions, -1) ** (1 / np.arange(1, BLEU_ORDER + 1))
    ratio = (statistics[..., -2:-1] + TINY) / (statistics[..., -1:] + SMALL)
    return np.asarray(means * np.where(ratio < 1, np.exp(1 - 1 / ratio), 1.0))


def rouge_l(candidate: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """ROUGE-L (Lin 2004), in 0..1, higher is better: the F-measure, with beta 1.2, of the longest common subsequence. As in
    coco-caption, precision and recall are each the best over all references."""
    common = [longest_common(candidate, reference) for reference in references]
    precision = max(common) / max(len(candidate), 1)
    recall = max(c / max(len(reference), 1) for c, reference in zip(common, references, strict=True))
    if not precision or not recall:
        return 0.0
    return (1 + ROUGE_BETA**2) * precision * recall / (recall + ROUGE_BETA**2 * precision)


def longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for place, other in enumerate(second, 1):
            diagonal, row[place] = row[place], diagonal + 1 if word == other else max(row[place], row[place - 1])
    return row[-1]


def meteor(candidate: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """METEOR (Lavie & Agarwal 2007) from exact and stem matches, in 0..1, higher is better: the best over the references.

    It needs no Java because it leaves out synonyms and paraphrases; so it is called ``meteor-exact-stem``, and its values do
    not compare with those of coco-caption.
    """
    own = Counter(map(stem, candidate))
    most = [(_f_mean((own & Counter(map(stem, one))).total(), candidate, one), one) for one in references]
    best = 0.0
    for bound, reference in sorted(most, key=lambda pair: -pair[0]):
        if bound <= best:  # without an alignment, which takes long: no other reference can be better
            break
        best = max(best, _meteor_of_one(candidate, reference))
    return best


def _meteor_of_one(candidate: Sequence[str], reference: Sequence[str]) -> float:
    """The mean of precision and recall, lowered by up to half where the matches fall apart into many chunks."""
    matches, chunks = aligned(candidate, reference)
    fallen = (chunks / matches) ** METEOR_BETA if matches else 0.0
    return _f_mean(matches, candidate, reference) * (1 - METEOR_GAMMA * fallen)


def _f_mean(matches: int, candidate: Sequence[str], reference: Sequence[str]) -> float:
    """P R / (0.9 P + 0.1 R)."""
    if not matches:
        return 0.0
    precision, recall = matches / len(candidate), matches / len(reference)
    return precision * recall / (METEOR_ALPHA * precision + (1 - METEOR_ALPHA) * recall)


def aligned(candidate: Sequence[str], reference: Sequence[str]) -> tuple[int, int]:
    """Matched words and the chunks they form: longest common runs first, by word, then by stem."""
    links: dict[int, int] = {}
    for own, other in ((list(candidate), list(reference)), ([stem(w) for w in candidate], [stem(w) for w in reference])):
        _link_runs(own, other, links)
    places = sorted(links.items())
    breaks = sum((b[0] - a[0], b[1] - a[1]) != (1, 1) for a, b in pairwise(places))
    return len(links), breaks + bool(links)


def _link_runs(own: Sequence[str], other: Sequence[str], links: dict[int, int]) -> None:
    """Link runs of equal words that no link uses yet: the longest first, then the one that ends first."""
    taken = set(links.values())
    waiting = [(-length, i + length, j + length) for i, j, length in _runs(own, other, links, taken)]
    heapify(waiting)
    while waiting:
        minus, i_end, j_end = heappop(waiting)
        start = 0  # of what is left of the run, where a longer one took a part of it
        pairs = [(i_end + minus + k, j_end + minus + k) for k in range(-minus)]
        free = [i not in links and j not in taken for i, j in pairs]
        if all(free):
            links.update(pairs)
            taken.update(j for _, j in pairs)
            continue
        for stop in [k for k, is_free in enumerate(free) if not is_free] + [len(free)]:
            if stop > start:
                heappush(waiting, (start - stop, i_end + minus + stop, j_end + minus + stop))
            start = stop + 1


def _runs(
    own: Sequence[str], other: Sequence[str], links: Mapping[int, int], taken: Collection[int]
) -> Iterator[tuple[int, int, int]]:
    """All runs of equal words that no link uses, as long as they go: start in each text, and length."""
    places: dict[str, list[int]] = {}
    for j, word in enumerate(other):
        places.setdefault(word, []).append(j)

    def equal(i: int, j: int) -> bool:
        return 0 <= i < len(own) and 0 <= j < len(other) and own[i] == other[j] and i not in links and j not in taken

    for i, word in enumerate(own):
        for j in places.get(word, ()):
            if equal(i, j) and not equal(i - 1, j - 1):
                length = 1
                while equal(i + length, j + length):
                    length += 1
                yield i, j, length


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """The stem of a word by Porter's algorithm."""
    return str(_porter().stemWord(word))


@cache
def _porter() -> Any:
    import snowballstemmer  # here, because captioning imports this module and scores nothing

    return snowballstemmer.stemmer("porter")

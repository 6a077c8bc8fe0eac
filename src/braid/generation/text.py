"""Greedy decoding, beam search and sampling of texts, through the decode protocol. Independent of the runtime."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from unicodedata import category
from zlib import crc32

import numpy as np

from braid.errors import UserError
from braid.generation.protocol import Decoder, GenerationConfig
from braid.modalities import SpecialTokens, Tokenizer
from braid.records import Batch, Prediction
from braid.shapes import Float, Int

NEVER = -np.inf
BANKS = 3  # of texts, where words are wanted
MET = 2  # the bank of texts that have one
BLOCK = 128  # scores per block


@dataclass(frozen=True)
class Generated:
    """One generated text. ``token_probabilities`` has the model's probability of each token, and of <eos> if it was reached."""

    tokens: tuple[int, ...]
    token_probabilities: tuple[float, ...]
    score: float  # the score that ranks beams: log-probability / length ** length_penalty

    @property
    def confidence(self) -> float:
        """Mean token probability, in 0..1."""
        return float(np.mean(self.token_probabilities)) if self.token_probabilities else 0.0


Words = Sequence[Sequence[int]]  # of which a text has to have one, as tokens; () asks for none


def generate(
    decoder: Decoder,
    batch: Batch,
    config: GenerationConfig,
    prefixes: Sequence[Sequence[int]] | None = None,
    words: Sequence[Words] | None = None,
) -> list[Generated]:
    """Generate one text per row; a row's text does not depend on the other rows of its batch.

    Args:
        prefixes: the first tokens of each row's text; the result does not include them.
        words: each row's text has to have one of its words, for which it is searched with beams; () asks for none.
    """
    starts = [list(prefix) for prefix in prefixes] if prefixes is not None else [[] for _ in batch.ids]
    assert len(starts) == batch.size
    if config.method == "beam" or words:
        return _beam(decoder, batch, config, starts, words or [()] * batch.size)
    return _one_by_one(decoder, batch, config, starts)


def _one_by_one(decoder: Decoder, batch: Batch, config: GenerationConfig, starts: list[list[int]]) -> list[Generated]:
    """Greedy decoding and sampling: one text per row, one token per step."""
    rngs = [np.random.default_rng((config.seed, crc32(identity.encode(errors="surrogatepass")))) for identity in batch.ids]
    state = decoder.start(batch)
    texts = [_Text(decoder.special.eos) for _ in batch.ids]
    tokens = _first(decoder, batch)
    for position in range(config.max_length + max(map(len, starts), default=0)):
        logits, state = decoder.step(tokens, state)
        logs = _allowed(logits[:, 0], [position - len(start) for start in starts], config, decoder.special)
        tokens = tokens.copy()  # a state may keep a reference to the array
        for row, text in enumerate(texts):
            if position < len(starts[row]):
                tokens[row, 0] = starts[row][position]
            elif not text.ended and len(text.tokens) < config.max_length:
                logs[row, text.repeated(config.no_repeat)] = NEVER
                chosen = int(logs[row].argmax()) if config.method == "greedy" else _drawn(logs[row], config, rngs[row])
                text.add(chosen, float(logs[row, chosen]))
                tokens[row, 0] = chosen
        if all(text.ended or len(text.tokens) >= config.max_length for text in texts):
            break
    return [text.generated(config) for text in texts]


def _first(decoder: Decoder, batch: Batch) -> Int[np.ndarray, "batch 1"]:
    bos = decoder.special.bos
    assert bos is not None  # a tokenizer for generated texts has a begin token
    return np.full((batch.size, 1), bos, dtype=np.int64)


@dataclass
class _Text:
    """An unfinished text: the token that ends it, its tokens and their log-probabilities.

    ``due``: the tokens of a wanted word that come next; () if nothing is wanted any more, None if no word has begun.
    """

    eos: int
    tokens: list[int] = field(default_factory=list)
    logs: list[float] = field(default_factory=list)
    due: Sequence[int] | None = ()

    @property
    def ended(self) -> bool:
        return bool(self.tokens) and self.tokens[-1] == self.eos

    @property
    def log_probability(self) -> float:
        return sum(self.logs, 0.0)

    def add(self, token: int, log: float) -> None:
        self.tokens.append(token)
        self.logs.append(log)

    @property
    def bank(self) -> int:
        """Texts without a wanted word, in the middle of one, and with one: each are compared among themselves."""
        return 0 if self.due is None else 1 if self.due else MET

    def extended(self, token: int, log: float, due: Sequence[int] | None) -> "_Text":
        return _Text(self.eos, [*self.tokens, token], [*self.logs, log], due)

    def repeated(self, size: int) -> list[int]:
        """The tokens that would repeat ``size`` tokens of the text; 0 has none."""
        last = len(self.tokens) - size + 1  # where the tokens begin that the next one completes
        if not size or last < 0:
            return []
        begun = self.tokens[last:]
        return [self.tokens[k + size - 1] for k in range(last) if self.tokens[k : k + size - 1] == begun]

    def score(self, config: GenerationConfig) -> float:
        return self.log_probability / float(max(len(self.tokens), 1) ** config.length_penalty)

    def generated(self, config: GenerationConfig) -> Generated:
        written = tuple(token for token in self.tokens if token != self.eos)
        return Generated(written, tuple(float(np.exp(log)) for log in self.logs), self.score(config))


@dataclass
class _Row:
    """One row of a beam search: the given prefix, unfinished texts, the wanted words, and the best finished text."""

    start: list[int]
    live: list[_Text]
    words: Words = ()
    best: _Text | None = None
    done: bool = False

    def end(self, text: _Text, config: GenerationConfig) -> None:
        if self.best is None or text.score(config) > self.best.score(config):
            self.best = text

    def settle(self, config: GenerationConfig) -> None:
        """Finish the row when no unfinished text can beat the best one: more tokens only lower a log-probability."""
        if self.best is None:
            return
        hope = max((text.log_probability for text in self.live), default=NEVER)
        self.done = hope / config.max_length**config.length_penalty <= self.best.score(config)


def _beam(
    decoder: Decoder, batch: Batch, config: GenerationConfig, starts: list[list[int]], words: Sequence[Words]
) -> list[Generated]:
    """Beam search; the state's group is 1 until the first free choice, then ``config.beam``, or that for each bank of texts where
    words are wanted (Anderson et al., EMNLP 2017, arXiv:1612.00576)."""
    state = decoder.start(batch)
    rows = [
        _Row(start, [_Text(decoder.special.eos, due=None if wanted else ())], wanted)
        for start, wanted in zip(starts, words, strict=True)
    ]
    group = config.beam * (BANKS if any(words) else 1)
    tokens = _first(decoder, batch)
    for position in range(config.max_length + max(map(len, starts), default=0)):
        logits, state = decoder.step(tokens, state)
        parents = np.zeros((batch.size, group), dtype=np.int64)
        tokens = np.full((batch.size, group), decoder.special.eos, dtype=np.int64)
        logs = _allowed(logits, [position - len(start) for start in starts], config, decoder.special)
        for row, search in enumerate(rows):
            if position < len(search.start):
                tokens[row] = search.start[position]
            elif not search.done:
                _advance(search, logs[row], parents[row], tokens[row], config)
        if all(search.done for search in rows):
            break
        state = decoder.reorder(state, parents)
    return [(search.best or max(search.live, key=lambda text: text.score(config))).generated(config) for search in rows]


def _advance(
    search: _Row,
    logs: Float[np.ndarray, "group vocab"],
    parents: Int[np.ndarray, " beams"],
    tokens: Int[np.ndarray, " beams"],
    config: GenerationConfig,
) -> None:
    """Extend one row's texts by a token: finished texts are removed; of each bank the ``beam`` most probable others continue."""
    for place, text in enumerate(search.live):
        logs[place, text.repeated(config.no_repeat)] = NEVER
    grown = [*_free(search, logs, config), *_wanted(search, logs)]
    search.live = []
    for bank in sorted({text.bank for _, text in grown}):
        own = sorted((pair for pair in grown if pair[1].bank == bank), key=lambda pair: -pair[1].log_probability)
        kept = 0
        for rank, (parent, text) in enumerate(own):
            if text.ended:
                if rank < config.beam:
                    search.end(text, config)
            elif kept < config.beam:
                parents[len(search.live)], tokens[len(search.live)] = parent, text.tokens[-1]
                search.live.append(text)
                kept += 1
    if search.live and len(search.live[0].tokens) >= config.max_length:
        whole = [text for text in search.live if text.bank == MET] or search.live
        for text in whole if search.best is None else ():
            search.end(text, config)
        search.done = True
        return
    search.settle(config)


def _free(search: _Row, logs: Float[np.ndarray, "group vocab"], config: GenerationConfig) -> Iterator[tuple[int, _Text]]:
    """The most probable ways to go on with texts that are not in the middle of a wanted word, each with its parent. A text that
    lacks one does not end."""
    vocab = logs.shape[1]
    for bank in (0, MET):
        places = [place for place, text in enumerate(search.live) if text.bank == bank]
        if not places:
            continue
        sums = np.array([search.live[place].log_probability for place in places])
        scores = logs[places] + sums[:, None]
        if bank == 0:
            scores[:, search.live[0].eos] = NEVER
        # Each unfinished text can only end in one way, so twice the beam size always has enough texts that do not end.
        for candidate in likeliest(scores.ravel(), 2 * config.beam):
            row, token = divmod(int(candidate), vocab)
            if scores[row, token] == NEVER:
                break
            parent = search.live[places[row]]
            yield places[row], parent.extended(token, float(logs[places[row], token]), parent.due)


def _wanted(search: _Row, logs: Float[np.ndarray, "group vocab"]) -> Iterator[tuple[int, _Text]]:
    """The texts that begin a wanted word, or go on with it, each with its parent."""
    for place, text in enumerate(search.live):
        for word in search.words if text.due is None else [text.due] if text.due else []:
            yield place, text.extended(word[0], float(logs[place, word[0]]), word[1:])


def _allowed(
    logits: Float[np.ndarray, "batch ... vocab"], written: Sequence[int], config: GenerationConfig, special: SpecialTokens
) -> Float[np.ndarray, "batch ... vocab"]:
    """Log-probabilities without <pad> and <bos>, and without <eos> before ``min_length`` tokens."""
    logits = logits.astype(np.float32)
    for token in {special.pad, special.bos} - {special.eos}:
        logits[..., token] = NEVER
    for row, length in enumerate(written):
        if length < config.min_length:
            logits[row, ..., special.eos] = NEVER
    return log_softmax(logits)


def log_softmax(logits: Float[np.ndarray, "... vocab"]) -> Float[np.ndarray, "... vocab"]:
    """Log-softmax in the precision of the logits, with the sum in double precision."""
    shifted = logits - logits.max(-1, keepdims=True)
    total = np.exp(shifted).sum(-1, keepdims=True, dtype=np.float64)
    return np.asarray(shifted - np.log(total).astype(shifted.dtype))


def likeliest(scores: Float[np.ndarray, " n"], number: int) -> Int[np.ndarray, " found"]:
    """Indices of the ``number`` highest scores, the best first; equal scores in order of index.

    Only scores that reach the ``number``-th highest maximum of a block can be among them. This filter is ten times as fast as a
    partition of all scores.
    """
    blocks = scores[: len(scores) // BLOCK * BLOCK].reshape(-1, BLOCK).max(1)
    floor = np.partition(blocks, -number)[-number] if len(blocks) >= number else NEVER
    places = np.flatnonzero(scores >= floor)
    return places[np.lexsort((places, -scores[places]))][:number]


def _drawn(logs: Float[np.ndarray, " vocab"], config: GenerationConfig, rng: np.random.Generator) -> int:
    """Sample one token with temperature, top-k and top-p (nucleus sampling, arXiv:1904.09751)."""
    order = np.argsort(-logs, kind="stable")[: config.top_k or None]
    probabilities = np.exp(log_softmax(logs[order] / config.temperature))
    before = np.cumsum(probabilities) - probabilities
    kept = probabilities * (before < config.top_p)
    return int(rng.choice(order, p=kept / kept.sum()))


def readable(text: str) -> str:
    """A generated text without control characters, which no caption has: a model put bytes together wrongly."""
    return "".join(one for one in text if one in "\n\t" or category(one) != "Cc").strip()


def write_text(decoder: Decoder, batch: Batch, tokenizer: Tokenizer, config: GenerationConfig) -> list[Prediction]:
    """Generate one text per row; its confidence is the mean probability of its tokens, including <eos>.

    A text in a language begins with the name of the language, which is given to the model and left out of the result. Its tokens
    count among the ``max_length``.
    """
    prefixes = [tokenizer.encode(language) for language in batch.languages]
    words = [[tokenizer.encode(word) for word in row] for row in batch.words]
    if prefixes:
        config = replace(config, max_length=max(1, config.max_length - max(map(len, prefixes))))
    return [
        Prediction(
            identity,
            text=readable(tokenizer.decode(generated.tokens)),
            confidence=generated.confidence,
            token_probabilities=generated.token_probabilities,
        )
        for identity, generated in zip(batch.ids, generate(decoder, batch, config, prefixes or None, words), strict=True)
    ]


def continue_text(
    decoder: Decoder, tokenizer: Tokenizer, text: str, config: GenerationConfig, room: int, language: str = ""
) -> Prediction:
    """``text`` and what follows it: the decoder alone, as a language model.

    Args:
        room: tokens that the decoder reads and writes in all, <bos> and <eos> included.
    Raises:
        UserError: when the text leaves no room.
    """
    given, tokens = tokenizer.encode(language), tokenizer.encode(text)
    most = room - 2 - len(given)
    if len(tokens) >= most:
        raise UserError(f"the text has {len(tokens)} tokens; this model reads and writes at most {most} in all")
    config = replace(config, max_length=min(config.max_length, most + 1 - len(tokens)))
    (result,) = generate(decoder, Batch(("0",), {}), config, [[*given, *tokens]])
    return Prediction("0", tokenizer.decode([*tokens, *result.tokens]), confidence=result.confidence)


def score_text(decoder: Decoder, batch: Batch, name: str) -> list[Prediction]:
    """The probability of every token of the batch's targets ``name`` [batch, group, length], read one step at a time."""
    target = batch.targets[name]
    rows, group, length = target.values.shape
    state = decoder.reorder(decoder.start(batch), np.zeros((rows, group), dtype=np.int64))
    result = np.zeros((rows, group, length - 1))
    for position in range(length - 1):
        logits, state = decoder.step(target.values[..., position], state)
        following = target.values[..., position + 1, None]
        result[..., position] = np.exp(np.take_along_axis(log_softmax(logits), following, axis=-1))[..., 0]
    real = target.mask[..., 1:]
    return [
        Prediction(
            identity, confidence=float(result[row][real[row]].mean()), token_probabilities=tuple(result[row][real[row]].tolist())
        )
        for row, identity in enumerate(batch.ids)
    ]

"""Greedy decoding, beam search and sampling of texts, through the decode protocol. Independent of the runtime."""

from collections.abc import Sequence
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


def generate(
    decoder: Decoder, batch: Batch, config: GenerationConfig, prefixes: Sequence[Sequence[int]] | None = None
) -> list[Generated]:
    """Generate one text per row; a row's text does not depend on the other rows of its batch.

    Args:
        prefixes: the first tokens of each row's text; the result does not include them.
    """
    starts = [list(prefix) for prefix in prefixes] if prefixes is not None else [[] for _ in batch.ids]
    assert len(starts) == batch.size
    if config.method == "beam":
        return _beam(decoder, batch, config, starts)
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
    """An unfinished text: the token that ends it, its tokens and their log-probabilities."""

    eos: int
    tokens: list[int] = field(default_factory=list)
    logs: list[float] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        return bool(self.tokens) and self.tokens[-1] == self.eos

    @property
    def log_probability(self) -> float:
        return sum(self.logs, 0.0)

    def add(self, token: int, log: float) -> None:
        self.tokens.append(token)
        self.logs.append(log)

    def extended(self, token: int, log: float) -> "_Text":
        return _Text(self.eos, [*self.tokens, token], [*self.logs, log])

    def score(self, config: GenerationConfig) -> float:
        return self.log_probability / float(max(len(self.tokens), 1) ** config.length_penalty)

    def generated(self, config: GenerationConfig) -> Generated:
        written = tuple(token for token in self.tokens if token != self.eos)
        return Generated(written, tuple(float(np.exp(log)) for log in self.logs), self.score(config))


@dataclass
class _Row:
    """One row of a beam search: unfinished texts, the best finished text, and the given prefix."""

    start: list[int]
    live: list[_Text]
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


def _beam(decoder: Decoder, batch: Batch, config: GenerationConfig, starts: list[list[int]]) -> list[Generated]:
    """Beam search; the state's group is 1 until the first free choice, then ``config.beam``."""
    state = decoder.start(batch)
    rows = [_Row(start, [_Text(decoder.special.eos)]) for start in starts]
    tokens = _first(decoder, batch)
    for position in range(config.max_length + max(map(len, starts), default=0)):
        logits, state = decoder.step(tokens, state)
        parents = np.zeros((batch.size, config.beam), dtype=np.int64)
        tokens = np.full((batch.size, config.beam), decoder.special.eos, dtype=np.int64)
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
    parents: Int[np.ndarray, " beam"],
    tokens: Int[np.ndarray, " beam"],
    config: GenerationConfig,
) -> None:
    """Extend one row's texts by a token: finished texts are removed, and the ``beam`` most probable others continue."""
    beam, vocab = config.beam, logs.shape[1]
    sums = np.array([text.log_probability for text in search.live])
    ranked = (logs[: len(search.live)] + sums[:, None]).ravel()
    # Each unfinished text can only end in one way, so twice the beam size always has enough texts that do not end.
    top = likeliest(ranked, 2 * beam)
    old, search.live = search.live, []
    for rank, candidate in enumerate(top):
        parent, token = divmod(int(candidate), vocab)
        if ranked[candidate] == NEVER:
            break
        grown = old[parent].extended(token, float(logs[parent, token]))
        if grown.ended:
            if rank < beam:
                search.end(grown, config)
        elif len(search.live) < beam:
            parents[len(search.live)], tokens[len(search.live)] = parent, token
            search.live.append(grown)
    if search.live and len(search.live[0].tokens) >= config.max_length:
        for text in search.live if search.best is None else ():
            search.end(text, config)
        search.done = True
        return
    search.settle(config)


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
    if prefixes:
        config = replace(config, max_length=max(1, config.max_length - max(map(len, prefixes))))
    return [
        Prediction(
            identity,
            text=readable(tokenizer.decode(generated.tokens)),
            confidence=generated.confidence,
            token_probabilities=generated.token_probabilities,
        )
        for identity, generated in zip(batch.ids, generate(decoder, batch, config, prefixes or None), strict=True)
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

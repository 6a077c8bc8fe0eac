"""Generation against exhaustive search, on a decoder small enough to enumerate: a random table of next-token logits."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from braid.errors import UserError
from braid.generation import GenerationConfig, generate, likeliest, log_softmax
from braid.generation.text import readable
from braid.modalities import SpecialTokens
from braid.modalities.text.tokenizer import BOS, EOS, PAD
from braid.records import Batch

VOCAB = 7


class TableDecoder:
    """Logits of the next token depend on the row and the last two tokens; the state is each beam's last token."""

    def __init__(self, seed: int = 0, eos: float = 0.0) -> None:
        self.table = np.random.default_rng(seed).normal(size=(10, VOCAB, VOCAB, VOCAB)).astype(np.float32) * 2
        self.table[..., EOS] += eos
        self.steps = 0
        self.special = SpecialTokens()

    def start(self, batch: Batch) -> dict[str, np.ndarray]:
        rows = np.array([int(identity) for identity in batch.ids])
        return {"memory.row": rows, "cache.last": np.zeros((batch.size, 1), np.int64)}

    def step(self, tokens: np.ndarray, state: dict[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        self.steps += 1
        assert tokens.shape == state["cache.last"].shape
        logits = self.table[state["memory.row"][:, None], state["cache.last"], tokens]
        return logits, {**state, "cache.last": tokens}

    def reorder(self, state: dict[str, np.ndarray], parents: np.ndarray) -> dict[str, np.ndarray]:
        return {**state, "cache.last": state["cache.last"][np.arange(len(parents))[:, None], parents]}

    def logs(self, row: int, text: Sequence[int], min_length: int = 0) -> list[float]:
        """Log-probabilities of a whole text, by the rules that generation states."""
        read = [PAD, BOS, *text]
        result = []
        for position, token in enumerate(text):
            logits = self.table[row, read[position], read[position + 1]].astype(np.float64)
            logits[[PAD, BOS]] = -np.inf
            if position < min_length:
                logits[EOS] = -np.inf
            result.append(float(log_softmax(logits)[token]))
        return result


def batch(*rows: int) -> Batch:
    return Batch(tuple(str(row) for row in rows), {})


def best_by_enumeration(
    decoder: TableDecoder, row: int, config: GenerationConfig, allowed: Callable[[Sequence[int]], bool] = lambda text: True
) -> tuple[int, ...]:
    words = range(EOS + 1, VOCAB)
    every = (text for length in range(1, config.max_length) for text in itertools.product(words, repeat=length))
    texts = [(*text, EOS) for text in every if allowed(text)]
    return max(texts, key=lambda text: sum(decoder.logs(row, text, 1)) / len(text) ** config.length_penalty)


@pytest.mark.parametrize("length_penalty", [0.0, 0.7, 1.0])
def test_a_wide_beam_finds_the_best_text_there_is(length_penalty: float) -> None:
    decoder = TableDecoder(eos=1.0)
    config = GenerationConfig(beam=300, length_penalty=length_penalty, max_length=5)
    for row, result in enumerate(generate(decoder, batch(*range(6)), config)):
        best = best_by_enumeration(decoder, row, config)
        assert (*result.tokens, EOS) == best
        assert result.score == pytest.approx(sum(decoder.logs(row, best, 1)) / len(best) ** length_penalty)


WORDS = ([4, 5], [6])  # one of two tokens, one of one


def repeats(text: Sequence[int], size: int) -> bool:
    parts = [tuple(text[k : k + size]) for k in range(len(text) - size + 1)]
    return len(set(parts)) < len(parts)


@pytest.mark.parametrize("size", [1, 2])
def test_a_wide_beam_finds_the_best_text_that_repeats_nothing(size: int) -> None:
    decoder = TableDecoder()
    config = GenerationConfig(beam=300, max_length=6, no_repeat=size)
    found = [result.tokens for result in generate(decoder, batch(*range(10)), config)]
    for row, tokens in enumerate(found):
        assert (*tokens, EOS) == best_by_enumeration(decoder, row, config, lambda text: not repeats(text, size))


@pytest.mark.parametrize("method", ["greedy", "sample", "beam"])
def test_no_method_repeats(method: Literal["greedy", "sample", "beam"]) -> None:
    config = GenerationConfig(method=method, max_length=12, no_repeat=2)
    results = [result.tokens for result in generate(TableDecoder(eos=-9.0), batch(*range(10)), config)]
    assert not any(repeats(tokens, 2) for tokens in results)
    free = [result.tokens for result in generate(TableDecoder(eos=-9.0), batch(*range(10)), replace(config, no_repeat=0))]
    assert any(repeats(tokens, 2) for tokens in free)


def has_word(text: Sequence[int]) -> bool:
    return any(list(text[place : place + len(word)]) == word for word in WORDS for place in range(len(text)))


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_a_wide_beam_finds_the_best_text_that_has_a_word(length_penalty: float) -> None:
    decoder = TableDecoder(eos=1.0)
    config = GenerationConfig(beam=300, length_penalty=length_penalty, max_length=5)
    wanted = generate(decoder, batch(*range(6)), config, words=[WORDS] * 6)
    free = generate(decoder, batch(*range(6)), config)
    for row, (result, other) in enumerate(zip(wanted, free, strict=True)):
        best = best_by_enumeration(decoder, row, config, has_word)
        assert (*result.tokens, EOS) == best
        assert result == other or not has_word(other.tokens)
    assert any(not has_word(other.tokens) for other in free)


@pytest.mark.parametrize("beam", [1, 2, 3])
def test_a_narrow_beam_writes_a_wanted_word_and_leaves_other_rows_alone(beam: int) -> None:
    decoder = TableDecoder(5, eos=0.5)
    config = GenerationConfig(beam=beam, max_length=8)
    mixed = generate(decoder, batch(*range(10)), config, words=[WORDS if row % 2 else () for row in range(10)])
    free = generate(decoder, batch(*range(10)), config)
    assert all(has_word(result.tokens) for result in mixed[1::2])
    assert mixed[::2] == free[::2]


def test_a_wanted_word_is_written_however_short_a_text_must_be() -> None:
    decoder = TableDecoder(5, eos=4.0)
    for result in generate(decoder, batch(*range(10)), GenerationConfig(max_length=3), words=[WORDS] * 10):
        assert has_word(result.tokens)


@pytest.mark.parametrize("method", ["greedy", "beam", "sample"])
def test_a_row_never_depends_on_the_others(method: str) -> None:
    decoder = TableDecoder()
    config = GenerationConfig(method=method, max_length=9, temperature=1.3)  # type: ignore[arg-type]
    together = generate(decoder, batch(*range(10)), config)
    alone = [generate(decoder, batch(row), config)[0] for row in range(10)]
    assert together == alone
    assert len({result.tokens for result in together}) > 1


@pytest.mark.parametrize("size", [1, 7, 128, 1000, 24_001])
def test_the_likeliest_are_those_of_a_whole_sort(size: int) -> None:
    rng = np.random.default_rng(size)
    for number in (1, 2, 8, 200):
        scores = rng.integers(0, 50, size).astype(np.float32)  # many are equal
        scores[rng.random(size) < 0.3] = -np.inf
        assert likeliest(scores, number).tolist() == np.argsort(-scores, kind="stable")[:number].tolist()


def test_greedy_is_a_beam_of_one() -> None:
    decoder = TableDecoder(3, eos=0.5)
    rows = batch(*range(10))
    greedy = generate(decoder, rows, GenerationConfig(method="greedy", max_length=8))
    beam = generate(decoder, rows, GenerationConfig(method="beam", beam=1, max_length=8, length_penalty=0.0))
    assert [result.tokens for result in greedy] == [result.tokens for result in beam]


@pytest.mark.parametrize("method", ["greedy", "beam", "sample"])
def test_lengths_and_special_tokens(method: str) -> None:
    decoder = TableDecoder(eos=3.0)
    config = GenerationConfig(method=method, min_length=4, max_length=6)  # type: ignore[arg-type]
    for result in generate(decoder, batch(*range(10)), config):
        assert 4 <= len(result.tokens) <= 6 and min(result.tokens) > EOS
        assert len(result.token_probabilities) in (len(result.tokens), len(result.tokens) + 1)
        assert 0 < result.confidence <= 1
        assert result.confidence == pytest.approx(np.mean(result.token_probabilities))


@pytest.mark.parametrize("method", ["greedy", "beam", "sample"])
def test_a_prefix_is_read_and_not_repeated(method: str) -> None:
    decoder = TableDecoder(1)
    config = GenerationConfig(method=method, max_length=5)  # type: ignore[arg-type]
    whole = generate(decoder, batch(2, 4), config)
    prefixes = [whole[0].tokens[:2], ()]
    continued = generate(decoder, batch(2, 4), config, prefixes)
    if method == "greedy":
        assert continued[0].tokens[: len(whole[0].tokens) - 2] == whole[0].tokens[2:]
    assert continued[1] == whole[1]
    assert len(continued[0].tokens) <= 5


def test_sampling_follows_its_settings() -> None:
    decoder = TableDecoder(5)
    rows = batch(*range(10))

    def sample(**settings: float) -> list[tuple[int, ...]]:
        return [result.tokens for result in generate(decoder, rows, GenerationConfig(method="sample", max_length=8, **settings))]  # type: ignore[arg-type]

    greedy = [result.tokens for result in generate(decoder, rows, GenerationConfig(method="greedy", max_length=8))]
    assert sample(top_k=1) == greedy
    assert sample(top_p=1e-9) == greedy
    assert sample(temperature=1e-4) == greedy
    assert sample(seed=1) == sample(seed=1) != sample(seed=2)


def test_a_beam_stops_when_nothing_better_can_come() -> None:
    decoder = TableDecoder(eos=20.0)
    generate(decoder, batch(*range(10)), GenerationConfig(max_length=30))
    assert decoder.steps < 10


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beam": 0}, "beam is 0; it must be 1 to 1000"),
        ({"temperature": 0.0}, "temperature is 0.0; it must be above 0 (method greedy takes the most probable token)"),
        ({"top_p": 1.5}, "top_p is 1.5; it must be above 0 and at most 1"),
    ],
)
def test_bad_settings(settings: dict[str, float], message: str) -> None:
    with pytest.raises(UserError) as caught:
        GenerationConfig(**settings)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_a_text_holds_no_control_characters() -> None:
    assert readable("奔跑的狗\x10") == "奔跑的狗" and readable("\x7f一只狗\x00。") == "一只狗。"
    assert readable("two lines\nand a\ttab") == "two lines\nand a\ttab"

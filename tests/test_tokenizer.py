"""The tokenizer: what it leaves out, and texts of any length."""

import random

import pytest
from tokenizers import Tokenizer as BPE

from braid.bundle import find_bundle, read_bundle
from braid.modalities import TextModalityConfig, Tokenizer

PIECES = (".", ".. ", " ", "\n", "\t", "a", "B", "é", "\u3000", "\u2028", "\x1c", "\x85", "…", "!", "\u00a0", "dog")


@pytest.mark.parametrize("lowercase", [True, False])
def test_full_stops_are_left_out_as_its_file_says(lowercase: bool) -> None:
    """The file has them as a regular expression, which other libraries read; here they are left out in linear time."""
    tokenizer = Tokenizer.train(["a dog.", "Two dogs . .", "the B"] * 4, 300, lowercase)
    whole = BPE.from_str(tokenizer.to_json())
    same = Tokenizer.from_json(tokenizer.to_json())
    assert same.to_json() == tokenizer.to_json()
    rng = random.Random(0)
    for _ in range(2000):
        text = "".join(rng.choices(PIECES, k=rng.randrange(12)))
        expected = [token for token in whole.encode(text).ids if token > 2]
        assert tokenizer.encode(text) == same.encode(text) == expected, repr(text)


def test_the_built_in_tokenizers_are_written_as_they_were_read() -> None:
    folder = find_bundle("small")
    tokenizer = read_bundle(folder).tokenizer
    assert tokenizer is not None and tokenizer.to_json() == (folder / "tokenizer.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("max_length", [3, 8, 30])
def test_a_text_that_is_cut_is_known(max_length: int) -> None:
    text = TextModalityConfig(max_length=max_length).build(Tokenizer.train(["a dog."] * 4, 300))
    assert text.room == max_length - 2
    for words in range(1, 40):
        given = "dog " * words + "." * (words % 3)
        assert text.cuts(given) == (len(text.tokenizer.encode(given)) > text.room), given
    assert not text.cuts("a" + "." * 1000)  # full stops at the end are left out from every text
    assert text.cuts("dog " * 1_000_000)


@pytest.mark.parametrize("text", ["a" + "." * 10_000_000 + "b", "a" + " ." * 5_000_000 + "b", "a b " * 2_000_000])
def test_a_text_of_ten_million_characters_is_cut_before_it_is_read(text: str) -> None:
    tokenizer = Tokenizer.train(["a dog."] * 4, 300)
    assert tokenizer.framed(text, 8) == tokenizer.framed(text[:10_000], 8)

"""What is explained of a model's answer: a score for each word of a text, for each label that was given, or a number."""

from dataclasses import dataclass

import torch
from torch import Tensor

from braid.decoders import TextDecoder, VectorDecoder
from braid.records import Fused
from braid.shapes import Float, Int


@dataclass(frozen=True, eq=False)
class Written:
    """A text, word by word, each given those before it. ``spans``: first and last of a word's ``tokens``, <bos> among them."""

    decoder: TextDecoder
    tokens: Int[Tensor, " length"]
    words: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]

    def scores(self, fused: Fused) -> Float[Tensor, "rows words"]:
        """Log-odds of each word: they still move where a probability is near 1 already."""
        return self._by_word(_log_odds(self._logits(fused), self.tokens[1:]))

    def probabilities(self, fused: Fused) -> Float[Tensor, "rows words"]:
        """The probability of each word, in 0..1."""
        logs = self._logits(fused).log_softmax(-1)
        chosen = self.tokens[1:].expand(logs.shape[:-1]).unsqueeze(-1)
        return self._by_word(logs.gather(-1, chosen).squeeze(-1)).exp()

    def _logits(self, fused: Fused) -> Float[Tensor, "rows written vocab"]:
        tokens = self.tokens.expand(fused.values.shape[0], 1, -1)
        return self.decoder.logits(fused, tokens)[:, 0, :-1].float()

    def _by_word(self, values: Float[Tensor, "rows written"]) -> Float[Tensor, "rows words"]:
        """A word's tokens summed; token ``t`` is predicted at position ``t - 1``."""
        return torch.stack([values[:, first - 1 : last].sum(1) for first, last in self.spans], 1)

    def reading(self, weights: Float[Tensor, "_rows queries keys"]) -> Float[Tensor, "words keys"]:
        """The rows of weights (one for all words, or one a word) at the positions that predict each word, averaged."""
        rows = weights.expand(len(self.words), -1, -1)
        return torch.stack([rows[k, first - 1 : last].mean(0) for k, (first, last) in enumerate(self.spans)])


@dataclass(frozen=True, eq=False)
class Labelled:
    """The labels that a row was given, each by itself; ``multiple``: a row may have several."""

    decoder: VectorDecoder
    words: tuple[str, ...]
    places: Int[Tensor, " words"]
    multiple: bool

    def scores(self, fused: Fused) -> Float[Tensor, "rows words"]:
        """Log-odds of each label."""
        logits = self.decoder(fused).float()
        if self.multiple:
            return logits[:, self.places]
        return _log_odds(logits.unsqueeze(1).expand(-1, len(self.words), -1), self.places)

    def probabilities(self, fused: Fused) -> Float[Tensor, "rows words"]:
        """The probability of each label, in 0..1."""
        logits = self.decoder(fused).float()
        return (logits.sigmoid() if self.multiple else logits.softmax(-1))[:, self.places]

    def reading(self, weights: Float[Tensor, "_rows queries keys"]) -> Float[Tensor, "words keys"]:
        return weights.mean(1).expand(len(self.words), -1)


@dataclass(frozen=True, eq=False)
class Measured:
    """A number; both its score and what stands for its chance are its distance from the mean, in standard deviations."""

    decoder: VectorDecoder
    words: tuple[str, ...]

    def scores(self, fused: Fused) -> Float[Tensor, "rows words"]:
        return self.decoder(fused).float()

    def probabilities(self, fused: Fused) -> Float[Tensor, "rows words"]:
        return self.scores(fused)

    def reading(self, weights: Float[Tensor, "_rows queries keys"]) -> Float[Tensor, "words keys"]:
        return weights.mean(1)


Answer = Labelled | Measured | Written


def _log_odds(logits: Float[Tensor, "rows asked choices"], chosen: Int[Tensor, " asked"]) -> Float[Tensor, "rows asked"]:
    """log p / (1 - p) of the chosen one of each row of choices."""
    place = chosen.expand(logits.shape[:-1]).unsqueeze(-1)
    others = logits.scatter(-1, place, -torch.inf)
    return logits.gather(-1, place).squeeze(-1) - others.logsumexp(-1)

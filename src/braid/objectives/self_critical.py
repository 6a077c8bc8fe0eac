"""Self-critical training: the model samples texts, and those that score well on a caption metric become more likely."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from braid.decoders import TextDecoder
from braid.errors import UserError
from braid.metrics import Cider, bleu, bleu_statistics, chosen_tokenizer, ngram_counts, tokenizer_named
from braid.modalities import SpecialTokens, Tokenizer
from braid.model import Model
from braid.records import Batch, Fused, Padded, Sample
from braid.shapes import Bool, Float, Int
from braid.tasks import Task

END = "<eos>"  # counted as a word, or texts learn to stop in mid-sentence


@dataclass(frozen=True)
class SelfCriticalConfig:
    """Policy gradient on a caption metric (arXiv:1612.00563): CIDEr (0..10) plus weighted BLEU-4 (0..1).

    A text's advantage is its reward less the mean reward of the row's other texts (arXiv:2003.09971).

    Args:
        num_samples: texts sampled a row.
        bleu_4_weight: of BLEU-4 in the reward.
    """

    kind: Literal["self_critical"] = "self_critical"
    num_samples: int = 5
    bleu_4_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.num_samples < 2:
            raise UserError(f"num_samples is {self.num_samples}; it must be at least 2, for each is compared with the others")

    def build(self, task: Task, tokenizer: Tokenizer | None, samples: Sequence[Sample]) -> "SelfCritical":
        if "self_critical" not in task.objectives or task.generation is None or tokenizer is None:
            raise UserError(f"objective.kind self_critical is for captioning, and the task is {task.kind}; choose likelihood")
        return SelfCritical(self, task, tokenizer, samples)


class SelfCritical:
    """Document frequencies are those of all training references in a text's language; <eos> counts as a word of a text that
    ended."""

    def __init__(self, config: SelfCriticalConfig, task: Task, tokenizer: Tokenizer, samples: Sequence[Sample]) -> None:
        self.config = config
        self.output = task.decoder
        self.max_length = task.generation.max_length if task.generation else 0
        self.tokenizer = tokenizer
        self._words: dict[str, Callable[[str], list[str]]] = {}
        self._cider: dict[str, Cider] = {}
        for language in dict.fromkeys(sample.language for sample in samples):
            own = [sample for sample in samples if sample.language == language]
            references = (text for sample in own for text in sample.references)
            self._words[language] = tokenizer_named(chosen_tokenizer("auto", references))
            self._cider[language] = Cider([ngram_counts(words) for words in self._references(sample)] for sample in own)

    def __call__(self, model: Model, batch: Batch, samples: Sequence[Sample]) -> tuple[Float[Tensor, ""], dict[str, float]]:
        """The loss, and the mean reward of the sampled texts."""
        fused, decoder = model(batch), model.decoder(self.output)
        prefixes = [self.tokenizer.encode(sample.language) for sample in samples]
        generated = sample_texts(decoder, fused, self.config.num_samples, self.max_length, self.tokenizer.special, prefixes)
        rewards = self.rewards(generated, samples)
        others = (rewards.sum(1, keepdims=True) - rewards) / (self.config.num_samples - 1)
        advantage = torch.from_numpy(rewards - others).to(fused.values.device, torch.float32)
        return decoder.loss(fused, generated, weights=advantage), {"reward": float(rewards.mean())}

    def validation_loss(self, model: Model, batch: Batch) -> Float[Tensor, ""]:
        """The validation loss: likelihood."""
        return model.losses(batch, [self.output])[self.output]

    def rewards(self, generated: Padded, samples: Sequence[Sample]) -> Float[np.ndarray, "batch group"]:
        """The reward of every sampled text."""
        tokens = generated.values.cpu().numpy()
        result = np.zeros(tokens.shape[:2])
        for row, sample in enumerate(samples):
            split, cider = self._words[sample.language], self._cider[sample.language]
            references = self._references(sample)
            counts = [ngram_counts(words) for words in references]
            vectors, lengths = [cider.vector(count) for count in counts], [len(words) for words in references]
            first = 1 + len(self.tokenizer.encode(sample.language))
            for place, text in enumerate(tokens[row]):
                words = split(self.tokenizer.decode(text[first:].tolist())) + [END] * (self.tokenizer.special.eos in text[1:])
                grams = ngram_counts(words)
                score = cider.cider(cider.vector(grams), vectors)
                result[row, place] = (
                    score + self.config.bleu_4_weight * bleu(bleu_statistics(grams, len(words), counts, lengths))[3]
                )
        return result

    def _references(self, sample: Sample) -> list[list[str]]:
        return [[*self._words[sample.language](text), END] for text in sample.references]


@torch.no_grad()
def sample_texts(
    decoder: TextDecoder,
    fused: Fused,
    group: int,
    max_length: int,
    special: SpecialTokens,
    prefixes: Sequence[Sequence[int]] = (),
) -> Padded:
    """``group`` texts a row, sampled from the model without dropout: [batch, group, length], <bos> first, then the row's prefix.

    The advantages of a row's texts add up to 0, so its prefix, which they share, is not learned. The mask ends with <eos>, or
    with the last token of a text that ``max_length`` tokens did not end.
    """
    training = decoder.training
    decoder.eval()
    begin, never = special.bos, [token for token in (special.pad, special.bos) if token != special.eos]
    assert begin is not None  # a tokenizer that texts are written with has a token to begin them
    batch = fused.values.shape[0]
    first = torch.zeros(batch, group, dtype=torch.int64, device=fused.values.device)
    state = decoder.reorder(decoder.start(fused), first)
    tokens = torch.full_like(first, begin)
    ended: Bool[Tensor, "batch group"] = torch.zeros_like(first, dtype=torch.bool)
    written: list[Int[Tensor, "batch group"]] = [tokens]
    masks = [~ended]
    longest = max(map(len, prefixes), default=0)
    given = torch.full((batch, longest), -1, device=first.device)
    for row, prefix in enumerate(prefixes):
        given[row, : len(prefix)] = torch.tensor(prefix, device=first.device)
    for position in range(max_length):
        logits, state = decoder.step(tokens, state)
        logits = logits.float()
        logits[..., never] = -torch.inf
        masks.append(~ended)
        tokens = _chosen(logits.softmax(-1)).masked_fill(ended, special.pad)
        if position < longest:
            tokens = torch.where(given[:, position, None] >= 0, given[:, position, None], tokens)
        written.append(tokens)
        ended = ended | (tokens == special.eos)
        if ended.all():
            break
    decoder.train(training)
    return Padded(torch.stack(written, 2), torch.stack(masks, 2))


def _chosen(probabilities: Float[Tensor, "batch group vocab"]) -> Int[Tensor, "batch group"]:
    """By inverse transform: one random number a text; torch.multinomial needs one a word of the vocabulary."""
    sums = probabilities.cumsum(-1)
    place = torch.rand_like(sums[..., :1]) * sums[..., -1:]
    return torch.searchsorted(sums, place, right=True).squeeze(-1).clamp(max=probabilities.shape[-1] - 1)

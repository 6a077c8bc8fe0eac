"""What training minimises: rewards, the texts that are drawn for them, and that they rise."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import variants
from braid.collate import Collator
from braid.errors import UserError
from braid.modalities import ImageModalityConfig, SpecialTokens
from braid.modalities.text.tokenizer import BOS, EOS, PAD
from braid.model import Model
from braid.objectives import LikelihoodConfig, SelfCritical, SelfCriticalConfig
from braid.objectives.self_critical import sample_texts
from braid.presets import tiny
from braid.records import Batch, Fused, Padded, Sample
from braid.runtime.torch import to_tensors
from braid.tasks import Captioning, ImageGeneration
from braid.training import Watcher, run_from, train
from test_training import TINY, log, same_weights


def _fused() -> tuple[Model, Batch, Fused]:
    model = variants.build(variants.variants()["decoder transformer"])
    batch = to_tensors(variants.collator()(variants.samples()).batch, torch.device("cpu"))
    return model, batch, model(batch)


def _model_and_batch_of_two() -> tuple[Model, Batch]:
    """One that draws and writes; each row draws its own picture."""
    torch.manual_seed(0)
    drawing = {"image": variants.IMAGE_DECODERS["raster"], **tiny().decoders}
    config = replace(tiny(), decoders=drawing, codecs={"image": variants.CODECS["fsq"]})
    modalities = {**variants.outputs(), "image": ImageModalityConfig(size=variants.SIZE).build()}
    rows = tuple(replace(one, targets={**one.targets, "image": one.inputs["image"]}) for one in variants.samples())
    batch = to_tensors(Collator(variants.inputs(), modalities)(rows).batch, torch.device("cpu"))
    return config.build(variants.inputs(), modalities).eval(), batch


def _objective(samples: tuple[Sample, ...], bleu_4: float = 0.0) -> SelfCritical:
    return SelfCriticalConfig(num_samples=2, bleu_4_weight=bleu_4).build(Captioning(), variants.tokenizer(), samples)


def _padded(texts: list[list[int]]) -> Padded:
    length = max(len(text) for text in texts)
    values = torch.tensor([[BOS, *text, *[PAD] * (length - len(text))] for text in texts])
    return Padded(values.unsqueeze(0), (values != PAD).unsqueeze(0))


def test_texts_are_drawn_as_the_model_finds_them_likely() -> None:
    model, _, fused = _fused()
    decoder = model.decoder("text")
    torch.manual_seed(0)
    generated = sample_texts(decoder, fused, 4000, 1, SpecialTokens()).values[0, :, 1]
    logits = decoder.logits(fused, torch.full((fused.values.shape[0], 1, 1), BOS))[0, 0, 0]
    logits[[PAD, BOS]] = -torch.inf
    shares = torch.bincount(generated, minlength=len(logits)) / 4000
    assert 0.5 * (shares - logits.softmax(-1)).abs().sum() < 0.15  # total variation; 0.11 is chance with 320 tokens


def test_a_drawn_text_ends_with_eos_and_is_masked_after_it() -> None:
    model, _, fused = _fused()
    model.train()
    torch.manual_seed(0)
    with torch.no_grad():
        model.decoder("text").embedding.tokens.weight[EOS] *= 8  # so that many texts end early
    generated = sample_texts(model.decoder("text"), fused, 6, 12, SpecialTokens())
    assert model.decoder("text").training
    for tokens, mask in zip(generated.values.flatten(0, 1).tolist(), generated.mask.flatten(0, 1).tolist(), strict=True):
        real = sum(mask)
        assert mask == [True] * real + [False] * (len(mask) - real)
        assert tokens[0] == BOS and EOS not in tokens[1 : real - 1] and not {PAD, BOS} & set(tokens[1:real])
        assert tokens[real - 1] == EOS or real == len(tokens) == 13
        assert set(tokens[real:]) <= {PAD}


def test_an_output_counts_by_its_weight_and_is_evaluated_plainly() -> None:
    model, batch, samples = *_model_and_batch_of_two(), variants.samples()
    task = ImageGeneration(sentence=True)
    plain, message = LikelihoodConfig(label_smoothing=0.0).build(task, None, samples)(model, batch, samples)
    weighed = LikelihoodConfig(label_smoothing=0.0, output_weights={"image": 10.0}).build(task, None, samples)
    loss, told_weighed = weighed(model, batch, samples)
    assert told_weighed == message and loss.item() == pytest.approx(10 * message["image_loss"] + message["text_loss"], rel=1e-5)
    assert torch.equal(weighed.validation_loss(model, batch), plain)


def test_a_weight_of_no_output_of_the_task_and_a_weight_of_nothing_are_clear_errors() -> None:
    with pytest.raises(UserError, match=r"objective.output_weights names 'picture'; .*image.*text"):
        LikelihoodConfig(output_weights={"picture": 10.0}).build(ImageGeneration(sentence=True), None, ())
    for weight in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(UserError, match=r"weights.image is .*; it must be above 0"):
            LikelihoodConfig(output_weights={"image": weight})


def test_the_reward_is_cider_where_ending_counts_as_a_word() -> None:
    references = (("a red circle on a grey background", "one red circle"), ("two blue squares", "a pair of blue squares"))
    samples = tuple(Sample(str(k), {}, references=texts) for k, texts in enumerate(references))
    encode = variants.tokenizer().encode
    whole = encode("one red circle")
    rewards = _objective(samples).rewards(_padded([[*whole, EOS], whole]), samples[:1])[0]
    assert rewards[0] > rewards[1] > 0
    perfect = _padded([[*encode("a red circle on a grey background"), EOS]])
    gain = _objective(samples, bleu_4=2.0).rewards(perfect, samples[:1]) - _objective(samples).rewards(perfect, samples[:1])
    assert gain == pytest.approx(2.0, abs=1e-3)


def test_weights_turn_the_loss_into_a_policy_gradient() -> None:
    """The loss of weight w is w times the text's own, texts counting by their tokens; weight 1 is the plain loss."""
    model, batch, fused = _fused()
    decoder, target = model.decoder("text"), batch.targets["text"]
    plain = decoder.loss(fused, target)
    assert torch.allclose(decoder.loss(fused, target, weights=torch.ones(target.values.shape[:2])), plain)
    weights = torch.randn(target.values.shape[:2])
    logs = decoder.logits(fused, target.values)[:, :, :-1].log_softmax(-1)
    losses = F.nll_loss(logs.flatten(0, 2), target.values[..., 1:].flatten(), reduction="none").view(logs.shape[:3])
    real = target.mask[..., 1:]
    expected = (losses * weights.unsqueeze(-1) * real).sum() / real.sum()
    assert torch.allclose(decoder.loss(fused, target, weights=weights), expected, atol=1e-5)


def test_self_critical_training_raises_its_reward_and_resumes_exactly(captioner: Path, tmp_path: Path) -> None:
    settings = {
        **TINY,
        "tokenizer": {"bundle": str(captioner / "best")},
        "initialize": dict.fromkeys(("encoders.image", "encoders.prompt", "fusion", "decoders.text"), str(captioner / "best")),
        "objective": {"kind": "self_critical", "num_samples": 4, "bleu_4_weight": 0.5},
        "optimizer": {"learning_rate": 1e-3, "warmup_steps": 2},
        "checkpoint_steps": 5,
    }
    train(run_from({**settings, "epochs": 5}), tmp_path / "whole")
    rewards = [record["reward"] for record in log(tmp_path / "whole") if "reward" in record]
    assert np.mean(rewards[-6:]) > 1.1 * np.mean(rewards[:6])
    half = run_from({**settings, "epochs": 5})

    def stop(record: dict[str, Any]) -> None:
        if record["step"] == 17:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(half, tmp_path / "stopped", watcher=Watcher(on_step=stop))
    train(half, tmp_path / "stopped", resume=True)
    assert same_weights(tmp_path / "whole" / "last", tmp_path / "stopped" / "last")


def test_a_word_that_is_dropped_is_hidden_from_those_after_it_in_training_alone() -> None:
    def of(share: float, training: bool) -> tuple[Model, Batch]:
        base = variants.variants()["decoder transformer"]
        decoder: Any = replace(base.decoders["text"], dropout=0.0, word_dropout=share)  # type: ignore[call-arg]
        model = variants.build(replace(base, decoders={"text": decoder})).train(training)
        return model, to_tensors(variants.collator()(variants.samples()).batch, torch.device("cpu"))

    def loss(share: float, training: bool) -> torch.Tensor:
        model, batch = of(share, training)
        return model.losses(batch, ["text"])["text"]

    model, batch = of(1.0, True)
    decoder: Any = model.decoder("text")
    target = batch.targets["text"]
    begun = torch.full_like(target.values, BOS)
    alone = decoder.embedding(begun) - decoder.embedding.tokens(begun)
    alone[..., 0, :] += decoder.embedding.tokens(begun[..., 0])
    result = decoder.embedding.logits(decoder.read(alone, decoder.remember(model(batch))))[..., :-1, :]
    real = target.mask[..., 1:]
    torch.testing.assert_close(loss(1.0, True), F.cross_entropy(result[real], target.values[..., 1:][real]))
    assert torch.equal(loss(1.0, False), loss(0.0, True))
    assert len({loss(share, True).item() for share in (0.0, 0.5, 1.0)}) == 3

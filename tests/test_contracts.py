"""The contracts every part keeps, over every variant: see docs/architecture.md for their numbers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from braid.bundle import Interface, read_bundle, write_bundle
from braid.collate import Collator
from braid.config import from_dict, to_dict
from braid.generation import GenerationConfig, generate
from braid.modalities import build_modalities
from braid.model import Model, ModelConfig
from braid.records import Batch, BatchInput, Fused, Padded, Sample
from braid.runtime.export import export_decoder, export_vector
from braid.runtime.onnx import OnnxRuntime
from braid.runtime.quantize import quantize
from braid.runtime.torch import TorchRuntime, load_model, to_tensors
from conftest import shapes_unchecked
from variants import (
    DECODERS,
    ENCODERS,
    FUSIONS,
    MODALITIES,
    VECTOR_DECODERS,
    build,
    collator,
    combined_variants,
    inputs,
    interface,
    missing_kinds,
    samples_of,
    tokenizer,
    variants,
)

CPU = torch.device("cpu")
LEARNED = 0.1
every_variant = pytest.mark.parametrize("config", variants().values(), ids=variants())


def batch_of(config: ModelConfig, rows: tuple[Sample, ...] | None = None) -> Batch:
    return to_tensors(collator(config)(samples_of(config) if rows is None else rows, strict=True).batch, CPU)


def logits(model: Model, batch: Batch) -> torch.Tensor:
    with torch.no_grad():
        return model.decoder("text").logits(model(batch), batch.targets["text"].values)


def real_difference(a: torch.Tensor, b: torch.Tensor, mask: torch.Tensor) -> float:
    return float((a - b)[mask].abs().max())


def padded_further(padded: Padded, axes: int, value: float) -> Padded:
    """More masked positions at the end of a text, filled with something that must not matter."""
    extra = [0, 5] + [0, 0] * axes
    values = torch.nn.functional.pad(padded.values, extra, value=value)
    return Padded(values, torch.nn.functional.pad(padded.mask, extra, value=False))


def test_every_kind_has_a_variant() -> None:
    assert missing_kinds() == set()


def test_every_part_is_in_a_combined_variant() -> None:
    combined = combined_variants().values()
    parts = [part for config in combined for part in (*config.encoders.values(), config.fusion, *config.decoders.values())]
    encoders = [one for one in ENCODERS.values() if one.modality not in ("audio", "video")]
    assert [one for one in (*encoders, *FUSIONS.values(), *DECODERS.values()) if one not in parts] == []


@every_variant
def test_1_learns_eight_samples_by_heart(config: ModelConfig) -> None:
    model = build(config).train()
    batch = batch_of(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for _ in range(300):
        loss = model.decoder("text").loss(model(batch), batch.targets["text"])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if float(loss.detach()) < LEARNED:
            break
    assert float(loss.detach()) < LEARNED


@every_variant
def test_2_saved_is_loaded_bit_for_bit(config: ModelConfig, tmp_path: Path) -> None:
    model = build(config, seed=5)
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    write_bundle(tmp_path / "model", interface(config), {"tokenizer": tokenizer()}, to_dict(config), weights)
    bundle = read_bundle(tmp_path / "model")
    assert from_dict(ModelConfig, bundle.architecture) == config
    loaded = load_model(bundle)
    batch = batch_of(config)
    assert torch.equal(logits(model, batch), logits(loaded, batch))


@every_variant
def test_3_padding_never_changes_an_answer(config: ModelConfig) -> None:
    model = build(config)
    batch = batch_of(config)
    prompt, target = batch.inputs["prompt"], batch.targets["text"]
    length = target.values.shape[-1]
    expected = logits(model, batch)
    longer = replace(
        batch,
        inputs={**batch.inputs, "prompt": replace(prompt, distinct=padded_further(prompt.distinct, 1, 7))},
        targets={"text": padded_further(target, 2, 7)},
    )
    assert real_difference(logits(model, longer)[:, :, :length], expected, target.mask) < 1e-5
    skipped = replace(longer.inputs["prompt"].distinct, mask=torch.ones_like(longer.inputs["prompt"].distinct.mask))
    unmasked = replace(longer, inputs={**batch.inputs, "prompt": replace(prompt, distinct=skipped)})
    assert real_difference(logits(model, unmasked)[:, :, :length], expected, target.mask) > 1e-4


@every_variant
def test_4_any_subset_of_inputs_works(config: ModelConfig) -> None:
    """A lost input never is NaN; lost by one row or by the whole batch, it is the same to that row."""
    model = build(config)
    whole = batch_of(config)
    for given in [(), *((name,) for name in whole.inputs)]:
        lost = [name for name in whole.inputs if name not in given]
        absent = replace(whole, inputs={name: whole.inputs[name] for name in given})
        masked = {name: replace(whole.inputs[name], index=torch.full_like(whole.inputs[name].index, -1)) for name in lost}
        same = replace(whole, inputs={**whole.inputs, **masked})
        result = logits(model.eval(), absent)
        assert torch.isfinite(result).all()
        assert real_difference(result, logits(model, same), whole.targets["text"].mask) < 1e-5
        loss = model.train().decoder("text").loss(model(same), same.targets["text"])
        model.zero_grad()
        loss.backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@every_variant
def test_4_one_row_without_an_input_leaves_the_others_alone(config: ModelConfig) -> None:
    model = build(config)
    whole = batch_of(config)
    expected = logits(model, whole)
    mask = whole.targets["text"].mask
    for name, given in whole.inputs.items():
        index = given.index.clone()
        index[0] = -1
        result = logits(model, replace(whole, inputs={**whole.inputs, name: replace(given, index=index)}))
        assert real_difference(result[1:], expected[1:], mask[1:]) < 1e-5
        assert real_difference(result[:1], expected[:1], mask[:1]) > 1e-5


@every_variant
def test_5_a_batch_answers_what_single_rows_do(config: ModelConfig) -> None:
    model = build(config)
    rows = samples_of(config)
    together = logits(model, batch_of(config, rows))
    for row, sample in enumerate(rows):
        alone = batch_of(config, (sample,))
        length = alone.targets["text"].values.shape[-1]
        mask = alone.targets["text"].mask[0]
        assert real_difference(together[row, :, :length], logits(model, alone)[0], mask) < 1e-4
    decoder = TorchRuntime(model, tokenizer()).decoder("text")
    settings = GenerationConfig(max_length=8)
    texts = [result.tokens for result in generate(decoder, collator(config)(rows).batch, settings)]
    singles = [generate(decoder, collator(config)((sample,)).batch, settings)[0].tokens for sample in rows]
    assert texts == singles


@every_variant
def test_6_cached_equals_uncached_and_grouped_equals_repeated(config: ModelConfig) -> None:
    model = build(config)
    decoder = model.decoder("text")
    tokens = torch.randint(3, tokenizer().vocab_size, (8, 3, 6), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        fused = model(batch_of(config))
        grouped = decoder.logits(fused, tokens)
        repeated = decoder.logits(_repeated(fused, 3), tokens.flatten(0, 1).unsqueeze(1)).view_as(grouped)
        assert torch.allclose(grouped, repeated, atol=1e-5)
        state = decoder.reorder(decoder.start(fused), torch.zeros(8, 3, dtype=torch.long))
        for position in range(6):
            step, state = decoder.step(tokens[:, :, position], state)
            assert torch.allclose(step, grouped[:, :, position], atol=1e-5)
        turned = decoder.reorder(state, torch.tensor([[2, 0]] * 8))
        a, _ = decoder.step(tokens[:, [2, 0], 0], turned)
        b, _ = decoder.step(tokens[:, :, 0], state)
        assert torch.allclose(a, b[:, [2, 0]], atol=1e-6)


@every_variant
def test_8_the_same_seed_gives_the_same_weights(config: ModelConfig) -> None:
    first, second, other = (build(config, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("config", combined_variants().values(), ids=combined_variants())
def test_10_onnx_gives_torchs_tokens_and_int8_nearly(config: ModelConfig, tmp_path: Path) -> None:
    model = build(config)
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    write_bundle(tmp_path / "model", interface(config), {"tokenizer": tokenizer()}, to_dict(config), weights)
    with shapes_unchecked():
        graphs = export_decoder(model, inputs(config), "text", tmp_path / "model")
    quantize(graphs, tmp_path / "int8")
    ours = TorchRuntime(model, tokenizer()).decoder("text")
    bundle = read_bundle(tmp_path / "model")
    theirs, rough = (OnnxRuntime(one).decoder("text") for one in (bundle, replace(bundle, folder=tmp_path / "int8")))
    whole = collator(config)(samples_of(config)).batch
    lost = replace(
        whole, inputs={"prompt": BatchInput(whole.inputs["prompt"].distinct, np.where(whole.inputs["prompt"].index > 2, -1, 0))}
    )
    for batch in (whole, lost):
        logits_ours, _ = ours.step(np.full((8, 1), 1), ours.start(batch))
        logits_theirs, _ = theirs.step(np.full((8, 1), 1), theirs.start(batch))
        assert np.abs(logits_ours - logits_theirs).max() < 1e-4
        logits_rough, _ = rough.step(np.full((8, 1), 1), rough.start(batch))
        assert np.abs(logits_ours - logits_rough).mean() < 0.1 * logits_ours.std()
        for method in ("greedy", "beam"):
            settings = GenerationConfig(method=method, max_length=10)  # type: ignore[arg-type]
            expected = [result.tokens for result in generate(ours, batch, settings)]
            assert [result.tokens for result in generate(theirs, batch, settings)] == expected


@pytest.mark.parametrize("name", [name for name, one in ENCODERS.items() if one.modality in ("audio", "video")])
def test_10_onnx_gives_torchs_labels_of_recordings_and_clips(name: str, tmp_path: Path) -> None:
    kind = ENCODERS[name].modality
    config = ModelConfig(width=32, encoders={kind: ENCODERS[name]}, decoders={"label": VECTOR_DECODERS["classes"]})
    outputs = build_modalities({"label": MODALITIES["labels"]}, {})
    torch.manual_seed(0)
    model = config.build(inputs(config), outputs).eval()
    weights = {key: value.numpy() for key, value in model.state_dict().items()}
    described = Interface({kind: inputs(config)[kind].config}, {"label": MODALITIES["labels"]}, {})
    write_bundle(tmp_path / "model", described, {}, to_dict(config), weights)
    with shapes_unchecked():
        export_vector(model, inputs(config), "label", tmp_path / "model")
    exported, ours = OnnxRuntime(read_bundle(tmp_path / "model")), TorchRuntime(model, None)
    for rows in (samples_of(config), samples_of(config)[:1], samples_of(config)[5:8]):
        batch = Collator(inputs(config))([replace(one, targets={}) for one in rows]).batch
        assert np.abs(exported.vector("label", batch) - ours.vector("label", batch)).max() < 1e-4


def _repeated(fused: Fused, times: int) -> Fused:
    return Fused(
        fused.values.repeat_interleave(times, 0), fused.mask.repeat_interleave(times, 0), fused.pooled.repeat_interleave(times, 0)
    )

"""The contracts of outputs that do not write: labels, a number, an embedding; their numbers are those of docs/architecture.md."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from braid.bundle import Interface, read_bundle, write_bundle
from braid.collate import Collator
from braid.config import to_dict
from braid.decoders import ClassesDecoderConfig, DecoderConfig, EmbeddingDecoderConfig
from braid.errors import UserError
from braid.fusions import LateFusionConfig
from braid.layers.context import BuildContext
from braid.modalities import ImageModalityConfig, LabelsModalityConfig, NumberModalityConfig, OutputModality, TextModalityConfig
from braid.model import Model, ModelConfig
from braid.objectives import ContrastiveConfig
from braid.presets import tiny
from braid.records import Batch, BatchInput, Fused, Sample
from braid.runtime.export import export_vector
from braid.runtime.onnx import OnnxRuntime
from braid.runtime.quantize import quantize
from braid.runtime.torch import TorchRuntime, load_model, to_tensors
from braid.tasks import Retrieval
from conftest import shapes_unchecked
from variants import MODALITIES, VECTOR_DECODERS, inputs, samples, tokenizer

CPU = torch.device("cpu")
OUT = "out"
every_decoder = pytest.mark.parametrize("decoder", VECTOR_DECODERS.values(), ids=VECTOR_DECODERS)
# An embedding learns from pairs: test_values_of_one_key_come_together.
ALONE = {name: decoder for name, decoder in VECTOR_DECODERS.items() if not isinstance(decoder, EmbeddingDecoderConfig)}
learned = {"labels": ["few", "many", "none"], "number": [0.0, 2.0, 5.0], "embedding": ["a", "b", "c"]}


def config_of(decoder: DecoderConfig) -> ModelConfig:
    return replace(tiny(), fusion=LateFusionConfig(), decoders={OUT: decoder})


def modality_of(decoder: DecoderConfig) -> OutputModality:
    return MODALITIES[decoder.modality].build()  # type: ignore[call-arg]


def built(decoder: DecoderConfig, seed: int = 0) -> Model:
    torch.manual_seed(seed)
    return config_of(decoder).build(inputs(), {OUT: modality_of(decoder)}).eval()


def rows(decoder: DecoderConfig) -> tuple[Sample, ...]:
    """Eight samples, each with one of three targets: one for each value of the only input that the decoder reads, if it does."""
    targets = learned[decoder.modality]
    given = [[target] if decoder.modality == "labels" else target for target in targets]
    read = getattr(decoder, "input", "")
    values = [sample.inputs[read] if read else row for row, sample in enumerate(samples())]
    places = {value: place for place, value in enumerate(dict.fromkeys(values))}
    return tuple(
        replace(sample, targets={OUT: given[places[value] % 3]}) for value, sample in zip(values, samples(), strict=True)
    )


def batch_of(decoder: DecoderConfig, chosen: tuple[Sample, ...]) -> Batch:
    return Collator(inputs(), {OUT: modality_of(decoder)})(chosen, strict=True).batch


def vectors(model: Model, batch: Batch) -> np.ndarray:
    return TorchRuntime(model, tokenizer()).vector(OUT, batch)


@pytest.mark.parametrize("decoder", ALONE.values(), ids=ALONE)
def test_1_learns_eight_samples_by_heart(decoder: DecoderConfig) -> None:
    model = built(decoder).train()
    batch = to_tensors(batch_of(decoder, rows(decoder)), CPU)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for _ in range(200):
        loss = model.losses(batch, [OUT])[OUT]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.05


@every_decoder
def test_2_saved_is_loaded_bit_for_bit_and_10_onnx_gives_torchs_answer(decoder: DecoderConfig, tmp_path: Path) -> None:
    model, whole = built(decoder, seed=5), batch_of(decoder, rows(decoder))
    described = {"image": ImageModalityConfig(size=32), "prompt": TextModalityConfig(max_length=32)}
    interface = Interface(described, {OUT: MODALITIES[decoder.modality]}, {})  # type: ignore[arg-type]
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    write_bundle(tmp_path / "model", interface, {"tokenizer": tokenizer()}, to_dict(config_of(decoder)), weights)
    bundle = read_bundle(tmp_path / "model")
    assert np.array_equal(vectors(load_model(bundle), whole), vectors(model, whole))
    with shapes_unchecked():
        graphs = export_vector(model, inputs(), OUT, tmp_path / "model")
    quantize(graphs, tmp_path / "int8")
    runtime, rough = OnnxRuntime(bundle), OnnxRuntime(replace(bundle, folder=tmp_path / "int8"))
    lost = replace(whole, inputs={"prompt": replace(whole.inputs["prompt"], index=np.where(np.arange(8) > 2, -1, 0))})
    for batch in (whole, lost):
        assert np.abs(runtime.vector(OUT, batch) - vectors(model, batch)).max() < 1e-4
        assert np.abs(rough.vector(OUT, batch) - vectors(model, batch)).max() < 0.05
    together = rough.vector(OUT, whole)
    for row, sample in enumerate(rows(decoder)):
        assert np.abs(rough.vector(OUT, batch_of(decoder, (sample,)))[0] - together[row]).max() < 1e-6


@every_decoder
@pytest.mark.parametrize("given", [(), ("image",), ("prompt",)], ids=["none", "image", "prompt"])
def test_4_any_subset_of_inputs_works(decoder: DecoderConfig, given: tuple[str, ...]) -> None:
    model, whole = built(decoder), batch_of(decoder, rows(decoder))
    absent = replace(whole, inputs={name: whole.inputs[name] for name in given})
    masked = {
        name: BatchInput(one.distinct, one.index if name in given else np.full(8, -1)) for name, one in whole.inputs.items()
    }
    result = vectors(model, absent)
    assert np.isfinite(result).all()
    assert np.abs(result - vectors(model, replace(whole, inputs=masked))).max() < 1e-5


@every_decoder
def test_5_a_batch_answers_what_single_rows_do(decoder: DecoderConfig) -> None:
    model, eight = built(decoder), rows(decoder)
    together = vectors(model, batch_of(decoder, eight))
    for row, sample in enumerate(eight):
        assert np.abs(vectors(model, batch_of(decoder, (sample,)))[0] - together[row]).max() < 1e-4


def test_labels_by_the_maximum_of_any_position() -> None:
    """That is real."""
    context = BuildContext("label", outputs={"label": MODALITIES["labels"].build()}, memory_width=4)  # type: ignore[call-arg]
    decoder = ClassesDecoderConfig(reads="max", dropout=0.0).build(context)
    values, mask = torch.randn(2, 6, 4), torch.tensor([[True] * 6, [True] * 3 + [False] * 3])
    with torch.no_grad():
        result = decoder(Fused(values, mask, values.mean(1)))
        expected = decoder.layers(torch.stack([values[0].amax(0), values[1, :3].amax(0)]))
    torch.testing.assert_close(result, expected)


def test_embeddings_have_length_one() -> None:
    decoder = VECTOR_DECODERS["embedding"]
    result = vectors(built(decoder), batch_of(decoder, rows(decoder)))
    assert np.allclose(np.linalg.norm(result, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("loss", ["clip", "siglip"])
def test_values_of_one_key_come_together(loss: str) -> None:
    """Pictures find their own texts, also where several rows share a key: those never count as each other's negatives."""
    decoder = VECTOR_DECODERS["embedding"]
    task = Retrieval()
    model = replace(tiny(), decoders={task.decoder: decoder}).build(inputs(), {task.decoder: modality_of(decoder)}).train()
    chosen = tuple(replace(sample, targets={task.decoder: str(row // 2)}) for row, sample in enumerate(samples()))
    batch = to_tensors(Collator(inputs(), {task.decoder: modality_of(decoder)})(chosen, strict=True).batch, CPU)
    objective = ContrastiveConfig(loss=loss, hardness=0.5).build(task, None, chosen)  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for _ in range(150):
        result, metrics = objective(model, batch, chosen)
        optimizer.zero_grad()
        result.backward()
        optimizer.step()
    assert metrics["nearest_is_own"] == 1.0


def test_labels_that_training_never_showed_are_masked_and_two_where_one_is_meant_are_told() -> None:
    modality = LabelsModalityConfig(labels=("cat", "dog")).build()
    result = modality.pad_targets([modality.prepare_target(one, "row 1") for one in (["dog"], ["cow"])])
    assert result.values.tolist() == [1, 0]
    assert result.mask.tolist() == [True, False]
    with pytest.raises(
        UserError, match="row 1: 2 labels, but this model predicts one; train a model on rows with several labels"
    ):
        modality.prepare_target(["dog", "cat"], "row 1")
    both = LabelsModalityConfig(labels=("cat", "dog"), multiple=True).build()
    several = both.pad_targets([both.prepare_target(one, "") for one in (["dog", "cat"], [])])
    assert several.values.tolist() == [[1, 1], [0, 0]]
    with pytest.raises(UserError, match="labels lists 'cat' twice; list each label once"):
        LabelsModalityConfig(labels=("cat", "dog", "cat"))


def test_a_number_is_learned_in_deviations_and_told_in_its_own_unit() -> None:
    modality = NumberModalityConfig(mean=10.0, deviation=4.0).build()
    assert modality.pad_targets([10.0, 18.0]).values.tolist() == [0.0, 2.0]
    assert modality.value(2.0) == 18.0

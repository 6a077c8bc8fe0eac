"""Mixup: rows and their labels are mixed alike, and what has no mean is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import variants
from braid.collate import Collator
from braid.errors import UserError
from braid.modalities import OutputModality
from braid.modalities.audio.modality import wav
from braid.objectives import LikelihoodConfig
from braid.objectives.mixup import mixed
from braid.presets import tiny
from braid.records import Batch, BatchInput, Padded, Sample
from braid.reports import read_log
from braid.runtime.torch import to_tensors
from braid.tasks import Captioning, Classification
from braid.training import read_run, run_from, train_in_stages

LABELS = 3


def batch(missing: bool = False) -> Batch:
    """Four rows: the first two share an image; with ``missing``, the third has no image and the last no label."""
    values = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 3, 8, 8)
    mask = torch.ones(3, 8, 8, dtype=torch.bool)
    mask[2, 4:] = False
    index = torch.tensor([0, 0, -1 if missing else 1, 2])
    labels = Padded(torch.tensor([0, 1, 2, 0]), torch.tensor([True, True, True, not missing]))
    return Batch(("a", "b", "c", "d"), {"image": BatchInput(Padded(values, mask), index)}, {"label": labels})


@pytest.mark.parametrize("seed", range(8))
def test_a_row_and_its_label_are_mixed_by_the_same_share(seed: int) -> None:
    torch.manual_seed(seed)
    given = batch()
    result = mixed(given, "label", LABELS, alpha=1.0)
    image, label = result.inputs["image"], result.targets["label"]
    assert image.index.tolist() == [0, 1, 2, 3] and torch.allclose(label.values.sum(1), torch.ones(4))
    own = F.one_hot(given.targets["label"].values, LABELS).float()
    torch.manual_seed(seed)
    share = float(torch.distributions.Beta(1.0, 1.0).sample())
    share, other = max(share, 1 - share), torch.randperm(4)
    assert torch.allclose(label.values, share * own + (1 - share) * own[other])
    numbers = torch.tensor([0.0, 0.0, 1.0, 2.0])
    assert torch.allclose(image.distinct.values[:, 0, 0, 0], share * numbers + (1 - share) * numbers[other])
    hidden = ~image.distinct.mask[:, 4:].flatten(1).any(1)
    assert hidden.tolist() == [row == 3 and other[row] == 3 for row in range(4)]  # real where either image is


@pytest.mark.parametrize("seed", range(8))
def test_what_a_row_lacks_is_not_mixed_in(seed: int) -> None:
    torch.manual_seed(seed)
    result = mixed(batch(missing=True), "label", LABELS, alpha=1.0)
    image, label = result.inputs["image"], result.targets["label"]
    assert image.index.tolist() == [0, 1, -1, 3]
    assert label.mask.tolist() == [True, True, True, False]
    assert torch.isfinite(label.values).all() and image.distinct.values[:2].max() <= 2 and label.values[:3].max() <= 1
    assert label.values[:3, 0].sum() <= 1 + 1e-6  # the label that the last row does not have is in none


def test_several_labels_of_a_row_are_mixed() -> None:
    torch.manual_seed(0)
    several = torch.tensor([[1.0, 1, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0]])
    given = replace(batch(), targets={"label": Padded(several, torch.ones(4, dtype=torch.bool))})
    label = mixed(given, "label", LABELS, alpha=1.0).targets["label"]
    assert label.values.shape == (4, 3) and torch.allclose(label.values.sum(0), several.sum(0))


def test_the_loss_of_mixed_rows_is_that_of_their_mean_and_both_labels() -> None:
    """Of a whole model, whose objective draws the same share as the test."""
    labels = variants.MODALITIES["labels"].build()
    config = replace(tiny(inputs=("image",)), decoders={"label": variants.VECTOR_DECODERS["classes"]})
    torch.manual_seed(0)
    model = config.build(variants.inputs(config), {"label": labels}).eval()
    given, samples = rows(labels)
    torch.manual_seed(5)
    loss, _ = LikelihoodConfig(mixup=1.0).build(Classification(), None, samples)(model, given, samples)
    torch.manual_seed(5)
    share = float(torch.distributions.Beta(1.0, 1.0).sample())
    share, other = max(share, 1 - share), torch.randperm(given.size)
    image, own = given.inputs["image"], given.targets["label"].values
    values = image.distinct.values[image.index]
    mean = replace(image, distinct=replace(image.distinct, values=share * values + (1 - share) * values[other]))
    mean = replace(mean, index=torch.arange(given.size), distinct=replace(mean.distinct, mask=image.distinct.mask[image.index]))
    logits = model.vector(replace(given, inputs={"image": mean}), "label")
    both = [F.cross_entropy(logits, one, label_smoothing=0.1) for one in (own, own[other])]
    assert loss.item() == pytest.approx((share * both[0] + (1 - share) * both[1]).item(), rel=1e-5)
    assert share < 0.95 and not torch.equal(own, own[other])


def rows(labels: OutputModality) -> tuple[Batch, tuple[Sample, ...]]:
    """Eight scenes with labels in turn."""
    names = ("few", "many", "none")
    samples = tuple(
        Sample(one.id, {"image": one.inputs["image"]}, {"label": (names[k % 3],)}) for k, one in enumerate(variants.samples())
    )
    collated = Collator({"image": variants.inputs()["image"]}, {"label": labels})(samples)
    return to_tensors(collated.batch, torch.device("cpu")), samples


def test_words_have_no_mean() -> None:
    given = batch()
    words = BatchInput(Padded(torch.ones(4, 5, dtype=torch.long), torch.ones(4, 5, dtype=torch.bool)), torch.arange(4))
    message = (
        "objective.mixup mixes images, recordings and clips, and the input 'prompt' is none of them; set objective.mixup to 0"
    )
    with pytest.raises(UserError, match=message):
        mixed(replace(given, inputs={"prompt": words}), "label", LABELS, alpha=0.2)


def test_a_task_without_labels_is_refused() -> None:
    with pytest.raises(UserError, match="objective.mixup is 0.2, and captioning has no labels; leave it out"):
        LikelihoodConfig(mixup=0.2).build(Captioning(), None, ())
    LikelihoodConfig(mixup=0.2).build(Classification(), None, ())


def test_with_time_left_the_encoder_of_recordings_is_trained_before_other_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRAID_CACHE", str(tmp_path / "cache"))
    lines = []
    for number, (samples, rate) in enumerate(variants.recordings() * 2):
        (tmp_path / f"{number}.wav").write_bytes(wav(samples, rate))
        split = "val" if number % 4 == 3 else "train"
        lines.append({"audio": f"{number}.wav", "label": ("low", "high")[number % 8 // 4], "split": split})
    table = tmp_path / "tones.jsonl"
    table.write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = {
        "task": "classification",
        "data": {"path": str(table)},
        "model": "tiny",
        "inputs": {"audio": {"kind": "audio", "seconds": 1.0, "spectrogram": {"kind": "log_mel", "mels": 32}}},
        "freeze": ["encoders.audio"],
        "cache_features": "auto",
        "batch_size": 8,
        "epochs": 2,
        "workers": 0,
        "threads": 1,
    }
    train_in_stages(run_from(settings), tmp_path / "run", "10m")
    stages = json.loads((tmp_path / "run" / "stages.json").read_text())["stages"]
    assert [stage["name"] for stage in stages] == ["first", "main", "half", "deeper", "again-1", "again-2"]
    assert stages[3]["why"] == "the last blocks of the audio encoder are trained, too, on augmented recordings"
    deeper = read_run(tmp_path / "run" / "stages" / "deeper" / "run.yaml")
    assert isinstance(deeper.objective, LikelihoodConfig) and deeper.objective.mixup == 0.2
    assert deeper.augmented == ["audio"] and deeper.scales["encoders.audio.blocks.0"] == 1
    log = read_log(tmp_path / "run" / "stages" / "deeper" / "log.jsonl")
    assert all(record["loss"] > 0 for record in log if "loss" in record)

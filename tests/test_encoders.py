"""Image encoders against the published architectures, and standard weight files in and out."""

import json
import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from braid.config import from_dict, to_dict
from braid.decoders import ClassesDecoderConfig
from braid.encoders import (
    CNNEncoderConfig,
    EfficientNetEncoderConfig,
    EncoderConfig,
    FTTransformerEncoderConfig,
    MLPEncoderConfig,
    MobileNetEncoderConfig,
    ResNetEncoderConfig,
    TransformerTextEncoderConfig,
    VGGEncoderConfig,
    ViTEncoderConfig,
    load_weights,
)
from braid.errors import UserError
from braid.layers.context import BuildContext
from braid.modalities import (
    ImageModality,
    ImageModalityConfig,
    InputModality,
    LabelsModalityConfig,
    TabularModalityConfig,
    TextModalityConfig,
    build_modalities,
)
from braid.modalities.tabular import CategoryColumn, NumberColumn
from braid.model import ModelConfig
from braid.presets import tiny
from braid.records import Features, Padded
from braid.runtime.torch import to_tensors
from conftest import shapes_unchecked
from variants import build, collator, samples_of, variants
from variants import tokenizer as known

MODALITY = ImageModalityConfig(size=64).build()
SMALL_VIT = ViTEncoderConfig(patch_size=16, width=32, depth=1, heads=2)
FOLDED = MobileNetEncoderConfig(padding="tensorflow", folded=True)


def reading(modality: InputModality) -> BuildContext:
    """The context of an encoder of one input."""
    return BuildContext("image", {"image": modality})


def built(config: EncoderConfig, modality: InputModality = MODALITY) -> nn.Module:
    torch.manual_seed(0)
    return config.build(reading(modality)).eval()


def encoded(encoder: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    mask = torch.ones(pixels.shape[0], *pixels.shape[2:], dtype=torch.bool)
    with torch.no_grad():
        return encoder(Padded(pixels, mask)).values


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (ResNetEncoderConfig(depth=18), 11_176_512),
        (ResNetEncoderConfig(depth=34), 21_284_672),
        (ResNetEncoderConfig(depth=50), 23_508_032),
        (VGGEncoderConfig(depth=11), 9_220_480),
        (VGGEncoderConfig(depth=11, batch_norm=True), 9_225_984),
        (VGGEncoderConfig(depth=16), 14_714_688),
        (VGGEncoderConfig(depth=16, batch_norm=True), 14_723_136),
        (MobileNetEncoderConfig(), 2_223_872),
        (EfficientNetEncoderConfig(variant="lite0"), 3_371_008),
        (EfficientNetEncoderConfig(variant="lite2"), 4_811_072),
        (EfficientNetEncoderConfig(variant="lite4"), 11_725_568),
    ],
    ids=[
        "resnet18",
        "resnet34",
        "resnet50",
        "vgg11",
        "vgg11 norm",
        "vgg16",
        "vgg16 norm",
        "mobilenetv2",
        "lite0",
        "lite2",
        "lite4",
    ],
)
def test_as_many_parameters_as_the_published_without_the_head(config: EncoderConfig, parameters: int) -> None:
    assert sum(p.numel() for p in built(config).parameters()) == parameters


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (
            ResNetEncoderConfig(depth=18),
            ["conv1.weight", "bn1.running_var", "layer2.0.downsample.0.weight"],
        ),
        (ResNetEncoderConfig(depth=50), ["layer4.2.conv3.weight", "layer1.0.downsample.1.bias"]),
        (VGGEncoderConfig(depth=11), ["features.0.weight", "features.6.bias", "features.18.weight"]),
        (VGGEncoderConfig(depth=16), ["features.2.weight", "features.14.weight", "features.28.bias"]),
        (VGGEncoderConfig(depth=16, batch_norm=True), ["features.1.running_var", "features.40.weight", "features.41.bias"]),
        (
            MobileNetEncoderConfig(),
            ["features.0.0.weight", "features.1.conv.1.weight", "features.18.1.bias"],
        ),
    ],
    ids=["resnet18", "resnet50", "vgg11", "vgg16", "vgg16 norm", "mobilenetv2"],
)
def test_parameters_have_torchvision_s_names(config: EncoderConfig, names: list[str]) -> None:
    assert set(names) <= set(built(config).state_dict())


@pytest.mark.parametrize(
    ("config", "cells"),
    [
        (ResNetEncoderConfig(depth=18), 4),
        (VGGEncoderConfig(depth=11), 4),
        (MobileNetEncoderConfig(), 4),
        (ViTEncoderConfig(patch_size=16, width=32, depth=1, heads=2), 16),
        (CNNEncoderConfig(channels=4), 16),
    ],
    ids=["resnet", "vgg", "mobilenet", "vit", "cnn"],
)
def test_every_cell_knows_its_box(config: EncoderConfig, cells: int) -> None:
    mask = torch.ones(1, 64, 64, dtype=torch.bool)
    mask[:, 32:] = False
    with torch.no_grad():
        features = built(config)(Padded(torch.zeros(1, 3, 64, 64), mask))
    assert features.extent is not None
    assert features.extent.shape == (cells, 4)
    side = int(cells**0.5)
    assert features.extent[-1].tolist() == pytest.approx([1 - 1 / side, 1 - 1 / side, 1, 1])
    assert features.mask[0].tolist() == [row < side // 2 for row in range(side) for _ in range(side)]


def test_a_standard_file_loads_with_its_head_left_out(tmp_path: Path) -> None:
    source, target = built(ResNetEncoderConfig(depth=18)), ResNetEncoderConfig(depth=18).build(reading(MODALITY)).eval()
    state = {**source.state_dict(), "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    pixels = torch.randn(1, 3, 64, 64)
    for name, save in (("w.pth", torch.save), ("w.safetensors", save_file)):
        save({key: value.contiguous() for key, value in state.items()}, str(tmp_path / name))
        for parameter in target.parameters():
            nn.init.zeros_(parameter)
        load_weights(target, tmp_path / name)
        assert torch.equal(encoded(source, pixels), encoded(target, pixels))
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3}, tmp_path / "wrapped.pt")
    load_weights(target, tmp_path / "wrapped.pt")


def test_images_of_which_nothing_would_be_left_are_refused() -> None:
    for config, size, message in (
        (VGGEncoderConfig(depth=11), 31, "images of 31 pixels vanish in five halvings; vgg needs at least 32"),
        (CNNEncoderConfig(), 8, "images of 8 pixels are smaller than a cell of 16; use fewer stages"),
    ):
        with pytest.raises(UserError, match=f"^{message}$"):
            config.build(reading(ImageModalityConfig(size=size).build()))


def test_folding_batch_norm_changes_nothing() -> None:
    """The folded architecture computes what the plain one does with its norms in their running state."""
    plain, folded = built(MobileNetEncoderConfig()), MobileNetEncoderConfig(folded=True).build(reading(MODALITY)).eval()
    state = plain.state_dict()
    made: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        if name.endswith("weight") and value.ndim == 4:
            first, last = name.removesuffix(".weight").rsplit(".", 1)
            norm = f"{first}.{int(last) + 1}"
            scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + 1e-5).sqrt()
            made[name] = value * scale.view(-1, 1, 1, 1)
            made[name.replace("weight", "bias")] = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
    folded.load_state_dict(made)
    pixels = torch.randn(2, 3, 64, 64)
    assert torch.allclose(encoded(plain, pixels), encoded(folded, pixels), atol=1e-4)


def test_an_efficientnet_file_with_its_norms_apart_is_folded_as_it_is_read(tmp_path: Path) -> None:
    """The published torch files' names: _conv_stem, _blocks.N._expand_conv, _conv_head, _fc."""
    plain, folded = (built(EfficientNetEncoderConfig(folded=folded)) for folded in (False, True))
    for norm in (module for module in plain.modules() if isinstance(module, nn.BatchNorm2d)):
        nn.init.uniform_(norm.running_mean, -0.2, 0.2)
        nn.init.uniform_(norm.running_var, 0.5, 1.5)
    file = {_published(name, plain): value for name, value in plain.state_dict().items()}
    assert {"_conv_stem.weight", "_blocks.0._bn2.bias", "_blocks.15._expand_conv.weight", "_bn1.running_var"} <= set(file)
    torch.save({**file, "_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}, tmp_path / "w.pth")
    pixels = torch.randn(2, 3, 64, 64)
    load_weights(folded, tmp_path / "w.pth")
    assert torch.allclose(encoded(plain, pixels), encoded(folded, pixels), rtol=1e-3, atol=1e-3)
    wanted = encoded(plain, pixels)
    for parameter in plain.parameters():
        nn.init.zeros_(parameter)
    load_weights(plain, tmp_path / "w.pth")
    assert torch.equal(encoded(plain, pixels), wanted)


def _published(name: str, encoder: nn.Module) -> str:
    _, number, *inside, field = name.split(".")
    last = len(encoder.features) - 1  # type: ignore[arg-type]
    if int(number) in (0, last):
        names = ("_conv_stem", "_bn0") if number == "0" else ("_conv_head", "_bn1")
        return f"{names[int(inside[0])]}.{field}"
    parts = ["_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2"][2 if number == "1" else 0 :]
    places = {f"{place // 2}.{place % 2}": part for place, part in enumerate(parts[:-2])}
    places |= {str(len(parts) // 2 - 1): parts[-2], str(len(parts) // 2): parts[-1]}
    return f"_blocks.{int(number) - 1}.{places['.'.join(inside[1:])]}.{field}"


def test_a_large_depthwise_kernel_is_worked_out_in_float32_under_autocast() -> None:
    """Its gradient in bfloat16 takes a CPU many times as long."""
    encoder = EfficientNetEncoderConfig().build(reading(MODALITY))
    kernels: dict[int, set[torch.dtype]] = {}
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda module, _, out: kernels.setdefault(module.kernel_size[0], set()).add(out.dtype)  # type: ignore[attr-defined]
            )
    with torch.autocast("cpu", torch.bfloat16):
        encoded(encoder, torch.zeros(1, 3, 64, 64))
    assert kernels == {1: {torch.bfloat16}, 3: {torch.bfloat16}, 5: {torch.float32}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("gone", r"w.pt is no weight file; give a .safetensors, .pt or .pth file"),
        ("cut", r"w.pt cannot be read \(.*\); it may be cut short, copy it again"),
        ("code", r"w.pt holds more than weights, and reading that could run code; save its state_dict\(\) alone"),
        ("list", r"w.pt does not map names to weights; save the model's state_dict\(\)"),
        ("other", r"w.pt lacks 98 of 120 parameters, first conv1.weight; it is of another architecture"),
        ("size", r"w.pt: conv1.weight is \[64, 1, 7, 7\], the model has \[64, 3, 7, 7\]; it is of another size"),
        ("norms", r"w.pt: it has batch norm; this needs an encoder with batch_norm: true"),
        ("no norms", r"w.pt: it has no batch norm; this needs an encoder with batch_norm: false"),
        ("folded", r"w.pt: batch norm is folded into its convolutions; this needs an encoder with folded: true"),
    ],
)
def test_a_weight_file_that_does_not_fit_is_told(content: str, message: str, tmp_path: Path) -> None:
    path, encoder = tmp_path / "w.pt", built(ResNetEncoderConfig(depth=18))
    state = dict(encoder.state_dict())
    if content == "cut":
        torch.save(state, path)
        path.write_bytes(path.read_bytes()[:4000])
    elif content == "code":
        path.write_bytes(pickle.dumps({"x": Harmful()}))
    elif content == "list":
        torch.save([1, 2], path)
    elif content == "other":
        torch.save({name: state[name] for name in ("bn1.running_mean", "bn1.running_var")}, path)
    elif content == "size":
        torch.save({**state, "conv1.weight": torch.zeros(64, 1, 7, 7)}, path)
    elif content in ("norms", "no norms"):
        encoder, other = (
            built(VGGEncoderConfig(depth=11, batch_norm=norms)) for norms in (content == "no norms", content == "norms")
        )
        torch.save({**other.state_dict(), "classifier.0.weight": torch.zeros(4, 4)}, path)
    elif content == "folded":
        encoder = built(MobileNetEncoderConfig())
        torch.save(dict(built(FOLDED).state_dict()), path)
    with pytest.raises(UserError, match=message):
        load_weights(encoder, path)


class Harmful:
    """What a hostile file would run when it is read."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, ("1 + 1",))


def test_the_folded_mobilenet_at_hand_sees_what_is_in_a_photo(shared_data: Path) -> None:
    """With the file's own classifier on top: free sample photos get the right ImageNet class."""
    data = pytest.importorskip("skimage.data")
    folder = shared_data / "weights" / "mobilenet_v2"
    encoder = built(FOLDED)
    load_weights(encoder, folder)
    file = next(folder.glob("*.pt"))
    state = torch.load(file, weights_only=True)
    classifier = {name: value for name, value in state.items() if name.startswith("classifier")}
    weight = next(value for value in classifier.values() if value.ndim > 1).flatten(1)
    bias = next(value for value in classifier.values() if value.ndim == 1)
    names = json.loads((shared_data / "weights" / "imagenet_classnames.json").read_text())
    modality = ImageModality(ImageModalityConfig(size=224))
    for photo, wanted in (
        ("coffee", ("espresso", "cup")),
        ("chelsea", ("cat", "tabby", "lynx")),
        ("rocket", ("missile", "projectile")),
    ):
        image = Image.fromarray(np.asarray(getattr(data, photo)()))
        padded = modality.pad([modality.prepare(image)])
        features = encoded(encoder, torch.from_numpy(padded.values))
        best = (features.mean(1) @ weight.T + bias)[0].topk(3).indices.tolist()
        assert any(word in names[k].lower() for k in best for word in wanted), [names[k] for k in best]


def test_a_shared_embedding_is_the_decoder_s_own_and_stored_once() -> None:
    own, borrowing = (build(variants()[f"encoder transformer {kind}"]) for kind in ("bidirectional", "shared embedding"))
    words = borrowing.decoder("text").embedding.tokens.weight  # type: ignore[union-attr]
    assert {name for name, value in borrowing.state_dict().items() if value.shape == words.shape} == {
        "decoders.text.embedding.tokens.weight"
    }
    sizes = [sum(p.numel() for p in model.parameters()) for model in (own, borrowing)]
    assert sizes[0] - sizes[1] == words.numel() - 32 * 32 - 32 - 64  # less the projection and the norm
    read = Padded(torch.tensor([[3, 4, 5]]), torch.ones(1, 3, dtype=torch.bool))
    before = borrowing.encoders["prompt"](read).values
    with torch.no_grad():
        words[4] *= -1
    after = borrowing.encoders["prompt"](read).values
    assert float((before - after).detach().abs().max()) > 1e-3
    after[..., 0].sum().backward()
    assert words.grad is not None and words.grad[4].any() and not words.grad[9].any()


@pytest.mark.parametrize(
    ("share_embedding_with", "tokenizer", "message"),
    [
        ("txt", "tokenizer", "encoders.prompt: share_embedding_with is 'txt'; choose from label, text (did you mean 'text'?)"),
        (
            "text",
            "prompt.tokenizer",
            "encoders.prompt: share_embedding_with is 'text', which writes with 'tokenizer' and not 'prompt.tokenizer'; give "
            "both one tokenizer",
        ),
        (
            "label",
            "tokenizer",
            "encoders.prompt: share_embedding_with is 'label', a decoder without a token embedding of its own; leave it out",
        ),
    ],
)
def test_an_embedding_that_cannot_be_shared_is_a_clear_error(share_embedding_with: str, tokenizer: str, message: str) -> None:
    base = tiny()
    prompt = TransformerTextEncoderConfig(width=32, depth=1, heads=2, share_embedding_with=share_embedding_with)
    config = replace(base, encoders={"prompt": prompt}, decoders={**base.decoders, "label": ClassesDecoderConfig()})
    read = {"prompt": replace(TextModalityConfig(max_length=32), tokenizer=tokenizer)}
    written = {"text": TextModalityConfig(max_length=32), "label": LabelsModalityConfig(labels=("a", "b"))}
    tokenizers = dict.fromkeys(("tokenizer", "prompt.tokenizer"), known())
    with pytest.raises(UserError) as error:
        config.build(build_modalities(read, tokenizers), build_modalities(written, tokenizers))
    assert str(error.value) == message


TABLE = TabularModalityConfig(
    table=(NumberColumn("price", mean=10.0, std=5.0), CategoryColumn("brand", categories=("Acme", "Bolt")), NumberColumn("age"))
)
every_tabular_encoder = pytest.mark.parametrize(
    "config", [FTTransformerEncoderConfig(heads=2), MLPEncoderConfig()], ids=lambda c: c.kind
)


def cells(*rows: dict[str, object]) -> Padded:
    modality = TABLE.build()
    padded = modality.pad([modality.prepare(row) for row in rows])
    return Padded(torch.from_numpy(padded.values), torch.from_numpy(padded.mask))


@every_tabular_encoder
def test_a_missing_cell_s_value_never_counts_and_that_it_is_missing_does(config: EncoderConfig) -> None:
    encoder = built(config, TABLE.build())
    given = cells({"price": 12, "brand": "Acme"}, {"price": 12, "brand": "Acme", "age": 0})
    lost = ~given.mask
    other = Padded(given.values.masked_fill(lost, float("nan")), given.mask)
    with torch.no_grad():
        features, same = encoder(given), encoder(other)
    assert torch.equal(features.values, same.values) and torch.isfinite(same.values).all()
    assert not torch.allclose(features.values[0], features.values[1]), "a missing age is not an age of 0"
    assert features.mask.all()


@every_tabular_encoder
def test_every_column_counts_and_categories_that_training_never_showed_are_alike(config: EncoderConfig) -> None:
    encoder = built(config, TABLE.build())
    base = {"price": 12, "brand": "Acme", "age": 3}
    changes = ({}, {"price": 13}, {"brand": "Bolt"}, {"age": 4}, {"brand": "new"}, {"brand": "newer"})
    with torch.no_grad():
        values = encoder(cells(*({**base, **change} for change in changes))).values.flatten(1)
    assert all(not torch.allclose(one, values[0]) for one in values[1:])
    assert torch.equal(values[4], values[5])


def test_the_positions_of_a_row_are_its_columns_or_the_whole_row() -> None:
    given = cells({"price": 12})
    columns, whole = (built(config, TABLE.build())(given) for config in (FTTransformerEncoderConfig(), MLPEncoderConfig()))
    assert columns.extent.tolist() == [[0.0], [1.0], [2.0]] and columns.values.shape[:2] == (1, 3)
    assert whole.extent.tolist() == [[-1.0]] and whole.values.shape[:2] == (1, 1)
    names = {
        name
        for features in (columns, whole)
        for name in TABLE.build().units(given, features.mask[0].numpy(), features.extent.numpy()).names
    }
    assert names == {"price", "brand", "age"}


def test_a_table_without_columns_is_a_clear_error() -> None:
    with pytest.raises(UserError, match="has no columns yet; a training run fills them in"):
        MLPEncoderConfig().build(reading(TabularModalityConfig().build()))


class MeanColour(nn.Module):
    """An encoder that Braid does not know."""

    width = 3

    def forward(self, inputs: Padded) -> Features:
        mask = torch.ones(len(inputs.values), 1, dtype=torch.bool)
        return Features(inputs.values.mean((2, 3)).unsqueeze(1), mask)


@dataclass(frozen=True)
class MeanColourConfig:
    """Its config: a kind, a modality and ``build``."""

    kind: Literal["mean_colour"] = "mean_colour"
    modality: ClassVar[str] = "image"

    def build(self, context: BuildContext) -> MeanColour:
        assert context.input.config.kind == "image"
        return MeanColour()


def test_an_encoder_of_your_own_needs_a_config_with_build_and_nothing_else() -> None:
    with shapes_unchecked():  # which hold a model to the kinds that Braid knows
        config = replace(tiny(), encoders={**tiny().encoders, "image": MeanColourConfig()})  # type: ignore[dict-item]
        model, batch = build(config), to_tensors(collator(config)(samples_of(config)).batch, torch.device("cpu"))
        model.losses(batch, ["text"])["text"].backward()
    assert model.projections["image"].linear.weight.grad.any()  # type: ignore[union-attr]


def test_settings_of_an_earlier_version_are_listed_with_their_new_names() -> None:
    old = to_dict(tiny())
    old["encoders"]["image"] = {"kind": "tokens", "patch": 2, "redrawn": 0.5}
    old["decoders"] = {"label": {"kind": "classes", "reads": "highest"}}
    with pytest.raises(UserError) as error:
        from_dict(ModelConfig, old, "model.json")
    assert str(error.value) == (
        "model.json was written for an earlier version of Braid; rename encoders.image.patch to patch_size, "
        "encoders.image.redrawn to reconstruction_probability, decoders.label.reads: highest to max"
    )

"""The contracts of outputs that are pictures: codecs and decoders that draw; their numbers are those of docs/architecture.md."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.numpy import load_file

from braid.api import load
from braid.bundle import Interface, read_bundle, write_bundle
from braid.codecs import CodecConfig, FSQCodecConfig
from braid.collate import Collator
from braid.config import to_dict
from braid.datasets.scenes import scene_examples
from braid.decoders import ImageDecoderConfig
from braid.errors import UserError
from braid.generation.images import ImageSamplingConfig, sample_tokens
from braid.metrics import psnr, ssim
from braid.modalities import ImageModalityConfig, TextModalityConfig
from braid.model import Model, ModelConfig
from braid.presets import tiny
from braid.records import Batch, BatchInput, Padded, Sample
from braid.runtime.export import export_codec, export_decoder, export_filler
from braid.runtime.onnx import OnnxRuntime
from braid.runtime.torch import TorchRuntime, load_model, to_tensors
from braid.tasks import Reconstruction
from braid.training import Watcher, run_from, train
from conftest import shapes_unchecked
from variants import CODECS, IMAGE_DECODERS, SIZE, VQ, inputs, samples, tokenizer

CPU = torch.device("cpu")
OUT = "image"
PICTURE = ImageModalityConfig(size=SIZE)
DRAWING = ImageSamplingConfig(guidance=2.0, steps=5)
every_decoder = pytest.mark.parametrize("decoder", IMAGE_DECODERS.values(), ids=IMAGE_DECODERS)
every_codec = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)


def config_of(decoder: ImageDecoderConfig) -> ModelConfig:
    """One of either kind of decoder draws tokens of two parts."""
    two_parts = getattr(decoder, "edits", "") or getattr(decoder, "patch_size", 1) > 1
    return replace(tiny(), decoders={OUT: decoder}, codecs={OUT: CODECS["fsq of two tones" if two_parts else "fsq"]})


def built(config: ModelConfig, seed: int = 0) -> Model:
    """With what begins at zero as it may be after training."""
    torch.manual_seed(seed)
    model = config.build(inputs(), {OUT: PICTURE.build()}).eval()
    for name, value in model.decoders.named_parameters():
        if ".widen." in name:
            torch.nn.init.normal_(value, std=0.1)
    return model


def rows() -> tuple[Sample, ...]:
    """Eight questions, each with the picture of another row to draw."""
    given = samples()
    return tuple(replace(one, targets={OUT: given[-1 - row].inputs["image"]}) for row, one in enumerate(given))


def batch_of(chosen: tuple[Sample, ...]) -> Batch:
    return Collator(inputs(), {OUT: PICTURE.build()})(chosen, strict=True).batch


def saved(model: Model, folder: Path) -> Path:
    described = {"image": ImageModalityConfig(size=SIZE), "prompt": TextModalityConfig(max_length=32)}
    given = {name: described[name] for name in model.config.encoders}
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    tokenizers = {"tokenizer": tokenizer()} if given else {}
    write_bundle(folder, Interface(given, {OUT: PICTURE}, {}), tokenizers, to_dict(model.config), weights)  # type: ignore[arg-type]
    return folder


def tokens_of(model: Model, batch: Batch, config: ImageSamplingConfig = DRAWING) -> np.ndarray:
    runtime = TorchRuntime(model, tokenizer())
    return sample_tokens(runtime.image_decoder(OUT), runtime.codec(OUT).grid, batch, config)


def first_logits(model: Model, batch: Batch) -> np.ndarray:
    """What a decoder makes of a picture of which nothing is known."""
    runtime = TorchRuntime(model, tokenizer())
    image_decoder, grid = runtime.image_decoder(OUT), runtime.codec(OUT).grid
    state = image_decoder.start(batch)
    if hasattr(image_decoder, "fill"):
        return image_decoder.fill(np.full((batch.size, grid.length), grid.codes), state)
    return image_decoder.step(np.full((batch.size, 1), grid.codes), state)[0]


def test_1_a_codec_learns_eight_pictures_by_heart() -> None:
    model = built(ModelConfig(codecs={OUT: CODECS["fsq"]})).train()
    batch = to_tensors(batch_of(rows()), CPU)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    first = float(model.losses(batch, [OUT])[OUT].detach())
    for _ in range(200):
        loss = model.losses(batch, [OUT])[OUT]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.25 * first
    task = Reconstruction()
    given = [replace(sample, inputs={}) for sample in rows()]
    metrics = task.score(task.predict(TorchRuntime(model, None), batch_of(rows())), given)
    assert metrics["psnr"] > 17 and metrics["ssim"] > 30
    assert 0 < metrics["code-use"] <= 100 and 1 <= metrics["code-perplexity"] <= 48


@every_decoder
def test_1_a_decoder_learns_eight_pictures_by_heart(decoder: ImageDecoderConfig) -> None:
    model = built(config_of(decoder)).train()
    batch = to_tensors(batch_of(rows()), CPU)
    codec = {name: value.clone() for name, value in model.codecs.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=4e-3)
    for _ in range(300):
        loss = model.losses(batch, [OUT])[OUT]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.2
    assert all(torch.equal(value, codec[name]) for name, value in model.codecs.state_dict().items())  # tokens mean the same
    truth = model.codec(OUT).encode(batch.targets[OUT].values).numpy()
    generated = tokens_of(model, batch_of(rows()), ImageSamplingConfig(guidance=1.0, top_k=1, steps=16, choice_temperature=0.0))
    assert (generated == truth).mean() > 0.95


@every_decoder
def test_2_saved_is_loaded_bit_for_bit(decoder: ImageDecoderConfig, tmp_path: Path) -> None:
    model, batch = built(config_of(decoder), seed=5), batch_of(rows())
    loaded = load_model(read_bundle(saved(model, tmp_path / "model")))
    assert np.array_equal(first_logits(loaded, batch), first_logits(model, batch))
    assert np.array_equal(tokens_of(loaded, batch), tokens_of(model, batch))


@every_decoder
def test_3_padding_never_changes_a_drawing(decoder: ImageDecoderConfig) -> None:
    model, batch = built(config_of(decoder)), batch_of(rows())
    prompt = batch.inputs["prompt"]
    values = np.pad(prompt.distinct.values, ((0, 0), (0, 5)), constant_values=7)
    mask = np.pad(prompt.distinct.mask, ((0, 0), (0, 5)))
    longer = replace(batch, inputs={**batch.inputs, "prompt": replace(prompt, distinct=Padded(values, mask))})
    assert np.abs(first_logits(model, longer) - first_logits(model, batch)).max() < 1e-5
    skipped = replace(prompt, distinct=Padded(values, np.ones_like(mask)))
    unmasked = replace(batch, inputs={**batch.inputs, "prompt": skipped})
    assert np.abs(first_logits(model, unmasked) - first_logits(model, batch)).max() > 1e-4


@every_decoder
@pytest.mark.parametrize("given", [(), ("image",), ("prompt",)], ids=["none", "image", "prompt"])
def test_4_any_subset_of_inputs_works(decoder: ImageDecoderConfig, given: tuple[str, ...]) -> None:
    model, whole = built(config_of(decoder)), batch_of(rows())
    absent = replace(whole, inputs={name: whole.inputs[name] for name in given})
    masked = {name: one if name in given else BatchInput(one.distinct, np.full(8, -1)) for name, one in whole.inputs.items()}
    result = first_logits(model, absent)
    assert np.isfinite(result).all()
    assert np.abs(result - first_logits(model, replace(whole, inputs=masked))).max() < 1e-5
    assert tokens_of(model, absent).max() < model.codec(OUT).grid.codes


@every_decoder
def test_5_a_batch_draws_what_single_rows_do_and_the_seed_decides(decoder: ImageDecoderConfig) -> None:
    model, eight = built(config_of(decoder)), rows()
    together = tokens_of(model, batch_of(eight))
    singles = [tokens_of(model, batch_of((sample,)))[0] for sample in eight]
    assert np.array_equal(together, singles)
    assert np.array_equal(together, tokens_of(model, batch_of(eight)))
    assert not np.array_equal(together, tokens_of(model, batch_of(eight), replace(DRAWING, seed=1)))


@pytest.mark.parametrize("kind", ["raster", "raster that edits"])
def test_6_cached_drawing_equals_uncached(kind: str) -> None:
    model, batch = built(config_of(IMAGE_DECODERS[kind])), to_tensors(batch_of(rows()), CPU)
    decoder = model.image_decoder(OUT)
    grid = model.codec(OUT).grid
    tokens = torch.randint(0, grid.codes, (8, 1, grid.length - 1), generator=torch.Generator().manual_seed(0))
    read = torch.nn.functional.pad(tokens, (1, 0), value=grid.codes)
    with torch.no_grad():
        fused = model(batch)
        whole = decoder.logits(fused, read)  # type: ignore[union-attr]
        state = decoder.start(fused)
        for place in range(grid.length):
            step, state = decoder.step(read[:, :, place], state)  # type: ignore[union-attr]
            assert torch.allclose(step, whole[:, :, place], atol=1e-5)


@every_decoder
def test_8_the_same_seed_gives_the_same_weights(decoder: ImageDecoderConfig) -> None:
    first, second, other = (built(config_of(decoder), seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@every_decoder
def test_10_onnx_draws_torchs_tokens(decoder: ImageDecoderConfig, tmp_path: Path) -> None:
    model, whole = built(config_of(decoder)), batch_of(rows())
    folder = saved(model, tmp_path / "model")
    with shapes_unchecked():
        (export_filler if decoder.kind == "masked" else export_decoder)(model, inputs(), OUT, folder)
        export_codec(model, OUT, folder)
    runtime = OnnxRuntime(read_bundle(folder))
    lost = replace(whole, inputs={"prompt": whole.inputs["prompt"]})
    for batch in (whole, lost):
        generated = sample_tokens(runtime.image_decoder(OUT), runtime.codec(OUT).grid, batch, DRAWING)
        assert np.array_equal(generated, tokens_of(model, batch))


@every_codec
def test_10_onnx_gives_torchs_tokens_and_pixels(codec: CodecConfig, tmp_path: Path) -> None:
    model, pixels = built(ModelConfig(codecs={OUT: codec})), batch_of(rows()).targets[OUT].values
    folder = saved(model, tmp_path / "model")
    with shapes_unchecked():
        export_codec(model, OUT, folder)
    ours, theirs = (runtime.codec(OUT) for runtime in (TorchRuntime(model, None), OnnxRuntime(read_bundle(folder))))
    assert theirs.grid == ours.grid
    tokens = ours.tokens(pixels)
    assert (theirs.tokens(pixels) == tokens).mean() > 0.99  # a number on the edge between two levels may fall either way
    assert np.abs(theirs.pixels(tokens) - ours.pixels(tokens)).max() < 1e-4
    pixels_graph = folder / f"{OUT}.pixels.onnx"
    graph = onnx.load(pixels_graph)
    del graph.metadata_props[:]
    onnx.save(graph, pixels_graph)
    with pytest.raises(UserError, match="has no token grid in its metadata; export the model again"):
        OnnxRuntime(read_bundle(folder)).codec(OUT)


def test_tokens_tell_of_their_own_surroundings_alone() -> None:
    """What is drawn on the right of a picture changes no token on its left: else paper would have as many codes as pictures."""
    codec = FSQCodecConfig(width=16, max_width=16, depth=1, downscale=2, levels=(8, 8, 6, 5))
    part = built(ModelConfig(codecs={OUT: codec})).codec(OUT)
    pixels = to_tensors(batch_of(rows()), CPU).targets[OUT].values
    other = pixels.clone()
    other[..., SIZE // 2 :] = -pixels[..., SIZE // 2 :]
    with torch.no_grad():
        before, after = (part.encode(one).unflatten(1, (part.grid.rows, part.grid.columns)) for one in (pixels, other))
    near = part.grid.columns // 4
    assert torch.equal(before[..., :near], after[..., :near])
    assert not torch.equal(before[..., -near:], after[..., -near:])


@every_codec
def test_every_token_of_a_codec_means_itself(codec: CodecConfig) -> None:
    """Tokens lie in the grid; what is decoded depends on each of them; padding is no part of the loss."""
    model = built(ModelConfig(codecs={OUT: codec}))
    part = model.codec(OUT)
    target = to_tensors(batch_of(rows()), CPU).targets[OUT]
    with torch.no_grad():
        tokens = part.encode(target.values)
        assert tokens.shape == (8, part.grid.length) and 0 <= int(tokens.min()) <= int(tokens.max()) < part.grid.codes
        other = tokens.clone()
        other[:, 0] = (other[:, 0] + 1) % part.grid.codes
        assert not torch.equal(part.decode(tokens), part.decode(other))
        mask = target.mask.clone()
        mask[:, :, SIZE // 2 :] = False
        left = target.values * mask.unsqueeze(1)
        assert torch.isfinite(part.loss(Padded(left, mask)))


class Killed(Exception):
    pass


RECONSTRUCTION: dict[str, Any] = {
    "task": "reconstruction",
    "data": {"path": "scenes:editing,train=16,val=2,size=32"},
    "model": to_dict(ModelConfig(codecs={OUT: CODECS["fsq"]})),
    "outputs": {OUT: {"kind": "image", "size": SIZE}, "text": {"kind": "text", "max_length": 40}},
    "epochs": 2,
    "batch_size": 4,
    "workers": 0,
    "threads": 1,
    "checkpoint_steps": 1,
}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has trained the codec, which those of decoders begin with."""
    folder = tmp_path_factory.mktemp("codec") / "tokens"
    train(run_from({**RECONSTRUCTION, "epochs": 1}), folder)
    return folder


@pytest.mark.parametrize("kind", ["codec", *IMAGE_DECODERS])
def test_a_killed_run_ends_in_the_same_weights(kind: str, tokens: Path, tmp_path: Path) -> None:
    """What is hidden from the masked decoder is drawn from the step's own seed, too."""
    settings = RECONSTRUCTION
    if kind != "codec":
        decoders = {**to_dict(tiny().decoders), OUT: to_dict(IMAGE_DECODERS[kind])}
        draws = {
            "task": {"kind": "image_generation", "sentence": True},
            "inputs": {"image": {"kind": "image", "size": SIZE}, "prompt": {"kind": "text"}},
            "initialize": {"codecs.image": str(tokens)},
        }
        settings = {**settings, **draws, "model": {**to_dict(tiny()), "decoders": decoders}}

    def killed(record: dict[str, Any]) -> None:
        if record["step"] == 3:
            raise Killed

    train(run_from(settings), tmp_path / "whole")
    with pytest.raises(Killed):
        train(run_from(settings), tmp_path / "killed", watcher=Watcher(on_step=killed))
    train(run_from(settings), tmp_path / "killed", resume=True)
    weights = [load_file(tmp_path / name / "last" / "model.safetensors") for name in ("whole", "killed")]
    assert all(np.array_equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.filterwarnings("ignore")
def test_a_tokenizer_of_diffusers_is_taken_over_whole(tmp_path: Path) -> None:
    from diffusers import VQModel

    torch.manual_seed(3)
    theirs = VQModel(**VQ).eval()
    theirs.save_pretrained(tmp_path / "vq")
    settings = {
        "task": "image_generation",
        "data": {"path": "scenes:image_generation,train=8,val=4,size=32"},
        "model": {**to_dict(tiny(inputs=["prompt"])), "decoders": {OUT: to_dict(IMAGE_DECODERS["masked"])}},
        "outputs": {OUT: {"kind": "image", "size": SIZE, "mean": [0.1, 0.1, 0.1]}},
        "epochs": 1,
        "workers": 0,
    }
    settings["model"]["codecs"] = {OUT: {"kind": "pretrained", "source": str(tmp_path / "vq")}}  # type: ignore[index]
    train(run_from(settings), tmp_path / "run")
    shutil.rmtree(tmp_path / "vq")
    loaded = load(tmp_path / "run")
    pixels = batch_of(rows()).targets[OUT].values
    with torch.inference_mode():
        latents = theirs.encode(torch.from_numpy(pixels)).latents
        expected = theirs.quantize(latents)[2][2].view(8, -1)
        made = theirs.decode(latents).sample
    ours = loaded.runtime.codec(OUT)
    assert np.array_equal(ours.tokens(pixels), expected)
    assert np.abs(ours.pixels(expected.numpy()) - made.numpy()).max() < 1e-4
    assert loaded.imagine("a small red circle").size == (SIZE, SIZE)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"config.json": '{"_class_name": "AutoencoderKL"}'}, "holds a model of class AutoencoderKL; a codec is a VQModel"),
        ({"config.json": "[]"}, "holds a model of class unknown; a codec is a VQModel of diffusers"),
        ({}, "has no config.json; it is not the folder of a Hugging Face model"),
        (
            {"config.json": json.dumps({"_class_name": "VQModel", **VQ})},
            "has no diffusion_pytorch_model.safetensors",
        ),
    ],
)
def test_what_is_no_tokenizer_of_diffusers(files: dict[str, str], message: str, tmp_path: Path) -> None:
    (tmp_path / "vq").mkdir()
    for name, text in files.items():
        (tmp_path / "vq" / name).write_text(text)
    settings = {
        "task": "reconstruction",
        "data": {"path": "scenes:image_generation,train=8,val=4,size=32"},
        "model": {"codecs": {OUT: {"kind": "pretrained", "source": str(tmp_path / "vq")}}},
        "outputs": {OUT: {"kind": "image", "size": SIZE}},
    }
    with pytest.raises(UserError, match=re.escape(message)):
        train(run_from(settings), tmp_path / "run")


def test_near_pictures_by_the_figures_of_a_library() -> None:
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    rng = np.random.default_rng(0)
    one = rng.integers(0, 255, (40, 30, 3), np.uint8)
    other = np.clip(one + rng.normal(0, 20, one.shape), 0, 255).astype(np.uint8)
    assert psnr(one, other) == pytest.approx(peak_signal_noise_ratio(one, other), rel=1e-9)
    assert ssim(one, other) == pytest.approx(structural_similarity(one, other, channel_axis=2), abs=0.01)
    assert ssim(one, one) == pytest.approx(1)


def test_a_decoder_of_pictures_without_a_codec_says_what_is_missing() -> None:
    with pytest.raises(UserError) as error:
        built(replace(config_of(IMAGE_DECODERS["raster"]), codecs={}))
    assert str(error.value) == (
        "decoders.image: a decoder of images writes the tokens of a codec, and the model has none; name a run of the task "
        "reconstruction in initialize: {codecs.image: RUN}"
    )


def test_edits_and_drawings_of_scenes_hold_what_they_say() -> None:
    for task in ("image_generation", "editing"):
        for example in scene_examples(task, "compositional", 3, size=64):
            assert example.fields["holds"] and np.asarray(example.fields["image"]).shape == (64, 64, 3)

"""Audio encoders: honest masks, image weights over spectrograms, pretrained ones, exports for any length, defaults of runs."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import save_file
from torch import nn

from braid.bundle import Interface, read_bundle, write_bundle
from braid.collate import Collator
from braid.config import to_dict
from braid.encoders import (
    AudioTransformerEncoderConfig,
    EncoderConfig,
    FrameAudioEncoderConfig,
    MobileNetEncoderConfig,
    PretrainedAudioEncoderConfig,
    ViTEncoderConfig,
    load_weights,
)
from braid.errors import UserError
from braid.huggingface import hub
from braid.layers.context import BuildContext
from braid.layers.sound_levels import SoundLevelsConfig
from braid.media.sound import RATE
from braid.modalities import AudioAugmentation, AudioModality, AudioModalityConfig, LabelsModalityConfig, build_modalities
from braid.modalities.audio import LogMelConfig, SamplesConfig
from braid.model import ModelConfig
from braid.presets import tiny
from braid.records import Features, Padded, Sample
from braid.runtime.export import export_vector
from braid.runtime.onnx import OnnxRuntime
from braid.runtime.torch import TorchRuntime
from braid.training.defaults import default_run
from braid.training.setup import initialize
from conftest import shapes_unchecked
from variants import AST, ENCODERS, SOUND, VECTOR_DECODERS, build, interface, tokenizer

AUDIO = {name: config for name, config in ENCODERS.items() if config.modality == "audio"}
MOBILENET = MobileNetEncoderConfig(width_multiplier=0.25)
LEVELS = SoundLevelsConfig(width=16, dropout=0.0)


def encoder_of(config: EncoderConfig, modality: AudioModality | None = None) -> Any:
    torch.manual_seed(0)
    return config.build(BuildContext("audio", {"audio": modality or SOUND.build()})).eval()


def spectrograms(lengths: tuple[int, ...], mels: int = 32) -> Padded:
    values = torch.randn(len(lengths), max(lengths), mels, generator=torch.Generator().manual_seed(0))
    return Padded(values, torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1))


def encoded(encoder: nn.Module, inputs: Padded) -> Features:
    with torch.no_grad():
        return encoder(inputs)


@pytest.mark.parametrize("config", AUDIO.values(), ids=AUDIO)
def test_frames_that_only_fill_up_never_change_an_answer(config: EncoderConfig) -> None:
    """Nor does what stands in them, and a recording alone is encoded as in a batch. Breaking the mask does change it."""
    encoder, given = encoder_of(config), spectrograms((150, 90, 7))
    more = Padded(torch.nn.functional.pad(given.values, (0, 0, 0, 77), value=3.0), torch.nn.functional.pad(given.mask, (0, 77)))
    short, long = encoded(encoder, given), encoded(encoder, more)
    positions = short.values.shape[1]
    assert short.mask.sum(1).tolist() == long.mask.sum(1).tolist() == sorted(short.mask.sum(1).tolist(), reverse=True)
    assert torch.allclose(short.values[short.mask], long.values[:, :positions][short.mask], atol=1e-5)
    alone = encoded(encoder, Padded(given.values[2:, :7], given.mask[2:, :7]))
    assert torch.allclose(alone.values[alone.mask], short.values[2][short.mask[2]], atol=1e-5)
    broken = encoded(encoder, Padded(given.values, torch.ones_like(given.mask)))
    assert not torch.allclose(short.values[2][short.mask[2]], broken.values[2][short.mask[2]], atol=1e-3)


@pytest.mark.parametrize("config", AUDIO.values(), ids=AUDIO)
def test_positions_are_stretches_of_time_in_order(config: EncoderConfig) -> None:
    extent = encoded(encoder_of(config), spectrograms((128,))).extent
    assert extent is not None and extent[0, 0] == 0 and 0.9 < extent.max() <= 1
    assert (extent[:, 1] > extent[:, 0]).all() and (extent[1:, 0] >= extent[:-1, 0]).all()


def test_levels_of_any_width_know_their_time() -> None:
    """Waves come in pairs, and a width may be odd."""
    config = FrameAudioEncoderConfig(frame=MOBILENET, levels=SoundLevelsConfig(width=15, dropout=0.0, pieces=True))
    values = encoded(encoder_of(config), spectrograms((300,))).values
    assert values.shape[2] == 45 and not torch.allclose(values[:, 0], values[:, 1], atol=1e-3)


@pytest.mark.parametrize("config", AUDIO.values(), ids=AUDIO)
def test_positions_know_their_time(config: EncoderConfig) -> None:
    """What sounds the same all the time is not the same at every position."""
    steady = Padded(torch.full((1, 160, 32), 0.3), torch.ones(1, 160, dtype=torch.bool))
    middle = encoded(encoder_of(config), steady).values[0, 1:-1]
    if len(middle) > 1:
        assert not torch.allclose(middle[:-1], middle[1:], atol=1e-3)


def test_a_sound_moves_the_position_of_its_time_alone() -> None:
    """Of an encoder whose pieces do not see each other."""
    encoder = encoder_of(AUDIO["audio frame"])
    given = spectrograms((64,))
    changed = given.values.clone()
    changed[:, 40:44] += 5
    before, after = encoded(encoder, given), encoded(encoder, Padded(changed, given.mask))
    moved = (before.values - after.values).abs().amax((0, 2)) > 1e-4
    assert before.extent is not None and moved.any()
    assert before.extent[moved, 0].min() == 0.5 and before.extent[moved, 1].max() == 0.75  # piece 3 of 4


def test_a_weight_file_of_images_fills_the_encoder_of_recordings(tmp_path: Path) -> None:
    """Three equal channels are one channel under the sum of the first weights."""
    config = FrameAudioEncoderConfig(frame=MOBILENET, frames=32, size=64)
    image = encoder_of(config).frame
    nn.init.normal_(image.features[0][0].weight)
    save_file(image.state_dict(), tmp_path / "mobilenet.safetensors")
    encoder = encoder_of(config)
    load_weights(encoder, tmp_path / "mobilenet.safetensors")
    assert torch.equal(encoder.frame.features[0][0].weight, image.features[0][0].weight)
    pixels = torch.randn(1, 1, 64, 64)
    first = image.features[0][0]
    summed = torch.nn.functional.conv2d(pixels, first.weight.sum(1, keepdim=True), None, first.stride, first.padding)
    assert torch.allclose(first(pixels.expand(-1, 3, -1, -1)), summed, atol=1e-4)
    shorter = encoder_of(replace(config, size=128, levels=LEVELS))
    load_weights(shorter, tmp_path / "mobilenet.safetensors")
    assert torch.equal(shorter.frame.features[0][0].weight, image.features[0][0].weight)
    assert len(shorter.frame.features) < len(image.features)  # the last stages are removed


def test_the_image_encoder_of_a_saved_model_begins_that_of_recordings(tmp_path: Path) -> None:
    pictured = replace(tiny(), encoders={**tiny().encoders, "image": MOBILENET})
    source = build(pictured, seed=3)
    weights = {name: value.numpy() for name, value in source.state_dict().items()}
    write_bundle(tmp_path / "model", interface(pictured), {"tokenizer": tokenizer()}, to_dict(pictured), weights)
    heard = FrameAudioEncoderConfig(frame=MOBILENET, levels=LEVELS)
    model = build(replace(tiny(), encoders={"audio": heard, "prompt": tiny().encoders["prompt"]}))
    initialize(model, "encoders.audio", str(tmp_path / "model"))
    own = model.get_submodule("encoders.audio.frame").state_dict()
    theirs = source.get_submodule("encoders.image").state_dict()
    assert own and all(torch.equal(value, theirs[name]) for name, value in own.items())


def test_levels_learn_from_real_pieces_only() -> None:
    """What fills up a batch does not move the running statistics."""
    encoder = encoder_of(FrameAudioEncoderConfig(frame=MOBILENET, frames=32, levels=LEVELS))
    given = spectrograms((64, 64))
    more = Padded(torch.nn.functional.pad(given.values, (0, 0, 0, 64)), torch.nn.functional.pad(given.mask, (0, 64)))
    for inputs in (given, more):
        encoder.levels.norms.train()
        for norm in encoder.levels.norms:
            norm.reset_running_stats()
        encoder(inputs)
        means = [norm.running_mean.clone() for norm in encoder.levels.norms]
        if inputs is given:
            expected = means
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(means, expected, strict=True))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            lambda: encoder_of(FrameAudioEncoderConfig(frame=ViTEncoderConfig(patch_size=32), levels=LEVELS)),
            "levels needs a frame of kind mobilenet or efficientnet without levels of its own; choose one, or set levels to null",
        ),
        (
            lambda: FrameAudioEncoderConfig(frame=MOBILENET, size=96, levels=LEVELS),
            "size is 96, and levels needs a multiple of 128; change it",
        ),
        (
            lambda: encoder_of(FrameAudioEncoderConfig(frame=ViTEncoderConfig(patch_size=24), size=64)),
            "frame: images of 64 pixels do not divide into patches of 24; change either size",
        ),
        (
            lambda: encoder_of(AudioTransformerEncoderConfig(patch_mels=12)),
            "32 mel bands do not divide into patches of 12; change patch_mels",
        ),
        (
            lambda: encoder_of(AudioTransformerEncoderConfig(width=33, heads=3)),
            "width is 33; it must be even, because positions are pairs of waves",
        ),
        (
            lambda: encoder_of(PretrainedAudioEncoderConfig(architecture={**AST, "num_mel_bins": 64})),
            "the spectrogram has 32 mel bands, the audio-spectrogram-transformer model reads 64; set mels to 64",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_told(config: Any, message: str) -> None:
    with pytest.raises(UserError) as told:
        config()
    assert str(told.value) == message


# ------------------------------------------------------------------ pretrained

WHISPER = {
    "model_type": "whisper",
    "vocab_size": 60,
    "num_mel_bins": 80,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "d_model": 16,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "max_source_positions": 50,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
HEARD = {
    "spec_size": 64,
    "num_mel_bins": 16,
    "patch_embeds_hidden_size": 8,
    "patch_stride": [4, 4],
    "depths": [1, 1],
    "window_size": 4,
}
SPOKEN = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": [8, 8],
    "conv_kernel": [10, 4],
    "conv_stride": [8, 4],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
CLAP = {**HEARD, "num_attention_heads": [2, 2], "hidden_size": 16, "projection_dim": 8}


def saved(kind: str, folder: Path) -> Path:
    """A small model with random weights, saved as its makers save it."""
    torch.manual_seed(0)
    if kind == "ast":
        transformers.AutoModel.from_config(transformers.AutoConfig.for_model(**AST)).save_pretrained(folder)
        transformers.ASTFeatureExtractor(num_mel_bins=32, max_length=64).save_pretrained(folder)
    elif kind == "whisper":
        config = transformers.AutoConfig.for_model(**WHISPER)
        transformers.AutoModel.from_config(config).save_pretrained(folder)
        transformers.WhisperFeatureExtractor(feature_size=80, chunk_length=1).save_pretrained(folder)
    elif kind in ("wav2vec2", "hubert"):
        norm = "layer" if kind == "hubert" else "group"
        config = transformers.AutoConfig.for_model(kind, **SPOKEN, feat_extract_norm=norm)
        transformers.AutoModel.from_config(config).save_pretrained(folder)
        transformers.Wav2Vec2FeatureExtractor(return_attention_mask=norm == "layer").save_pretrained(folder)
    else:
        text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 50}
        config = transformers.ClapConfig(
            text_config=text, audio_config={**CLAP, "enable_fusion": kind == "fused"}, projection_dim=8
        )
        transformers.ClapModel(config).save_pretrained(folder)
        given = {"feature_size": 16, "max_length_s": 1, "truncation": "rand_trunc", "padding": "pad"}
        transformers.ClapFeatureExtractor(**given).save_pretrained(folder)
    return folder


def taken(folder: Path) -> tuple[Any, AudioModality]:
    """The encoder of a folder, filled, and its modality."""
    part, modality, _ = PretrainedAudioEncoderConfig(source=str(folder)).taken_over(folder, SOUND, "audio.tokenizer")
    encoder = encoder_of(part, modality.build())
    encoder.load(folder)
    return encoder, modality.build()


def tone(seconds: float, rate: int = RATE) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (0.4 * np.sin(2 * np.pi * (300 + 200 * time) * time) + 0.01 * np.sin(9000 * time)).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.3, 0.64])
def test_ast_gives_what_transformers_gives(seconds: float, tmp_path: Path) -> None:
    encoder, modality = taken(saved("ast", tmp_path / "ast"))
    given = transformers.ASTFeatureExtractor.from_pretrained(tmp_path / "ast")(tone(seconds), RATE, return_tensors="pt")
    network = transformers.AutoModel.from_pretrained(tmp_path / "ast").eval()
    with torch.no_grad():
        patches = network(**given).last_hidden_state[:, 2:]
    ours = _heard(encoder, modality, tone(seconds))
    theirs = patches.unflatten(1, (-1, ours.values.shape[1])).mean(1)
    assert torch.allclose(ours.values, theirs, atol=1e-3)
    assert ours.mask.sum() == (5 if seconds > 0.6 else 3)  # patches begin every 10 frames


@pytest.mark.parametrize("seconds", [0.3, 1.0])
def test_whisper_gives_what_transformers_gives(seconds: float, tmp_path: Path) -> None:
    encoder, modality = taken(saved("whisper", tmp_path / "whisper"))
    given = transformers.WhisperFeatureExtractor.from_pretrained(tmp_path / "whisper")(tone(seconds), sampling_rate=RATE)
    network = transformers.AutoModel.from_pretrained(tmp_path / "whisper").eval().get_encoder()
    with torch.no_grad():
        theirs = network(torch.tensor(np.array(given["input_features"]))).last_hidden_state
    ours = _heard(encoder, modality, tone(seconds))
    assert ours.mask.sum() == round(50 * seconds)
    # Whisper hears half a window of a short recording once more, in the first frame after its end
    away = (ours.values - theirs).abs()
    assert away.max() < 1e-3 if seconds == 1.0 else away.mean() < 0.02


def test_clap_without_fusion_gives_what_transformers_gives(tmp_path: Path) -> None:
    encoder, modality = taken(saved("clap", tmp_path / "clap"))
    assert modality.config.rate == 48_000 and modality.mels == 16
    ours = _heard(encoder, modality, tone(0.5, 48_000), 48_000)
    assert ours.values.shape[0] == 1 and ours.mask.any() and not ours.mask.all()
    network = transformers.ClapModel.from_pretrained(tmp_path / "clap").eval().audio_model
    whole = modality.pad([modality.prepare((tone(1.0, 48_000), 48_000))])
    with torch.no_grad():
        theirs = network(torch.from_numpy(whole.values).unsqueeze(1)).last_hidden_state.mean(2).transpose(1, 2)
    assert torch.allclose(_heard(encoder, modality, tone(1.0, 48_000), 48_000).values, theirs, atol=1e-4)


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert"])
def test_models_of_samples_give_what_transformers_gives(kind: str, tmp_path: Path) -> None:
    encoder, modality = taken(saved(kind, tmp_path / kind))
    assert modality.mels == 32 and modality.length == math.ceil(SOUND.seconds * RATE / 32)
    reads = transformers.Wav2Vec2FeatureExtractor.from_pretrained(tmp_path / kind)
    network = transformers.AutoModel.from_pretrained(tmp_path / kind).eval()
    for seconds in (0.3, SOUND.seconds):
        given = reads(tone(seconds), sampling_rate=RATE, return_tensors="pt")
        rest = (0, 32 * modality.length - given.input_values.shape[1])
        with torch.no_grad():
            theirs = network(**{name: torch.nn.functional.pad(value, rest) for name, value in given.items()}).last_hidden_state
        ours = _heard(encoder, modality, tone(seconds))
        heard = ours.mask[0]
        assert heard.sum() == pytest.approx(seconds * RATE / 32, abs=3)
        assert torch.allclose(ours.values[0, : heard.sum() - 3], theirs[0, : heard.sum() - 3], atol=1e-3)
    assert _heard(encoder, modality, tone(1.0)[:1]).values.isfinite().all()


def _heard(encoder: nn.Module, modality: AudioModality, samples: np.ndarray, rate: int = RATE) -> Features:
    given = modality.pad([modality.prepare((samples, rate))])
    return encoded(encoder, Padded(torch.from_numpy(given.values), torch.from_numpy(given.mask)))


@pytest.mark.parametrize(
    ("kind", "spectrogram", "message"),
    [
        (
            "wav2vec2",
            LogMelConfig(),
            "this wav2vec2 model reads samples, not this spectrogram; set spectrogram to {kind: samples, step: 32}",
        ),
        (
            "ast",
            SamplesConfig(),
            "this audio-spectrogram-transformer model reads a spectrogram, not samples; set the kind of spectrogram to log_mel, "
            "whisper or ast",
        ),
    ],
)
def test_an_input_that_a_model_does_not_read_is_told(kind: str, spectrogram: Any, message: str, tmp_path: Path) -> None:
    part, _, _ = PretrainedAudioEncoderConfig(source=str(saved(kind, tmp_path / kind))).taken_over(tmp_path / kind, SOUND, "")
    with pytest.raises(UserError) as told:
        encoder_of(part, replace(SOUND, spectrogram=spectrogram).build())
    assert str(told.value) == message


def test_masks_of_samples_are_stretches_of_time(tmp_path: Path) -> None:
    augmentation = AudioAugmentation(gain=0.0, shift=0.0, noise=0.0, masks=3, time_mask=0.3)
    modality = AudioModalityConfig(spectrogram=SamplesConfig(), augmentation=augmentation).build()
    frames = modality.prepare((tone(1.0), RATE), rng=np.random.default_rng(0)).frames
    hidden = (frames == frames[:, :1]).all(1)
    assert 0 < hidden.sum() < len(frames) and (frames[~hidden].std(1) > 0.1).all()


def test_a_longer_recording_is_read_in_pieces(tmp_path: Path) -> None:
    encoder, modality = taken(saved("whisper", tmp_path / "whisper"))
    longer = replace(modality.config, windows=2).build()
    ours = _heard(encoder, longer, np.concatenate([tone(1.0), tone(0.5)]))
    assert ours.values.shape[1] == 100 and ours.mask.sum() == 75
    assert torch.allclose(ours.values[:, :49], _heard(encoder, modality, tone(1.0)).values[:, :49], atol=0.2)


def test_models_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    config = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    transformers.UniSpeechConfig(**config).save_pretrained(tmp_path / "unispeech")
    transformers.BertConfig(**config).save_pretrained(tmp_path / "bert")
    saved("fused", tmp_path / "fused")
    (saved("ast", tmp_path / "bare") / "preprocessor_config.json").unlink()
    expected = {
        "unispeech": f"{tmp_path}/unispeech holds a unispeech model, which Braid does not use; give AST, Whisper, CLAP, "
        "wav2vec2 or HuBERT",
        "bert": f"{tmp_path}/bert holds a bert model, which does not encode recordings; give an audio encoder such as AST, "
        "Whisper, CLAP or wav2vec2",
        "fused": "this CLAP model fuses several parts of a recording; give one without, as laion/clap-htsat-unfused",
        "bare": f"{tmp_path}/bare has no readable preprocessor_config.json, which says how the model prepares its recordings; "
        "copy it, too",
    }
    for name, message in expected.items():
        with pytest.raises(UserError) as told:
            taken(tmp_path / name)
        assert str(told.value) == message


def test_a_source_without_a_network_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="openai/whisper-none is not a folder here, and the Hugging Face hub cannot be reached"):
        hub.find("openai/whisper-none")


# ------------------------------------------------------------------ models


@pytest.mark.parametrize("name", ["audio cnn", "audio frame levels", "wav2vec2", "hubert"])
def test_an_exported_classifier_takes_any_length(name: str, tmp_path: Path) -> None:
    encoder, sound = AUDIO.get(name), SOUND
    if encoder is None:
        part = PretrainedAudioEncoderConfig(source=str(saved(name, tmp_path / name)))
        encoder, sound, _ = part.taken_over(tmp_path / name, SOUND, "audio.tokenizer")
    config = ModelConfig(width=32, encoders={"audio": encoder}, decoders={"label": VECTOR_DECODERS["classes"]})
    modality = replace(sound, seconds=5.0).build()
    labels = LabelsModalityConfig(labels=("a", "b", "c"))
    torch.manual_seed(0)
    outputs = build_modalities({"label": labels}, {})
    model = config.build({"audio": modality}, outputs).eval()
    described = Interface({"audio": modality.config}, {"label": labels}, {})
    weights = {key: value.numpy() for key, value in model.state_dict().items()}
    write_bundle(tmp_path / "model", described, {}, to_dict(config), weights)
    with shapes_unchecked():
        export_vector(model, {"audio": modality}, "label", tmp_path / "model")
    exported, ours = OnnxRuntime(read_bundle(tmp_path / "model")), TorchRuntime(model, None)
    for seconds in ((0.05,), (0.2, 1.3), (0.64,), (4.0, 0.3, 2.1)):
        rows = [Sample(str(k), {"audio": (tone(one), RATE)}) for k, one in enumerate(seconds)]
        batch = Collator({"audio": modality}, outputs)(rows).batch
        assert np.abs(exported.vector("label", batch) - ours.vector("label", batch)).max() < 1e-4


def test_the_usual_run_hears_with_the_built_in_image_encoder(tmp_path: Path) -> None:
    table = tmp_path / "clips.jsonl"
    table.write_text(json.dumps({"file": "a.wav", "sound": "bark"}) + "\n")
    data = {"path": str(table), "columns": {"audio": "file", "label": "sound"}}
    run = default_run("classification", data)
    audio = run["model"]["encoders"]["audio"]
    assert list(run["model"]["encoders"]) == ["audio"]
    assert (audio["kind"], audio["frame"]["kind"], audio["levels"]["stages"]) == ("audio_frame", "efficientnet", 6)
    assert run["inputs"]["audio"]["spectrogram"]["mels"] == 128
    assert run["initialize"] == {"encoders.audio": "small"} and run["freeze"] == ["encoders.audio.frame"]

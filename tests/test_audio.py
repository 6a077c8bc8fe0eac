"""Recordings become log-mel frames: as Whisper and AST compute them, by parts of long files, with honest masks."""

import builtins
import io
import json
import tracemalloc
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from bad.sounds import RATE, TONE, film, saved
from braid.config import from_dict, to_dict
from braid.datasets import open_dataset
from braid.errors import Missing, UserError, install_command
from braid.files.reading import part_name
from braid.media import Clip, open_sound, read_sound
from braid.modalities import AudioAugmentation, AudioModalityConfig, InputConfig, InputModality, InputModalityConfig
from braid.modalities.audio import ASTConfig, LogMelConfig, WhisperConfig
from braid.records import Padded

RNG = np.random.default_rng(0)
NOISE = RNG.normal(0, 0.1, 3 * RATE).astype(np.float32)
STEPS = np.repeat(np.linspace(0.1, 0.9, 30), RATE // 10).astype(np.float32)  # every tenth of a second has its own level


def prepared(value: Any, **settings: Any) -> np.ndarray:
    return AudioModalityConfig(**settings).build().prepare(value).frames


def written(path: Path, samples: np.ndarray, rate: int = RATE, **options: Any) -> str:
    soundfile.write(path, samples, rate, **options)
    return str(path)


def chirp() -> np.ndarray:
    """A tone that rises, under noise, with a quiet second."""
    time = np.arange(3 * RATE) / RATE
    return (0.5 * np.sin(2 * np.pi * (100 + 900 * time) * time) * (time > 1) + 0.01 * RNG.normal(size=len(time))).astype(
        np.float32
    )


@pytest.mark.parametrize("sound", ["chirp", "silence", "short"])
def test_whisper_and_ast_get_what_their_own_code_computes(sound: str) -> None:
    from transformers import ASTFeatureExtractor, WhisperFeatureExtractor

    samples = {"chirp": chirp(), "silence": np.zeros(RATE, np.float32), "short": chirp()[:777]}[sound]
    whisper, ast = WhisperConfig().build(RATE)(samples), ASTConfig().build(RATE)(samples)
    theirs = WhisperFeatureExtractor()(samples, sampling_rate=RATE, return_tensors="np").input_features[0].T
    assert np.abs(whisper - theirs[: len(whisper)]).max() < 1e-4
    assert len(whisper) == -(-len(samples) // 160)
    theirs = ASTFeatureExtractor()(samples, sampling_rate=RATE, return_tensors="np").input_values[0]
    assert np.abs(ast - theirs[: len(ast)]).max() < 1e-4
    assert len(ast) == 1 + (len(samples) - 400) // 160


def test_whisper_of_a_whole_window_mirrors_its_end() -> None:
    from transformers import WhisperFeatureExtractor

    samples = np.tile(chirp(), 11)
    config = AudioModalityConfig(seconds=30.0, spectrogram=WhisperConfig())
    theirs = WhisperFeatureExtractor()(samples[: 30 * RATE], sampling_rate=RATE, return_tensors="np").input_features[0].T
    frames = config.build().prepare((samples[: 30 * RATE], RATE)).frames
    assert frames.shape == theirs.shape == (3000, 80)
    assert np.abs(frames - theirs).max() < 1e-4


def test_path_bytes_part_and_samples_agree(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", NOISE)
    expected = prepared(path)
    pcm = np.rint(NOISE * 32768).astype(np.int16)
    tar = tmp_path / "0.tar"
    tar.write_bytes(b"x" * 512 + Path(path).read_bytes())
    inside = part_name(str(tar), 512, Path(path).stat().st_size)
    for value in (Path(path), Path(path).read_bytes(), bytearray(Path(path).read_bytes()), Clip(path), (pcm, RATE), inside):
        assert np.abs(prepared(value) - expected).max() < 0.01
    stereo = np.stack([2 * NOISE, 0 * NOISE], 1)
    assert np.allclose(prepared((stereo, RATE)), prepared((NOISE, RATE)), atol=1e-5)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint8", "float32", "float64"])
def test_integers_and_floats_have_one_scale(dtype: str) -> None:
    scale, zero = {"int8": (127, 0), "int16": (32767, 0), "int32": (2**31 - 1, 0), "uint8": (127, 128)}.get(dtype, (1, 0))
    samples = (TONE * float(scale) + zero).astype(dtype)
    assert np.abs(read_sound((samples, RATE)) - TONE).max() < 0.02


@pytest.mark.parametrize(
    ("kind", "subtype"), [("WAV", None), ("WAV", "IMA_ADPCM"), ("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)]
)
def test_every_format_has_the_tone(kind: str, subtype: str | None) -> None:
    samples = read_sound(saved(TONE, kind, subtype))
    spectrum = np.abs(np.fft.rfft(samples))
    assert abs(spectrum.argmax() * RATE / len(samples) - 0.2 * RATE / (2 * np.pi)) < 2
    assert abs(len(samples) - len(TONE)) < 0.05 * RATE


@pytest.mark.parametrize(("kind", "subtype"), [("WAV", None), ("FLAC", None), ("OGG", "OPUS"), ("MP3", None)])
def test_a_part_is_where_it_is_in_the_whole(kind: str, subtype: str | None) -> None:
    content = saved(STEPS * np.sin(np.arange(len(STEPS))).astype(np.float32), kind, subtype)
    part = np.abs(read_sound(Clip(content, 1.0, 1.5)))
    assert len(part) == 0.5 * RATE
    levels = part.reshape(5, -1)[:, 400:-400].mean(1)
    whole = np.abs(read_sound(content)).reshape(-1)[RATE : RATE * 3 // 2].reshape(5, -1)[:, 400:-400].mean(1)
    assert np.abs(levels - whole).max() < 0.02 and (np.diff(levels) > 0).all()


def test_sound_of_a_clip_is_read_by_parts(tmp_path: Path) -> None:
    path = film(tmp_path / "talk.mp4", sound=True)
    whole, part = read_sound(path), read_sound(Clip(str(path), 0.5, 0.75))
    assert len(part) == RATE // 4
    assert np.abs(part - whole[RATE // 2 : RATE * 3 // 4]).max() < 0.01
    with open_sound(path) as recording:  # a second part of the same file that is open
        first, again = recording.read(0.5, 0.25), recording.read(0.0, 0.25)
    assert np.allclose(first, part) and np.allclose(again, whole[: RATE // 4], atol=0.01)


def test_the_length_of_raw_aac_is_counted(tmp_path: Path) -> None:
    """The file says no length: FFmpeg guesses 10 minutes from its first frames, which are silent."""
    path = film(tmp_path / "raw.aac", sound=True, picture=False, tone=np.concatenate([np.zeros(8 * RATE, np.float32), STEPS]))
    whole = read_sound(path)
    with open_sound(path) as recording:
        assert recording.seconds == pytest.approx(len(whole) / RATE) == pytest.approx(11, abs=0.1)
        part = recording.read(9.0, 0.5)
    assert np.abs(part - whole[9 * RATE :][: len(part)])[1000:].max() < 0.02


def test_sound_that_is_shorter_than_its_clip_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = film(tmp_path / "short.mkv", sound=True, tone=TONE[: RATE // 5])
    with open_sound(path) as recording:
        assert recording.seconds > 0.9
        assert len(recording.read(0.6, 0.1)) == RATE // 10


def test_resampling_keeps_what_fits_and_removes_what_does_not() -> None:
    time = np.arange(44_100) / 44_100
    low, high = (np.sin(2 * np.pi * hertz * time).astype(np.float32) for hertz in (1000, 12_000))
    kept, gone = read_sound((low, 44_100)), read_sound((high, 44_100))
    expected = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    assert len(kept) == RATE and np.abs(kept - expected)[500:-500].max() < 1e-3
    assert np.abs(gone[500:-500]).max() < 1e-3  # it would be a tone of 4 kHz without a filter


def test_three_hours_cost_no_memory(tmp_path: Path) -> None:
    path = written(tmp_path / "long.wav", np.zeros(1, np.int16))
    frames = 3 * 3600 * RATE
    with wave.open(path, "wb") as file:
        file.setparams((1, 2, RATE, frames, "NONE", ""))
        file.writeframesraw(b"")
        file._datawritten, file._nframeswritten = 2 * frames, frames  # type: ignore[attr-defined] # the header says so
    with open(path, "r+b") as file:
        file.truncate(44 + 2 * frames)
    modality = AudioModalityConfig(seconds=5.0, windows=4).build()
    tracemalloc.start()
    assert modality.prepare(path).frames.shape == (2000, 64)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 20_000_000


def test_a_long_recording_is_read_in_its_middle_or_by_windows(tmp_path: Path) -> None:
    path = written(tmp_path / "steps.wav", STEPS)
    middle, levels = prepared(path, seconds=1.0), prepared((STEPS[RATE : 2 * RATE], RATE), seconds=2.0)
    assert np.abs(middle[3:-3] - levels[3:-3]).max() < 1e-2
    windows = prepared(path, seconds=0.5, windows=3)
    assert windows.shape == (150, 64)
    starts = [round((place + 0.5) - 0.25, 2) for place in range(3)]
    parts = [prepared(Clip(path, start, start + 0.5)) for start in starts]
    assert np.abs(windows - np.concatenate(parts))[3:47].max() < 1e-2
    assert prepared(path, seconds=1.0, windows=5).shape == (300, 64)  # all of it


def test_training_reads_a_random_part_and_use_does_not(tmp_path: Path) -> None:
    path = written(tmp_path / "steps.wav", STEPS)
    quiet = AudioAugmentation(gain=0.0, shift=0.0, noise=0.0, masks=0)
    modality = AudioModalityConfig(seconds=0.5, augmentation=quiet).build()
    parts = [modality.prepare(path, rng=np.random.default_rng(seed)).frames for seed in (1, 1, 2)]
    assert np.array_equal(parts[0], parts[1]) and not np.allclose(parts[0], parts[2])
    assert np.array_equal(modality.prepare(path).frames, modality.prepare(path).frames)
    assert modality.augments and not AudioModalityConfig().build().augments


def test_augmentation_changes_what_it_says() -> None:
    value = (NOISE, RATE)
    plain = prepared(value)

    def augmented(**settings: float) -> np.ndarray:
        only = AudioAugmentation(**{"gain": 0.0, "shift": 0.0, "noise": 0.0, "masks": 0, **settings})  # type: ignore[arg-type]
        return AudioModalityConfig(augmentation=only).build().prepare(value, rng=np.random.default_rng(3)).frames

    assert np.array_equal(augmented(), plain)
    louder = augmented(gain=6.0) - plain
    assert louder.std() < 0.01 < abs(louder.mean())
    shifted = augmented(shift=0.5)
    assert shifted.shape == plain.shape and abs(shifted.mean() - plain.mean()) < 0.01 and not np.allclose(shifted, plain)
    assert not np.allclose(augmented(noise=1.0), plain)
    hidden = augmented(masks=2, time_mask=0.5, mel_mask=0.5) != plain
    assert hidden.all(0).any() or hidden.all(1).any()


def test_padding_is_masked_and_alone_is_as_in_a_batch() -> None:
    modality = AudioModalityConfig().build()
    items = [modality.prepare((NOISE[:length], RATE)) for length in (RATE, 2 * RATE)]
    padded = modality.pad(items)
    assert padded.values.shape == (2, 200, 64) and padded.values.dtype == np.float32
    assert padded.mask.sum(1).tolist() == [100, 200] and not padded.values[0, 100:].any()
    assert np.array_equal(padded.values[0, :100], modality.pad(items[:1]).values[0])
    assert modality.prepare(items[0]) is items[0]


def test_log_mel_needs_no_fitting_and_silence_is_its_floor() -> None:
    frames, silent = prepared((NOISE, RATE)), prepared((0 * NOISE, RATE))
    assert abs(frames.mean()) < 2 and 0.05 < frames.std() < 2
    assert np.allclose(silent, AudioModalityConfig().build().spectrogram.silence, atol=1e-5)
    for rate in (8000, 32_000, 44_100):
        assert prepared((NOISE, RATE), rate=rate).shape == (300, 64)


@pytest.mark.parametrize("positions", [1, 4, 30, 300])
def test_units_are_spans_of_time_and_removed_ones_are_silent(positions: int) -> None:
    modality = AudioModalityConfig().build()
    given = modality.pad([modality.prepare((NOISE, RATE))])
    edges = np.linspace(0, 1, positions + 1)
    units = modality.units(given, np.ones(positions, bool), np.stack([edges[:-1], edges[1:]], 1))
    assert units.times is not None and units.kind == "seconds" and units.number <= 20
    assert units.times[0, 0] == 0 and units.times[-1, 1] == pytest.approx(3.0)
    assert (units.times[1:, 0] == units.times[:-1, 1]).all()
    assert units.positions.any(1).all() and units.positions.any(0).all()
    without = modality.without(given, units, ~np.eye(units.number, dtype=bool))
    changed = (without.values != given.values).any(2)
    assert changed.sum(1).tolist() == np.diff(np.rint(units.times * 100)).ravel().astype(int).tolist()
    assert np.allclose(without.values[changed], modality.spectrogram.silence)


def test_units_of_a_padded_recording_end_with_it() -> None:
    modality = AudioModalityConfig().build()
    frames = modality.prepare((NOISE[:RATE], RATE)).frames
    given = Padded(np.pad(frames, ((0, 100), (0, 0)))[None], np.arange(200)[None] < 100)
    edges = np.linspace(0, 1, 21)
    units = modality.units(given, np.arange(20) < 10, np.stack([edges[:-1], edges[1:]], 1))
    assert units.times is not None and units.times[-1, 1] == pytest.approx(1.0)
    assert units.positions.sum() == 10 and not units.positions[:, 10:].any()
    assert units.names[:2] == ("0-0.1 s", "0.1-0.2 s")


def test_a_page_plays_at_most_thirty_seconds() -> None:
    view = AudioModalityConfig.show((np.tile(NOISE, 12), RATE))
    assert (view.text, view.media_type) == ("recording (30.0 s)", "audio/wav")
    with wave.open(io.BytesIO(view.media)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (1, RATE, 30 * RATE)
    assert view.html().startswith('<audio controls src="data:audio/wav;base64,')


def test_corrupted_sound_is_the_same_under_noise() -> None:
    samples, rate = AudioModalityConfig.corrupt((TONE, RATE), np.random.default_rng(0))
    noise = samples - TONE
    assert rate == RATE and abs(noise.std() / TONE.std() - 1) < 0.05


def test_files_keep_their_bytes_and_samples_become_wav(tmp_path: Path) -> None:
    path = written(tmp_path / "a.FLAC", NOISE)
    assert AudioModalityConfig.encoded(path, "", 0) == (Path(path).read_bytes(), ".flac")
    assert AudioModalityConfig.encoded(Path(path).read_bytes(), "", 0) == (Path(path).read_bytes(), ".audio")
    for value in (Clip(path, 1.0, 2.0), (NOISE[RATE : 2 * RATE], RATE)):
        content, suffix = AudioModalityConfig.encoded(value, "", 0)
        assert suffix == ".wav" and np.abs(read_sound(content) - NOISE[RATE : 2 * RATE]).max() < 1e-3
    Path(path).write_bytes(Path(path).read_bytes()[:9000])
    with pytest.raises(UserError, match="a.FLAC is damaged or cut short"):
        AudioModalityConfig.encoded(path, "", 0)


def test_equal_recordings_have_equal_keys() -> None:
    key = AudioModalityConfig.key
    assert key("a.wav") == key(Path("a.wav")) != key(Clip("a.wav", 0.0, 1.0)) != key(Clip("a.wav", 1.0, 2.0))
    assert key((NOISE, RATE)) == key((NOISE.copy(), RATE)) != key((NOISE, 8000))
    assert key(b"x") == key(b"x")


def test_cells_of_tables_and_of_hugging_face() -> None:
    cells = AudioModalityConfig.from_cells
    assert cells({"audio": "a.wav"}) == "a.wav"
    assert cells({"audio": {"bytes": None, "path": "a.wav"}}) == "a.wav"
    assert cells({"audio": {"bytes": b"RIFF", "path": "a.wav"}}) == b"RIFF"
    samples, rate = cells({"audio": {"path": None, "array": [0.1, 0.2], "sampling_rate": 8000}})
    assert samples.tolist() == [0.1, 0.2] and rate == 8000
    with pytest.raises(Missing, match="column 'audio' is empty"):
        cells({"audio": b""})
    with pytest.raises(UserError, match="column 'audio' holds samples of unequal length"):
        cells({"audio": {"array": [[0.1], [0.2, 0.3]], "sampling_rate": 8000}})


def test_a_table_and_a_folder_of_recordings(tmp_path: Path) -> None:
    for label in ("dog", "rain"):
        (tmp_path / "sounds" / label).mkdir(parents=True)
        for k in range(3):
            written(tmp_path / "sounds" / label / f"{k}.wav", TONE[: 100 * (k + 1)])
    rows = open_dataset(tmp_path / "sounds").examples
    assert {row.fields["label"] for row in rows} == {"dog", "rain"} and str(rows[0].fields["audio"]).endswith(".wav")
    lines = [json.dumps({"recording": f"sounds/dog/{k}.wav", "label": "dog"}) for k in range(4)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    dataset = open_dataset(tmp_path / "rows.jsonl")
    assert [row.fields["audio"] for row in dataset.examples] == [str(tmp_path / f"sounds/dog/{k}.wav") for k in range(3)]
    assert [row.reason for row in dataset.skipped] == [
        f"{tmp_path / 'sounds/dog/3.wav'} does not exist; check column 'recording'"
    ]


def test_settings_are_read_and_written() -> None:
    for spectrogram in (LogMelConfig(mels=40, high=7000.0), WhisperConfig(mels=128), ASTConfig()):
        config = AudioModalityConfig(spectrogram=spectrogram, augmentation=AudioAugmentation())
        assert from_dict(InputModalityConfig, json.loads(json.dumps(to_dict(config)))) == config  # type: ignore[arg-type]
    config = AudioModalityConfig()
    assert isinstance(config, InputConfig) and isinstance(config.build(), InputModality)
    assert config.augmenting().in_use() == config and config.cheaper().seconds < config.seconds
    assert config.summary() == "[1000, 64] floats: log-mel frames of up to 10 s"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 8000, "spectrogram": WhisperConfig()}, "spectrogram whisper was made for 16,000 Hz, and rate is 8,000; "),
        ({"seconds": 0.0}, "seconds is 0.0; it must be 0.05 to 600"),
        ({"seconds": 60.0, "windows": 50}, "windows of 60 s are 50; together they must have at most 600 s"),
        (
            {"rate": 8000, "spectrogram": {"high": 8000.0}},
            "low is 20 and high is 8000; they must rise, up to half the rate (4000)",
        ),
        ({"spectrogram": {"points": 128}}, "points is 128; the window has 400 samples at 16,000 Hz; set it higher, or to 0"),
        ({"spectrogram": {"std": 0.0}}, "std is 0.0; it must be above 0"),
        ({"augmentation": {"noise": 2.0}}, "noise is 2.0; it must be 0 to 1"),
    ],
)
def test_wrong_settings_are_told(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        made = {"spectrogram": LogMelConfig, "augmentation": AudioAugmentation}
        AudioModalityConfig(**{k: made[k](**v) if isinstance(v, dict) else v for k, v in settings.items()})
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("package", "value", "needs"),
    [
        ("soundfile", saved(), "recording needs soundfile to be read"),
        ("soxr", (TONE, 8000), "recording has 8000 Hz and needs soxr"),
        ("av", b"\0\0\0\x20ftypisom", "recording needs PyAV to be read"),
    ],
)
def test_a_missing_package_is_told(package: str, value: Any, needs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name == package:
            raise ImportError(name)
        return load(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(UserError) as caught:
        read_sound(value)
    assert str(caught.value) == f"{needs}; run: {install_command('audio')}"

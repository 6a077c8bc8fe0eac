"""Frames of clips by time, whatever the file; what is none is told of in one sentence; encoders of clips."""

import io
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from braid.api import load
from braid.collate import Collator
from braid.datasets import open_dataset
from braid.encoders import MeanVideoEncoderConfig, TransformerVideoEncoderConfig
from braid.errors import UserError
from braid.layers.context import BuildContext
from braid.media import Clip, FrameLimits, read_frames
from braid.media.container import video_frames
from braid.media.moments import Budget, Size
from braid.modalities import Augmentation, VideoModalityConfig
from braid.presets import tiny
from braid.records import Batch, BatchInput, Padded, Sample
from braid.runtime.torch import load_model, to_tensors
from braid.training import default_run, run_from
from braid.training.features import with_features
from braid.training.setup import set_up
from clips import SHADE, animation, clip, shades, sound, turned
from variants import ENCODERS, FRAMES, SIZE, build, inputs

VIDEO = [name for name, one in ENCODERS.items() if one.modality == "video"]


def seen(value: object, number: int = 6, **options: object) -> list[int]:
    """The numbers of the frames that are read."""
    frames = read_frames(value, number=number, side=16, **options)  # type: ignore[arg-type]
    return [round(float(one.mean()) / SHADE) for one in frames.pixels]


@pytest.mark.parametrize(
    "content",
    [
        clip(),
        clip(codec="libx264", bf="3", g="100"),
        clip(codec="libx264", g="1"),
        clip(codec="mpeg4", container="avi"),
        clip(codec="mjpeg", container="matroska", pixels="yuvj420p"),
        clip(codec="libvpx", container="webm"),
        clip(codec="libx264", container="mpegts", bf="2"),
        clip(codec="ffv1", container="matroska", pixels="yuv444p10le"),
        clip(codec="ffv1", container="nut", pixels="gray"),
    ],
    ids=["mpeg4", "h264 one keyframe", "h264 keyframes", "avi", "mjpeg", "webm", "mpegts", "10 bits", "grey"],
)
def test_frames_are_those_at_the_centres_of_the_segments(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a clip").write_bytes(content)
    for value in (content, tmp_path / "a clip", str(tmp_path / "a clip")):
        frames = read_frames(value, number=6, side=16)
        assert seen(value) == [1, 3, 5, 7, 9, 11]
        assert frames.pixels.shape == (6, 16, 16, 3)
        assert frames.times == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9, 1.1], abs=1e-3)
        assert (frames.start, frames.end) == (0, pytest.approx(1.2, abs=2e-2))


@pytest.mark.parametrize("options", [{"codec": "libx264", "bf": "3", "g": "10"}, {"codec": "mpeg4", "g": "5", "bf": "2"}])
def test_a_frame_found_by_its_keyframe_is_that_of_decoding_all(options: dict[str, str]) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (6, 8, 3), np.uint8)
    moving = [np.asarray(Image.fromarray(np.roll(noise, k, 1)).resize((64, 48))) for k in range(40)]
    content = clip(frames=moving, **options)  # type: ignore[arg-type]
    every = read_frames(content, number=40, side=48).pixels
    budget = Budget(FrameLimits(), "it")
    some = video_frames(io.BytesIO(content), Clip(b""), 3, Size(48, True), None, budget)
    assert [round(10 * one) for one in some.times] == [6, 20, 33]
    assert np.array_equal(some.pixels, every[[6, 20, 33]])
    assert budget.frames < 30


def test_time_counts_and_not_the_number_of_a_frame() -> None:
    times = [0, 0.1, 0.2, 0.3, 3.0, 3.9]
    content = clip(6, times=times)
    assert seen(content, 4) == [3, 4, 5]
    assert read_frames(content, number=4).times == pytest.approx([0.3, 3.0, 3.9], abs=1e-3)
    assert seen(animation("GIF", 4, [100, 100, 100, 1000]), 4) == [1, 3]


def test_a_part_is_read() -> None:
    content = clip(20)
    assert seen(Clip(content, 0.5, 1.5), 2) == [7, 12]
    assert seen(Clip(content, 1.0), 2) == [12, 17]
    long = clip(400, rate=10, codec="libx264", frames=[shades(26)[k // 16] for k in range(400)], g="20")
    budget = Budget(FrameLimits(), "it")
    frames = video_frames(io.BytesIO(long), Clip(b"", 32.0, 33.6), 2, Size(16, True), None, budget)
    assert [round(float(one.mean()) / SHADE) for one in frames.pixels] == [20, 20]
    assert budget.frames < 45
    assert seen(Clip(animation("WEBP", 10), 0.5, 0.9), 2) == [6, 8]
    with pytest.raises(UserError, match=r"^video ends at 2.00 s, and the part starts at 7 s; correct its start$"):
        read_frames(Clip(content, 7.0))


def test_random_moments_are_in_their_segments() -> None:
    content = clip(24)
    drawn = [seen(content, 4, rng=np.random.default_rng(seed)) for seed in range(6)]
    assert len({tuple(one) for one in drawn}) > 3
    assert all(6 * k <= place < 6 * k + 6 for one in drawn for k, place in enumerate(one))


@pytest.mark.parametrize(("quarters", "corner"), [(0, (0, 0)), (1, (0, -1)), (2, (-1, -1)), (3, (-1, 0))])
def test_a_turned_clip_is_upright(quarters: int, corner: tuple[int, int]) -> None:
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:24, :32] = 255  # left at the top
    content = turned(clip(frames=[frame] * 4), quarters)
    whole = read_frames(content, side=48, square=False).pixels
    assert whole.shape[1:3] == ((48, 64) if quarters % 2 == 0 else (64, 48))
    for pixels in (whole[0], read_frames(content, side=32).pixels[0]):
        bright = np.array([[pixels[y, x].mean() > 128 for x in (4, -4)] for y in (4, -4)])
        assert np.argwhere(bright).tolist() == [[corner[0] % 2, corner[1] % 2]]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animations_are_clips(kind: str) -> None:
    content = animation(kind)
    assert seen(content) == [0, 1, 2, 3, 4, 5]
    assert read_frames(content, number=2).times == pytest.approx([0.1, 0.4])


def test_still_images_arrays_and_lists_are_clips(tmp_path: Path) -> None:
    Image.new("L", (9, 9), 50).save(tmp_path / "still.jpg")
    assert seen(tmp_path / "still.jpg") == [5]
    assert seen(np.stack(shades(5))) == [0, 1, 2, 3, 4]
    assert seen(np.stack(shades(5))[..., :1]) == [0, 1, 2, 3, 4]
    assert seen([Image.fromarray(one) for one in shades(9)], 3) == [1, 4, 7]
    assert seen(clip(1)) == [0]
    transparent = io.BytesIO()
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(transparent, "PNG")
    assert (read_frames(transparent.getvalue()).pixels == 255).all()


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (
            FrameLimits(seconds=1.0),
            "it is longer than the 1 s that are read; give a part of it, or raise seconds_limit of the input",
        ),
        (FrameLimits(pixels=3000), "it is 64 x 48; frames of at most 0 megapixels are read, make it smaller"),
        (FrameLimits(frames=2), "it needs more than 2 decoded frames; save it with more keyframes"),
        (
            FrameLimits(decoding=0.0),
            "it takes more than 0 s to decode; make it smaller or cut it, or raise decoding_limit of the input",
        ),
    ],
    ids=["seconds", "pixels", "frames", "time"],
)
@pytest.mark.parametrize("content", [clip(), animation("GIF", 12)], ids=["video", "gif"])
def test_limits(limits: FrameLimits, message: str, content: bytes) -> None:
    with pytest.raises(UserError) as raised:
        read_frames(content, "it", limits=limits)
    assert str(raised.value) == message


def test_what_is_left_of_a_cut_clip_is_read() -> None:
    content = clip(40, codec="libvpx", container="webm")
    few = read_frames(content[: len(content) // 2], number=4)
    assert 1 <= len(few.pixels) <= 4 and few.end < 4


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "secret.mp4").write_bytes(clip())
    lists = {
        "a.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\n{tmp_path}/secret.mp4\n#EXT-X-ENDLIST\n",
        "b.txt": f"ffconcat version 1.0\nfile '{tmp_path}/secret.mp4'\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match="is not a readable video; save it as MP4 with H.264"):
            read_frames(tmp_path / name)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(UserError, match="is a pipe or a device; save the video to a file"):
        read_frames(tmp_path / "pipe.mp4")
    with pytest.raises(UserError, match="is a folder; give the file of a video"):
        read_frames(tmp_path)
    with pytest.raises(UserError, match=r"^row 3 has no video, but audio; give a video file$"):
        read_frames(sound(), "row 3")


def test_prepared_clips_are_padded_with_a_mask() -> None:
    modality = VideoModalityConfig(frames=4, size=8).build()
    padded = modality.pad([modality.prepare(clip()), modality.prepare(clip(2))])
    assert padded.values.shape == (2, 4, 3, 8, 8) and padded.mask.tolist() == [[True] * 4, [True, True, False, False]]
    assert not padded.values[1, 2:].any()
    white = modality.pad([modality.prepare(np.full((1, 8, 8, 3), 255, np.uint8))])
    assert white.values[0, 0] == pytest.approx(np.ones((3, 8, 8)))


def test_a_clip_is_augmented_alike_in_all_frames() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    augmented = VideoModalityConfig(frames=3, size=16, augmentation=Augmentation(brightness=0.5, crop_scale=(0.3, 0.6))).build()
    first, second, third = augmented.prepare(np.stack([frame] * 3), rng=np.random.default_rng(4)).pixels
    assert np.array_equal(first, second) and np.array_equal(first, third)
    plain = VideoModalityConfig(frames=3, size=16, resize="crop").build().prepare(np.stack([frame] * 3)).pixels[0]
    assert not np.array_equal(first, plain)
    wide = (
        VideoModalityConfig(size=16, resize="crop")
        .build()
        .prepare(np.tile(np.arange(64, dtype=np.uint8), (3, 16, 1))[:, :, :, None])
    )
    assert wide.pixels.shape[1:] == (16, 16, 3) and wide.pixels.min() >= 20


def test_a_padded_clip_keeps_its_proportions() -> None:
    padded = VideoModalityConfig(frames=2, size=16, resize="pad", mean=(0.2, 0.4, 0.6)).build()
    for height, width, inside in ((8, 32, np.s_[6:10]), (32, 8, np.s_[:, 6:10])):
        pixels = padded.prepare(np.full((2, height, width, 3), 200, np.uint8)).pixels[0]
        assert (pixels[inside] == 200).all()
        assert (np.delete(pixels, range(6, 10), 0 if width > height else 1) == (51, 102, 153)).all()


def test_moments_are_removed_one_by_one() -> None:
    modality = VideoModalityConfig(frames=4, size=8).build()
    given = modality.pad([modality.prepare(np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8))])
    starts = np.arange(4)[:, None] / 4
    whole = np.concatenate([starts, starts + 0.25, np.tile([0.0, 0.0, 1.0, 1.0], (4, 1))], 1)
    for extent, real in ((whole, given.mask[0]), (np.array([[0.0, 1.0, 0.0, 0.0, 1.0, 1.0]]), np.array([True]))):
        units = modality.units(given, real, extent)
        assert units.names == ("0-33%", "33-67%", "67-100%") and units.kind == "moments"
        lost = modality.without(given, units, ~np.eye(3, dtype=bool))
        changed = (lost.values != given.values).any((2, 3, 4))
        assert np.array_equal(changed[:, :3], np.eye(3, dtype=bool)) and not changed[:, 3].any()
        assert np.array_equal(lost.mask, np.repeat(given.mask, 3, 0))
    halves = np.repeat(whole, 2, 0)
    halves[0::2, 4], halves[1::2, 2] = 0.5, 0.5
    units = modality.units(given, np.repeat(given.mask[0], 2), halves)
    lost = modality.without(given, units, ~np.eye(6, dtype=bool))
    assert (lost.values != given.values)[1, 0, 0].any(0).tolist() == [False] * 4 + [True] * 4
    assert modality.canvas(np.zeros((3, 8, 8, 3), np.uint8), "", 16).shape == (16, 16, 3)


def test_a_clip_is_shown_corrupted_and_written(tmp_path: Path) -> None:
    (tmp_path / "dog.mp4").write_bytes(clip())
    view = VideoModalityConfig.show(tmp_path / "dog.mp4", 120)
    strip = Image.open(io.BytesIO(view.media))
    assert (view.text, view.media_type) == ("dog.mp4", "image/jpeg") and strip.width == 120
    steps = np.asarray(strip).mean((0, 2)).reshape(6, 20).mean(1)
    assert (np.diff(steps) > 10).all()
    coarse = VideoModalityConfig.corrupt(tmp_path / "dog.mp4", np.random.default_rng(0))
    assert coarse.shape == (12, 224, 299, 3)
    assert VideoModalityConfig.encoded(tmp_path / "dog.mp4", "", 0) == ((tmp_path / "dog.mp4").read_bytes(), ".mp4")
    part, suffix = VideoModalityConfig.encoded(Clip(str(tmp_path / "dog.mp4"), 0.5, 0.9), "", 48)
    assert suffix == ".webp" and seen(part, 4) == [5, 6, 7, 8]
    with pytest.raises(UserError, match=r"^row 2: .*cut.mp4 is damaged or cut short"):
        (tmp_path / "cut.mp4").write_bytes(clip()[:900])
        VideoModalityConfig.encoded(tmp_path / "cut.mp4", "row 2", 0)


def test_cells_and_keys(tmp_path: Path) -> None:
    config = VideoModalityConfig
    assert config.from_cells({"clip": "a.mp4"}) == "a.mp4"
    assert config.from_cells({"clip": {"bytes": b"x", "path": None}}) == b"x"
    part = config.from_cells({"clip": {"path": "a.mp4", "start": 1, "end": 2.5}})
    assert part == Clip("a.mp4", 1.0, 2.5)
    assert config.key(part) == config.key(Clip("a.mp4", 1.0, 2.5)) != config.key("a.mp4")
    assert config.key(np.zeros((2, 4, 4, 3), np.uint8)) == config.key(np.zeros((2, 4, 4, 3), np.uint8))
    with pytest.raises(UserError, match=r"^column 'clip': start and end are seconds, found 'soon'$"):
        config.from_cells({"clip": {"path": "a.mp4", "start": "soon"}})
    (tmp_path / "dog.mp4").write_bytes(clip())
    (tmp_path / "clips.jsonl").write_text('{"video": "dog.mp4", "label": "dog"}\n{"video": "cat.mp4", "label": "cat"}\n')
    dataset = open_dataset(tmp_path / "clips.jsonl")
    assert [one.fields["video"] for one in dataset.examples] == [str(tmp_path / "dog.mp4")]
    row = '{"video": {"path": "dog.mp4", "start": 0.5, "end": 1}, "label": "dog"}\n'
    (tmp_path / "parts.jsonl").write_text(row)
    (example,) = open_dataset(tmp_path / "parts.jsonl").examples
    assert example.fields["video"] == Clip(str(tmp_path / "dog.mp4"), 0.5, 1.0)


def test_frames_features_are_cached_also_those_of_parts(tmp_path: Path) -> None:
    (tmp_path / "dog.mp4").write_bytes(clip())
    values = [str(tmp_path / "dog.mp4"), Clip(str(tmp_path / "dog.mp4"), 0.6, 1.0), clip(3)]
    config = replace(tiny(), encoders={"video": ENCODERS["video convolution"]})
    model = build(config)
    model.encoders["video"].requires_grad_(False)
    samples = [Sample(str(k), {"video": value}) for k, value in enumerate(values)]
    plain = Collator(inputs(config))
    cached = with_features(model, plain, samples, str(tmp_path / "cache"), print)
    ours, theirs = (to_tensors(one(samples).batch, torch.device("cpu")) for one in (plain, cached))
    assert theirs.inputs["video"].encoded and not ours.inputs["video"].encoded
    assert theirs.inputs["video"].distinct.values.shape[0] == 3
    with torch.no_grad():
        first, second = (model.encode(one)["video"] for one in (ours, theirs))
    assert torch.equal(first.mask, second.mask) and first.mask.sum(1).tolist() == [4, 4, 3]
    assert torch.allclose(first.values[first.mask], second.values[second.mask], atol=2e-2)


def context(frames: int = FRAMES) -> BuildContext:
    return BuildContext("video", {"video": VideoModalityConfig(frames=frames, size=SIZE).build()})


@pytest.mark.parametrize("name", VIDEO)
def test_masked_frames_never_count(name: str) -> None:
    torch.manual_seed(0)
    encoder = ENCODERS[name].build(context()).eval()
    values = torch.randn(2, FRAMES, 3, SIZE, SIZE)
    mask = torch.tensor([[True] * FRAMES, [True, True] + [False] * (FRAMES - 2)])
    junk = values.clone()
    junk[1, 2:] = 9.0
    first, second = encoder(Padded(values, mask)), encoder(Padded(junk, mask))
    assert torch.equal(first.mask, second.mask) and first.mask[0].all()
    assert torch.equal(first.values[first.mask], second.values[second.mask])
    if not isinstance(ENCODERS[name], MeanVideoEncoderConfig):
        assert not first.mask[1].all()
    shown = encoder(Padded(junk, torch.ones_like(mask)))
    assert not torch.allclose(first.values[first.mask], shown.values[first.mask], atol=1e-4)


@pytest.mark.parametrize("name", VIDEO)
def test_all_but_the_mean_know_the_order_of_frames(name: str) -> None:
    torch.manual_seed(0)
    encoder = ENCODERS[name].build(context()).eval()
    values, mask = torch.randn(1, FRAMES, 3, SIZE, SIZE), torch.ones(1, FRAMES, dtype=torch.bool)
    forward, back = (encoder(Padded(one, mask)).values.mean(1) for one in (values, values.flip(1)))
    assert torch.allclose(forward, back, atol=1e-5) == isinstance(ENCODERS[name], MeanVideoEncoderConfig)


def test_shifts_know_the_time_of_a_frame() -> None:
    """A clip that stands still is not the same in all its frames, the first and the last aside."""
    torch.manual_seed(0)
    for name in ("video shift", "video shift by frame"):
        encoder = ENCODERS[name].build(context(6)).eval()
        still = torch.randn(1, 1, 3, SIZE, SIZE).expand(1, 6, 3, SIZE, SIZE)
        values = encoder(Padded(still, torch.ones(1, 6, dtype=torch.bool))).values.unflatten(1, (6, -1))
        assert not torch.allclose(values[:, 2], values[:, 3], atol=1e-3)


@pytest.mark.parametrize("name", VIDEO)
def test_features_in_two_parts_are_those_of_one(name: str) -> None:
    torch.manual_seed(0)
    encoder = ENCODERS[name].build(context()).eval()
    given = Padded(torch.randn(2, FRAMES, 3, SIZE, SIZE), torch.ones(2, FRAMES, dtype=torch.bool))
    described = encoder.describe(given)
    assert torch.equal(encoder.read(described).values, encoder(given).values)
    extent = encoder(given).extent
    assert extent.shape == (encoder(given).values.shape[1], 6)
    assert extent.min() >= 0 and extent.max() <= 1


def test_a_transformer_of_no_heads_is_refused() -> None:
    with pytest.raises(UserError, match=r"^heads is 0; it must be at least 1$"):
        TransformerVideoEncoderConfig(heads=0)


CPU = torch.device("cpu")


def test_captions_of_clips_begin_with_what_the_built_in_model_says_of_their_frames(tmp_path: Path) -> None:
    """A clip of one image over and over is that image, to the last layer."""
    photo = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8).repeat(20, 2).repeat(20, 1)
    Image.fromarray(photo[0]).save(tmp_path / "still.png")
    rows = [{"video": "still.png", "captions": ["a dog"], "split": split} for split in ("train", "val")]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tuned = run_from(default_run("captioning", {"path": str(tmp_path / "rows.jsonl"), "columns": {}}), ["threads=1"])
    model, own = set_up(tuned).model.eval(), load("small")
    still = VideoModalityConfig(**{name: getattr(tuned.inputs["video"], name) for name in ("size", "mean", "std")}).build()
    clip = still.pad([still.prepare(photo.repeat(3, 0))])
    image = own.bundle.inputs["image"]
    seen = image.pad([image.prepare(photo[0])])
    with torch.no_grad():
        there = load_model(own.bundle).eval()
        ours = model(to_tensors(Batch(("0",), {"video": BatchInput(clip, np.array([0]))}), CPU)).values
        theirs = there(to_tensors(Batch(("0",), {"image": BatchInput(seen, np.array([0]))}), CPU)).values
    shared = min(ours.shape[1], theirs.shape[1])
    assert torch.allclose(ours[:, :shared], theirs[:, :shared], atol=1e-4)

"""Frames of a video file, by PyAV (FFmpeg): those that are wanted are decoded, and as few others as its keyframes allow."""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from braid.errors import UserError
from braid.media.clip import Clip
from braid.media.moments import Budget, Frames, Size, chosen, part_of
from braid.media.opened import DEMUXERS, Unreadable, installed
from braid.shapes import UInt8

THREADS = 2
BUFFER = 1 << 18  # bytes that are read at once
LATE = 10.0  # seconds: a part that starts later is found by seeking
RATE = 25.0  # frames a second of a file that does not say when its frames are shown
PICTURE = "a picture alone, the cover of a recording"
ROOM = 4  # frames of so many times the pixels are opened, so that the message can say their size
DAMAGED = "is damaged or cut short ({}); copy it again"


@dataclass(frozen=True)
class _Index:
    """When the frames of a file are shown.

    ``shown`` are timestamps, ascending, and ``keys`` those from which decoding may begin; a unit of both has ``unit`` seconds. A
    file without timestamps has the numbers of its frames instead (``numbered``). ``first`` is the beginning of the file, ``end``
    its last moment in seconds.
    """

    shown: tuple[int, ...]
    keys: tuple[int, ...]
    unit: float
    first: int
    end: float
    numbered: bool = False

    def seconds(self) -> np.ndarray:
        return (np.array(self.shown, dtype=np.float64) - self.first) * self.unit


@dataclass(frozen=True)
class _Picked:
    """The wanted frames, each with the second at which it is shown, and the part that they are from."""

    wanted: Mapping[int, float]
    start: float
    end: float
    numbered: bool


class _Video:
    """A file while it is open: its container, and its first stream of moving images."""

    def __init__(self, file: Any, budget: Budget) -> None:
        av = installed(budget.where, "video")
        file.seek(0)
        options = {"format_whitelist": DEMUXERS, "protocol_whitelist": "none", "max_pixels": str(ROOM * budget.limits.pixels)}
        try:
            self.container = av.open(file, options=options, metadata_errors="replace", buffer_size=BUFFER)
        except (av.InvalidDataError, av.EOFError, av.ArgumentError) as error:
            raise Unreadable(str(error)) from None
        try:
            self.stream = self._moving(budget.where)
            self.context = self.stream.codec_context
            if not self.context.width or not self.context.height:
                most = ROOM * budget.limits.pixels // 1_000_000
                raise UserError(
                    f"{budget.where} has frames of no size, or of more than {most} megapixels; save it again, smaller"
                )
            budget.pixels(self.context.width, self.context.height)
            self.context.thread_count, self.context.thread_type = THREADS, "AUTO"
        except BaseException:
            self.container.close()
            raise

    def __enter__(self) -> "_Video":
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    def _moving(self, where: str) -> Any:
        streams = self.container.streams.video
        moving = [one for one in streams if not one.disposition & type(one.disposition).attached_pic]
        others = sorted({one.type for one in self.container.streams} - {"video", "data"})
        if not moving and not streams and not others:
            raise UserError(f"{where} {DAMAGED.format('nothing in it can be read')}")
        if not moving:
            raise UserError(f"{where} has no video, but {PICTURE if streams else ', '.join(others)}; give a video file")
        if moving[0].codec_context is None:
            raise UserError(f"{where} has a video codec that is not known; save it as MP4 with H.264")
        return moving[0]

    def packets(self, budget: Budget) -> Iterator[Any]:
        """The packets of the stream in the order of decoding; what is damaged after the first of them ends them."""
        import av

        packets = self.container.demux(self.stream)
        with suppress(av.FFmpegError):
            for packet in packets:
                budget.check()
                if packet.size:
                    yield packet

    def seek(self, pts: int) -> bool:
        """Go to the keyframe at or before a timestamp; False if the format cannot."""
        import av

        try:
            self.container.seek(pts, stream=self.stream)
        except av.FFmpegError:
            return False
        return True

    def decoded(self, packet: Any, budget: Budget) -> Iterator[Any]:
        """The frames that a packet completes; without one, those that the decoder still holds. A damaged packet gives none."""
        import av

        with suppress(av.FFmpegError):
            for frame in self.context.decode(packet):
                budget.frame()
                yield frame


def video_frames(file: Any, clip: Clip, number: int, size: Size, rng: np.random.Generator | None, budget: Budget) -> Frames:
    """The frames of a video file that is open for reading.

    Raises:
        UserError: when it has no video, or is too large or too long; other errors come from PyAV.
    """
    with _Video(file, budget) as video:
        index = _from_packets(video, clip, budget)
        picked = _picked(index, clip, number, rng, budget) if index else None
        found = _by_seeking(video, index, picked.wanted, size, budget) if index and picked else {}
    if picked is None:
        with _Video(file, budget) as video:
            picked = _picked(_from_frames(video, budget), clip, number, rng, budget)
    if len(found) < len(picked.wanted):
        with _Video(file, budget) as video:
            found = _in_order(video, picked, size, budget) or found
    kept = [pts for pts in picked.wanted if pts in found]
    if not kept:
        raise UserError(f"{budget.where} {DAMAGED.format('no frame of it can be decoded')}")
    times = np.array([picked.wanted[pts] for pts in kept])
    return Frames(np.stack([found[pts] for pts in kept]), times, picked.start, picked.end)


def _picked(index: _Index, clip: Clip, number: int, rng: np.random.Generator | None, budget: Budget) -> _Picked:
    if not index.shown:
        raise UserError(f"{budget.where} {DAMAGED.format('it has no frames')}")
    start, end = part_of(clip, index.end, budget.where)
    budget.seconds(end - start)
    seconds = index.seconds()
    places = chosen(seconds, start, end, number, rng)
    return _Picked({index.shown[place]: float(seconds[place]) for place in places}, start, end, index.numbered)


def _from_packets(video: _Video, clip: Clip, budget: Budget) -> _Index | None:
    """The index of the part. Packets are read, and none is decoded. None if a packet has no timestamp."""
    unit, first = float(video.stream.time_base), video.stream.start_time
    if clip.start > LATE and first is not None:
        start = first + int(clip.start / unit)
        if video.seek(start):
            found = _read_packets(video, clip, unit, first, budget)
            if found and found.shown and found.keys and found.keys[0] <= start:
                return found
        if not video.seek(first):
            return None
    return _read_packets(video, clip, unit, first, budget)


def _read_packets(video: _Video, clip: Clip, unit: float, first: int | None, budget: Budget) -> _Index | None:
    shown, keys, last = set(), set(), 0
    for packet in video.packets(budget):
        if packet.pts is None:
            return None
        first = packet.pts if first is None else first
        if packet.is_keyframe:
            keys.add(packet.pts)
        if not packet.is_discard and packet.pts >= first:
            shown.add(packet.pts)
            last = max(last, packet.pts + (packet.duration or 0))
            if clip.end is None:
                budget.seconds((packet.pts - first) * unit - clip.start)
        reached = packet.pts if packet.dts is None else packet.dts  # what follows is shown later than it is decoded
        if clip.end is not None and (reached - first) * unit > clip.end:
            break
    ordered = sorted(shown)
    if len(ordered) > 1:
        last = max(last, 2 * ordered[-1] - ordered[-2])
    elif ordered:
        last = max(last, ordered[0] + max(1, round(1 / RATE / unit)))
    first = first or 0
    return _Index(tuple(ordered), tuple(sorted(keys)), unit, first, (last - first) * unit)


def _from_frames(video: _Video, budget: Budget) -> _Index:
    """The frames of a file without timestamps, by number: all are decoded."""
    number = sum(1 for _ in _all_frames(video, budget))
    rate = float(video.stream.average_rate or RATE)
    budget.seconds(number / rate)
    return _Index(tuple(range(number)), (), 1 / rate, 0, number / rate, numbered=True)


def _all_frames(video: _Video, budget: Budget) -> Iterator[Any]:
    for packet in video.packets(budget):
        yield from video.decoded(packet, budget)
    yield from video.decoded(None, budget)


def _by_seeking(
    video: _Video, index: _Index, wanted: Iterable[int], size: Size, budget: Budget
) -> dict[int, UInt8[np.ndarray, "height width 3"]]:
    """The wanted frames by timestamp; fewer if the file cannot be decoded from its keyframes.

    Decoding starts at the keyframe before each of them. A frame that no other frame needs is skipped unless it is wanted.
    """
    found: dict[int, np.ndarray] = {}
    convert = _Converter(size, budget)
    for group, members in groupby(wanted, lambda pts: bisect_right(index.keys, pts)):
        here = set(members)
        if not group or not video.seek(index.keys[group - 1]):
            break
        for frame in _sought(video, here, budget):
            if frame.pts in here and frame.pts not in found:
                found[frame.pts] = convert(frame)
    return found


def _sought(video: _Video, wanted: Collection[int], budget: Budget) -> Iterator[Any]:
    """The frames from here until all of the wanted ones are decoded."""
    left = set(wanted)
    for packet in video.packets(budget):
        video.context.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
        yield from video.decoded(packet, budget)
        left.discard(packet.pts)
        if not left:
            break
    yield from video.decoded(None, budget)


def _in_order(video: _Video, picked: _Picked, size: Size, budget: Budget) -> dict[int, UInt8[np.ndarray, "height width 3"]]:
    """The wanted frames by timestamp or by number; all frames up to the last of them are decoded."""
    left, found = set(picked.wanted), {}
    convert = _Converter(size, budget)
    for number, frame in enumerate(_all_frames(video, budget)):
        place = number if picked.numbered else frame.pts
        if place in left:
            found[place] = convert(frame)
            left.discard(place)
            if not left:
                break
    return found


class _Converter:
    """A decoded frame -> upright RGB pixels; all frames get the size of the first."""

    def __init__(self, size: Size, budget: Budget) -> None:
        from av.video.reformatter import VideoReformatter

        self.size, self.budget = size, budget
        self.reformat: Callable[..., Any] = VideoReformatter().reformat
        self.shape: tuple[int, int] | None = None

    def __call__(self, frame: Any) -> UInt8[np.ndarray, "height width 3"]:
        self.budget.pixels(frame.width, frame.height)
        turns = round(frame.rotation / 90) % 4
        width, height = self.shape = self.shape or self.size.of(frame.width, frame.height)
        pixels = self.reformat(frame, width=width, height=height, format="rgb24").to_ndarray()
        return np.ascontiguousarray(np.rot90(pixels, turns))

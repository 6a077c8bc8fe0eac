"""Words from lips, from sound, from sound in noise, and from lips and that sound together (GRID, one speaker).

    python benchmarks/lips_and_sound.py ../shared/data/grid-s1/clips.jsonl            about half an hour of two cores

Every sentence is cut into its words, with --margin seconds around each, by the times of words in the table. White noise is added
to the sound of all rows, train rows too. The sentences of split val are held out; a tenth of the others chooses the epoch. Every
model is what `braid train --task classification` makes, within --time if it is given.
"""

import argparse
import json
import os
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from braid.media import read_frames, read_sound
from runs import answered, lead, report, say, shown, trained_by_default

RATE = 16_000  # samples a second
WIDE, HIGH, DOWN = 24, 16, 73  # half the box of the mouth, and how far below the top of the hair it is, in pixels
BLUE = 20  # a pixel that is so much more blue than red is background
SYSTEMS = {
    "lips": ("lips",),
    "sound": ("clean",),
    "sound in noise": ("noisy",),
    "lips and sound in noise": ("lips", "noisy"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--snr", type=float, default=-10.0, help="decibels that the sound is louder than the noise")
    parser.add_argument("--margin", type=float, default=0.1)
    parser.add_argument("--size", type=int, default=128, help="pixels of a frame: mouths have 48 x 32")
    parser.add_argument("--time", default="", help="of each training, such as 10m")
    parser.add_argument("--output", type=Path, default=Path("runs/lips"))
    chosen = parser.parse_args()
    table = table_of(chosen.data, chosen.output, chosen.snr, chosen.margin)
    os.environ.setdefault("BRAID_CACHE", str(chosen.output / "cache"))
    right = {}
    for name, inputs in SYSTEMS.items():
        columns = {("video" if one == "lips" else "audio"): one for one in inputs} | {"label": "word"}
        folder = chosen.output / f"{name.replace(' ', '-')}{chosen.time}"
        settings = [f"inputs.video.size={chosen.size}"] if "video" in columns else []
        trained_by_default("classification", table, columns, folder, settings, chosen.time)
        right[name] = answered(folder, "classification", table, columns, "held").right
        say(f"{name}: {shown(right[name])}")
    both = right["lips and sound in noise"]
    rows = [[name, shown(one), "" if one is both else lead(both, one)] for name, one in right.items()]
    how = (
        f"{len(both)} words of {len(both) // 6} held-out sentences, 51 different words, x100, with 95% bootstrap intervals; "
        f"seed 0; time: {chosen.time or 'the default'}; white noise, {-chosen.snr:g} dB louder than the sound. The last is "
        "the paired lead of lips and sound in noise together."
    )
    report("lips_and_sound", "Words from lips and sound", ["input", "right", "both less this"], rows, how)


def table_of(data: Path, output: Path, snr: float, margin: float) -> Path:
    """A row a word, with its clip and its two recordings; written once."""
    target = output / f"words{snr:g}.jsonl"
    if not target.exists():
        say("cutting sentences into words")
        lines = [json.dumps(row) for row in cut(data, output / f"words{snr:g}", snr, margin)]
        target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return target


def cut(data: Path, folder: Path, snr: float, margin: float) -> Iterator[dict[str, str]]:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number, line in enumerate(data.read_text(encoding="utf-8").splitlines()):
        row = json.loads(line)
        source = str((data.parent / row["video"]).resolve())
        split = "held" if row["split"] == "val" else "val" if number % 10 == 7 else "train"
        frames = mouths(read_frames(source, number=row["frames"], side=128, square=False).pixels)
        samples = read_sound(source)
        noise = rng.standard_normal(len(samples)) * np.sqrt(np.mean(samples**2)) * 10 ** (-snr / 20)
        for place, (word, start, end) in enumerate(row["words"]):
            name = folder / f"{number:03}-{place}"
            first, last = max(0.0, start - margin), end + margin
            shots = [Image.fromarray(one) for one in frames[int(25 * first) : int(np.ceil(25 * last))]]
            shots[0].save(f"{name}.webp", save_all=True, append_images=shots[1:], lossless=True, duration=40)
            part = slice(int(RATE * first), int(RATE * last))
            write_wave(Path(f"{name}.wav"), samples[part])
            write_wave(Path(f"{name}-noisy.wav"), (samples + noise)[part])
            files = {"lips": f"{name}.webp", "clean": f"{name}.wav", "noisy": f"{name}-noisy.wav"}
            yield {kind: str(Path(file).resolve()) for kind, file in files.items()} | {"word": word, "split": split}


def mouths(frames: np.ndarray) -> np.ndarray:
    """The box of the mouth in all frames, from the outline of the head in the first."""
    head = frames[0, ..., 2].astype(int) - frames[0, ..., 0] < BLUE
    head[:4] = False
    top = np.flatnonzero(head.sum(1) > WIDE // 2)[0]
    across = np.flatnonzero(head[top + 20 : top + 60].sum(0) > 10)
    middle, centre = (across[0] + across[-1]) // 2, top + DOWN
    return frames[:, centre - HIGH : centre + HIGH, middle - WIDE : middle + WIDE]


def write_wave(path: Path, samples: np.ndarray) -> None:
    loudest = max(1.0, float(np.abs(samples).max()))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples / loudest * 32767).astype("<i2").tobytes())


if __name__ == "__main__":
    main()

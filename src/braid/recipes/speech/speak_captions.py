"""Captions spoken by a free synthesiser (espeak-ng), in many voices: the rows of the model that finds photos by speech.

    apt-get install espeak-ng
    python -m braid.recipes.speech.speak_captions data/flickr8k/captions.jsonl runs/spoken

Every caption of a photo is one row: a recording, its words, the photo. The accents and timbres of val are none of train's
(voices.yaml). Recordings that are there already are not spoken again.
"""

import argparse
import json
import random
import shutil
import subprocess
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
import yaml

from braid.cli.console import progress
from braid.files import write_whole
from braid.files.writing import whole
from braid.media.sound import RATE, read_sound

VOICES: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "voices.yaml").read_text(encoding="utf-8"))
SPEEDS = (130, 210)  # words a minute
PITCHES = (30, 70)  # of espeak-ng's 0 to 99


@dataclass(frozen=True)
class Spoken:
    """One caption and the voice that speaks it."""

    words: str
    voice: str
    speed: int
    pitch: int
    path: Path
    row: dict[str, Any]

    def speak(self) -> None:
        if self.path.exists():
            return
        voice = ["-v", self.voice, "-s", str(self.speed), "-p", str(self.pitch)]
        said = subprocess.run(
            ["espeak-ng", *voice, "--stdout", "--stdin"], input=self.words.encode(), capture_output=True, check=True
        )
        with whole(self.path) as fresh:
            soundfile.write(fresh, read_sound(said.stdout, self.words), RATE, format="FLAC")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captions", type=Path, help="a table with image, captions, split")
    parser.add_argument("output", type=Path, help="the folder of the recordings and of speech.jsonl")
    chosen = parser.parse_args()
    if not shutil.which("espeak-ng"):
        raise SystemExit("espeak-ng is not installed; install it (apt-get install espeak-ng, brew install espeak-ng)")
    spoken = list(all_spoken(chosen.captions, chosen.output))
    for split in VOICES:
        (chosen.output / split).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor() as threads:
        deque(progress(threads.map(Spoken.speak, spoken), "speaking", len(spoken)), maxlen=0)
    table = chosen.output / "speech.jsonl"
    write_whole(table, "".join(json.dumps(each.row) + "\n" for each in spoken))
    print(f"{table}: {len(spoken)} spoken captions")


def all_spoken(table: Path, output: Path) -> Iterator[Spoken]:
    for line in table.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["split"] in VOICES:
            for number, caption in enumerate(row["captions"]):
                yield spoken_caption(row["image"], row["split"], number, caption, table.parent, output)


def spoken_caption(image: str, split: str, number: int, caption: str, photos: Path, output: Path) -> Spoken:
    stem = f"{Path(image).stem}-{number}"
    chance = random.Random(stem)
    voice = f"{chance.choice(VOICES[split]['accents'])}+{chance.choice(VOICES[split]['timbres'])}"
    path = output / split / f"{stem}.flac"
    row = {
        "audio": f"{split}/{path.name}",
        "image": str((photos / image).resolve()),
        "captions": [caption],
        "voice": voice,
        "split": split,
    }
    return Spoken(caption, voice, chance.randint(*SPEEDS), chance.randint(*PITCHES), path, row)


if __name__ == "__main__":
    main()

"""Photos found by spoken captions: Flickr8k's val, in voices and accents that the model never heard.

    python -m braid.recipes.speech.speak_captions ../shared/data/flickr8k/captions.jsonl runs/spoken
    python benchmarks/speech.py runs/spoken/speech.jsonl            about five minutes of two cores

Each of the 5,000 captions of the 1,000 photos is one query among all photos. Beside it: the same captions as written, by the
built-in model `small`, whose space the spoken ones are in.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from braid.api import LoadedModel, load
from runs import report, say, shown

AT = (1, 5, 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spoken", type=Path)
    parser.add_argument("--model", default="speech")
    chosen = parser.parse_args()
    rows = [row for row in map(json.loads, chosen.spoken.read_text(encoding="utf-8").splitlines()) if row["split"] == "val"]
    photos = list(dict.fromkeys(row["image"] for row in rows))
    truth = np.array([photos.index(row["image"]) for row in rows])
    seen = in_parts(load("small"), "image", photos)
    written = ranks(in_parts(load("small"), "text", [row["captions"][0] for row in rows]), seen, truth)
    spoken = ranks(in_parts(load(chosen.model), "audio", [str(chosen.spoken.parent / row["audio"]) for row in rows]), seen, truth)
    table = [
        [name, *(shown(100.0 * (found < at)) for at in AT), float(np.median(found) + 1)]
        for name, found in (("spoken", spoken), ("written", written))
    ]
    voices = sorted({row["voice"] for row in rows})
    each = {voice: np.array([row["voice"] == voice for row in rows]) for voice in voices}
    hardest = sorted(voices, key=lambda voice: float((spoken[each[voice]] < 10).mean()))
    for voice in (hardest[0], hardest[-1]):
        own = spoken[each[voice]]
        table.append([f"spoken by {voice} ({len(own)})", *(shown(100.0 * (own < at)) for at in AT), float(np.median(own) + 1)])
    how = (
        f"{len(rows):,} captions, each a query among {len(photos):,} photos; recall x100, with 95% bootstrap intervals over "
        f"captions; {len(voices)} voices of espeak-ng, none of them trained on; the last rows are the hardest and the easiest."
    )
    report("speech", "Photos found by spoken captions", ["captions", *(f"recall@{at}" for at in AT), "median rank"], table, how)


def in_parts(model: LoadedModel, role: str, values: list[str], size: int = 100) -> np.ndarray:
    """Unit vectors of many values."""
    say(f"embedding {len(values):,} of {role}")
    return np.concatenate(
        [model.embed(**({"texts" if role == "text" else role: values[k : k + size]})) for k in range(0, len(values), size)]
    )


def ranks(queries: np.ndarray, photos: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """How many photos are nearer to each query than its own, from 0."""
    cosines = queries @ photos.T
    return np.asarray((cosines > cosines[np.arange(len(truth)), truth][:, None]).sum(1))


if __name__ == "__main__":
    main()

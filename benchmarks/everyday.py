"""The built-in model on everyday photos that training never saw: captions in two languages, search, and how varied captions are.

    python benchmarks/everyday.py ../shared/data                           about six minutes of two cores
    python benchmarks/everyday.py ../shared/data --model runs/small-tasks --before FOLDER
    python benchmarks/everyday.py ../shared/data --shown docs/everyday.md   only captions of every fifth COCO photo, not chosen

Three sets: Flickr8k's 1,000 val photos with five English captions, the same with five Chinese ones (Flickr8k-CN), and the 219 val
photos of the two COCO folders. Beam 3 and the model's own settings; English by PTB words, Chinese by characters. ``--before`` is
another model, the control.
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from braid.api import LoadedModel, load
from braid.datasets import open_dataset
from braid.evaluation import evaluate
from braid.files import write_whole
from braid.metrics import score_captions
from braid.records import Example
from runs import report, say

STARTED = "a man "  # the commonest beginning, after which words are counted
COMMONEST = 5
EVERY = 5  # photos of which one is shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="small")
    parser.add_argument("--before", default="", help="another model to score beside it")
    parser.add_argument("--name", default="everyday", help="of the file of results")
    parser.add_argument("--shown", type=Path, help="write captions in both languages here, and measure nothing")
    chosen = parser.parse_args()
    sets = held_out(chosen.data)
    if chosen.shown:
        write_shown(load(chosen.model), sets["COCO, own split"][1][::EVERY], chosen.shown)
        return
    models = {chosen.model: load(chosen.model), **({"before": load(chosen.before)} if chosen.before else {})}
    rows = []
    for place, (title, (language, examples)) in enumerate(sets.items()):
        for name, model in models.items():
            known = getattr(model.task("captioning"), "languages", ())
            if language == "zh" and "zh" not in known:
                continue
            say(f"{title}: {name}")
            cells = captioned(model, examples, language if known else "")
            found = searched(model, examples) if place != 1 else ["", ""]
            rows.append([title, name, *cells, *found])
    columns = ["photos", "model", "CIDEr", "BLEU-4", "different", "commonest", "tokens", "text R@1", "photo R@1"]
    how = (
        "CIDEr and BLEU-4 as coco-caption names them, x100, beam 3, with 95% bootstrap intervals. Different: captions "
        "that no other photo gets, %. Commonest: the share of the five commonest words after `a man`, % of the captions that "
        "begin so. Tokens: of a reference, on average. R@1: the captions of a photo among all, and the photo of a caption."
    )
    report(chosen.name, "Everyday photos", columns, rows, how)


def held_out(data: Path) -> dict[str, tuple[str, list[Example]]]:
    """Title -> the language of the captions, and the val rows."""
    flickr = list(open_dataset(data / "flickr8k/captions.jsonl").split("val"))
    chinese = list(open_dataset(data / "flickr8k-cn/captions_zh.jsonl").split("val"))
    coco = [
        row
        for name in ("coco-val2017", "coco2014-captioned")
        for row in open_dataset(data / name / "captions.jsonl").split("val")
    ]
    return {"Flickr8k": ("en", flickr), "Flickr8k-CN": ("zh", chinese), "COCO, own split": ("en", coco)}


def captioned(model: LoadedModel, examples: Sequence[Example], language: str) -> list[Any]:
    answers = model.predict("captioning", examples, beam=3, language=language)
    texts = {str(k): one.text or "" for k, one in enumerate(answers.predictions)}
    scores = score_captions(texts, {str(k): sample.references for k, sample in enumerate(answers.samples)})
    begun = [text.removeprefix(STARTED).split() for text in texts.values() if text.startswith(STARTED)]
    words = Counter(words[0] for words in begun if words)
    common = 100 * sum(count for _, count in words.most_common(COMMONEST)) / max(words.total(), 1)
    modality: Any = model.bundle.outputs["text"]
    tokens = np.mean([len(modality.tokenizer.encode(text)) for sample in answers.samples for text in sample.references])
    shown = [_with_interval(scores, name) for name in ("cider", "bleu-4")]
    return [*shown, 100 * len(set(texts.values())) / len(texts), common if begun else "", float(tokens)]


def write_shown(model: LoadedModel, examples: Sequence[Example], path: Path) -> None:
    """A table of what the model writes in each language beside what a person wrote; the photos may not be passed on."""
    answers = {
        language: model.predict("captioning", examples, beam=3, language=language).predictions for language in ("en", "zh")
    }
    rows = [
        f"| {Path(example.fields['image']).stem} | {english.text} | {chinese.text} | {example.fields['captions'][0].strip()} |"
        for example, english, chinese in zip(examples, answers["en"], answers["zh"], strict=True)
    ]
    lines = [
        "# Captions of everyday photos",
        "",
        f"One of {EVERY} of the 219 val photos of COCO that training never saw, not chosen; beam 3. The photos may not be passed",
        "on, so their numbers stand here. `python benchmarks/everyday.py ../shared/data --shown docs/everyday.md`",
        "",
        "| photo | English | Chinese | a person |",
        "|---|---|---|---|",
        *rows,
    ]
    write_whole(path, "\n".join(lines) + "\n")


def searched(model: LoadedModel, examples: Sequence[Example]) -> list[Any]:
    metrics, _ = evaluate(model.runtime, model.collator, model.task("retrieval"), examples)
    say(json.dumps(metrics))
    return [metrics[name] for name in ("text-recall@1", "image-recall@1")]


def _with_interval(scores: Any, name: str) -> str:
    low, high = scores.intervals[name]
    return f"{scores.metrics[name]:.1f} ({low:.1f} to {high:.1f})"


if __name__ == "__main__":
    main()

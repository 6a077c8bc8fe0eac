"""The steps to the built-in captioner: saved models compared on the same photos.

    python benchmarks/steps_to_the_captioner.py --data FOLDER/captions.jsonl first=runs/small refined=runs/small-refined

Beam 3 for all; 95% intervals from 1,000 bootstrap samples of the photos; novel: captions that no training photo has.
"""

import argparse
from pathlib import Path

from braid.api import load
from braid.datasets import open_dataset
from braid.evaluation import predict, prepared
from braid.metrics import caption_diversity, score_captions
from runs import report, say

METRICS = ("bleu-4", "cider", "cider-2015", "rouge-l", "meteor-exact-stem")
DIVERSITY = ("distinct-1", "distinct-2", "different", "novel")


def row(name: str, folder: str, data: str, split: str) -> list[str | float]:
    """The metrics of one saved model; BLEU-4 and CIDEr have intervals."""
    say(name)
    model, dataset = load(folder), open_dataset(data)
    task = model.task("captioning", beam=3)
    answers = predict(model.runtime, model.collator, task, prepared(task, dataset.split(split)), batch_size=50)
    texts = {prediction.id: prediction.text or "" for prediction in answers.predictions}
    scores = score_captions(texts, {sample.id: sample.references for sample in answers.samples})
    known = [text for example in dataset.split("train") for text in example.fields["captions"]]
    diversity = caption_diversity(list(texts.values()), known)
    cells = {metric: f"{scores.metrics[metric]:.1f}" for metric in METRICS}
    for metric in ("bleu-4", "cider", "cider-2015"):
        low, high = scores.intervals[metric]
        cells[metric] += f" ({low:.1f} to {high:.1f})"
    return [name, *cells.values(), *(diversity[metric] for metric in DIVERSITY)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--data", required=True)
    parser.add_argument("--split", default="val")
    chosen = parser.parse_args()
    rows = []
    for model in chosen.models:
        name, _, folder = model.partition("=")
        rows.append(row(name, folder, chosen.data, chosen.split))
        how = f"{Path(chosen.data).parent.name}, split {chosen.split}, beam 3, tokenizer ptb, x100, with 95% intervals."
        report("steps_to_the_captioner", "Steps to the captioner", ["model", *METRICS, *DIVERSITY], rows, how)


if __name__ == "__main__":
    main()

"""Your own data in ten minutes: Braid's defaults, `--time`, and what a colleague does in scikit-learn, on the same cores.

    python benchmarks/own_data.py ../shared/data labels                 the defaults, three seeds: about an hour of two cores
    python benchmarks/own_data.py ../shared/data labels --time 10m --only products-colour
    python benchmarks/own_data.py ../shared/data titles --time 10m      captions in the words of a shop
    python benchmarks/own_data.py ../shared/data search --time 10m      five queries in the photos of all products

Scores are those of the data set's own val rows, which select no epoch and no stage: for that Braid has a tenth of the
train rows (those whose number ends in 7). scikit-learn learns from all train rows, with the features and the strength (C = 10) of
the baseline that was published with the data; for rooms, from the question alone. Features are cached for all seeds and sets, so
the first run on each set of images pays for them; seconds are those of the slowest seed. Intervals (95%) come from a bootstrap on
rows of the mean of all seeds. Of rooms, both learn the first of a question's answers, and any of them is right.
"""

import argparse
import csv
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.sparse import csr_matrix, hstack, spmatrix
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from braid.api import load
from braid.training import Watcher, default_run, run_from, train_in_stages
from runs import answered, lead, report, say, shown

ROOT = Path("runs/own_data")
QUERY_COLUMNS = ("baseColour", "subCategory")  # that tell what a photo shows; no role is recognised in them
COLOURS = ("black", "blue", "white", "brown", "grey", "red", "green", "navy", "purple", "pink", "maroon", "beige")


@dataclass(frozen=True)
class Question:
    """What is predicted from which columns, by role."""

    data: str  # folder and file, below the folder of all data
    task: str
    columns: Mapping[str, str]
    settings: tuple[str, ...] = ()


def products(label: str, **columns: str) -> Question:
    return Question("products/products.csv", "classification", {**columns, "label": label})


def lesions(**columns: str) -> Question:
    return Question("ham10000-mini/lesions.jsonl", "classification", {**columns, "label": "label"})


TABLE = "age+sex+localization"
LABELS = {
    "products-colour: photo, title": products("baseColour", image="image", text="masked_title"),
    "products-colour: photo": products("baseColour", image="image"),
    "products-colour: title": products("baseColour", text="masked_title"),
    "products-kind: photo, title": products("subCategory", image="image", text="masked_title"),
    "products-kind: photo": products("subCategory", image="image"),
    "products-kind: title": products("subCategory", text="masked_title"),
    "lesions: photo, table": lesions(image="image", tabular=TABLE),
    "lesions: photo": lesions(image="image"),
    "lesions: table": lesions(tabular=TABLE),
    "rooms: photo, question": Question("daquar/qa.jsonl", "vqa", {"image": "image"}, ("task.closed=true",)),
}
QUERIES: dict[str, Callable[[dict[str, str]], bool]] = {
    "red shoes": lambda row: row["baseColour"] == "Red" and row["subCategory"] in ("Shoes", "Sandal", "Flip Flops"),
    "black handbag": lambda row: row["baseColour"] == "Black" and row["subCategory"] == "Bags",
    "a watch": lambda row: row["subCategory"] == "Watches",
    "a blue shirt": lambda row: row["baseColour"] in ("Blue", "Navy Blue") and "shirt" in row["title"].lower(),
    "sunglasses": lambda row: row["subCategory"] == "Eyewear",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("what", choices=("labels", "titles", "search"))
    parser.add_argument("--time", default="")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="this question, or those whose names begin so")
    chosen = parser.parse_args()
    {"labels": labels, "titles": titles, "search": search}[chosen.what](chosen)


def split_table(chosen: argparse.Namespace, question: Question, name: str) -> Path:
    """The columns of a question, with val rows as split ``held``, and a tenth of the train rows as val; DAQUAR has blocks of
    photos. Other columns are left out, because Braid would recognise some of them."""
    source = chosen.data / question.data
    target = ROOT / f"{slug(name)}.jsonl"
    kept = {"image", "split", "question", "answers", *QUERY_COLUMNS}  # DAQUAR's ``answer`` is all answers in one text
    kept |= {column for columns in question.columns.values() for column in columns.split("+")}
    if "image" not in question.columns:
        kept -= {"image"}
    rows = read(source)
    for number, row in enumerate(rows):
        row["image"] = str((source.parent / row["image"]).resolve())
        if source.parent.name == "daquar":
            block = int(re.sub(r"\D", "", Path(row["image"]).stem)) // 25
            row["split"] = "held" if block % 5 == 4 else "val" if block % 10 == 0 else "train"
        else:
            row["split"] = "held" if row["split"] == "val" else "val" if number % 10 == 7 else row["split"]
    target.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({name: value for name, value in row.items() if name in kept}) for row in rows]
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return target


def slug(name: str) -> str:
    return re.sub(r"[^a-z]+", "-", name)


def read(path: Path) -> list[dict[str, Any]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file)) if path.suffix == ".csv" else [json.loads(line) for line in file]


def trained(question: Question, table: Path, folder: Path, seed: int, limit: str) -> dict[str, float]:
    """Train as ``braid train`` does; give the seconds until the first model and until the end."""
    done = folder / "seconds.json"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        os.environ["BRAID_CACHE"] = str(ROOT / "cache")
        started = time.perf_counter()
        settings = [*question.settings, f"seed={seed}"]
        data = {"path": str(table), "columns": dict(question.columns)}
        config = run_from(default_run(question.task, data, settings=settings), settings)
        train_in_stages(config, folder, limit, watcher=Watcher(on_note=say))
        stages = json.loads((folder / "stages.json").read_text())
        done.write_text(json.dumps({"first": stages["first_model"], "all": time.perf_counter() - started}))
    result: dict[str, float] = json.loads(done.read_text())
    return result


def labels(chosen: argparse.Namespace) -> None:
    rows = []
    for name, question in LABELS.items():
        if name != chosen.only if chosen.only in LABELS else not name.startswith(chosen.only):
            continue
        table = split_table(chosen, question, name)
        right, seconds = [], []
        for seed in range(chosen.seeds):
            folder = ROOT / f"{slug(name)}-{chosen.time or 'default'}-{seed}"
            seconds.append(trained(question, table, folder, seed, chosen.time))
            right.append(answered(folder, question.task, table, question.columns, "held").right)
        mean = np.mean(right, axis=0)
        other, taken = colleague(question, table)
        first, whole = (max(one[kind] for one in seconds) for kind in ("first", "all"))
        rows.append(
            [
                name,
                shown(mean),
                f"{100 * other.mean():.1f}",
                lead(mean, 100 * other),
                f"{taken:.0f}",
                f"{first:.0f}",
                f"{whole:.0f}",
            ]
        )
        say(str(rows[-1]))
    how = (
        f"Accuracy on the val rows of each set, x100, mean of {chosen.seeds} seeds; time: {chosen.time or 'the default'}. "
        "Seconds include reading and encoding the images; differences are paired by row."
    )
    columns = ["set: inputs", "Braid", "scikit-learn", "Braid less scikit-learn", "its seconds", "first model, s", "in all, s"]
    report(
        f"own_data_labels_{chosen.time or 'default'}{'_' + slug(chosen.only) if chosen.only else ''}",
        "Labels of your own",
        columns,
        rows,
        how,
    )


def colleague(question: Question, table: Path) -> tuple[np.ndarray, float]:
    """Which held rows histograms, thumbnails, TF-IDF, one-hot columns and logistic regression answer right; the seconds."""
    started = time.perf_counter()
    rows = read(table)
    train = [n for n, row in enumerate(rows) if row["split"] in ("train", "val")]
    held = [n for n, row in enumerate(rows) if row["split"] == "held"]
    parts: list[spmatrix] = []
    text = question.columns.get("text", "question" if question.task == "vqa" else "")
    if "image" in question.columns and question.task != "vqa":  # of a room, the question alone
        known: dict[str, np.ndarray] = {}
        for row in rows:
            if row["image"] not in known:
                known[row["image"]] = picture(row["image"])
        parts.append(csr_matrix(np.array([known[row["image"]] for row in rows]) * 3))
    if text:
        vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2).fit([rows[n][text] for n in train])
        parts.append(vectors.transform([row[text] for row in rows]))
    if "tabular" in question.columns:
        parts.append(csr_matrix(cells(rows, question.columns["tabular"].split("+"), train)))
    right = [row["answers"] if question.task == "vqa" else [row[question.columns["label"]]] for row in rows]
    first = np.array([answers[0] for answers in right])
    whole = hstack(parts).tocsr()
    found = LogisticRegression(C=10, max_iter=400).fit(whole[train], first[train]).predict(whole[held])
    score = np.array([label in right[n] for label, n in zip(found, held, strict=True)], float)
    return score, time.perf_counter() - started


def picture(path: str) -> np.ndarray:
    """Histograms of RGB and HSV of what is not white, and a grey thumbnail of 20 x 20."""
    image = Image.open(path).convert("RGB").resize((96, 96))
    rgb, hsv = np.asarray(image).astype(int), np.asarray(image.convert("HSV")).astype(int)
    thing = rgb.min(2) < 235
    if thing.sum() < 50:
        thing[:] = True
    red, hue = (rgb // 32)[thing], hsv[thing]
    first = np.bincount(red[:, 0] * 64 + red[:, 1] * 8 + red[:, 2], minlength=512) / len(red)
    second = np.bincount(hue[:, 0] // 16 * 16 + hue[:, 1] // 64 * 4 + hue[:, 2] // 64, minlength=256) / len(hue)
    grey = np.asarray(image.convert("L").resize((20, 20))).ravel() / 255 * 0.3
    return np.concatenate([np.sqrt(first), np.sqrt(second), grey])


def cells(rows: Sequence[Mapping[str, Any]], names: Sequence[str], train: Sequence[int]) -> np.ndarray:
    """Standardised numbers and one-hot categories."""
    numbers = [k for k, name in enumerate(names) if all(isinstance(row[name], int | float | None) for row in rows)]
    table = np.array([[row[name] for name in names] for row in rows], object)
    others = [k for k in range(len(names)) if k not in numbers]
    steps = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), others),
    )
    return np.asarray(steps.fit(table[list(train)]).transform(table), float)


def titles(chosen: argparse.Namespace) -> None:
    """CIDEr of titles, and the share of titles whose colour words are those of the row."""
    question = Question("products/products.csv", "captioning", {"image": "image", "captions": "title"})
    table = split_table(chosen, question, "titles")
    rows = []
    for seed in range(chosen.seeds):
        folder = ROOT / f"titles-{chosen.time or 'default'}-{seed}"
        seconds = trained(question, table, folder, seed, chosen.time)
        titled = answered(folder, question.task, table, question.columns, "held", 3)
        metrics = titled.metrics
        pairs = list(zip(titled.predictions, titled.samples, strict=True))
        named = [(colours(one.text or ""), colours(sample.references[0])) for one, sample in pairs]
        said = [ours == theirs for ours, theirs in named if theirs]
        kept = np.mean([(one.text or "")[:1].isupper() for one, _ in pairs])
        rows.append(
            [
                seed,
                metrics["cider"],
                metrics["bleu-4"],
                100 * float(np.mean(said)),
                100 * float(kept),
                seconds["first"],
                seconds["all"],
            ]
        )
        say(str(rows[-1]))
        for one, sample in pairs[:12]:
            say(f"  {one.text}   |   {sample.references[0]}")
    how = (
        f"{len(pairs)} val rows, beam 3, tokenizer ptb, one reference; colours: of the {len(said)} titles that name one; "
        f"time: {chosen.time or 'default'}."
    )
    columns = ["seed", "cider", "bleu-4", "colour right", "capital first letter", "first model, s", "in all, s"]
    report(f"own_data_titles_{chosen.time or 'default'}", "Titles of products", columns, rows, how)


def colours(text: str) -> set[str]:
    return {word for word in re.findall(r"[a-z]+", text.lower()) if word in COLOURS}


def search(chosen: argparse.Namespace) -> None:
    """How many of the first ten photos are right for five queries, of the built-in model and of one trained on titles."""
    question = Question("products/products.csv", "retrieval", {"image": "image", "captions": "title"})
    table = split_table(chosen, question, "search")
    rows = read(table)
    photos = [row["image"] for row in rows]
    result = [["small, as it is", *hits(load("small"), rows, photos), ""]]
    for seed in range(chosen.seeds):
        folder = ROOT / f"search-{chosen.time or 'default'}-{seed}"
        seconds = trained(question, table, folder, seed, chosen.time)
        result.append([f"trained, seed {seed}", *hits(load(folder), rows, photos), f"{seconds['all']:.0f}"])
        say(str(result[-1]))
    how = (
        f"Right among the first ten of all {len(photos):,} photos, as colour and kind in the table say. The model learned from "
        f"the titles of the train rows; time: {chosen.time or 'default'}."
    )
    report(f"own_data_search_{chosen.time or 'default'}", "Search in photos of products", ["model", *QUERIES, "s"], result, how)


def hits(model: Any, rows: Sequence[dict[str, Any]], photos: Iterable[str]) -> list[int]:
    images = np.asarray(model.embed(images=list(photos)))
    texts = np.asarray(model.embed(texts=list(QUERIES)))
    order = np.argsort(-(texts @ images.T), axis=1)[:, :10]
    return [sum(right(rows[place]) for place in found) for found, right in zip(order, QUERIES.values(), strict=True)]


if __name__ == "__main__":
    main()

"""braid data: check a data set before training on it, and pack it into a few large files."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from braid.cli.console import finish, note, print_json, print_table, progress
from braid.cli.options import SkippedRowsOption, StrictOption
from braid.errors import UserError
from braid.skipped_rows import SkippedRows

if TYPE_CHECKING:
    from braid.datasets import Dataset
    from braid.datasets.checks import Defect, Unused
    from braid.records import Example

SHOWN = 4  # defects of each kind that are printed; others are only counted
LABELS = 15  # labels that are printed, the commonest
MEGABYTE = 1_000_000
UNREAD = ("missing value", "broken row")


def check(
    data: Annotated[str, typer.Argument(help="A file or folder of any supported format, or scenes:TASK.")],
    columns: Annotated[str, typer.Option(help="Roles to column names: image=photo,tabular=price+brand,label=kind")] = "",
    images: Annotated[bool, typer.Option("--images", help="Open every file, to find damaged ones, copies and leaks.")] = False,
    fix: Annotated[Path | None, typer.Option(help="Write a copy of the table without the rows to remove.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if there is any defect.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show how Braid reads a data set (format, columns, splits), what is wrong with it, and what to do.

    Defects are rows that cannot be read, damaged files, copies and near-copies of images (re-encoded, resized, slightly cropped
    or brightened), files and texts in two splits, columns that give the label away, ids that are not unique, texts of unusual
    length, one caption for all rows, imbalanced or mixed labels, and empty splits. --fix writes a copy of the table without
    rows that cannot be read, exact copies, and leaks (which it removes from train); the table itself is never changed.

    Examples:

        braid data check photos/captions.jsonl

        braid data check photos.csv --columns image=file,captions=title --images --fix clean.csv
    """
    from braid.datasets import Rows, open_dataset
    from braid.datasets.checks import check as find
    from braid.datasets.checks import unused_columns
    from braid.datasets.table import parse_columns, unused_cells

    roles = parse_columns(columns)
    dataset = open_dataset(data, roles)
    if fix is not None:
        _check_fix(dataset, fix)
    stopped: list[str] = []
    defects = find(
        dataset, images, lambda items, label: progress(items, label, len(items)), lambda: stopped.append("interrupted")
    )
    fixed = _write_clean(dataset, roles, defects, fix) if fix is not None and not stopped else {}
    cells = unused_cells(Path(dataset.path), roles, dataset.unused) if dataset.unused else ()
    splits, unused = _splits(dataset), unused_columns(Rows(cells))
    if json:
        print_json(_as_json(dataset, splits, defects, unused) | fixed)
    else:
        _print(dataset, splits, defects, unused)
    if fixed and not json:
        skipped_rows = ", ".join(f"{kind} ({count:,})" for kind, count in fixed["skipped_rows"].items())
        note(f"\n{fix}: {fixed['num_kept']:,} of {fixed['num_rows']:,} rows; removed: {skipped_rows or 'none'}")
    if stopped:
        unwritten = "" if fix is None else f", and {fix} was not written"
        note(f"interrupted: these are the defects found so far{unwritten}; run the command again for all")
        raise typer.Exit(130)
    if strict and defects:
        raise typer.Exit(1)


def shard(
    data: Annotated[str, typer.Argument(help="A file or folder of any supported format, or scenes:TASK.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")],
    columns: Annotated[str, typer.Option(help="Roles to column names: image=photo,tabular=price+brand,label=kind")] = "",
    size: Annotated[int, typer.Option(min=1, help="Megabytes of a shard.")] = 256,
    longest: Annotated[int, typer.Option(min=0, help="Make larger images smaller: pixels of the longer side.")] = 0,
    strict: StrictOption = False,
    skipped_rows: SkippedRowsOption = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Pack a data set into a few large files: every row, in its order and split, and every file once.

    Use the folder in place of the data set in any command and in a run's data.path. It is quicker to copy than a hundred thousand
    files. Every file is opened on the way, and rows with damaged files are skipped. With --longest, large photos are decoded
    at full size once instead of in every epoch.

    Examples:

        braid data shard photos/captions.jsonl -o shards/

        braid data shard photos.csv -o shards/ --longest 512 --size 1000
    """
    from braid.datasets import open_dataset
    from braid.datasets.shards import write_shards
    from braid.datasets.table import parse_columns

    if output.exists():
        raise UserError(f"{output} already exists; remove it or give another folder")
    dataset = open_dataset(data, parse_columns(columns))
    without = SkippedRows(note)

    def skipped(source: str, reason: str) -> None:
        if strict:
            raise UserError(reason if reason.startswith(source) else f"{source}: {reason}")
        without.add([(source, reason)])

    for row in dataset.skipped:
        skipped(row.source, row.reason)
    rows = dataset.split("all")
    written = write_shards(progress(rows, "writing", len(rows)), output, size * MEGABYTE, longest, skipped)
    finish(without, skipped_rows)
    if json:
        print_json({"output": str(output), **asdict(written), "num_skipped_rows": len(without)})
        return
    columns_shown = ["folder", "rows", "files", "shards", "MB"]
    sizes = [f"{written.num_rows:,}", f"{written.num_files:,}", written.num_shards, f"{written.num_bytes / MEGABYTE:,.1f}"]
    print_table("Written", columns_shown, [[str(output), *sizes]], columns_shown[1:])


def clips(
    folder: Annotated[Path, typer.Argument(help="A folder of videos or recordings, with subtitles beside them.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The table to write: jsonl, csv, tsv, json or parquet.")],
    language: Annotated[
        str, typer.Option(help="Language of the subtitles, such as en. Default: the only one, or that of the info.json.")
    ] = "",
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first video that cannot be used.")] = False,
    skipped_rows: Annotated[
        Path | None, typer.Option("--skipped-rows", help="List videos that cannot be used in this file (jsonl).")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Write a table of clips from videos and their subtitles (vtt, srt), as yt-dlp saves them.

    Each subtitle becomes a row: the file, start and end in seconds, and the text as captions. No file is cut or opened. Automatic
    subtitles, which repeat the line before, are merged. Title, tags and chapter come from the info.json, if there is one. Any
    command takes the table; rows of one file stay in one split.

    Examples:

        braid data clips talks/ -o talks/clips.jsonl

        braid data clips talks/ -o clips.csv --language en
    """
    from braid.datasets.clips import find_videos, rows_of
    from braid.datasets.table import Table, check_name, write_table
    from braid.files import ready

    check_name(output)
    ready(output)
    videos, notes = find_videos(folder)
    without, languages, rows = SkippedRows(note), Counter[str](), list[dict[str, Any]]()
    for video in progress(videos, "reading", len(videos)):
        try:
            found = rows_of(video, language, output.absolute().parent)
        except UserError as error:
            if strict:
                raise
            without.add([(os.path.relpath(next(iter(video.files.values())), folder), str(error))])
            continue
        rows += found.rows
        languages[found.language or "no named language"] += 1
        notes += found.notes
    if not rows:
        raise UserError(f"{folder}: no clip has subtitles that can be read, so nothing is written")
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    write_table(Table(columns, rows, folder / "clips"), output)
    for text in notes:
        note(text)
    finish(without, skipped_rows)
    seconds = sum(row["end"] - row["start"] for row in rows)
    if json:
        counts = {"num_videos": languages.total(), "num_rows": len(rows), "seconds": round(seconds, 3)}
        print_json({"output": str(output), **counts, "languages": dict(languages), "num_skipped": len(without)})
        return
    said = ", ".join(f"{name} ({count:,})" for name, count in languages.most_common())
    cells = [str(output), f"{len(rows):,}", f"{languages.total():,}", f"{seconds / 60:,.1f}", said]
    print_table("Written", ["table", "rows", "videos", "minutes", "subtitles"], [cells], ["rows", "videos", "minutes"])


def _check_fix(dataset: "Dataset", output: Path) -> None:
    from braid.datasets.table import check_name

    path = Path(dataset.path)
    if not path.is_file() or not dataset.format.startswith("table"):
        raise UserError(f"--fix writes a copy of a table, and {dataset.path} is {dataset.format}; leave --fix out")
    if output.resolve() == path.resolve():
        raise UserError(f"--fix {output} is the table that is checked; give another file")
    check_name(output)


def _write_clean(dataset: "Dataset", columns: dict[str, str], defects: "Sequence[Defect]", output: Path) -> dict[str, Any]:
    """Write the table without the rows to remove, with paths relative to its folder, and return the numbers of rows."""
    from braid.datasets import SkippedRow
    from braid.datasets.checks import row_keys
    from braid.datasets.dataset import file_kinds
    from braid.datasets.table import read_table, table_examples, table_for, write_table
    from braid.records import Example

    table = read_table(Path(dataset.path))
    examples = table_examples(table, columns if "split" in dataset.columns else {**columns, "split": ""})
    splits_named = any(isinstance(row, Example) and row.split for row in examples)
    lost = {key if splits_named else key[0]: defect.kind for defect in reversed(defects) for key in defect.out}
    unread = {defect.sources[0]: defect.kind for defect in defects if defect.kind in UNREAD}
    files = tuple(file_kinds())
    kept, skipped_rows = [], Counter[str]()
    for row, example in zip(table.rows, examples, strict=True):
        if isinstance(row, SkippedRow) or isinstance(example, SkippedRow):
            skipped_rows[unread[example.source]] += 1
            continue
        keys = row_keys(example, files)
        kind = next((kind for key in keys if (kind := lost.get(key if splits_named else key[0]))), None)
        if kind:
            skipped_rows[kind] += 1
            continue
        kept.append(row)
    write_table(table_for(replace(table, rows=kept), columns, output), output)
    return {"output": str(output), "num_rows": len(examples), "num_kept": len(kept), "skipped_rows": dict(skipped_rows)}


def _as_json(
    dataset: "Dataset", splits: dict[str, dict[str, int]], defects: "Sequence[Defect]", unused: "Unused"
) -> dict[str, Any]:
    from braid.datasets.checks import ADVICE, by_kind, described_columns

    unreadable = [defect for defect in defects if defect.kind == "unreadable file"]
    skipped = [{"source": row.source, "reason": row.reason} for row in dataset.skipped]
    skipped += [{"source": defect.sources[0], "reason": defect.what} for defect in unreadable]
    return {
        "path": dataset.path,
        "format": dataset.format,
        "columns": dict(dataset.columns),
        "unused": list(dataset.unused),
        "suspected_leaks": {leak.name: str(leak) for leak in unused.leaks},
        "tabular": {one.column.name: str(one) for one in described_columns(dataset.examples)},
        "notes": list(dataset.said),
        "num_hidden": dataset.hidden,
        "splits": splits,
        "labels": {label: dict(counts) for label, counts in _labels(dataset).items()},
        "num_examples": len(dataset.examples),
        "num_broken": len(skipped),
        "broken": skipped,
        "num_defects": len(defects),
        "defects": [
            {
                "kind": kind,
                "count": len(result),
                "advice": ADVICE[kind],
                "rows": [{"sources": list(defect.sources), "what": defect.what} for defect in result],
            }
            for kind, result in by_kind(defects).items()
        ],
    }


def _splits(dataset: "Dataset") -> dict[str, dict[str, int]]:
    """Split -> numbers of rows, of distinct files by kind, and of texts."""
    from braid.datasets.dataset import file_kinds

    result: dict[str, Counter[str]] = {}
    files: dict[tuple[str, str], set[Any]] = {}
    modalities = file_kinds()
    for example in dataset.examples:
        counts = result.setdefault(example.split or "unassigned", Counter())
        counts["rows"] += 1
        for role in modalities.keys() & example.fields.keys():
            files.setdefault((example.split or "unassigned", role), set()).add(modalities[role].key(example.fields[role]))
        for role in ("captions", "answers"):
            if role in example.fields:
                counts[role] += len(example.fields[role])
    for (split, role), seen in files.items():
        result[split][f"{role}s"] = len(seen)
    return {split: dict(counts) for split, counts in sorted(result.items(), key=lambda item: -item[1]["rows"])}


def _labels(dataset: "Dataset") -> dict[str, Counter[str]]:
    """Label -> number of rows by split, the commonest label first."""
    result: dict[str, Counter[str]] = {}
    for example in dataset.examples:
        given = example.fields.get("label", ())
        for label in given if isinstance(given, tuple) else (given,):
            result.setdefault(str(label), Counter())[example.split or "unassigned"] += 1
    return dict(sorted(result.items(), key=lambda item: -item[1].total()))


def _as_numbers(labels: Iterable[str]) -> list[float]:
    """The labels as numbers; none if one of them is a word."""
    try:
        return [float(label) for label in labels]
    except ValueError:
        return []


def _print_labels(labels: dict[str, Counter[str]], splits: Sequence[str]) -> None:
    """The commonest labels, and how many there are; of many numbers, the smallest and the largest."""
    if len(labels) > LABELS and (numbers := _as_numbers(labels)):
        note(f"the labels are {len(labels):,} different numbers, from {min(numbers):g} to {max(numbers):g}")
        return
    rows = [[label, *(f"{counts[split]:,}" for split in splits)] for label, counts in list(labels.items())[:LABELS]]
    print_table(f"\n{len(labels):,} labels", ["label", *splits], rows, splits)
    if len(labels) > LABELS:
        rarest = list(labels.values())[-1].total()
        note(
            f"and {len(labels) - LABELS:,} more, the rarest with {rarest:,} row{'s' if rarest > 1 else ''}; --json lists them all"
        )


def _print(dataset: "Dataset", splits: dict[str, dict[str, int]], defects: "Sequence[Defect]", unused: "Unused") -> None:
    from braid.datasets.checks import ADVICE, by_kind, described_columns

    names = list(dict.fromkeys(name for counts in splits.values() for name in counts))
    rows = [[split, *(f"{counts.get(name, 0):,}" for name in names)] for split, counts in splits.items()]
    print_table(f"{dataset.path}: {dataset.format}", ["split", *names], rows, names)
    hidden = [f"{dataset.hidden:,} hidden files or folders are passed over"] if dataset.hidden else []
    for text in (*dataset.said, *hidden):
        note(text)
    if dataset.columns:
        print_table("\nColumns", ["role", "column"], list(dataset.columns.items()))
    if kinds := described_columns(dataset.examples):
        print_table("\nTable columns", ["column", "kind"], [[one.column.name, str(one)] for one in kinds])
    for text in _of_unused(dataset, unused):
        note(text)
    if labels := _labels(dataset):
        _print_labels(labels, list(splits))
    example = next(iter(dataset.examples), None)
    if example is not None:
        print_table(f"\nThe first row ({example.source})", ["role", "value"], _shown(example))
    if not defects:
        note("\nno defects")
        return
    table = [[kind, f"{len(result):,}", _first(result), ADVICE[kind]] for kind, result in by_kind(defects).items()]
    title = f"\n{len(defects):,} defect{'s' if len(defects) > 1 else ''}"
    print_table(title, ["defect", "count", "examples", "what to do"], table, ["count"])
    if any(len(result) > SHOWN for result in by_kind(defects).values()):
        note("--json lists them all")


def _of_unused(dataset: "Dataset", unused: "Unused") -> Iterator[str]:
    """What the columns without a role would be good for, if for anything."""
    labelled = bool({"label", "labels"} & set(dataset.columns))
    which = "those that you know before the label" if labelled else "those that the model is to read"
    some = f", for example tabular={'+'.join(unused.inputs[:2])}" if unused.inputs else ""
    if dataset.unused:
        yield f"not used: {', '.join(dataset.unused)}; map {which} with --columns{some}"
    for leak in unused.leaks:
        yield f"suspected leak: {leak}; do not map it, unless you know it before the label"


def _first(result: "Sequence[Defect]") -> str:
    more = [f"and {len(result) - SHOWN:,} more"] if len(result) > SHOWN else []
    return "\n".join([defect.what for defect in result[:SHOWN]] + more)


def _shown(example: "Example") -> list[list[str]]:
    from braid.media import Clip
    from braid.modalities import modality_of, show

    rows = [["id", example.id]]
    for role, value in example.fields.items():
        modality = modality_of(role)
        if isinstance(value, Clip):
            text = f"{Path(value.file).name if isinstance(value.file, str) else 'a file in the table'}, {value}"
        elif isinstance(value, bytes):
            text = f"{len(value):,} bytes in the table"
        elif modality and modality.suffixes:
            text = Path(value).name if isinstance(value, str) else "rendered when it is read"
        elif isinstance(value, str | tuple):
            text = value if isinstance(value, str) else "\n".join(map(str, value))
        else:
            text = show(role, value).text
        rows.append([role, text if len(text) < 500 else text[:500] + " ..."])
    return rows

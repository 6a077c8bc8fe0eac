"""Options that several verbs share, and how they are read: inputs of a model, one of its tasks, rows of a data set."""

import glob
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from braid.cli.console import note
from braid.errors import UserError
from braid.files import is_there
from braid.files.paths import is_address, is_data_uri

if TYPE_CHECKING:
    from braid.api import LoadedModel
    from braid.datasets import Dataset, Rows
    from braid.records import Sample


MODELS = "A built-in name, a model's folder, a run's folder, or hf:NAME_OR_FOLDER."
DATA = "A file or folder of any supported format, or scenes:TASK."

ModelOption = Annotated[str, typer.Option("--model", "-m", help=MODELS)]
FilesArgument = Annotated[list[str], typer.Argument(help="Files, patterns or folders.", show_default=False)]
OptionalFilesArgument = Annotated[list[str] | None, typer.Argument(help="Files, patterns or folders.", show_default=False)]
InputOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input", help='An input of the model by name, for every file: --input tabular="price=12,brand=Acme". Repeatable.'
    ),
]
TextOption = Annotated[str, typer.Option(help="A text: alone, or together with every file.")]

DataOption = Annotated[str, typer.Option(help=DATA)]
ColumnsOption = Annotated[
    str, typer.Option(help="Roles to column names: image=photo,captions=title,tabular=price+brand; text= leaves the text out.")
]
SplitHelp = "The split to use; all takes every row. Default: val; all rows of data without splits that the model is new to."
SplitOption = Annotated[str, typer.Option(help=SplitHelp)]
LimitOption = Annotated[int, typer.Option(min=0, help="Use the first rows only; 0 takes all.")]
TaskOption = Annotated[str, typer.Option(help="Default: the model's only task.")]
USUAL_TASK = "captioning"
UsualTaskOption = Annotated[str, typer.Option(help=f"Default: the model's only task; of several, {USUAL_TASK}.")]
SettingsOption = Annotated[list[str] | None, typer.Option("--set", help="Override a setting: --set optimizer.learning_rate=1e-4")]

BatchOption = Annotated[int, typer.Option(min=1, help="Rows processed together.")]
BeamOption = Annotated[int | None, typer.Option(min=1, help="Beams; 1 is greedy. Default: the model's own.")]
LanguageOption = Annotated[
    str, typer.Option("--language", help="A language that the model writes, such as zh. Default: its usual one.")
]
SeedOption = Annotated[int, typer.Option(min=0, help="The same seed gives the same result.")]
TemperatureHelp = "Sampling temperature; higher is more varied."
TokenizerOption = Annotated[str, typer.Option(help="Tokenizer of caption metrics: auto (by language), ptb, characters or none.")]
MinConfidenceOption = Annotated[float, typer.Option(min=0, max=1, help="Abstain below this confidence.")]
StrictOption = Annotated[bool, typer.Option("--strict", help="Stop at the first row that cannot be read.")]
SkippedRowsOption = Annotated[Path | None, typer.Option("--skipped-rows", help="List unreadable rows in this file (jsonl).")]
LinesOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object.")]


def parsed(loaded: "LoadedModel", inputs: Sequence[str] | None) -> dict[str, Any]:
    """``--input NAME=VALUE``, each value read by the input of that name.

    Raises:
        UserError: for a name that is no input of the model, or a value that cannot be read.
    """
    from braid.config import did_you_mean, named

    known, result = loaded.bundle.interface.inputs, {}
    for one in inputs or ():
        name, equals, value = one.partition("=")
        if not equals or not value:
            raise UserError(f'--input {one}: write it as NAME=VALUE, for example --input tabular="price=12,brand=Acme"')
        if name not in known:
            raise UserError(f"--input {one}: this model has no input {name!r}; {did_you_mean(name, list(known))}")
        with named(f"--input {name}"):
            result[name] = known[name].parse(value)
        for message in _odd_cells(known[name], result[name]):
            note(f"--input {name}: {message}")
    return result


def _odd_cells(config: Any, value: Any) -> Iterator[str]:
    """Values that training never showed, and texts for numbers: normal in a table, but more likely a typing error on the command
    line."""
    from braid.config import did_you_mean
    from braid.modalities.tabular.columns import to_days, to_number

    readers = {"number": to_number, "date": to_days}

    for field in config.fields():
        given = value.get(field["name"]) if isinstance(value, Mapping) else None
        if given is not None and field["type"] == "choice" and given not in field["choices"]:
            yield f"{field['name']} {given!r} was not in the training data; {did_you_mean(str(given), field['choices'])}"
        if given is not None and field["type"] in readers and readers[field["type"]](given) is None:
            yield f"{field['name']} {given!r} is not a {field['type']}, so it counts as missing"


def names_file(loaded: "LoadedModel", word: str) -> bool:
    """Whether a word means files: a path or a folder that exists, a pattern, or one word with the ending of a file that the model
    reads. "what is in dog.jpg" is a text, unless there is such a file. An address is meant as a file, which is then told."""
    return (
        is_there(word)
        or is_address(word)
        or (loaded.is_file(word) and (len(word.split()) == 1 or bool(glob.glob(word, recursive=True))))
    )


def given_text(text: str, what: str = "the text") -> str:
    """A text that a person gives.

    Raises:
        UserError: when it is none, such as an image as a data URI.
    """
    from braid.modalities.cells import check_text

    if is_data_uri(text):
        raise UserError(f"{what} is a data URI, which is a file and no text; save the file and give its path")
    return check_text(text, what)


def note_cut(loaded: "LoadedModel", texts: Sequence[str]) -> None:
    """Say how many texts are longer than the model reads."""
    from braid.evaluation import cut_texts
    from braid.records import Sample
    from braid.search import input_named

    inputs = loaded.bundle.inputs
    name = input_named(inputs, "text")
    for message in cut_texts(inputs, (Sample("", {name: text}) for text in texts)):
        note(message)


def rows_of(loaded: "LoadedModel", paths: Sequence[str], given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each file, with what is given for all; without files, one row of what is given. Files of several inputs are the
    parts of one row.

    Raises:
        UserError: when there is nothing, or several files of several inputs.
    """
    files = loaded.files(paths, note)
    readers = list(files.values())
    if len(set(readers)) > 1:
        if len(set(readers)) < len(readers):
            raise UserError("there are several files of several inputs; give one of each, or a table to braid predict")
        return [{**{name: file for file, name in files.items()}, **given}]
    rows = [{name: file, **given} for file, name in files.items()]
    if twice := [name for name in set(readers) if name in given]:
        raise UserError(f"--input {twice[0]} and files are both given for the input {twice[0]!r}; give one of them")
    return rows or ([dict(given)] if given else [])


def choose_task(loaded: "LoadedModel", task: str, usual: str = "") -> str:
    """The task that is named, or the model's only one; of several, the ``usual`` one.

    Raises:
        UserError: when the model does several, and none is named.
    """
    from braid.tables import only_task

    return only_task(loaded, task, usual)


def columns_of(loaded: "LoadedModel", columns: str, path: str | Path) -> dict[str, str]:
    """``--columns``, and the columns that the model itself names, such as those of a tabular input."""
    from braid.datasets.table import parse_columns, with_model_columns

    return with_model_columns(path=Path(path), columns=parse_columns(columns), inputs=loaded.bundle.interface.inputs)


def open_rows(loaded: "LoadedModel", data: str, columns: str) -> "Dataset":
    """A data set, with the columns that the model reads."""
    from braid.datasets import open_dataset

    dataset = open_dataset(data, columns_of(loaded, columns, data))
    for text in dataset.notes:
        note(f"{data}: {text}")
    return dataset


def rows_to_score(loaded: "LoadedModel", dataset: "Dataset", split: str, limit: int = 0) -> tuple[str, "Rows"]:
    """The split that is named, or the usual one, and its rows: val, or all rows where no row names a split and the model was not
    trained on data of this name, which is said."""
    trained = Path(dataset.path).name in loaded.bundle.interface.data
    chosen = split or ("all" if dataset.guess and not trained else "val")
    rows = dataset.split(chosen)[: limit or None]
    if not split and dataset.guess:
        why = f"no row names a split, and the model was {'' if trained else 'not '}trained on data of this name"
        note(f"{dataset.path}: {len(rows):,} of {len(dataset.examples):,} rows, split {chosen}: {why}")
    return chosen, rows


def note_trained(loaded: "LoadedModel", samples: Sequence["Sample"], what: str) -> None:
    """Say how many of the rows the model was trained on, if its run's folder tells; ``what`` of them looks too good."""
    from braid.trained_rows import count_trained

    if number := count_trained(loaded.bundle.folder, samples, loaded.bundle.interface.inputs):
        rows = f"{number:,} of {len(samples):,} rows were in this model's training data"
        note(f"{rows}; {what} look better than they are")

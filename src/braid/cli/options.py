"""Options that several verbs share, each said once."""

from pathlib import Path
from typing import Annotated

import typer

MODELS = "A built-in name, a model's folder, a run's folder, or hf:NAME_OR_FOLDER."
DATA = "A file or folder of any supported format, or scenes:TASK."

ModelOption = Annotated[str, typer.Option("--model", "-m", help=MODELS)]
ModelArgument = Annotated[str, typer.Argument(help=MODELS)]
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
DataArgument = Annotated[str, typer.Argument(help=DATA)]
ColumnsOption = Annotated[str, typer.Option(help="Roles to column names: image=photo,captions=text,tabular=price+brand")]
SplitOption = Annotated[str, typer.Option(help="The split to use; all takes every row.")]
LimitOption = Annotated[int, typer.Option(min=0, help="Use the first rows only; 0 takes all.")]
TaskOption = Annotated[str, typer.Option(help="Default: the model's only task.")]
SettingsOption = Annotated[list[str] | None, typer.Option("--set", help="Override a setting: --set optimizer.learning_rate=1e-4")]

BatchOption = Annotated[int, typer.Option(min=1, help="Rows processed together.")]
BeamOption = Annotated[int | None, typer.Option(min=1, help="Beams; 1 is greedy. Default: the model's own.")]
SeedOption = Annotated[int, typer.Option(min=0, help="The same seed gives the same result.")]
TemperatureHelp = "Sampling temperature; higher is more varied."
TokenizerOption = Annotated[str, typer.Option(help="Tokenizer of the metrics: ptb, characters (Chinese) or none.")]
MinConfidenceOption = Annotated[float, typer.Option(min=0, max=1, help="Abstain below this confidence.")]
StrictOption = Annotated[bool, typer.Option("--strict", help="Stop at the first row that cannot be read.")]
SkippedRowsOption = Annotated[Path | None, typer.Option("--skipped-rows", help="List unreadable rows in this file (jsonl).")]
LinesOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object.")]

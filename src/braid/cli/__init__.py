"""The command ``braid``: its verbs, and how every failure ends in one clear line."""

import errno
import io
import os
import sys
import traceback
from collections.abc import Callable
from typing import Annotated

import typer

import braid
from braid.cli import (
    console,
    data,
    demo,
    evaluate,
    explain,
    export,
    first_steps,
    inspect,
    recipes,
    search,
    serve,
    settings,
    train,
    use,
)
from braid.cli.console import printable
from braid.cli.places import Command, Verb
from braid.errors import UserError, install_command

VERBS: dict[str, tuple[Callable[..., None], ...]] = {
    "Use a model": (
        use.caption,
        use.ask,
        use.classify,
        use.complete,
        use.imagine,
        use.predict,
        search.embed,
        search.index,
        search.search,
        demo.demo,
        serve.serve,
    ),
    "Train a model": (first_steps.new, train.train, evaluate.calibrate, train.average, export.export),
    "Evaluate and inspect": (
        evaluate.evaluate,
        explain.explain,
        explain.grade_explanations,
        train.compare,
        evaluate.audit,
        inspect.inspect,
        inspect.report,
        settings.settings,
        recipes.recipes,
        first_steps.doctor,
    ),
}
# package -> the extra that installs it
EXTRAS = {
    "fastapi": "serve",
    "multipart": "serve",
    "onnx": "onnx",
    "onnxscript": "onnx",
    "peft": "hf",
    "prometheus_client": "serve",
    "python_multipart": "serve",
    "skimage": "demo",
    "starlette": "serve",
    "torch": "train",
    "transformers": "hf",
    "uvicorn": "serve",
}

app = typer.Typer(
    name="braid",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
score_app = typer.Typer(no_args_is_help=True, help="Score the predictions of any program with the official metrics.")
data_app = typer.Typer(no_args_is_help=True, help="Look at a data set before training on it, or pack it.")

for panel, verbs in VERBS.items():
    for verb in verbs:
        app.command(rich_help_panel=panel, cls=Verb)(verb)
score_app.command(cls=Command)(evaluate.captions)
data_app.command(cls=Command)(data.check)
data_app.command(cls=Command)(data.shard)
data_app.command(cls=Command)(data.clips)
app.add_typer(score_app, name="score", rich_help_panel="Evaluate and inspect")
app.add_typer(data_app, name="data", rich_help_panel="Evaluate and inspect")


def _print_version(wanted: bool) -> bool:
    if wanted:
        print(f"braid {braid.__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train, use and evaluate small multimodal models, on your own data and your own machine.

    Every command takes --json for machines, and --help shows examples.
    """


def main() -> None:
    """Run the command line.

    Exit codes: 0 done; 1 something that the user can fix, reported in one line on stderr; 2 wrong usage; 130 interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may not be able to print a file name
    _check_current_folder()
    try:
        app(prog_name="braid")
    except UserError as error:
        if console.verbose:
            traceback.print_exc()
        _fail(str(error))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        _fail(f"this needs {package}, which is not installed; run: {sys.executable} -m {install_command(EXTRAS[package])}")
    except OSError as error:
        if error.errno not in _FIXABLE:
            raise
        where = f" ({error.filename})" if error.filename else ""
        _fail(f"{_FIXABLE[error.errno]}{where}")
    except KeyboardInterrupt:
        sys.exit(130)


_FIXABLE = {
    errno.ENOSPC: "the disk is full; free some space and run the command again",
    errno.EACCES: "permission denied; choose a place you may read and write",
    errno.EPERM: "permission denied; choose a place you may read and write",
    errno.EROFS: "the disk is read-only; choose another place",
    errno.EDQUOT: "your share of the disk is full; free some space and run the command again",
    errno.EFBIG: "the file is larger than this place allows; choose another place",
    errno.EISDIR: "that is a folder; give the name of a file",
    errno.ENOTDIR: "a file stands where a folder should be; choose another place",
    errno.ENOENT: "there is no such place, and none can be made there; check the path",
    errno.ENXIO: "there is no such device; choose another place",
    errno.EIO: "the disk, or the terminal, reports an error; choose another place, or copy the file again",
    errno.ESTALE: "the file changed on its network disk meanwhile; run the command again",
    errno.ENOTSUP: "this place does not allow that; choose another one",
    errno.EEXIST: "a file stands where a folder should be; choose another place",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.ELOOP: "the path is a link that leads back to itself; choose another place",
}


def _check_current_folder() -> None:
    try:
        os.getcwd()
    except FileNotFoundError:
        _fail("the folder that you are in was removed; change to another one")


def _fail(message: str) -> None:
    print(f"error: {printable(' '.join(message.split()))}", file=sys.stderr)
    sys.exit(1)

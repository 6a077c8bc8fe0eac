"""Where a command takes its model and its data: as words, the model first, or by --model and --data; never as a guess."""

import shlex
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from braid.cli.console import be_quiet, be_verbose
from braid.errors import UserError
from braid.files import is_there

ModelWords = Annotated[
    list[str] | None, typer.Argument(metavar="[MODEL]", help="The model; or give it by --model.", show_default=False)
]
ModelAndDataWords = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MODEL] [DATA]", help="The model, then the data; or give them by --model and --data.", show_default=False
    ),
]
UsageError: type[Exception] = typer.BadParameter.__bases__[0]  # of click, which newer versions of typer carry inside
FILES = ("paths", "photos")  # arguments that are files, patterns or folders, so that a model's name is none


def model_of(verb: str, words: Sequence[str] | None, model: str, usual: str = "") -> str:
    """The model that a command is given, as a word or by ``--model``.

    Args:
        usual: the model when none is given.
    Raises:
        UserError: when there is none, or more than one.
    """
    given = [*(words or ()), *([model] if model else [])]
    if len(given) > 1:
        raise UserError(
            f"this command reads one model, and there are {len(given)}: {', '.join(given)}; write: braid {verb} {given[0]}"
        )
    if not given and not usual:
        raise UserError(f"the model is missing; write: braid {verb} MODEL")
    return given[0] if given else usual


def model_and_data(verb: str, words: Sequence[str] | None, model: str, data: str, usual: str = "") -> tuple[str, str]:
    """The model and the data that a command is given, as words or by ``--model`` and ``--data``.

    Args:
        usual: the model when none is given.
    Raises:
        UserError: when one is missing or given twice, with the right order in the user's own words.
    """
    given = list(words or ())
    if len(given) == 2 and not (model or data):
        first, second = given
        return (second, first) if _is_model(second) and not _is_model(first) else (first, second)
    if len(given) == 1 and bool(model) != bool(data):
        return (model, given[0]) if model else (given[0], data)
    if len(given) == 1 and not (model or data):
        if _is_model(given[0]):
            raise UserError(f"the data is missing; write: braid {verb} {shlex.quote(given[0])} DATA")
        if not usual:
            raise UserError(f"the model is missing; write: braid {verb} MODEL {shlex.quote(given[0])}")
        return usual, given[0]
    if given:
        twice = [f"--{name} {value}" for name, value in (("model", model), ("data", data)) if value]
        beside = f" beside {' and '.join(twice)}" if twice else ""
        right = shlex.join((model or given[0], data or given[-1]))
        raise UserError(f"{shlex.join(given)} is too much{beside}; this command reads a model and data: braid {verb} {right}")
    if data and (model or usual):
        return model or usual, data
    what = "the data is" if model or usual else "the model is" if data else "the model and the data are"
    model, data = shlex.quote(model) if model else "MODEL", shlex.quote(data) if data else "DATA"
    raise UserError(f"{what} missing; write: braid {verb} {model} {data}")


def _is_model(word: str, by_name: bool = True) -> bool:
    """Whether a word means a model: its folder, a run's folder, or (``by_name``) a built-in name, unless a file has that."""
    from braid.api import HUGGING_FACE
    from braid.bundle import BUILT_IN, bundle_folder

    if word.startswith(HUGGING_FACE):
        return True
    try:
        found = bundle_folder(word)
        return found is not None and (found.parent != BUILT_IN if is_there(word) else by_name)
    except (OSError, ValueError, UserError):  # a text that is too long or too odd for a name
        return False


class Command(TyperCommand):
    """A command with the options that all have."""

    def get_params(self, ctx: Any) -> list[Any]:
        *own, help_option = super().get_params(ctx)
        return [*own, *_of_all(), help_option]


def _of_all() -> list[TyperOption]:
    return [
        TyperOption(param_decls=names, is_flag=True, default=False, expose_value=False, callback=told, help=what)
        for names, told, what in (
            (["--quiet", "-q"], be_quiet, "Print results and errors alone: no progress, no notes."),
            (["--verbose"], be_verbose, "Also print where an error comes from."),
        )
    ]


class Verb(Command):
    """A command that takes its model by ``--model`` alone says so when the model is its first word."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = list(args)
        try:
            rest = super().parse_args(ctx, args)
        except UsageError:
            self._check_first_word(ctx, given, True)
            raise
        self._check_first_word(ctx, given, False)
        return rest

    def _check_first_word(self, ctx: Any, given: list[str], too_many: bool) -> None:
        names = {name for one in self.params for name in one.opts}
        argument = next((one for one in self.params if one.param_type_name == "argument"), None)
        if argument is None or str(argument.metavar).startswith("[MODEL]") or "--model" not in names or self.name == "train":
            return
        value: Any = ctx.params.get(argument.name or "")
        word = str(next(iter(value), "")) if isinstance(value, list | tuple) else str(value or "")
        if not word or word not in given or not _is_model(word, by_name=too_many or argument.name in FILES):
            return
        if any(one in ("-m", "--model") or one.startswith("--model=") for one in given):
            raise UserError(f"{word} is a model, and --model gives one, too; leave one of them out")
        given.remove(word)
        right = f"{shlex.join(['braid', str(self.name), *given])} --model {shlex.quote(word)}"
        raise UserError(f"{word} is a model, and this command takes it by --model: {right}")

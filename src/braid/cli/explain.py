"""braid explain, grade-explanations: why a model said what it said, and which explanation to believe."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from braid.cli.console import note, print_json, print_table, with_progress
from braid.cli.options import (
    ColumnsOption,
    DataOption,
    InputOption,
    JsonOption,
    LanguageOption,
    LimitOption,
    ModelOption,
    SplitOption,
    choose_task,
    note_cut,
    open_rows,
    parsed,
    rows_to_score,
)
from braid.cli.places import ModelAndDataWords, model_and_data
from braid.errors import UserError
from braid.files import ready

if TYPE_CHECKING:
    from braid.explain import Explanation
    from braid.explain.ranking import Ranking

SHOWN = 3  # patches or words of an output in the table
METHODS = "attention, rollout, gradients, grad_cam, integrated_gradients, occlusion or shapley"


def explain(
    image: Annotated[str, typer.Argument(help="A file; leave it out to explain a text alone.", show_default=False)] = "",
    question: Annotated[str, typer.Option(help="Explain the answer to this.")] = "",
    text: Annotated[str, typer.Option(help="Explain the label of this text, alone or together with the file.")] = "",
    inputs: InputOption = None,
    model: ModelOption = "small",
    method: Annotated[str, typer.Option(help=f"{METHODS}. Default: the one that points best on scenes.")] = "",
    language: LanguageOption = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="why.html, a page, or why.png, an image.")] = None,
    json: JsonOption = False,
) -> None:
    """Explain an answer: which patches, words, columns and seconds moved each word of a caption, an answer or a label.

    Examples:

        braid explain photo.jpg -o why.html

        braid explain photo.jpg --question "what colour is the dog?" --method gradients -o why.png

        braid explain post.jpg --text "best day ever" --model sentiment --json

        braid explain clip.mp4 --model runs/clips -o why.html
    """
    from braid.api import load

    if not image and not text and not inputs:
        raise UserError('give a file, or a text with --text; for example: braid explain photo.jpg --question "how many dogs?"')
    if output is not None:
        from braid.explain.explanation import check_suffix

        check_suffix(output)
        ready(output)
    loaded = load(model)
    files = {name: file for file, name in loaded.files(image, note).items()} if image else {}
    given = {**files, **parsed(loaded, inputs)}
    result = loaded.explain(question=question, text=text, method=method, language=language, **given)
    note_cut(loaded, [one for one in (question, text) if one])
    if output is not None:
        result.save(output)
    if json:
        print_json(result.to_dict())
        return
    _print(result)
    if output is not None:
        note(f"saved {output}")


def grade_explanations(
    words: ModelAndDataWords = None,
    model: ModelOption = "",
    data: DataOption = "",
    task: Annotated[str, typer.Option(help="Default: the one that the scenes are for, or the model's only one.")] = "",
    split: SplitOption = "",
    columns: ColumnsOption = "",
    methods: Annotated[str, typer.Option(help="Some methods only, split by commas.")] = "",
    limit: LimitOption = 100,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="grades.html, a page with the ranking.")] = None,
    json: JsonOption = False,
) -> None:
    """Rank the methods that explain a model, beside random scores: do answers depend on what a method points at?

    Examples:

        braid grade-explanations runs/answers --data scenes:vqa,train=1,val=100,size=64

        braid grade-explanations runs/mine --data photos.csv --methods gradients,occlusion --limit 20 -o grades.html
    """
    from braid.api import load
    from braid.explain.methods import check_methods

    chosen = [name.strip() for name in methods.split(",") if name.strip()]
    check_methods(chosen)
    if output is not None:
        ready(output)
    model, data = model_and_data("grade-explanations", words, model, data)
    loaded = load(model)
    _, examples = rows_to_score(loaded, open_rows(loaded, _scenes(data, task), columns), split, limit)
    wanted = choose_task(loaded, task or _scenes_task(data))
    result = loaded.rank_explanations(examples, wanted, chosen, with_progress("grading"))
    if output is not None:
        from braid.explain.ranking import ranking_page
        from braid.files import write_whole

        write_whole(output, ranking_page(result, model, data))
    if json:
        print_json({"best": result.best, "num_rows": result.num_rows, "num_words": result.num_words, **_as_json(result)})
        return
    _print_ranking(result, f"{model} on {data}")


def _scenes(data: str, task: str) -> str:
    """Complete ``scenes`` to the scenes for the task."""
    return f"scenes:{task or 'vqa'}" if data == "scenes" else data


def _scenes_task(data: str) -> str:
    """The task of a scenes data set; "" for other data, and for scenes that are for several tasks."""
    task = data.removeprefix("scenes:").partition(",")[0] if data.startswith("scenes:") else "vqa" if data == "scenes" else ""
    return "" if task in ("video", "audio") else task


def _print(result: "Explanation") -> None:
    shares = ", ".join(f"{name} {share:.0%}" for name, share in result.shares.items())
    names = [f"strongest in {one.name}" for one in result.inputs]
    rows = []
    for k, word in enumerate(result.outputs):
        strongest = []
        for one in result.inputs:
            order = (-one.values[k]).argsort()[:SHOWN]
            strongest.append(", ".join(f"{one.units[unit]} {one.values[k, unit]:+.2g}" for unit in order))
        rows.append([word, f"{result.probabilities[k]:.2f}", *strongest])
    print_table(
        f"{result.answer} ({result.method}; contributions: {shares})", ["word", "probability", *names], rows, ["probability"]
    )
    known = {**result.checks, **result.grades}
    note("  ".join(f"{name} {value:.3g}" for name, value in known.items()))


def _as_json(result: "Ranking") -> dict[str, object]:
    return {
        "methods": [{k: v if not isinstance(v, float) else round(v, 4) for k, v in asdict(one).items()} for one in result.grades]
    }


def _print_ranking(result: "Ranking", title: str) -> None:
    rows = [
        [
            one.method,
            "" if one.pointing is None else f"{one.pointing:.1f} ± {one.pointing_error:.1f}",
            *(f"{value:.3f}" for value in (one.deletion, one.insertion, one.sensitivity)),
            f"{one.seconds:.2f}",
        ]
        for one in result.grades
    ]
    columns = ["method", "pointing", "deletion", "insertion", "sensitivity", "seconds a row"]
    print_table(f"{title}: {result.num_words} words of {result.num_rows} rows", columns, rows, columns[1:])
    note("pointing, insertion and sensitivity are better when higher, deletion when lower; chance is the baseline")

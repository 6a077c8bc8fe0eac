"""braid explain, grade-explanations: why a model said what it said, and which explanation to believe."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from braid.cli.console import note, print_json, print_table, progress
from braid.errors import UserError
from braid.files import ready

if TYPE_CHECKING:
    from braid.explain import Explanation
    from braid.explain.ranking import Ranking

TOLD = 3  # patches or words of an output in the table
METHODS = "attention, rollout, gradients, grad_cam, integrated_gradients, occlusion or shapley"


def explain(
    image: Annotated[str, typer.Argument(help="A picture; leave it out to explain a text alone.", show_default=False)] = "",
    question: Annotated[str, typer.Option(help="Explain the answer to this.")] = "",
    text: Annotated[str, typer.Option(help="Explain the label of this text, alone or together with the picture.")] = "",
    model: Annotated[str, typer.Option("--model", "-m", help="A built-in name, a model's folder or a run's folder.")] = "small",
    method: Annotated[str, typer.Option(help=f"{METHODS}. Default: what points best on scenes.")] = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="why.html, a page, or why.png, a picture.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object with every score.")] = False,
) -> None:
    """Say why: which patches and words moved each word of a caption, an answer or a label.

    Examples:

        braid explain photo.jpg -o why.html

        braid explain photo.jpg --question "what colour is the dog?" --method gradients -o why.png

        braid explain post.jpg --text "best day ever" --model sentiment --json
    """
    from braid.api import load

    if not image and not text:
        raise UserError('give a picture, or a text with --text; for example: braid explain photo.jpg --question "how many dogs?"')
    if output is not None:
        from braid.explain.explanation import check_suffix

        check_suffix(output)
        ready(output)
    result = load(model).explain(image or None, question, text, method)
    if output is not None:
        result.save(output)
    if json:
        print_json(result.to_dict())
        return
    _print(result)
    if output is not None:
        note(f"saved {output}")


def grade_explanations(
    model: Annotated[str, typer.Argument(help="A built-in name, a model's folder or a run's folder.")],
    data: Annotated[str, typer.Option(help="Scenes, or a file or folder of any supported format.")],
    task: Annotated[str, typer.Option(help="Default: the one that the scenes are for, or the model's only one.")] = "",
    split: Annotated[str, typer.Option(help="The split to look at; all takes every row.")] = "val",
    columns: Annotated[str, typer.Option(help="Roles to column names: image=photo,question=text")] = "",
    methods: Annotated[str, typer.Option(help="Some methods only, split by commas.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="The first rows only; 0 takes all.")] = 100,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="grades.html, a page with the ranking drawn.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Rank the methods that explain a model, beside scores by chance: do the answers hang on what they point at?

    Examples:

        braid grade-explanations runs/answers --data scenes:vqa,train=1,val=100,size=64

        braid grade-explanations runs/mine --data photos.csv --methods gradients,occlusion --limit 20 -o grades.html
    """
    from braid.api import load
    from braid.datasets import open_dataset
    from braid.datasets.table import parse_columns
    from braid.explain.methods import check_methods

    chosen = [name.strip() for name in methods.split(",") if name.strip()]
    check_methods(chosen)
    if output is not None:
        ready(output)
    loaded = load(model)
    examples = open_dataset(_scenes(data, task), parse_columns(columns)).split(split)[: limit or None]
    result = loaded.rank_explanations(
        examples, _task(task, data, sorted(loaded.bundle.interface.tasks)), chosen, lambda rows, n: progress(rows, "grading", n)
    )
    if output is not None:
        from braid.explain.ranking_page import ranking_page
        from braid.files import write_whole

        write_whole(output, ranking_page(result, model, data))
    if json:
        print_json({"best": result.best, "num_rows": result.num_rows, "num_words": result.num_words, **_told(result)})
        return
    _print_ranking(result, f"{model} on {data}")


def _scenes(data: str, task: str) -> str:
    """``scenes`` alone means those for the task."""
    return f"scenes:{task or 'vqa'}" if data == "scenes" else data


def _task(task: str, data: str, known: Sequence[str]) -> str:
    named = data.removeprefix("scenes:").partition(",")[0] if data.startswith("scenes:") else "vqa" if data == "scenes" else ""
    if task or named:
        return task or named
    if len(known) > 1:
        raise UserError(f"this model does {', '.join(known)}; choose one with --task")
    return known[0]


def _print(result: "Explanation") -> None:
    shares = ", ".join(f"{name} {share:.0%}" for name, share in result.shares.items())
    names = [f"strongest in {one.name}" for one in result.inputs]
    rows = []
    for k, word in enumerate(result.outputs):
        strongest = []
        for one in result.inputs:
            order = (-one.values[k]).argsort()[:TOLD]
            strongest.append(", ".join(f"{one.units[unit]} {one.values[k, unit]:+.2g}" for unit in order))
        rows.append([word, f"{result.probabilities[k]:.2f}", *strongest])
    print_table(
        f"{result.answer} ({result.method}; what counted: {shares})", ["word", "probability", *names], rows, ["probability"]
    )
    known = {**result.checks, **result.grades}
    note("  ".join(f"{name} {value:.3g}" for name, value in known.items()))


def _told(result: "Ranking") -> dict[str, object]:
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

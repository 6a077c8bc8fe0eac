"""The ranking of methods, drawn: one HTML file without scripts."""

from html import escape

from braid.explain.ranking import MethodGrade, Ranking
from braid.reports.dots import Figure, intervals
from braid.reports.page import whole_page

FOOTER = (
    "Pointing: the share of words whose hottest patch touches the object that they are about (arXiv:1608.00507). Deletion "
    "and insertion: the area under the probability while patches go or come, the strongest first (arXiv:1806.07421). "
    "Sensitivity: how much of a map changes where the model&rsquo;s weights are shuffled (arXiv:1810.03292). Lines are two "
    "standard errors."
)

CHARTS = {
    "deletion": "deletion, lower is better",
    "insertion": "insertion, higher is better",
    "sensitivity": "sensitivity to the weights, higher is better",
}


def ranking_page(ranking: Ranking, model: str, data: str) -> str:
    """The page as HTML: a chart a grade, and the table."""
    generated = [_pointing(ranking)] if ranking.grades[0].pointing is not None else []
    for name, message in CHARTS.items():
        generated.append(_chart(message, [Figure(one.method, getattr(one, name), quiet=_quiet(one)) for one in ranking.grades]))
    rows = f"{ranking.num_words} words in {ranking.num_rows} rows of {escape(data)}"
    lead = f"{escape(ranking.best)} is to be believed most, by {rows}."
    sections = [("Grades", "".join(generated), "charts"), ("Table", _table(ranking), "wide")]
    return whole_page(f"explanations of {model}", lead, {}, sections, FOOTER)


def _pointing(ranking: Ranking) -> str:
    metrics = []
    for one in ranking.grades:
        assert one.pointing is not None and one.pointing_error is not None
        ends = one.pointing - 2 * one.pointing_error, one.pointing + 2 * one.pointing_error
        metrics.append(Figure(one.method, one.pointing, *ends, quiet=_quiet(one)))
    return _chart("pointing, % of words", metrics)


def _chart(message: str, metrics: list[Figure]) -> str:
    return f"<figure><figcaption>{escape(message)}</figcaption>{intervals(metrics, '')}</figure>"


def _quiet(one: MethodGrade) -> bool:
    return one.method == "chance"


def _table(ranking: Ranking) -> str:
    names = ("method", "pointing", "deletion", "insertion", "sensitivity", "seconds a row")
    head = "".join(f'<th class="number">{name}</th>' if k else f"<th>{name}</th>" for k, name in enumerate(names))
    rows = []
    for one in ranking.grades:
        pointing = "" if one.pointing is None else f"{one.pointing:.1f} ± {one.pointing_error:.1f}"
        metrics = [pointing, *(f"{value:.3f}" for value in (one.deletion, one.insertion, one.sensitivity)), f"{one.seconds:.2f}"]
        cells = "".join(f'<td class="number">{metric}</td>' for metric in metrics)
        rows.append(f"<tr><td>{escape(one.method)}</td>{cells}</tr>")
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"

"""The page of an evaluation: metrics, quality of confidence, metrics by answer type, a confusion matrix, and some rows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy as np

from braid.files import write_whole
from braid.metrics import Decisions, LabelScores, RiskCoverage
from braid.reports.charts import reliability_chart, risk_chart, rounded
from braid.reports.page import charts, table, whole_page
from braid.reports.rows import ShownRow, cards
from braid.shapes import Int

COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.25, 0.1)  # rows of the risk-coverage table
MOST = 20  # maximum labels in a table; rarer ones are merged
GREEN, ORANGE = "0,112,79", "213,94,0"
FOOTER = (
    "A label is right if it is the row&rsquo;s, an answer if it matches one of the row&rsquo;s exactly, and a caption if its "
    "cider-2015 is above the threshold of its calibration or, without one, above the median. Where rows may have several labels, "
    "each label is one decision. aurc is the area under the risk-coverage curve, ece the mean gap between confidence and "
    "accuracy. A minimum confidence chosen on these rows does a little worse on others. The rows under &ldquo;Answers&rdquo; "
    "stand at even distances; nobody chose them."
)


@dataclass(frozen=True, eq=False)
class Evaluated:
    """The result of an evaluation. ``metrics`` are measured on the answered rows, ``metric`` is the main one. Everything else
    covers all rows: ``decisions``, metrics ``by_type`` of answer, and the ``scores`` of ``labels``, in their order. ``method`` is
    the decoding method of texts, ``rows`` are examples to show."""

    model: str
    task: str
    data: str
    split: str
    num_rows: int
    min_confidence: float
    metric: str
    metrics: Mapping[str, float]
    method: str = ""
    decisions: Decisions | None = None
    by_type: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    labels: Sequence[str] = ()
    scores: LabelScores | None = None
    rows: Sequence[ShownRow] = ()


def write_evaluated(result: Evaluated, output: Path) -> None:
    """Write the page: one HTML file without scripts, which needs no network."""
    write_whole(output, evaluated_page(result))


def evaluated_page(result: Evaluated) -> str:
    scores = result.scores
    sections = [
        ("Metrics", _metrics(result.metrics) + _by_type(result.by_type), "beside"),
        ("Confidence", _confidence(result.decisions) if result.decisions else "", ""),
        ("Confusion matrix", _confused(result.labels, scores.confusion) if scores else "", ""),
        ("Labels", _by_label(result.labels, scores) if scores else "", ""),
        ("Answers", cards(result.rows), "samples"),
    ]
    message = {name: value for name, value in result.metrics.items() if name != "num_samples"}
    facts = {
        "model": result.model,
        "task": result.task,
        "data": result.data,
        "scored on": f"{result.num_rows:,} rows of {result.split}",
        "method": result.method,
        "answered": f"{rounded(message['coverage'])}%, from a confidence of {result.min_confidence:g}"
        if "coverage" in message
        else "",
    }
    lead = f'<p><strong class="figure">{rounded(message[result.metric])}</strong> {escape(result.metric)}</p>'
    return whole_page(Path(result.model).name, lead, facts, sections, FOOTER)


def _metrics(metrics: Mapping[str, float]) -> str:
    """The table of metrics, without those by type, which have their own table."""
    rows = [[escape(name), rounded(value)] for name, value in metrics.items() if name != "num_samples" and "/" not in name]
    return table(["metric", "value"], rows, ["value"])


def _by_type(result: Mapping[str, Mapping[str, float]]) -> str:
    names = [name for name in next(iter(result.values()), {}) if name != "num_samples"]
    rows = [[escape(kind), f"{one['num_samples']:,.0f}", *(rounded(one[name]) for name in names)] for kind, one in result.items()]
    return table(["type of answer", "rows", *names], rows, ["rows", *names]) if rows else ""


def _confidence(decisions: Decisions) -> str:
    generated = [
        ("Wrong, % of the surest decisions", risk_chart(decisions.curve)),
        ("Right, % by confidence", reliability_chart(decisions.bins)),
    ]
    bins = [
        [f"{one.low:.1f} to {one.high:.1f}", f"{one.count:,}", f"{one.confidence:.3f}", f"{one.accuracy:.3f}"]
        for one in decisions.bins
    ]
    surest, sorted_in = ["answered, %", "right, %", "from confidence"], ["confidence", "decisions", "mean", "right"]
    tables = [table(surest, _surest(decisions.curve), surest), table(sorted_in, bins, sorted_in[1:])]
    return f'{charts(generated)}<div class="beside">{"".join(tables)}</div>'


def _surest(curve: RiskCoverage) -> list[list[str]]:
    """Rows of coverage, accuracy, and the confidence threshold, rounded down so that it includes all of these rows."""
    places = dict.fromkeys(int(np.searchsorted(curve.coverage, share - 1e-9)) for share in COVERAGES)
    return [
        [
            rounded(100 * float(curve.coverage[place])),
            rounded(100 - 100 * float(curve.risk[place])),
            f"{math.floor(1000 * float(curve.thresholds[place])) / 1000:.3f}",
        ]
        for place in places
    ]


def _confused(labels: Sequence[str], matrix: Int[np.ndarray, "labels labels"] | None) -> str:
    """The confusion matrix: true labels in rows, predicted ones in columns; a darker cell has a larger share of its row."""
    if matrix is None:
        return ""
    names, cells = commonest(labels, matrix)
    tall = ' class="tall"' if len(names) > 8 or max(map(len, names)) > 12 else ""
    head = "".join(f"<th{tall}><span>{escape(name)}</span></th>" for name in names)
    rest = len(labels) - len(names) + 1 if len(names) < len(labels) else 0
    body = "".join(
        f"<tr><th>{escape(name)}</th>{''.join(_cell(row, k, place, rest) for k in range(len(names)))}</tr>"
        for place, (name, row) in enumerate(zip(names, cells.tolist(), strict=True))
    )
    return (
        '<p class="aside">Rows: the true label; columns: the predicted one.</p><div class="wide"><table class="confusion">'
        f"<thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def commonest(
    labels: Sequence[str], matrix: Int[np.ndarray, "labels labels"]
) -> tuple[list[str], Int[np.ndarray, "shown shown"]]:
    """The confusion matrix of all labels, or, if there are many, of the most common labels and one group of all others."""
    if len(labels) <= MOST:
        return list(labels), matrix
    order = np.argsort(-matrix.sum(1), kind="stable")
    place = np.full(len(labels), MOST - 1)
    place[order[: MOST - 1]] = np.arange(MOST - 1)
    merged = np.zeros((MOST, MOST), matrix.dtype)
    np.add.at(merged, (place[:, None], place[None]), matrix)
    return [*(labels[k] for k in order[: MOST - 1]), f"{len(labels) - MOST + 1} others"], merged


def _cell(row: Sequence[int], across: int, down: int, rest: int) -> str:
    """One cell; in the cell of merged labels, right and wrong are unknown, so it has no colour."""
    count = row[across]
    if not count:
        return '<td class="none">·</td>'
    share = count / sum(row)
    colour = GREEN if across == down else ORANGE
    shade = "" if rest and across == down == len(row) - 1 else f' style="background:rgba({colour},{0.08 + 0.6 * share:.2f})"'
    return f'<td{shade} title="{100 * share:.1f}% of the row">{count:,}</td>'


def _by_label(labels: Sequence[str], scores: LabelScores) -> str:
    order = np.argsort(-scores.by_label[:, 0], kind="stable")
    rows = [
        [escape(labels[k]), f"{scores.by_label[k, 0]:,.0f}", *(rounded(100 * float(value)) for value in scores.by_label[k, 1:])]
        for k in order[:MOST]
    ]
    rest = f'<p class="aside">and {len(order) - MOST:,} rarer labels</p>' if len(order) > MOST else ""
    return table(["label", "rows", "precision", "recall", "f1"], rows, ["rows", "precision", "recall", "f1"]) + rest

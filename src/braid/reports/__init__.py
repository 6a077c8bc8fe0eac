"""HTML pages, descriptions and diagrams of models, runs, comparisons and evaluations."""

from braid.reports.charts import rounded
from braid.reports.comparison import Compared, ComparedCell, format_costs, format_difference, format_spread, write_compared
from braid.reports.description import Description, Part, count, describe, flowchart, read_settings
from braid.reports.evaluation import Evaluated, write_evaluated
from braid.reports.page import duration, write_report
from braid.reports.rows import ShownRow, shown_rows
from braid.reports.run import Finding, LoggedRun, diagnose, differences, read_log, read_run_folder

__all__ = [
    "Compared",
    "ComparedCell",
    "Description",
    "Evaluated",
    "Finding",
    "LoggedRun",
    "Part",
    "ShownRow",
    "count",
    "describe",
    "diagnose",
    "differences",
    "duration",
    "flowchart",
    "read_log",
    "read_run_folder",
    "read_settings",
    "rounded",
    "shown_rows",
    "format_costs",
    "format_difference",
    "format_spread",
    "write_compared",
    "write_evaluated",
    "write_report",
]

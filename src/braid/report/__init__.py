"""A model, a run, a comparison or an evaluation, for people to look at: descriptions, diagrams, and the pages that show them."""

from braid.report.compared import Compared, ComparedCell, told_costs, told_difference, told_spread, write_compared
from braid.report.comparison import differences
from braid.report.description import Description, Part, describe, read_settings
from braid.report.diagnosis import Finding, diagnose
from braid.report.evaluation import Evaluated, write_evaluated
from braid.report.files import read_log
from braid.report.mermaid import count, flowchart
from braid.report.page import duration, write_report
from braid.report.run import LoggedRun, read_run_folder
from braid.report.svg import rounded

__all__ = [
    "Compared",
    "ComparedCell",
    "Description",
    "Evaluated",
    "Finding",
    "LoggedRun",
    "Part",
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
    "told_costs",
    "told_difference",
    "told_spread",
    "write_compared",
    "write_evaluated",
    "write_report",
]

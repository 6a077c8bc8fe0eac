"""A model or a run, for people to look at: its description, its diagram, and the page that shows a training."""

from braid.report.comparison import differences
from braid.report.description import Description, Part, describe, read_settings
from braid.report.diagnosis import Finding, diagnose
from braid.report.files import read_log
from braid.report.mermaid import count, flowchart
from braid.report.page import duration, write_report
from braid.report.run import LoggedRun

__all__ = [
    "Description",
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
    "read_settings",
    "write_report",
]

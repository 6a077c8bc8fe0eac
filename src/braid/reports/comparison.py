"""Runs side by side: which settings differ, and nothing else."""

from collections.abc import Mapping, Sequence
from typing import Any

from braid.reports.run import LoggedRun

NO_MATTER = ("card", "sinks")  # settings that cannot change a figure
JUDGED_BY = ("task", "tasks", "data.path", "data.columns", "data.val", "data.limit_val", "evaluation.limit")


def differences(runs: Sequence[LoggedRun]) -> dict[str, list[str]]:
    """The path of every setting that differs -> its value in each run; a part of another kind is one setting."""
    settings = [{key: value for key, value in run.settings.items() if key not in NO_MATTER} for run in runs]
    return dict(_differing(settings, ""))


def judged_alike(runs: Sequence[LoggedRun]) -> list[str]:
    """The differing settings under which figures do not compare: other data, other rows, another task."""
    return [name for name in differences(runs) if any(name == key or name.startswith(key + ".") for key in JUDGED_BY)]


def _differing(values: Sequence[Any], path: str) -> list[tuple[str, list[str]]]:
    if all(value == values[0] for value in values):
        return []
    sections = [value for value in values if isinstance(value, Mapping)]
    if len(sections) < len(values) or len({section.get("kind") for section in sections}) > 1:
        return [(path, [message(value) for value in values])]
    keys = dict.fromkeys(key for section in sections for key in section)
    inside = [_differing([section.get(key) for section in sections], f"{path}.{key}" if path else str(key)) for key in keys]
    return [result for part in inside for result in part]


def message(value: Any) -> str:
    """A setting in a table's cell."""
    if isinstance(value, Mapping):
        rest = ", ".join(f"{key} {message(inner)}" for key, inner in value.items() if key != "kind")
        kind = str(value.get("kind", ""))
        return f"{kind} ({rest})" if kind and rest else kind or rest or "none"
    if isinstance(value, list):
        return ", ".join(map(message, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None or value == "" else f"{value:g}" if isinstance(value, float) else str(value)

"""Files: atomic writes, which survive ``kill -9`` and a full disk; files inside a tar; a gallery page."""

from braid.files.json_files import as_written, read_json, read_json_lines
from braid.files.reading import RECIPES, file_inside, regular, shipped
from braid.files.writing import alone, held, ready, replaced, settle, whole, write_whole

__all__ = [
    "RECIPES",
    "alone",
    "as_written",
    "file_inside",
    "held",
    "read_json",
    "read_json_lines",
    "ready",
    "regular",
    "replaced",
    "settle",
    "shipped",
    "whole",
    "write_whole",
]

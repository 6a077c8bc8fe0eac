"""Files: atomic writes, which survive ``kill -9`` and a full disk; odd names; files inside a tar; a gallery page."""

from braid.files.json_files import as_written, read_json, read_json_lines
from braid.files.names import ESCAPED, composed, file_named, is_there, user_path, utf8_path, writable
from braid.files.reading import RECIPES, file_inside, regular, shipped
from braid.files.writing import alone, held, ready, replaced, settle, whole, write_whole

__all__ = [
    "ESCAPED",
    "RECIPES",
    "alone",
    "as_written",
    "composed",
    "file_inside",
    "file_named",
    "held",
    "is_there",
    "read_json",
    "read_json_lines",
    "ready",
    "regular",
    "replaced",
    "settle",
    "shipped",
    "user_path",
    "utf8_path",
    "whole",
    "writable",
    "write_whole",
]

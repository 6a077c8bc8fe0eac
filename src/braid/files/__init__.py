"""Files that are whole or absent, even after ``kill -9`` or on a full disk; members of tars; a gallery page."""

from braid.files.writing import alone, held, ready, settle, whole, write_whole

__all__ = ["alone", "held", "ready", "settle", "whole", "write_whole"]

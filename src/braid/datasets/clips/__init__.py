"""Clips with subtitles, as yt-dlp saves them: rows of a table that say where each text is spoken. No file is cut."""

from braid.datasets.clips.folder import Found, Video, find_videos, rows_of
from braid.datasets.clips.subtitles import SUFFIXES, Subtitle, merged, parse_subtitles, read_subtitles

__all__ = ["SUFFIXES", "Found", "Subtitle", "Video", "find_videos", "merged", "parse_subtitles", "read_subtitles", "rows_of"]

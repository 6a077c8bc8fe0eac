"""Opening of recordings and clips: a path, bytes, or a file inside a tar. Only regular files; every failure names the file."""

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from braid.errors import UserError, install_command
from braid.files import file_named
from braid.files.foreign import foreign
from braid.files.paths import not_a_path, shortened
from braid.files.reading import read_part

# of FFmpeg: those that hold their own data. Playlists (HLS, DASH, concat) name other files and addresses, and are never opened.
DEMUXERS = (
    "3g2,3gp,aac,ac3,aiff,amr,asf,au,avi,caf,dv,eac3,flac,flv,h261,h263,h264,hevc,ivf,m4a,m4v,matroska,mj2,mjpeg,mov,mp3,mp4,mpeg,"
    "mpegts,mpegvideo,mxf,nut,obu,ogg,rm,swf,vc1,w64,wav,webm,wtv,wv,yuv4mpegpipe"
)
PATIENCE = 60.0  # seconds until opening a file, or one read of it, is given up
SHOWN = 80  # characters of a decoder's own words

File = str | io.BytesIO  # a path, or the content in memory


class _Memory(io.BytesIO):
    """Bytes in which a decoder may look before the beginning, as libsndfile does in damaged files."""

    def seek(self, place: int, whence: int = io.SEEK_SET, /) -> int:
        return super().seek(max(0, place) if whence == io.SEEK_SET else place, whence)


class Unreadable(Exception):
    """A decoder does not know what a file is."""


def where_of(value: Any, source: str, what: str) -> str:
    """The file and its row, for messages, without repetition; ``what`` (recording, clip) for values in memory."""
    if not isinstance(value, str | os.PathLike):
        return source or what
    return source if source and str(value) in source else ": ".join(part for part in (source, str(value)) if part)


@contextmanager
def opened(value: Any, where: str, what: str, save_as: str) -> Iterator[File]:
    """A file, ready for a decoder that may fail in any way while it is open.

    Args:
        value: a path, or the bytes of a file.
        where, what: its place and kind, for messages.
        save_as: formats that can be read, for messages.
    Raises:
        UserError: when it is missing, no regular file, of another kind, damaged or cut short.
    """
    try:
        value = bytes(value) if isinstance(value, bytearray | memoryview) else value
        inside = read_part(value) if isinstance(value, str) else None
        value = value if inside is None else inside
        if isinstance(value, bytes):
            if not value:
                raise UserError(f"{where} is empty; copy it again")
            yield _Memory(value)
        else:
            yield _regular(os.fspath(value), where, what)
    except (UserError, AssertionError):
        raise
    except FileNotFoundError:
        raise UserError(f"{where} does not exist; check the path") from None
    except PermissionError:
        raise UserError(f"{where} cannot be read: permission denied; change its permissions") from None
    except Unreadable:
        kind = foreign(value if isinstance(value, bytes) else Path(os.fspath(value)), ("image", "video", "audio"))
        raise UserError(f"{where} {kind or f'is not a readable {what}; save it as {save_as}'}") from None
    except MemoryError:
        raise UserError(f"{where} does not fit into memory; make it smaller") from None
    except Exception as error:  # decoders raise errors of many kinds on damaged files
        raise UserError(f"{where} is damaged or cut short ({_reason(error)}); copy it again") from None


@contextmanager
def container(file: File, where: str, extra: str) -> Iterator[Any]:
    """A file opened by PyAV.

    Args:
        extra: of Braid that brings PyAV, for the message.
    Raises:
        UserError: when PyAV is not installed.
        Unreadable: when it is none of the formats that are read.
    """
    av = installed(where, extra)
    if not isinstance(file, str):
        file.seek(0)
    options = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file"}
    try:  # the prefix keeps a name with a colon from being an address
        result = av.open(
            f"file:{file}" if isinstance(file, str) else file, options=options, timeout=PATIENCE, metadata_errors="replace"
        )
    except (av.InvalidDataError, av.EOFError, av.ArgumentError) as error:
        raise Unreadable(str(error)) from None
    with result:
        yield result


def installed(where: str, extra: str) -> Any:
    """PyAV.

    Raises:
        UserError: when it is not installed; ``extra`` of Braid brings it.
    """
    try:
        import av
    except ImportError:
        raise UserError(f"{where} needs PyAV to be read; run: {install_command(extra)}") from None
    return av


def _regular(path: str, where: str, what: str) -> str:
    """The path as it is on disk. Pipes and devices, for which reading could wait forever, are rejected."""
    path = file_named(path)
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        if reason := not_a_path(path, what):
            shown = where.removesuffix(path) + shortened(path).replace("\0", "\\0")
            raise UserError(f"{shown} {reason}") from None
        if isinstance(error, OSError) and error.errno == errno.ELOOP:
            raise UserError(f"{where} is a link that leads back to itself; give the file itself") from None
        raise
    if stat.S_ISDIR(status.st_mode):
        raise UserError(f"{where} is a folder; give the file of a {what}")
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{where} is a pipe or a device; save the {what} to a file")
    if not status.st_size:
        raise UserError(f"{where} is empty; copy it again")
    return path


def _reason(error: Exception) -> str:
    """The words of a decoder, in one short line."""
    said = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error) or type(error).__name__
    return shortened(" ".join(str(said).split()).rstrip(". "), SHOWN)

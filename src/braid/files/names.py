"""Names of files as text.

A file name on Linux is bytes, which need not be UTF-8. Python keeps such a byte as half a character (``caf\\udce9``), which no
UTF-8 file can hold. Written, it is an escape (a backslash, ``udce9``), as JSON has it; read, the escape means that name again.

Unicode has two forms of many characters: é is one character, or e and an accent, which macOS writes in names of files. A path in
one form also means the file whose name has the other.
"""

import os
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from braid.errors import UserError

ESCAPED = "backslashreplace"  # how a file is opened to write text that may hold half a character: see ``writable``

_ESCAPE = re.compile(r"\\u(d[89a-f][0-9a-f]{2})")


def writable(text: str) -> str:
    """The text with each half of a character as an escape, so that UTF-8 can hold it; in a JSON string, it is read as it was."""
    return text.encode("utf-8", ESCAPED).decode("utf-8")


def file_named(written: str) -> str:
    """The path of the file that is meant: with half a character for the escape that ``writable`` wrote, or with names in the
    other form of Unicode; the path as it is if there is no such file."""
    if "\\ud" in written and not os.path.lexists(written):
        name = _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), written)
        return name if os.path.lexists(name) else written
    return written if written.isascii() or os.path.lexists(written) else _in_other_form(written)


def _in_other_form(path: str) -> str:
    """The path of a file, some of whose names on disk have the other form of Unicode; the path as it is if there is none."""
    found = ""
    for part in Path(path).parts:
        forms = (os.path.join(found, form) for form in (part, composed(part), unicodedata.normalize("NFD", part)))
        place = next((form for form in forms if _exists(form)), None)
        if place is None:
            return path
        found = place
    return found


def _exists(path: str) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:  # a character 0
        return False


def composed(name: str) -> str:
    """A name in the form of Unicode in which é is one character, to compare names."""
    return unicodedata.normalize("NFC", name)


@contextmanager
def utf8_path(path: Path) -> Iterator[Path]:
    """The path of a file for a library that takes UTF-8 only: itself, or one through a link to its folder."""
    if writable(str(path)) == str(path):
        yield path
        return
    with TemporaryDirectory() as folder:
        link = Path(folder) / "folder"
        link.symlink_to(path.parent.absolute(), target_is_directory=True)
        yield link / path.name


def user_path(given: str | Path) -> Path:
    """A path as a person gives it: ``~`` is the home folder, but a name that only begins so (``~draft.jpg``) stays a name; see
    also ``file_named``.

    Raises:
        UserError: for a text that no file can have as its name.
    """
    path = Path(given)
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise UserError(f"{given} holds half a character (a lone surrogate), which no file name has; write it again") from None
    if not str(path).isascii():
        path = Path(file_named(str(path)))
    if not str(path).startswith("~") or (path.parts[0] != "~" and os.path.lexists(path)):
        return path
    try:
        return path.expanduser()
    except RuntimeError:  # there is no such user, or no home
        return path


def is_there(given: str | Path) -> bool:
    """Whether a file or a folder is at a path; False for what is no path, such as a long text."""
    try:
        return os.path.exists(user_path(given))
    except UserError:
        return False

"""The exceptions that are messages to the user, and the command that many of them end with."""

import json
from functools import cache
from urllib.parse import unquote, urlsplit

PACKAGE = "braidlm"


class UserError(ValueError):
    """An error that the user can fix. The message names the file, row or setting and says what to do.

    The command line prints it on one line and exits with code 1. Every other exception is a bug in Braid. A message can always be
    printed and sent: half a character, as a file name may hold it, is an escape.
    """

    def __str__(self) -> str:
        return super().__str__().encode("utf-8", "backslashreplace").decode("utf-8")


class Missing(UserError):
    """A row lacks a value: its cell is empty, or its file does not exist."""


def install_command(extra: str) -> str:
    """The command that brings an extra: from the clone that Braid was installed from, or from the package index."""
    place = clone()
    return f'pip install -e "{place}[{extra}]"' if place else f'pip install "{PACKAGE}[{extra}]"'


@cache
def clone() -> str:
    """The folder that Braid was installed from with ``pip install -e``; "" if it was not."""
    from importlib import metadata  # 20 ms that few commands need

    try:
        origin = json.loads(metadata.distribution(PACKAGE).read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, ValueError):
        return ""
    return unquote(urlsplit(origin["url"]).path) if origin.get("dir_info", {}).get("editable") else ""

"""Files inside a tar, each named by where its bytes lie: ``shards/00000.tar#1536+48210`` begins at byte 1,536 and has 48,210."""

import os
import re

_PART = re.compile(r"(.+\.tar)#(\d+)\+(\d+)", re.DOTALL)


def part_name(archive: str, offset: int, size: int) -> str:
    return f"{archive}#{offset}+{size}"


def archive_of(name: str) -> str | None:
    """The tar that ``name`` lies in; None where it is the name of a file of its own."""
    found = _PART.fullmatch(name)
    return found[1] if found else None


def read_part(name: str) -> bytes | None:
    """The bytes of a file inside a tar, fewer where the tar was cut short; None where ``name`` is that of a file of its own."""
    found = _PART.fullmatch(name)
    if not found:
        return None
    with open(found[1], "rb", buffering=0) as file:
        file.seek(int(found[2]))
        return file.read(min(int(found[3]), os.fstat(file.fileno()).st_size))

"""Files inside a tar, addressed by their bytes: ``shards/00000.tar#1536+48210`` starts at byte 1,536 and has 48,210 bytes."""

import os
import re

_PART = re.compile(r"(.+\.tar)#(\d+)\+(\d+)", re.DOTALL)


def part_name(archive: str, offset: int, size: int) -> str:
    return f"{archive}#{offset}+{size}"


def archive_of(name: str) -> str | None:
    """The tar that contains ``name``, or None for a plain file name."""
    result = _PART.fullmatch(name)
    return result[1] if result else None


def read_part(name: str) -> bytes | None:
    """The bytes of a file inside a tar (fewer if the tar is cut short), or None for a plain file name."""
    result = _PART.fullmatch(name)
    if not result:
        return None
    with open(result[1], "rb", buffering=0) as file:
        file.seek(int(result[2]))
        return file.read(min(int(result[3]), os.fstat(file.fileno()).st_size))

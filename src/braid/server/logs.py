"""One JSON object a line on stderr: what happened, never what was said."""

import json
import logging
import sys
import time
import traceback
from typing import Any

LOGGER = logging.getLogger("braid.server")


class JsonLines(logging.Formatter):
    """``extra={"told": {...}}`` are the fields. An exception is told without its text, which may quote a request."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage().strip(),
            **getattr(record, "told", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line |= failure(record.exc_info[1])
        return json.dumps(line, ensure_ascii=True)


def failure(error: BaseException) -> dict[str, Any]:
    """An exception without its text."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    return {"error": type(error).__name__, "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]}


def log(level: int, event: str, **message: Any) -> None:
    LOGGER.log(level, event, extra={"told": message})


def start_logging() -> None:
    """Braid's own lines, and what the HTTP server warns of, in the same form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name, level in (("braid.server", logging.INFO), ("uvicorn.error", logging.WARNING), ("asyncio", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)

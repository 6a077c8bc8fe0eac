"""What an operator sees: one JSON object a line on stderr (what happened, never what was said), and metrics for Prometheus."""

import json
import logging
import sys
import time
import traceback
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

LOGGER = logging.getLogger("braid.server")


class JsonLines(logging.Formatter):
    """``extra={"fields": {...}}`` are the fields. An exception is logged without its text, which may quote a request."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage().strip(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line |= failure(record.exc_info[1])
        return json.dumps(line, ensure_ascii=True)


def failure(error: BaseException) -> dict[str, Any]:
    """An exception without its text."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    return {"error": type(error).__name__, "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]}


def log(level: int, event: str, **message: Any) -> None:
    LOGGER.log(level, event, extra={"fields": message})


def start_logging() -> None:
    """Braid's own lines, and what the HTTP server warns of, in the same form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name, level in (("braid.server", logging.INFO), ("uvicorn.error", logging.WARNING), ("asyncio", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
ROWS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        self.requests = Counter("braid_requests", "Requests answered.", ["route", "status"], registry=own)
        self.seconds = Histogram("braid_request_seconds", "From head to answer.", ["route"], buckets=SECONDS, registry=own)
        stages = "Time in a stage: read, prepare, wait, model."
        self.stages = Histogram("braid_stage_seconds", stages, ["stage"], buckets=SECONDS, registry=own)
        self.errors = Counter("braid_errors", "Errors sent to clients.", ["code"], registry=own)
        self.queue = Gauge("braid_queue_rows", "Items that wait for a model or are being answered.", ["model"], registry=own)
        self.batches = Histogram("braid_batch_rows", "Items answered at once.", ["model"], buckets=ROWS, registry=own)
        self.dropped = Counter(
            "braid_dropped_rows", "Items that nobody waited for when their turn came.", ["model"], registry=own
        )
        self.received = Gauge("braid_received_bytes", "Bytes of the requests under way.", registry=own)
        ProcessCollector(registry=own)

"""What Prometheus reads: requests, stages, batches, the queue and memory."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
ROWS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The figures of one server, in a registry of their own."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        self.requests = Counter("braid_requests", "Requests answered.", ["route", "status"], registry=own)
        self.seconds = Histogram("braid_request_seconds", "From head to answer.", ["route"], buckets=SECONDS, registry=own)
        stages = "Time in a stage: read, prepare, wait, model."
        self.stages = Histogram("braid_stage_seconds", stages, ["stage"], buckets=SECONDS, registry=own)
        self.errors = Counter("braid_errors", "Errors told to clients.", ["code"], registry=own)
        self.queue = Gauge("braid_queue_rows", "Items that wait for a model or are being answered.", ["model"], registry=own)
        self.batches = Histogram("braid_batch_rows", "Items answered at once.", ["model"], buckets=ROWS, registry=own)
        self.dropped = Counter(
            "braid_dropped_rows", "Items that nobody waited for when their turn came.", ["model"], registry=own
        )
        self.received = Gauge("braid_received_bytes", "Bytes of the requests under way.", registry=own)
        ProcessCollector(registry=own)

"""What this worker counts, in Prometheus' text format; every worker process has its own numbers."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

MEDIA_TYPE = "text/plain; version=0.0.4"
_BUCKETS = (0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class Metrics:
    """Counters of one worker, in a registry of their own so that several servers fit one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "regulars_requests", "Answers by route and status.", ("method", "route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "regulars_request_seconds", "Time to answer by route.", ("route",),
            buckets=_BUCKETS, registry=self.registry,
        )  # fmt: skip
        self._rows = Counter("regulars_event_rows", "Rows sent, by what became of them.", ("status",),
                             registry=self.registry)  # fmt: skip
        # no label for the slot: a client could name a new one in every request
        self._slates = Counter("regulars_slates", "Slates served; empty ones apart.", ("filled",),
                               registry=self.registry)  # fmt: skip
        self._swaps = Counter("regulars_model_swaps", "Model versions put in place.", registry=self.registry)
        self._offset = Gauge("regulars_folded_offset", "Last journal offset in the live state.",
                             registry=self.registry)  # fmt: skip

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def row(self, status: str) -> None:
        """Count one row of an events request."""
        self._rows.labels(status).inc()

    def slate(self, n_items: int) -> None:
        """Count one slate."""
        self._slates.labels("yes" if n_items else "no").inc()

    def swapped(self) -> None:
        """Count one model swap."""
        self._swaps.inc()

    def folded(self, offset: int) -> None:
        """Note how far the live state has come."""
        self._offset.set(offset)

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self.registry)

"""What Prometheus scrapes, in a registry of each application's own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counts of one API process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "kinema_api_requests", "Answered requests.", ("method", "route", "status"), registry=self._registry
        )
        self._latency = Histogram(
            "kinema_api_request_seconds",
            "Seconds until the last byte of an answer.",
            ("method", "route"),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._videos = Counter("kinema_api_videos_created", "Accepted videos.", ("model",), registry=self._registry)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request under its route's template."""
        self._requests.labels(method, route, str(status)).inc()
        self._latency.labels(method, route).observe(seconds)

    def created(self, model: str) -> None:
        """Count one accepted video under its model's own name."""
        self._videos.labels(model).inc()

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self._registry)

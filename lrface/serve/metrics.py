"""What Prometheus reads: requests, times, cameras, people."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lrface.errors import LrfaceError
from lrface.serve.live import LatestFrames
from lrface.serve.store import ServiceStore

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics(Collector):
    """Counts requests, and reads the rest of the service when it is asked.

    Args:
        people: Says how many are enrolled.
        waiting: Says how many requests use or await the networks.
        store: Events.
        frames: Cameras.
    """

    def __init__(
        self, people: Callable[[], int], waiting: Callable[[], int], store: ServiceStore, frames: LatestFrames
    ) -> None:
        self._people, self._waiting, self._store, self._frames = people, waiting, store, frames
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._requests = Counter(
            "lrface_requests", "Requests answered.", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "lrface_request_seconds",
            "Time until an answer began.",
            ("route",),
            buckets=_BUCKETS,
            registry=self._registry,
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts a request; `route` is the path as documented, so that there are few of them."""
        known = method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return bytes(generate_latest(self._registry))

    def collect(self) -> Iterator[Metric]:
        """Called by `generate_latest`."""
        try:
            yield GaugeMetricFamily("lrface_people", "People enrolled.", value=self._people())
            yield CounterMetricFamily("lrface_events", "Events stored so far.", value=self._store.last_event())
        except LrfaceError:  # the others are worth reading all the more
            pass
        yield GaugeMetricFamily("lrface_waiting_requests", "Requests that use or await the networks.", self._waiting())
        up = GaugeMetricFamily("lrface_camera_up", "Whether a camera gives frames.", labels=["camera"])
        frames = CounterMetricFamily("lrface_camera_frames", "Frames searched for faces.", labels=["camera"])
        fps = GaugeMetricFamily("lrface_camera_fps", "Frames searched a second, lately.", labels=["camera"])
        late = GaugeMetricFamily(
            "lrface_camera_latency_seconds", "From a frame to its result, lately.", labels=["camera", "quantile"]
        )
        for state in self._frames.states():
            up.add_metric([state.name], float(state.answers))
            frames.add_metric([state.name], state.frames)
            fps.add_metric([state.name], state.fps)
            for quantile, seconds in zip(("0.5", "0.99"), state.latency or (), strict=False):
                late.add_metric([state.name, quantile], seconds)
        yield from (up, frames, fps, late)

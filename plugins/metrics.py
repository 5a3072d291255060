"""Metrics for Prometheus at ``/metrics``: requests, downloads, streams, the database, stores, and the use of shares.

Several processes of a server count in one folder, PROMETHEUS_MULTIPROC_DIR, which gunicorn.conf.py creates. Every
process therefore returns the metrics of all.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.multiprocess import MultiProcessCollector

from stacflask import (
    Decision,
    DownloadDecision,
    Endpoint,
    EndpointRequest,
    EndpointResponse,
    Refused,
    Request,
    Services,
    Setting,
    SettingError,
    ShareState,
    StreamResult,
    hookimpl,
)

TOKEN = "STACFLASK_METRICS_TOKEN"  # noqa: S105 - the name of a variable
NETWORKS = "STACFLASK_METRICS_NETWORKS"
FOLDER = "PROMETHEUS_MULTIPROC_DIR"

SETTINGS = (
    Setting(TOKEN, "A bearer token of at least 16 characters that can read the metrics.", secret=True),
    Setting(NETWORKS, "Networks, comma-separated, that can read the metrics without the token."),
)
MIN_TOKEN_CHARACTERS = 16

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NAME = LABEL = re.compile(r"[a-z][a-z0-9_]{0,60}")
MAX_NAMES = 100
MAX_SERIES = 200
"""Maximum number of time series of one metric of a plugin."""
SAMPLE_SECONDS = 5
"""Seconds between two samples of the use of shares, which every process of a server takes."""
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)  # seconds
MEDIA_TYPE = "text/plain; version=0.0.4"

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def create_plugin(environ: Mapping[str, str]) -> Metrics:
    """Return the plugin. Raises SettingError."""
    token, networks = environ.get(TOKEN, "").strip(), _networks(environ.get(NETWORKS, ""))
    if token and len(token) < MIN_TOKEN_CHARACTERS:
        raise SettingError(TOKEN, f"expected at least {MIN_TOKEN_CHARACTERS} characters")
    if not token and not networks:
        raise SettingError(NETWORKS, f"expected networks that can read the metrics, or a token in {TOKEN}")
    return Metrics(token, networks)


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(word.strip(), strict=False) for word in text.split(",") if word.strip())
    except ValueError as error:
        raise SettingError(NETWORKS, str(error)) from None


class Series:
    """The time series. Routes are URL rules and methods are standard ones, so that clients cannot add series."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter(
            "requests",
            "Responses. route is the rule of the URL, or none if no rule matches.",
            *("route", "method", "status"),
        )
        self.seconds = self._histogram(
            "request_seconds", "Seconds until a response was ready; of a stream, until its first byte.", "route"
        )
        self.decisions = self._counter(
            "download_decisions",
            "Decisions on downloads: granted or refused, the plugin that decided, and the code of a refusal. "
            "The kind exhausted is a used-up quota.",
            *("decision", "by", "kind", "code"),
        )
        self.deliveries = self._counter("deliveries", "Deliveries of downloads, by redirect or stream.", "delivery")
        self.granted = self._counter("granted_bytes", "Announced bytes of granted downloads.", "delivery")
        self.sent = self._counter("sent_bytes", "Sent bytes of streams.")
        self.streams = self._counter("streams", "Streams that ended, complete or cut.", "end")
        self.in_flight = self._gauge(
            "streams_in_flight", "Assets that are being streamed. An archive counts each of its assets."
        )
        self._by_name: dict[str, MetricWrapperBase] = {
            "database_seconds": self._histogram(
                "database_seconds", "Seconds of statements and transactions, with the wait for a connection."
            ),
            "store_seconds": self._histogram(
                "store_seconds", "Seconds of requests to a store, until its response began.", "store"
            ),
            "queue_seconds": self._histogram("queue_seconds", "Seconds for which a request waited for a thread."),
            "audit_lost": self._counter("audit_lost", "Events that the audit could not record."),
        }
        self.shares = {
            "used": self._gauge("share_used", "Calls, streams or connections in use, of each share.", "share"),
            "limit": self._gauge("share_limit", "Maximum of stacflask_share_used, of all processes together.", "share"),
            "waiting": self._gauge("share_waiting", "Threads that wait for their turn in a share.", "share"),
            "paused": self._gauge(
                "share_paused", "Processes that make no calls for a while, because the dependency failed.", "share"
            ),
        }
        self.refused = self._counter("share_refused", "Calls that were refused, because a share was used up.", "share")
        self._refused: dict[str, int] = {}
        self._lock = threading.Lock()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"stacflask_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"stacflask_{name}", text, labels, registry=self.registry, multiprocess_mode="livesum")

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"stacflask_{name}", text, labels, registry=self.registry, buckets=BUCKETS)

    def observe(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        """Record a value. A new name gets its own metric, up to ``MAX_NAMES``. Other label names are ignored."""
        metric = self._by_name.get(name)
        if metric is None:
            if not NAME.fullmatch(name) or len(self._by_name) >= MAX_NAMES or not all(map(LABEL.fullmatch, labels)):
                return
            create = self._histogram if name.endswith("_seconds") else self._counter
            metric = self._by_name[name] = create(name, "Recorded by a plugin.", *sorted(labels))
        values = tuple([labels[label] for label in sorted(labels)])
        series = getattr(metric, "_metrics", {})
        if metric._labelnames != tuple(sorted(labels)) or (len(series) >= MAX_SERIES and values not in series):  # noqa: SLF001
            return
        metric = metric.labels(*values) if values else metric
        if isinstance(metric, Histogram):
            metric.observe(value)
        elif isinstance(metric, Counter):
            metric.inc(value)

    def sample(self, states: Sequence[ShareState]) -> None:
        """Record the current use of all shares. Several shares can have the same name."""
        with self._lock:
            self._sample(states)

    def _sample(self, states: Sequence[ShareState]) -> None:
        for name in {state.name for state in states}:
            same = [state for state in states if state.name == name]
            for field_name, gauge in self.shares.items():
                gauge.labels(name).set(sum(getattr(state, field_name) for state in same))
            refused = sum(state.refused for state in same)
            self.refused.labels(name).inc(max(0, refused - self._refused.get(name, 0)))
            self._refused[name] = refused

    def text(self) -> str:
        """Return all metrics in the Prometheus text format, of all processes that share a folder."""
        if not os.environ.get(FOLDER):
            return generate_latest(self.registry).decode()
        shared = CollectorRegistry()
        _AllProcesses(shared)  # type: ignore[no-untyped-call]
        return generate_latest(shared).decode()


class _AllProcesses(MultiProcessCollector):
    """Merges the files of all processes, except those that were just created and are still empty."""

    def collect(self) -> Any:
        """Return the metrics of all files that are not empty."""
        files = [str(file) for file in Path(self._path).glob("*.db") if _has_content(file)]
        return self.merge(files)  # type: ignore[no-untyped-call]


def _has_content(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:  # its process has just ended
        return False


@dataclass
class Metrics:
    """The plugin. Clients with the ``token`` or in one of the ``networks`` can read the metrics."""

    token: str = field(default="", repr=False)
    networks: tuple[Network, ...] = ()
    series: Series = field(default_factory=Series, repr=False)
    share_states: Callable[[], Sequence[ShareState]] = field(default=tuple, repr=False)

    @hookimpl
    def startup(self, services: Services) -> None:
        """Sample the use of shares, if other processes of a server return it as well."""
        self.share_states = services.share_states
        if os.environ.get(FOLDER):
            threading.Thread(target=self._sample_repeatedly, name="metrics", daemon=True).start()

    def _sample_repeatedly(self) -> None:
        while True:
            self.series.sample(self.share_states())
            time.sleep(SAMPLE_SECONDS)

    @hookimpl
    def response_ready(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a response."""
        method_label = method if method in METHODS else "other"
        self.series.requests.labels(route or "none", method_label, status).inc()
        self.series.seconds.labels(route or "none").observe(seconds)

    @hookimpl(trylast=True)
    def download_decided(self, download_decision: DownloadDecision) -> None:
        """Count a decision and its delivery. It runs last, because another plugin may still refuse the delivery."""
        decision = download_decision.decision
        kind = "" if decision.allowed else decision.kind
        outcome = "granted" if decision.allowed else "refused"
        code = "" if decision.allowed else decision.code or "Forbidden"
        self.series.decisions.labels(outcome, decision.by, kind, code).inc()
        if download_decision.delivery is not None:
            self.series.deliveries.labels(download_decision.delivery).inc()
            length = download_decision.byte_range.length if download_decision.byte_range else None
            self.series.granted.labels(download_decision.delivery).inc(length or 0)
        if download_decision.delivery == "stream":
            self.series.in_flight.inc()

    @hookimpl
    def stream_finished(self, stream_result: StreamResult) -> None:
        """Count an ended stream."""
        if stream_result.download_decision.delivery == "stream":
            self.series.in_flight.dec()
        self.series.sent.inc(stream_result.sent)
        self.series.streams.labels("complete" if stream_result.complete else "cut").inc()

    @hookimpl
    def metric_recorded(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        """Record a metric."""
        self.series.observe(name, value, labels)

    @hookimpl
    def extend_api(self) -> Sequence[Endpoint]:
        """Add the endpoint for Prometheus."""
        return [
            Endpoint(
                "GET",
                "/metrics",
                self.show,
                "Metrics for Prometheus.",
                {"type": "string"},
                statuses=(403,),
                media_type=MEDIA_TYPE,
                public=True,
            )
        ]

    def show(self, call: EndpointRequest) -> EndpointResponse:
        """Return all metrics. Raises Refused."""
        if not (self._has_token(call.request) or self._is_in_network(call.request.address)):
            detail = "Only clients with the metrics token, or in a configured network, can read the metrics."
            raise Refused(Decision.deny("neither token nor network", detail=detail), anonymous=False)
        self.series.sample(self.share_states())
        return EndpointResponse(self.series.text(), headers={"Cache-Control": "no-store"}, media_type=MEDIA_TYPE)

    def _has_token(self, request: Request) -> bool:
        token = request.credentials("Bearer") or ""
        return bool(self.token) and hmac.compare_digest(token.encode("utf-8", "replace"), self.token.encode())

    def _is_in_network(self, address: str) -> bool:
        try:
            client = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(client in network for network in self.networks)

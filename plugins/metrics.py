"""Metrics for Prometheus at ``/metrics``: requests, decisions, deliveries, streams, the database and the stores.

Several processes of a server count in one folder, PROMETHEUS_MULTIPROC_DIR, which gunicorn.conf.py creates. Every
process therefore returns the metrics of all.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from stacflask import Decision, Endpoint, EndpointResponse, Refused, Setting, SettingError, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stacflask import DownloadDecision, EndpointRequest, Request, StreamResult

TOKEN = "STACFLASK_METRICS_TOKEN"  # noqa: S105 - the name of a variable
NETWORKS = "STACFLASK_METRICS_NETWORKS"
FOLDER = "PROMETHEUS_MULTIPROC_DIR"

SETTINGS = (
    Setting(TOKEN, "A bearer token of at least 16 characters that can read the metrics.", secret=True),
    Setting(NETWORKS, "Networks, comma-separated, that can read the metrics without the token."),
)
MIN_TOKEN_CHARACTERS = 16

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NAME = re.compile(r"[a-z][a-z0-9_]{0,60}")
MAX_NAMES = 100
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
        self.requests = self._counter("requests", "Responses.", "route", "method", "status")
        self.seconds = self._histogram(
            "request_seconds", "Time until a response was ready, without the bytes of streams.", "route"
        )
        self.decisions = self._counter(
            "download_decisions", "Granted and refused downloads.", "decision", "by", "kind", "code"
        )
        self.deliveries = self._counter("deliveries", "Deliveries of downloads, by redirect or stream.", "delivery")
        self.granted = self._counter("granted_bytes", "Announced bytes of granted downloads.", "delivery")
        self.sent = self._counter("sent_bytes", "Sent bytes of streams.")
        self.streams = self._counter("streams", "Ended streams.", "end")
        self.in_flight = Gauge(
            "stacflask_streams_in_flight",
            "Streams that are being sent.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        for name, text in (
            ("database_seconds", "Statements and transactions, with the wait for a connection."),
            ("store_seconds", "Requests to a store, until its response began."),
        ):
            self._histograms[name] = self._histogram(name, text)
        self._counters["audit_lost"] = self._counter("audit_lost", "Lost records of the audit.")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"stacflask_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"stacflask_{name}", text, labels, registry=self.registry, buckets=BUCKETS)

    def observe(self, name: str, value: float) -> None:
        """Record a value. A new name gets its own series, up to ``MAX_NAMES``."""
        if histogram := self._histograms.get(name):
            histogram.observe(value)
        elif counter := self._counters.get(name):
            counter.inc(value)
        elif NAME.fullmatch(name) and len(self._counters) + len(self._histograms) < MAX_NAMES:
            if name.endswith("_seconds"):
                self._histograms[name] = self._histogram(name, "Recorded by a plugin.")
            else:
                self._counters[name] = self._counter(name, "Recorded by a plugin.")
            self.observe(name, value)

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
    def metric_recorded(self, name: str, value: float) -> None:
        """Record a metric."""
        self.series.observe(name, value)

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

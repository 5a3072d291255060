"""Figures for Prometheus at ``/metrics``: requests, decisions, deliveries, streams, the database and the stores.

Where several processes serve, they count in one folder, which PROMETHEUS_MULTIPROC_DIR names and gunicorn.conf.py
makes, so that whichever of them is asked answers for all.
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
    Setting(TOKEN, "A bearer token, of 16 characters or more, that reads the metrics.", secret=True),
    Setting(NETWORKS, "Networks, comma separated, that read the metrics without it."),
)
LEAST = 16  # characters of a token

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NAME = re.compile(r"[a-z][a-z0-9_]{0,60}")
MOST = 100  # figures with names of their own
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)  # seconds
MEDIA_TYPE = "text/plain; version=0.0.4"

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def create_plugin(environ: Mapping[str, str]) -> Metrics:
    """Make the plugin. Raises SettingError."""
    token, networks = environ.get(TOKEN, "").strip(), _networks(environ.get(NETWORKS, ""))
    if token and len(token) < LEAST:
        raise SettingError(TOKEN, f"expected at least {LEAST} characters")
    if not token and not networks:
        raise SettingError(NETWORKS, f"say who may read the metrics: these networks, or whoever has {TOKEN}")
    return Metrics(token, networks)


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(word.strip(), strict=False) for word in text.split(",") if word.strip())
    except ValueError as error:
        raise SettingError(NETWORKS, str(error)) from None


class Figures:
    """What is counted. Routes are rules, methods are known ones: no client can make up a series."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "Answers.", "route", "method", "status")
        self.seconds = self._histogram(
            "request_seconds", "Until an answer was ready, a stream's bytes not counted.", "route"
        )
        self.decisions = self._counter(
            "download_decisions", "Downloads granted and refused.", "decision", "by", "kind", "code"
        )
        self.deliveries = self._counter("deliveries", "Downloads that left, by the way they took.", "delivery")
        self.granted = self._counter("granted_bytes", "Bytes about to leave, as announced.", "delivery")
        self.sent = self._counter("sent_bytes", "Bytes of streams that have left.")
        self.streams = self._counter("streams", "Streams that have ended.", "end")
        self.flight = Gauge(
            "stacflask_streams_in_flight",
            "Streams being sent.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        for name, text in (
            ("database_seconds", "Statements and transactions, waiting for a connection included."),
            ("store_seconds", "Questions to a store, until it began to answer."),
        ):
            self._histograms[name] = self._histogram(name, text)
        self._counters["audit_lost"] = self._counter("audit_lost", "Events that the audit could not record.")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"stacflask_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"stacflask_{name}", text, labels, registry=self.registry, buckets=BUCKETS)

    def observe(self, name: str, value: float) -> None:
        """Take a figure of this name. A new name gets a series of its own, up to a number of them."""
        if histogram := self._histograms.get(name):
            histogram.observe(value)
        elif counter := self._counters.get(name):
            counter.inc(value)
        elif NAME.fullmatch(name) and len(self._counters) + len(self._histograms) < MOST:
            if name.endswith("_seconds"):
                self._histograms[name] = self._histogram(name, "Told by a plugin.")
            else:
                self._counters[name] = self._counter(name, "Told by a plugin.")
            self.observe(name, value)

    def text(self) -> str:
        """Give all figures as Prometheus reads them: of all processes, where they share a folder."""
        if not os.environ.get(FOLDER):
            return generate_latest(self.registry).decode()
        shared = CollectorRegistry()
        _Together(shared)  # type: ignore[no-untyped-call]
        return generate_latest(shared).decode()


class _Together(MultiProcessCollector):
    """Adds up what processes write into their files; one that was only just created is empty yet."""

    def collect(self) -> Any:
        """Give the figures of all files that have begun."""
        files = [str(file) for file in Path(self._path).glob("*.db") if _has_begun(file)]
        return self.merge(files)  # type: ignore[no-untyped-call]


def _has_begun(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:  # of a process that has ended meanwhile
        return False


@dataclass
class Metrics:
    """The plugin. Whoever shows the ``token``, or asks from one of the ``networks``, may read."""

    token: str = field(default="", repr=False)
    networks: tuple[Network, ...] = ()
    figures: Figures = field(default_factory=Figures, repr=False)

    @hookimpl
    def response_ready(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answer."""
        known = method if method in METHODS else "other"
        self.figures.requests.labels(route or "none", known, status).inc()
        self.figures.seconds.labels(route or "none").observe(seconds)

    @hookimpl(trylast=True)
    def download_decided(self, download_decision: DownloadDecision) -> None:
        """Count a decision, and what is about to leave: last of all, since another may keep it here after all."""
        decision = download_decision.decision
        kind = "" if decision.allowed else decision.kind
        said = "granted" if decision.allowed else "refused"
        code = "" if decision.allowed else decision.code or "Forbidden"
        self.figures.decisions.labels(said, decision.by, kind, code).inc()
        if download_decision.delivery is not None:
            self.figures.deliveries.labels(download_decision.delivery).inc()
            length = download_decision.byte_range.length if download_decision.byte_range else None
            self.figures.granted.labels(download_decision.delivery).inc(length or 0)
        if download_decision.delivery == "stream":
            self.figures.flight.inc()

    @hookimpl
    def stream_finished(self, stream_result: StreamResult) -> None:
        """Count a stream that has ended."""
        if stream_result.download_decision.delivery == "stream":
            self.figures.flight.dec()
        self.figures.sent.inc(stream_result.sent)
        self.figures.streams.labels("complete" if stream_result.complete else "cut").inc()

    @hookimpl
    def metric_recorded(self, name: str, value: float) -> None:
        """Take a figure."""
        self.figures.observe(name, value)

    @hookimpl
    def extend_api(self) -> Sequence[Endpoint]:
        """Add the address where Prometheus reads."""
        return [
            Endpoint(
                "GET",
                "/metrics",
                self.show,
                "Figures for Prometheus.",
                {"type": "string"},
                statuses=(403,),
                media_type=MEDIA_TYPE,
                public=True,
            )
        ]

    def show(self, call: EndpointRequest) -> EndpointResponse:
        """Give all figures. Raises Refused."""
        if not (self._knows(call.request) or self._trusts(call.request.address)):
            raise Refused(Decision.deny("neither token nor network", detail="Not for you."), anonymous=False)
        return EndpointResponse(self.figures.text(), headers={"Cache-Control": "no-store"}, media_type=MEDIA_TYPE)

    def _knows(self, request: Request) -> bool:
        shown = request.credentials("Bearer") or ""
        return bool(self.token) and hmac.compare_digest(shown.encode("utf-8", "replace"), self.token.encode())

    def _trusts(self, address: str) -> bool:
        try:
            asking = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(asking in network for network in self.networks)

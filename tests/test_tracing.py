"""Traces: which spans are exported, to a receiver of OTLP over HTTP, and with which attributes."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import urllib3
from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor

import stacflask
from stacflask import Asset, Decision, Principal, Redirect, Request, SettingError, Stream, hookimpl
from stacflask.testing import Publish, an_item
from tests.shelf import Shelf
from tests.traces import attributes, receiving
from tests.waiting import waiting_for

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
ASSET = "/collections/collection/items/item/download/data"


class Policy(Shelf):
    """Allows everything. A stream sends a request to another service, whose URL has a secret."""

    service = ""

    @hookimpl
    def authenticate(self, request: Request) -> Principal | None:
        return Principal("alice", frozenset(), "test") if request.headers.get("Authorization") else None

    @hookimpl
    def authorize(self) -> Decision:
        return Decision.allow("anybody")

    @hookimpl
    def deliver(self, asset: Asset, streamed: bool) -> Redirect | Stream:  # type: ignore[override]
        if asset.key == "broken":
            raise ValueError("secret-of-the-store")
        return Stream(self.read, 3) if asset.key == "remote" else super().deliver(streamed)

    def read(self, _first: int, _length: int) -> Iterator[bytes]:
        yield b"1"
        urllib3.PoolManager().request("GET", f"{self.service}/bucket/key?X-Amz-Signature=secret-signature")
        yield b"23"


@pytest.fixture
def receiver() -> Iterator[Any]:
    with receiving() as handler:
        yield handler


@pytest.fixture
def client(receiver: Any, build: Any, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    keys = ("data", "remote", "broken", *(f"more-{number}" for number in range(300)))
    publish(an_item(assets={key: {"href": f"s3://bucket/{key}"} for key in keys}))
    policy = Policy()
    policy.service = receiver.url
    # Uninstrumenting leaves a method that makes connections of the base class. The original is restored here.
    monkeypatch.setattr(psycopg.Connection, "connect", vars(psycopg.Connection)["connect"])
    yield build(policy, environ={"STACFLASK_TRACING": "true"}).test_client()
    PsycopgInstrumentor().uninstrument()
    URLLib3Instrumentor().uninstrument()


def spans_of(receiver: Any, request_id: str) -> dict[str, Any]:
    """Return the spans of a request by name, when its own span has arrived."""

    def requests() -> list[Any]:
        return [span for span in receiver.spans if attributes(span).get("stacflask.request_id") == request_id]

    waiting_for(lambda: bool(requests()))
    (found,) = requests()
    return {span.name: span for span in receiver.spans if span.trace_id == found.trace_id}


def traced(client: Any, receiver: Any, path: str, **headers: str) -> dict[str, Any]:
    response = client.get(path, headers={"traceparent": TRACEPARENT, **headers}, buffered=True)
    return spans_of(receiver, response.headers["X-Request-ID"])


def test_a_trace_has_the_request_its_sql_and_its_plugins(client: Any, receiver: Any) -> None:
    """SQL and functions of plugins are below the span of the request, which continues the trace of the client."""
    spans = traced(client, receiver, ASSET)
    request = spans["GET /collections/<collection_id>/items/<item_id>/download/<key:asset_id>"]
    assert request.trace_id.hex() == TRACE
    assert request.parent_span_id.hex() == "00f067aa0ba902b7"
    assert attributes(spans["authorize Policy"]) == {"stacflask.hook": "authorize", "stacflask.plugin": "Policy"}
    sql = next(span for name, span in spans.items() if name.startswith("SELECT"))
    assert "FROM items" in attributes(sql)["db.statement"]
    assert {span.parent_span_id for span in (sql, spans["authorize Policy"])} == {request.span_id}


def test_a_stream_has_a_span_and_passes_the_trace_on(client: Any, receiver: Any) -> None:
    """Requests that are sent while the body is produced belong to the trace, and have its traceparent."""
    traced(client, receiver, ASSET.replace("data", "remote"))
    (headers,) = [headers for path, headers in receiver.requests if path.startswith("/bucket")]
    assert headers["traceparent"].split("-")[1] == TRACE
    assert "baggage" not in headers
    waiting_for(lambda: any(span.name == "stream" for span in receiver.spans))
    stream = next(span for span in receiver.spans if span.name == "stream")
    (call,) = [span for span in receiver.spans if span.name == "GET" and span.parent_span_id == stream.span_id]
    assert attributes(call)["http.url"] == f"{receiver.url}/bucket/key"


def test_spans_have_no_secrets(client: Any, receiver: Any) -> None:
    """No query, credential, signature, SQL parameter or message of an exception is exported."""
    traced(client, receiver, f"/signed/secret-token{ASSET}?X-Token=secret-query", Authorization="Bearer secret-key")
    traced(client, receiver, ASSET.replace("data", "remote"), baggage="user=secret-baggage")
    traced(client, receiver, ASSET.replace("data", "broken"))
    traced(client, receiver, "/search?collections=secret-collection&filter=platform='secret-value'")
    traced(client, receiver, "/secret-path")
    waiting_for(lambda: any(span.name == "stream" for span in receiver.spans))
    assert len(receiver.spans) > 20
    assert "secret" not in str(receiver.spans)
    (failed,) = [span for span in receiver.spans if span.name == "deliver Policy" and span.events]
    assert [attributes(event) for event in failed.events] == [{"exception.type": "ValueError"}]


def test_the_number_of_spans_of_a_request_is_limited(client: Any, receiver: Any) -> None:
    """A manifest of many assets does not have a span for each."""
    traced(client, receiver, "/collections/collection/items/item/download?format=list")
    assert len([span for span in receiver.spans if span.name == "authorize Policy"]) <= 200


def test_monitoring_is_not_traced(client: Any, receiver: Any) -> None:
    """Requests for the health have no spans."""
    client.get("/health")
    client.get("/health/ready")
    traced(client, receiver, "/")
    assert not [span for span in receiver.spans if "health" in span.name]


def test_the_log_has_the_trace_id(client: Any, receiver: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A trace that begins here has an id in the log, too."""
    response = client.get("/", buffered=True)
    span = spans_of(receiver, response.headers["X-Request-ID"])["GET /"]
    assert span.trace_id.hex() in {getattr(record, "trace_id", None) for record in caplog.records}


def test_nothing_is_imported_without_the_setting() -> None:
    """Without the setting, the packages of OpenTelemetry are not imported."""
    code = "import sys, stacflask.app; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_package_stops_the_start(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the setting and what to install."""
    monkeypatch.delattr(stacflask, "tracing", raising=False)
    monkeypatch.delitem(sys.modules, "stacflask.tracing", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.instrumentation.flask", None)
    with pytest.raises(SettingError, match=r"^STACFLASK_TRACING: .*Install stacflask\[tracing\]"):
        build(environ={"STACFLASK_TRACING": "true"})

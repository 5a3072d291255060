"""OpenTelemetry traces of requests, SQL, requests to stores and providers, functions of plugins, and streams.

Imported only if ``STACFLASK_TRACING`` is on. The variables of OpenTelemetry (``OTEL_*``) configure the exporter, the
sampler and the name of the service. docs/tracing.md lists the spans.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any

import pluggy
from flask import Flask, Response
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.propagate import set_global_textmap
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import SpanKind, Status, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

MAX_PLUGIN_SPANS = 200
"""Maximum number of spans of plugins in one request. A manifest can call a plugin for thousands of assets."""
MAX_TEXT = 4_000
"""Maximum number of characters of an attribute, such as an SQL statement."""
UNTRACED_URLS = "^https?://[^/]*/(health|health/ready|metrics)$"
"""Requests of monitoring."""
UNTRACED_HOOKS = ("metric_recorded", "response_ready", "changes_committed", "shutdown")
"""Hooks that are called for every statement or response and only count, and hooks that are called later."""
ATTRIBUTES = frozenset(
    {
        *("http.request.method", "http.response.status_code", "http.route", "error.type"),
        *("http.method", "http.status_code", "http.scheme", "url.scheme"),
        *("server.address", "server.port", "net.peer.name", "net.peer.port"),
        *("db.system", "db.system.name", "db.name", "db.namespace", "db.statement", "db.query.text"),
        *("stacflask.request_id", "stacflask.hook", "stacflask.plugin"),
    }
)
"""Attributes that are exported. Others can contain credentials: queries, paths of links, header fields, messages."""
CLIENT_URLS = ("http.url", "url.full")
"""Attributes of requests to other services, without the query, which can contain a signature."""

_budget = threading.local()


def install(app: Flask, manager: pluggy.PluginManager) -> None:
    """Trace an application, its plugins, and this process's requests to the database and other services.

    Call it after the process has been forked, because the exporter has a thread.
    """
    provider = TracerProvider(resource=_resource())
    provider.add_span_processor(BatchSpanProcessor(_SafeExporter()))
    if not os.environ.get("OTEL_PROPAGATORS"):
        set_global_textmap(TraceContextTextMapPropagator())  # without the client's baggage
    options: dict[str, Any] = {"tracer_provider": provider, "skip_dep_check": True}
    flask: Any = FlaskInstrumentor()
    flask.instrument_app(
        app,
        tracer_provider=provider,
        request_hook=_begin_request,
        response_hook=_add_request_id,
        excluded_urls=os.environ.get("OTEL_PYTHON_FLASK_EXCLUDED_URLS", UNTRACED_URLS),
        enable_commenter=False,
    )
    PsycopgInstrumentor().instrument(**options)
    URLLib3Instrumentor().instrument(**options)
    tracer = provider.get_tracer(__name__)
    app.after_request(lambda response: _trace_stream(tracer, response))
    _trace_plugins(tracer, manager)


def _resource() -> Resource:
    named = Resource({"service.name": "stacflask"})
    return named.merge(OTELResourceDetector().detect())


def _begin_request(span: trace.Span, environ: dict[str, Any]) -> None:
    _budget.left = MAX_PLUGIN_SPANS
    environ["stacflask.trace_id"] = format_trace_id(span.get_span_context().trace_id)


def _add_request_id(span: trace.Span | None, _status: str, headers: Sequence[tuple[str, str]]) -> None:
    request_id = next((value for name, value in headers if name == "X-Request-ID"), None)
    if span is not None and request_id is not None:
        span.set_attribute("stacflask.request_id", request_id)


# --- Plugins ---------------------------------------------------------------------------------------------------------


def _trace_plugins(tracer: trace.Tracer, manager: pluggy.PluginManager) -> None:
    """Trace the functions of plugins, except wrappers, which contain the functions of others."""
    for hook, caller in vars(manager.hook).items():
        for impl in caller.get_hookimpls() if hook not in UNTRACED_HOOKS else ():
            if not impl.wrapper:
                impl.function = _traced(tracer, hook, impl.plugin_name, impl.function)


def _traced(tracer: trace.Tracer, hook: str, plugin: str, function: Callable[..., Any]) -> Callable[..., Any]:
    attributes = {"stacflask.hook": hook, "stacflask.plugin": plugin}

    @wraps(function)
    def traced(*args: Any) -> Any:
        left = getattr(_budget, "left", 0)
        if left <= 0:
            return function(*args)
        _budget.left = left - 1
        with tracer.start_as_current_span(f"{hook} {plugin}", attributes=attributes):
            return function(*args)

    return traced


# --- Streams ---------------------------------------------------------------------------------------------------------


def _trace_stream(tracer: trace.Tracer, response: Response) -> Response:
    if response.is_streamed:
        response.response = _TracedStream(tracer, response.response)
    return response


class _TracedStream:
    """The body of a response, with a span until it is closed. Its chunks are produced after the request's own span."""

    def __init__(self, tracer: trace.Tracer, chunks: Any) -> None:
        self._chunks, self._iterator = chunks, iter(chunks)
        self._span = tracer.start_span("stream")
        self._context = trace.set_span_in_context(self._span)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self._within(lambda: next(self._iterator))

    def close(self) -> None:
        """Close the body, and end the span."""
        try:
            self._within(getattr(self._chunks, "close", lambda: None))
        finally:
            self._span.end()

    def _within(self, function: Callable[[], Any]) -> Any:
        token = context.attach(self._context)
        try:
            return function()
        finally:
            context.detach(token)


# --- Export ----------------------------------------------------------------------------------------------------------


class _SafeExporter(OTLPSpanExporter):  # type: ignore[misc,unused-ignore]
    """Exports spans with the attributes that are in ``ATTRIBUTES``, and of exceptions only their class."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export spans without secrets."""
        return super().export([_without_secrets(span) for span in spans])


def _without_secrets(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        name=_safe_name(span),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=dict(_safe_attributes(span)),
        events=[_safe_event(event) for event in span.events if event.name == "exception"],
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _safe_name(span: ReadableSpan) -> str:
    """Return the name of a span. That of a request without a route would have its path."""
    if span.kind != SpanKind.SERVER:
        return str(span.name)
    found = span.attributes or {}
    return f"{found.get('http.method') or found.get('http.request.method')} {found.get('http.route', '')}".rstrip()


def _safe_attributes(span: ReadableSpan) -> Iterator[tuple[str, Any]]:
    for name, value in (span.attributes or {}).items():
        if name in ATTRIBUTES:
            yield name, value[:MAX_TEXT] if isinstance(value, str) else value
        elif name in CLIENT_URLS and span.kind == SpanKind.CLIENT:
            yield name, str(value).partition("?")[0].rpartition("@")[2][:MAX_TEXT]


def _safe_event(event: Event) -> Event:
    return Event("exception", {"exception.type": (event.attributes or {}).get("exception.type", "")}, event.timestamp)

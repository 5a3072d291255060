"""A receiver of traces for tests: OTLP over HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Receiver(BaseHTTPRequestHandler):
    """Receives spans, and as another service remembers the header fields of requests."""

    spans: list[Any]
    requests: list[tuple[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = ExportTraceServiceRequest.FromString(body)
        self.spans.extend(
            span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans
        )
        self.do_GET()

    def do_GET(self) -> None:
        self.requests.append((self.path, self.headers))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def receiving() -> Iterator[Any]:
    """Run a receiver. Its class has the spans and requests that it received, and its URL."""
    handler: Any = type("Handler", (Receiver,), {"spans": [], "requests": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    handler.url = f"http://127.0.0.1:{server.server_port}"
    yield handler
    server.shutdown()
    server.server_close()


def attributes(span: Any) -> dict[str, str]:
    values = {attribute.key: attribute.value for attribute in span.attributes}
    return {name: value.string_value or str(value.int_value) for name, value in values.items()}

"""Traces of a server with several processes and a real store."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from dev.demo import FIRST_DOWNLOAD
from dev.run import environ_for
from dev.stack import Stack
from tests.traces import attributes, receiving
from tests.waiting import waiting_for
from tests.walk.conftest import serving


def test_every_process_exports_its_traces(demo_stack: Stack, tmp_path: Path) -> None:
    """Each process has its own exporter, which also sends the last spans when the server stops."""
    with receiving() as receiver:
        environ = {**environ_for(demo_stack, 8000), "STACFLASK_TRACING": "true", "STACFLASK_LOG_FORMAT": "json"}
        environ |= {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "3600000"}
        with serving(environ, tmp_path / "log") as server:
            url = f"{server.address(FIRST_DOWNLOAD)}?delivery=stream"
            with ThreadPoolExecutor(8) as clients:
                assert {one.status_code for one in clients.map(requests.get, [url] * 20)} == {200}
            lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
        waiting_for(lambda: len([span for span in receiver.spans if span.name == "stream"]) == 20)
        # Each process sends all of its spans when it stops.
        processes = {line["process"] for line in lines if line["message"] == "request answered"}
        assert [path for path, _ in receiver.requests] == ["/v1/traces"] * len(processes)
        streams = [span for span in receiver.spans if span.name == "stream"]
        stored = [attributes(span).get("http.url", "") for span in receiver.spans if span.name in ("GET", "HEAD")]
        assert len({span.trace_id for span in streams}) == 20
        assert len([url for url in stored if demo_stack.s3_endpoint in url]) >= 20
        assert "X-Amz" not in str(receiver.spans)
        assert demo_stack.s3_secret_key not in str(receiver.spans)

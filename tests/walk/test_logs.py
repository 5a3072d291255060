"""The log of a running server: one JSON line for each event."""

import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from dev.demo import LARGE_DOWNLOAD
from dev.run import environ_for
from dev.stack import Stack
from tests.waiting import waiting_for
from tests.walk.conftest import Server, serving

PLUGIN = """
import logging, threading
from stacflask import EndpointResponse, Endpoint, hookimpl

log = logging.getLogger("weather_policy.inner")
library_log = logging.getLogger("some.library")

def respond(request):
    log.info("weather read", extra={"colour": "green"})
    library_log.warning("beware")
    library_log.info("detail")
    def broken():
        raise ValueError("in a thread")
    thread = threading.Thread(target=broken)
    thread.start()
    thread.join()
    return EndpointResponse({})

@hookimpl
def extend_api():
    return [
        Endpoint("GET", "/weather/{token}", respond, "Weather.", {}, public=True),
        Endpoint("GET", "/weather", respond, "Weather.", {}, public=True),
    ]
"""
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(scope="module")
def own(demo_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve with gunicorn's access log, a plugin of another package, and a trusted proxy."""
    folder = tmp_path_factory.mktemp("own")
    package = folder / "weather_policy"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "rules.py").write_text(PLUGIN)
    environ = {**environ_for(demo_stack, 8000), "WEB_CONCURRENCY": "1"}
    environ["STACFLASK_PLUGINS"] += ",weather_policy.rules"
    environ |= {"PYTHONPATH": str(folder), "STACFLASK_TRUSTED_PROXIES": "127.0.0.0/8"}
    environ |= {"GUNICORN_CMD_ARGS": "--access-logfile=-", "STACFLASK_LOG_FORMAT": "json"}
    with serving(environ, folder / "log") as server:
        yield server


def lines(server: Server) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.log.read_text().splitlines()]


def found(server: Server, **fields: Any) -> dict[str, Any]:
    """Return the last line with these fields."""
    waiting_for(lambda: any(line.items() >= fields.items() for line in lines(server)))
    return [line for line in lines(server) if line.items() >= fields.items()][-1]


def test_every_line_is_json_with_its_time_in_utc(own: Server) -> None:
    """Gunicorn's events, its access log and refusals of invalid requests are JSON, too."""
    requests.get(f"{own.url}/search", timeout=30)
    host, _, port = own.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(b"NONSENSE\r\n\r\n")
        assert client.recv(1000)
    found(own, message="request refused", client="127.0.0.1")
    found(own, logger="gunicorn.access", path="/search", status=200)
    assert {"gunicorn.error", "gunicorn.access", "stacflask.api.http.request_log"} <= {
        line["logger"] for line in lines(own)
    }
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]) for line in lines(own))


def test_a_request_is_logged_with_its_fields(own: Server) -> None:
    """Method, path, route, status, bytes, duration and client are fields. The query is not logged."""
    headers = {"X-Request-ID": "mine", "X-Forwarded-For": "192.0.2.7", "Accept-Encoding": "identity"}
    response = requests.get(f"{own.url}/collections/none?q=secret-of-mine", headers=headers, timeout=30)
    line = found(own, request_id="mine", message="request answered")
    expected = {"method": "GET", "path": "/collections/none", "route": "/collections/<collection_id>", "status": 404}
    assert line.items() >= {**expected, "bytes": len(response.content), "client": "192.0.2.7"}.items()
    assert line["duration"] >= 0
    assert "secret-of-mine" not in own.log.read_text()


def test_the_size_of_a_response_is_logged(own: Server) -> None:
    """A stream is logged with its length, a HEAD request with 0."""
    address = f"{own.address(LARGE_DOWNLOAD)}?delivery=stream"
    whole = requests.get(address, headers={"X-Request-ID": "streamed"}, timeout=60)
    assert found(own, request_id="streamed", message="request answered")["bytes"] == len(whole.content)
    requests.head(address, headers={"X-Request-ID": "headed"}, timeout=60)
    assert found(own, request_id="headed", message="request answered")["bytes"] == 0


@pytest.mark.parametrize(
    ("traceparent", "trace_id"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", TRACE),
        (f"01-{TRACE}-00f067aa0ba902b7-01-more", TRACE),
        (f"00-{TRACE}-00f067aa0ba902b7-01-more", None),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", None),
        ('00-"}', None),
    ],
)
def test_the_trace_id_of_a_request_is_logged(own: Server, traceparent: str, trace_id: str | None) -> None:
    """All lines of a request have the trace id of a well-formed traceparent."""
    request_id = f"traced-{abs(hash(traceparent))}"
    requests.get(f"{own.url}/weather", headers={"traceparent": traceparent, "X-Request-ID": request_id}, timeout=30)
    assert found(own, request_id=request_id, message="request answered")["trace_id"] == trace_id
    assert found(own, request_id=request_id, message="weather read")["trace_id"] == trace_id


def test_events_of_plugins_and_libraries_are_logged(own: Server) -> None:
    """Modules of a plugin's package log from INFO on, libraries from WARNING on. Failed threads are logged."""
    requests.get(f"{own.url}/weather", headers={"X-Request-ID": "plugged"}, timeout=30)
    assert found(own, logger="weather_policy.inner", request_id="plugged")["colour"] == "green"
    assert found(own, logger="some.library", request_id="plugged")["level"] == "WARNING"
    assert not any(line["message"] == "detail" for line in lines(own))
    assert "in a thread" in found(own, message="thread failed")["exc_info"]


def test_a_secret_in_a_path_is_not_logged(own: Server) -> None:
    """The part of a path named ``token`` is masked, in gunicorn's access log, too."""
    requests.get(f"{own.url}/weather/secret-of-mine", headers={"X-Request-ID": "masked"}, timeout=30)
    assert found(own, request_id="masked", message="request answered")["path"] == "/weather/%2A%2A%2A"
    assert "secret-of-mine" not in own.log.read_text()

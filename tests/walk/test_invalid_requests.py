"""Invalid requests, which the server refuses before they reach the application."""

import http.client
import json
import socket

import pytest

from tests.walk.conftest import Server


def get_error(server: Server, path: str, headers: dict[str, str] | None = None) -> tuple[int, str | None, str]:
    """Request a path without encoding it. Return the status, the media type and the code of the error."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    connection.request("GET", path, headers=headers or {})
    response = connection.getresponse()
    return response.status, response.getheader("Content-Type"), json.loads(response.read())["code"]


def test_a_head_that_is_too_large_is_an_error_in_json(server: Server) -> None:
    """A URL that is too long is a 414, header fields that are too large a 431. Both have an error in JSON."""
    assert get_error(server, f"/search?ids={'a,' * 5000}") == (414, "application/json", "AddressTooLong")
    assert get_error(server, "/search", {"X-Long": "a" * 70_000}) == (431, "application/json", "HeadersTooLarge")


def has_reason(head: str, body: str) -> bool:
    """Return whether the description of a 400 is its reason phrase, too. Many clients show only that."""
    return head.startswith(f"HTTP/1.1 400 {json.loads(body)['description'].rstrip('.')}\r\n")


@pytest.mark.parametrize(
    "lines",
    [
        "GET /search?link=secret-of-mine HTTP/9",
        "GET /search?link=secret-of-mine and more HTTP/1.1",
        "G\tT /search?link=secret-of-mine HTTP/1.1",
        "GET /search?link=secret-of-mine HTTP/1.1\r\nBad Name: secret-of-mine",
        "GET /search?link=secret-of-mine HTTP/1.1\r\nTransfer-Encoding: secret-of-mine",
    ],
)
def test_an_invalid_request_is_refused_and_not_logged(server: Server, lines: str) -> None:
    """The error is JSON. The request is not logged, because it can contain a secret."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        client.sendall(f"{lines}\r\nHost: here\r\n\r\n".encode())
        head, _, body = client.makefile("rb").read().decode().partition("\r\n\r\n")
    assert has_reason(head, body)
    assert json.loads(body)["code"] == "BadRequest"
    assert "secret-of-mine" not in server.log.read_text()


CHUNKED = "POST /search HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
WITH_BODY = "POST /search HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        *(f"{CHUNKED}{size}\r\n{{}}\r\n0\r\n\r\n" for size in ("-2", "0x2", "+2", " 2", "2 ", "", "g", "2" * 20)),
        *(f"{CHUNKED}2{extension}\r\n{{}}\r\n0\r\n\r\n" for extension in (";=", ";a=\x01", ";" + "a" * 300)),
        f"{CHUNKED}2\r\n{{}}\r\n0\r\nX-Trailer: 1\r\n\r\n",
        f"{CHUNKED}2\r\n{{}}0\r\n\r\n",
        f"{CHUNKED}2\n{{}}\n0\n\n",
        f"{WITH_BODY}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n",
        f"{WITH_BODY}Content-Length: 2\r\nContent-Length: 2\r\n\r\n{{}}",
        *(f"{WITH_BODY}Content-Length: {length}\r\n\r\n{{}}" for length in ("-2", "+2", "2, 2", "", "2_0", "0x2")),
        f"{WITH_BODY}Transfer-Encoding: gzip\r\n\r\n{{}}",
        "GET /health HTTP/1.1\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
        "GET /health HTTP/1.1\nHost: x\n\n",
    ],
)
def test_a_malformed_request_is_a_400_and_ends_the_connection(server: Server, sent: str) -> None:
    """A violation of HTTP is a 400 in JSON without a traceback in the log. The connection is closed."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        client.sendall(sent.encode("latin-1"))
        head, _, body = client.makefile("rb").read().decode().partition("\r\n\r\n")
    assert has_reason(head, body)
    assert "Connection: close" in head
    assert json.loads(body)["code"] == "BadRequest"
    assert "Traceback" not in server.log.read_text()


def test_the_error_for_a_url_that_is_not_encoded_explains_the_encoding(server: Server) -> None:
    """Raw UTF-8 in a request line is a 400. Its description says to percent-encode it."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        client.sendall("GET /search?q=é HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head, _, body = client.makefile("rb").read().decode().partition("\r\n\r\n")
    assert has_reason(head, body)
    assert "percent-encoded" in json.loads(body)["description"]

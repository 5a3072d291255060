"""What is refused before it is a request at all, by the server and not by the application."""

import http.client
import json
import socket

import pytest

from tests.walk.conftest import Server


def ask(server: Server, path: str, headers: dict[str, str] | None = None) -> tuple[int, str | None, str]:
    """Ask for a path as it is; give status, type and the code of the error."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    connection.request("GET", path, headers=headers or {})
    answer = connection.getresponse()
    return answer.status, answer.getheader("Content-Type"), json.loads(answer.read())["code"]


def test_too_much_of_a_head_is_told_as_all_else_is(server: Server) -> None:
    """An address that is too long is 414 and says what helps, header fields that are too large 431, both in JSON."""
    assert ask(server, f"/search?ids={'a,' * 5000}") == (414, "application/json", "AddressTooLong")
    assert ask(server, "/search", {"X-Long": "a" * 70_000}) == (431, "application/json", "HeadersTooLarge")


def is_told(head: str, body: str) -> bool:
    """Whether a 400 has its description as reason phrase, too: many clients show nothing else."""
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
def test_what_is_no_request_is_refused_and_not_logged(server: Server, lines: str) -> None:
    """In JSON, too; and no log has it, for a secret may be in it."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        client.sendall(f"{lines}\r\nHost: here\r\n\r\n".encode())
        head, _, body = client.makefile("rb").read().decode().partition("\r\n\r\n")
    assert is_told(head, body)
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
    """What breaks the rules of HTTP is refused in JSON, without a traceback in the log, and nothing follows it."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        client.sendall(sent.encode("latin-1"))
        head, _, body = client.makefile("rb").read().decode().partition("\r\n\r\n")
    assert is_told(head, body)
    assert "Connection: close" in head
    assert json.loads(body)["code"] == "BadRequest"
    assert "Traceback" not in server.log.read_text()


def test_an_address_that_is_not_encoded_is_told_how_it_must_be(server: Server) -> None:
    """Raw UTF-8 in a request line is a 400 that says to percent-encode it."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        client.sendall("GET /search?q=é HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head, _, body = client.makefile("rb").read().decode().partition("\r\n\r\n")
    assert is_told(head, body)
    assert "percent-encoded" in json.loads(body)["description"]

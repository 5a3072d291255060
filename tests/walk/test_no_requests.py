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
    assert head.startswith("HTTP/1.1 400 Bad Request\r\n")
    assert json.loads(body)["code"] == "BadRequest"
    assert "secret-of-mine" not in server.log.read_text()

"""Clients that send or read slowly occupy no thread: other clients are served meanwhile."""

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dev.demo import FIRST_DOWNLOAD, LARGE_DOWNLOAD
from dev.run import environ_for
from dev.stack import Stack
from tests.waiting import waiting_for
from tests.walk.conftest import Server, serving

POST = b"POST /search HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
BEGUN = {
    "nothing": b"",
    "head": b"GET /search HTTP/1.1\r\nX-Slow: ",
    "body": POST + b"Content-Length: 67000000\r\n\r\n{",
    "small body": POST + b"Content-Length: 1000\r\n\r\n{",
    "chunked": POST + b"Transfer-Encoding: chunked\r\n\r\n1000\r\n{",
    "chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\n1",
    "expects": POST + b"Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n",
    "next head": b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /search HTTP/1.1\r\nX-Slow: ",
}


@pytest.fixture(scope="module")
def small(demo_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve with one process and few threads."""
    environ = {**environ_for(demo_stack, 8000), "WEB_CONCURRENCY": "1", "STACFLASK_THREADS": "4"}
    environ |= {"STACFLASK_MAX_STREAMS": "2", "STACFLASK_MAX_LIMIT": "10000"}
    with serving(environ, tmp_path_factory.mktemp("small") / "log") as server:
        yield server


def address_of(server: Server) -> tuple[str, int]:
    host, _, port = server.url.partition("://")[2].partition(":")
    return host, int(port)


@contextmanager
def held(server: Server, sent: bytes, clients: int = 40) -> Iterator[list[socket.socket]]:
    """Open connections, send bytes on each, and keep them open until the block ends."""
    with ExitStack() as stack:
        sockets = []
        for _ in range(clients):
            client = socket.create_connection(address_of(server), timeout=30)
            stack.callback(client.close)
            client.sendall(sent)
            sockets.append(client)
        yield sockets


@pytest.mark.parametrize("begun", BEGUN.values(), ids=BEGUN)
def test_slow_senders_do_not_block_others(small: Server, begun: bytes) -> None:
    """While more clients than threads have incomplete requests, searches, downloads and health checks work."""
    with held(small, begun):
        assert requests.get(f"{small.url}/health", timeout=30).ok
        assert requests.post(f"{small.url}/search", json={"limit": 1}, timeout=30).ok
        assert requests.get(small.address(FIRST_DOWNLOAD), allow_redirects=False, timeout=30).status_code == 307
        assert requests.get(f"{small.address(LARGE_DOWNLOAD)}?delivery=stream", timeout=30).ok


def test_slow_readers_do_not_block_others(small: Server) -> None:
    """While more clients than threads do not read their search results, other requests work."""
    large = b"GET /search?limit=1000 HTTP/1.1\r\nHost: x\r\n\r\n" * 400
    with held(small, large, clients=12):
        assert requests.get(f"{small.url}/health", timeout=30).ok
        assert requests.get(f"{small.url}/search", timeout=30).ok


@pytest.mark.parametrize("kind", ["head", "body", "chunked"])
def test_an_incomplete_request_times_out(small: Server, kind: str) -> None:
    """A client that stops within a request gets a 408, whatever its Content-Length, and is disconnected."""
    with held(small, BEGUN[kind], clients=1) as [client]:
        client.settimeout(60)
        response = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"Connection: close" in head
    assert json.loads(body)["code"] == "RequestTimeout"


def test_a_body_that_arrives_in_pieces_is_read(small: Server) -> None:
    """A body that arrives byte by byte is read, with Content-Length and chunked."""
    body = b'{"limit": 1}'
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    for field, sent in ((b"Content-Length: %d" % len(body), body), (b"Transfer-Encoding: chunked", chunks)):
        with socket.create_connection(address_of(small), timeout=30) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in POST + b"Connection: close\r\n" + field + b"\r\n\r\n" + sent:
                client.sendall(bytes([byte]))
            response = b"".join(iter(lambda: client.recv(65536), b""))
        assert response.startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_client_that_expects_100_gets_it_before_its_body(small: Server) -> None:
    """``Expect: 100-continue`` gets a 100 response before the body arrives."""
    with socket.create_connection(address_of(small), timeout=30) as client:
        client.sendall(POST + b"Connection: close\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"{}")
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")


def test_the_body_of_a_search_has_a_lower_limit(small: Server) -> None:
    """A search with a body of more than a megabyte is a 413."""
    response = requests.post(f"{small.url}/search", json={"ids": ["a" * (1 << 20)]}, timeout=30)
    assert (response.status_code, response.json()["code"]) == (413, "ContentTooLarge")


@pytest.mark.parametrize("field", [b"Content-Length: 99999999999", b"Transfer-Encoding: chunked"])
def test_a_body_that_is_too_large_is_refused_before_it_arrives(small: Server, field: bytes) -> None:
    """A Content-Length or chunk size above the limit is a 413 before the body arrives."""
    with held(small, POST + field + b"\r\n\r\nFFFFFFFF\r\n{", clients=1) as [client]:
        response = b"".join(iter(lambda: client.recv(65536), b""))
    assert response.startswith(b"HTTP/1.1 413 ")


def test_clients_that_disconnect_early_cause_no_traceback(small: Server) -> None:
    """A client that disconnects within a head, a body or a response causes no error."""
    unread = b"GET /search?limit=1000 HTTP/1.1\r\nHost: x\r\n\r\n" * 20
    for sent in (*BEGUN.values(), unread):
        with held(small, sent, clients=3):
            pass
    waiting_for(lambda: requests.get(f"{small.url}/health", timeout=30).ok)
    assert "Traceback" not in small.log.read_text()


def write_certificate(key: Path, certificate: Path) -> None:
    """Write a key and its certificate for 127.0.0.1."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number(), now, now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(private, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    unencrypted = serialization.NoEncryption()
    key.write_bytes(private.private_bytes(pem, serialization.PrivateFormat.PKCS8, unencrypted))
    certificate.write_bytes(signed.public_bytes(pem))


@pytest.fixture(scope="module")
def encrypted(demo_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve with TLS in one process."""
    folder = tmp_path_factory.mktemp("encrypted")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    write_certificate(key, certificate)
    environ = {**environ_for(demo_stack, 8000), "WEB_CONCURRENCY": "1"}
    environ["GUNICORN_CMD_ARGS"] = f"--certfile={certificate} --keyfile={key}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        with serving(environ, folder / "log", scheme="https") as server:
            yield server


def test_clients_that_disconnect_before_tls_stop_no_process(encrypted: Server) -> None:
    """Connections that are reset before the TLS handshake are closed, and the process continues."""
    for number in range(100):
        with socket.create_connection(address_of(encrypted), timeout=30) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(b"x" * (number % 2))
    assert requests.get(f"{encrypted.url}/health", timeout=30).ok
    assert "Exception in worker process" not in encrypted.log.read_text()


def test_slow_handshakes_do_not_block_others(encrypted: Server) -> None:
    """While more clients than threads have begun a TLS handshake, other requests work."""
    with held(encrypted, b"\x16\x03\x01\x02\x00\x01"):
        assert requests.get(f"{encrypted.url}/search", timeout=30).ok

"""Compression of JSON and HTML."""

import gzip
from collections.abc import Callable
from typing import Any

from stacflask.testing import a_collection, an_item

Publish = Callable[..., None]
Client = Any
GZIP = {"Accept-Encoding": "gzip, deflate, br"}


def test_long_responses_are_compressed(client: Client, publish: Publish) -> None:
    """Pages, records, the OpenAPI document and its HTML page are gzipped, with the compressed length."""
    publish(a_collection(title="x" * 1000), *[an_item(f"i{n}") for n in range(10)])
    paths = [
        "/",
        "/collections",
        "/collections/collection",
        "/collections/collection/items",
        "/search",
        "/api",
        "/api.html",
    ]
    for path in paths:
        response = client.get(path, headers=GZIP)
        assert response.headers["Content-Encoding"] == "gzip", path
        assert response.headers["Content-Length"] == str(len(response.data))
        assert gzip.decompress(response.data) == client.get(path).data
        assert "Accept-Encoding" in response.vary
        assert client.head(path, headers=GZIP).headers["Content-Length"] == response.headers["Content-Length"]


def test_posted_searches_are_compressed(client: Client, publish: Publish) -> None:
    """The response to POST /search is gzipped."""
    publish(*[an_item(f"i{n}") for n in range(10)])
    assert client.post("/search", json={}, headers=GZIP).headers["Content-Encoding"] == "gzip"


def test_clients_that_do_not_accept_gzip_get_plain_responses(client: Client, publish: Publish) -> None:
    """Without gzip in Accept-Encoding, the response is not compressed and has Accept-Encoding in Vary."""
    publish(a_collection(title="x" * 1000))
    for headers in ({}, {"Accept-Encoding": "identity"}, {"Accept-Encoding": "gzip;q=0"}, {"Accept-Encoding": "br"}):
        response = client.get("/collections/collection", headers=headers)
        assert "Content-Encoding" not in response.headers
        assert "Accept-Encoding" in response.vary


def test_errors_and_short_responses_are_plain(client: Client, publish: Publish) -> None:
    """Short responses are not compressed."""
    for path in ("/health", "/collections/nosuch"):
        assert "Content-Encoding" not in client.get(path, headers=GZIP).headers

"""Compression of JSON and HTML, and of nothing else."""

import gzip
from collections.abc import Callable
from typing import Any

from stacflask.testing import a_collection, an_item

Publish = Callable[..., None]
Client = Any
GZIP = {"Accept-Encoding": "gzip, deflate, br"}


def test_long_answers_are_compressed(client: Client, publish: Publish) -> None:
    """Pages, records, the description and its HTML come gzipped to who takes it, with the length of what is sent."""
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
        answer = client.get(path, headers=GZIP)
        assert answer.headers["Content-Encoding"] == "gzip", path
        assert answer.headers["Content-Length"] == str(len(answer.data))
        assert gzip.decompress(answer.data) == client.get(path).data
        assert "Accept-Encoding" in answer.vary
        assert client.head(path, headers=GZIP).headers["Content-Length"] == answer.headers["Content-Length"]


def test_posted_searches_are_compressed(client: Client, publish: Publish) -> None:
    """So is the answer to a POST."""
    publish(*[an_item(f"i{n}") for n in range(10)])
    assert client.post("/search", json={}, headers=GZIP).headers["Content-Encoding"] == "gzip"


def test_who_does_not_ask_gets_plain(client: Client, publish: Publish) -> None:
    """Without Accept-Encoding, or with one that excludes gzip, the answer is plain, and says that it might differ."""
    publish(a_collection(title="x" * 1000))
    for headers in ({}, {"Accept-Encoding": "identity"}, {"Accept-Encoding": "gzip;q=0"}, {"Accept-Encoding": "br"}):
        answer = client.get("/collections/collection", headers=headers)
        assert "Content-Encoding" not in answer.headers
        assert "Accept-Encoding" in answer.vary


def test_errors_and_short_answers_are_plain(client: Client, publish: Publish) -> None:
    """What compression would make no shorter is left alone."""
    for path in ("/health", "/collections/nosuch"):
        assert "Content-Encoding" not in client.get(path, headers=GZIP).headers

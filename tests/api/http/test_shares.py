"""Requests that wait for one dependency leave threads and connections for other requests."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from plugins import quota
from stacflask import Location, Principal, Redirect, Stream, hookimpl
from stacflask.api.download import stream_limits
from stacflask.catalog.database.engine import Database
from stacflask.catalog.documents.large_pages import LARGE_PAGE, turn
from stacflask.testing import Plug, Publish, an_item
from tests.waiting import waiting_for

DOWNLOAD = "/collections/collection/items/a/download/data"
SMALL_LIMITS = {"STACFLASK_THREADS": "12", "STACFLASK_MAX_STREAMS": "4"}


@pytest.fixture
def send_in_threads() -> Iterator[Callable[[Callable[[], Any], int], list[Any]]]:
    """Send a request in several threads, and collect the responses in a list. The test must end what they wait for."""
    threads: list[threading.Thread] = []

    def send(request: Callable[[], Any], number: int) -> list[Any]:
        responses: list[Any] = []
        for _ in range(number):
            thread = threading.Thread(target=lambda: responses.append(request()))
            threads.append(thread)
            thread.start()
        return responses

    yield send
    for thread in threads:
        thread.join()


class Hanging:
    """Blocks in ``deliver`` until it is released."""

    def __init__(self) -> None:
        self.calls = 0
        self.release = threading.Event()

    @hookimpl
    def resolve(self, asset: Any) -> Location:
        """Resolve every asset."""
        return Location("hanging", asset.href)

    @hookimpl
    def deliver(self) -> Redirect | None:
        """Block."""
        self.calls += 1
        self.release.wait()
        return None


def test_a_plugin_that_hangs_blocks_only_its_share_of_threads(
    plug: Plug, publish: Publish, consent: object, send_in_threads: Any
) -> None:
    """Some requests wait for a hanging plugin, the others get 503 at once; requests that do not need it get 200."""
    publish(an_item("a"))
    hanging = Hanging()
    client = plug(hanging, consent, environ=SMALL_LIMITS)
    try:
        refused = send_in_threads(lambda: client.get(DOWNLOAD), 20)
        waiting_for(lambda: len(refused) == 14)
        assert hanging.calls == 6
        assert {(response.status_code, response.json["code"]) for response in refused} == {(503, "Unavailable")}
        assert all(response.headers["Retry-After"] for response in refused)
        assert client.get("/search").status_code == 200
    finally:
        hanging.release.set()


def test_large_pages_are_computed_one_at_a_time(plug: Plug, publish: Publish, send_in_threads: Any) -> None:
    """A large page waits for the large page that is being computed; a small page does not."""
    publish(*(an_item(str(number)) for number in range(LARGE_PAGE + 1)))
    client = plug()
    few, many = f"/search?limit={LARGE_PAGE}", f"/search?limit={LARGE_PAGE + 1}"
    with turn(LARGE_PAGE + 1):
        large = send_in_threads(lambda: client.get(many), 2)
        assert client.get(few).status_code == 200
        assert client.get("/health").status_code == 200
        assert large == []
    waiting_for(lambda: len(large) == 2)
    assert [response.json["numberReturned"] for response in large] == [LARGE_PAGE + 1] * 2


class Stores:
    """Blocks after the first byte of assets in the store ``slow``; streams other assets at once."""

    def __init__(self) -> None:
        self.release = threading.Event()

    @hookimpl
    def resolve(self, asset: Any) -> Location:
        """Resolve every asset."""
        return Location(asset.href.partition(":")[0], asset.href)

    @hookimpl
    def deliver(self, location: Location) -> Stream:
        """Stream two bytes."""

        def slowly(_first: int, _length: int) -> Iterator[bytes]:
            yield b"x"
            if location.store == "slow":
                self.release.wait()
            yield b"x"

        return Stream(slowly, 2)


@pytest.mark.parametrize("path", ["download/data", "download.zip"])
def test_a_store_that_hangs_blocks_only_its_share_of_streams(
    plug: Plug, publish: Publish, consent: object, send_in_threads: Any, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Streams of a hanging store occupy half of the stream limit; another store's assets are streamed."""
    monkeypatch.setattr(stream_limits, "SLOW_SECONDS", -1.0)
    publish(an_item("a", assets={"data": {"href": "slow:a"}}), an_item("b", assets={"data": {"href": "quick:b"}}))
    stores = Stores()
    client = plug(stores, consent, environ=SMALL_LIMITS)
    try:
        responses = send_in_threads(
            lambda: client.get(f"/collections/collection/items/a/{path}?delivery=stream", buffered=True), 6
        )
        waiting_for(lambda: len(responses) == 4)
        assert {(response.status_code, response.json["code"]) for response in responses} == {(503, "Unavailable")}
        assert client.get(f"/collections/collection/items/b/{path}?delivery=stream").status_code == 200
    finally:
        stores.release.set()


@contextmanager
def locked(database: Database, table: str) -> Iterator[None]:
    """Lock a table against reads."""
    with database.write() as connection:
        connection.execute(sa.text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        yield


LONG_STATEMENTS = {
    "filter": "/search?filter=eo:cloud_cover%20%3C%2010",
    "text": "/search?q=water",
    "intersects": '/search?intersects={"type":"Point","coordinates":[11,48]}',
    "sort": "/search?sortby=platform",
    "aggregation": "/aggregate?aggregations=total_count",
    "by-time": "/collections/collection/by-time",
}


@pytest.mark.parametrize("path", LONG_STATEMENTS.values(), ids=LONG_STATEMENTS)
def test_long_statements_use_half_of_the_connections(
    plug: Plug, publish: Publish, database: Database, send_in_threads: Any, path: str
) -> None:
    """Long statements use at most half of the connections: further ones get 503, and short ones get 200."""
    publish(an_item("a"))
    client = plug(environ={"STACFLASK_POOL_SIZE": "4", "STACFLASK_STATEMENT_TIMEOUT": "30"})
    assert client.get(path).status_code == 200
    with locked(database, "items"):
        responses = send_in_threads(lambda: client.get(path), 6)
        waiting_for(lambda: len(responses) == 4)
        assert {(response.status_code, response.json["code"]) for response in responses} == {(503, "DatabaseBusy")}
        assert all(response.headers["Retry-After"] for response in responses)
        assert client.get("/collections/collection").status_code == 200


class Somebody:
    """Authenticates every request as a member of a group."""

    @hookimpl
    def authenticate(self) -> Principal:
        """Return a principal."""
        return Principal("somebody", frozenset({"members"}))


def test_statements_of_a_plugin_use_half_of_the_connections(
    plug: Plug, publish: Publish, store: object, consent: object, database: Database, send_in_threads: Any
) -> None:
    """Statements that wait for a plugin's tables use at most half of the connections."""
    publish(an_item("a"))
    plugin = quota.create_plugin({"STACFLASK_QUOTA_CACHE": "0"})
    client = plug(Somebody(), consent, store, plugin, environ={"STACFLASK_POOL_SIZE": "4"})
    assert client.get(DOWNLOAD).status_code == 307
    with locked(database, "plugin_quota_limits"):
        responses = send_in_threads(lambda: client.get(DOWNLOAD), 6)
        waiting_for(lambda: len(responses) == 4)
        assert {response.status_code for response in responses} == {503}
        assert client.get("/search").status_code == 200

"""What waits for one dependency leaves threads and connections for what does not need it."""

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
from stacflask.large_pages import LARGE_PAGE, turn
from stacflask.testing import Plug, Publish, an_item
from tests.waiting import waiting_for

DOWNLOAD = "/collections/collection/items/a/download/data"
FEW = {"STACFLASK_THREADS": "12", "STACFLASK_MAX_STREAMS": "4"}


@pytest.fixture
def asking() -> Iterator[Callable[[Callable[[], Any], int], list[Any]]]:
    """Ask in so many threads; their answers are in the list when the test has ended what they wait for."""
    threads: list[threading.Thread] = []

    def ask(request: Callable[[], Any], number: int) -> list[Any]:
        answers: list[Any] = []
        for _ in range(number):
            thread = threading.Thread(target=lambda: answers.append(request()))
            threads.append(thread)
            thread.start()
        return answers

    yield ask
    for thread in threads:
        thread.join()


class Hanging:
    """Delivers nothing before it is let go."""

    def __init__(self) -> None:
        self.asked = 0
        self.go = threading.Event()

    @hookimpl
    def resolve(self, asset: Any) -> Location:
        """Find everything."""
        return Location("hanging", asset.href)

    @hookimpl
    def deliver(self) -> Redirect | None:
        """Hang."""
        self.asked += 1
        self.go.wait()
        return None


def test_a_plugin_that_hangs(plug: Plug, publish: Publish, consent: object, asking: Any) -> None:
    """Some requests wait for a plugin that hangs; the others are refused at once, and what needs it not is answered."""
    publish(an_item("a"))
    hanging = Hanging()
    client = plug(hanging, consent, environ=FEW)
    try:
        refused = asking(lambda: client.get(DOWNLOAD), 20)
        waiting_for(lambda: len(refused) == 14)
        assert hanging.asked == 6
        assert {(answer.status_code, answer.json["code"]) for answer in refused} == {(503, "Unavailable")}
        assert all(answer.headers["Retry-After"] for answer in refused)
        assert client.get("/search").status_code == 200
    finally:
        hanging.go.set()


def test_large_pages_are_computed_one_at_a_time(plug: Plug, publish: Publish, asking: Any) -> None:
    """A page of many items waits for the one that is being computed; one of few does not."""
    publish(*(an_item(str(number)) for number in range(LARGE_PAGE + 1)))
    client = plug()
    few, many = f"/search?limit={LARGE_PAGE}", f"/search?limit={LARGE_PAGE + 1}"
    with turn(LARGE_PAGE + 1):
        large = asking(lambda: client.get(many), 2)
        assert client.get(few).status_code == 200
        assert client.get("/health").status_code == 200
        assert large == []
    waiting_for(lambda: len(large) == 2)
    assert [answer.json["numberReturned"] for answer in large] == [LARGE_PAGE + 1] * 2


class Stores:
    """Streams a byte of what is in the store ``slow`` and then hangs; all else is streamed at once."""

    def __init__(self) -> None:
        self.go = threading.Event()

    @hookimpl
    def resolve(self, asset: Any) -> Location:
        """Find everything."""
        return Location(asset.href.partition(":")[0], asset.href)

    @hookimpl
    def deliver(self, location: Location) -> Stream:
        """Stream two bytes."""

        def slowly(_first: int, _length: int) -> Iterator[bytes]:
            yield b"x"
            if location.store == "slow":
                self.go.wait()
            yield b"x"

        return Stream(slowly, 2)


@pytest.mark.parametrize("path", ["download/data", "download.zip"])
def test_streams_of_a_store_that_hangs(
    plug: Plug, publish: Publish, consent: object, asking: Any, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """A store that hangs amid its streams has half of the places for streams; another store's are streamed."""
    monkeypatch.setattr(stream_limits, "SLOW_SECONDS", -1.0)
    publish(an_item("a", assets={"data": {"href": "slow:a"}}), an_item("b", assets={"data": {"href": "quick:b"}}))
    stores = Stores()
    client = plug(stores, consent, environ=FEW)
    try:
        answers = asking(
            lambda: client.get(f"/collections/collection/items/a/{path}?delivery=stream", buffered=True), 6
        )
        waiting_for(lambda: len(answers) == 4)
        assert {(answer.status_code, answer.json["code"]) for answer in answers} == {(503, "Unavailable")}
        assert client.get(f"/collections/collection/items/b/{path}?delivery=stream").status_code == 200
    finally:
        stores.go.set()


@contextmanager
def locked(database: Database, table: str) -> Iterator[None]:
    """Keep everybody from reading a table."""
    with database.write() as connection:
        connection.execute(sa.text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        yield


LONG = {
    "filter": "/search?filter=eo:cloud_cover%20%3C%2010",
    "text": "/search?q=water",
    "intersects": '/search?intersects={"type":"Point","coordinates":[11,48]}',
    "sort": "/search?sortby=platform",
    "aggregation": "/aggregate?aggregations=total_count",
    "by-time": "/collections/collection/by-time",
}


@pytest.mark.parametrize("path", LONG.values(), ids=LONG)
def test_long_statements(plug: Plug, publish: Publish, database: Database, asking: Any, path: str) -> None:
    """Statements that may take long use half of the connections: others are refused, and short ones are answered."""
    publish(an_item("a"))
    client = plug(environ={"STACFLASK_POOL_SIZE": "4", "STACFLASK_STATEMENT_TIMEOUT": "30"})
    assert client.get(path).status_code == 200
    with locked(database, "items"):
        answers = asking(lambda: client.get(path), 6)
        waiting_for(lambda: len(answers) == 4)
        assert {(answer.status_code, answer.json["code"]) for answer in answers} == {(503, "DatabaseBusy")}
        assert all(answer.headers["Retry-After"] for answer in answers)
        assert client.get("/collections/collection").status_code == 200


class Somebody:
    """Recognises everybody as a member of a group."""

    @hookimpl
    def authenticate(self) -> Principal:
        """Say who asks."""
        return Principal("somebody", frozenset({"members"}))


def test_the_tables_of_one_plugin(
    plug: Plug, publish: Publish, store: object, consent: object, database: Database, asking: Any
) -> None:
    """Statements that wait for the tables of a plugin use half of the connections."""
    publish(an_item("a"))
    plugin = quota.create_plugin({"STACFLASK_QUOTA_CACHE": "0"})
    client = plug(Somebody(), consent, store, plugin, environ={"STACFLASK_POOL_SIZE": "4"})
    assert client.get(DOWNLOAD).status_code == 307
    with locked(database, "plugin_quota_limits"):
        answers = asking(lambda: client.get(DOWNLOAD), 6)
        waiting_for(lambda: len(answers) == 4)
        assert {answer.status_code for answer in answers} == {503}
        assert client.get("/search").status_code == 200

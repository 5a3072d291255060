"""Requests that take too long are given up, each class of them after its own time."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from bench.limits.stalls import Proxy
from stacflask.catalog.database import connection_settings
from stacflask.catalog.database.engine import Database
from stacflask.testing import an_item
from tests.waiting import waiting_for

SHORT = {"STACFLASK_AGGREGATE_TIMEOUT": "1"}


@contextmanager
def held(database: Database) -> Iterator[None]:
    """Keep everybody from reading items."""
    with database.write() as connection:
        connection.execute(sa.text("LOCK TABLE items IN ACCESS EXCLUSIVE MODE"))
        yield


def test_each_class_has_its_time(
    plug: Callable[..., FlaskClient], publish: Callable[..., None], database: Database
) -> None:
    """A count or an aggregation is given up with 503 after its time; on the same connection a search has more of it."""
    publish(an_item("a"))
    client = plug(environ={**SHORT, "STACFLASK_POOL_SIZE": "1"})
    paths = ("/aggregate?aggregations=total_count", "/search?count=true")
    assert [client.get(path).status_code for path in paths] == [200, 200]
    with held(database):
        answer = client.get(paths[0])
    assert (answer.status_code, answer.json["code"]) == (503, "QueryTimeout")
    assert answer.headers["Retry-After"]
    with held(database):
        found: list[int] = []
        search = threading.Thread(target=lambda: found.append(client.get("/search").status_code))
        search.start()
        search.join(1.5)
        assert search.is_alive()
    search.join()
    assert found == [200]


def test_a_database_that_never_answers(
    plug: Callable[..., FlaskClient], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the network swallows what a database sends, a request ends with 503, and goes on once it is back."""
    monkeypatch.setattr(connection_settings, "GRACE_SECONDS", 0.1)
    port = int(database_url.rpartition(":")[2].partition("/")[0])
    proxy = Proxy(port)
    url = database_url.replace(f":{port}/", f":{proxy.port}/")
    client = plug(environ={"DATABASE_URL": url, "STACFLASK_STATEMENT_TIMEOUT": "0.5"})
    assert client.get("/search").status_code == 200
    proxy.set("hanging")
    answer = client.get("/search")
    assert (answer.status_code, answer.json["code"]) == (503, "DatabaseUnavailable")
    assert answer.headers["Retry-After"]
    proxy.set("quiet")
    waiting_for(lambda: client.get("/search").status_code == 200)

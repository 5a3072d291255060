"""Requests that take too long end with 503, each class of them after its own timeout."""

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

SHORT_TIMEOUT = {"STACFLASK_AGGREGATE_TIMEOUT": "1"}


@contextmanager
def held(database: Database) -> Iterator[None]:
    """Lock the items against reads."""
    with database.write() as connection:
        connection.execute(sa.text("LOCK TABLE items IN ACCESS EXCLUSIVE MODE"))
        yield


def test_aggregations_have_a_timeout_of_their_own(
    plug: Callable[..., FlaskClient], publish: Callable[..., None], database: Database
) -> None:
    """An aggregation gets 503 after its timeout; a search on the same connection has a longer timeout."""
    publish(an_item("a"))
    client = plug(environ={**SHORT_TIMEOUT, "STACFLASK_POOL_SIZE": "1"})
    paths = ("/aggregate?aggregations=total_count", "/search?count=true")
    assert [client.get(path).status_code for path in paths] == [200, 200]
    with held(database):
        response = client.get(paths[0])
    assert (response.status_code, response.json["code"]) == (503, "QueryTimeout")
    assert response.headers["Retry-After"]
    with held(database):
        found: list[int] = []
        search = threading.Thread(target=lambda: found.append(client.get("/search").status_code))
        search.start()
        search.join(1.5)
        assert search.is_alive()
    search.join()
    assert found == [200]


def test_a_database_that_does_not_answer_is_503(
    plug: Callable[..., FlaskClient], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the network drops the database's packets, a request gets 503; requests succeed when the network recovers."""
    monkeypatch.setattr(connection_settings, "GRACE_SECONDS", 0.1)
    port = int(database_url.rpartition(":")[2].partition("/")[0])
    proxy = Proxy(port)
    url = database_url.replace(f":{port}/", f":{proxy.port}/")
    client = plug(environ={"DATABASE_URL": url, "STACFLASK_STATEMENT_TIMEOUT": "0.5"})
    assert client.get("/search").status_code == 200
    proxy.set("hanging")
    response = client.get("/search")
    assert (response.status_code, response.json["code"]) == (503, "DatabaseUnavailable")
    assert response.headers["Retry-After"]
    proxy.set("quiet")
    waiting_for(lambda: client.get("/search").status_code == 200)

"""More than one machine: pgbouncer in transaction mode, and reads from a streaming replica. Both are real servers."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from bench.limits.stalls import Proxy
from dev.scaling import Replica
from dev.stack import Stack
from stacflask import Decision, Services, Storage, Unavailable, hookimpl
from stacflask.catalog.database import replica as replication
from stacflask.catalog.database.engine import Database
from stacflask.catalog.database.tables import metadata
from stacflask.cli import run
from stacflask.testing import Plug, Publish, a_collection, an_item
from tests.conftest import migrate
from tests.waiting import waiting_for
from tests.walk.conftest import own_database

ITEMS = "/collections/collection/items"


class AnyChange:
    """Allows all changes, and keeps its storage."""

    storage: Storage

    @hookimpl
    def startup(self, services: Services) -> None:
        """Keep the storage."""
        self.storage = services.storage

    @hookimpl
    def authorize_change(self) -> Decision:
        """Allow the change."""
        return Decision.allow("test")


# --- A pooler in transaction mode -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pooled(stack: Stack, database_url: str) -> Iterator[dict[str, str]]:
    """Return the settings of an application that uses the test database through pgbouncer."""
    with stack.pooler() as url:
        yield {"DATABASE_URL": url, "STACFLASK_TRANSACTION_POOLER": "yes"}


def test_many_clients_share_few_sessions(plug: Plug, publish: Publish, pooled: dict[str, str]) -> None:
    """Concurrent reads and writes succeed with fewer sessions than clients."""
    publish(a_collection())
    clients = [plug(AnyChange(), environ=pooled) for _ in range(2)]

    def work(number: int) -> list[int]:
        client = clients[number % 2]
        item = an_item(f"item-{number}")
        steps = [client.post(ITEMS, json=item), client.get(f"{ITEMS}/item-{number}"), client.get("/search?limit=5")]
        steps += [client.put(f"{ITEMS}/item-{number}", json=item), client.delete(f"{ITEMS}/item-{number}")]
        return [step.status_code for step in steps]

    with ThreadPoolExecutor(8) as pool:
        assert set(map(tuple, pool.map(work, range(80)))) == {(201, 200, 200, 204, 204)}


def test_statement_timeouts_apply_to_stacflask_only(plug: Plug, pooled: dict[str, str]) -> None:
    """The statement timeout applies in shared sessions, but not to other clients of the pooler."""
    plugin = AnyChange()
    plug(plugin, environ={**pooled, "STACFLASK_STATEMENT_TIMEOUT": "2"})
    with pytest.raises(Unavailable, match="too long"):
        plugin.storage.rows("SELECT pg_sleep(60)")
    assert plugin.storage.rows("SHOW timezone") == [{"TimeZone": "UTC"}]
    with psycopg.connect(pooled["DATABASE_URL"]) as stranger:
        assert stranger.execute("SHOW statement_timeout").fetchone() == ("0",)


def test_commands_work_behind_a_pooler(stack: Stack, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Migrations, checks, loads with several processes and exports work through the pooler."""
    documents = [a_collection(), *(an_item(f"item-{number:04}") for number in range(500))]
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(b"\n".join(map(orjson.dumps, documents)))
    with own_database(stack, "pooled") as own, own.pooler() as url:
        environ = {"DATABASE_URL": url, "STACFLASK_TRANSACTION_POOLER": "yes"}
        migrate(url, "downgrade", "base")
        migrate(url)
        for command in (["check"], ["load", "--workers", "2", str(source)], ["export", "-o", str(target)]):
            assert run(command, environ) == 0, capfd.readouterr().err
    assert [orjson.loads(line) for line in target.read_bytes().splitlines()] == documents


# --- A streaming replica ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def replicated(stack: Stack, database_url: str) -> Iterator[tuple[dict[str, str], Replica]]:
    """Return the settings of an application with a replica that applies its changes, and the replica."""
    with stack.replica() as (url, replica):
        primary = f"{database_url}?options=-c%20synchronous_commit%3Dremote_apply"
        yield {"DATABASE_URL": primary, "STACFLASK_REPLICA_URL": url}, replica


def test_a_write_is_visible_in_all_processes(
    plug: Plug, publish: Publish, replicated: tuple[dict[str, str], Replica]
) -> None:
    """After the response to a change, all processes read it, also from the replica."""
    publish(a_collection())
    ours, theirs = (plug(AnyChange(), environ=replicated[0]) for _ in range(2))
    waiting_for(lambda: theirs.get("/collections/collection").status_code == 200)
    for number in range(10):
        address = f"{ITEMS}/item-{number}"
        assert ours.post(ITEMS, json=an_item(f"item-{number}")).status_code == 201
        assert [client.get(address).status_code for client in (ours, theirs)] == [200, 200]
        changed = an_item(f"item-{number}", properties={"datetime": "2024-06-01T12:00:00Z", "version": "2"})
        assert ours.put(address, json=changed).status_code == 204
        assert [client.get(address).json["properties"]["version"] for client in (theirs, ours)] == ["2", "2"]
        assert ours.delete(address).status_code == 204
        assert [client.get(address).status_code for client in (theirs, ours)] == [404, 404]
    assert reads_replica(ours)
    assert reads_replica(theirs)


def test_a_write_waits_for_the_replica(
    plug: Plug, publish: Publish, database: Database, replicated: tuple[dict[str, str], Replica]
) -> None:
    """A change is confirmed when the replica has applied it."""
    environ, replica = replicated
    publish(a_collection())
    ours, theirs = (plug(AnyChange(), environ=environ) for _ in range(2))
    waiting = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    replica.pause()
    try:
        with ThreadPoolExecutor(1) as pool:
            response = pool.submit(ours.post, ITEMS, json=an_item("late"))
            waiting_for(lambda: database.read(lambda connection: connection.execute(waiting).scalar_one()) == 1)
            assert not response.done()
            assert theirs.get(f"{ITEMS}/late").status_code == 404
            replica.resume()
            assert response.result().status_code == 201
    finally:
        replica.resume()
    assert theirs.get(f"{ITEMS}/late").status_code == 200


def test_the_primary_is_used_without_the_replica(
    plug: Plug, publish: Publish, replicated: tuple[dict[str, str], Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the replica, reads use the primary. A change is not confirmed before the replica has it."""
    environ, replica = replicated
    publish(an_item("before"))
    client = plug(AnyChange(), environ={**environ, "STACFLASK_STATEMENT_TIMEOUT": "2"})
    waiting_for(lambda: client.get(f"{ITEMS}/before").status_code == 200)
    replica.stop()
    try:
        assert client.get(f"{ITEMS}/before").status_code == 200
        assert not reads_replica(client)
        assert client.post(ITEMS, json=an_item("meanwhile")).status_code == 503
    finally:
        replica.start()
    monkeypatch.setattr(replication, "RETRY_SECONDS", 0)
    waiting_for(lambda: reads_replica(client) and client.get(f"{ITEMS}/meanwhile").status_code == 200)


def test_the_replica_is_used_without_the_primary(
    plug: Plug, publish: Publish, stack: Stack, replicated: tuple[dict[str, str], Replica]
) -> None:
    """Without the primary, reads use the replica and changes are a 503. Later all requests succeed again."""
    publish(an_item("before"))
    client = plug(AnyChange(), environ=replicated[0])
    waiting_for(lambda: client.get(f"{ITEMS}/before").status_code == 200)
    stack.stop_database()
    try:
        assert client.get(f"{ITEMS}/before").status_code == 200
        assert client.get("/search").status_code == 200
        assert client.post(ITEMS, json=an_item("refused")).status_code == 503
    finally:
        stack.start_database()
    assert client.post(ITEMS, json=an_item("accepted")).status_code == 201
    assert client.get(f"{ITEMS}/accepted").status_code == 200


RANGE = {"datetime": None, "start_datetime": "2020-01-01T00:00:00Z", "end_datetime": "2024-01-01T00:00:00Z"}


def test_a_request_that_began_on_the_primary_stays_there(
    plug: Plug, publish: Publish, replicated: tuple[dict[str, str], Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the replica returns between two statements of a request, the request does not see older data."""
    environ, replica = replicated
    publish(an_item("before", properties={"datetime": "2024-06-01T00:00:00Z"}))
    client = plug(environ=environ)
    waiting_for(lambda: client.get(f"{ITEMS}/before").status_code == 200)
    database = replicated_database(client)
    original = database.records

    def records(*given: Any, **more: Any) -> Any:
        found = original(*given, **more)
        database._retry_at = 0.0
        return found

    replica.pause()
    try:
        publish(*(an_item(f"late-{number}", properties=RANGE) for number in range(6)))
        assert len(client.get("/search?sortby=-datetime&limit=10").json["features"]) == 1
        monkeypatch.setattr(database, "records", records)
        database._retry_at = math.inf
        assert len(client.get("/search?sortby=-datetime&limit=10").json["features"]) == 7
    finally:
        replica.resume()


def test_a_change_reads_from_the_primary(
    plug: Plug, publish: Publish, stack: Stack, replicated: tuple[dict[str, str], Replica], tmp_path: Path
) -> None:
    """A change finds the item and its dictionary on the primary, although the replica does not have them yet."""
    environ, replica = replicated
    publish(an_item("before"))
    client = plug(AnyChange(), environ={**environ, "DATABASE_URL": stack.database_url})
    waiting_for(lambda: client.get(f"{ITEMS}/before").status_code == 200)
    source = tmp_path / "items.ndjson"
    items = [
        an_item(f"item-{n:04}", "new", properties={"datetime": "2024-06-01T00:00:00Z", "n": n}) for n in range(500)
    ]
    source.write_bytes(b"\n".join(map(orjson.dumps, [a_collection("new"), *items])))
    replica.pause()
    try:
        assert run(["load", str(source)], {"DATABASE_URL": stack.database_url}) == 0
        address = "/collections/new/items/item-0007"
        assert client.patch(address, json={"properties": {"title": "new"}}).status_code == 204
        assert client.put(address, json=items[7]).status_code == 204
        assert client.get(address).status_code == 404  # as the replica has it
        assert client.delete(address).status_code == 204
    finally:
        replica.resume()


def replicated_database(client: FlaskClient) -> replication.Replicated:
    """Return the database of a client's application."""
    found: replication.Replicated = client.application.extensions["stacflask"].catalog.database
    return found


def reads_replica(client: FlaskClient) -> bool:
    """Whether reads use the replica."""
    standby = sa.text("SELECT pg_is_in_recovery()")
    return bool(replicated_database(client).read(lambda connection: connection.execute(standby).scalar_one()))


# --- Tables that can be distributed -----------------------------------------------------------------------------------


def test_items_can_be_distributed(database: Database) -> None:
    """Every unique key of the items has collection and id, and there is no sequence, trigger or foreign key."""

    def names(query: str) -> list[str]:
        tables = ", ".join(f"'{name}'::regclass" for name in metadata.tables)
        statement = sa.text(query.format(tables=tables))
        return database.read(lambda connection: list(connection.execute(statement).scalars()))

    keys = names("SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'items'::regclass AND indisunique")
    assert [key.partition(" USING ")[2] for key in keys] == ["btree (collection, id)"]
    assert names("SELECT tgname FROM pg_trigger WHERE tgrelid IN ({tables})") == []
    assert names("SELECT conname FROM pg_constraint WHERE contype = 'f' AND conrelid IN ({tables})") == []
    assert names("SELECT column_default FROM information_schema.columns WHERE column_default LIKE 'nextval%'") == []


# --- Several hosts ----------------------------------------------------------------------------------------------------


def holds_item(url: str, item: str) -> bool:
    """Return whether a server has an item."""
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT FROM items WHERE id = %s", [item]).rowcount == 1


def test_a_promoted_standby_is_used(plug: Plug, publish: Publish, stack: Stack, database_url: str) -> None:
    """Of several hosts the writable one is used. After a failover, that is the promoted standby."""
    publish(a_collection())
    with stack.replica() as (url, replica):
        primary = Proxy(int(database_url.rpartition(":")[2].partition("/")[0]))
        host = f"127.0.0.1:{replica.port},127.0.0.1:{primary.port}"
        base, name = url.rpartition("@")[0], url.rpartition("/")[2]
        client = plug(AnyChange(), environ={"DATABASE_URL": f"{base}@{host}/{name}?target_session_attrs=read-write"})
        assert client.post(ITEMS, json=an_item("before")).status_code == 201
        waiting_for(lambda: holds_item(url, "before"))  # a promoted standby lacks transactions that it has not received
        primary.set("refusing")
        assert client.get("/search").status_code == 503
        replica.promote()
        waiting_for(lambda: client.post(ITEMS, json=an_item("after")).status_code in (201, 409))
        assert client.get(f"{ITEMS}/before").status_code == 200

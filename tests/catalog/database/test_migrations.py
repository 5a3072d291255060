"""Migrations: the tables are what the code says, down goes as well as up, and two at once do no harm."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from stacflask.catalog.database.engine import create_engine
from stacflask.settings import Settings
from tests.databases import drop

ROOT = Path(__file__).parents[3]


def alembic(url: str, *arguments: str) -> subprocess.Popen[str]:
    """Run alembic in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def done(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return output


def engine(url: str) -> sa.Engine:
    given = Settings.from_environ({"DATABASE_URL": url}).database_url
    return create_engine(given, pool_size=0, statement_timeout=0).execution_options(isolation_level="READ COMMITTED")


@pytest.fixture
def fresh(database_url: str) -> Iterator[str]:
    """Give the address of a database that nothing has been migrated in, with the extensions the first has."""
    base = database_url.rpartition("/")[0]
    url = f"{base}/migrations"
    with engine(database_url).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("DROP DATABASE IF EXISTS migrations"))
        connection.execute(sa.text("CREATE DATABASE migrations"))
    yield url
    drop(database_url, "migrations")


def shape(url: str) -> dict[str, Any]:
    """Give every table with its columns, keys and indexes as the database has them."""
    with engine(url).connect() as connection:
        inspector = sa.inspect(connection)
        tables = sorted(set(inspector.get_table_names()) - {"spatial_ref_sys", "alembic_version"})
        columns = (
            "SELECT column_name, data_type, is_nullable, collation_name, column_default FROM information_schema.columns"
        )
        indexes = "SELECT indexdef FROM pg_indexes"
        return {
            table: (
                sorted(map(tuple, connection.execute(sa.text(f"{columns} WHERE table_name = :t"), {"t": table}))),
                sorted(connection.execute(sa.text(f"{indexes} WHERE tablename = :t"), {"t": table}).scalars()),
            )
            for table in tables
        }


def test_nothing_is_left_to_generate(database_url: str) -> None:
    """Alembic finds no difference between the tables in the code and those that its revisions have made."""
    assert "No new upgrade operations detected" in done(alembic(database_url, "check"))


def test_there_is_one_line_of_revisions(database_url: str) -> None:
    """One head: who upgrades to it has all."""
    assert len(done(alembic(database_url, "heads")).strip().splitlines()) == 1


def test_down_and_up_again(fresh: str) -> None:
    """Each revision undoes what it did, down to nothing, and the way up leads to the same tables."""
    done(alembic(fresh, "upgrade", "heads"))
    before = shape(fresh)
    assert {"collections", "items", "dictionaries"} <= before.keys()
    done(alembic(fresh, "downgrade", "base"))
    assert shape(fresh) == {}
    done(alembic(fresh, "upgrade", "heads"))
    assert shape(fresh) == before


def test_two_at_once(fresh: str) -> None:
    """Of releases that start at the same time both succeed: the second waits, and finds nothing to do."""
    both = [alembic(fresh, "upgrade", "heads") for _ in range(2)]
    for process in both:
        done(process)
    assert "collections" in shape(fresh)


def test_readiness_knows_what_this_release_needs(fresh: str) -> None:
    """An application is not ready before its tables are there, and says so; alive it is."""
    from stacflask.app import create_app
    from stacflask.pluginmanager import loading

    settings = Settings.from_environ({"DATABASE_URL": fresh})
    client: Any = create_app(settings, loading.manage({})).test_client()
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json["code"]) == (503, "NotMigrated")
    assert client.get("/health").status_code == 200
    done(alembic(fresh, "upgrade", "heads"))
    assert client.get("/health/ready").status_code == 200
    with engine(fresh).begin() as connection:
        connection.execute(sa.text("ALTER TABLE items RENAME COLUMN lowest TO former"))
    assert client.get("/health/ready").status_code == 503


def test_parameters_of_the_url_hold(fresh: str) -> None:
    """Migrations run under the options in the URL, as the server does."""
    with engine(fresh).begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA apart"))
    done(alembic(f"{fresh}?options=-c%20search_path%3Dapart,public", "upgrade", "heads"))
    with engine(fresh).begin() as connection:
        assert "items" in sa.inspect(connection).get_table_names(schema="apart")


def test_collections_are_filled_in(fresh: str) -> None:
    """Collections that were there before are searched like those that come after."""
    from stacflask.catalog.database.engine import Database
    from stacflask.catalog.documents.documents import Managed
    from stacflask.catalog.reader import Catalog
    from stacflask.catalog.writer import Writer
    from stacflask.testing import a_collection

    done(alembic(fresh, "upgrade", "heads"))
    writer = Writer(Catalog(Database(engine(fresh))), Managed())
    open_end = [["2024-01-01T00:00:00Z", None], ["2020-01-01T00:00:00+02:00", "2020-02-01T00:00:00Z"]]
    for number, boxes in enumerate(BOXES):
        spans = {"spatial": {"bbox": boxes}, "temporal": {"interval": open_end[: 1 + number % 2]}}
        writer.create_collection(a_collection(f"c{number}", title="Große  Ä", keywords=["A", "b c"], extent=spans))
    columns = "id, ST_AsText(ST_Normalize(footprint)) AS footprint, lowest, highest, periods::text, words"
    statement = sa.text(f"SELECT {columns} FROM collections ORDER BY id")
    with engine(fresh).connect() as connection:
        written = connection.execute(statement).all()
    done(alembic(fresh, "downgrade", "0008"))
    done(alembic(fresh, "upgrade", "heads"))
    with engine(fresh).connect() as connection:
        assert connection.execute(statement).all() == written


BOXES = [
    [[-180, -90, 180, 90]],
    [[5, 44, 12, 48]],
    [[177, -20, -178, -16]],
    [[170, -20, 190, -16]],
    [[-190, -20, -170, -16]],
    [[-180, -20, 180, -16], [1, 1, 1, 1]],
    [[20, 60, 5000, 21, 61, 9000], [0, 0, 1, 1]],
    [[0, 0, 10, 10], [5, 5, 15, 15], [30, 5, 30, 6]],
    [[-200, 0, 200, 10]],
]


RANGE = {"start_datetime": "2024-10-05T00:00:00Z", "end_datetime": "2024-10-06T00:00:00Z"}
HIGH = {"type": "LineString", "coordinates": [[11, 48, 100.5], [12, 48, -3]]}
MIGRATED: dict[str, dict[str, Any]] = {
    "instant": {"properties": {"datetime": "2024-01-01T00:00:00Z"}},
    "range": {"properties": {"datetime": None, **RANGE}},
    "both": {"properties": {"datetime": "2025-02-10T00:00:00Z", **RANGE}},
    "start alone": {"properties": {"datetime": "2025-02-10T00:00:00Z", "start_datetime": "2024-01-01T00:00:00Z"}},
    "at once": {"properties": {"datetime": None, **dict.fromkeys(RANGE, "2024-10-05T00:00:00Z")}},
    "leap second": {"properties": {"datetime": None, **dict.fromkeys(RANGE, "2016-12-31T23:59:60Z")}},
    "high": {"geometry": HIGH, "bbox": [11, 48, 12, 48], "assets": {"x": {"href": "s3://a/b"}}},
    "higher": {"geometry": HIGH, "bbox": [11, 48, -9, 12, 48, 9]},
    "flat": {"geometry": {"type": "Point", "coordinates": [1, 1, 0]}, "view": [[1, 2, 3]]},
    "nowhere": {"geometry": None},
}


def test_items_are_filled_in(fresh: str) -> None:
    """Items that were there before have the same times and heights in their rows as those that come after."""
    from stacflask.catalog.database.engine import Database
    from stacflask.catalog.documents.documents import Managed
    from stacflask.catalog.reader import Catalog
    from stacflask.catalog.writer import Writer
    from stacflask.testing import a_collection, an_item

    done(alembic(fresh, "upgrade", "heads"))
    writer = Writer(Catalog(Database(engine(fresh))), Managed())
    for name in ("c", "ranges"):
        writer.create_collection(a_collection(name))
    writer.create_items("c", [an_item(name, "c", **given) for name, given in MIGRATED.items()])
    writer.create_items("ranges", [an_item("range", "ranges", **MIGRATED["range"])])
    rows = sa.text("SELECT to_jsonb(items) - 'body' FROM items ORDER BY collection, id")
    dated = sa.text("SELECT id, dated FROM collections ORDER BY id")
    with engine(fresh).connect() as connection:
        written = connection.execute(rows).all(), connection.execute(dated).all()
    assert written[1] == [("c", True), ("ranges", False)]
    done(alembic(fresh, "downgrade", "0019"))
    with engine(fresh).begin() as connection:
        connection.execute(sa.text("UPDATE items SET lowest = NULL, highest = NULL WHERE id <> 'higher'"))
        connection.execute(sa.text("UPDATE items SET lowest = -9, highest = 9 WHERE id = 'higher'"))
        both = "SELECT start_datetime = '2024-10-05Z' AND end_datetime = datetime FROM items WHERE id = 'both'"
        assert connection.execute(sa.text(both)).scalar_one()
    done(alembic(fresh, "upgrade", "heads"))
    with engine(fresh).connect() as connection:
        assert (connection.execute(rows).all(), connection.execute(dated).all()) == written

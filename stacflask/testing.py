"""Fixtures for tests of plugins. Load them with ``pytest_plugins = ["stacflask.testing"]`` in a conftest.py.

They need a migrated PostGIS database that tests may empty. The fixture ``database_url`` returns its URL, from
STACFLASK_TEST_DATABASE_URL unless a conftest.py overrides it. The database must be marked as a test database, by the
word ``test`` in its name or by the comment ``stacflask test database``.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from stacflask import logs
from stacflask.app import create_app
from stacflask.catalog.database.engine import Database, create_engine
from stacflask.catalog.database.plugin_storage import PluginStorage
from stacflask.current import EXTENSION, Components
from stacflask.errors import SettingError
from stacflask.pluginmanager import loading
from stacflask.settings import Settings

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient

    from stacflask.model.json_types import Document

VARIABLE = "STACFLASK_TEST_DATABASE_URL"
MARK = "stacflask test database"
"""Comment on a database that tests may empty."""
NAME = re.compile(r"(?:^|[^a-z])(?:py)?test(?:s|ing)?(?:[^a-z]|$)", re.IGNORECASE)
"""Pattern in the name of a database that tests may empty."""
IDENTITY = """
SELECT current_database() AS name, oid, pg_postmaster_start_time() AS since,
    coalesce(shobj_description(oid, 'pg_database'), '') AS comment
FROM pg_database WHERE datname = current_database()
"""
Plug = Callable[..., "FlaskClient"]
Publish = Callable[..., None]


def an_item(item: str = "item", collection: str = "collection", **members: Any) -> Document:
    """Return an item document for a test.

    Args:
        item: Identifier of the item.
        collection: Identifier of its collection.
        members: Members that replace the default ones, such as ``properties`` and ``assets``.
    """
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": item,
        "collection": collection,
        "geometry": {"type": "Point", "coordinates": [11.0, 48.0]},
        "bbox": [11.0, 48.0, 11.0, 48.0],
        "properties": {"datetime": "2024-06-01T12:00:00Z"},
        "links": [],
        "assets": {"data": {"href": f"s3://bucket/{collection}/{item}/data.tif", "type": "image/tiff"}},
        **members,
    }


def a_collection(collection: str = "collection", **members: Any) -> Document:
    """Return a collection document for a test.

    Args:
        collection: Identifier of the collection.
        members: Members that replace the default ones.
    """
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": collection,
        "description": f"The collection {collection}",
        "license": "other",
        "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
        "links": [],
        **members,
    }


@pytest.fixture(scope="session")
def database_url() -> str:
    """Return the URL of the database that tests may empty. It must not be the one of DATABASE_URL."""
    url = os.environ.get(VARIABLE)
    if not url:
        pytest.fail(
            f"{VARIABLE}: missing. Set it to a migrated PostGIS database that tests may empty, see docs/hooks.md",
            pytrace=False,
        )
    if url == os.environ.get("DATABASE_URL"):
        pytest.fail(
            f"{VARIABLE}: is the same as DATABASE_URL, and tests would empty it. Use another one.", pytrace=False
        )
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Return the database, migrated and empty."""
    engine = _engine(database_url)
    with engine.begin() as connection:
        _check_for_tests(connection)
        _empty(connection, _tables(connection, database_url))
    yield Database(engine)
    engine.dispose()


_TABLES: dict[str, Sequence[str]] = {}
"""The tables of each database that this process has emptied, each before those that it refers to."""


def _tables(connection: sa.Connection, url: str) -> Sequence[str]:
    """Return the tables that tests empty, in an order that foreign keys allow."""
    if url not in _TABLES:
        inspector = sa.inspect(connection)
        kept = ("spatial_ref_sys", "alembic_version")
        names = [name for name, _ in inspector.get_sorted_table_and_fkc_names() if name and name not in kept]
        _TABLES[url] = names[::-1]
    return _TABLES[url]


def _empty(connection: sa.Connection, tables: Sequence[str]) -> None:
    """Empty the tables. DELETE takes 1 to 3 ms where TRUNCATE takes 150: it makes no new files.

    A table that was large is truncated, so that no test reads the pages of one before it.
    """
    sizes = connection.execute(_SIZES, {"names": list(tables)}).all()
    if any(size > LARGE for _, size in sizes):
        connection.execute(sa.text(f"TRUNCATE {', '.join(tables)}"))
        return
    filled = {name for name, size in sizes if size}
    if filled:
        connection.exec_driver_sql("; ".join(f"DELETE FROM {name}" for name in tables if name in filled))


LARGE = 1 << 20
"""Bytes."""
_SIZES = sa.text(
    "SELECT name, pg_relation_size(CAST(name AS regclass)) AS size FROM unnest(CAST(:names AS text[])) AS name"
)


def _engine(url: str) -> sa.Engine:
    return create_engine(Settings.from_environ({"DATABASE_URL": url}).database_url, pool_size=8, statement_timeout=30)


def _check_for_tests(connection: sa.Connection) -> None:
    """Fail unless the database is marked as a test database. URLs cannot be compared: several can lead to one."""
    here = connection.execute(sa.text(IDENTITY)).one()
    if not NAME.search(here.name) and MARK not in here.comment:
        pytest.fail(
            f"The database {here.name!r} is not marked as a test database, and tests would empty it. Use one with the "
            f"word test in its name, or mark it: COMMENT ON DATABASE \"{here.name}\" IS '{MARK}'",
            pytrace=False,
        )
    if (here.oid, here.since) == _serving_database():
        pytest.fail(
            f"{VARIABLE}: is the database of DATABASE_URL, and tests would empty it. Use another one.", pytrace=False
        )


@functools.cache
def _serving_database() -> tuple[Any, Any] | None:
    """Return the identity of the database of DATABASE_URL, or None if it is not set or cannot be reached."""
    url = os.environ.get("DATABASE_URL")
    if not url:
        return None
    try:
        engine = _engine(url)
        with engine.connect() as connection:
            there = connection.execute(sa.text(IDENTITY)).one()
    except (SettingError, sa.exc.SQLAlchemyError):
        return None
    engine.dispose()
    return there.oid, there.since


@pytest.fixture
def storage(database: Database) -> PluginStorage:
    """Return the storage that ``startup`` passes to plugins."""
    return PluginStorage(database)


@pytest.fixture
def build(database: Database, database_url: str) -> Iterator[Callable[..., Flask]]:  # noqa: ARG001 - empties the database
    """Return a function that builds an application: ``build(*plugins, environ={...})``."""
    built: list[Flask] = []

    def make(*plugins: object, environ: dict[str, str] | None = None) -> Flask:
        settings = Settings.from_environ(
            {"DATABASE_URL": database_url, "STACFLASK_LOG_FORMAT": "text", **(environ or {})}
        )
        app = create_app(settings, loading.manage(_by_name(plugins)))
        app.testing = False  # Errors become responses, as in production.
        built.append(app)
        return app

    yield make
    for app in built:
        components: Components = app.extensions[EXTENSION]
        components.catalog.database.engine.dispose()
    # The handler writes to the standard error of that time, which a test may have closed.
    logs.close()


@pytest.fixture
def plug(build: Callable[..., Flask]) -> Plug:
    """Return a function that builds an application and returns its test client: ``plug(MyPlugin(), environ={...})``."""
    return lambda *plugins, **more: build(*plugins, **more).test_client()


@pytest.fixture
def publish(database: Database) -> Publish:
    """Return a function that stores documents: ``publish(*documents)``. It creates missing collections of items."""
    from stacflask.catalog.documents.documents import Managed
    from stacflask.catalog.reader import Catalog
    from stacflask.catalog.writer import Writer
    from stacflask.errors import Conflict

    writer = Writer(Catalog(database), Managed())

    def put(*documents: Document) -> None:
        for document in documents:
            if document["type"] == "Collection":
                writer.create_collection(document)
                continue
            with contextlib.suppress(Conflict):
                writer.create_collection(a_collection(document["collection"]))
            writer.create_items(document["collection"], [document])

    return put


def _by_name(plugins: tuple[object, ...]) -> dict[str, object]:
    """Return plugins by name. Raises SettingError if two have the same name."""
    named: dict[str, object] = {}
    for plugin in plugins:
        name = str(getattr(plugin, "__name__", None) or type(plugin).__name__)
        if name in named:
            hint = "Set __name__ of one of them."
            raise SettingError(loading.VARIABLE, f"two plugins have the name {name}. {hint}")
        named[name] = plugin
    return named

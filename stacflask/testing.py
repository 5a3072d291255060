"""Fixtures for tests of plugins: ``pytest_plugins = ["stacflask.testing"]`` in a conftest.py brings them in.

They need the address of a migrated PostGIS database that tests may empty: the fixture ``database_url`` gives it, from
STACFLASK_TEST_DATABASE_URL unless a conftest.py overrides it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from stacflask import loader, logs
from stacflask.app import create_app
from stacflask.catalog.database import Database, create_engine
from stacflask.catalog.storage import PluginStorage
from stacflask.current import EXTENSION, House
from stacflask.settings import Settings

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient

    from stacflask.values import Document

VARIABLE = "STACFLASK_TEST_DATABASE_URL"
Plug = Callable[..., "FlaskClient"]
Publish = Callable[..., None]


def an_item(item: str = "item", collection: str = "collection", **members: Any) -> Document:
    """Make an item's document. Say only what matters; ``properties`` and ``assets`` replace the usual ones."""
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
    """Make a collection's document. Say only what matters."""
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
    """Give the address of the database that tests may empty. Fails if it is that of the catalogue at hand."""
    url = os.environ.get(VARIABLE)
    if not url:
        pytest.fail(
            f"{VARIABLE}: missing. A migrated PostGIS database that tests may empty, see docs/hooks.md", pytrace=False
        )
    if url == os.environ.get("DATABASE_URL"):
        pytest.fail(f"{VARIABLE}: this is DATABASE_URL, and tests would empty it", pytrace=False)
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Give the database, migrated and empty."""
    engine = create_engine(
        Settings.from_environ({"DATABASE_URL": database_url}).database_url, pool_size=8, statement_timeout=30
    )
    with engine.begin() as connection:
        tables = sa.inspect(connection).get_table_names()
        emptied = [table for table in tables if table not in ("spatial_ref_sys", "alembic_version")]
        connection.execute(sa.text(f"TRUNCATE {', '.join(emptied)}"))
    yield Database(engine)
    engine.dispose()


@pytest.fixture
def storage(database: Database) -> PluginStorage:
    """Give the storage that plugins get at their start."""
    return PluginStorage(database)


@pytest.fixture
def build(database: Database, database_url: str) -> Iterator[Callable[..., Flask]]:  # noqa: ARG001 - emptied for it
    """Build applications around plugins (objects, or names of modules with a dot) with these settings' fields."""
    built: list[Flask] = []

    def make(*plugins: object, environ: dict[str, str] | None = None) -> Flask:
        settings = Settings.from_environ(
            {"DATABASE_URL": database_url, "STACFLASK_LOG_FORMAT": "text", **(environ or {})}
        )
        app = create_app(settings, loader.manage({_name(plugin): plugin for plugin in plugins}))
        app.testing = False  # errors are answered, as they are in production
        built.append(app)
        return app

    yield make
    for app in built:
        house: House = app.extensions[EXTENSION]
        house.catalog.database.engine.dispose()
    # They write to what was standard error at the time, which a test may have closed.
    logs.close()


@pytest.fixture
def plug(build: Callable[..., Flask]) -> Plug:
    """Build an application around plugins and give a client of it: ``plug(MyPlugin(), environ={...})``."""
    return lambda *plugins, **more: build(*plugins, **more).test_client()


@pytest.fixture
def publish(database: Database) -> Publish:
    """Put documents into the catalogue: collections as they are, items with collections made for them where missing."""
    from stacflask.catalog.documents import Managed
    from stacflask.catalog.reading import Catalog
    from stacflask.catalog.writing import Writer
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


def _name(plugin: object) -> str:
    named = getattr(plugin, "__name__", None) or type(plugin).__name__
    return str(named)

"""Fixtures. Modules that import Flask or SQLAlchemy are imported when a test first needs them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

import pytest

from stacflask.model.json_types import Document
from stacflask.testing.documents import a_collection
from stacflask.testing.hook_runner import by_name

if TYPE_CHECKING:
    from flask import Flask

    from stacflask.catalog.database.engine import Database
    from stacflask.catalog.database.plugin_storage import PluginStorage
    from stacflask.testing.client import Client

VARIABLE = "STACFLASK_TEST_DATABASE_URL"
Plug = Callable[..., "Client"]
Publish = Callable[..., None]


@pytest.fixture(scope="session")
def database_url() -> str:
    """Return the URL of the database that tests may empty. It must not be the one of DATABASE_URL."""
    url = os.environ.get(VARIABLE)
    if not url:
        pytest.fail(
            f"{VARIABLE}: missing. Set it to a PostGIS database that tests may empty, made with "
            "`DATABASE_URL=... stacflask migrate`.",
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
    from stacflask.testing.databases import emptied

    with emptied(database_url) as opened:
        yield opened


@pytest.fixture
def storage(database: Database) -> PluginStorage:
    """Return the storage that ``startup`` passes to plugins."""
    from stacflask.catalog.database.plugin_storage import PluginStorage

    return PluginStorage(database)


@pytest.fixture
def build(database: Database, database_url: str) -> Iterator[Callable[..., Flask]]:  # noqa: ARG001 - empties the database
    """Return a function that builds an application: ``build(*plugins, environ={...})``.

    A plugin is an object or, as in STACFLASK_PLUGINS, a name.
    """
    from stacflask import logs
    from stacflask.app import close_app, create_app
    from stacflask.current import EXTENSION
    from stacflask.pluginmanager.loading import manage
    from stacflask.settings import Settings
    from stacflask.testing.client import accept_users

    built: list[Flask] = []

    def make(*plugins: object, environ: dict[str, str] | None = None) -> Flask:
        settings = Settings.from_environ(
            {"DATABASE_URL": database_url, "STACFLASK_LOG_FORMAT": "text", **(environ or {})}
        )
        app = create_app(settings, manage(by_name(plugins, environ or {})))
        app.testing = False  # Errors become responses, as in production.
        accept_users(app)
        built.append(app)
        return app

    yield make
    for app in built:
        close_app(app)
        app.extensions[EXTENSION].catalog.database.engine.dispose()
    # The handler writes to the standard error of that time, which a test may have closed.
    logs.close()


@pytest.fixture
def plug(build: Callable[..., Flask]) -> Plug:
    """Return a function that builds an application and returns its test client: ``plug(MyPlugin(), environ={...})``.

    Requests of the client have an argument ``user``: ``client.get(url, user=as_user("ann"))``.
    """
    return lambda *plugins, **more: cast("Client", build(*plugins, **more).test_client())


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

"""Helpers for tests of plugins; ``pytest_plugins = ["stacflask.testing"]`` in a conftest.py loads the fixtures.

Imports the whole application, but only when a fixture or helper needs it: tests without a database start fast.
Start with ``hook_runner.py``. docs/testing.md shows how to use each helper.
"""

from stacflask.testing.documents import a_collection, an_asset, an_item
from stacflask.testing.fixtures import Plug, Publish, build, database, database_url, plug, publish, storage
from stacflask.testing.hook_runner import HookRunner
from stacflask.testing.stand_ins import FakeIdentity, MemoryStore, as_user

__all__ = [
    "FakeIdentity",
    "HookRunner",
    "MemoryStore",
    "Plug",
    "Publish",
    "a_collection",
    "an_asset",
    "an_item",
    "as_user",
    "build",
    "database",
    "database_url",
    "plug",
    "publish",
    "storage",
]

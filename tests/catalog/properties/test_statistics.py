"""Statistics cover stored items however they were written, and a refresh keeps concurrent writes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from stacflask.catalog.bulk.load import Plan, load
from stacflask.catalog.database.engine import Database
from stacflask.catalog.database.tables import items
from stacflask.catalog.documents.documents import Managed
from stacflask.catalog.properties import observations, statistics
from stacflask.catalog.reader import Catalog
from stacflask.catalog.writer import Writer
from stacflask.errors import NotFound
from stacflask.model.decision import UNRESTRICTED
from stacflask.model.json_types import Document
from stacflask.settings import Settings
from stacflask.testing import a_collection, an_item

Publish = Callable[..., None]


def item(name: str, **properties: Any) -> Document:
    return an_item(name, properties={"datetime": "2024-06-01T12:00:00Z", **properties})


def stored_observations(database: Database) -> dict[str, Any]:
    """Return the stored observations of the collection's items as JSON."""
    seen = Catalog(database).observe_items(["collection"], UNRESTRICTED, 0)
    return {name: one.to_json() for name, one in seen.items() if name != "datetime"}


@pytest.fixture
def bulk(database_url: str, tmp_path: Path) -> Callable[..., None]:
    """Load documents in bulk."""

    def load_documents(*documents: Document, **plan: Any) -> None:
        path = tmp_path / "input"
        path.write_bytes(b"\n".join(map(orjson.dumps, documents)))
        url = Settings.from_environ({"DATABASE_URL": database_url}).database_url
        load([str(path)], Plan(url, Managed(), **plan), lambda _: None)

    return load_documents


def test_bulk_loads_widen_statistics(database: Database, bulk: Callable[..., None]) -> None:
    """Each load widens the statistics by all of its items, and a refresh changes nothing."""
    several = [item(f"i{number}", n=number, word=f"w{number % 3}") for number in range(2000)]
    bulk(a_collection(), *several)
    bulk(item("last", n=-1.5, late=[True]), item("i0", n=5000), method="upsert")
    expected = {
        "n": {"kinds": ["integer", "number"], "low": -1.5, "high": 5000},
        "word": {"kinds": ["string"], "words": ["w0", "w1", "w2"]},
        "late": {"kinds": ["array"], "members": {"kinds": ["boolean"]}},
    }
    assert stored_observations(database) == expected
    assert statistics.refresh(database, "collection") == 2001
    assert stored_observations(database) == expected


def test_refresh_drops_deleted_values(database: Database, publish: Publish) -> None:
    """Deletions do not change statistics. A refresh removes what only deleted items had."""
    publish(item("a", n=1), item("b", n=9, only=True))
    Writer(Catalog(database), Managed()).delete_item("collection", "b", None)
    assert (stored_observations(database)["n"]["high"], "only" in stored_observations(database)) == (9, True)
    statistics.refresh(database, "collection")
    assert stored_observations(database) == {"n": {"kinds": ["integer"], "low": 1, "high": 1}}


def test_refresh_restores_missing_statistics(database: Database, publish: Publish) -> None:
    """A refresh observes items that have no statistics."""
    publish(item("a", n=1))
    with database.write() as connection:
        connection.execute(sa.text("DELETE FROM statistics"))
    assert stored_observations(database) == {}
    statistics.refresh(database, "collection")
    assert stored_observations(database)["n"] == {"kinds": ["integer"], "low": 1, "high": 1}


def test_refresh_keeps_concurrent_writes(database: Database, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    """Items written while a refresh reads are in the new statistics, although the old ones covered them."""
    publish(item("a", n=1), item("b", n=9))
    merge = observations.merge

    def observe_and_write(connection: Any, collection: str) -> Any:
        seen = connection.execute(sa.select(items.c.properties)).scalars().all()
        publish(item("c", n=5))  # after the items were read, and covered by the old statistics
        return len(seen), merge([observations.observe(seen[:1])])

    monkeypatch.setattr(statistics, "_observe_items", observe_and_write)
    statistics.refresh(database, "collection")
    assert stored_observations(database)["n"] == {"kinds": ["integer"], "low": 1, "high": 5}


def test_refresh_of_a_missing_collection_is_refused(database: Database) -> None:
    """A refresh of a missing collection raises NotFound."""
    with pytest.raises(NotFound):
        statistics.refresh(database, "nosuch")


def test_the_number_of_names_is_limited(database: Database, publish: Publish) -> None:
    """Names beyond the limit are not kept."""
    publish(item("a", **{f"x{number}": 1 for number in range(1500)}), item("b", **{"a.b": 1}))
    names = Catalog(database).observe_items(None, UNRESTRICTED, 0)
    assert len(names) == observations.MAX_NAMES
    assert "a.b" not in names

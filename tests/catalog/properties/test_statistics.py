"""Statistics cover what is stored, however it came there, and are made anew without losing what others write."""

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


def known(database: Database) -> dict[str, Any]:
    """Give what is known of the collection's items, as it is written."""
    seen = Catalog(database).item_names(["collection"], UNRESTRICTED, 0)
    return {name: one.to_json() for name, one in seen.items() if name != "datetime"}


@pytest.fixture
def bulk(database_url: str, tmp_path: Path) -> Callable[..., None]:
    """Load documents in bulk."""

    def put(*documents: Document, **plan: Any) -> None:
        path = tmp_path / "input"
        path.write_bytes(b"\n".join(map(orjson.dumps, documents)))
        url = Settings.from_environ({"DATABASE_URL": database_url}).database_url
        load([str(path)], Plan(url, Managed(), **plan), lambda _: None)

    return put


def test_loads_are_accounted_for(database: Database, bulk: Callable[..., None]) -> None:
    """Each load widens what is known by all its items; a refresh finds nothing to add or take away."""
    several = [item(f"i{number}", n=number, word=f"w{number % 3}") for number in range(2000)]
    bulk(a_collection(), *several)
    bulk(item("last", n=-1.5, late=[True]), item("i0", n=5000), method="upsert")
    expected = {
        "n": {"kinds": ["integer", "number"], "low": -1.5, "high": 5000},
        "word": {"kinds": ["string"], "words": ["w0", "w1", "w2"]},
        "late": {"kinds": ["array"], "members": {"kinds": ["boolean"]}},
    }
    assert known(database) == expected
    assert statistics.refresh(database, "collection") == 2001
    assert known(database) == expected


def test_refresh_forgets_what_was_deleted(database: Database, publish: Publish) -> None:
    """Deletions leave what is known as it was, and wider than it need be, until it is made anew."""
    publish(item("a", n=1), item("b", n=9, only=True))
    Writer(Catalog(database), Managed()).delete_item("collection", "b", None)
    assert (known(database)["n"]["high"], "only" in known(database)) == (9, True)
    statistics.refresh(database, "collection")
    assert known(database) == {"n": {"kinds": ["integer"], "low": 1, "high": 1}}


def test_refresh_fills_what_was_never_kept(database: Database, publish: Publish) -> None:
    """Items that were there before statistics were kept are found by a refresh."""
    publish(item("a", n=1))
    with database.write() as connection:
        connection.execute(sa.text("DELETE FROM statistics"))
    assert known(database) == {}
    statistics.refresh(database, "collection")
    assert known(database)["n"] == {"kinds": ["integer"], "low": 1, "high": 1}


def test_refresh_loses_nothing_written_meanwhile(
    database: Database, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written while a refresh looks through the items is known afterwards, though it was known before too."""
    publish(item("a", n=1), item("b", n=9))
    look = observations.merge

    def looked(connection: Any, collection: str) -> Any:
        seen = connection.execute(sa.select(items.c.properties)).scalars().all()
        publish(item("c", n=5))  # after these were read, and within what is known already
        return len(seen), look([observations.observe(seen[:1])])

    monkeypatch.setattr(statistics, "_observe_items", looked)
    statistics.refresh(database, "collection")
    assert known(database)["n"] == {"kinds": ["integer"], "low": 1, "high": 5}


def test_refresh_of_nothing_is_refused(database: Database) -> None:
    """There are no statistics of a collection that is not there."""
    with pytest.raises(NotFound):
        statistics.refresh(database, "nosuch")


def test_names_have_an_end(database: Database, publish: Publish) -> None:
    """However many names items make up, so many are kept; those with a dot, which nobody could ask for, are not."""
    publish(item("a", **{f"x{number}": 1 for number in range(1500)}), item("b", **{"a.b": 1}))
    names = Catalog(database).item_names(None, UNRESTRICTED, 0)
    assert len(names) == observations.MAX_NAMES
    assert "a.b" not in names
